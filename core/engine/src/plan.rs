//! From a scenario to a fleet that is ready to run.

use std::sync::Arc;

use fleetstorm_mock::ResolveError;
use fleetstorm_mock::identity::FleetIdentity;
use fleetstorm_model::chaos::{FaultKind, Naming, Timeline};
use fleetstorm_model::device::{LifePolicy, Policy};
use fleetstorm_model::profile::Profile;
use fleetstorm_model::service::throttle::Model;
use fleetstorm_plugin_host::{Attestation, DeviceIdentity, Knowledge, Registry, Retry, Scopes};
use fleetstorm_reports::grouped;
use fleetstorm_reports::record::{Bound, Plugin as UsedPlugin, SteadyState};
use fleetstorm_scenario::{Arrival, Cohort, Late, Scenario, SecretSource, TargetKind, read_profile};
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Calendar, Moment};
use serde_json::{Value, json};

use crate::gauges::Gauges;
use crate::listen::Listener;
use crate::record::{Recorder, Rest, Watch};
use crate::truth::Proof;
use crate::{RunError, probes};

/// Salt of the identity that a service does not know.
const STRANGER: u64 = 0x5374_7261_6e67_6572;

/// A scenario with its plugins made and its devices counted.
pub struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) profile: Profile,
    /// Who its devices are. Plans that belong together share it: the CA's signature is not the same twice.
    pub(crate) fleet: Arc<FleetIdentity>,
    pub(crate) cohorts: Vec<PlannedCohort>,
    /// When each device boots, by its number.
    pub(crate) arrivals: Vec<Moment>,
    /// Each device's cohort, by its number.
    pub(crate) membership: Vec<u16>,
    pub(crate) id_scope: Arc<str>,
    pub(crate) calendar: Calendar,
    /// The faults, if there are any.
    pub(crate) chaos: Option<Arc<Timeline>>,
    /// The look at the steady state, until it has been had.
    pub(crate) steady: Option<Box<Self>>,
    /// The clean devices that look for what faults have left behind, where there is a service of ours to look at.
    pub(crate) canaries: Option<Box<Self>>,
    /// The number of the first device: canaries have numbers after the fleet's last.
    pub(crate) first: u32,
    /// What was seen in it.
    pub(crate) steady_state: Option<SteadyState>,
    /// Who hears what some devices do.
    pub(crate) listener: Option<Listener>,
}

/// A device before it boots.
pub(crate) struct Member {
    /// Its number in the fleet.
    pub(crate) index: u32,
    pub(crate) cohort: u16,
    pub(crate) registration_id: String,
    /// When it boots.
    pub(crate) arrival: Moment,
    pub(crate) identity: Arc<DeviceIdentity>,
    /// The name and the keys of the device whose image it was made from, if a fault says that it was.
    pub(crate) image: Option<Box<(String, Arc<DeviceIdentity>)>>,
    /// Who it is to its hub, if that takes a key of its own: a TPM is given one for each, and an identity holds one.
    pub(crate) at_hub: Option<Arc<DeviceIdentity>>,
}

pub(crate) struct PlannedCohort {
    pub(crate) policy: Policy,
    /// How its devices live on, if they do.
    pub(crate) life: Option<LifePolicy>,
    pub(crate) retry: Retry,
    pub(crate) attestation: Attestation,
    pub(crate) certificates: bool,
    /// What a simulated service takes for the truth about its credentials.
    pub(crate) proof: Proof,
}

impl Plan {
    /// Prepares a scenario: reads the files that it names, makes its plugins and its schedule.
    ///
    /// # Errors
    /// Something that the scenario names cannot be used.
    pub fn new(scenario: Scenario, registry: &Registry, calendar: Calendar) -> Result<Self, RunError> {
        let fleet = FleetIdentity::from_seed(scenario.fleet.identity_seed)?;
        Self::of(scenario, registry, calendar, &Arc::new(fleet))
    }

