//! Exponential back-off with jitter whose product has 32 bits and wraps: `w = base * 2^(n-1) mod 2^32` in milliseconds,
//! cut to the cap, with the shift modulo 32 as the processor does it.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ns;

/// Exponential back-off that wraps.
pub(crate) struct Overflow(Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The first wait in milliseconds.
    base_ms: u32,
    /// No wait before jitter is longer than this many milliseconds.
    cap_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_ms: 1_000, cap_ms: 120_000 }
    }
}

impl RetryStrategy for Overflow {
    const ID: &'static str = "bad.overflow";
    const SUMMARY: &'static str = "Defect: exponential back-off in 32 bits, which wraps to no wait at all.";
    const GUARDED: bool = true;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let factor = 1u32.wrapping_shl(attempt.failures.saturating_sub(1));
        let wait = ns(u64::from(self.0.base_ms.wrapping_mul(factor).min(self.0.cap_ms)));
        Some(wait / 2 + attempt.uniform(wait / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;

    #[test]
    fn it_wraps_as_it_should_not() {
        assert_eq!(waits_ms::<Overflow>("{}", [1, 2, 29, 30, 32, 33]), [750, 1_500, 90_000, 0, 0, 750]);
    }
}
