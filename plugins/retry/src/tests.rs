//! Waits against values computed by hand from the formulas.

use fleetstorm_plugin::testing::Trial;
use fleetstorm_plugin::{Attempt, Decision, Given, RetryStrategy};
use proptest::prelude::*;

use super::*;

/// The waits after these failures in a row, in milliseconds, with random numbers in the middle of their range.
pub(crate) fn waits_ms<S: RetryStrategy>(config: &str, failures: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let mut trial = Trial::<S>::new(config).unwrap();
    failures
        .into_iter()
        .map(|n| match trial.fail(&Attempt::throttled(n)) {
            Decision::Wait(ns) => ns / MS,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Why a configuration is refused.
pub(crate) fn refusal<S: RetryStrategy>(config: &str) -> String {
    Trial::<S>::new(config).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn waits_follow_their_formulas() {
    let config = r#"{"base_ms": 1000, "cap_ms": 20000}"#;
    // Half of 2, 4, 8, 16, 20, 20 s: the draw is one half.
    assert_eq!(waits_ms::<backoff::FullJitter>(config, 1..=6), [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    // Three quarters of them.
    assert_eq!(
        waits_ms::<backoff::EqualJitter>(config, 1..=6),
        [1_500, 3_000, 6_000, 12_000, 15_000, 15_000]
    );
    // 1 + (3*1-1)/2 = 2; 1 + (3*2-1)/2 = 3.5; 1 + (10.5-1)/2 = 5.75; 1 + (17.25-1)/2 = 9.125
    assert_eq!(waits_ms::<decorrelated::Decorrelated>(config, 1..=4), [2_000, 3_500, 5_750, 9_125]);
    assert_eq!(waits_ms::<fixed::Fixed>(r#"{"base_ms": 700}"#, [1, 50]), [700, 700]);
    assert_eq!(waits_ms::<fixed::Fixed>(r#"{"base_ms": 700, "jitter": 0.5}"#, [1]), [700]);
    assert_eq!(waits_ms::<none::Immediate>("{}", [1, 99]), [0, 0]);
    assert_eq!(Trial::<none::GiveUp>::new("{}").unwrap().fail(&Attempt::throttled(1)), Decision::NEVER);
}

#[test]
fn retry_after_is_spread_and_never_undercut() {
    let wait = |config: &str, told_ms: u64| {
        let told =
            Attempt { retry_after_ns: Some(ns(told_ms)), given: Given::Seconds(30), ..Attempt::throttled(1) };
        match Trial::<retry_after::RetryAfter>::new(config).unwrap().fail(&told) {
            Decision::Wait(ns) => ns / MS,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wait(r#"{"spread": "none"}"#, 30_000), 30_000);
    assert_eq!(wait(r#"{"spread": "constant", "spread_ms": 4000}"#, 30_000), 32_000);
    assert_eq!(wait(r#"{"spread": "proportional", "spread_share": 0.5}"#, 30_000), 37_500);
    assert_eq!(wait(r#"{"spread": "none"}"#, 3_600_000), 600_000, "max_honoured_ms");
}

#[test]
fn the_quota_window_spreads_over_the_time_the_quota_needs() {
    let mut trial = Trial::<retry_after::RetryAfter>::new(r#"{"spread": "quota-window"}"#).unwrap();
    let informed = Attempt {
        retry_after_ns: Some(0),
        fleet_size: 10_000,
        quota_per_minute: 1_000.0,
        ..Attempt::throttled(1)
    };
    assert_eq!(trial.fail(&informed), Decision::Wait(ns(300_000)));
}

#[test]
fn wrong_parameters_are_refused_with_their_name() {
    for (error, word) in [
        (refusal::<backoff::FullJitter>(r#"{"base": 5}"#), "base"),
        (refusal::<backoff::FullJitter>(r#"{"base_ms": "5s"}"#), "base_ms"),
        (refusal::<backoff::FullJitter>(r#"{"base_ms": 0}"#), "base_ms"),
        (refusal::<exponential::Exponential>(r#"{"cap_ms": 10}"#), "cap_ms"),
        (refusal::<fixed::Fixed>(r#"{"jitter": 2}"#), "jitter"),
        (refusal::<retry_after::RetryAfter>(r#"{"spread": "wide"}"#), "spread"),
    ] {
        assert!(error.contains(word), "{word}: {error}");
    }
}

fn wait_of<S: RetryStrategy>(config: &str, failures: u32, random: u64) -> u64 {
    let attempt = Attempt { random: [random, random], ..Attempt::throttled(failures) };
    let Decision::Wait(wait) = Trial::<S>::new(config).unwrap().fail(&attempt) else { panic!() };
    wait
}

proptest! {
    /// A wait never exceeds the cap, never wraps, and never overflows, for any number of failures.
    #[test]
    fn waits_stay_within_the_cap(failures in 1u32.., random: u64, base_ms in 1..u64::MAX, more in 0..u64::MAX) {
        let cap_ms = base_ms.saturating_add(more);
        let config = format!(r#"{{"base_ms": {base_ms}, "cap_ms": {cap_ms}}}"#);
        let exponential = wait_of::<exponential::Exponential>(&config, failures, random);
        prop_assert!((ns(base_ms)..=ns(cap_ms)).contains(&exponential));
        prop_assert!(wait_of::<backoff::FullJitter>(&config, failures, random) <= ns(cap_ms));
        prop_assert!(wait_of::<backoff::EqualJitter>(&config, failures, random) <= ns(cap_ms));
        prop_assert!(wait_of::<decorrelated::Decorrelated>(&config, failures, random) <= ns(cap_ms));
    }
}