    fn of(
        mut scenario: Scenario,
        registry: &Registry,
        calendar: Calendar,
        fleet: &Arc<FleetIdentity>,
    ) -> Result<Self, RunError> {
        if let Arrival::Trace { file, instants } = &mut scenario.fleet.arrival {
            let text = std::fs::read_to_string(&*file)
                .map_err(|error| ResolveError::new(&*file, format!("the trace cannot be read: {error}")))?;
            let file = file.clone();
            let mistake = |why| RunError::Trace { file, why };
            match Arrival::read_trace(&text) {
                Err(why) => return Err(mistake(why)),
                Ok(none) if none.is_empty() => return Err(mistake("the trace holds no instant".to_owned())),
                Ok(read) => *instants = read,
            }
            if let Some(late) = Late::of(&scenario) {
                return Err(mistake(late.to_string()));
            }
        }
        let profile = profile(&scenario.profile)?;
        let seed = Seed(scenario.seed);
        let knowledge = if scenario.fleet.informed { knowledge(&scenario) } else { Knowledge::default() };
        let mut cohorts = Vec::new();
        let mut scopes = Scopes::default();
        for cohort in &scenario.cohorts {
            let parameters = Value::Object(cohort.retry.parameters.clone()).to_string();
            let mut retry = registry.retry(&cohort.retry.kind, &parameters, knowledge)?;
            retry.join(&mut scopes);
            let parameters = identity_parameters(&scenario, cohort, fleet, calendar)?;
            let attestation = registry.attestation(&cohort.attestation.kind, &parameters)?;
            let certificates = attestation.presents_certificates();
            let proof = Proof::of(&cohort.attestation.kind, &parameters);
            let policy =
                Policy { challenged: attestation.is_challenged(), ..cohort.policy(calendar, &profile) };
            let tokens = policy.token_lifetime.filter(|_| !certificates);
            let tokens = tokens.map(|lifetime| (lifetime, policy.token_margin));
            let life = cohort.life.as_ref().map(|life| life.policy(&profile, tokens));
            cohorts.push(PlannedCohort { policy, life, retry, attestation, certificates, proof });
        }
        let arrivals = scenario.fleet.arrival.schedule(scenario.fleet.devices, seed);
        let membership = membership(&scenario.cohort_sizes(), seed);
        let id_scope = id_scope(&scenario)?.into();
        let small = |small: Scenario| Self::of(small, registry, calendar, fleet).map(Box::new);
        let steady = probes::steady(&scenario).map(small).transpose()?;
        let mut canaries = probes::canaries(&scenario).map(small).transpose()?;
        let mut everybody = membership.clone();
        if let Some(canaries) = &mut canaries {
            canaries.first = scenario.fleet.devices;
            let names =
                canaries.membership.iter().map(|at| &canaries.scenario.cohorts[usize::from(*at)].name);
            let cohort =
                |name: &String| scenario.cohorts.iter().position(|cohort| cohort.name == *name).unwrap_or(0);
            everybody.extend(names.map(|name| cohort(name) as u16));
        }
        let chaos = scenario.timeline(&everybody);
        Ok(Self {
            scenario,
            profile,
            fleet: Arc::clone(fleet),
            cohorts,
            arrivals,
            membership,
            id_scope,
            calendar,
            chaos,
            steady,
            canaries,
            first: 0,
            steady_state: None,
            listener: None,
        })
    }

    /// The devices of shard `shard` out of `shards`, with their identities.
    pub(crate) fn members(&self, shard: u32, shards: u32) -> Result<Vec<Member>, RunError> {
        (shard..self.scenario.fleet.devices)
            .step_by(shards as usize)
            .map(|index| self.member(index))
            .collect()
    }

    /// All its devices, who boot at this moment.
    pub(crate) fn members_from(&self, boot: Moment) -> Result<Vec<Member>, RunError> {
        let mut members = self.members(0, 1)?;
        members.iter_mut().for_each(|member| member.arrival = boot);
        Ok(members)
    }

    /// What writes down what these devices, those of a shard, do.
    pub(crate) fn recorder(&self, members: &[Member], gauges: Arc<Gauges>, rest: Rest) -> Recorder {
        let numbers = || members.iter().map(|member| member.index);
        let cohorts = members.iter().map(|member| member.cohort).collect();
        Recorder::new(cohorts, self.cohorts.len(), gauges, rest)
            .with_lives(self.living())
            .with_faults(self.chaos.as_ref(), numbers())
            .watching(self.watch(numbers()))
    }

    /// The same plan, in which everybody asks about faults although there are none: what it costs to ask is measured so.
    #[doc(hidden)]
    #[must_use]
    pub fn asking(mut self) -> Self {
        self.chaos = self.chaos.or_else(|| Some(self.scenario.timeline_even_if_empty(&self.membership)));
        self
    }

    /// How faults know its devices.
    pub(crate) fn naming(&self) -> Naming {
        Naming::Fleet(self.scenario.fleet.id_prefix.clone())
    }

    /// What its devices should do.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Which cohorts live on.
    pub(crate) fn living(&self) -> Vec<bool> {
        self.cohorts.iter().map(|cohort| cohort.life.is_some()).collect()
    }

