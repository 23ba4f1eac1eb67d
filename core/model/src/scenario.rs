//! What a scenario file says.
//!
//! [`Scenario::read`] is strict: a key that nobody reads is a mistake, and it says so with the place, the nearest
//! known name and the fix. The documentation of the types is what a user reads in `scenario schema`.

mod alert;
mod arrival;
mod best_practice;
mod compare;
mod concise;
mod explain;
mod feasible;
mod file;
mod guardrail;
mod hub;
mod life;
mod mock;
mod network;
mod objective;
mod outage;
mod paths;

mod read;
mod secret;
mod text;
mod transport;
mod unused;

pub use alert::{Aggregation, AlertRule, MetricFile, MetricStatusFile, Operator};
pub use arrival::{Arrival, Late};
pub use best_practice::BestPractice;
pub use compare::CompareFile;
pub use explain::explain;
pub(crate) use feasible::Question;
pub use file::{
    Cohort, ConnectionKind, Consent, Fleet, Plugin, Plugins, Scenario, Target, TargetKind, TlsVersions,
};
pub use guardrail::{GuardrailFile, Measure, SteadyStateFile};
pub use hub::{HubChangeFile, HubFile, HubStateFile, SweepFile, TierFile};
pub use life::{LifeFile, PowerCutFile};
pub use mock::{
    AccessPolicyFile, AllocationFile, AssignmentFile, CertificateFile, EnrollmentFile, EnrollmentGroupFile,
    InitialTwinFile, LimitsFile, Listen, LogFile, MockFile, MqttFile, OverlapFile, PermissionFile,
    RegionFile, ReprovisionFile, RetryAfterFile, ServerTls, ThrottleFile, WebhookFile,
};
pub use network::{Delay, Network};
pub use objective::{Comparison, Metric, Objective, ObjectiveError, Quantity, Timed, What};
pub use outage::OutageFile;
pub(crate) use read::describe;
pub use read::{Override, Problem, Problems, is_mock_path, read_mock, schema};
pub use secret::SecretSource;
pub use text::{Duration, Offset, Rate, UtcTime};
pub use transport::{RefusalKind, RefusalsFile};

pub use crate::protocol::Transport;

/// The known name that is most like `name`, if one is alike enough to be what was meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(&name.to_ascii_lowercase(), known), known))
        .filter(|(distance, known)| *distance <= (known.len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
