//! The mock's own file, `mock.toml`, which is also the `[mock]` table of a scenario.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fleetstorm_model::chaos::ChaosFile;
use fleetstorm_model::service::access::Permission;
use fleetstorm_model::service::throttle::{self, Model, RetryAfterMode};
use fleetstorm_model::service::{Assignment, Overlap};
use fleetstorm_protocol::enrollment::{AllocationPolicy, ReprovisionPolicy};
use fleetstorm_units::time::Span;
use fleetstorm_units::{Duration, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::certificate::{CertificateAuthorityFile, IssuanceFile, PolicyNameFile};
use super::{HubFile, OutageFile, SecretSource};

/// A mock of the service. Without any key it plays a documented demo: one scope, one symmetric-key group, one X.509
/// group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MockFile {
    /// The id scope.
    pub id_scope: String,
    /// Addresses and ports.
    pub listen: Listen,
    /// The server's certificate.
    pub tls: ServerTls,
    /// Linked hubs. Default: two of equal weight.
    #[serde(rename = "hub")]
    pub hubs: Vec<HubFile>,
    /// Individual enrollments.
    #[serde(rename = "enrollment")]
    pub enrollments: Vec<EnrollmentFile>,
    /// Enrollment groups. Default: the demo's two groups.
    #[serde(rename = "enrollment_group")]
    pub enrollment_groups: Vec<EnrollmentGroupFile>,
    /// CA certificates that enrollments can refer to.
    #[serde(rename = "certificate")]
    pub certificates: Vec<CertificateFile>,
    /// Certificate authorities that issue certificates to devices.
    #[serde(rename = "certificate_authority", skip_serializing_if = "Vec::is_empty")]
    pub certificate_authorities: Vec<CertificateAuthorityFile>,
    /// What is not documented of these certificates, or documented in two ways.
    #[serde(skip_serializing_if = "IssuanceFile::is_usual")]
    pub issuance: IssuanceFile,
    /// How a hub is chosen where an enrollment does not say: `hashed` or `geo-latency`.
    pub allocation: AllocationFile,
    /// Latencies for `geo-latency`; the first one whose prefix fits a device counts.
    #[serde(rename = "region")]
    pub regions: Vec<RegionFile>,
    /// What webhooks of custom allocations may be asked.
    pub webhook: WebhookFile,
    /// Who may use the enrollment API. Default: the demo's `provisioningserviceowner`, whose key a seed makes.
    #[serde(rename = "access_policy")]
    pub access_policies: Vec<AccessPolicyFile>,
    /// Whose addresses are let in. Where there are rules, the first that covers an address decides, and one that none covers is
    /// refused: with a 401 that does not say why, at DPS and not at hubs. For a mock in a process of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_filter: Vec<IpRuleFile>,
    /// The service's resource log. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogFile>,
    /// The registration quota.
    pub throttle: ThrottleFile,
    /// How long an assignment takes.
    pub assignment: AssignmentFile,
    /// `Retry-After` of a 202 in seconds; the real service sends 3. -1 sends none.
    pub retry_after_s: i64,
    /// What a second registration of a device meets while one is running.
    pub overlap: OverlapFile,
    /// When the service is out of order: the rows of the troubleshooting table that no request can provoke.
    #[serde(rename = "outage")]
    pub outages: Vec<OutageFile>,
    /// Faults of a mock in a process of its own, timed from its start; those of a run stand in the scenario.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chaos: Vec<ChaosFile>,
    /// How the MQTT door refuses connections.
    pub mqtt: MqttFile,
    /// What clients may cost.
    pub limits: LimitsFile,
    /// Seed of delays, ids and jitter, and of the demo's keys.
    pub seed: u64,
}

impl Default for MockFile {
    fn default() -> Self {
        Self {
            id_scope: "0ne00F1EE75".to_owned(),
            listen: Listen::default(),
            tls: ServerTls::default(),
            hubs: Vec::new(),
            enrollments: Vec::new(),
            enrollment_groups: Vec::new(),
            certificates: Vec::new(),
            certificate_authorities: Vec::new(),
            issuance: IssuanceFile::default(),
            allocation: AllocationFile::default(),
            regions: Vec::new(),
            webhook: WebhookFile::default(),
            access_policies: Vec::new(),
            ip_filter: Vec::new(),
            log: None,
            throttle: ThrottleFile::default(),
            assignment: AssignmentFile::default(),
            retry_after_s: 3,
            overlap: OverlapFile::default(),
            outages: Vec::new(),
            chaos: Vec::new(),
            mqtt: MqttFile::default(),
            limits: LimitsFile::default(),
            seed: 0,
        }
    }
}

