//! Faults of the service: what it does with a request beside what it would do anyway.

use fleetstorm_protocol::{Operation, RetryAfter, code};
use fleetstorm_units::random::fraction;
use fleetstorm_units::time::{Moment, Span};

use super::kind::{FaultKind, of_amqp, of_fleet, of_http, of_mqtt, of_network};
use super::retry_after::RetryAfterText;
use super::rules::{Hit, Occasion, Rules};
use super::timeline::{Fault, Timeline};
use super::verdict::Serving;
use crate::chaos::HubState;

impl Rules {
    /// A request is at the service, whose clock says `unix_secs`.
    pub fn serve(&mut self, occasion: &Occasion, unix_secs: u64) -> Serving {
        let mut verdict = Serving::default();
        let polls = occasion.operation == Some(Operation::Poll);
        let registers = occasion.operation == Some(Operation::Register);
        let concerns = |kind: &FaultKind| match kind {
            FaultKind::ServiceOperationLost => polls,
            FaultKind::ServiceStuck { .. }
            | FaultKind::ServiceAllocationSlow { .. }
            | FaultKind::ServiceAssignFailed { .. }
            | FaultKind::ServiceDisabled
            | FaultKind::ServiceDuplicateRace
            | FaultKind::ServiceFlip
            | FaultKind::ServiceHubUnlinked { .. }
            | FaultKind::ServiceHubState { state: HubState::Unlinked, .. } => registers,
            FaultKind::ServiceQuota { .. } | FaultKind::ServiceFailover { .. } => !polls,
            FaultKind::ServiceThrottle { .. }
            | FaultKind::ServiceError { .. }
            | FaultKind::ServiceBrownout { .. }
            | FaultKind::ServiceClock { .. }
            | FaultKind::ServiceKeyRotation => true,
            FaultKind::ServiceHubState {
                state: HubState::Up | HubState::Failing | HubState::Throttled,
                ..
            } => false,
            of_network!() | of_http!() | of_mqtt!() | of_amqp!() | of_fleet!() => false,
        };
        self.each(occasion, concerns, |kind, hit| serve(&mut verdict, kind, hit, unix_secs));
        verdict
    }

    /// A device connects to this hub: the state in which it finds it instead of the hub's own.
    pub fn connect_hub(&mut self, occasion: &Occasion, host: &str) -> Option<HubState> {
        let (kind, _) = self.first(occasion, |kind| of_hub(kind, host).is_some())?;
        of_hub(&kind, host)
    }
}

impl Timeline {
    /// When a fault next closes a connection of a device that stands at this hub, after `now`. Which connections a fault
    /// with a chance or a count would close nobody knows before they are made: it leaves those that stand.
    pub fn hub_closes(&self, now: Moment, host: &str, device: u32) -> Option<Moment> {
        let closes = |fault: &&Fault| {
            of_hub(&fault.kind, host).is_some_and(HubState::disconnects) && fault.is_certain_for(self, device)
        };
        let faults = self.faults().iter().filter(closes);
        faults.filter_map(|fault| fault.begins_after(now)).min()
    }
}

/// The state that a fault puts this hub into.
fn of_hub(kind: &FaultKind, host: &str) -> Option<HubState> {
    match kind {
        FaultKind::ServiceHubState { hub, state } if hub.eq_ignore_ascii_case(host) => Some(*state),
        _ => None,
    }
}

fn serve(verdict: &mut Serving, kind: &FaultKind, hit: Hit, unix_secs: u64) {
    let retry_after = |choices: &[RetryAfterText]| chosen(choices, hit.bits, unix_secs);
    let answered = verdict.refuse.is_some() || verdict.disabled;
    match kind {
        // What is answered already stays so.
        FaultKind::ServiceThrottle { .. } | FaultKind::ServiceError { .. } | FaultKind::ServiceDisabled
            if answered => {}
        FaultKind::ServiceThrottle { retry_after: choices } => {
            verdict.refuse = Some((code::THROTTLED, retry_after(choices)));
        }
        FaultKind::ServiceError { status, retry_after: choices } => {
            verdict.refuse = Some((code_of(*status), retry_after(choices)));
        }
        FaultKind::ServiceDisabled => verdict.disabled = true,
        FaultKind::ServiceOperationLost => verdict.forgotten = true,
        FaultKind::ServiceQuota { factor } | FaultKind::ServiceFailover { quota: factor } => {
            verdict.quota *= 1.0 + (factor - 1.0) * hit.intensity;
        }
        FaultKind::ServiceBrownout { delay, lost } => {
            verdict.delay += delay.of(hit.bits).scale(hit.intensity);
            verdict.lost |= fraction(hit.more_bits) < *lost * hit.intensity;
        }
        FaultKind::ServiceStuck { held } => {
            verdict.held += held.map_or(Span::MAX, |held| held.0);
        }
        FaultKind::ServiceAllocationSlow { delay } => verdict.held += delay.of(hit.bits).scale(hit.intensity),
        FaultKind::ServiceDuplicateRace => verdict.raced = true,
        FaultKind::ServiceFlip => verdict.flipped = true,
        FaultKind::ServiceAssignFailed { code } => verdict.failed = verdict.failed.or(Some(*code)),
        FaultKind::ServiceHubUnlinked { hub } | FaultKind::ServiceHubState { hub, .. } => {
            verdict.without_hub = verdict.without_hub.take().or_else(|| Some(hub.as_str().into()));
        }
        FaultKind::ServiceClock { offset } => {
            let offset_ns = (offset.ns as f64 * hit.intensity) as i64;
            verdict.clock_offset_ns = verdict.clock_offset_ns.saturating_add(offset_ns);
        }
        FaultKind::ServiceKeyRotation => verdict.primary_refused = true,
        of_network!() | of_http!() | of_mqtt!() | of_amqp!() | of_fleet!() => {}
    }
}

/// One of several values, drawn; none where there are none.
pub(super) fn chosen(choices: &[RetryAfterText], bits: u64, unix_secs: u64) -> RetryAfter {
    let at = (u128::from(bits) * choices.len() as u128) >> 64;
    choices.get(at as usize).map_or(RetryAfter::Absent, |text| text.at(unix_secs))
}

/// The six-digit code under which the service answers with a status.
fn code_of(status: u16) -> u32 {
    match status {
        429 => code::THROTTLED,
        401 => code::UNAUTHORIZED,
        500 => code::INTERNAL_ERROR,
        other => u32::from(other) * 1_000,
    }
}
