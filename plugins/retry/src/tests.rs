//! Waits against values computed by hand from the formulas.

use fleetstorm_plugin::{Advice, Attempt, Class, Decision, ErasedRetry, Given, Operation, PartKind};
use proptest::prelude::*;

use super::*;

fn make(id: &str, config: &str) -> fleetstorm_plugin::Result<Box<dyn ErasedRetry>> {
    let part = ENTRY.parts.iter().find(|part| part.id == id).unwrap();
    let PartKind::Retry(create) = part.kind else { panic!("a strategy") };
    create(config)
}

/// The `failures`-th failure by throttling, with the random number in the middle of its range.
fn attempt(failures: u32) -> Attempt {
    Attempt {
        operation: Operation::Register,
        class: Class::Throttled,
        advice: Advice::Retry,
        status: 429,
        code: 429_001,
        failures,
        attempts: failures,
        operation_failures: failures,
        given: Given::Absent,
        retry_after_ns: None,
        floor_ns: 0,
        park_ns: 3_600_000 * MS,
        previous_wait_ns: 0,
        now_ns: 0,
        since_boot_ns: 0,
        elapsed_ns: 0,
        operation_known: false,
        credential: 0,
        credentials: 1,
        device_hash: 0,
        fleet_size: 0,
        quota_per_minute: 0.0,
        random: [1 << 63, 1 << 63],
    }
}

fn waits_ms(id: &str, config: &str, failures: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let strategy = make(id, config).unwrap();
    let mut session = strategy.session();
    failures
        .into_iter()
        .map(|n| match strategy.on_failure(&mut session, &attempt(n)) {
            Decision::Wait(ns) => ns / MS,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn waits_follow_their_formulas() {
    let config = r#"{"base_ms": 1000, "cap_ms": 20000}"#;
    assert_eq!(waits_ms("exponential", config, 1..=7), [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
    // Half of 2, 4, 8, 16, 20, 20 s: the draw is one half.
    assert_eq!(waits_ms("full-jitter", config, 1..=6), [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    // Three quarters of them.
    assert_eq!(waits_ms("equal-jitter", config, 1..=6), [1_500, 3_000, 6_000, 12_000, 15_000, 15_000]);
    // 1 + (3*1-1)/2 = 2; 1 + (3*2-1)/2 = 3.5; 1 + (10.5-1)/2 = 5.75; 1 + (17.25-1)/2 = 9.125
    assert_eq!(waits_ms("decorrelated", config, 1..=4), [2_000, 3_500, 5_750, 9_125]);
    assert_eq!(waits_ms("fixed", r#"{"base_ms": 700}"#, [1, 50]), [700, 700]);
    assert_eq!(waits_ms("fixed", r#"{"base_ms": 700, "jitter": 0.5}"#, [1]), [700]);
    assert_eq!(waits_ms("immediate", "{}", [1, 99]), [0, 0]);
}

#[test]
fn retry_after_is_a_floor_unless_the_guard_says_otherwise() {
    let wait = |id: &str, config: &str, told_ms: u64| {
        let strategy = make(id, config).unwrap();
        let told = Attempt { retry_after_ns: Some(ns(told_ms)), given: Given::Seconds(30), ..attempt(1) };
        match strategy.on_failure(&mut strategy.session(), &told) {
            Decision::Wait(ns) => ns / MS,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wait("full-jitter", "{}", 30_000), 30_000);
    assert_eq!(wait("full-jitter", r#"{"retry_after": "add"}"#, 30_000), 31_000);
    assert_eq!(wait("full-jitter", r#"{"retry_after": "ignore"}"#, 30_000), 1_000);
    assert_eq!(wait("retry-after", r#"{"spread": "none"}"#, 30_000), 30_000);
    assert_eq!(wait("retry-after", r#"{"spread": "constant", "spread_ms": 4000}"#, 30_000), 32_000);
    assert_eq!(wait("retry-after", r#"{"spread": "proportional", "spread_share": 0.5}"#, 30_000), 37_500);
    assert_eq!(wait("retry-after", r#"{"spread": "none"}"#, 3_600_000), 600_000, "max_honoured_ms");
    assert_eq!(wait("immediate", "{}", 30_000), 0);
}

#[test]
fn the_quota_window_spreads_over_the_time_the_quota_needs() {
    let strategy = make("retry-after", r#"{"spread": "quota-window"}"#).unwrap();
    let informed =
        Attempt { retry_after_ns: Some(0), fleet_size: 10_000, quota_per_minute: 1_000.0, ..attempt(1) };
    assert_eq!(strategy.on_failure(&mut strategy.session(), &informed), Decision::Wait(ns(300_000)));
}

#[test]
fn advice_is_followed_where_waiting_does_not_help() {
    let strategy = make("full-jitter", "{}").unwrap();
    let decide = |advice| strategy.on_failure(&mut strategy.session(), &Attempt { advice, ..attempt(1) });
    assert_eq!(decide(Advice::Park), Decision::GiveUp { rearm_ns: ns(3_600_000) });
    assert_eq!(decide(Advice::Renew), Decision::Restart(0));
    assert_eq!(decide(Advice::Restart), Decision::Restart(ns(1_000)));
    let none = make("none", "{}").unwrap();
    assert_eq!(none.on_failure(&mut none.session(), &attempt(1)), Decision::GiveUp { rearm_ns: 0 });
    let limited = make("fixed", r#"{"max_attempts": 3}"#).unwrap();
    assert_eq!(limited.on_failure(&mut limited.session(), &attempt(3)), Decision::GiveUp { rearm_ns: 0 });
}

#[test]
fn wrong_parameters_are_refused_with_their_name() {
    for (id, config, word) in [
        ("full-jitter", r#"{"base": 5}"#, "base"),
        ("full-jitter", r#"{"base_ms": "5s"}"#, "base_ms"),
        ("full-jitter", r#"{"base_ms": 0}"#, "base_ms"),
        ("exponential", r#"{"cap_ms": 10}"#, "cap_ms"),
        ("fixed", r#"{"jitter": 2}"#, "jitter"),
        ("fixed", r#"{"retry_after": "perhaps"}"#, "retry_after"),
        ("retry-after", r#"{"spread": "wide"}"#, "spread"),
        ("none", "[]", "JSON object"),
    ] {
        let error = make(id, config).err().unwrap().to_string();
        assert!(error.contains(word), "{id} {config}: {error}");
    }
}

#[test]
fn every_part_has_a_schema_with_described_parameters() {
    for part in ENTRY.parts {
        let schema = (part.schema)();
        assert_eq!(schema["type"], "object", "{}", part.id);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                property.get("description").is_some() || property.get("$ref").is_some(),
                "{} {name}",
                part.id
            );
        }
    }
}

proptest! {
    /// A wait never exceeds the cap, never wraps, and never overflows, for any number of failures.
    #[test]
    fn waits_stay_within_the_cap(failures in 1u32.., random: u64, base_ms in 1..u64::MAX, more in 0..u64::MAX) {
        let cap_ms = base_ms.saturating_add(more);
        let config = format!(r#"{{"base_ms": {base_ms}, "cap_ms": {cap_ms}}}"#);
        for id in ["exponential", "full-jitter", "equal-jitter", "decorrelated"] {
            let strategy = make(id, &config).unwrap();
            let now = Attempt { random: [random, random], ..attempt(failures) };
            let Decision::Wait(wait) = strategy.on_failure(&mut strategy.session(), &now) else { panic!() };
            prop_assert!(wait <= ns(cap_ms));
            if id == "exponential" { prop_assert!(wait >= ns(base_ms)); }
        }
    }
}
