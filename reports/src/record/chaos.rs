//! What a record keeps of faults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Objective;

/// The faults of a run and what came of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Chaos {
    /// In the scenario's order.
    pub faults: Vec<Fault>,
    /// What was seen of a few devices before the first fault; absent without a steady state to be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steady_state: Option<SteadyState>,
    /// What would have aborted the run.
    pub guardrails: Vec<Guardrail>,
    /// Whether a clean device found everything as it was before; absent where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residue: Option<Residue>,
}

impl Chaos {
    /// Whether the run had nothing to do with faults.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// What went wrong, such as `net.reset`.
    pub kind: String,
    /// Where: `network`, `service`, `protocol` or `fleet`.
    pub layer: String,
    /// Occasions on which it was on and its selection fitted; packets, where it hit such.
    pub eligible: u64,
    /// Times that it hit.
    pub fired: u64,
    /// How often it had to hit.
    pub min_fired: u64,
    /// Devices that it hit; 0 where it hit packets, which carry no device's name.
    pub devices: u64,
    /// Of these, devices that have given up for good.
    #[serde(default)]
    pub stopped: u64,
    /// Of these, devices that had not come back when the run ended: they slept off a failure, were on their way, without
    /// power or away from their hub.
    #[serde(default)]
    pub unfinished: u64,
    /// First hit.
    pub first_ns: Option<u64>,
    /// Last hit.
    pub last_ns: Option<u64>,
    /// When it was on, as far as the run got.
    pub windows: Vec<FaultWindow>,
    /// The checks of the best-practice audit that watched devices met after it had hit them and before they came to rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exercised: Vec<Exercised>,
    /// What is to be said of it.
    pub status: FaultStatus,
    /// One sentence for a person: why it is not as it should be.
    pub note: String,
}

/// A check that devices met under a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exercised {
    /// The check's id in the audit, such as `retry-after-floor`.
    pub check: String,
    /// How often they could have broken it.
    pub occasions: u64,
    /// How often they did.
    pub broken: u64,
}

/// One occurrence of a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultWindow {
    /// When it began.
    pub from_ns: u64,
    /// When it was healed; absent if it lasted until the run ended.
    pub until_ns: Option<u64>,
    /// From its beginning until more attempts went wrong than before; absent if that was never seen.
    pub detected_after_ns: Option<u64>,
    /// From its end until as many devices had come to rest as were waiting then and, after the last occurrence, until the
    /// last device that it hit had its hub or had given up; absent if that was never seen.
    pub recovered_after_ns: Option<u64>,
    /// For five minutes after its end devices were waiting and fewer than half of those that the quota allows came
    /// through.
    pub locked_up: bool,
}

/// What is to be said of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultStatus {
    /// It hit, and the fleet came back in time, or all its devices have their hubs although it is still on.
    Passed,
    /// The fleet did not come back, or not in time.
    Failed,
    /// It hit less often than it had to: the run says nothing about it.
    Vacuous,
    /// The run ended, or was interrupted, before it could be seen whether the fleet comes back, or no device booted.
    #[default]
    Unknown,
}

/// What was seen before the first fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SteadyState {
    /// Devices that were looked at.
    pub devices: u64,
    /// What had to hold of them.
    pub objectives: Vec<Objective>,
}

/// What would have aborted the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Guardrail {
    /// In words.
    pub rule: String,
    /// When it was breached for so long that the run was aborted.
    pub breached_ns: Option<u64>,
}

/// Whether a clean device found everything as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Residue {
    /// Whether it did.
    pub clean: bool,
    /// Nobody could look, and the note says why: the run proves nothing about it.
    #[serde(default)]
    pub unknown: bool,
    /// What it met.
    pub note: String,
}
