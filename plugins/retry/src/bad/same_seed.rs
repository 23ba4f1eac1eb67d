//! Full jitter whose generator every device seeds with the same number: all of them draw the same waits.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_backoff, full_jitter};

/// Full jitter that is the same on every device.
pub(crate) struct SameSeed(Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Half the upper bound of the first wait, in milliseconds.
    base_ms: u64,
    /// No wait is longer than this many milliseconds.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_ms: 1_000, cap_ms: 120_000 }
    }
}

impl RetryStrategy for SameSeed {
    const ID: &'static str = "bad.same-seed";
    const SUMMARY: &'static str =
        "Defect: full jitter from a generator that is seeded alike on every device.";
    const GUARDED: bool = true;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        // The multiplier of Knuth's MMIX generator, seeded with the count.
        let draw = u64::from(attempt.failures).wrapping_mul(6_364_136_223_846_793_005);
        let alike = Attempt { random: [draw, draw], ..*attempt };
        Some(full_jitter(self.0.base_ms, self.0.cap_ms, &alike))
    }
}
