//! A generator that is stopped while it runs: what it measured meanwhile is its own doing, and it says so.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use fleetstorm_reports::record::VerdictResult;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Bench, Mock, signal};

const STEADY: &str = r#"
    horizon = "60s"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 200
    arrival = { kind = "constant", rate = "50/s" }
"#;

/// Starts a run that says what it does, and returns once its devices have begun.
fn started(bench: &Bench, scenario: &str, arguments: &[&str]) -> Child {
    bench.file("scenario.toml", scenario);
    let mut child = bench
        .command()
        .args(["run", "scenario.toml", "--out", "out", "--progress", "json"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let some = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["sent"].as_u64().is_some_and(|sent| sent > 0)
    };
    assert!(lines.any(|line| some(&line.unwrap())), "no device has sent anything");
    // Somebody goes on reading, as at a terminal.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn stop_for(child: &Child, ms: u64) {
    signal(child, Signal::STOP);
    std::thread::park_timeout(Duration::from_millis(ms));
    signal(child, Signal::CONT);
}

#[track_caller]
fn is_untrusted(bench: &Bench, mut child: Child) {
    assert_eq!(child.wait().unwrap().code(), Some(12));
    let record = bench.record();
    assert_eq!(record.verdict.result, VerdictResult::Untrusted);
    let audit = record.audit.unwrap();
    assert!(audit.untrusted.iter().any(|why| why.contains("stood still")), "{:?}", audit.untrusted);
    assert!(audit.stood_still_ns > 1_200_000_000, "{audit:?}");
}

#[test]
fn a_run_that_was_stopped_for_a_while_is_not_trusted() {
    let bench = Bench::new();
    let child = started(&bench, STEADY, &[]);
    stop_for(&child, 1_500);
    is_untrusted(&bench, child);
}

#[test]
fn nor_is_one_whose_target_went_on_meanwhile_and_whose_horizon_passed() {
    let (far, bench) = (Bench::new(), Bench::new());
    let mock = Mock::start(&far, "");
    let short = STEADY.replace("60s", "6s").replace("200", "300");
    let child = started(&bench, &short, &["--target", &mock.url(), "--ca", mock.ca()]);
    stop_for(&child, 7_000);
    is_untrusted(&bench, child);
    assert!(bench.record().audit.unwrap().never_started > 0);
}