/// Addresses and ports, one a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// HTTPS, and MQTT and AMQP over WebSocket. Port 0 takes a free one; the ready line names it.
    pub https: String,
    /// MQTT over TLS, or `off`.
    pub mqtt: String,
    /// AMQP over TLS, or `off`.
    pub amqp: String,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            https: "127.0.0.1:8443".to_owned(),
            mqtt: "127.0.0.1:8883".to_owned(),
            amqp: "127.0.0.1:5671".to_owned(),
        }
    }
}

/// A rule of the IP filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IpRuleFile {
    /// What becomes of the addresses that it covers.
    pub action: IpActionFile,
    /// An address, or a range such as `10.0.0.0/8`.
    pub mask: String,
}

/// What becomes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IpActionFile {
    /// It is let in.
    Accept,
    /// It is refused.
    Reject,
}

impl IpRuleFile {
    /// Whether the mask covers an address; `None` if it is no mask.
    pub fn covers(&self, address: IpAddr) -> Option<bool> {
        let (base, length) =
            self.mask.split_once('/').map_or((&*self.mask, None), |(base, length)| (base, Some(length)));
        let (base, width) = bits(base.parse().ok()?);
        let length =
            length.map_or(Some(width), |length| length.parse().ok()).filter(|length| *length <= width)?;
        let (address, of) = bits(address.to_canonical());
        // A shift by everything is no shift.
        Some(of == width && (base ^ address).checked_shr(width - length).unwrap_or(0) == 0)
    }

    /// Whether these rules refuse an address.
    pub fn refuse(rules: &[Self], address: IpAddr) -> bool {
        let decides = rules.iter().find(|rule| rule.covers(address) == Some(true));
        !rules.is_empty() && decides.is_none_or(|rule| rule.action == IpActionFile::Reject)
    }
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// How the MQTT door refuses connections: return codes of CONNACK. What is wrong with a credential is told by the answer
/// to the registration, as the real service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MqttFile {
    /// To an id scope that is not the mock's, 3 to 5. 0 lets it in and answers its registration with 404.
    pub unknown_scope: u8,
    /// To a user name that is malformed or for another device than the client id, 2 to 5.
    pub user_name: u8,
}

impl Default for MqttFile {
    /// 3 is what the real service says (`dps` 7.2); which of 4 and 5 it says is not known.
    fn default() -> Self {
        Self { unknown_scope: 3, user_name: 5 }
    }
}

/// What clients may cost, so that strangers do not keep devices out. A device that has proved who it is, by a request
/// that was granted, is under no limit but `idle`, and keeps its place when there is none left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// Connections at once, at all doors. When they are used up, one that has proved nothing makes room for the next: a
    /// silent one before one that has asked for something, the oldest of the address that has the most of them.
    pub connections: u32,
    /// Connections from one address that have proved nothing; the oldest makes room. Default: no limit, because a fleet
    /// that boots comes from one address where it is simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproven_per_address: Option<u32>,
    /// Time for a connection's first byte.
    pub first_byte: Duration,
    /// Time for the TLS handshake after it.
    pub handshake: Duration,
    /// Time for the first request, CONNECT of MQTT or open of AMQP after that.
    pub request: Duration,
    /// Longest silence between requests; over MQTT only of a client that has proved nothing, others name their own.
    pub idle: Duration,
}

impl Default for LimitsFile {
    fn default() -> Self {
        let secs = |secs| Duration(Span::from_secs(secs));
        Self {
            connections: 19_500,
            unproven_per_address: None,
            first_byte: secs(10),
            handshake: secs(30),
            request: secs(30),
            // DPS's own idle time-out is not documented; devices keep connections over waits of minutes.
            idle: secs(300),
        }
    }
}

/// The server's certificate. By default a throw-away CA issues one for localhost and the global endpoint's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTls {
    /// PEM file with the server's chain, leaf first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// PEM file with the server's key. Without a certificate, what the throw-away certificate is of: `ecdsa` or `rsa`, the
    /// CA like the server. Default: a CA of ECDSA, and of the server a certificate of each, the one of RSA for clients that
    /// have no suites with ECDSA, as the real service has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where to write the throw-away CA's certificate, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_out: Option<String>,
    /// More names for the throw-away certificate.
    pub names: Vec<String>,
}

const fn yes() -> bool {
    true
}

/// A CA certificate that the instance holds, as if it had been uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFile {
    /// The name that enrollments refer to.
    pub name: String,
    /// PEM file with the certificate.
    pub file: String,
    /// Whether its owner has proved to hold its key. Devices' certificates count only if they chain to one that is
    /// verified.
    #[serde(default = "yes")]
    pub verified: bool,
}

