//! Which hub a device gets, now and when it registers again: policies, re-provisioning, the webhook.

use std::collections::btree_map;
use std::sync::Arc;

use fleetstorm_protocol::enrollment::{AllocationPolicy, Enrollment};
use fleetstorm_protocol::webhook::{WebhookCall, WebhookReply};
use fleetstorm_protocol::{Registration, RegistrationState, Substatus, code};
use fleetstorm_units::random::{Purpose, fraction};
use fleetstorm_units::time::{Moment, Span};
use serde_json::Value;

use super::allocation;
use super::answer::Ticket;
use super::config::Assignment;
use super::machine::Service;
use super::metrics::MetricStatus;
use super::record::{EnrollmentPlace, EnrollmentRef};

/// The last api-version under which a device that registers again keeps its hub (`dps` 14.6).
const LAST_STICKY_VERSION: &str = "2018-04-01";

/// How often a webhook is asked again after it was busy or out of reach (`dps` 14.7).
const WEBHOOK_RETRIES: u32 = 10;

/// What few devices have: kept apart, so that the records of a million others stay small.
#[derive(Clone, Debug, Default)]
pub(super) struct Special {
    /// Hub of the first assignment, once the device has another one.
    origin: Option<u16>,
    /// It has never had a hub.
    homeless: bool,
    failure: Option<(u32, String)>,
    /// What the webhook gave it to take along.
    payload: Option<Value>,
    /// Its TPM's storage root key, a TPM2B_PUBLIC.
    pub(super) storage_root_key: Option<Box<[u8]>>,
}

/// A device at a hub whose registration was deleted: the hub knows nothing of that.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) hub: u16,
    pub(super) twin: Option<Arc<Value>>,
}

/// What is to be done for a registration.
pub(super) enum Choice {
    Hub(u16),
    Webhook,
}

/// A webhook that is to be asked.
#[derive(Clone, Debug)]
pub struct WebhookAsk {
    /// Gives the answer back to its registration.
    pub ticket: WebhookTicket,
    /// What it is asked.
    pub call: WebhookCall,
}

/// Says which registration a webhook's answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookTicket {
    of: Ticket,
    /// Times that the webhook has been asked again.
    retries: u32,
}

impl Service {
    /// The next webhook that is to be asked. Its answer goes to [`Service::webhook_answered`].
    pub fn next_webhook(&mut self) -> Option<WebhookAsk> {
        self.calls.pop_front()
    }

    /// Takes a webhook's answer. Returns when to ask again, with the ticket of the next question.
    pub fn webhook_answered(
        &mut self,
        now: Moment,
        ticket: WebhookTicket,
        reply: WebhookReply,
    ) -> Option<(Span, WebhookTicket)> {
        let at = ticket.of.record as usize;
        // Deleted, and perhaps registered anew, while the webhook was thinking.
        if self.ticket(at) != ticket.of {
            return None;
        }
        let enrollment = self.records.get(at).enrollment;
        let failed = |status: u16| format!("Custom allocation failed with status code: {status}");
        let (code, message) = match reply {
            WebhookReply::Named { hub: Some(host), initial_twin, payload } if !host.is_empty() => {
                let candidate = self.enrollment(enrollment).and_then(|enrollment| {
                    self.candidates(enrollment)
                        .find(|&hub| self.config.hubs[usize::from(hub)].host.eq_ignore_ascii_case(&host))
                });
                if let Some(hub) = candidate {
                    let name = self.name_at(at).into_owned();
                    self.assign(now, at, &name, hub, initial_twin);
                    if payload.is_some() {
                        self.special.entry(ticket.of.record).or_default().payload = payload;
                    }
                    return None;
                }
                (code::ALLOCATION_FAILED, failed(200))
            }
            WebhookReply::Named { .. } => {
                (code::ALLOCATION_NO_HUB, "Custom allocation named no hub".to_owned())
            }
            WebhookReply::Status(401) => (
                code::ALLOCATION_UNAUTHORIZED,
                "Custom allocation was refused with status code: 401".to_owned(),
            ),
            WebhookReply::Status(429..) | WebhookReply::Unreachable if ticket.retries < WEBHOOK_RETRIES => {
                let wait = Span::from_secs(1 + 9 * u64::from(ticket.retries));
                return Some((wait, WebhookTicket { retries: ticket.retries + 1, ..ticket }));
            }
            WebhookReply::Status(status) => (code::ALLOCATION_FAILED, failed(status)),
            WebhookReply::Unreachable => {
                (code::ALLOCATION_FAILED, "Custom allocation failed: the webhook did not answer".to_owned())
            }
            WebhookReply::Forbidden(why) => {
                (code::ALLOCATION_FAILED, format!("Custom allocation failed: {why}"))
            }
        };
        self.records.get_mut(at).ready_at = now;
        self.metrics.refused(now, MetricStatus::Failed);
        let first = ticket.of.registration == 1;
        let special = self.special.entry(ticket.of.record).or_default();
        special.failure = Some((code, message));
        special.homeless |= first;
        None
    }

