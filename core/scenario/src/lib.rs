//! What a scenario file says.
//!
//! [`Scenario::read`] is strict: a key that nobody reads is a mistake, and it says so with the place, the nearest
//! known name and the fix. The documentation of the types is what a user reads in `scenario schema`.

#![forbid(unsafe_code)]

mod alert;
mod arrival;
mod certificate;
mod change;
mod compare;
mod concise;
mod explain;
mod faults;
mod feasible;
mod file;
mod guardrail;
mod hub;
mod judge;
mod late;
mod life;
mod mock;
mod network;
mod outage;
mod paths;
mod plugin;
mod problem;
mod profile;
mod read;
mod secret;
mod short;
mod stage;
mod timeline;
mod transport;
mod unused;

pub use alert::{Aggregation, AlertRule, MetricFile, MetricStatusFile, Operator};
pub use arrival::Arrival;
pub use certificate::{
    CertificateAuthorityFile, CertificatePolicyFile, CodesFile, IssuanceFile, KeyKindFile, PolicyNameFile,
    RenewalFile, RevocationFile, UnanswerableFile, WithoutPolicyFile,
};
pub use change::Override;
pub use compare::CompareFile;
pub use explain::explain;
pub use faults::Complaint;
pub(crate) use feasible::Question;
pub use file::{Cohort, ConnectionKind, Consent, Fleet, Plugins, Scenario, Target, TargetKind, TlsVersions};
pub use guardrail::{GuardrailFile, Measure, SteadyStateFile};
pub use hub::{HubChangeFile, HubFile, SweepFile, TierFile};
pub use late::Late;
pub use life::{LifeFile, PowerCutFile};
pub use mock::{
    AccessPolicyFile, AllocationFile, AssignmentFile, CertificateFile, EnrollmentFile, EnrollmentGroupFile,
    InitialTwinFile, IpActionFile, IpRuleFile, LimitsFile, Listen, LogFile, MockFile, MqttFile, OverlapFile,
    PermissionFile, RegionFile, ReprovisionFile, RetryAfterFile, ServerTls, ThrottleFile, TwinPropertiesFile,
    WebhookFile,
};
pub use network::Network;
pub use outage::OutageFile;
pub use plugin::Plugin;
pub use problem::{Problem, Problems};
pub use profile::read_profile;
pub use read::{is_mock_path, read_mock, schema};
pub use secret::{SecretSource, looks_secret};
pub use short::{ShortFormError, parse_short};
pub use transport::{RefusalKind, RefusalsFile};