/// An individual enrollment. Give keys, certificates, a CA, or the endorsement key of a TPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentFile {
    /// The device's registration id.
    pub registration_id: String,
    /// The device id at the hub, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Its primary key in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<SecretSource>,
    /// Its secondary key in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_key: Option<SecretSource>,
    /// PEM file with its primary certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_certificate: Option<String>,
    /// PEM file with its secondary certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_certificate: Option<String>,
    /// The name of the `[[certificate]]` that its certificates chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_ca: Option<String>,
    /// The name of another one that they may chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_ca: Option<String>,
    /// The public part of its TPM's endorsement key, a TPM2B_PUBLIC in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement_key: Option<String>,
    /// The public part of its TPM's storage root key, if its registrations do not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_root_key: Option<String>,
    /// Whether it may register.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The hub it gets; by default one is chosen by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// How its hub is chosen; by default as the instance does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<AllocationFile>,
    /// The hubs that come into question; empty for all.
    #[serde(default)]
    pub hubs: Vec<String>,
    /// The webhook that a custom allocation asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// What becomes of it when it registers again.
    #[serde(default)]
    pub reprovision: ReprovisionFile,
    /// What it starts with at a hub: `tags` and `properties.desired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<InitialTwinFile>,
    /// By which policy it gets certificates, if it asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_policy: Option<PolicyNameFile>,
}

/// An enrollment group. Give keys, certificates or a CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentGroupFile {
    /// Its id.
    pub id: String,
    /// The primary group key in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<SecretSource>,
    /// The secondary group key in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_key: Option<SecretSource>,
    /// PEM file with the primary CA or intermediate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_certificate: Option<String>,
    /// PEM file with the secondary CA or intermediate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_certificate: Option<String>,
    /// Whether these certificates are verified. One that is not must chain, by what its devices present, to one that is.
    /// Default: as the `[[certificate]]` with the same content; else a root is, and an intermediate is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// The name of the `[[certificate]]` that the devices' certificates chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_ca: Option<String>,
    /// The name of another one that they may chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_ca: Option<String>,
    /// Whether its devices may register.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The hub they get; by default one is chosen by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// How their hubs are chosen; by default as the instance does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<AllocationFile>,
    /// The hubs that come into question; empty for all.
    #[serde(default)]
    pub hubs: Vec<String>,
    /// The webhook that a custom allocation asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// What becomes of a device that registers again.
    #[serde(default)]
    pub reprovision: ReprovisionFile,
    /// What devices start with at a hub: `tags` and `properties.desired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<InitialTwinFile>,
    /// By which policy its devices get certificates, if they ask for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_policy: Option<PolicyNameFile>,
}

/// An initial twin, as the enrollment API has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InitialTwinFile {
    /// What operators see and devices do not.
    pub tags: BTreeMap<String, Value>,
    /// What devices see.
    pub properties: TwinPropertiesFile,
}

/// The properties of an initial twin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TwinPropertiesFile {
    /// What the device shall be.
    pub desired: BTreeMap<String, Value>,
}

/// How a hub is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AllocationFile {
    /// Evenly by weight.
    #[default]
    Hashed,
    /// The nearest one, by `[[region]]`.
    GeoLatency,
    /// The one that the enrollment names.
    Static,
    /// The one that a webhook names.
    Custom,
}

impl From<AllocationFile> for AllocationPolicy {
    fn from(file: AllocationFile) -> Self {
        match file {
            AllocationFile::Hashed => Self::Hashed,
            AllocationFile::GeoLatency => Self::GeoLatency,
            AllocationFile::Static => Self::Static,
            AllocationFile::Custom => Self::Custom,
        }
    }
}

/// What becomes of a device that registers again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReprovisionFile {
    /// Its hub is chosen anew, and its data moves along.
    #[default]
    Migrate,
    /// Its hub is chosen anew, and it starts there with the initial twin.
    Reset,
    /// It stays where it is.
    Never,
}

impl From<ReprovisionFile> for ReprovisionPolicy {
    fn from(file: ReprovisionFile) -> Self {
        let (update_hub_assignment, migrate_device_data) = match file {
            ReprovisionFile::Migrate => (true, true),
            ReprovisionFile::Reset => (true, false),
            ReprovisionFile::Never => (false, false),
        };
        Self { update_hub_assignment, migrate_device_data }
    }
}

/// Devices that are near each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionFile {
    /// Its devices are those whose registration ids begin with this; empty for all.
    #[serde(default)]
    pub id_prefix: String,
    /// How far each hub is. One that is not there is farther than those that are.
    pub latency: BTreeMap<String, Duration>,
}