    /// Deletes a registration. Its device stays where it is.
    pub(super) fn forget(&mut self, now: Moment, at: usize) {
        let name = self.name_at(at).to_ascii_lowercase();
        let twin = self.twins.remove(&(at as u32));
        let record = self.records.get(at);
        if now >= record.ready_at && self.failure(at).is_none() {
            self.left.insert(name.clone().into(), Left { hub: record.hub, twin });
        }
        self.records.remove(self.caller(&name));
        self.special.remove(&(at as u32));
    }

    /// What a device left behind that has no registration.
    pub(super) fn left_by(&self, name: &str) -> Option<&Left> {
        // There is none as long as no registration was deleted, and every connection of a device asks.
        if self.left.is_empty() { None } else { self.left.get(&*name.to_ascii_lowercase()) }
    }

    /// The hub that a device has, unless it never had one.
    fn current_hub(&self, at: usize) -> Option<u16> {
        let record = self.records.get(at);
        let homeless = self.special.get(&(at as u32)).is_some_and(|special| special.homeless);
        (record.registrations > 0 && !homeless).then_some(record.hub)
    }

    /// Places of the hubs that come into question for an enrollment.
    fn candidates<'a>(&'a self, enrollment: &'a Enrollment) -> impl Iterator<Item = u16> + Clone + 'a {
        (0..).zip(&self.config.hubs).filter_map(|(at, hub)| {
            let named = |host: &String| host.eq_ignore_ascii_case(&hub.host);
            let wanted = enrollment.hubs.is_empty() || enrollment.hubs.iter().any(named);
            (wanted && self.hubs.is_linked(at)).then_some(at)
        })
    }

