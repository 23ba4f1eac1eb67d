//! No strategy at all, in both directions.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

/// There is nothing to choose.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Gives up at the first failure.
pub(crate) struct GiveUp;

impl RetryStrategy for GiveUp {
    const ID: &'static str = "none";
    const SUMMARY: &'static str = "Gives up at the first failure.";
    type Config = Nothing;
    type Session = ();
    type Shared = ();

    fn new(_: Nothing) -> Result<Self> {
        Ok(Self)
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        None
    }
}

/// Tries again at once, whatever the service said: the worst neighbour a fleet can have.
pub(crate) struct Immediate;

impl RetryStrategy for Immediate {
    const ID: &'static str = "immediate";
    const SUMMARY: &'static str = "Tries again at once and ignores Retry-After: the baseline for storms.";
    type Config = Nothing;
    type Session = ();
    type Shared = ();

    fn new(_: Nothing) -> Result<Self> {
        Ok(Self)
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        Some(0)
    }
}
