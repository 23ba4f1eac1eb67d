//! `w(n) = min(cap, n * step) * U(1 - jitter, 1 + jitter)`, the linear policy of the Azure C SDK and of Polly with a
//! jitter on both sides.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_range, ns};

/// Waits a step longer after every failure.
pub(crate) struct Linear(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// What every failure adds, in milliseconds.
    step_ms: u64,
    /// No wait before jitter is longer than this many milliseconds.
    cap_ms: u64,
    /// Share by which a wait may be shorter or longer, 0 to 1.
    jitter: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { step_ms: 5_000, cap_ms: 60_000, jitter: 0.2 }
    }
}

impl RetryStrategy for Linear {
    const ID: &'static str = "linear";
    const SUMMARY: &'static str = "Waits a step longer after every failure, give or take a share.";
    const GUARDED: bool = true;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_range("jitter", config.jitter, 0.0..=1.0)?;
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let steps = ns(self.0.step_ms).saturating_mul(u64::from(attempt.failures));
        let wait = steps.min(ns(self.0.cap_ms));
        let spread = (wait as f64 * self.0.jitter) as u64;
        let spread = spread.min(wait);
        Some((wait - spread).saturating_add(attempt.uniform(spread.saturating_mul(2).saturating_add(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;

    #[test]
    fn waits_follow_the_formula() {
        // The draw is one half, so the jitter cancels out.
        assert_eq!(
            waits_ms::<Linear>("{}", [1, 2, 3, 12, 13, u32::MAX]),
            [5_000, 10_000, 15_000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn the_jitter_goes_both_ways() {
        let wait = |random| {
            let attempt = Attempt { random: [random, 0], ..Attempt::throttled(2) };
            fleetstorm_plugin::testing::Trial::<Linear>::new("{}").unwrap().fail(&attempt).wait_ns().unwrap()
        };
        // 10 s, 20 % either way.
        assert_eq!((wait(0), wait(u64::MAX)), (ns(8_000), ns(12_000)));
    }
}
