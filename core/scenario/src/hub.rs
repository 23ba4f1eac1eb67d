//! What a mock's file says about hubs.

use fleetstorm_model::chaos::HubState;
use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A linked hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubFile {
    /// Its host name.
    pub host: String,
    /// Its allocation weight, 1 to 1000.
    #[serde(default = "one")]
    pub weight: u32,
    /// Its tier, which says how many new connections it takes a second: S1 the higher of 100 and 12 a unit, S2 120 a
    /// unit, S3 6,000 a unit.
    #[serde(default)]
    pub tier: TierFile,
    /// Units of that tier.
    #[serde(default = "one")]
    pub units: u32,
    /// Connections beyond that wait for their CONNACK; one that would wait longer than this is closed instead.
    #[serde(default = "minute")]
    pub backlog: Duration,
    /// Whether assignments wait for the tier's identity registry, 100 a minute and unit for S1 and S2. Whether the
    /// real service's do is not documented.
    #[serde(default)]
    pub registry_limit: bool,
    /// What becomes of it, in order of time. It starts `up`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<HubChangeFile>,
    /// When it calls the direct method `Reprovision` of its devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reprovision: Vec<SweepFile>,
}

const fn one() -> u32 {
    1
}

const fn minute() -> Duration {
    Duration(Span::from_secs(60))
}

const fn nothing() -> Duration {
    Duration(Span::ZERO)
}

/// Tiers of IoT Hub, as far as their throttles differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TierFile {
    /// Takes every connection at once.
    #[serde(rename = "unlimited")]
    Unlimited,
    /// Free, B1 and S1.
    #[default]
    S1,
    /// B2 and S2.
    S2,
    /// B3 and S3.
    S3,
}

/// A change of a hub's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubChangeFile {
    /// When, from the start.
    pub at: Duration,
    /// What it is from then on.
    pub state: HubState,
}

/// A direct method that is called at all of a hub's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepFile {
    /// When the first device is called, from the start.
    pub at: Duration,
    /// The devices are called evenly over this time.
    #[serde(default = "nothing")]
    pub over: Duration,
}

impl HubFile {
    /// What is wrong with it: the key and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if !(1..=1_000).contains(&self.weight) {
            return Err(("weight", format!("a weight of {}", self.weight), "weights are 1 to 1000"));
        }
        if !(1..=200).contains(&self.units) {
            return Err(("units", format!("a hub of {} units", self.units), "a hub has 1 to 200"));
        }
        if self.states.windows(2).any(|pair| pair[0].at >= pair[1].at) {
            let help = "each change comes after the one before it";
            return Err(("states", "the changes are not in order".to_owned(), help));
        }
        Ok(())
    }
}
