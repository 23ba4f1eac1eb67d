//! `w = wait`, whatever happened: also after failures that no waiting cures.

use fleetstorm_plugin::{Attempt, Decision, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ns;

/// Tries again and again.
pub(crate) struct HotLoop(Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The wait in milliseconds.
    wait_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { wait_ms: 100 }
    }
}

impl RetryStrategy for HotLoop {
    const ID: &'static str = "bad.hot-loop";
    const SUMMARY: &'static str = "Defect: tries again after the same short time, whatever happened.";
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        Some(ns(self.0.wait_ms))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Wait)
    }
}
