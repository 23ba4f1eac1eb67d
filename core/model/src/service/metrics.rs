//! What Azure Monitor would count: RegistrationAttempts, DeviceAssignments and AttestationAttempts, by their dimensions
//! (`dps` 15).
//!
//! Counts are kept by second, so that any window can be laid over them afterwards.

use std::collections::BTreeMap;

use fleetstorm_protocol::Transport;
use fleetstorm_units::time::{Moment, Span};

/// A metric of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Registrations that came to an end, by hub and status.
    RegistrationAttempts,
    /// Devices that got a hub, by hub.
    DeviceAssignments,
    /// Credentials that were judged at a registration, by status and protocol.
    AttestationAttempts,
}

impl Metric {
    /// Its name in Azure Monitor.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RegistrationAttempts => "RegistrationAttempts",
            Self::DeviceAssignments => "DeviceAssignments",
            Self::AttestationAttempts => "AttestationAttempts",
        }
    }
}

/// How something ended that a metric counts. Which names the real service uses is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricStatus {
    /// Well.
    Succeeded,
    /// Badly.
    Failed,
    /// Its enrollment is disabled.
    Disabled,
}

impl MetricStatus {
    /// Its name in scenarios and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// A metric with the values of its dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dimensions {
    /// The metric.
    pub metric: Metric,
    /// The place of the hub in the configuration.
    pub hub: Option<u16>,
    /// The status.
    pub status: Option<MetricStatus>,
    /// The protocol that the credential came by. How the real service spells it here is not published.
    pub protocol: Option<Transport>,
}

/// The counts of a run, by second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    series: BTreeMap<Dimensions, Vec<u32>>,
}

/// Two weeks. What comes later counts in the last second, so that no scenario makes a series grow without bound.
const SECONDS_MAX: usize = 14 * 86_400;

impl Metrics {
    /// Every series; the n-th count is of the n-th second.
    pub fn series(&self) -> impl Iterator<Item = (&Dimensions, &[u32])> {
        self.series.iter().map(|(dimensions, counts)| (dimensions, &counts[..]))
    }

    /// The same counts on a clock that starts `later`. What happened before is left out.
    #[must_use]
    pub fn from(mut self, later: Span) -> Self {
        let seconds = later.as_secs() as usize;
        for counts in self.series.values_mut() {
            counts.drain(..seconds.min(counts.len()));
        }
        self
    }

    fn count(&mut self, at: Moment, dimensions: Dimensions) {
        let second = (at.since(Moment::START).as_secs() as usize).min(SECONDS_MAX - 1);
        let counts = self.series.entry(dimensions).or_default();
        if counts.len() <= second {
            counts.resize(second + 1, 0);
        }
        counts[second] += 1;
    }

    pub(super) fn attested(&mut self, at: Moment, protocol: Transport, genuine: bool) {
        let status = if genuine { MetricStatus::Succeeded } else { MetricStatus::Failed };
        let metric = Metric::AttestationAttempts;
        self.count(at, Dimensions { metric, hub: None, status: Some(status), protocol: Some(protocol) });
    }

    pub(super) fn assigned(&mut self, at: Moment, hub: u16) {
        let (hub, status) = (Some(hub), Some(MetricStatus::Succeeded));
        self.count(at, Dimensions { metric: Metric::RegistrationAttempts, hub, status, protocol: None });
        self.count(at, Dimensions { metric: Metric::DeviceAssignments, hub, status: None, protocol: None });
    }

    pub(super) fn refused(&mut self, at: Moment, status: MetricStatus) {
        let (metric, status) = (Metric::RegistrationAttempts, Some(status));
        self.count(at, Dimensions { metric, hub: None, status, protocol: None });
    }
}
