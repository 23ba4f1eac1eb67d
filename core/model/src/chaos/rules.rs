//! Whether a fault hits.

use std::sync::Arc;

use fleetstorm_protocol::Operation;
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::Moment;

use super::file::{AppliesTo, Peer, Unit};
use super::kind::FaultKind;
use super::layer::Layer;
use super::timeline::{Fault, Timeline, Window};

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
    /// Whom the device speaks to.
    pub peer: Peer,
}

impl Occasion {
    /// An occasion about a device alone.
    pub fn of(now: Moment, device: u32, operation: Option<Operation>) -> Self {
        Self { now, device, operation, connection: 0, connected: now, peer: Peer::Dps }
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
pub(super) struct Hit {
    /// When this occurrence of the fault ends.
    pub(super) until: Moment,
    /// How much of the fault is there.
    pub(super) intensity: f64,
    /// The chance of what it does.
    pub(super) bits: u64,
    pub(super) more_bits: u64,
}

impl Timeline {
    /// Rules about the faults of these layers, for one asker.
    pub fn rules(self: &Arc<Self>, layers: &[Layer]) -> Rules {
        Rules::new(self, layers)
    }
}

impl Rules {
    fn new(timeline: &Arc<Timeline>, layers: &[Layer]) -> Self {
        let faults = timeline.faults().iter().enumerate();
        let armed = faults
            .filter(|(_, fault)| layers.iter().any(|layer| fault.kind.acts_at(*layer)))
            .map(|(fault, _)| Armed { fault, seen: Vec::new() })
            .collect();
        Self { timeline: Arc::clone(timeline), armed }
    }

    /// The timeline that they are about.
    pub fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    /// Where a fault stands among the armed ones.
    pub(super) fn place_of(&self, fault: usize) -> Option<usize> {
        self.armed.iter().position(|armed| armed.fault == fault)
    }

    /// Asks about each armed fault that concerns the asker.
    pub(super) fn each(
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
    pub(super) fn hit(&mut self, place: usize, occasion: &Occasion) -> Option<Hit> {
        let Occasion { now, device, .. } = *occasion;
        if self.timeline.is_healed() || !self.timeline.knows(device) {
            return None;
        }
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
                Unit::Request | Unit::Packet => before,
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
            Unit::Request | Unit::Packet => occasions,
        };
        if chance < 1.0 && fault.stream.fraction(Purpose::FaultChance, device, drawn_for) >= chance {
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
        fault.tally.met(device);
        seen.hit_in = occurrence;
        let [bits, more_bits] = fault.stream.pair(Purpose::FaultValue, u64::from(device), occasions);
        Some(Hit { until: window.until, intensity, bits, more_bits })
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
    if fault.peer.is_some_and(|peer| occasion.peer != peer) {
        return false;
    }
    let as_to_connection = match fault.applies_to {
        AppliesTo::Both => true,
        AppliesTo::New => occasion.connected >= window.from,
        AppliesTo::Existing => occasion.connected < window.from,
    };
    // Only those who watch connections number them, from 1: there a failover breaks what stood before it.
    let stands = matches!(fault.kind, FaultKind::ServiceFailover { .. })
        && occasion.connection > 0
        && occasion.connected >= window.from;
    if !as_to_connection || stands {
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
            | FaultKind::ServiceFailover { .. }
            | FaultKind::ServiceAllocationSlow { .. }
            | FaultKind::ServiceBrownout { .. }
            | FaultKind::ServiceClock { .. }
            | FaultKind::FleetClock { .. }
    )
}
