//! Exponential back-off without jitter: `w(n) = min(cap, base * factor^(n-1))`, truncated binary exponential back-off
//! where the factor is 2 (IEEE 802.3, 4.2.3.2.5, without its draw).

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_backoff, check_range, ns};

/// Multiplies its wait after every failure.
pub(crate) struct Exponential(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The first wait in milliseconds.
    base_ms: u64,
    /// What every further failure multiplies the wait by, 1 to 10.
    factor: f64,
    /// No wait is longer than this many milliseconds.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_ms: 1_000, factor: 2.0, cap_ms: 120_000 }
    }
}

impl RetryStrategy for Exponential {
    const ID: &'static str = "exponential";
    const SUMMARY: &'static str =
        "Multiplies its wait up to a cap, without jitter: a fleet that failed together returns together.";
    const GUARDED: bool = true;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        check_range("factor", config.factor, 1.0..=10.0)?;
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let Config { base_ms, factor, cap_ms } = self.0;
        let exponent = i32::try_from(attempt.failures.saturating_sub(1)).unwrap_or(i32::MAX);
        // A power beyond every number is infinite, and the cast cuts it to the largest span there is.
        let wait = (ns(base_ms) as f64 * factor.powi(exponent)) as u64;
        Some(wait.clamp(ns(base_ms), ns(cap_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{refusal, waits_ms};

    #[test]
    fn the_wait_grows_by_the_factor_up_to_the_cap() {
        let waits = |factor: &str| {
            let config = format!(r#"{{"base_ms": 1000, "cap_ms": 20000{factor}}}"#);
            waits_ms::<Exponential>(&config, 1..=6)
        };
        assert_eq!(waits(""), [1_000, 2_000, 4_000, 8_000, 16_000, 20_000], "the factor is 2 by default");
        assert_eq!(waits(r#", "factor": 3"#), [1_000, 3_000, 9_000, 20_000, 20_000, 20_000]);
        assert_eq!(waits(r#", "factor": 1.5"#), [1_000, 1_500, 2_250, 3_375, 5_062, 7_593]);
        assert_eq!(waits(r#", "factor": 1"#), [1_000; 6]);
    }

    #[test]
    fn a_failure_beyond_counting_waits_for_the_cap() {
        for factor in ["1.01", "2", "10"] {
            let config = format!(r#"{{"factor": {factor}}}"#);
            assert_eq!(waits_ms::<Exponential>(&config, [100_000, u32::MAX]), [120_000; 2], "{factor}");
        }
    }

    #[test]
    fn a_factor_that_shrinks_or_explodes_is_refused() {
        for factor in ["0.9", "-2", "10.1", "1e300"] {
            let error = refusal::<Exponential>(&format!(r#"{{"factor": {factor}}}"#));
            assert!(error.starts_with("factor"), "{factor}: {error}");
        }
    }
}
