//! The strategy whose price is measured: decorrelated jitter, so that there is a session to touch and a draw to make.

#![deny(unsafe_code)]

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

fleetstorm_plugin::export! { fleetstorm_plugin_fleetstorm_perf_plugins; retry: [Measured] }

/// Decorrelated jitter.
pub struct Measured(u64);

/// The parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The base in milliseconds.
    base_ms: u64,
}

impl RetryStrategy for Measured {
    const ID: &'static str = "perf.measured";
    const SUMMARY: &'static str = "Decorrelated jitter, to be measured.";
    type Config = Config;
    type Session = u64;
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config.base_ms * 1_000_000))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let previous = (*kept.session).max(self.0);
        let upper = previous.saturating_mul(3);
        *kept.session = (self.0 + attempt.uniform(upper - self.0)).min(120_000_000_000);
        Some(*kept.session)
    }
}
