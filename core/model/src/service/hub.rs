//! IoT hubs, as far as a device that has been provisioned meets them.
//!
//! A hub lets connections in at the rate of its tier: what comes too fast waits for its CONNACK first, and what would
//! wait too long is disconnected without a word (`dps` 11.3). It knows the devices that DPS assigned to it,
//! by the evidence that they registered with. What it will do to a connection that stands follows from its plan
//! ([`Service::hub_event`]), so that a driver needs one alarm for it and no messages.

use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::{Transport, sas};
use fleetstorm_units::random::{Purpose, span_below};
use fleetstorm_units::time::{Moment, Span};

use super::config::{Hub, Tier};
use super::machine::Service;
use super::record::Caller;
use super::throttle::{Meter, Model, Verdict};
use super::tpm::Use;
use super::{Certificate, Evidence, Resource, Token, allocation};
use crate::chaos::{HubState, Serving};

/// What a hub says to a device that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// It is let in.
    Accepted {
        /// How late the CONNACK leaves.
        delay: Span,
    },
    /// A return code of MQTT.
    Refused(Connack),
    /// The connection is closed without an answer.
    Closed,
}

/// What a hub does to a connection that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubEvent {
    /// It calls the direct method `Reprovision`.
    Command,
    /// It closes the connection.
    Closed,
}

/// A connection that stands at a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The hub's place.
    pub hub: u16,
    /// A number that stays with the device ([`device_key`]): a command that is spread over a time reaches each at its own
    /// moment.
    pub key: u64,
    /// The device's number in the fleet, where faults can hit it.
    pub device: Option<u32>,
    /// Expiry of the token that it was made with; 0 for one that was made with a certificate.
    pub token_expires_unix_secs: u64,
}

/// What a hub has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounters {
    /// Connections that were let in.
    pub accepted: u64,
    /// Among them those whose CONNACK was held back.
    pub delayed: u64,
    /// Connections that were closed because too many waited already.
    pub throttled: u64,
    /// Connections that were refused: unknown device, wrong evidence, hub out of order.
    pub refused: u64,
    /// Messages that devices sent.
    pub messages: u64,
}

/// A number that stays with a device, for what is spread over devices.
pub fn device_key(device_id: &str) -> u64 {
    allocation::hash(device_id)
}

impl Tier {
    /// New device connections that a hub of `units` takes, per second.
    pub fn connects_per_s(self, units: u32) -> f64 {
        let units = f64::from(units.max(1));
        match self {
            Self::S1 => (12.0 * units).max(100.0),
            Self::S2 => 120.0 * units,
            Self::S3 => 6_000.0 * units,
        }
    }

    /// Changes of the identity registry, which DPS makes for each device that it assigns, per second.
    pub fn registry_per_s(self, units: u32) -> f64 {
        let units = f64::from(units.max(1));
        match self {
            Self::S1 | Self::S2 => 100.0 / 60.0 * units,
            Self::S3 => 5_000.0 / 60.0 * units,
        }
    }
}

/// The hubs of an instance while it runs; places are those of the configuration.
#[derive(Debug)]
pub(super) struct Hubs {
    desks: Vec<Desk>,
    /// The time as of the last registration or connection.
    now: Moment,
}

/// One hub while it runs.
#[derive(Debug)]
struct Desk {
    connects: Meter,
    registry: Option<Meter>,
    /// When its state changes, in order.
    plan: Vec<(Moment, HubState)>,
    /// Set by hand: the plan does not count.
    forced: Option<HubState>,
    counters: HubCounters,
}

impl Hubs {
    pub(super) fn new(hubs: &[Hub]) -> Self {
        let desk = |hub: &Hub| {
            let connects = match hub.tier {
                None => Model::Unlimited,
                Some(tier) => {
                    let rate_per_s = tier.connects_per_s(hub.units);
                    let depth = rate_per_s * hub.backlog.as_secs_f64();
                    Model::Shaped { rate_per_s, burst: rate_per_s, depth }
                }
            };
            let registry = hub.tier.filter(|_| hub.registry_limit).map(|tier| {
                let rate_per_s = tier.registry_per_s(hub.units);
                // DPS waits for the registry as long as it takes.
                Meter::new(Model::Shaped { rate_per_s, burst: rate_per_s * 60.0, depth: f64::from(u32::MAX) })
            });
            Desk {
                connects: Meter::new(connects),
                registry,
                plan: hub.states.clone(),
                forced: None,
                counters: HubCounters::default(),
            }
        };
        Self { desks: hubs.iter().map(desk).collect(), now: Moment::START }
    }

    /// Tells the time; it does not go back.
    pub(super) fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    /// Whether DPS may assign devices to a hub now.
    pub(super) fn is_linked(&self, hub: u16) -> bool {
        self.desks.get(usize::from(hub)).is_some_and(|desk| desk.state(self.now) != HubState::Unlinked)
    }

