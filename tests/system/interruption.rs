//! Runs that are stopped or killed.

use std::process::Stdio;
use std::time::Duration;

use fleetstorm_reports::Record;
use fleetstorm_reports::record::{End, VerdictResult};
use rustix::process::Signal;

use crate::harness::{Bench, Ended, signal};

const LONG: &str = r#"
    horizon = "10m"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 300
    arrival = { kind = "constant", rate = "20/s" }
    [mock]
    retry_after_s = 1
"#;

const SHORT: &str = r#"
    horizon = "10s"
    [fleet]
    devices = 30
    arrival = { kind = "all-at-once", spread = "0s" }
    [mock]
    retry_after_s = 0
    [[cohort]]
    poll_interval = "10ms"
    poll_jitter = "0s"
    [mock.assignment]
    kind = "constant"
    delay = "5ms"
    [mock.throttle]
    polls_per_10s = 0
"#;

fn pause(ms: u64) {
    std::thread::park_timeout(Duration::from_millis(ms));
}

fn start(bench: &Bench, scenario: &str) -> std::process::Child {
    start_on(bench, scenario, "wall")
}

fn start_on(bench: &Bench, scenario: &str, clock: &str) -> std::process::Child {
    bench.file("scenario.toml", scenario);
    bench
        .command()
        .args(["run", "scenario.toml", "--out", "out", "--progress", "plain", "--clock", clock])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn an_interrupted_run_still_leaves_its_record_and_report() {
    for kind in [Signal::INT, Signal::TERM] {
        let bench = Bench::new();
        let child = start(&bench, LONG);
        pause(4_000);
        signal(&child, kind);
        let ended = Ended::of(&child.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{ended:?}");
        assert!(ended.stdout.starts_with("INTERRUPTED"), "{}", ended.stdout);
        assert!(ended.stderr.contains("interrupted: writing what there is"), "{}", ended.stderr);
        let record = bench.record();
        assert_eq!((&record.end, record.verdict.result), (&End::Interrupted, VerdictResult::Interrupted));
        assert!(record.totals.booted > 0 && record.totals.booted < 300, "{:?}", record.totals);
        assert!(bench.path("out/report.html").exists());
    }
}

/// Nobody gets in and nobody gives up, so the horizon of a hundred days is hours of computing away.
#[test]
fn a_horizon_that_is_never_reached_can_be_left_in_virtual_time_too() {
    let bench = Bench::new();
    let hopeless = "horizon = \"100d\"\n[fleet]\ndevices = 20000\n[[cohort]]\nretry = { kind = \"fixed\", base_ms = \
                    1000 }\n[mock.throttle]\nrate = \"0/min\"\nburst = 1\nretry_after = \"none\"\n";
    let child = start_on(&bench, hopeless, "virtual");
    pause(4_000);
    signal(&child, Signal::INT);
    let ended = Ended::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    let record = bench.record();
    assert_eq!((&record.end, record.verdict.result), (&End::Interrupted, VerdictResult::Interrupted));
    assert!(record.totals.booted > 0 && record.totals.assigned <= 1, "{:?}", record.totals);
}

#[test]
fn a_killed_run_leaves_no_record_or_a_whole_one() {
    let bench = Bench::new();
    let (mut none, mut whole) = (0, 0);
    for attempt in 0..12u64 {
        for file in ["run.json", "report.html"] {
            let _ = std::fs::remove_file(bench.path("out").join(file));
        }
        let mut child = start(&bench, SHORT);
        // Runs of this scenario end within half a second or so: some are hit before their end and some after it.
        pause(50 + attempt * 120);
        child.kill().unwrap();
        child.wait().unwrap();
        match std::fs::read(bench.path("out/run.json")) {
            Ok(bytes) => {
                assert_eq!(Record::read(&bytes).unwrap().totals.booted, 30);
                whole += 1;
            }
            Err(_) => none += 1,
        }
    }
    assert!(
        none > 0 && whole > 0,
        "the kills hit both sides of the end: {none} without a record, {whole} with one"
    );
    // Nothing of them is in the way of the next.
    let ended = bench.run(SHORT, &[]);
    assert!([0, 11, 12].contains(&ended.code), "{ended:?}");
    assert_eq!(bench.record().totals.booted, 30);
}

#[test]
fn a_killed_run_does_not_touch_the_record_before_it() {
    let bench = Bench::new();
    bench.run(SHORT, &[]);
    let before = std::fs::read(bench.path("out/run.json")).unwrap();
    let mut child = start(&bench, LONG);
    pause(1_500);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(std::fs::read(bench.path("out/run.json")).unwrap() == before);
}
