//! A staged rollout, as `plan` writes it.

use serde::{Deserialize, Serialize};

use super::{Conclusion, Outcome};
use crate::Record;

/// A staggered schedule and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Devices.
    pub devices: u32,
    /// DPS instances.
    pub instances: u32,
    /// Devices of a batch, over all instances.
    pub batch: u32,
    /// From the start of one batch to the next, in seconds.
    pub interval_s: f64,
    /// Over how long the devices of a batch boot, evenly one after the other, in seconds.
    #[serde(default)]
    pub spread_s: f64,
    /// Batches.
    pub batches: u32,
    /// From the first slot to the end of the last one, in seconds: the smallest window with these instances.
    pub window_s: f64,
    /// S1 hubs behind the instances.
    pub hubs: u32,
    /// S1 units of each hub.
    pub units: u32,
    /// Registrations billed if nobody is throttled: one a device.
    pub billed: u32,
    /// The share of the quota that is planned with.
    #[serde(default)]
    pub load: f64,
    /// The transport of the devices.
    #[serde(default)]
    pub transport: String,
    /// The arithmetic, one step a line.
    pub because: Vec<String>,
    /// What came of it in virtual time, if it was tried.
    pub tried: Option<Tried>,
    /// How it ended: what its trial says of it.
    #[serde(default)]
    pub conclusion: Conclusion,
}

/// A run of one instance's share of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The retry strategy.
    pub strategy: String,
    /// Devices of the share.
    pub devices: u64,
    /// Those that had their hub in the end.
    pub assigned: u64,
    /// When 99 % of them had it, in seconds.
    pub t99_s: Option<f64>,
    /// Registrations a device: 1 if nobody was throttled.
    pub registers_per_device: f64,
    /// What the trial came to.
    #[serde(default)]
    pub outcome: Outcome,
    /// Objectives of the trial that do not hold, and what was observed.
    #[serde(default)]
    pub missed: Vec<(String, String)>,
}

impl Tried {
    /// What a record of the plan's scenario says.
    pub fn of(record: &Record, strategy: &str) -> Self {
        let missed = record.objectives.iter();
        let missed = missed.filter(|objective| objective.status != crate::record::ObjectiveStatus::Passed);
        Self {
            strategy: strategy.to_owned(),
            devices: record.devices,
            assigned: record.totals.assigned,
            t99_s: record.completion.t99_ns.map(|ns| ns as f64 / 1e9),
            registers_per_device: record.totals.registers as f64 / record.devices.max(1) as f64,
            outcome: record.verdict.result.into(),
            missed: missed
                .map(|objective| (objective.expression.clone(), objective.observed.clone()))
                .collect(),
        }
    }
}

impl Rollout {
    /// Takes what its trial says: a plan whose trial misses is none.
    pub fn conclude(&mut self, tried: Tried) {
        let missed: Vec<String> =
            tried.missed.iter().map(|(what, seen)| format!("{what} (seen: {seen})")).collect();
        let why = match tried.outcome {
            Outcome::Passed => String::new(),
            Outcome::Interrupted => "Its trial did not come to its end, so it is no plan.".to_owned(),
            _ if missed.is_empty() => {
                format!("its own trial ended as \"{}\", so it is no plan.", tried.outcome.word())
            }
            _ => format!(
                "its own trial misses {}, so it is no plan; plan with less load (--load), a wider --spread or another \
                 --strategy.",
                missed.join(" and ")
            ),
        };
        let runs = u64::from(!tried.outcome.is_partial());
        self.conclusion = Conclusion { outcome: tried.outcome, why, runs, runs_max: 1 };
        self.tried = Some(tried);
    }
}