    /// Decides how a registration gets its hub. The enrollment's policy goes before the instance's (`dps`
    /// 14.5), and a policy that keeps devices where they are before both (14.6).
    ///
    /// A hub that is `unlinked` by a fault does not come into question where there is another one.
    pub(super) fn choose(
        &self,
        at: usize,
        name: &str,
        of: EnrollmentRef,
        api_version: &str,
        unlinked: Option<&str>,
    ) -> Choice {
        let linked = |hub: u16| {
            let host = &self.config.hubs[usize::from(hub)].host;
            self.hubs.is_linked(hub) && unlinked.is_none_or(|unlinked| !unlinked.eq_ignore_ascii_case(host))
        };
        // A deleted enrollment admits nobody.
        let Some(enrollment) = self.enrollment(of) else { return Choice::Hub(0) };
        if let Some(hub) = self.current_hub(at) {
            let sticky = api_version.get(..10).is_some_and(|date| date <= LAST_STICKY_VERSION);
            if linked(hub) && (sticky || !enrollment.reprovision.update_hub_assignment) {
                return Choice::Hub(hub);
            }
        }
        let usual = match enrollment.static_hub {
            Some(_) => AllocationPolicy::Static,
            None => self.config.allocation,
        };
        let key = allocation::hash(name);
        let all = self.candidates(enrollment);
        let some = all.clone().any(&linked);
        let candidates =
            all.filter(|&at| !some || linked(at)).map(|at| (at, &self.config.hubs[usize::from(at)]));
        let hub = match enrollment.allocation.unwrap_or(usual) {
            AllocationPolicy::Custom => return Choice::Webhook,
            AllocationPolicy::Hashed => allocation::hashed(candidates, key),
            AllocationPolicy::Static => {
                let host = enrollment.static_hub.as_ref().or(enrollment.hubs.first());
                let mut hubs = (0..).zip(&self.config.hubs);
                hubs.find(|(_, hub)| host.is_some_and(|host| hub.host.eq_ignore_ascii_case(host)))
                    .map(|(at, _)| at)
            }
            AllocationPolicy::GeoLatency => {
                let nearest = candidates.clone().map(|(_, hub)| self.latency(name, &hub.host)).min();
                let near = candidates.filter(|(_, hub)| Some(self.latency(name, &hub.host)) == nearest);
                allocation::hashed(near, key)
            }
        };
        // Every hub that an enrollment names was linked when the enrollment was made; where none is any more, the
        // device is sent to one that will not know it.
        Choice::Hub(hub.unwrap_or(0))
    }

    fn latency(&self, id: &str, host: &str) -> Span {
        let begins =
            |prefix: &str| id.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        let region = self.config.regions.iter().find(|region| begins(&region.id_prefix));
        let known = region
            .and_then(|region| region.latency.iter().find(|(known, _)| known.eq_ignore_ascii_case(host)));
        known.map_or(Span::MAX, |(_, latency)| *latency)
    }

    /// Gives a device its hub, which it has once the assignment's time is over.
    pub(super) fn assign(
        &mut self,
        now: Moment,
        at: usize,
        name: &str,
        hub: u16,
        initial_twin: Option<Arc<Value>>,
    ) {
        // A device whose registration was deleted is new to DPS, and not to the hub that has it still.
        let left = match self.left_by(name) {
            Some(left) if left.hub == hub => self.left.remove(&*name.to_ascii_lowercase()),
            _ => None,
        };
        let current = self.current_before(at).or(left.as_ref().map(|left| left.hub));
        let moved = current.filter(|&current| current != hub);
        let mut substatus = match left {
            Some(_) => Substatus::ReprovisionedToInitialAssignment,
            None => Substatus::InitialAssignment,
        };
        if let Some(twin) = left.and_then(|left| left.twin) {
            self.twins.insert(at as u32, twin);
        }
        let migrate = self
            .enrollment(self.records.get(at).enrollment)
            .is_none_or(|enrollment| enrollment.reprovision.migrate_device_data);
        if let Some(from) = moved {
            let special = self.special.entry(at as u32).or_default();
            let origin = *special.origin.get_or_insert(from);
            substatus = match (origin == hub, migrate) {
                (true, _) => Substatus::ReprovisionedToInitialAssignment,
                (false, true) => Substatus::DeviceDataMigrated,
                (false, false) => Substatus::DeviceDataReset,
            };
        }
        if let btree_map::Entry::Occupied(mut special) = self.special.entry(at as u32) {
            let Special { origin, storage_root_key, .. } = std::mem::take(special.get_mut());
            let kept = Special { origin, storage_root_key, ..Special::default() };
            if kept.origin.is_none() && kept.storage_root_key.is_none() {
                special.remove();
            } else {
                special.insert(kept);
            }
        }
        let count = self.records.get(at).registrations;
        let took = self.assignment(allocation::hash(name), count.saturating_sub(1));
        // An identity is made where the device is new to the hub.
        let made = current != Some(hub);
        if made && !(moved.is_some() && migrate) {
            self.start_twin(at, initial_twin);
        }
        let held = if made { self.hubs.registry_delay(now, hub) } else { Span::ZERO };
        let took = took.map(|took| took + held);
        let record = self.records.get_mut(at);
        record.substatus = substatus;
        record.hub = hub;
        record.ready_at = took.map_or(Moment::FAR, |took| now + took);
        if let Some(took) = took {
            self.metrics.assigned(now + took, hub);
        }
    }

