//! What aborts a run, and what must hold before its first fault.

use std::fmt;

use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run that breaches this is aborted: its faults are healed, and its verdict is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardrailFile {
    /// What is watched, second by second.
    pub measure: Measure,
    /// A second in which it is more than this breaches the guardrail.
    pub max: f64,
    /// So many seconds in a row have to breach it. Default: one.
    #[serde(rename = "for", default = "one_second")]
    pub lasting: Duration,
}

const fn one_second() -> Duration {
    Duration(Span::from_secs(1))
}

/// What a guardrail watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Requests sent in all.
    Requests,
    /// Requests sent a second.
    RequestsPerSecond,
    /// Attempts that were throttled or failed, as a share of the requests of that second, from 0 up: a connection that
    /// fails counts and sends none.
    WrongShare,
}

impl fmt::Display for GuardrailFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measure = match self.measure {
            Measure::Requests => "requests",
            Measure::RequestsPerSecond => "requests per second",
            Measure::WrongShare => "wrong share",
        };
        write!(f, "{measure} <= {}", self.max)?;
        if self.lasting == one_second() { Ok(()) } else { write!(f, " for {}", self.lasting) }
    }
}

/// What must hold before the first fault: a few devices come online without any, and the run only starts if they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SteadyStateFile {
    /// How many.
    #[serde(default = "some_devices")]
    pub devices: u32,
    /// How long they may take.
    #[serde(default = "a_minute")]
    pub within: Duration,
    /// Objectives that must hold of them. Default: all of them are assigned.
    #[serde(default = "all_assigned")]
    pub expect: Vec<String>,
}

const fn some_devices() -> u32 {
    20
}

const fn a_minute() -> Duration {
    Duration(Span::from_secs(60))
}

fn all_assigned() -> Vec<String> {
    vec!["assigned == 100%".to_owned()]
}
