//! What a mock service is made of.

use fleetstorm_protocol::enrollment::{
    AllocationPolicy, Attestation, CaCertificate, Enrollment, Group, Individual,
};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Calendar, Moment, Span};

use super::access::AccessPolicy;
use super::issuance::Issuance;
use super::{Outage, throttle};
use crate::chaos::HubState;

/// Everything a [`super::Service`] starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The instance's id scope, such as `0ne00ABCDEF`.
    pub id_scope: String,
    /// The linked hubs; at least one.
    pub hubs: Vec<Hub>,
    /// Individual enrollments.
    pub individuals: Vec<Individual>,
    /// Enrollment groups.
    pub groups: Vec<Group>,
    /// The CA certificates that enrollments can refer to.
    pub certificates: Vec<NamedCertificate>,
    /// How a hub is chosen where an enrollment does not say; the custom and the static policy are an enrollment's only.
    pub allocation: AllocationPolicy,
    /// Which hub is how far from which devices.
    pub regions: Vec<Region>,
    /// Who may use the enrollment API.
    pub access: Vec<AccessPolicy>,
    /// The meters for registrations, service operations and polls.
    pub throttle: throttle::Config,
    /// How long an assignment takes.
    pub assignment: Assignment,
    /// What a second registration of a device meets while the first one runs.
    pub overlap: Overlap,
    /// When the service is out of order.
    pub outages: Vec<Outage>,
    /// The certificates that it issues.
    pub issuance: Issuance,
    /// `Retry-After` of a 202 in seconds; `None` sends none (3 is what the real service sends).
    pub retry_after_secs: Option<u32>,
    /// Seed of delays, ids and jitter.
    pub seed: Seed,
    /// The calendar of the run.
    pub calendar: Calendar,
}

impl Config {
    /// Whether it contradicts itself. That no two enrollments have the same id is for whoever keeps them.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.hubs.is_empty() {
            return Err(ConfigError::NoHub);
        }
        if let Some(hub) = self.hubs.iter().find(|hub| !(1..=1_000).contains(&hub.weight)) {
            return Err(ConfigError::Weight(hub.host.clone()));
        }
        if matches!(self.allocation, AllocationPolicy::Static | AllocationPolicy::Custom) {
            return Err(ConfigError::InstancePolicy);
        }
        for (at, held) in self.certificates.iter().enumerate() {
            if self.certificates[..at].iter().any(|other| other.name.eq_ignore_ascii_case(&held.name)) {
                return Err(ConfigError::DuplicateCa(held.name.clone()));
            }
        }
        let individuals = self.individuals.iter().map(|known| (&known.registration_id, &known.enrollment));
        let groups = self.groups.iter().map(|known| (&known.id, &known.enrollment));
        individuals.chain(groups).try_for_each(|(name, enrollment)| {
            if let Some(hub) = unlinked(&self.hubs, enrollment) {
                return Err(ConfigError::UnknownHub { enrollment: name.clone(), hub: hub.to_owned() });
            }
            match unknown_ca(&self.certificates, enrollment) {
                Some(ca) => Err(ConfigError::UnknownCa { enrollment: name.clone(), ca: ca.to_owned() }),
                None => Ok(()),
            }
        })
    }
}

/// A hub that an enrollment names and that is not among these.
pub(super) fn unlinked<'a>(hubs: &[Hub], enrollment: &'a Enrollment) -> Option<&'a str> {
    let linked = |host: &str| hubs.iter().any(|hub| hub.host.eq_ignore_ascii_case(host));
    let named = enrollment.static_hub.iter().chain(&enrollment.hubs);
    named.map(String::as_str).find(|host| !linked(host))
}

/// A CA that an enrollment refers to and that is not among these.
pub(super) fn unknown_ca<'a>(held: &[NamedCertificate], enrollment: &'a Enrollment) -> Option<&'a str> {
    let Attestation::CaReference { primary, secondary } = &enrollment.attestation else { return None };
    let mut named = std::iter::once(primary).chain(secondary).map(String::as_str);
    named.find(|name| ca(held, name).is_none())
}

/// The CA certificate of this name.
pub(super) fn ca<'a>(held: &'a [NamedCertificate], name: &str) -> Option<&'a CaCertificate> {
    let mut held = held.iter();
    held.find(|held| held.name.eq_ignore_ascii_case(name)).map(|held| &held.certificate)
}

