//! IoT hubs, as far as a device that has been provisioned meets them.
//!
//! A hub lets connections in at the rate of its tier: what comes too fast waits for its CONNACK first, and what would
//! wait too long is disconnected without a word (`dps` 11.3). It knows the devices that DPS assigned to it,
//! by the evidence that they registered with. What it will do to a connection that stands follows from its plan, so that a
//! driver needs one alarm for it and no messages.

use fleetstorm_protocol::enrollment::Enrollment;
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_units::random::{Purpose, Seed, span_below};
use fleetstorm_units::time::{Calendar, Moment, Span};

use super::allocation;
use super::config::{self, Hub, Tier};
use super::throttle::{Meter, Model, Verdict};
use crate::chaos::HubState;

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
    plans: Vec<Hub>,
    desks: Vec<Desk>,
    /// The time as of the last registration or connection.
    now: Moment,
    seed: Seed,
    calendar: Calendar,
}

/// One hub while it runs.
#[derive(Debug)]
struct Desk {
    connects: Meter,
    registry: Option<Meter>,
    /// Set by hand: the plan does not count.
    forced: Option<HubState>,
    counters: HubCounters,
}

/// What is known of a connection before the hub looks at its own state.
pub(super) struct Arrival {
    /// What a device is told that the hub does not know.
    pub(super) stranger: Option<Welcome>,
    /// The state that a fault puts the hub into.
    pub(super) disturbed: Option<HubState>,
}