/// What webhooks of custom allocations may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookFile {
    /// Hosts beside this machine that may be asked.
    pub hosts: Vec<String>,
    /// PEM file with the CA of the webhooks. Default: the system's roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for WebhookFile {
    fn default() -> Self {
        Self { hosts: Vec::new(), ca_file: None, timeout: Duration(Span::from_secs(10)) }
    }
}

/// Who may use the enrollment API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessPolicyFile {
    /// Its name, which a token gives as `skn`.
    pub name: String,
    /// Its primary key in base64.
    pub primary_key: SecretSource,
    /// Its secondary key in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_key: Option<SecretSource>,
    /// What it allows. Default: everything.
    #[serde(default = "everything")]
    pub permissions: Vec<PermissionFile>,
}

fn everything() -> Vec<PermissionFile> {
    vec![
        PermissionFile::ServiceConfig,
        PermissionFile::EnrollmentRead,
        PermissionFile::EnrollmentWrite,
        PermissionFile::RegistrationStatusRead,
        PermissionFile::RegistrationStatusWrite,
    ]
}

/// The service's resource log, one line of JSON for each request, with the columns that Azure Monitor has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// Where to write it. A run replaces the log of an earlier one, and a mock of its own adds to it; a file of something
    /// else is refused.
    pub file: String,
    /// Lines that may wait for the disk; more are dropped, and counted.
    #[serde(default = "queue_usual")]
    pub queue: u32,
}

const fn queue_usual() -> u32 {
    16_384
}

/// What an access policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PermissionFile {
    /// Changing the instance itself.
    ServiceConfig,
    /// Reading enrollments and groups.
    EnrollmentRead,
    /// Writing enrollments and groups.
    EnrollmentWrite,
    /// Reading registrations.
    RegistrationStatusRead,
    /// Deleting registrations.
    RegistrationStatusWrite,
}

impl From<PermissionFile> for Permission {
    fn from(file: PermissionFile) -> Self {
        match file {
            PermissionFile::ServiceConfig => Self::ServiceConfig,
            PermissionFile::EnrollmentRead => Self::EnrollmentRead,
            PermissionFile::EnrollmentWrite => Self::EnrollmentWrite,
            PermissionFile::RegistrationStatusRead => Self::RegistrationStatusRead,
            PermissionFile::RegistrationStatusWrite => Self::RegistrationStatusWrite,
        }
    }
}

/// The registration quota: a profile, and what differs from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ThrottleFile {
    /// `dps-doc`, `dps-smooth`, `dps-window`, `dps-shaped`, `dps-penalising`, `dps-200` or `unlimited`.
    pub profile: String,
    /// Another rate for the profile's model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Another burst for the profile's model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<f64>,
    /// Another rate for operations of the enrollment API, whose quota is their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations_rate: Option<Rate>,
    /// Another burst for operations of the enrollment API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations_burst: Option<f64>,
    /// What a rejected request costs, for `dps-penalising`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    /// Polls that a device may make in 10 seconds, 1 to 8; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polls_per_10s: Option<u32>,
    /// `Retry-After` of a 429.
    pub retry_after: RetryAfterFile,
}

impl Default for ThrottleFile {
    fn default() -> Self {
        Self {
            profile: "dps-doc".to_owned(),
            rate: None,
            burst: None,
            operations_rate: None,
            operations_burst: None,
            rho: None,
            polls_per_10s: None,
            retry_after: RetryAfterFile::UntilToken,
        }
    }
}

impl ThrottleFile {
    /// The throttle that the file describes; `None` if there is no such profile.
    pub fn config(&self) -> Option<throttle::Config> {
        let mut config = throttle::profile(&self.profile)?;
        config.registrations = self.changed(config.registrations, self.rate, self.burst);
        config.operations = self.changed(config.operations, self.operations_rate, self.operations_burst);
        if let Some(polls) = self.polls_per_10s {
            config.polls_per_window = (polls > 0).then_some(polls);
        }
        config.retry_after = match self.retry_after {
            RetryAfterFile::None => RetryAfterMode::None,
            RetryAfterFile::UntilToken => RetryAfterMode::UntilToken,
            RetryAfterFile::UntilWindow => RetryAfterMode::UntilMinute,
            RetryAfterFile::HttpDate => RetryAfterMode::HttpDate,
            RetryAfterFile::Garbage => RetryAfterMode::Garbage,
            RetryAfterFile::Constant(secs) => RetryAfterMode::Constant(secs),
            RetryAfterFile::Jittered([from, to]) => RetryAfterMode::Jittered(from, to),
        };
        Some(config)
    }

