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
fn attestations_are_counted_by_the_protocol_that_they_came_by() {
    let cohort = |transport: &str| {
        format!("[[cohort]]\nname = \"{transport}\"\nshare = 0.2\ntransport = \"{transport}\"\n")
    };
    let transports = ["https", "mqtt", "mqtt-ws", "amqp", "amqp-ws"];
    let scenario = format!(
        "horizon = \"60s\"\nobjectives = [\"assigned == 100%\"]\n{}\n{}",
        r#"
            [[alert]]
            name = "web sockets"
            metric = "attestation-attempts"
            protocol = "mqtt-ws"
            window = "60s"
            operator = ">="
            threshold = 1
            [fleet]
            devices = 50
        "#,
        transports.map(cohort).concat()
    );
    for clock in ["virtual", "wired", "wall"] {
        let bench = Bench::new();
        bench.run(&scenario, &["--clock", clock]).passed();
        let record = bench.record();
        let attempts = record.metrics.iter().filter(|one| one.metric == "AttestationAttempts");
        let seen: std::collections::BTreeMap<_, _> =
            attempts.map(|one| (one.protocol.as_str(), one.total)).collect();
        assert!(seen.keys().eq(["amqp", "amqp-ws", "https", "mqtt", "mqtt-ws"].iter()), "{clock}: {seen:?}");
        // On a busy machine a device may have to ask twice.
        let once = |&count: &u64| if clock == "wall" { count >= 10 } else { count == 10 };
        assert!(seen.values().all(once), "{clock}: {seen:?}");
        assert!(
            record.metrics.iter().all(|one| one.metric == "AttestationAttempts" || one.protocol.is_empty())
        );
        assert_eq!(record.alerts[0].rule, "total(AttestationAttempts, protocol = mqtt-ws) >= 1 in 1m");
        let extreme = Some(seen["mqtt-ws"] as f64);
        assert_eq!((record.alerts[0].firings.len(), record.alerts[0].extreme), (1, extreme), "{clock}");
    }
}

#[test]
fn rules_that_make_no_sense_are_refused_with_their_place() {
    let bench = Bench::new();
    for (from, to, words) in [
        ("window = \"10s\"", "window = \"10ms\"", "window"),
        ("metric = \"attestation-attempts\"", "metric = \"device-assignments\"", "status"),
        (
            "metric = \"device-assignments\"",
            "metric = \"device-assignments\"\nprotocol = \"mqtt\"",
            "protocol",
        ),
        ("operator = \">\"", "operator = \"!\"", "`!`"),
        ("threshold = 5", "threshold = inf", "threshold"),
    ] {
        bench.run(&SCENARIO.replacen(from, to, 1), &["--clock", "wired"]).refused(2, &[words]);
    }
}