    /// The device at this place of the plan with its identity.
    pub(crate) fn member(&self, place: u32) -> Result<Member, RunError> {
        let index = self.first + place;
        let cohort = self.membership[place as usize];
        let (registration_id, identity) = self.identity(index, cohort)?;
        let image = match index.checked_sub(1) {
            Some(before) if index % 2 == 1 && self.has_copies() => {
                Some(Box::new(self.identity(before, cohort)?))
            }
            _ => None,
        };
        let planned = &self.cohorts[usize::from(cohort)];
        let keeps_two_keys = planned.life.is_some() && planned.attestation.is_challenged();
        let at_hub = keeps_two_keys.then(|| self.identity(index, cohort)).transpose()?;
        let arrival = self.arrivals[place as usize];
        let at_hub = at_hub.map(|(_, identity)| identity);
        Ok(Member { index, cohort, registration_id, arrival, identity, image, at_hub })
    }

    /// The name and the identity of device number `index`, as a cohort makes them.
    fn identity(&self, index: u32, cohort: u16) -> Result<(String, Arc<DeviceIdentity>), RunError> {
        let seed = Seed(self.scenario.seed);
        let registration_id = self.scenario.registration_id(index);
        let [[a, b], [c, d]] = [0, 1].map(|count| seed.pair(Purpose::Identity, u64::from(index), count));
        let identity =
            self.cohorts[usize::from(cohort)].attestation.device(&registration_id, [a, b, c, d])?;
        Ok((registration_id, Arc::new(identity)))
    }

    /// Whether a fault makes copies of devices.
    fn has_copies(&self) -> bool {
        let faults = self.chaos.as_ref().map_or(&[][..], |timeline| timeline.faults());
        faults.iter().any(|fault| matches!(fault.kind, FaultKind::FleetDuplicateIds))
    }

    /// The quota of the embedded mock.
    pub(crate) fn quota(&self) -> Model {
        self.scenario.mock.throttle.config().map_or(Model::Unlimited, |config| config.registrations)
    }

    /// The devices to be watched among those of a shard, which come with their numbers.
    pub(crate) fn watch(&self, members: impl Iterator<Item = u32>) -> Watch {
        let (seed, devices) = (Seed(self.scenario.seed), self.scenario.fleet.devices);
        let (profile, listener) = (self.profile.clone(), self.listener.clone());
        Watch::new(seed, devices, profile, self.chaos.as_ref(), listener, members)
    }