    /// How much longer an assignment takes because the hub's registry is busy.
    pub(super) fn registry_delay(&mut self, now: Moment, hub: u16) -> Span {
        let meter = self.desks.get_mut(usize::from(hub)).and_then(|desk| desk.registry.as_mut());
        match meter.map(|meter| meter.admit(now)) {
            Some(Verdict::Admit { delay }) => delay,
            Some(Verdict::Reject { .. }) | None => Span::ZERO,
        }
    }
}

impl Desk {
    fn state(&self, now: Moment) -> HubState {
        let planned = self.plan.iter().rev().find(|(at, _)| *at <= now);
        self.forced.or(planned.map(|(_, state)| *state)).unwrap_or(HubState::Up)
    }
}

impl Service {
    /// The place of a linked hub.
    pub fn hub_at(&self, host: &str) -> Option<u16> {
        (0..).zip(&self.config.hubs).find(|(_, hub)| hub.host.eq_ignore_ascii_case(host)).map(|(at, _)| at)
    }

    /// The hubs' hosts, by their place.
    pub fn hub_hosts(&self) -> impl Iterator<Item = &str> {
        self.config.hubs.iter().map(|hub| &*hub.host)
    }

    /// The state of a hub.
    pub fn hub_state(&self, now: Moment, hub: u16) -> HubState {
        self.hubs.desks.get(usize::from(hub)).map_or(HubState::Unlinked, |desk| desk.state(now))
    }

    /// Puts a hub into a state, whatever its plan says, until `None` gives it back to the plan. Connections that stand
    /// are the driver's to close: [`Service::hub_event`] says so from now on.
    pub fn set_hub_state(&mut self, hub: u16, state: Option<HubState>) {
        if let Some(desk) = self.hubs.desks.get_mut(usize::from(hub)) {
            desk.forced = state;
        }
    }

    /// What a hub has counted.
    pub fn hub_counters(&self, hub: u16) -> HubCounters {
        self.hubs.desks.get(usize::from(hub)).map(|desk| desk.counters).unwrap_or_default()
    }

    /// A device sent a message to a hub.
    pub fn hub_heard(&mut self, hub: u16) {
        if let Some(desk) = self.hubs.desks.get_mut(usize::from(hub)) {
            desk.counters.messages += 1;
        }
    }

    /// A device connects to a hub under its device id.
    pub fn connect_hub(
        &mut self,
        now: Moment,
        hub: u16,
        device_id: &str,
        evidence: &impl Evidence,
    ) -> Welcome {
        let registered = self.registered_as(device_id);
        let genuine = registered.as_deref().is_some_and(|name| {
            let caller = self.caller(name);
            self.is_of_hub(now, caller, hub, device_id, evidence)
        });
        let state = self.disturbed_hub(now, Caller::Named(registered.as_deref().unwrap_or(device_id)), hub);
        self.welcome(now, hub, genuine, state)
    }

    /// Device number `device` of the roster connects to a hub under its own name.
    pub fn connect_hub_by_number(
        &mut self,
        now: Moment,
        hub: u16,
        device: u32,
        evidence: &impl Evidence,
    ) -> Welcome {
        let genuine = self.is_of_hub(now, Caller::Numbered(device), hub, "", evidence);
        let state = self.disturbed_hub(now, Caller::Numbered(device), hub);
        self.welcome(now, hub, genuine, state)
    }

    /// A connection of the device with this device id, for [`Service::hub_event`].
    pub fn standing(&self, hub: u16, device_id: &str, token_expires_unix_secs: u64) -> Standing {
        let name = self.registered_as(device_id);
        let device = name.and_then(|name| self.disturbed_device(Caller::Named(&name)));
        Standing { hub, key: device_key(device_id), device, token_expires_unix_secs }
    }

