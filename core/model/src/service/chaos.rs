//! Faults of the service: asked about once a request, before the machine judges it.

use fleetstorm_protocol::Operation;
use fleetstorm_units::time::{Moment, Span};

use super::answer::{Answer, Query, Refusal};
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
    /// The rules know devices by the numbers that `naming` gives them.
    pub(super) const fn new(rules: Rules, naming: Naming) -> Self {
        Self { rules, naming }
    }

    /// The number of the fleet's device of this name.
    pub(super) fn device(&self, caller: Caller<'_>) -> Option<u32> {
        match caller {
            Caller::Numbered(device) => Some(device),
            Caller::Named(name) => self.naming.number(name),
        }
    }

    /// What faults do to a request; `None` if it is no device's of the fleet. `unix_secs` is the true time of `now`.
    pub(super) fn serve(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        query: Query<'_>,
        unix_secs: u64,
    ) -> Option<Serving> {
        let device = self.device(caller)?;
        let operation = match query {
            Query::Register => Operation::Register,
            Query::Poll(_) => Operation::Poll,
            Query::Lookup => Operation::Lookup,
        };
        let now = self.rules.timeline().of_service_clock(now);
        Some(self.rules.serve(&Occasion::of(now, device, Some(operation)), unix_secs))
    }

    /// The state in which a fault lets a device find a hub that it connects to.
    pub(super) fn hub_state(&mut self, now: Moment, caller: Caller<'_>, host: &str) -> Option<HubState> {
        let device = self.device(caller)?;
        let now = self.rules.timeline().of_service_clock(now);
        self.rules.connect_hub(&Occasion::of(now, device, None), host)
    }

    /// When a fault next closes the connection of device number `device` of the fleet with a hub, after `now`.
    pub(super) fn hub_closes(&self, now: Moment, device: u32, host: &str) -> Option<Moment> {
        let timeline = self.rules.timeline();
        let closes = timeline.hub_closes(timeline.of_service_clock(now), host, device)?;
        Some(timeline.by_service_clock(closes))
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
