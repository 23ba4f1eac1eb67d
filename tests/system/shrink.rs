//! `chaos shrink`: from a run that failed to the little that makes it fail.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use fleetstorm_scenario::Scenario;
use rustix::process::Signal;

use crate::harness::{Bench, Ended, signal};

/// Of five faults one keeps registrations from being assigned until it ends.
const FIVE: &str = r#"
    horizon = "20m"
    objectives = ["assigned == 100% within 3m", "count(500) == 0"]
    [fleet]
    devices = 400
    arrival = { kind = "all-at-once", spread = "20s" }
    [[cohort]]
    retry = { kind = "fixed", base_ms = 5000 }
    [mock.throttle]
    profile = "unlimited"
    [[chaos]]
    fault = { kind = "net.latency", delay = { kind = "constant", delay = "300ms" } }
    duration = "60s"
    [[chaos]]
    fault = { kind = "net.reset", phase = "after-request" }
    probability = 0.1
    unit = "request"
    duration = "30s"
    [[chaos]]
    name = "dark"
    fault = { kind = "service.throttle" }
    start = "10s"
    duration = "4m"
    ramp = { up = "1s" }
    select = { share = 0.5, operation = "register" }
    [[chaos]]
    fault = { kind = "service.error", status = 503 }
    probability = 0.05
    unit = "request"
    duration = "20s"
    [[chaos]]
    fault = { kind = "fleet.counter", failures = 3 }
    duration = "40s"
"#;

fn failed(bench: &Bench, clock: &str) {
    let ended = bench.run(FIVE, &["--clock", clock]);
    assert_eq!(ended.code, 10, "{ended:?}");
}

#[test]
fn of_five_faults_the_one_that_breaks_an_objective_is_left() {
    let bench = Bench::new();
    failed(&bench, "virtual");
    let ended = bench.fleetstorm(&["chaos", "shrink", "out/run.json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("with 1 of 5 faults"), "{}", ended.stdout);
    assert!(ended.stdout.contains("the fault `net.reset`"), "{}", ended.stdout);
    assert!(ended.stderr.contains("run 1 of at most 500: all of it: fails still"), "{}", ended.stderr);

    let text = std::fs::read_to_string(bench.path("out/shrunk.toml")).unwrap();
    let small = Scenario::read(&text, "shrunk.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let [dark] = &small.chaos[..] else { panic!("{text}") };
    assert_eq!((dark.label(), &dark.ramp, dark.select.operation), ("dark", &Default::default(), None));
    // The objective breaks once the fault lasts until three minutes after the start, and for anybody at all.
    let duration_s = dark.duration.unwrap().0.as_secs_f64();
    assert!((150.0..=190.0).contains(&duration_s), "{text}");
    assert!(small.fleet.devices <= 200, "{text}");
    assert_eq!(small.objectives, ["assigned == 100% within 3m"]);

    let ended = bench.fleetstorm(&[
        "run",
        "out/shrunk.toml",
        "--clock",
        "virtual",
        "--out",
        "small",
        "--progress",
        "none",
    ]);
    assert_eq!(ended.code, 10, "{ended:?}\n{text}");
}

#[test]
fn what_cannot_be_shrunk_says_what_to_do() {
    let bench = Bench::new();
    failed(&bench, "wired");
    let shrink = |more: &[&str]| bench.fleetstorm(&[&["chaos", "shrink", "out/run.json"], more].concat());
    shrink(&["--keep", "assigned == 99%"])
        .refused(2, &["did not fail in it", "`assigned == 100% within 3m`"]);

    let record = || std::fs::read_to_string(bench.path("out/run.json")).unwrap();
    bench.file("out/run.json", &record().replacen("\"wired\"", "\"live\"", 1));
    shrink(&[]).refused(2, &["by the wall clock", "--clock wired"]);

    let calm = FIVE.split("[[chaos]]").next().unwrap();
    assert_eq!(bench.run(calm, &["--clock", "virtual"]).code, 0);
    shrink(&[]).refused(2, &["no [[chaos]]"]);

    let short = FIVE.replace("4m", "4s");
    assert_eq!(bench.run(&short, &["--clock", "virtual"]).code, 0);
    shrink(&[]).refused(2, &["nothing failed in it", "an objective"]);
    bench.fleetstorm(&["chaos", "shrink", "scenario.toml"]).refused(2, &["scenario.toml"]);
}

#[test]
fn few_runs_or_an_interruption_leave_the_smallest_so_far() {
    let bench = Bench::new();
    failed(&bench, "virtual");
    let ended = bench.fleetstorm(&["chaos", "shrink", "out/run.json", "--runs", "4", "--quiet"]);
    assert_eq!((ended.code, &*ended.stderr), (0, ""), "{ended:?}");
    assert!(ended.stdout.contains("4 runs, and not all was tried"), "{}", ended.stdout);
    assert!(ended.stdout.contains("PARTIAL"), "{}", ended.stdout);

    let larger = FIVE.replace("devices = 400", "devices = 40000");
    assert_eq!(bench.run(&larger, &["--clock", "virtual"]).code, 10);
    let mut child = bench
        .command()
        .args(["chaos", "shrink", "out/run.json", "--out", "best.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it has made the failed run again, it has something to leave; the next run takes seconds.
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("fails still"), "{line}");
    signal(&child, Signal::INT);
    // A pipe that nobody empties would hold the command up.
    let rest = std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
    let ended = Ended::of(&child.wait_with_output().unwrap());
    rest.join().unwrap().unwrap();
    assert_eq!(ended.code, 130, "{ended:?}");
    let text = std::fs::read_to_string(bench.path("best.toml")).unwrap();
    assert!(Scenario::read(&text, "best.toml", &[]).is_ok(), "{text}");
    assert!(ended.stdout.contains("not all was tried"), "{}", ended.stdout);
    assert!(ended.stdout.starts_with("PARTIAL: interrupted") && text.contains("# Partial"), "{ended:?}");
}
