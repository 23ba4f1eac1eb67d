//! What stands beside runs: comparisons of strategies and searches of capacity.

mod capacity;
mod comparison;

use serde::Deserialize;

pub use capacity::{Capacity, Probe, Vary};
pub use comparison::{Against, Comparison, Difference, Effect, Finding, Metrics, Pair, Standing};

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