    fn changed(&self, model: Model, rate: Option<Rate>, burst: Option<f64>) -> Model {
        let per_s = |usual: f64| rate.map_or(usual, Rate::per_second);
        let most = |usual: f64| burst.unwrap_or(usual);
        let a_minute = |usual: u32| rate.map_or(usual, |rate| (rate.per_second() * 60.0).round() as u32);
        match model {
            Model::Unlimited => Model::Unlimited,
            Model::TokenBucket { rate_per_s, burst } => {
                Model::TokenBucket { rate_per_s: per_s(rate_per_s), burst: most(burst) }
            }
            Model::Gcra { rate_per_s, burst } => {
                Model::Gcra { rate_per_s: per_s(rate_per_s), burst: most(burst) }
            }
            Model::FixedWindow { limit, window } => Model::FixedWindow { limit: a_minute(limit), window },
            Model::SlidingWindow { limit, window } => Model::SlidingWindow { limit: a_minute(limit), window },
            Model::Shaped { rate_per_s, burst, depth } => {
                Model::Shaped { rate_per_s: per_s(rate_per_s), burst: most(burst), depth }
            }
            Model::Penalising { rate_per_s, burst, rho } => Model::Penalising {
                rate_per_s: per_s(rate_per_s),
                burst: most(burst),
                rho: self.rho.unwrap_or(rho),
            },
        }
    }
}

/// What a 429 says about when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfterFile {
    /// Nothing.
    None,
    /// When one more request would be admitted.
    UntilToken,
    /// When the minute of the clock ends.
    UntilWindow,
    /// As `until-token`, as an HTTP date.
    HttpDate,
    /// Text that is no valid value.
    Garbage,
    /// Always this many seconds.
    Constant(u32),
    /// Drawn between these seconds.
    Jittered([u32; 2]),
}

/// How long an assignment takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AssignmentFile {
    /// Always the same.
    Constant {
        /// How long.
        delay: Duration,
    },
    /// Uniform between the two.
    Uniform {
        /// At least.
        min: Duration,
        /// At most.
        max: Duration,
    },
    /// Lognormal, cut at a maximum.
    Lognormal {
        /// Half of them are faster.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// None is slower.
        max: Duration,
    },
    /// Devices stay in `assigning`.
    Never,
}

impl Default for AssignmentFile {
    /// `dps` 17.3: 1 to 3 s are typical.
    fn default() -> Self {
        Self::Uniform { min: Duration(Span::from_secs(1)), max: Duration(Span::from_secs(3)) }
    }
}

impl From<AssignmentFile> for Assignment {
    fn from(file: AssignmentFile) -> Self {
        match file {
            AssignmentFile::Constant { delay } => Self::Constant(delay.0),
            AssignmentFile::Uniform { min, max } => Self::Uniform(min.0, max.0),
            AssignmentFile::Lognormal { median, sigma, max } => {
                Self::Lognormal { median: median.0, sigma, max: max.0 }
            }
            AssignmentFile::Never => Self::Never,
        }
    }
}

/// What a second registration of a device meets while one is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OverlapFile {
    /// 409 with code 409203.
    #[default]
    Conflict,
    /// The running operation again.
    Reuse,
}

impl From<OverlapFile> for Overlap {
    fn from(file: OverlapFile) -> Self {
        match file {
            OverlapFile::Conflict => Self::Conflict,
            OverlapFile::Reuse => Self::Reuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_covers_an_address_decides() {
        let rule = |action, mask: &str| IpRuleFile { action, mask: mask.to_owned() };
        let (accept, reject) = (IpActionFile::Accept, IpActionFile::Reject);
        let rules = [
            rule(reject, "10.1.0.0/16"),
            rule(accept, "10.0.0.0/8"),
            rule(accept, "::1"),
            rule(accept, "192.0.2.7"),
        ];
        for (address, refused) in [
            ("10.2.3.4", false),
            ("10.1.3.4", true),
            ("::ffff:10.2.3.4", false),
            ("::1", false),
            ("::2", true),
            ("192.0.2.7", false),
            ("192.0.2.6", true),
        ] {
            assert_eq!(IpRuleFile::refuse(&rules, address.parse().unwrap()), refused, "{address}");
        }
        let anybody: IpAddr = "203.0.113.1".parse().unwrap();
        assert!(!IpRuleFile::refuse(&[], anybody), "no rules, no filter");
        assert!(!IpRuleFile::refuse(&[rule(accept, "0.0.0.0/0")], anybody));
        for mask in ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::1/129", "10.0.0.0/-1"] {
            assert_eq!(rule(accept, mask).covers(anybody), None, "{mask}");
        }
    }
}
