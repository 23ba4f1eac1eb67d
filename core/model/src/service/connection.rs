//! Devices that connect to the hubs that DPS has given them.

use std::borrow::Cow;

use fleetstorm_protocol::enrollment::{CaCertificate, SymmetricKey};
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::{Transport, sas};
use fleetstorm_units::time::Moment;

use super::hub::{Arrival, HubCounters, HubEvent, Standing, Welcome, device_key};
use super::machine::Service;
use super::record::Caller;
use super::tpm::Use;
use super::{Certificate, Evidence, Resource, Token, TrustedCas};
use crate::chaos::{HubState, Serving};

/// A device that connects to a hub under its device id.
struct Newcomer<'a, E> {
    caller: Caller<'a>,
    hub: u16,
    device_id: &'a str,
    evidence: &'a E,
}

impl Service {
    /// The place of a linked hub.
    pub fn hub_at(&self, host: &str) -> Option<u16> {
        self.hubs.at(host)
    }

    /// The hubs' hosts, by their place.
    pub fn hub_hosts(&self) -> impl Iterator<Item = &str> {
        self.hubs.hosts()
    }

    /// The state of a hub.
    pub fn hub_state(&self, now: Moment, hub: u16) -> HubState {
        self.hubs.state(now, hub)
    }

    /// Puts a hub into a state, whatever its plan says, until `None` gives it back to the plan. Connections that stand
    /// are the driver's to close: [`Service::hub_event`] says so from now on.
    pub fn set_hub_state(&mut self, hub: u16, state: Option<HubState>) {
        self.hubs.force(hub, state);
    }

    /// What a hub has counted.
    pub fn hub_counters(&self, hub: u16) -> HubCounters {
        self.hubs.counters(hub)
    }

    /// A device sent a message to a hub.
    pub fn hub_heard(&mut self, hub: u16) {
        self.hubs.heard(hub);
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
            let caller = self.registrations.caller(name);
            self.is_of_hub(now, &Newcomer { caller, hub, device_id, evidence })
        });
        let caller = Caller::Named(registered.as_deref().unwrap_or(device_id));
        self.welcome(now, &Newcomer { caller, hub, device_id, evidence }, genuine)
    }

    /// Device number `device` of the roster connects to a hub under its own name.
    pub fn connect_hub_by_number(
        &mut self,
        now: Moment,
        hub: u16,
        device: u32,
        evidence: &impl Evidence,
    ) -> Welcome {
        let newcomer = Newcomer { caller: Caller::Numbered(device), hub, device_id: "", evidence };
        let genuine = self.is_of_hub(now, &newcomer);
        self.welcome(now, &newcomer, genuine)
    }

    /// A connection of the device with this device id, for [`Service::hub_event`].
    pub fn standing(&self, hub: u16, device_id: &str, token_expires_unix_secs: u64) -> Standing {
        let device = self.registered_as(device_id).and_then(|name| {
            self.disturbance.as_ref().and_then(|disturbance| disturbance.device(Caller::Named(&name)))
        });
        Standing { hub, key: device_key(device_id), device, token_expires_unix_secs }
    }

    /// What a hub does next to a connection that stands, after `now`: its plan, a fault, or the end of the token that the
    /// connection was made with.
    pub fn hub_event(&self, now: Moment, standing: &Standing) -> Option<(Moment, HubEvent)> {
        self.hubs.next_event(now, standing, |device, host| {
            self.disturbance.as_ref()?.hub_closes(now, device, host)
        })
    }

    /// The registration id of the device with this device id.
    pub(super) fn registered_as<'a>(&self, device_id: &'a str) -> Option<Cow<'a, str>> {
        if !self.enrollments.renames(device_id) && self.registrations.knows(device_id) {
            return Some(device_id.into());
        }
        self.enrollments.renamed_to(device_id).map(|name| name.to_owned().into())
    }

    /// Whether a device is one of a hub's, and proves it.
    fn is_of_hub(&self, now: Moment, newcomer: &Newcomer<'_, impl Evidence>) -> bool {
        let Newcomer { caller, hub, device_id, evidence } = *newcomer;
        let Some(host) = self.hubs.get(hub).map(|hub| &hub.host) else { return false };
        if !self.registrations.is_assigned(now, caller, hub) {
            let name = self.registrations.name(caller);
            if self.registrations.left_by(&name).is_none_or(|left| left.hub != hub) {
                return false;
            }
        }
        let operational = evidence.certificate().filter(|leaf| leaf.device_uid.is_some());
        if let Some(leaf) = operational {
            return self.issuer.operates(now, &self.registrations.name(caller), leaf, evidence);
        }
        let audience = Audience { evidence, resource: || format!("{host}/devices/{device_id}") };
        self.admit(now, caller, Use::Hub, &audience, &Serving::USUAL).is_ok()
    }

    fn welcome(&mut self, now: Moment, newcomer: &Newcomer<'_, impl Evidence>, genuine: bool) -> Welcome {
        let Newcomer { caller, hub, evidence, .. } = *newcomer;
        let host = self.hubs.get(hub).map(|hub| &*hub.host);
        let disturbed = match (&mut self.disturbance, host) {
            (Some(disturbance), Some(host)) => disturbance.hub_state(now, caller, host),
            _ => None,
        };
        let stranger = (!genuine).then(|| match evidence.certificate() {
            Some(leaf) if leaf.device_uid.is_some() => {
                self.issuer.refusal().map_or(Welcome::Closed, Welcome::Refused)
            }
            _ => Welcome::Refused(Connack::NotAuthorized),
        });
        self.hubs.welcome(now, hub, &Arrival { stranger, disturbed })
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

    fn signed_with(&self, key: &SymmetricKey, derived_for: Option<&str>) -> bool {
        self.evidence.signed_with(key, derived_for)
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.evidence.certificate()
    }

    fn signed_by(&self, ca: &CaCertificate, trusted: &TrustedCas, unix_secs: u64) -> Option<u8> {
        self.evidence.signed_by(ca, trusted, unix_secs)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
