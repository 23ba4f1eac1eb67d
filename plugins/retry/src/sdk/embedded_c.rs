//! The Azure SDK for Embedded C (snapshot 19d99b7). Everything here is read, nothing measured.

use fleetstorm_plugin::{Attempt, Class, Decision, Error, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{error, seconds};
use crate::{S, ns};

/// `az_iot_calculate_retry_delay` and the sample that uses it (`mqtt_state_machine.md`).
///
/// `e = min * 2^attempt` in 32 bits; above `max` or negative it counts as `max`; `U(0, jitter)` is added only if `max - e` is
/// above it; the time already spent is taken off. At the cap there is no jitter left. The product wraps: with a least wait
/// of 1,000 ms it is 0 at attempts 29 and 30, and the whole fleet retries at once. Attempts count from 0 here; above 30
/// the factor is `INT32_MAX` (`az_retry_internal.h`), whose product with any usual least wait counts as `max`.
///
/// Retryable are 429, 500 and a broken connection. A Retry-After above 0 comes first; the sample assigns its seconds to
/// a variable of milliseconds, which `sample_units` repeats.
pub(crate) struct Dps(Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The least wait, in milliseconds.
    min_ms: u32,
    /// The longest wait, in milliseconds.
    max_ms: u32,
    /// Upper bound of the jitter, in milliseconds.
    jitter_ms: u32,
    /// Whether Retry-After is taken for milliseconds, as in the sample.
    sample_units: bool,
    /// Milliseconds until the application starts over after an error; 0 for never.
    restart_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { min_ms: 1_000, max_ms: 100_000, jitter_ms: 5_000, sample_units: false, restart_ms: 0 }
    }
}

impl RetryStrategy for Dps {
    const ID: &'static str = "sdk-embedded-c";
    const SUMMARY: &'static str =
        "A model of the Azure SDK for Embedded C: its helper, with its 32-bit wrap and lost jitter.";
    const MODEL: bool = true;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        let most = i32::MAX.unsigned_abs();
        for (name, value) in
            [("min_ms", config.min_ms), ("max_ms", config.max_ms), ("jitter_ms", config.jitter_ms)]
        {
            if value > most {
                return Err(Error::new(format!("{name}: {value} does not fit 31 bits")));
            }
        }
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        if let Some(told) = seconds(attempt).filter(|told| *told > 0) {
            return Some(if self.0.sample_units { ns(told) } else { told * S });
        }
        let [min, max] = [self.0.min_ms, self.0.max_ms].map(|ms| i32::try_from(ms).unwrap_or(i32::MAX));
        let factor = match attempt.failures.saturating_sub(1) {
            exponent @ 0..=30 => 1 << exponent,
            _ => i32::MAX,
        };
        let product = min.wrapping_mul(factor);
        let wait = if product > max || product < 0 { max } else { product };
        let jitter = attempt.uniform(u64::from(self.0.jitter_ms) + 1);
        let wait = u64::from(wait.unsigned_abs());
        let room = u64::from(self.0.max_ms).saturating_sub(wait);
        let wait = if room > jitter { wait + jitter } else { wait };
        Some(ns(wait).saturating_sub(attempt.elapsed_ns))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        let retryable = attempt.status == 429
            || attempt.status == 500
            || matches!(attempt.class, Class::Unreachable | Class::OutcomeUnknown);
        if !retryable {
            return error(self.0.restart_ms);
        }
        self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;
    use fleetstorm_plugin::Given;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn the_helper_computes_in_32_bits() {
        // 1000 * 2^attempt and 2,500 ms of jitter, at most 100 s; at 22 the product is negative; at 29 and 30 it is 0.
        let failures = [1, 2, 7, 8, 23, 30, 31];
        let expected = [3_500, 4_500, 66_500, 100_000, 100_000, 2_500, 2_500];
        assert_eq!(waits_ms::<Dps>("{}", failures), expected);
        let unjittered = waits_ms::<Dps>(r#"{"jitter_ms": 0}"#, [30, 31]);
        assert_eq!(unjittered, [0, 0], "a retry at once by the whole fleet");
    }

    #[test]
    fn above_attempt_30_it_waits_its_longest() {
        let failures = [32, 33, 60, 63, 64, 1_000, u32::MAX];
        assert_eq!(waits_ms::<Dps>("{}", failures), [100_000; 7]);
        // The product with `INT32_MAX` is `-min` for an even least wait and above 2^30 for an odd one.
        assert_eq!(waits_ms::<Dps>(r#"{"min_ms": 1001}"#, failures), [100_000; 7]);
        let all = r#"{"min_ms": 2147483646, "max_ms": 2147483646, "jitter_ms": 0}"#;
        assert_eq!(waits_ms::<Dps>(all, [32_767]), [2_147_483_646], "as the SDK's own test of the overflow");
    }

    #[test]
    fn retry_after_comes_first_in_the_units_of_the_sample_if_asked() {
        let told = Attempt { given: Given::Seconds(30), ..Attempt::throttled(1) };
        assert_eq!(Trial::<Dps>::new("{}").unwrap().fail(&told), Decision::Wait(30 * S));
        let mut sample = Trial::<Dps>::new(r#"{"sample_units": true}"#).unwrap();
        assert_eq!(sample.fail(&told), Decision::Wait(30 * 1_000_000));
    }

    #[test]
    fn only_429_500_and_broken_connections_are_tried_again() {
        let fail = |status, class| {
            let attempt = Attempt { status, class, ..Attempt::throttled(1) };
            Trial::<Dps>::new("{}").unwrap().fail(&attempt)
        };
        assert!(matches!(fail(500, Class::ServerError), Decision::Wait(_)));
        assert!(matches!(fail(0, Class::Unreachable), Decision::Wait(_)));
        assert_eq!(fail(503, Class::ServerError), Decision::NEVER);
        assert_eq!(fail(401, Class::Unauthorized), Decision::NEVER);
    }
}
