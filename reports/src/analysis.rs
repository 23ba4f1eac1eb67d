//! What stands on many runs: comparisons of strategies, searches of capacity, plans of rollouts, and how far forecasts
//! are from what was measured. Each ends in a [`Conclusion`], which is its exit code and what every form of it says first.

mod capacity;
mod comparison;
mod conclusion;
mod fidelity;
mod rollout;

use serde::Deserialize;

pub use capacity::{Capacity, Probe, Vary};
pub use comparison::{
    Against, Comparison, Difference, Effect, Finding, Metrics, Pair, SIGNIFICANT, Standing, seeds_needed,
};
pub use conclusion::{Conclusion, Outcome};
pub use fidelity::Fidelity;
pub use rollout::{Rollout, Tried};

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
    /// The result of `fleetstorm plan --json`.
    Rollout(Rollout),
    /// The result of `fleetstorm fidelity --json`.
    Fidelity(Fidelity),
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
            batches: Option<serde::de::IgnoredAny>,
            ratios: Option<serde::de::IgnoredAny>,
        }
        let mut document = match serde_json::from_slice(bytes) {
            Ok(Telling { throttles: Some(_), .. }) => Self::Comparison(serde_json::from_slice(bytes)?),
            Ok(Telling { probes: Some(_), .. }) => Self::Capacity(serde_json::from_slice(bytes)?),
            Ok(Telling { batches: Some(_), .. }) => Self::Rollout(serde_json::from_slice(bytes)?),
            Ok(Telling { ratios: Some(_), .. }) => Self::Fidelity(serde_json::from_slice(bytes)?),
            _ => return Record::read(bytes).map(|record| Self::Run(Box::new(record))),
        };
        // Results of before there were conclusions only say whether they are partial.
        if let Self::Comparison(Comparison { partial: true, conclusion, .. })
        | Self::Capacity(Capacity { partial: true, conclusion, .. }) = &mut document
            && !conclusion.is_partial()
        {
            *conclusion = Conclusion { outcome: Outcome::Interrupted, ..Conclusion::default() };
        }
        Ok(document)
    }

    /// How the study ended; a run has a verdict instead.
    pub fn conclusion(&self) -> Option<&Conclusion> {
        match self {
            Self::Run(_) => None,
            Self::Comparison(found) => Some(&found.conclusion),
            Self::Capacity(found) => Some(&found.conclusion),
            Self::Rollout(found) => Some(&found.conclusion),
            Self::Fidelity(found) => Some(&found.conclusion),
        }
    }
}
