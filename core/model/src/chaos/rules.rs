//! Whether a fault hits.

use std::sync::Arc;

use super::file::{AppliesTo, Unit};
use super::kind::{BlackholePhase, DnsFailure, FaultKind, Layer, ResetPhase};
use super::retry_after::RetryAfterText;
use super::timeline::{Draw, Fault, Timeline, Window};
use super::verdict::{Connecting, Cut, Deciding, Exchanging, Sending, Serving};
use crate::outcome;
use crate::protocol::{Operation, RetryAfter, code};
use crate::random::{fraction, span_below};
use crate::time::{Moment, Span};

/// What is happening to whom.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    /// Now.
    pub now: Moment,
    /// The device's number in the fleet.
    pub device: u32,
    /// The call, where there is one.
    pub operation: Option<Operation>,
    /// How many connections the device had before this one.
    pub connection: u32,
    /// When this connection was opened; now, where it is being opened or nobody knows.
    pub connected: Moment,
}

impl Occasion {
    /// An occasion about a device alone.
    pub fn of(now: Moment, device: u32, operation: Option<Operation>) -> Self {
        Self { now, device, operation, connection: 0, connected: now }
    }
}

/// The rules about the faults of some layers, with what one asker has to remember of each device. An occasion of a
/// device must always be put to the same rules.
#[derive(Debug)]
pub struct Rules {
    timeline: Arc<Timeline>,
    /// Places of the faults that are asked about, with what is remembered of their devices.
    armed: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    fault: usize,
    /// By number; as long as the highest one that was selected.
    seen: Vec<Seen>,
}

/// What is remembered of a device under a fault.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    occasions: u32,
    /// The connection that was seen last, and its occasions.
    connection: u32,
    on_connection: u32,
    /// The occurrence in which it was hit last, from 1; 0 for never.
    hit_in: u32,
}

/// A hit.
#[derive(Clone, Copy)]
struct Hit {
    /// How much of the fault is there.
    intensity: f64,
    /// The chance of what it does.
    bits: u64,
    more_bits: u64,
}

impl Rules {
    pub(super) fn new(timeline: &Arc<Timeline>, layers: &[Layer]) -> Self {
        let faults = timeline.faults().iter().enumerate();
        let armed = faults
            .filter(|(_, fault)| layers.contains(&fault.kind.layer()))
            .map(|(fault, _)| Armed { fault, seen: Vec::new() })
            .collect();
        Self { timeline: Arc::clone(timeline), armed }
    }

    /// The timeline that they are about.
    pub fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    /// A device opens a connection.
    pub fn connect(&mut self, occasion: &Occasion) -> Connecting {
        let mut verdict = Connecting::default();
        self.each(occasion, is_about_connecting, |kind, hit| {
            let broke = |fault| Some(Cut::Broke(fault));
            let cut = match kind {
                FaultKind::NetLatency { delay } => {
                    verdict.delay += delay.of(hit.bits).scale(hit.intensity);
                    None
                }
                FaultKind::NetRefused => broke(outcome::Fault::Refused),
                FaultKind::NetDns { failure: DnsFailure::NoName } => broke(outcome::Fault::Dns),
                FaultKind::NetDns { failure: DnsFailure::Timeout } | FaultKind::NetBlackhole { .. } => {
                    Some(Cut::Silence)
                }
                FaultKind::NetTls { failure } => broke((*failure).into()),
                FaultKind::NetReset { .. } => broke(outcome::Fault::Closed),
                _ => None,
            };
            verdict.cut = verdict.cut.or(cut);
        });
        verdict
    }

    /// A request sets out.
    pub fn send(&mut self, occasion: &Occasion) -> Sending {
        let mut verdict = Sending::default();
        self.each(occasion, is_about_sending, |kind, hit| match kind {
            FaultKind::NetLatency { delay } => verdict.delay += delay.of(hit.bits).scale(hit.intensity),
            FaultKind::NetBandwidth { bytes_per_s } => {
                verdict.bytes_per_s = Some(verdict.bytes_per_s.unwrap_or(u32::MAX).min(*bytes_per_s));
            }
            FaultKind::NetDrip { bytes, every } => {
                verdict.drip = verdict.drip.or(Some((*bytes, every.0)));
            }
            FaultKind::NetSlice { bytes } => verdict.slice = verdict.slice.or(Some(*bytes)),
            _ => {}
        });
        verdict
    }