    /// What a hub does next to a connection that stands, after `now`: its plan, a fault, or the end of the token that the
    /// connection was made with.
    pub fn hub_event(&self, now: Moment, standing: &Standing) -> Option<(Moment, HubEvent)> {
        let Standing { hub, key, device, token_expires_unix_secs } = *standing;
        let desk = self.hubs.desks.get(usize::from(hub))?;
        // A token is good for the second in which it expires.
        let good_until = token_expires_unix_secs.saturating_add(1);
        let expires = (token_expires_unix_secs > 0)
            .then(|| self.config.calendar.moment_of_unix_secs(good_until))
            .filter(|at| *at != Moment::FAR);
        if desk.state(now).disconnects() || expires.is_some_and(|at| at <= now) {
            return Some((now, HubEvent::Closed));
        }
        let mut ahead = desk.plan.iter().filter(|(at, _)| desk.forced.is_none() && *at > now);
        let closes = ahead.find(|(_, state)| state.disconnects()).map(|(at, _)| (*at, HubEvent::Closed));
        let plan = self.config.hubs.get(usize::from(hub))?;
        let seed = self.config.seed;
        let commands = (0..).zip(&plan.commands).map(|(number, sweep)| {
            let [draw, _] = seed.pair(Purpose::Command, key, number);
            sweep.at + span_below(draw, sweep.over)
        });
        let command = commands.filter(|at| *at > now).min().map(|at| (at, HubEvent::Command));
        let faulty = device.and_then(|device| self.hub_closes(now, device, &plan.host));
        let [expires, faulty] = [expires, faulty].map(|at| at.map(|at| (at, HubEvent::Closed)));
        [closes, expires, faulty, command].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The registration id of the device with this device id.
    pub(super) fn registered_as<'a>(&self, device_id: &'a str) -> Option<std::borrow::Cow<'a, str>> {
        let own = self.individuals.find(device_id).and_then(|at| self.individuals.get(at));
        let renamed = own.is_some_and(|kept| kept.value.device_id.is_some());
        let is_known =
            || self.records.find(self.caller(device_id)).is_some() || self.left_by(device_id).is_some();
        if !renamed && is_known() {
            return Some(device_id.into());
        }
        let is = |id: &Option<String>| id.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(device_id));
        let mut individuals = self.individuals.iter();
        individuals.find(|(_, kept)| is(&kept.device_id)).map(|(_, kept)| kept.registration_id.clone().into())
    }

    /// Whether a device is one of a hub's, and proves it.
    fn is_of_hub(
        &self,
        now: Moment,
        caller: Caller<'_>,
        hub: u16,
        device_id: &str,
        evidence: &impl Evidence,
    ) -> bool {
        let Some(host) = self.config.hubs.get(usize::from(hub)).map(|hub| &hub.host) else { return false };
        let is_assigned = self.records.find(caller).is_some_and(|at| {
            let record = self.records.get(at);
            now >= record.ready_at && self.failure(at).is_none() && record.hub == hub
        });
        if !is_assigned && self.left_by(&self.name(caller)).is_none_or(|left| left.hub != hub) {
            return false;
        }
        let audience = Audience { evidence, resource: || format!("{host}/devices/{device_id}") };
        self.admit(now, caller, Use::Hub, &audience, &Serving::default()).is_ok()
    }

    /// `disturbed` is the state that a fault puts the hub into.
    fn welcome(&mut self, now: Moment, hub: u16, genuine: bool, disturbed: Option<HubState>) -> Welcome {
        self.hubs.advance(now);
        let Some(desk) = self.hubs.desks.get_mut(usize::from(hub)) else {
            return Welcome::Refused(Connack::NotAuthorized);
        };
        let welcome = match disturbed.unwrap_or_else(|| desk.state(now)) {
            HubState::Failing => Welcome::Refused(Connack::Unavailable),
            HubState::Unlinked => Welcome::Refused(Connack::NotAuthorized),
            HubState::Throttled => Welcome::Closed,
            // Connections are counted before it is known whose they are.
            HubState::Up => match desk.connects.admit(now) {
                Verdict::Reject { .. } => Welcome::Closed,
                Verdict::Admit { .. } if !genuine => Welcome::Refused(Connack::NotAuthorized),
                Verdict::Admit { delay } => Welcome::Accepted { delay },
            },
        };
        match welcome {
            Welcome::Accepted { delay } => {
                desk.counters.accepted += 1;
                desk.counters.delayed += u64::from(delay > Span::ZERO);
            }
            Welcome::Refused(_) => desk.counters.refused += 1,
            Welcome::Closed => desk.counters.throttled += 1,
        }
        welcome
    }
}

/// Evidence whose token must be for a resource of a hub rather than for the registration. Nobody names a TPM to a hub.
struct Audience<'a, E, R> {
    evidence: &'a E,
    resource: R,
}

impl<E: Evidence, R: Fn() -> String> Evidence for Audience<'_, E, R> {
    fn transport(&self) -> Transport {
        self.evidence.transport()
    }

    fn token(&self) -> Token<'_> {
        match self.evidence.token() {
            Token::Claims { resource: Resource::Spelled(spelled), expires_unix_secs } => {
                if sas::covers(spelled, &(self.resource)()) {
                    Token::Claims { resource: Resource::Own, expires_unix_secs }
                } else {
                    Token::Unreadable
                }
            }
            other => other,
        }
    }

    fn policy(&self) -> &str {
        self.evidence.policy()
    }

    fn signed_with(
        &self,
        key: &fleetstorm_protocol::enrollment::SymmetricKey,
        derived_for: Option<&str>,
    ) -> bool {
        self.evidence.signed_with(key, derived_for)
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.evidence.certificate()
    }

    fn signed_by(
        &self,
        ca: &fleetstorm_protocol::enrollment::CaCertificate,
        trusted: &super::TrustedCas,
        unix_secs: u64,
    ) -> Option<u8> {
        self.evidence.signed_by(ca, trusted, unix_secs)
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
