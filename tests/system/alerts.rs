//! What Azure Monitor would show of a run: metrics, and alerts that fire and resolve.

use crate::harness::Bench;

const SCENARIO: &str = r#"
    horizon = "5m"
    objectives = ["assigned >= 80%"]
    [[alert]]
    name = "unauthorized"
    metric = "attestation-attempts"
    status = "failed"
    window = "10s"
    operator = ">"
    threshold = 5
    [[alert]]
    name = "one hub floods"
    metric = "device-assignments"
    hub = "demo-hub-1.azure-devices.net"
    aggregation = "maximum"
    window = "30s"
    operator = ">="
    threshold = 1000
    [fleet]
    devices = 200
    arrival = { kind = "all-at-once", spread = "2s" }
    [[cohort]]
    name = "good"
    share = 0.9
    [[cohort]]
    name = "unknown"
    share = 0.1
    enrolled = false
"#;

#[test]
fn an_alert_fires_and_resolves_on_the_runs_timeline() {
    for clock in ["wired", "wall"] {
        let bench = Bench::new();
        bench.run(SCENARIO, &["--clock", clock, "--set", "horizon=60s"]).passed();
        let record = bench.record();
        let total = |metric: &str, status: &str| -> u64 {
            let series = record.metrics.iter().filter(|one| one.metric == metric && one.status == status);
            series.map(|one| one.total).sum()
        };
        assert_eq!(total("DeviceAssignments", ""), 180, "{clock}");
        assert_eq!(total("RegistrationAttempts", "succeeded"), 180);
        let refused = record.codes.iter().filter(|code| code.operation == "register" && code.status == 401);
        assert_eq!(total("AttestationAttempts", "failed"), refused.map(|code| code.count).sum::<u64>());
        let hubs: std::collections::BTreeMap<_, _> = record
            .metrics
            .iter()
            .filter(|one| one.metric == "DeviceAssignments")
            .map(|one| (one.hub.clone(), one.total))
            .collect();
        assert_eq!(hubs, record.totals.hubs, "{clock}");

        let [unauthorized, flood] = &record.alerts[..] else { panic!("{:?}", record.alerts) };
        assert_eq!(unauthorized.rule, "total(AttestationAttempts, status = failed) > 5 in 10s");
        let first = &unauthorized.firings[0];
        assert!((1..=10).contains(&(first.fired_ns / 1_000_000_000)), "{clock}: {unauthorized:?}");
        assert!(first.resolved_ns.is_none_or(|resolved| resolved > first.fired_ns), "{unauthorized:?}");
        assert!(flood.firings.is_empty() && flood.extreme.unwrap() > 0.0, "{flood:?}");
    }
}

#[test]
fn rules_that_make_no_sense_are_refused_with_their_place() {
    let bench = Bench::new();
    for (from, to, words) in [
        ("window = \"10s\"", "window = \"10ms\"", "window"),
        ("metric = \"attestation-attempts\"", "metric = \"device-assignments\"", "status"),
        ("operator = \">\"", "operator = \"!\"", "`!`"),
        ("threshold = 5", "threshold = inf", "threshold"),
    ] {
        bench.run(&SCENARIO.replacen(from, to, 1), &["--clock", "wired"]).refused(2, &[words]);
    }
}
