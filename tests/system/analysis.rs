//! What virtual time answers, through the command.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Bench, Ended, scenarios, signal};

const STORM: &str = r#"
    horizon = "20m"
    objectives = ["assigned == 100% within 10m"]
    [fleet]
    devices = 3000
    arrival = { kind = "all-at-once", spread = "5s" }
    [mock.throttle]
    profile = "dps-doc"
    [compare]
    seeds = 9
    strategies = ["full-jitter", { kind = "retry-after", spread = "quota-window" }, "bad.hot-loop"]
"#;

#[test]
fn a_forecast_of_the_same_seed_is_the_same_record() {
    let bench = Bench::new();
    bench.file("scenario.toml", STORM);
    let forecast = |devices: &str| {
        let ended = bench.fleetstorm(&[
            "forecast",
            "scenario.toml",
            "--devices",
            devices,
            "--out",
            "out",
            "--progress",
            "none",
        ]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains("simulated: latencies are the model's"), "{}", ended.stdout);
        std::fs::read(bench.path("out/run.json")).unwrap()
    };
    let (one, again) = (forecast("4000"), forecast("4000"));
    assert!(one == again, "byte for byte");
    let record = bench.record();
    assert_eq!((record.totals.assigned, record.devices), (4_000, 4_000));
    // (4,000 - 1,000) / 1,000 a minute is what the quota alone needs.
    assert!(record.completion.t100_ns.unwrap() >= 180_000_000_000, "{:?}", record.completion);
}