    /// A request is on its way.
    pub fn exchange(&mut self, occasion: &Occasion) -> Exchanging {
        let mut verdict = Exchanging { cut: None, reaches_service: true, torn: false };
        self.each(occasion, is_about_exchanging, |kind, _| {
            if verdict.cut.is_some() {
                return;
            }
            let (cut, reaches_service) = match kind {
                FaultKind::NetReset { phase: ResetPhase::AfterRequest | ResetPhase::MidResponse } => {
                    (Cut::Broke(outcome::Fault::Lost), true)
                }
                FaultKind::NetBlackhole { phase: BlackholePhase::Answer } => (Cut::Silence, true),
                FaultKind::NetBlackhole { .. } => (Cut::Silence, false),
                _ => (Cut::Broke(outcome::Fault::Closed), false),
            };
            let torn = matches!(kind, FaultKind::NetReset { phase: ResetPhase::MidResponse });
            verdict = Exchanging { cut: Some(cut), reaches_service, torn };
        });
        verdict
    }

    /// A request is at the service, whose clock says `unix_secs`.
    pub fn serve(&mut self, occasion: &Occasion, unix_secs: u64) -> Serving {
        let mut verdict = Serving::default();
        let polls = occasion.operation == Some(Operation::Poll);
        let registers = occasion.operation == Some(Operation::Register);
        let concerns = |kind: &FaultKind| match kind {
            FaultKind::ServiceOperationLost => polls,
            FaultKind::ServiceStuck { .. }
            | FaultKind::ServiceAssignFailed { .. }
            | FaultKind::ServiceDisabled
            | FaultKind::ServiceHubUnlinked { .. } => registers,
            FaultKind::ServiceQuota { .. } => !polls,
            kind => kind.layer() == Layer::Service,
        };
        self.each(occasion, concerns, |kind, hit| serve(&mut verdict, kind, hit, unix_secs));
        verdict
    }

    /// A device has met a failure.
    pub fn decide(&mut self, occasion: &Occasion) -> Deciding {
        let mut verdict = Deciding::default();
        self.each(occasion, is_about_deciding, |kind, _| match kind {
            FaultKind::FleetNoBackOff { wait } => verdict.wait = verdict.wait.or(Some(wait.0)),
            FaultKind::FleetCounter { failures } => {
                verdict.failures = verdict.failures.saturating_add(*failures)
            }
            FaultKind::FleetEqualSeeds => verdict.equal_seeds = true,
            _ => {}
        });
        verdict
    }

    /// How far a device's clock is ahead of its cohort's, in nanoseconds.
    pub fn clock_offset_ns(&mut self, occasion: &Occasion) -> i64 {
        let mut offset_ns = 0i64;
        let concerns = |kind: &FaultKind| matches!(kind, FaultKind::FleetClock { .. });
        self.each(occasion, concerns, |kind, hit| {
            if let FaultKind::FleetClock { offset } = kind {
                offset_ns = offset_ns.saturating_add((offset.ns as f64 * hit.intensity) as i64);
            }
        });
        offset_ns
    }

    /// Whether an outage takes a device's power at the beginning of one of its occurrences: when it is back, if ever,
    /// and whether the device remembers its hub.
    pub fn power(&mut self, fault: usize, window: Window, device: u32) -> Option<(Moment, bool)> {
        let place = self.armed.iter().position(|armed| armed.fault == fault)?;
        let hit = self.hit(place, &Occasion::of(window.from, device, None))?;
        let FaultKind::FleetPowerOutage { off, reboot_spread, keep_cache } =
            &self.timeline.faults()[fault].kind
        else {
            return None;
        };
        let back = window.from + off.0 + span_below(hit.bits, reboot_spread.0);
        Some((back, fraction(hit.more_bits) < *keep_cache))
    }

