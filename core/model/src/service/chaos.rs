//! Faults of the service: asked about once a request, before the machine judges it.

use fleetstorm_protocol::Operation;
use fleetstorm_units::time::{Moment, Span};

use super::answer::{Answer, Query, Refusal};
use super::machine::Service;
use super::record::Caller;
use crate::chaos::{HubState, Naming, Occasion, Rules, Serving};

/// How long an answer is held that never leaves: longer than any client waits, and no longer than a door can bear.
const NEVER: Span = Span::from_secs(3_600);

/// The rules about faults of the service, and how devices are told by their names.
#[derive(Debug)]
pub(super) struct Disturbance {
    rules: Rules,
    naming: Naming,
}

impl Disturbance {
    /// The number of the fleet's device of this name.
    fn device(&self, caller: Caller<'_>) -> Option<u32> {
        match caller {
            Caller::Numbered(device) => Some(device),
            Caller::Named(name) => self.naming.number(name),
        }
    }
}

impl Service {
    /// Makes the service obey faults, which know devices by the numbers that `naming` gives them.
    pub fn disturb(&mut self, rules: Rules, naming: Naming) {
        self.disturbance = Some(Box::new(Disturbance { rules, naming }));
    }

    /// What faults do to a request; `None` if there are none at all, or the request is no device's of the fleet.
    pub(super) fn disturbed(&mut self, now: Moment, caller: Caller<'_>, query: Query<'_>) -> Option<Serving> {
        let disturbance = self.disturbance.as_mut()?;
        let unix_secs = self.config.calendar.unix_secs(now);
        let device = disturbance.device(caller)?;
        let operation = match query {
            Query::Register => Operation::Register,
            Query::Poll(_) => Operation::Poll,
            Query::Lookup => Operation::Lookup,
        };
        let now = disturbance.rules.timeline().of_service_clock(now);
        Some(disturbance.rules.serve(&Occasion::of(now, device, Some(operation)), unix_secs))
    }

    /// The state in which a fault lets a device find a hub that it connects to.
    pub(super) fn disturbed_hub(&mut self, now: Moment, caller: Caller<'_>, hub: u16) -> Option<HubState> {
        let disturbance = self.disturbance.as_mut()?;
        let device = disturbance.device(caller)?;
        let host = &self.config.hubs.get(usize::from(hub))?.host;
        let now = disturbance.rules.timeline().of_service_clock(now);
        disturbance.rules.connect_hub(&Occasion::of(now, device, None), host)
    }

    /// When a fault next closes the connection of device number `device` of the fleet with a hub, after `now`.
    pub(super) fn hub_closes(&self, now: Moment, device: u32, host: &str) -> Option<Moment> {
        let timeline = self.disturbance.as_ref()?.rules.timeline();
        let closes = timeline.hub_closes(timeline.of_service_clock(now), host, device)?;
        Some(timeline.by_service_clock(closes))
    }

    /// The number of the fleet's device of this name, if faults can hit it.
    pub(super) fn disturbed_device(&self, caller: Caller<'_>) -> Option<u32> {
        self.disturbance.as_ref()?.device(caller)
    }

    /// What a fault lets the service do with an accepted registration.
    pub(super) fn hold(&mut self, serving: &Serving, answer: Answer) {
        let Answer::Assigning(ticket) = answer else { return };
        if let Some(code) = serving.failed {
            self.fail_assignment(ticket.record as usize, code);
        }
        if serving.held > Span::ZERO {
            let record = self.records.get_mut(ticket.record as usize);
            record.ready_at =
                if serving.held == Span::MAX { Moment::FAR } else { record.ready_at + serving.held };
        }
    }
}

impl Serving {
    /// The answer that a fault gives before any work is done.
    ///
    /// # Errors
    /// The fault refuses the request.
    pub(super) fn answered(&self, query: Query<'_>) -> Result<Option<Answer>, Refusal> {
        if let Some((code, retry_after)) = self.refuse {
            return Err(Refusal { code, retry_after });
        }
        if self.forgotten && matches!(query, Query::Poll(_)) {
            return Err(Refusal::new(fleetstorm_protocol::code::REGISTRATION_NOT_FOUND));
        }
        Ok(self.disabled.then_some(Answer::Disabled))
    }

    /// When an answer leaves that a shaping queue has held for so long.
    pub(super) fn delayed(&self, queued: Span) -> Span {
        queued + self.delay + if self.lost { NEVER } else { Span::ZERO }
    }
}

#[cfg(test)]
#[path = "chaos_tests.rs"]
mod tests;
