//! The best-practice audit: what a fleet should do, held against what it did.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The audit of a run against [`super::Record::profile`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Practice {
    /// Devices that were watched event by event: all of them, or a sample drawn by the seed.
    pub watched: u64,
    /// The checks, in the order of the guidance.
    pub checks: Vec<Check>,
}

/// One practice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Its name in kebab case, such as `retry-after-floor`.
    pub id: String,
    /// What a fleet should do, in one line.
    pub title: String,
    /// Whether it did.
    pub status: CheckStatus,
    /// Occasions on which it could have been kept or broken.
    pub exercised: u64,
    /// Occasions on which it was broken.
    pub broken: u64,
    /// Watched devices that broke it; 0 for a check of the fleet as a whole.
    pub devices: u64,
    /// What was seen, in one sentence.
    pub evidence: String,
    /// What to do about it.
    pub advice: String,
    /// The first time that it was broken.
    pub first: Option<Case>,
    /// The time that it was broken worst.
    pub worst: Option<Case>,
}

/// An occasion on which a check was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// The device's number in the fleet.
    pub device: u32,
    /// Its registration id: `fleetstorm explain run.json <name>` tells its life.
    pub name: String,
    /// When.
    pub at_ns: u64,
    /// What it did.
    pub what: String,
}

/// Whether a practice was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// It was kept on every occasion.
    Passed,
    /// It was broken.
    Failed,
    /// There was no occasion: nothing is proved.
    NotExercised,
    /// The run cannot tell, because its generator could not keep time.
    Unknown,
}