    /// Asks about each armed fault that concerns the asker.
    fn each(
        &mut self,
        occasion: &Occasion,
        concerns: impl Fn(&FaultKind) -> bool,
        mut act: impl FnMut(&FaultKind, Hit),
    ) {
        for place in 0..self.armed.len() {
            let fault = self.armed[place].fault;
            if concerns(&self.timeline.faults()[fault].kind)
                && let Some(hit) = self.hit(place, occasion)
            {
                act(&self.timeline.faults()[fault].kind, hit);
            }
        }
    }

    /// The first armed fault that concerns the asker and hits, with the chance of what it does; those after it are not
    /// asked about.
    pub(super) fn first(
        &mut self,
        occasion: &Occasion,
        concerns: impl Fn(&FaultKind) -> bool,
    ) -> Option<(FaultKind, u64)> {
        (0..self.armed.len()).find_map(|place| {
            let fault = self.armed[place].fault;
            if !concerns(&self.timeline.faults()[fault].kind) {
                return None;
            }
            let hit = self.hit(place, occasion)?;
            Some((self.timeline.faults()[fault].kind.clone(), hit.bits))
        })
    }

    /// Whether an armed fault hits now.
    fn hit(&mut self, place: usize, occasion: &Occasion) -> Option<Hit> {
        let Occasion { now, device, .. } = *occasion;
        let armed = &mut self.armed[place];
        let fault = &self.timeline.faults()[armed.fault];
        let window = fault.window_at(now)?;
        if !fits(&self.timeline, fault, window, occasion) {
            return None;
        }
        let before = fault.tally.eligible();
        let place = device as usize;
        if armed.seen.len() <= place {
            armed.seen.resize(place + 1, Seen::default());
        }
        let seen = &mut armed.seen[place];
        let occasions = seen.occasions;
        let on_connection = seen.next(occasion);
        if let Some(count) = fault.count {
            let nth = match count.per {
                Unit::Device => u64::from(occasions),
                Unit::Connection => u64::from(on_connection),
                Unit::Request => before,
            };
            let from = u64::from(count.skip);
            if !(from..from + u64::from(count.first)).contains(&nth) {
                return None;
            }
        }
        let intensity = fault.intensity(window, now);
        let chance = fault.chance.map_or(1.0, |(chance, _)| chance)
            * if grows_in_amount(&fault.kind) { 1.0 } else { intensity };
        let drawn_for = match fault.chance.map_or(Unit::Request, |(_, unit)| unit) {
            Unit::Device => window.occurrence,
            Unit::Connection => occasion.connection,
            Unit::Request => occasions,
        };
        if chance < 1.0 && fraction(fault.draw(Draw::Chance, device, drawn_for)) >= chance {
            return None;
        }
        let occurrence = window.occurrence.saturating_add(1);
        if let Some(ceiling) = fault.limits.active
            && seen.hit_in != occurrence
            && !fault.tally.enter(window.occurrence, ceiling)
        {
            return None;
        }
        if !fault.tally.fire(now, fault.limits.total) {
            return None;
        }
        if seen.hit_in == 0 {
            fault.tally.met();
        }
        seen.hit_in = occurrence;
        let draw = |draw| fault.draw(draw, device, occasions);
        Some(Hit { intensity, bits: draw(Draw::Value), more_bits: draw(Draw::More) })
    }
}

impl Seen {
    /// Counts an occasion; returns how many there were on its connection before.
    fn next(&mut self, occasion: &Occasion) -> u32 {
        self.occasions = self.occasions.wrapping_add(1);
        if self.connection != occasion.connection {
            (self.connection, self.on_connection) = (occasion.connection, 0);
        }
        self.on_connection = self.on_connection.wrapping_add(1);
        self.on_connection - 1
    }
}

