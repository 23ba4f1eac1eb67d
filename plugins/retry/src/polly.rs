//! `t = n - 1 + U(0, 1); x(t) = 2^t * tanh(sqrt(4 t)); w = (x(t) - x(t_prev)) / 1.4 * base`, the decorrelated jitter of
//! Polly v8 (`RetryHelper.cs`), which aims at a median of `base * 2^(n-1)` without the piles of the older formula.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_backoff, ns};

/// Polly's exponential back-off with jitter.
pub(crate) struct Polly(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The median of the first wait, in milliseconds.
    base_ms: u64,
    /// No wait is longer than this many milliseconds. Polly itself has no such limit unless it is set.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_ms: 2_000, cap_ms: 120_000 }
    }
}

impl RetryStrategy for Polly {
    const ID: &'static str = "polly-v8";
    const SUMMARY: &'static str = "Polly v8's exponential back-off with decorrelated jitter.";
    const GUARDED: bool = true;
    type Config = Config;
    /// `x` of the failure before.
    type Session = f64;
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let previous = kept.session;
        if attempt.failures <= 1 {
            *previous = 0.0;
        }
        // Beyond this exponent the wait is at the cap whatever the parameters are, and differences lose their meaning.
        let exponent = f64::from(attempt.failures.saturating_sub(1)).min(500.0);
        let t = exponent + attempt.fraction();
        let x = t.exp2() * (4.0 * t).sqrt().tanh();
        let wait = (x - *previous) / 1.4 * ns(self.0.base_ms) as f64;
        *previous = x;
        let wait = if exponent < 500.0 { wait } else { f64::INFINITY };
        Some((wait.max(0.0) as u64).min(ns(self.0.cap_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;

    #[test]
    fn waits_follow_the_formula() {
        // By hand, with a draw of one half and base 2 s: x(0.5) = 1.25637, x(1.5) = 2.78657, x(2.5) = 5.63662;
        // (x - x_prev) / 1.4 * 2 s = 1.7948, 2.1860, 4.0715.
        let waits = waits_ms::<Polly>("{}", 1..=3);
        for (wait, expected) in waits.iter().zip([1_794i64, 2_186, 4_071]) {
            assert!((*wait as i64 - expected).abs() <= 1, "{waits:?}");
        }
    }

    #[test]
    fn it_stays_at_its_cap() {
        assert_eq!(waits_ms::<Polly>("{}", [499, 500, 501, 502, u32::MAX])[2..], [120_000, 120_000, 120_000]);
    }
}