#[test]
fn a_plan_shows_its_arithmetic_or_why_it_is_impossible() {
    let bench = Bench::new();
    let ended = bench.fleetstorm(&[
        "plan",
        "--devices",
        "9000",
        "--within",
        "15m",
        "--schedule",
        "slots.csv",
        "--scenario",
        "try.toml",
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in ["batches of 900", "90 % of 1000/min", "9000 registrations billed"] {
        assert!(ended.stdout.contains(words), "`{words}` is not in {}", ended.stdout);
    }
    assert_eq!(std::fs::read_to_string(bench.path("slots.csv")).unwrap().lines().count(), 9_001);
    let ended = bench.fleetstorm(&["forecast", "try.toml", "--out", "out", "--progress", "none"]);
    assert_eq!(ended.code, 0, "the plan holds what it promises: {ended:?}");
    let ended = bench.fleetstorm(&["plan", "--devices", "1000000", "--within", "1m"]);
    ended.refused(10, &["impossible, because", "a subscription has 10 instances"]);
    bench.fleetstorm(&["plan", "--devices", "10", "--within", "soon"]).refused(2, &["not a length of time"]);
}

#[test]
fn a_comparison_ranks_and_a_capacity_is_found() {
    let bench = Bench::new();
    bench.file("scenario.toml", STORM);
    let ended = bench.fleetstorm(&["compare", "scenario.toml", "--json", "compared.json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in ["full-jitter", "retry-after", "bad.hot-loop"] {
        assert!(ended.stdout.contains(words), "`{words}` is not in {}", ended.stdout);
    }
    let compared: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bench.path("compared.json")).unwrap()).unwrap();
    assert!(compared.is_object());
    let ended = bench.fleetstorm(&[
        "capacity",
        "scenario.toml",
        "--low",
        "500",
        "--high",
        "20000",
        "--precision",
        "0.2",
        "--slo",
        "assigned == 100% within 5m",
        "--json",
        "found.json",
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    bench.fleetstorm(&["capacity", "scenario.toml", "--slo", "assigned => 5"]).refused(2, &["assigned => 5"]);
}

/// Real sockets against virtual time: the forecast may be off by 5 % at T50, T90, T99 and in attempts per device. Waits
/// of one length keep the quota busy to the end; those that double leave the last twenty devices to chance. A machine
/// that is too busy to measure the service cannot say how far a forecast of it is off.
#[test]
fn a_measured_run_of_two_thousand_devices_calibrates_its_forecast() {
    let fleet = "horizon = \"10m\"\nobjectives = [\"assigned >= 1\"]\n[fleet]\ndevices = 2000\narrival = { kind = \"all-at-once\", spread = \"10s\" }\n[[cohort]]\nretry = \"fixed\"\n";
    let bench = Bench::new();
    let measured = bench.run(
        &format!("{fleet}[mock.throttle]\nprofile = \"dps-smooth\"\nrate = \"3000/min\"\nburst = 200\n"),
        &[],
    );
    measured.passed();
    let calibrated = bench.fleetstorm(&["calibrate", "out/run.json"]);
    // What a run says whose generator was the limit is said, and marked.
    let expected = if measured.code == 0 { 0 } else { 12 };
    assert_eq!(calibrated.code, expected, "{calibrated:?}");
    let throttle = "[mock.throttle]\n";
    assert!(calibrated.stdout.contains(throttle), "{calibrated:?}");
    let calibration = calibrated.stdout.replace(throttle, "[mock.throttle]\nprofile = \"dps-smooth\"\n");
    bench.file("calibrated.toml", &format!("{fleet}{calibration}"));
    let ended = bench.fleetstorm(&[
        "fidelity",
        "calibrated.toml",
        "--measured",
        "out/run.json",
        "--json",
        "fidelity.json",
    ]);
    assert_eq!(ended.code, expected, "{ended:?}");
    let found: Value = serde_json::from_slice(&std::fs::read(bench.path("fidelity.json")).unwrap()).unwrap();
    assert!(ended.stdout.contains(" by other seeds"), "{}", ended.stdout);
    assert_eq!(found["trusted"], measured.code == 0, "{}", ended.stdout);
    if measured.code == 0 {
        assert!(found["score"].as_f64().unwrap() <= 0.05, "{}", ended.stdout);
        assert!(found["unexplained"].as_f64().unwrap() <= 0.05, "{}", ended.stdout);
    }
}

#[test]
fn every_shipped_scenario_can_be_forecast() {
    for name in ["quickstart", "cold-start-throttled", "staggered", "expired-tokens", "unknown-enrollments"] {
        let bench = Bench::new();
        let path = scenarios().join(format!("{name}.toml"));
        let ended =
            bench.fleetstorm(&["forecast", path.to_str().unwrap(), "--out", "out", "--progress", "none"]);
        assert_eq!(ended.code, 0, "{name}: {ended:?}");
    }
}

#[test]
fn results_of_compare_and_capacity_become_pages() {
    let bench = Bench::new();
    let scenario = STORM.replace("devices = 3000", "devices = 400").replace("seeds = 9", "seeds = 10");
    let scenario = scenario.replace("profile = \"dps-doc\"", "rate = \"20/s\"\nburst = 20");
    bench.file("s.toml", &scenario);
    let ended = bench.fleetstorm(&["compare", "s.toml", "--json", "compare.json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let capacity = [
        "capacity",
        "s.toml",
        "--low",
        "50",
        "--high",
        "5000",
        "--precision",
        "0.5",
        "--json",
        "capacity.json",
    ];
    let ended = bench.fleetstorm(&capacity);
    assert_eq!(ended.code, 0, "{ended:?}");
    for (name, words) in [
        ("compare", ["Time against calls", "Faster than", "bad.hot-loop"]),
        ("capacity", ["The knee", "The search, step by step", "Headroom"]),
    ] {
        for ending in ["html", "md", "txt"] {
            let (from, to) = (format!("{name}.json"), format!("{name}.{ending}"));
            let ended = bench.fleetstorm(&["report", &from, "--out", &to]);
            assert_eq!(ended.code, 0, "{ended:?}");
        }
        let page = std::fs::read_to_string(bench.path(&format!("{name}.html"))).unwrap();
        for words in words {
            assert!(page.contains(words), "{name}: {words}");
        }
        let from = format!("{name}.json");
        for form in ["json", "csv", "junit", "prometheus"] {
            let ended = bench.fleetstorm(&["report", &from, "--format", form]);
            assert!(ended.code == 0 && !ended.stdout.to_lowercase().contains("partial: "), "{ended:?}");
        }
    }
}

/// What is printed is what is tried: batches of so many, each so often, spread as it says.
#[test]
fn a_plan_is_what_its_own_trial_ran() {
    let bench = Bench::new();
    let plan = |more: &[&str]| {
        let common = ["plan", "--within", "40m", "--json", "plan.json", "--scenario", "try.toml"];
        bench.fleetstorm(&[&common[..], &["--schedule", "slots.csv"], more].concat())
    };
    let json =
        || -> Value { serde_json::from_slice(&std::fs::read(bench.path("plan.json")).unwrap()).unwrap() };
    let tried = |transport: &str| {
        let text = std::fs::read_to_string(bench.path("try.toml")).unwrap();
        assert!(text.contains(&format!("transport = \"{transport}\"")), "{text}");
        let ended = bench.fleetstorm(&["forecast", "try.toml", "--out", "out", "--progress", "none"]);
        (ended.code, bench.record())
    };

    let ended = plan(&["--devices", "9000", "--interval", "10m", "--transport", "mqtt"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("batches of 9000 each 10 m, spread evenly over 10 m"), "{}", ended.stdout);
    let (code, record) = tried("mqtt");
    assert_eq!((code, record.totals.registers, record.totals.assigned), (0, 9_000, 9_000));
    assert_eq!(json()["tried"]["registers_per_device"], 1.0);

    // All at once, each batch meets a quota of 1,000 a minute and a burst of 17.
    std::fs::remove_file(bench.path("slots.csv")).unwrap();
    let ended = plan(&["--devices", "9000", "--spread", "0s"]);
    assert_eq!(ended.code, 10, "{ended:?}");
    assert!(
        ended.stdout.starts_with("FAILED: its own trial misses registers_per_device <= 1"),
        "{}",
        ended.stdout
    );
    assert!(!bench.path("slots.csv").exists(), "nobody rolls out by that");
    let (code, record) = tried("https");
    assert_eq!(code, 10);
    let real = record.totals.registers as f64 / record.devices as f64;
    assert!(real > 2.0 && json()["tried"]["registers_per_device"] == real, "{real}");

    // Devices that give up at the first 429 are not all online.
    let ended = plan(&["--devices", "9000", "--spread", "0s", "--strategy", "none"]);
    assert!(ended.code == 10 && ended.stdout.contains("assigned == 100%"), "{ended:?}");
    for form in ["text", "markdown", "html", "json", "junit", "csv", "prometheus"] {
        let ended = bench.fleetstorm(&["report", "plan.json", "--format", form]);
        let word = if form == "prometheus" { "exit_code{study=\"plan\"} 10" } else { "failed" };
        assert!(ended.code == 0 && ended.stdout.to_lowercase().contains(word), "{form}: {ended:?}");
    }
    let ended = bench.fleetstorm(&["plan", "--devices", "1000000", "--within", "111m"]);
    ended.refused(10, &["90 % of 1000/min", "plan with --load 0.91"]);
    bench
        .fleetstorm(&["plan", "--devices", "9", "--within", "1h", "--transport", "pigeon"])
        .refused(2, &["pigeon"]);
}

#[test]
fn a_search_that_finds_nothing_fails() {
    let bench = Bench::new();
    bench.file("s.toml", "objectives = [\"assigned == 100% within 1s\"]\n[fleet]\ndevices = 10\n");
    let capacity = ["capacity", "s.toml", "--low", "10", "--high", "20", "--json", "found.json"];
    let ended = bench.fleetstorm(&capacity);
    assert_eq!(ended.code, 10, "{ended:?}");
    assert!(ended.stdout.contains("held in 0 of 3 runs") && ended.stderr.contains(" of "), "{ended:?}");
    let few =
        "horizon = \"5m\"\n[fleet]\ndevices = 20\n[compare]\nstrategies = [\"fixed\", \"full-jitter\"]\n";
    bench.file("few.toml", &format!("{few}seeds = 3\n"));
    let ended = bench.fleetstorm(&["compare", "few.toml"]);
    assert!(ended.code == 12 && ended.stdout.contains("which takes 7"), "{ended:?}");
    bench.file("never.toml", &format!("{few}seeds = 8\n[mock.throttle]\nrate = \"1/h\"\nburst = 5\n"));
    let ended = bench.fleetstorm(&["compare", "never.toml"]);
    assert!(ended.code == 10 && ended.stdout.contains("none is recommended"), "{ended:?}");
}

/// Ctrl-C, a closed terminal or an order to end: what there is is left, marked, with 130.
#[test]
fn whatever_ends_a_study_its_result_is_partial() {
    let bench = Bench::new();
    let scenario = STORM.replace("seeds = 9", "seeds = 5000").replace("devices = 3000", "devices = 20000");
    bench.file("s.toml", &scenario);
    let studies: [(&[&str], Signal); 4] = [
        (&["compare", "s.toml", "--json", "left.json"], Signal::INT),
        (&["capacity", "s.toml", "--low", "100000", "--json", "left.json"], Signal::HUP),
        (&["plan", "--devices", "9000000", "--within", "30d", "--json", "left.json"], Signal::TERM),
        (&["capacity", "s.toml", "--low", "900000", "--json", "left.json"], Signal::INT),
    ];
    for (arguments, how) in studies {
        let mut child =
            bench.command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        signal(&child, how);
        let rest = std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        let ended = Ended::of(&child.wait_with_output().unwrap());
        rest.join().unwrap().unwrap();
        assert!(
            ended.code == 130 && ended.stdout.contains("PARTIAL: interrupted"),
            "{arguments:?}: {ended:?}"
        );
        let left: Value = serde_json::from_slice(&std::fs::read(bench.path("left.json")).unwrap()).unwrap();
        assert_eq!(left["conclusion"]["outcome"], "interrupted", "{left}");
        let ended = bench.fleetstorm(&["report", "left.json", "--format", "markdown"]);
        assert!(ended.stdout.contains("PARTIAL"), "{ended:?}");
    }
}