/// A CA certificate that an instance holds, and that enrollments can refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCertificate {
    /// Its name in the instance, without case.
    pub name: String,
    /// The certificate.
    pub certificate: CaCertificate,
}

/// Devices that are near each other, and how far they are from the hubs.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its devices are those whose registration ids begin with this, without case.
    pub id_prefix: String,
    /// Hosts and round-trip times. A hub that is not there is farther than those that are.
    pub latency: Vec<(String, Span)>,
}

/// What a second registration of a device meets while the first one runs (`dps` 17.1, check 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// 409 with code 409203, as seen of the real service.
    #[default]
    Conflict,
    /// The running operation again.
    Reuse,
}

/// A linked hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// Its host name, such as `hub-1.azure-devices.net`.
    pub host: String,
    /// `allocationWeight`, 1 to 1000.
    pub weight: u32,
    /// What it lets in; `None` for no limit.
    pub tier: Option<Tier>,
    /// Units of that tier.
    pub units: u32,
    /// A connection that would wait longer than this for its CONNACK is closed instead.
    pub backlog: Span,
    /// Whether an assignment waits for the tier's identity registry. Whether the service's does is not documented.
    pub registry_limit: bool,
    /// When its state changes, in order. It starts [`HubState::Up`].
    pub states: Vec<(Moment, HubState)>,
    /// When it tells its devices to provision again.
    pub commands: Vec<Sweep>,
    /// `connectionProfile`, which says how it speaks; devices take `None` for `classic`.
    pub profile: Option<String>,
}

impl Hub {
    /// A hub of one S1 unit that nothing befalls.
    pub fn new(host: impl Into<String>, weight: u32) -> Self {
        Self {
            host: host.into(),
            weight,
            tier: Some(Tier::S1),
            units: 1,
            // C# waits a minute for a CONNACK, because a hub that shapes its traffic answers late.
            backlog: Span::from_secs(60),
            registry_limit: false,
            states: Vec::new(),
            commands: Vec::new(),
            profile: None,
        }
    }
}

/// Tiers of IoT Hub, as far as their throttles differ (`dps` 11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Free, B1 and S1.
    S1,
    /// B2 and S2.
    S2,
    /// B3 and S3.
    S3,
}

/// A direct method that is called at all of a hub's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// When the first device is called.
    pub at: Moment,
    /// The devices are called evenly over this time.
    pub over: Span,
}

/// The distribution of the time from a register's 202 to `assigned`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Assignment {
    /// Always the same.
    Constant(Span),
    /// Uniform between the two.
    Uniform(Span, Span),
    /// Lognormal with this median and sigma of the logarithm, cut at `max`.
    Lognormal {
        /// The median.
        median: Span,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
        /// Nothing takes longer.
        max: Span,
    },
    /// Devices stay in `assigning`.
    Never,
}

/// Why a service cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No hub is linked.
    #[error("no hub is linked: add a [[hub]]")]
    NoHub,
    /// A weight is out of range.
    #[error("hub `{0}` has a weight outside 1 to 1000")]
    Weight(String),
    /// Two individual enrollments are for the same device.
    #[error("there are two individual enrollments for `{0}`")]
    Duplicate(String),
    /// Two enrollment groups have the same id.
    #[error("there are two enrollment groups `{0}`")]
    DuplicateGroup(String),
    /// Two CA certificates have the same name.
    #[error("there are two CA certificates `{0}`")]
    DuplicateCa(String),
    /// An enrollment refers to a CA certificate that the instance does not hold.
    #[error(
        "enrollment `{enrollment}` refers to the CA certificate `{ca}`, which the instance does not hold"
    )]
    UnknownCa {
        /// The enrollment or group.
        enrollment: String,
        /// The CA it refers to.
        ca: String,
    },
    /// The instance's policy is one that only an enrollment can have.
    #[error("the instance's allocation must be hashed or geo-latency")]
    InstancePolicy,
    /// An enrollment's static hub is not linked.
    #[error("enrollment `{enrollment}` names the hub `{hub}`, which is not linked")]
    UnknownHub {
        /// The enrollment or group.
        enrollment: String,
        /// The hub it names.
        hub: String,
    },
}