impl Hubs {
    pub(super) fn new(plans: Vec<Hub>, seed: Seed, calendar: Calendar) -> Self {
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
            let (connects, counters) = (Meter::new(connects), HubCounters::default());
            Desk { connects, registry, forced: None, counters }
        };
        let desks = plans.iter().map(desk).collect();
        Self { plans, desks, now: Moment::START, seed, calendar }
    }

    /// Tells the time; it does not go back.
    pub(super) fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    /// The place of a hub.
    pub(super) fn at(&self, host: &str) -> Option<u16> {
        (0..).zip(&self.plans).find(|(_, hub)| hub.host.eq_ignore_ascii_case(host)).map(|(at, _)| at)
    }

    /// A hub as it is configured.
    pub(super) fn get(&self, hub: u16) -> Option<&Hub> {
        self.plans.get(usize::from(hub))
    }

    /// The host of a hub that there is.
    pub(super) fn host(&self, hub: u16) -> &str {
        &self.plans[usize::from(hub)].host
    }

    /// The hubs' hosts, by their place.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.plans.iter().map(|hub| &*hub.host)
    }

    /// A hub that an enrollment names and that is not linked.
    pub(super) fn unlinked<'a>(&self, enrollment: &'a Enrollment) -> Option<&'a str> {
        config::unlinked(&self.plans, enrollment)
    }

    /// Hubs that come into question for an enrollment.
    pub(super) fn candidates<'a>(
        &'a self,
        enrollment: &'a Enrollment,
    ) -> impl Iterator<Item = (u16, &'a Hub)> + Clone + 'a {
        (0..).zip(&self.plans).filter(|(at, hub)| {
            let named = |host: &String| host.eq_ignore_ascii_case(&hub.host);
            let wanted = enrollment.hubs.is_empty() || enrollment.hubs.iter().any(named);
            wanted && self.is_linked(*at)
        })
    }

    /// Whether DPS may assign devices to a hub now.
    pub(super) fn is_linked(&self, hub: u16) -> bool {
        self.state(self.now, hub) != HubState::Unlinked
    }

    /// How much longer an assignment takes because the hub's registry is busy.
    pub(super) fn registry_delay(&mut self, now: Moment, hub: u16) -> Span {
        let meter = self.desks.get_mut(usize::from(hub)).and_then(|desk| desk.registry.as_mut());
        match meter.map(|meter| meter.admit(now)) {
            Some(Verdict::Admit { delay }) => delay,
            Some(Verdict::Reject { .. }) | None => Span::ZERO,
        }
    }

    /// The state of a hub; one that there is not is unlinked.
    pub(super) fn state(&self, now: Moment, hub: u16) -> HubState {
        let at = usize::from(hub);
        let (Some(desk), Some(plan)) = (self.desks.get(at), self.plans.get(at)) else {
            return HubState::Unlinked;
        };
        let planned = plan.states.iter().rev().find(|(at, _)| *at <= now);
        desk.forced.or(planned.map(|(_, state)| *state)).unwrap_or(HubState::Up)
    }

    /// Puts a hub into a state, whatever its plan says, until `None` gives it back to the plan.
    pub(super) fn force(&mut self, hub: u16, state: Option<HubState>) {
        if let Some(desk) = self.desks.get_mut(usize::from(hub)) {
            desk.forced = state;
        }
    }

    /// What a hub has counted.
    pub(super) fn counters(&self, hub: u16) -> HubCounters {
        self.desks.get(usize::from(hub)).map(|desk| desk.counters).unwrap_or_default()
    }

    /// A device sent a message to a hub.
    pub(super) fn heard(&mut self, hub: u16) {
        if let Some(desk) = self.desks.get_mut(usize::from(hub)) {
            desk.counters.messages += 1;
        }
    }

    /// What a hub does next to a connection that stands, after `now`: its plan, the end of the token that the connection was
    /// made with, or a fault, which closes it at `faulty`.
    pub(super) fn next_event(
        &self,
        now: Moment,
        standing: &Standing,
        faulty: impl FnOnce(u32, &str) -> Option<Moment>,
    ) -> Option<(Moment, HubEvent)> {
        let Standing { hub, key, device, token_expires_unix_secs } = *standing;
        let (desk, plan) = (self.desks.get(usize::from(hub))?, self.plans.get(usize::from(hub))?);
        // A token is good for the second in which it expires.
        let good_until = token_expires_unix_secs.saturating_add(1);
        let expires = (token_expires_unix_secs > 0)
            .then(|| self.calendar.moment_of_unix_secs(good_until))
            .filter(|at| *at != Moment::FAR);
        if self.state(now, hub).disconnects() || expires.is_some_and(|at| at <= now) {
            return Some((now, HubEvent::Closed));
        }
        let mut ahead = plan.states.iter().filter(|(at, _)| desk.forced.is_none() && *at > now);
        let closes = ahead.find(|(_, state)| state.disconnects()).map(|(at, _)| (*at, HubEvent::Closed));
        let commands = (0..).zip(&plan.commands).map(|(number, sweep)| {
            let [draw, _] = self.seed.pair(Purpose::Command, key, number);
            sweep.at + span_below(draw, sweep.over)
        });
        let command = commands.filter(|at| *at > now).min().map(|at| (at, HubEvent::Command));
        let faulty = device.and_then(|device| faulty(device, &plan.host));
        let [expires, faulty] = [expires, faulty].map(|at| at.map(|at| (at, HubEvent::Closed)));
        [closes, expires, faulty, command].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Answers a connection, and counts it.
    pub(super) fn welcome(&mut self, now: Moment, hub: u16, arrival: &Arrival) -> Welcome {
        self.advance(now);
        let planned = self.state(now, hub);
        let Some(desk) = self.desks.get_mut(usize::from(hub)) else {
            return Welcome::Refused(Connack::NotAuthorized);
        };
        let welcome = match arrival.disturbed.unwrap_or(planned) {
            HubState::Failing => Welcome::Refused(Connack::Unavailable),
            HubState::Unlinked => Welcome::Refused(Connack::NotAuthorized),
            HubState::Throttled => Welcome::Closed,
            // Connections are counted before it is known whose they are.
            HubState::Up => match desk.connects.admit(now) {
                Verdict::Reject { .. } => Welcome::Closed,
                Verdict::Admit { delay } => match arrival.stranger {
                    Some(told) => {
                        desk.counters.refused += 1;
                        return told;
                    }
                    None => Welcome::Accepted { delay },
                },
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