    /// Lets somebody hear what some devices do.
    pub(crate) fn listening(mut self, listener: Listener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// The plugins that take part, each once.
    pub(crate) fn plugins(&self) -> Vec<UsedPlugin> {
        let mut used: Vec<UsedPlugin> = Vec::new();
        for cohort in &self.cohorts {
            for plugin in [&cohort.retry.used, &cohort.attestation.used] {
                if !used.contains(plugin) {
                    used.push(plugin.clone());
                }
            }
        }
        used
    }

    /// The hosts of the embedded mock's hubs.
    pub(crate) fn hubs(&self) -> Vec<String> {
        fleetstorm_mock::hubs(&self.scenario.mock).into_iter().map(|hub| hub.host).collect()
    }

    /// What bounds the fleet from outside; known for the embedded mock only.
    pub(crate) fn bound(&self) -> Option<Bound> {
        let mock = &self.scenario.mock;
        if self.scenario.target.kind != TargetKind::Mock {
            return None;
        }
        let (rate_per_s, burst, window_s) = match mock.throttle.config()?.registrations {
            Model::Unlimited => return None,
            Model::TokenBucket { rate_per_s, burst }
            | Model::Gcra { rate_per_s, burst }
            | Model::Penalising { rate_per_s, burst, .. }
            | Model::Shaped { rate_per_s, burst, .. } => (rate_per_s, burst, 0.0),
            Model::FixedWindow { limit, window } | Model::SlidingWindow { limit, window } => {
                (f64::from(limit) / window.as_secs_f64(), f64::from(limit), window.as_secs_f64())
            }
        };
        let [rate, at_once] = [rate_per_s * 60.0, burst].map(|count| grouped(count.round() as u64));
        let what = format!("registration quota: {rate} a minute, {at_once} at once");
        Some(Bound { rate_per_s, burst, window_s, what })
    }
}

/// The policy profile by its name or its file.
fn profile(name: &str) -> Result<Profile, RunError> {
    if Profile::is_built_in(name) {
        return Ok(Profile::default());
    }
    Ok(read_profile(&read_text(name)?, name)?)
}

fn knowledge(scenario: &Scenario) -> Knowledge {
    let quota = match scenario.target.kind {
        TargetKind::Mock => scenario.mock.throttle.config().map(|config| config.registrations),
        TargetKind::Endpoint | TargetKind::Dps => None,
    };
    let quota_per_minute = match quota {
        Some(Model::TokenBucket { rate_per_s, .. } | Model::Gcra { rate_per_s, .. })
        | Some(Model::Penalising { rate_per_s, .. } | Model::Shaped { rate_per_s, .. }) => rate_per_s * 60.0,
        Some(Model::FixedWindow { limit, window } | Model::SlidingWindow { limit, window }) => {
            f64::from(limit) / window.as_secs_f64() * 60.0
        }
        Some(Model::Unlimited) => 0.0,
        // The documented quota of the service (`dps` 11.1).
        None => 1_000.0,
    };
    Knowledge { fleet_size: u64::from(scenario.fleet.devices), quota_per_minute }
}

/// Which cohort each device is in: cohorts are shuffled over the fleet, so that a schedule meets all of them.
fn membership(sizes: &[u32], seed: Seed) -> Vec<u16> {
    let mut members: Vec<u16> =
        (0u16..).zip(sizes).flat_map(|(cohort, size)| std::iter::repeat_n(cohort, *size as usize)).collect();
    if let [_] = sizes {
        return members;
    }
    // Fisher and Yates; the draws are keyed by the place.
    for at in (1..members.len()).rev() {
        let draw = seed.draw(Purpose::Cohort, at as u32, 0);
        members.swap(at, ((u128::from(draw) * (at as u128 + 1)) >> 64) as usize);
    }
    members
}

/// The attestation's parameters with the fleet's keys filled in.
fn identity_parameters(
    scenario: &Scenario,
    cohort: &Cohort,
    fleet: &FleetIdentity,
    calendar: Calendar,
) -> Result<String, RunError> {
    let mut parameters = cohort.attestation.parameters.clone();
    let stranger;
    let fleet = if cohort.enrolled {
        fleet
    } else {
        stranger = FleetIdentity::from_seed(scenario.fleet.identity_seed ^ STRANGER)?;
        &stranger
    };
    let target = &scenario.target;
    let mut fill = |name: &str, value: Value| {
        parameters.entry(name).or_insert(value);
    };
    match &*cohort.attestation.kind {
        "symmetric-key" => {
            let keys = match &target.group_key {
                Some(source) => vec![fleetstorm_mock::secret(source)?.to_string()],
                None => fleet.group_keys_base64().iter().map(|key| key.to_string()).collect(),
            };
            fill("group_keys", json!(keys));
        }
        "x509" => {
            let (certificate, key) = match (&target.device_ca_file, &target.device_ca_key) {
                (Some(file), Some(key)) => (read_text(file)?, fleetstorm_mock::secret(key)?.to_string()),
                (None, None) => (fleet.ca_pem(), fleet.ca_key_pem().to_string()),
                _ => {
                    let why = "device_ca_file and device_ca_key go together";
                    return Err(ResolveError::new("target", why).into());
                }
            };
            let pool = parameters_u32(&cohort.attestation.parameters, "key_pool").unwrap_or(64);
            parameters.remove("key_pool");
            let mut fill = |name: &str, value: Value| {
                parameters.entry(name).or_insert(value);
            };
            let keys: Vec<String> = fleet.device_keys_pem(pool)?.iter().map(|key| key.to_string()).collect();
            fill("ca_certificate_pem", json!(certificate));
            fill("ca_key_pem", json!(key));
            fill("keys_pem", json!(keys));
            fill("now_unix_secs", json!(calendar.unix_secs(Moment::START)));
        }
        _ => {}
    }
    Ok(Value::Object(parameters).to_string())
}

fn parameters_u32(parameters: &serde_json::Map<String, Value>, name: &str) -> Option<u32> {
    parameters.get(name)?.as_u64().and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0)
}

fn read_text(path: &str) -> Result<String, RunError> {
    let bytes = fleetstorm_mock::file(path)?;
    String::from_utf8(bytes).map_err(|_| ResolveError::new(path, "it is not text").into())
}

fn id_scope(scenario: &Scenario) -> Result<String, RunError> {
    let target = &scenario.target;
    if target.kind == TargetKind::Mock {
        return Ok(scenario.mock.id_scope.clone());
    }
    if let Some(name) = &target.id_scope_env {
        return Ok(fleetstorm_mock::secret(&SecretSource::Env(name.clone()))?.to_string());
    }
    Ok(target.id_scope.clone().unwrap_or_else(|| fleetstorm_mock::identity::DEMO_SCOPE.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cohorts_are_shuffled_over_the_fleet() {
        let members = membership(&[700, 300], Seed(1));
        assert_eq!(members.iter().filter(|cohort| **cohort == 0).count(), 700);
        let early = members[..100].iter().filter(|cohort| **cohort == 1).count();
        assert!((15..45).contains(&early), "{early}");
    }
}