    /// How long an assignment takes; `None` for never.
    pub(super) fn assignment(&self, device: u64, count: u32) -> Option<Span> {
        let draws = || self.config.seed.pair(Purpose::Assignment, device, count).map(fraction);
        Some(match self.config.assignment {
            Assignment::Never => return None,
            Assignment::Constant(span) => span,
            Assignment::Uniform(from, to) => from + to.saturating_sub(from).scale(draws()[0]),
            Assignment::Lognormal { median, sigma, max } => {
                let [one, other] = draws();
                // Box and Muller (1958).
                let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos();
                median.scale((sigma * normal).exp()).min(max)
            }
        })
    }

    /// The hub that a device had before its running registration.
    fn current_before(&self, at: usize) -> Option<u16> {
        if self.records.get(at).registrations > 1 { self.current_hub(at) } else { None }
    }

    /// Queues the question to the enrollment's webhook; until it is answered the device stays in `assigning`.
    pub(super) fn ask_webhook(&mut self, at: usize, name: &str, payload: Option<&str>) {
        let ticket = WebhookTicket { of: self.ticket(at), retries: 0 };
        let of = self.records.get(at).enrollment;
        let current = self.current_before(at).map(|hub| {
            let device_id = match of.place() {
                EnrollmentPlace::Individual(at) => {
                    self.individuals.get(at).and_then(|kept| kept.value.device_id.clone())
                }
                EnrollmentPlace::Group(_) => None,
            };
            (self.config.hubs[usize::from(hub)].host.clone(), device_id.unwrap_or_else(|| name.to_owned()))
        });
        let resource = match of.place() {
            EnrollmentPlace::Individual(at) => self.individual_resource(at),
            EnrollmentPlace::Group(at) => self.group_resource(at),
        };
        let call = resource.and_then(|enrollment| {
            let of = self.enrollment(of)?;
            let host = |at: u16| self.config.hubs[usize::from(at)].host.clone();
            let linked_hubs = self.candidates(of).map(host).collect();
            let payload = payload.map(str::to_owned);
            let webhook = of.custom.clone()?;
            let call = WebhookCall {
                webhook,
                registration_id: name.to_owned(),
                current,
                payload,
                enrollment,
                linked_hubs,
            };
            Some(WebhookAsk { ticket, call })
        });
        self.records.get_mut(at).ready_at = Moment::FAR;
        self.calls.extend(call);
    }

    /// Lets a running assignment come to nothing when its time is over.
    pub(super) fn fail_assignment(&mut self, at: usize, code: u32) {
        let message = fleetstorm_protocol::http::text_of(code).to_owned();
        self.special.entry(at as u32).or_default().failure = Some((code, message));
    }

    /// The code and the text of a registration that has failed.
    pub(super) fn failure(&self, at: usize) -> Option<&(u32, String)> {
        self.special.get(&(at as u32))?.failure.as_ref()
    }

    /// Adds what only few registrations say.
    pub(super) fn tell_special(&self, at: usize, registration: &mut Registration) {
        let Some(special) = self.special.get(&(at as u32)) else { return };
        registration.payload = special.payload.clone();
        if let Some((code, message)) = &special.failure {
            registration.state = Some(RegistrationState::Failed);
            registration.error_code = Some(*code);
            registration.error_message = Some(message.clone());
            registration.substatus = None;
            registration.assigned_hub = None;
        }
    }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
