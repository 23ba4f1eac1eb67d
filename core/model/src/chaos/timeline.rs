//! The faults of a scenario made ready for one fleet, and when each is on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use fleetstorm_protocol::{Operation, Transport};
use fleetstorm_units::random::{Purpose, Seed, span_below};
use fleetstorm_units::time::{Moment, Span};

use super::file::{AppliesTo, Count, Limits, Peer, Ramp, Repeat, Start, Unit};
use super::kind::FaultKind;
use super::layer::Layer;
use super::tally::Tally;
use super::{ChaosFile, Naming};
use crate::objective::Quantity;

/// The faults of a run. Shared by all who take part in it.
#[derive(Debug)]
pub struct Timeline {
    faults: Vec<Fault>,
    /// How many devices the fleet has.
    devices: u32,
    /// Each device's cohort, by its number; those that are not the fleet's come last.
    membership: Box<[u16]>,
    /// Each cohort's transport.
    transports: Vec<Transport>,
    /// Devices that have their hub.
    assigned: AtomicU64,
    /// How far the service's clock is ahead of the run's.
    service_ahead_ns: AtomicU64,
    healed: AtomicBool,
}

/// When a fault begins.
#[derive(Debug)]
pub enum Begin {
    /// At this moment.
    At(Moment),
    /// When so many devices have their hub.
    Assigned {
        /// So many.
        devices: u64,
        /// When that was; [`Moment::FAR`] before.
        at_ns: AtomicU64,
    },
}

/// A fault made ready.
#[derive(Debug)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How often it has to hit.
    pub min_fired: u64,
    /// How long after its end the fleet may take to come back.
    pub recover_within: Option<Span>,
    /// How often it did.
    pub tally: Tally,
    begin: Begin,
    duration: Option<Span>,
    repeat: Option<Repeat>,
    ramp: Ramp,
    device: Option<u32>,
    pub(super) cohort: Option<u16>,
    pub(super) transport: Option<Transport>,
    pub(super) operation: Option<Operation>,
    pub(super) peer: Option<Peer>,
    share: Option<f64>,
    pub(super) chance: Option<(f64, Unit)>,
    pub(super) count: Option<Count>,
    pub(super) applies_to: AppliesTo,
    pub(super) limits: Limits,
    pub(super) stream: Seed,
}

/// One occurrence of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which one, from 0.
    pub occurrence: u32,
    /// When it begins.
    pub from: Moment,
    /// When it ends; [`Moment::FAR`] for the end of the run.
    pub until: Moment,
}

/// Whom faults may meet.
#[derive(Clone, Debug)]
pub struct Fleet<'a> {
    /// Seed of the run.
    pub seed: Seed,
    /// How many devices the fleet has.
    pub devices: u32,
    /// Name and transport of each cohort.
    pub cohorts: Vec<(&'a str, Transport)>,
    /// Each device's cohort, by its number. There may be more than `devices`: those are nobody's aim, and a fault that is
    /// not told from them by cohort or share hits them all the same.
    pub membership: &'a [u16],
    /// How names of devices become numbers.
    pub naming: &'a Naming,
}

impl Timeline {
    /// Faults made ready for a fleet.
    pub fn new(faults: &[ChaosFile], fleet: &Fleet<'_>) -> Arc<Self> {
        Arc::new(Self {
            faults: faults.iter().map(|file| Fault::new(file, fleet)).collect(),
            devices: fleet.devices,
            membership: fleet.membership.into(),
            transports: fleet.cohorts.iter().map(|(_, transport)| *transport).collect(),
            assigned: AtomicU64::new(0),
            service_ahead_ns: AtomicU64::new(0),
            healed: AtomicBool::new(false),
        })
    }

    /// Ends all faults for good, whatever their time.
    pub fn heal(&self) {
        self.healed.store(true, Relaxed);
    }

    /// Whether that has been done.
    pub fn is_healed(&self) -> bool {
        self.healed.load(Relaxed)
    }

    /// Whether a device of this number takes part.
    pub(super) fn knows(&self, device: u32) -> bool {
        (device as usize) < self.membership.len()
    }

