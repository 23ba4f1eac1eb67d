//! The scenario file.

use fleetstorm_model::chaos::{ChaosFile, Layer};
use fleetstorm_model::device::{ConnectionUse, Policy};
use fleetstorm_model::profile::Profile;
use fleetstorm_protocol::Transport;
use fleetstorm_units::time::{Calendar, Span};
use fleetstorm_units::{Duration, Offset, Rate, UtcTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AlertRule, Arrival, CompareFile, GuardrailFile, LifeFile, MockFile, Network, Plugin, RefusalsFile,
    SecretSource, SteadyStateFile,
};

/// What a fleet does, against what, and what must come of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Name of the run in its report. Default: the file's name.
    pub name: String,
    /// The question that this scenario answers, in one line.
    pub question: String,
    /// Seed of everything random: the same seed plans the same run.
    pub seed: u64,
    /// The run ends here at the latest.
    pub horizon: Duration,
    /// What must hold, such as `assigned >= 99.9% within 15m`. Each decides about the exit code.
    pub objectives: Vec<String>,
    /// What devices should do and what a fleet may cost: `ms-2025`, or the path of a profile file. Devices react to
    /// failures as it says, and the checks of a run hold them to it.
    pub profile: String,
    /// Alert rules on the embedded mock's metrics. They decide nothing: the record says when each would have fired.
    #[serde(rename = "alert")]
    pub alerts: Vec<AlertRule>,
    /// The devices.
    pub fleet: Fleet,
    /// Groups of devices that behave alike. Default: one cohort with all defaults.
    #[serde(rename = "cohort")]
    pub cohorts: Vec<Cohort>,
    /// What the devices register against.
    pub target: Target,
    /// The embedded mock; the same keys as a mock's own file.
    pub mock: MockFile,
    /// Libraries with strategies and attestations of one's own.
    pub plugins: Plugins,
    /// How long the network and the service take in a simulated run.
    pub network: Network,
    /// What `compare` compares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<CompareFile>,
    /// What must hold before the first fault, or the run does not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steady_state: Option<SteadyStateFile>,
    /// What aborts the run.
    #[serde(rename = "guardrail", skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<GuardrailFile>,
    /// Faults, and when they happen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chaos: Vec<ChaosFile>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            question: String::new(),
            seed: 1,
            horizon: Duration(Span::from_secs(900)),
            objectives: Vec::new(),
            profile: fleetstorm_model::profile::MS_2025.to_owned(),
            alerts: Vec::new(),
            fleet: Fleet::default(),
            cohorts: Vec::new(),
            target: Target::default(),
            mock: MockFile::default(),
            plugins: Plugins::default(),
            network: Network::default(),
            compare: None,
            steady_state: None,
            guardrails: Vec::new(),
            chaos: Vec::new(),
        }
    }
}

/// Libraries with strategies and attestations of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// Paths of shared libraries, or names to look for in FLEETSTORM_PLUGIN_PATH. A library has the rights of the
    /// whole program, so it is only opened if the operator allows its hash: with --allow-plugin or in the lock file.
    pub load: Vec<String>,
}

/// The devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// How many there are.
    pub devices: u32,
    /// Registration ids are this prefix and the device's number in six digits or more.
    pub id_prefix: String,
    /// When the devices boot.
    pub arrival: Arrival,
    /// No more devices than this are on their way at once; a device without a place boots when it
    /// gets one, and the report says how many were held back and how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Seed of the fleet's keys and CA; 0 is the identity that a mock's demo knows.
    pub identity_seed: u64,
    /// Whether strategies that ask for it are told the fleet's size and the quota.
    pub informed: bool,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            devices: 100,
            id_prefix: "dev-".to_owned(),
            arrival: Arrival::default(),
            max_concurrent: None,
            identity_seed: 0,
            informed: true,
        }
    }
}

/// Devices that behave alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cohort {
    /// Its name in the report.
    pub name: String,
    /// Its share of the fleet, relative to the other cohorts.
    pub share: f64,
    /// How its devices prove who they are: a name, or a table with `kind` and parameters.
    pub attestation: Plugin,
    /// What they do after a failure: a name, or a table with `kind` and parameters.
    pub retry: Plugin,
    /// How they speak to the service.
    pub transport: Transport,
    /// Longest silence of a device over MQTT, whole seconds up to 1,740; 0 sends no pings. Over AMQP, the longest that a
    /// device asks of the service.
    pub keep_alive: Duration,
    /// What a refused connection means, over MQTT and AMQP.
    pub refusals: RefusalsFile,
    /// How long they keep a connection.
    pub connection: ConnectionKind,
    /// Whether TLS sessions are resumed. A fleet that starts cold has no tickets, so the default is no.
    pub session_resumption: bool,
    /// The TLS versions offered.
    pub tls: TlsVersions,
    /// Lifetime of a SAS token.
    pub token_lifetime: Duration,
    /// A token is renewed when less than this is left of it.
    pub token_margin: Duration,
    /// How far the devices' clocks are ahead of the truth; negative for clocks that are behind.
    pub clock_offset: Offset,
    /// Whether the embedded mock knows these devices. Without enrollment they are refused.
    pub enrolled: bool,
    /// Longest time for name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Longest time from a request to its answer.
    pub request_timeout: Duration,
    /// An open connection is closed when the next request is further away than this.
    pub idle_close: Duration,
    /// Poll interval where the service names none.
    pub poll_interval: Duration,
    /// Upper bound of the jitter added to a poll interval.
    pub poll_jitter: Duration,
    /// How long a device polls before it registers anew.
    pub assign_patience: Duration,
    /// Poll failures in a row after which a device registers anew.
    pub poll_failures: u32,
    /// How long a device that was refused for good sleeps before it tries again.
    pub park: Duration,
    /// The life after provisioning: devices go on to their hub and stay there, and the run goes on to its horizon.
    /// Default: a device with a hub is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life: Option<LifeFile>,
}