/// Whether an occasion is one that the fault can hit.
fn fits(timeline: &Timeline, fault: &Fault, window: Window, occasion: &Occasion) -> bool {
    if fault.operation.is_some_and(|operation| occasion.operation != Some(operation)) {
        return false;
    }
    let as_to_connection = match fault.applies_to {
        AppliesTo::Both => true,
        AppliesTo::New => occasion.connected >= window.from,
        AppliesTo::Existing => occasion.connected < window.from,
    };
    if !as_to_connection {
        return false;
    }
    if fault.cohort.is_some() || fault.transport.is_some() {
        let Some(cohort) = timeline.cohort(occasion.device) else { return false };
        let other = |transport| timeline.transport(cohort) != Some(transport);
        if fault.cohort.is_some_and(|wanted| wanted != cohort) || fault.transport.is_some_and(other) {
            return false;
        }
    }
    fault.selects(occasion.device)
}

/// Whether a ramp scales what a fault does rather than how often.
fn grows_in_amount(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NetLatency { .. }
            | FaultKind::ServiceQuota { .. }
            | FaultKind::ServiceBrownout { .. }
            | FaultKind::ServiceClock { .. }
            | FaultKind::FleetClock { .. }
    )
}

fn is_about_connecting(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NetLatency { .. }
            | FaultKind::NetRefused
            | FaultKind::NetDns { .. }
            | FaultKind::NetTls { .. }
            | FaultKind::NetReset { phase: ResetPhase::Accept }
            | FaultKind::NetBlackhole { phase: BlackholePhase::Connect }
    )
}

fn is_about_sending(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NetLatency { .. }
            | FaultKind::NetBandwidth { .. }
            | FaultKind::NetDrip { .. }
            | FaultKind::NetSlice { .. }
    )
}

fn is_about_exchanging(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::NetReset { phase } => *phase != ResetPhase::Accept,
        FaultKind::NetBlackhole { phase } => *phase != BlackholePhase::Connect,
        _ => false,
    }
}

fn is_about_deciding(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::FleetNoBackOff { .. } | FaultKind::FleetCounter { .. } | FaultKind::FleetEqualSeeds
    )
}

fn serve(verdict: &mut Serving, kind: &FaultKind, hit: Hit, unix_secs: u64) {
    let retry_after = |choices: &[RetryAfterText]| chosen(choices, hit.bits, unix_secs);
    let answered = verdict.refuse.is_some() || verdict.disabled;
    match kind {
        FaultKind::ServiceThrottle { retry_after: choices } if !answered => {
            verdict.refuse = Some((code::THROTTLED, retry_after(choices)));
        }
        FaultKind::ServiceError { status, retry_after: choices } if !answered => {
            verdict.refuse = Some((code_of(*status), retry_after(choices)));
        }
        FaultKind::ServiceDisabled if !answered => verdict.disabled = true,
        FaultKind::ServiceOperationLost => verdict.forgotten = true,
        FaultKind::ServiceQuota { factor } => {
            verdict.quota *= 1.0 + (factor - 1.0) * hit.intensity;
        }
        FaultKind::ServiceBrownout { delay, lost } => {
            verdict.delay += delay.of(hit.bits).scale(hit.intensity);
            verdict.lost |= fraction(hit.more_bits) < *lost * hit.intensity;
        }
        FaultKind::ServiceStuck { held } => {
            verdict.held += held.map_or(Span::MAX, |held| held.0);
        }
        FaultKind::ServiceAssignFailed { code } => verdict.failed = verdict.failed.or(Some(*code)),
        FaultKind::ServiceHubUnlinked { hub } => {
            verdict.without_hub = verdict.without_hub.take().or_else(|| Some(hub.as_str().into()));
        }
        FaultKind::ServiceClock { offset } => {
            let offset_ns = (offset.ns as f64 * hit.intensity) as i64;
            verdict.clock_offset_ns = verdict.clock_offset_ns.saturating_add(offset_ns);
        }
        FaultKind::ServiceKeyRotation => verdict.primary_refused = true,
        _ => {}
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

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