    /// The faults, in the scenario's order.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether any fault acts at this layer.
    pub fn has(&self, layer: Layer) -> bool {
        self.faults.iter().any(|fault| fault.kind.acts_at(layer))
    }

    /// The service counts its time from earlier than the run does, by so much.
    pub fn service_clock_is_ahead(&self, by: Span) {
        self.service_ahead_ns.store(by.as_nanos(), Relaxed);
    }

    /// The run's time at a moment of the service's clock.
    pub(crate) fn of_service_clock(&self, now: Moment) -> Moment {
        now - Span::from_nanos(self.service_ahead_ns.load(Relaxed))
    }

    /// What the service's clock says at a moment of the run.
    pub(crate) fn by_service_clock(&self, moment: Moment) -> Moment {
        moment + Span::from_nanos(self.service_ahead_ns.load(Relaxed))
    }

    /// A device has its hub: faults that waited for it begin.
    pub fn assigned(&self, now: Moment) {
        let assigned = self.assigned.fetch_add(1, Relaxed) + 1;
        for fault in &self.faults {
            if let Begin::Assigned { devices, at_ns } = &fault.begin
                && assigned >= *devices
            {
                at_ns.fetch_min(now.as_nanos(), Relaxed);
            }
        }
    }

    /// Whether what a fault does to one device depends on what happened to others before: an event, a ceiling, a count
    /// over all requests.
    pub fn meets_in_order(&self) -> bool {
        let in_order = |fault: &Fault| {
            let over_all = fault.count.is_some_and(|count| count.per == Unit::Request);
            over_all || fault.limits != Limits::default()
        };
        self.waits_for_events() || self.faults.iter().any(in_order)
    }

    /// Whether a fault waits for an event.
    pub fn waits_for_events(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.begin, Begin::Assigned { .. }))
    }

    pub(super) fn cohort(&self, device: u32) -> Option<u16> {
        self.membership.get(device as usize).copied()
    }

    pub(super) fn transport(&self, cohort: u16) -> Option<Transport> {
        self.transports.get(usize::from(cohort)).copied()
    }
}

impl Fault {
    fn new(file: &ChaosFile, fleet: &Fleet<'_>) -> Self {
        let devices = u64::from(fleet.devices);
        let named = |name: &String| fleet.cohorts.iter().position(|(cohort, _)| cohort == name);
        let begin = match &file.start {
            Start::At(at) => Begin::At(Moment::START + at.0),
            Start::Assigned(bound) => Begin::Assigned {
                devices: match bound {
                    Quantity::Percent(percent) => (devices as f64 * percent / 100.0).ceil() as u64,
                    Quantity::Number(number) => number.ceil() as u64,
                    Quantity::Time(_) => u64::MAX,
                }
                .max(1),
                at_ns: AtomicU64::new(Moment::FAR.as_nanos()),
            },
        };
        Self {
            name: file.label().to_owned(),
            kind: file.fault.clone(),
            min_fired: file.min_fired,
            recover_within: file.recover_within.map(|within| within.0),
            tally: Tally::new(fleet.membership.len()),
            begin,
            duration: file.duration.map(|duration| duration.0),
            repeat: file.repeat,
            ramp: file.ramp,
            // Neither has a name that nobody can have.
            device: file.select.device.as_ref().map(|name| fleet.naming.number(name).unwrap_or(u32::MAX)),
            // A cohort that does not exist has no devices; reading a scenario refuses it.
            cohort: file.select.cohort.as_ref().map(|name| named(name).map_or(u16::MAX, |at| at as u16)),
            transport: file.select.transport,
            operation: file.select.operation.map(Into::into),
            peer: file.select.peer,
            share: file.select.share,
            chance: file.probability.map(|chance| (chance, file.unit.unwrap_or(Unit::Request))),
            count: file.count,
            applies_to: file.applies_to,
            limits: file.limits,
            stream: fleet.seed.named(file.label().as_bytes()),
        }
    }