impl Default for Cohort {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            name: "all".to_owned(),
            share: 1.0,
            attestation: Plugin::named("symmetric-key"),
            retry: Plugin::named("full-jitter"),
            transport: Transport::Https,
            // That of the Python client.
            keep_alive: Duration(Span::from_secs(60)),
            refusals: RefusalsFile::default(),
            connection: ConnectionKind::PerDevice,
            session_resumption: false,
            tls: TlsVersions::Any,
            token_lifetime: Duration(Span::from_secs(3_600)),
            token_margin: Duration(policy.token_margin),
            clock_offset: Offset::default(),
            enrolled: true,
            connect_timeout: Duration(policy.connect_timeout),
            request_timeout: Duration(policy.request_timeout),
            idle_close: Duration(policy.idle_close),
            poll_interval: Duration(policy.poll_interval),
            poll_jitter: Duration(policy.poll_jitter),
            assign_patience: Duration(policy.assign_patience),
            poll_failures: policy.poll_failures,
            park: Duration(policy.park),
            life: None,
        }
    }
}

impl Cohort {
    /// The keep-alive of its devices over MQTT and AMQP, in seconds.
    pub fn keep_alive_secs(&self) -> u16 {
        u16::try_from(self.keep_alive.0.as_secs()).unwrap_or(u16::MAX)
    }

    /// The behaviour that the devices' machines follow under a policy profile.
    pub fn policy(&self, calendar: Calendar, profile: &Profile) -> Policy {
        Policy {
            connection: match self.connection {
                ConnectionKind::PerDevice => ConnectionUse::PerDevice,
                ConnectionKind::PerOperation => ConnectionUse::PerOperation,
                ConnectionKind::PerRequest => ConnectionUse::PerRequest,
            },
            connect_timeout: self.connect_timeout.0,
            request_timeout: self.request_timeout.0,
            idle_close: self.idle_close.0,
            poll_interval: self.poll_interval.0,
            poll_jitter: self.poll_jitter.0,
            assign_patience: self.assign_patience.0,
            poll_failures: self.poll_failures,
            park: self.park.0,
            token_lifetime: (self.attestation.kind != "x509").then_some(self.token_lifetime.0),
            token_margin: self.token_margin.0,
            clock_offset_ns: self.clock_offset.ns,
            // A certificate and a TPM are the only one of their kind; keys come in pairs.
            credentials: if matches!(&*self.attestation.kind, "x509" | "tpm") { 1 } else { 2 },
            challenged: self.attestation.kind == "tpm",
            credential_by_connection: self.transport.authenticates_connections(),
            lookups: self.transport == Transport::Https,
            reactions: profile.dps,
            refusals: self.refusals.into(),
            calendar,
        }
    }
}

/// How long a device keeps a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionKind {
    /// One connection for the whole registration.
    #[default]
    PerDevice,
    /// One for each attempt to register and its polls.
    PerOperation,
    /// One for each request.
    PerRequest,
}

/// The TLS versions a device offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    #[default]
    #[serde(rename = "any")]
    Any,
    /// 1.2 only, as the Python SDK.
    #[serde(rename = "1.2")]
    V12,
    /// 1.3 only.
    #[serde(rename = "1.3")]
    V13,
}

/// What the devices register against.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// The embedded mock, a server by its address, or the real service.
    pub kind: TargetKind,
    /// Where to dial, as `https://host:port`. Not for the embedded mock; default for `dps` is the global endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port of MQTT on the same host. Default: 8883.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt_port: Option<u16>,
    /// Port of AMQP on the same host. Default: 5671.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amqp_port: Option<u16>,
    /// The name in the server's certificate and in `Host`, where it differs from the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The id scope. Default for an endpoint is the demo's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_scope: Option<String>,
    /// Environment variable that holds the id scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_scope_env: Option<String>,
    /// PEM file with the CA to trust. Default: the system's roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The symmetric-key enrollment group's key. Default: the fleet's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_key: Option<SecretSource>,
    /// PEM file with the certificate of the CA that issues the devices' certificates. Default: the fleet's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_ca_file: Option<String>,
    /// That CA's key, PKCS#8 PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_ca_key: Option<SecretSource>,
    /// Permission to touch a target that is not on this machine. Ceilings hold whatever a strategy decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// The kinds of target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// The mock that a run starts for itself.
    #[default]
    Mock,
    /// A server by its address, such as a mock in another process.
    Endpoint,
    /// Azure IoT Hub Device Provisioning Service. Every registration is billed.
    Dps,
}

/// Permission to touch a target that is not on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The host that may be touched; it must be the target's.
    pub host: String,
    /// The service endpoint, such as `NAME.azure-devices-provisioning.net`, if enrollments may be made and removed there.
    /// Default: `host` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_host: Option<String>,
    /// Most devices, in all runs of a command together.
    pub max_devices: u32,
    /// Most registrations and status lookups, in all runs of a command together; the run stops at the next one.
    pub max_registrations: u64,
    /// Most connections and requests, polls included, in any stretch of this time; the run stops when one would exceed it.
    /// A connection over HTTPS is counted with the request for which it is made.
    pub max_rate: Rate,
    /// The layers at which the scenario may make faults: `network` (of the devices) and `fleet`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chaos: Vec<Layer>,
    /// When the permission ends: a run that could last longer does not start. Needed with `chaos`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UtcTime>,
}
