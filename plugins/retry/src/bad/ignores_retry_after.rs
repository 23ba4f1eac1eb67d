//! Full jitter that does not look at Retry-After.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_backoff, full_jitter};

/// Full jitter without Retry-After.
pub(crate) struct IgnoresRetryAfter(Config);

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

impl RetryStrategy for IgnoresRetryAfter {
    const ID: &'static str = "bad.ignores-retry-after";
    const SUMMARY: &'static str = "Defect: full jitter that does not look at Retry-After.";
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(full_jitter(self.0.base_ms, self.0.cap_ms, attempt))
    }
}