    /// When it begins; [`Moment::FAR`] while the event that it waits for has not come.
    pub fn begins(&self) -> Moment {
        match &self.begin {
            Begin::At(at) => *at,
            Begin::Assigned { at_ns, .. } => Moment::from_nanos(at_ns.load(Relaxed)),
        }
    }

    /// How many of the fleet's devices it can hit.
    pub fn selected(&self, timeline: &Timeline) -> u64 {
        (0..timeline.devices).filter(|device| self.selects_from(timeline, *device)).count() as u64
    }

    fn selects_from(&self, timeline: &Timeline, device: u32) -> bool {
        let Some(cohort) = timeline.cohort(device) else { return false };
        self.cohort.is_none_or(|wanted| wanted == cohort)
            && self.transport.is_none_or(|wanted| timeline.transport(cohort) == Some(wanted))
            && self.selects(device)
    }

    /// Whether it hits this device whenever it is on.
    pub(super) fn is_certain_for(&self, timeline: &Timeline, device: u32) -> bool {
        self.chance.is_none() && self.count.is_none() && self.selects_from(timeline, device)
    }

    /// When it next begins, after `now`.
    pub(super) fn begins_after(&self, now: Moment) -> Option<Moment> {
        let mut windows = self.windows(self.begins(), Moment::FAR);
        windows.find(|window| window.from > now).map(|window| window.from)
    }

    /// The event that it waits for: so many devices with a hub.
    pub fn waits_for(&self) -> Option<u64> {
        match self.begin {
            Begin::At(_) => None,
            Begin::Assigned { devices, .. } => Some(devices),
        }
    }

    /// Its occurrence of this number, if the fault began at `begun`.
    pub fn window(&self, begun: Moment, occurrence: u32) -> Option<Window> {
        let from = match self.repeat {
            None if occurrence > 0 => return None,
            None => begun,
            Some(repeat) => {
                if repeat.times.is_some_and(|times| occurrence >= times) {
                    return None;
                }
                let jitter =
                    span_below(self.stream.draw(Purpose::FaultJitter, 0, occurrence), repeat.jitter.0);
                begun + repeat.every.0.times(u64::from(occurrence)) + jitter
            }
        };
        let until = self.duration.map_or(Moment::FAR, |duration| from + duration);
        Some(Window { occurrence, from, until })
    }

    /// The occurrence that is on at a moment.
    pub fn window_at(&self, now: Moment) -> Option<Window> {
        let begun = self.begins();
        if now < begun || begun == Moment::FAR {
            return None;
        }
        let occurrence = match self.repeat {
            // An occurrence, its jitter counted, is over before the next one begins.
            Some(repeat) => now.since(begun).as_nanos() / repeat.every.0.as_nanos().max(1),
            None => 0,
        };
        let window = self.window(begun, u32::try_from(occurrence).ok()?)?;
        (window.from <= now && now < window.until).then_some(window)
    }

    /// All occurrences that begin before `horizon`, if the fault began at `begun`.
    pub fn windows(&self, begun: Moment, horizon: Moment) -> impl Iterator<Item = Window> + '_ {
        (0..)
            .map_while(move |occurrence| self.window(begun, occurrence))
            .take_while(move |window| window.from < horizon && window.from < Moment::FAR)
    }

    /// How much of the fault is there at a moment of one of its occurrences, from 0 to 1.
    pub(super) fn intensity(&self, window: Window, now: Moment) -> f64 {
        let part = |gone: Span, of: Span| {
            if of == Span::ZERO { 1.0 } else { (gone.as_secs_f64() / of.as_secs_f64()).min(1.0) }
        };
        let up = part(now.since(window.from), self.ramp.up.0);
        let down =
            if window.until == Moment::FAR { 1.0 } else { part(window.until.since(now), self.ramp.down.0) };
        up.min(down)
    }

    /// Whether a device is among the share that the fault can hit.
    pub(super) fn selects(&self, device: u32) -> bool {
        self.device.is_none_or(|wanted| wanted == device)
            && self.share.is_none_or(|share| self.stream.fraction(Purpose::FaultShare, device, 0) < share)
    }
}
