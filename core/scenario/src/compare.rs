//! What a comparison compares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Plugin, ThrottleFile};

/// Retry strategies to compare, each against each throttle, over many seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompareFile {
    /// The strategies. The first one is the baseline that the others are held against.
    pub strategies: Vec<Plugin>,
    /// The throttles. Default: the mock's own.
    #[serde(rename = "throttle")]
    pub throttles: Vec<ThrottleFile>,
    /// Runs of each pair: the scenario's seed and those after it. The run is the replicate, so this is the sample's
    /// size.
    pub seeds: u32,
    /// A difference smaller than this share of the baseline's value is none that matters.
    pub margin: f64,
}

impl Default for CompareFile {
    fn default() -> Self {
        Self { strategies: Vec::new(), throttles: Vec::new(), seeds: 20, margin: 0.05 }
    }
}

impl CompareFile {
    /// What is wrong with the numbers: the key, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.strategies.is_empty() {
            return Err(("strategies", "there is nothing to compare"));
        }
        if !(1..=10_000).contains(&self.seeds) {
            return Err(("seeds", "a comparison takes 1 to 10,000 seeds"));
        }
        if !(0.0..1.0).contains(&self.margin) {
            return Err(("margin", "a margin is a share from 0 to 1, such as 0.05"));
        }
        Ok(())
    }
}
