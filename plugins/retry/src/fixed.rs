//! `w = base * U(1 - jitter, 1 + jitter)`.

use fleetstorm_plugin::{Attempt, Error, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ns;

/// Waits the same time after every failure.
pub(crate) struct Fixed(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The wait in milliseconds.
    base_ms: u64,
    /// Share by which a wait may be shorter or longer, 0 to 1. Even 0.1 matters: without it a fleet that failed
    /// together comes back together.
    jitter: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_ms: 5_000, jitter: 0.0 }
    }
}

impl RetryStrategy for Fixed {
    const ID: &'static str = "fixed";
    const SUMMARY: &'static str = "Waits the same time after every failure, give or take a share.";
    const GUARDED: bool = true;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        if !(0.0..=1.0).contains(&config.jitter) {
            return Err(Error::new(format!("jitter: {} is not between 0 and 1", config.jitter)));
        }
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let base = ns(self.0.base_ms);
        let spread = (base as f64 * self.0.jitter) as u64;
        Some((base - spread).saturating_add(attempt.uniform(spread.saturating_mul(2).saturating_add(1))))
    }
}
