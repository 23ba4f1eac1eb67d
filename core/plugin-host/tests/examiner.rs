//! The examiner finds the faults that are seeded in the `bad.*` strategies and in the models of the SDKs, and none in
//! the strategies that Fleetstorm recommends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use fleetstorm_plugin_host::{Examination, Registry, Verdict, examine};

fn examined(id: &str, parameters: &str) -> Examination {
    examine(&Registry::new(&[&fleetstorm_plugin_retry::ENTRY]), id, parameters).unwrap()
}

fn verdict(found: &Examination, check: &str) -> Verdict {
    found.check(check).unwrap().verdict
}

#[test]
fn recommended_strategies_pass() {
    for id in ["full-jitter", "equal-jitter", "retry-after", "linear", "window-shrink", "slots"] {
        let found = examined(id, "{}");
        assert!(found.passed(), "{found}");
        assert_eq!(verdict(&found, "herd"), Verdict::Pass, "{found}");
    }
    let added = examined("full-jitter", r#"{"retry_after": "add"}"#);
    assert_eq!(verdict(&added, "herd-retry-after"), Verdict::Pass, "{added}");
    let floored = examined("full-jitter", "{}");
    assert_eq!(verdict(&floored, "herd-retry-after"), Verdict::Warn, "{floored}");
}

#[test]
fn the_seeded_faults_are_found_by_the_checks_that_are_for_them() {
    for (id, parameters, check, words) in [
        ("bad.hot-loop", "{}", "back-off", "hot loop"),
        ("bad.hot-loop", "{}", "terminal", "403"),
        ("bad.hot-loop", "{}", "herd", "no jitter"),
        ("bad.hot-loop", "{}", "retry-after", "after 30 it may be back in 100 ms"),
        ("bad.ignores-retry-after", "{}", "retry-after", "after 3 it may be back in 0 s"),
        ("bad.same-seed", "{}", "herd", "no jitter"),
        ("bad.overflow", "{}", "overflow", "at failure 30"),
        ("bad.overflow", "{}", "herd", "retry 30"),
        ("immediate", "{}", "back-off", "hot loop"),
        ("fixed", "{}", "herd", "no jitter"),
        ("exponential", "{}", "herd", "no jitter"),
        ("sdk-embedded-c", "{}", "herd", "jitter is lost from retry 9 on"),
        (
            "sdk-embedded-c",
            r#"{"jitter_ms": 0}"#,
            "overflow",
            "at failure 30 the wait falls from 1 m 40 s to 0 s",
        ),
        ("sdk-embedded-c", "{}", "overflow", "wraps around"),
        ("sdk-embedded-c", r#"{"sample_units": true}"#, "retry-after", "after 30 it may be back in 30 ms"),
        ("sdk-c-hub", "{}", "herd", "no jitter"),
        ("sdk-csharp-v1-hub", "{}", "herd", "jitter is lost from retry 3 on"),
        ("polly-v8", "{}", "herd", "jitter is lost from retry 9 on"),
        ("sdk-node-dps", "{}", "retry-after", "after a date in 30 s it may be back in 1 ms"),
        ("sdk-c-dps", "{}", "retry-after", "a date in 30 s it may be back in 1 s"),
        ("sdk-c-2026", "{}", "terminal", "it goes on after: 401"),
        ("sdk-c-2026", "{}", "retry-after", "after a date in 30 s it may be back in"),
        ("sdk-c-2026", r#"{"jitter_pct": 0}"#, "herd", "no jitter"),
        ("sdk-csharp-2026", "{}", "terminal", "it goes on after: 401"),
        ("sdk-csharp-2026", "{}", "retry-after", "after a date in 30 s it may be back in"),
        ("sdk-csharp-2026", "{}", "herd", "its jitter is lost from retry 3 on"),
        ("sdk-freertos", "{}", "terminal", "untrusted server"),
        ("sdk-netxduo", "{}", "terminal", "403"),
        ("sdk-arduino", "{}", "herd", "no jitter"),
        ("sdk-arduino", "{}", "retry-after", "after 3 it may be back in 600 ms"),
        ("sdk-identity-service-renewal", "{}", "herd", "no jitter"),
        ("ms-deploy-at-scale", r#"{"variant": "helper"}"#, "herd", "jitter is lost"),
    ] {
        let found = examined(id, parameters);
        let check = found.check(check).unwrap();
        assert_eq!(check.verdict, Verdict::Fail, "{id} {parameters}: {check:?}\n{found}");
        assert!(check.finding.contains(words), "{id} {parameters}: {check:?}");
        assert!(!found.passed());
    }
    for id in ["sdk-csharp-v2", "sdk-csharp-2026"] {
        let few = examined(id, "{}");
        let herd = few.herd.iter().find(|row| row.retry == 20).unwrap();
        assert!(
            (0.07..0.12).contains(&herd.fullest_share),
            "a tenth of the fleet in each of eleven slots: {few}"
        );
    }
    // Jitter of 20 % up and down spreads the third retry over 1.6 s, and the seventh, at the cap, over 24 s: it is not lost
    // there, because it is added after the cap.
    let spread = examined("sdk-c-2026", "{}");
    assert_eq!(verdict(&spread, "herd"), Verdict::Warn, "{spread}");
    let capped = spread.herd.iter().filter(|row| row.retry >= 9);
    assert!(capped.clone().all(|row| row.most_ns > 60_000_000_000 && row.fullest_share < 0.01), "{spread}");
    // Whole seconds, upwards: eight waits at the third retry, hundreds at the cap.
    let whole = examined("sdk-netxduo", "{}");
    assert_eq!(verdict(&whole, "herd"), Verdict::Warn, "{whole}");
    assert!(whole.herd.iter().any(|row| row.retry == 12 && row.fullest_share < 0.01), "{whole}");
    // What gives every failure to the application has nothing that could be examined.
    for id in ["sdk-nrf", "sdk-freertos"] {
        assert_eq!(verdict(&examined(id, "{}"), "herd"), Verdict::NotApplicable, "{id}");
    }
    assert!(examined("sdk-nrf", "{}").passed());
    let piled = examined("decorrelated", "{}");
    assert_eq!(verdict(&piled, "herd"), Verdict::Fail, "its waits pile up on the cap, as published: {piled}");
}

#[test]
fn coordinated_strategies_are_known_for_what_they_are() {
    for id in ["token-budget", "aimd-gate", "sre-throttle", "grpc-throttle", "aws-standard", "aws-adaptive"] {
        let found = examined(id, "{}");
        assert!(found.coordinated, "{id}");
        for check in ["determinism", "sharing", "terminal", "overflow"] {
            assert_eq!(verdict(&found, check), Verdict::Pass, "{id}: {found}");
        }
    }
    assert!(examined("slots", "{}").informed);
    assert!(examined("sdk-java-dps", "{}").model);
    assert!(examined("full-jitter", r#"{"breaker": {}}"#).coordinated);
}

#[test]
fn every_strategy_can_be_examined_and_told() {
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY]);
    for (_, part) in registry.parts() {
        let found = examine(&registry, part.id(), "{}").unwrap();
        assert_eq!(verdict(&found, "determinism"), Verdict::Pass, "{found}");
        let text = found.to_string();
        assert!(text.contains(part.id()) && text.contains("Retry-After"), "{text}");
        let json: serde_json::Value = serde_json::to_value(&found).unwrap();
        assert_eq!(json["checks"].as_array().unwrap().len(), found.checks.len());
    }
}
