//! What stands beside runs: comparisons of strategies and searches of capacity, as `compare` and `capacity` write them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Record;
use crate::record::ReadError;

/// Anything that a report can be made from.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A run: `run.json`.
    Run(Box<Record>),
    /// The result of `fleetstorm compare --json`.
    Comparison(Comparison),
    /// The result of `fleetstorm capacity --json`.
    Capacity(Capacity),
}

/// Strategies against throttles.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Comparison {
    /// The scenario's name.
    pub name: String,
    /// Devices in each run.
    pub devices: u64,
    /// Seeds that every pair has run with.
    pub seeds: u32,
    /// The strategy that the others are held against.
    pub baseline: String,
    /// The share below which a difference does not matter.
    pub margin: f64,
    /// Whether it was interrupted.
    pub partial: bool,
    /// One entry a throttle.
    pub throttles: Vec<Against>,
}

/// Numbers of a run by name; a number that was not reached has none.
pub type Numbers = BTreeMap<String, Option<f64>>;

/// All strategies against one throttle.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Against {
    /// The throttle.
    pub throttle: String,
    /// In the scenario's order.
    pub strategies: Vec<Standing>,
    /// Every strategy against every other one; empty in results of earlier versions.
    #[serde(default)]
    pub pairs: Vec<Pair>,
}

/// How one strategy did against one throttle.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Standing {
    /// The strategy.
    pub strategy: String,
    /// The median of each number over the runs.
    pub median: Numbers,
    /// Runs in which less than 99 % of the devices got their hub.
    pub unreached: u32,
    /// Whether it lies on the Pareto front.
    pub pareto: bool,
    /// Against the baseline.
    pub effects: Vec<Effect>,
    /// Every run, by seed.
    pub runs: Vec<Numbers>,
}

/// How a number differs from the baseline's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Effect {
    /// The number's name.
    pub metric: String,
    /// By how much.
    pub difference: Difference,
    /// The probability that a run has the larger number.
    pub a12: f64,
    /// Adjusted p-value.
    pub p: f64,
    /// What follows.
    pub verdict: Finding,
}

/// Two strategies beside each other.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Pair {
    /// The one, by its place among the strategies.
    pub one: usize,
    /// The other.
    pub other: usize,
    /// Of T99, one less the other, in seconds.
    pub difference: Difference,
    /// Adjusted p-value.
    pub p: f64,
    /// How the one did.
    pub verdict: Finding,
}

/// A median difference with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Difference {
    /// The median.
    pub median: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What follows from a difference. Smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Clearly smaller.
    Better,
    /// Clearly larger.
    Worse,
    /// It may be chance, or does not matter.
    NoClearDifference,
}

/// A search of the largest fleet or rate, or the smallest quota.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Capacity {
    /// `devices`, `rate` or `quota`.
    pub vary: String,
    /// The best value with which the objectives held.
    pub holds: Option<f64>,
    /// The nearest value with which they did not.
    pub breaks: Option<f64>,
    /// How far the scenario's own value is from `holds`, as a share of it.
    pub headroom: Option<f64>,
    /// Whether it was interrupted.
    pub partial: bool,
    /// Every probe, in order.
    pub probes: Vec<Probe>,
}

/// One value and what came of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Probe {
    /// The value.
    pub value: f64,
    /// Runs.
    pub runs: u32,
    /// Runs in which every objective held.
    pub passed: u32,
    /// Whether that is enough.
    pub holds: bool,
    /// An objective that failed, and what was observed.
    pub failed: Option<(String, String)>,
}

impl Document {
    /// Reads whatever it is.
    ///
    /// # Errors
    /// It is none of them, or of a later version.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        /// What tells them apart.
        #[derive(Deserialize)]
        struct Telling {
            throttles: Option<serde::de::IgnoredAny>,
            probes: Option<serde::de::IgnoredAny>,
        }
        match serde_json::from_slice(bytes) {
            Ok(Telling { throttles: Some(_), .. }) => Ok(Self::Comparison(serde_json::from_slice(bytes)?)),
            Ok(Telling { probes: Some(_), .. }) => Ok(Self::Capacity(serde_json::from_slice(bytes)?)),
            _ => Record::read(bytes).map(|record| Self::Run(Box::new(record))),
        }
    }
}
