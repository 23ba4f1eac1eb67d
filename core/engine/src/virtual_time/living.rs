//! Simulated devices at their hubs.
//!
//! A connection is three events: the device connects, the hub answers, and, where the hub's plan says so, it does something
//! to the connection. Messages cost none: a device's own alarm sends them.

use std::cell::OnceCell;

use fleetstorm_model::chaos::Cut;
use fleetstorm_model::device::{Credential, LifeAction, LifeInput};
use fleetstorm_model::service::{HubEvent, Standing, Welcome, device_key};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_units::time::{Moment, Span};

use super::parcel::Parcel;
use super::{Due, Fate, Leg, Simulation};
use crate::truth::{Proof, Truth};

/// Sets the draws of a hub's stream_faults apart from those of DPS's, which are keyed by the attempts of a registration.
const AT_HUB: u32 = 1 << 29;

impl Simulation<'_> {
    /// Gives a device that lives on an input and says what its wish leads to.
    pub(super) fn live(&mut self, device: u32, now: Moment, input: LifeInput<'_>) -> Due {
        let cell = &mut self.cells[device as usize];
        let life = &mut self.lives[device as usize];
        let before = life.has_been_online();
        let cohort = &self.world.cohorts[usize::from(cell.cohort)];
        let Some(rules) = &cohort.life else { return None };
        let off = self.world.parts.policy(now, device, &cohort.policy);
        let policy = off.as_ref().unwrap_or(&cohort.policy);
        let (own, mut around) = super::around(&mut self.world.parts, cohort, cell, device);
        let action = life.step(own, now, input, (policy, rules), &mut around);
        if life.has_been_online() && !before {
            self.note(device, now, Fate::Assigned);
            self.free_place(device);
        }
        match action {
            LifeAction::Dps(action) => self.act(device, now, action),
            LifeAction::ConnectHub { credential, .. } => self.connect_hub(device, now, credential),
            LifeAction::Heartbeat => self.beat(device, now),
            LifeAction::Stay => self.stay(device, now),
            LifeAction::Sleep => {
                if self.lives[device as usize].waits_for_hub() {
                    self.free_place(device);
                }
                self.alarm(device)
            }
        }
    }

    /// A device connects to its hub, unless a fault of the network is in its way.
    fn connect_hub(&mut self, device: u32, now: Moment, credential: Credential) -> Due {
        let faults = self.world.parts.faults.as_mut();
        let (connecting, exchanging) =
            faults.map(|faults| faults.connect_hub(now, device)).unwrap_or_default();
        let stands = now + self.hub_leg(device, Leg::Connect) + connecting.delay;
        let arrives = stands + self.hub_leg(device, Leg::There);
        let expires_unix_secs = u32::try_from(credential.expires_unix_secs).unwrap_or(u32::MAX);
        let connect = Parcel::HubConnect { expires_unix_secs, slot: credential.slot };
        match (connecting.cut, exchanging.cut.filter(|_| !exchanging.reaches_service)) {
            (Some(cut), _) => self.cut_hub(device, stands, cut),
            (None, Some(cut)) => self.cut_hub(device, arrives, cut),
            (None, None) => self.dispatch(device, arrives, connect),
        }
    }

    /// What was on its way between a device and its hub is cut off.
    fn cut_hub(&mut self, device: u32, at: Moment, cut: Cut) -> Due {
        match cut {
            Cut::Broke(fault) => self.dispatch(device, at, Parcel::HubFault(fault)),
            Cut::Silence => self.alarm(device),
        }
    }

    /// A device sends its hub a message.
    fn beat(&mut self, device: u32, now: Moment) -> Due {
        let keep_alive = self.world.cohorts[usize::from(self.cells[device as usize].cohort)].keep_alive;
        // One interval until it asks, and one in which nothing comes.
        let notice = if keep_alive == Span::ZERO { Moment::FAR } else { now + keep_alive.times(2) };
        let faults = self.world.parts.faults.as_mut();
        let exchanging = faults.map(|faults| faults.message(now, device, notice)).unwrap_or_default();
        if exchanging.reaches_service
            && let Some(hub) = self.lives[device as usize].hub()
        {
            self.service.hub_heard(hub);
        }
        match exchanging.cut {
            Some(Cut::Broke(_)) => {
                let back = [Leg::There, Leg::Service, Leg::Back].map(|leg| self.hub_leg(device, leg));
                let at = if exchanging.reaches_service {
                    back.into_iter().fold(now, |at, leg| at + leg)
                } else {
                    now
                };
                self.dispatch(device, at, Parcel::News(HubEvent::Closed))
            }
            Some(Cut::Silence) | None => self.stay(device, now),
        }
    }

    /// A device connects to its hub.
    pub(super) fn reaches_hub(&mut self, device: u32, now: Moment, expires_unix_secs: u32, slot: u8) -> Due {
        let Some(hub) = self.lives[device as usize].hub() else { return self.alarm(device) };
        let cohort = &self.world.cohorts[usize::from(self.cells[device as usize].cohort)];
        let truth = Truth {
            proof: cohort.proof,
            transport: cohort.transport,
            slot,
            expires_unix_secs: u64::from(expires_unix_secs),
            name: (&self.prefix, device),
            certificate: OnceCell::new(),
        };
        let back = self.hub_leg(device, Leg::Service) + self.hub_leg(device, Leg::Back);
        let welcome = self.service.connect_hub_by_number(now, hub, device, &truth);
        if let Some(cut) = self.world.parts.faults.as_mut().and_then(|faults| faults.cut(device)) {
            let delay = if let Welcome::Accepted { delay } = welcome { delay } else { Span::ZERO };
            return self.cut_hub(device, now + delay + back, cut);
        }
        match welcome {
            Welcome::Accepted { delay } => self.dispatch(device, now + delay + back, Parcel::Welcome),
            Welcome::Refused(code) => {
                let fault = code.fault().unwrap_or(Fault::Protocol);
                self.dispatch(device, now + back, Parcel::HubFault(fault))
            }
            Welcome::Closed => self.dispatch(device, now + back, Parcel::HubFault(Fault::Closed)),
        }
    }

    /// Stays connected until the device's own alarm or until the hub does something, whichever comes first.
    fn stay(&mut self, device: u32, now: Moment) -> Due {
        let alarm = self.alarm(device);
        if let Some(notice) = self.world.parts.faults.as_ref().and_then(|faults| faults.notices(device)) {
            return match alarm {
                Some((own, _)) if own < notice => alarm,
                _ if notice == Moment::FAR => alarm,
                _ => Some((notice, Parcel::News(HubEvent::Closed))),
            };
        }
        let life = &self.lives[device as usize];
        let Some(hub) = life.hub() else { return alarm };
        let expires = match self.world.cohorts[usize::from(self.cells[device as usize].cohort)].proof {
            Proof::Signed(_) => 0,
            Proof::Derived(_) | Proof::Tpm | Proof::Unknown => u64::from(life.token_expires_unix_secs()),
        };
        let key = device_key(&format!("{}{device:06}", self.prefix));
        let standing = Standing { hub, key, device: Some(device), token_expires_unix_secs: expires };
        let Some((at, event)) = self.service.hub_event(now, &standing) else { return alarm };
        match alarm {
            Some((own, _)) if own < at => alarm,
            // The device learns of it a hop later; what it would have done meanwhile waits for that.
            _ => Some((at + self.hub_leg(device, Leg::Back), Parcel::News(event))),
        }
    }

    /// What a hub did to a connection reaches the device.
    pub(super) fn hear(&mut self, device: u32, now: Moment, event: HubEvent) -> Due {
        match event {
            HubEvent::Command => self.live(device, now, LifeInput::Command),
            HubEvent::Closed => self.live(device, now, LifeInput::HubBroke(Fault::Lost)),
        }
    }

    /// How long a leg of the way to a hub takes.
    fn hub_leg(&self, device: u32, leg: Leg) -> Span {
        self.stream_faults(device, AT_HUB | self.lives[device as usize].draws(), leg)
    }
}
