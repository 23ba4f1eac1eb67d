//! Faults go no further than they may, and end with the run, however that ends.

use std::process::Stdio;
use std::time::Duration;

use fleetstorm_reports::record::{End, FaultStatus};
use rustix::process::Signal;

use crate::harness::{Bench, Ended, Mock, signal};

const FLEET: &str = r#"
    horizon = "5m"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 30
    arrival = { kind = "constant", rate = "10/s" }
    [[cohort]]
    retry = { kind = "fixed", base_ms = 500 }
"#;

const BLACKOUT: &str = r#"
    [[chaos]]
    fault = { kind = "net.reset", phase = "after-tls" }
    start = "1s"
    duration = "4m"
"#;

#[test]
fn a_service_fault_is_refused_against_anything_but_the_mock() {
    let bench = Bench::new();
    let storm = format!("{FLEET}[[chaos]]\nfault = {{ kind = \"service.throttle\" }}\n");
    bench
        .run(&storm, &["--target", "https://127.0.0.1:1"])
        .refused(2, &["service.throttle needs the embedded mock"]);
    let short = ["--target", "https://127.0.0.1:1", "--chaos", "any @1s..2s -> 429"];
    bench.run(FLEET, &short).refused(2, &["service.throttle needs the embedded mock"]);
}

#[test]
fn a_consent_names_what_it_allows_and_until_when() {
    let bench = Bench::new();
    let consent = |more: &str| {
        format!(
            "target.consent={{ host = \"a.example\", max_devices = 99, max_registrations = 99, max_rate = \"9/s\"{more} }}"
        )
    };
    let run =
        |text: &str, more: &str| bench.run(text, &["--target", "https://a.example", "--set", &consent(more)]);
    let broken = format!("{FLEET}{BLACKOUT}");
    let ends = ", expires = \"2020-01-01T00:00:00Z\"";
    run(&broken, "").refused(2, &["does not cover faults of the layer network", "target.consent.chaos"]);
    run(&broken, ", chaos = [\"network\"]").refused(2, &["has an end", "target.consent.expires"]);
    run(&broken, &format!(", chaos = [\"fleet\"]{ends}")).refused(2, &["layer network"]);
    run(&broken, &format!(", chaos = [\"network\"]{ends}"))
        .refused(2, &["`a.example` ends at 2020-01-01T00:00:00Z", "shorten `horizon`"]);
    run(FLEET, ends).refused(2, &["`a.example` ends at 2020-01-01T00:00:00Z"]);
}

/// The target is a process of its own, which outlives the run: what the fault left there would be met by the next run.
#[test]
fn an_interrupted_run_leaves_its_record_and_no_fault_behind() {
    let far = Bench::new();
    let mock = Mock::start(&far, "throttle = { profile = \"unlimited\" }");
    let bench = Bench::new();
    bench.file("broken.toml", &format!("{FLEET}{BLACKOUT}"));
    for kind in [Signal::INT, Signal::TERM] {
        let child = bench
            .command()
            .args(["run", "broken.toml", "--out", "out", "--progress", "none"])
            .args(["--target", &mock.url(), "--ca", mock.ca()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::park_timeout(Duration::from_secs(6));
        signal(&child, kind);
        let ended = Ended::of(&child.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{ended:?}");
        let record = bench.record();
        assert_eq!(record.end, End::Interrupted);
        let [fault] = &record.chaos.faults[..] else { panic!("{:?}", record.chaos) };
        assert!(fault.fired > 0 && record.totals.failed > 0, "{fault:?}");
        assert_eq!((fault.windows.len(), fault.windows[0].until_ns), (1, None), "it was on to the end");
        assert_ne!(fault.status, FaultStatus::Failed, "nobody saw whether the fleet came back");
    }
    let clean = bench.run(FLEET, &["--target", &mock.url(), "--ca", mock.ca()]);
    clean.passed();
    let totals = bench.record().totals;
    assert_eq!((totals.assigned, totals.failed), (30, 0), "{totals:?}");
}
