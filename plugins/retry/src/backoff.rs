//! Exponential back-off with jitter, where `v(n) = min(cap, base * 2^n)`:
//!
//! - full jitter: `U(0, v(n))`
//! - equal jitter: `v(n)/2 + U(0, v(n)/2)`
//!
//! They are those of the simulator behind Marc Brooker's "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015),
//! whose exponent starts at 1: the first wait draws from `2 * base`.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ns;

/// The parameters of exponential strategies with jitter.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Half of the first wait's upper bound in milliseconds.
    base_ms: u64,
    /// No wait is longer than this many milliseconds.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_ms: 1_000, cap_ms: 120_000 }
    }
}

impl Config {
    pub(crate) fn check(self) -> Result<Self> {
        crate::check_backoff(self.base_ms, self.cap_ms)?;
        Ok(self)
    }

    /// `min(cap, base * 2^exponent)` in nanoseconds.
    fn bound(self, exponent: u32) -> u64 {
        crate::doubling(self.base_ms, self.cap_ms, exponent)
    }

    pub(crate) fn base(self) -> u64 {
        ns(self.base_ms)
    }

    pub(crate) fn cap(self) -> u64 {
        ns(self.cap_ms)
    }
}

macro_rules! strategy {
    ($name:ident, $id:literal, $summary:literal, |$config:ident, $attempt:ident| $wait:expr) => {
        #[doc = $summary]
        pub(crate) struct $name(Config);

        impl RetryStrategy for $name {
            const ID: &'static str = $id;
            const SUMMARY: &'static str = $summary;
            const GUARDED: bool = true;
            type Config = Config;
            type Session = ();
            type Shared = ();

            fn new(config: Config) -> Result<Self> {
                config.check().map(Self)
            }

            fn wait(&self, _: Kept<'_, Self>, $attempt: &Attempt) -> Option<u64> {
                let $config = self.0;
                Some($wait)
            }
        }
    };
}

strategy!(
    FullJitter,
    "full-jitter",
    "Draws its wait between nothing and a bound that doubles up to a cap.",
    |config, attempt| attempt.uniform(config.bound(attempt.failures))
);
strategy!(
    EqualJitter,
    "equal-jitter",
    "Waits half of a bound that doubles up to a cap, and draws the other half.",
    |config, attempt| {
        let half = config.bound(attempt.failures) / 2;
        half + attempt.uniform(half)
    }
);
