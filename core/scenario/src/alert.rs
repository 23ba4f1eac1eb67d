//! Alert rules over the service's metrics, as an operator sets them in Azure Monitor.

use std::fmt;

use fleetstorm_model::service::metrics::{Metric, MetricStatus};
use fleetstorm_protocol::Transport;
use fleetstorm_units::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An alert rule on a metric of the embedded mock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// Its name.
    pub name: String,
    /// The metric.
    pub metric: MetricFile,
    /// Only what went to this hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Only what ended in this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<MetricStatusFile>,
    /// Only what came by this protocol; attestation attempts have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Transport>,
    /// What is made of the counts in the window.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// How far back the rule looks.
    pub window: Duration,
    /// How the value is compared.
    pub operator: Operator,
    /// With what.
    pub threshold: f64,
}

/// A metric of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MetricFile {
    /// Registrations that came to an end.
    RegistrationAttempts,
    /// Devices that got a hub.
    DeviceAssignments,
    /// Credentials that were judged at a registration.
    AttestationAttempts,
}

impl From<MetricFile> for Metric {
    fn from(file: MetricFile) -> Self {
        match file {
            MetricFile::RegistrationAttempts => Self::RegistrationAttempts,
            MetricFile::DeviceAssignments => Self::DeviceAssignments,
            MetricFile::AttestationAttempts => Self::AttestationAttempts,
        }
    }
}

/// How something ended that a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MetricStatusFile {
    /// Well.
    Succeeded,
    /// Badly.
    Failed,
    /// The enrollment is disabled.
    Disabled,
}

impl From<MetricStatusFile> for MetricStatus {
    fn from(file: MetricStatusFile) -> Self {
        match file {
            MetricStatusFile::Succeeded => Self::Succeeded,
            MetricStatusFile::Failed => Self::Failed,
            MetricStatusFile::Disabled => Self::Disabled,
        }
    }
}

/// What is made of the counts in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// Their sum. Azure's Count and Total are the same for these metrics, whose every event counts one.
    #[default]
    #[serde(alias = "count")]
    Total,
    /// The largest count of one second.
    Maximum,
    /// The mean of the seconds' counts.
    Average,
}

/// How a value is compared with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// More than.
    #[serde(rename = ">")]
    More,
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// Less than.
    #[serde(rename = "<")]
    Less,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
}

impl Operator {
    /// Whether the comparison holds.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::More => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Less => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }

    /// Whether little is what it looks for: a window that has only begun says nothing then.
    pub const fn looks_for_little(self) -> bool {
        matches!(self, Self::Less | Self::AtMost)
    }
}

impl fmt::Display for AlertRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aggregation = match self.aggregation {
            Aggregation::Total => "total",
            Aggregation::Maximum => "maximum",
            Aggregation::Average => "average",
        };
        write!(f, "{aggregation}({}", Metric::from(self.metric).name())?;
        if let Some(status) = self.status {
            write!(f, ", status = {}", MetricStatus::from(status).name())?;
        }
        if let Some(protocol) = self.protocol {
            write!(f, ", protocol = {}", protocol.name())?;
        }
        if let Some(hub) = &self.hub {
            write!(f, ", hub = {hub}")?;
        }
        let operator = match self.operator {
            Operator::More => ">",
            Operator::AtLeast => ">=",
            Operator::Less => "<",
            Operator::AtMost => "<=",
        };
        write!(f, ") {operator} {} in {}", self.threshold, self.window)
    }
}
