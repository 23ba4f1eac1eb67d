//! How far a scenario can grow, as `capacity` writes it.

use serde::{Deserialize, Serialize};

use super::{Conclusion, Outcome};

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vary {
    /// The number of devices: the largest is sought.
    Devices,
    /// The arrival rate, in devices a minute, of constant or Poisson arrivals: the largest is sought.
    Rate,
    /// The quota, in registrations a minute: the smallest is sought.
    Quota,
}

impl Vary {
    /// What its values are.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Rate => "devices a minute",
            Self::Quota => "registrations a minute",
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// What was varied.
    pub vary: Vary,
    /// The best value with which the objectives held; absent if none did.
    pub holds: Option<f64>,
    /// The nearest value with which they did not: with `holds`, the knee. Absent if all did.
    pub breaks: Option<f64>,
    /// The nearest value of which the runs do not tell whether they hold; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<f64>,
    /// How far the scenario's own value is from `holds`, as a share of it; negative if it does not hold. Absent where the
    /// search did not come to its end.
    pub headroom: Option<f64>,
    /// Whether the search ended before its end.
    pub partial: bool,
    /// How it ended.
    #[serde(default)]
    pub conclusion: Conclusion,
    /// Every probe, in order.
    pub probes: Vec<Probe>,
}

/// One value and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The value.
    pub value: f64,
    /// Runs.
    pub runs: u32,
    /// Runs in which every objective held.
    pub passed: u32,
    /// Runs in which one failed.
    #[serde(default)]
    pub broke: u32,
    /// Whether every objective held in at least nine of ten.
    pub holds: bool,
    /// What keeps the probe from being judged: runs without data, or that cannot be trusted; absent where it is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Outcome>,
    /// An objective that failed, and what was observed.
    pub failed: Option<(String, String)>,
}

impl Probe {
    /// `holds`, `breaks`, or that it cannot be told.
    pub const fn word(&self) -> &'static str {
        match (self.holds, self.undecided) {
            (true, _) => "holds",
            (false, Some(_)) => "undecided",
            (false, None) => "breaks",
        }
    }
}
