//! Faults in a simulation: the same rules as on a wire, put to the same questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetstorm_model::chaos::{
    Connecting, Cut, Deciding, Exchanging, FaultKind, Layer, Occasion, Peer, Rules, Sending, Timeline, Window,
};
use fleetstorm_model::device::{Attempt, Policy};
use fleetstorm_protocol::Operation;
use fleetstorm_units::time::Moment;

use crate::chaos::off;
use crate::chaos::power::Outages;
use crate::record::Rest;

/// The faults of a fleet and its network.
pub(super) struct Faults {
    rules: Rules,
    timeline: Arc<Timeline>,
    /// By device: how many connections it opened, and when the last one.
    connections: Vec<(u32, Moment)>,
    /// Devices whose answer will not arrive.
    cut: BTreeMap<u32, Cut>,
    /// Devices whose hub has fallen silent.
    silent: BTreeMap<u32, Silent>,
    outages: Outages,
    next_outage: Option<(Moment, usize, Window)>,
    /// When the firmware of devices will crash, and the same by device. The run does not end before.
    crashes: BTreeSet<(Moment, u32)>,
    crash_of: BTreeMap<u32, Moment>,
    /// Devices without power, and when it is back.
    dark: BTreeMap<u32, Moment>,
    /// Devices whose connection was opened in the name of another one.
    in_the_name_of: BTreeMap<u32, u32>,
    waits_for_events: bool,
    network: bool,
    fleet: bool,
}

impl Faults {
    pub(super) fn new(timeline: &Arc<Timeline>, devices: u32, horizon: Moment) -> Self {
        let outages = Outages::new(timeline, horizon);
        let network = timeline.has(Layer::Network);
        Self {
            rules: timeline.rules(&[Layer::Network, Layer::Fleet]),
            connections: if network { vec![(0, Moment::START); devices as usize] } else { Vec::new() },
            cut: BTreeMap::new(),
            silent: BTreeMap::new(),
            crashes: BTreeSet::new(),
            crash_of: BTreeMap::new(),
            dark: BTreeMap::new(),
            in_the_name_of: BTreeMap::new(),
            next_outage: outages.next(timeline),
            outages,
            waits_for_events: timeline.waits_for_events(),
            network,
            fleet: timeline.has(Layer::Fleet),
            timeline: Arc::clone(timeline),
        }
    }

    /// Whether power can fail yet.
    pub(super) fn expects_outages(&self) -> bool {
        self.next_outage.is_some() || !self.outages.are_all_known(&self.timeline)
    }

    /// When some device loses its power next.
    pub(super) fn next_cut(&self) -> Option<Moment> {
        let outage = self.next_outage.map(|(at, _, _)| at);
        outage.into_iter().chain(self.crashes.first().map(|(at, _)| *at)).min()
    }

    /// Takes the next device whose firmware crashes, if that comes before the next outage.
    pub(super) fn begin_crash(&mut self) -> Option<u32> {
        let (at, device) = *self.crashes.first()?;
        self.next_outage.is_none_or(|(outage, _, _)| at < outage).then_some(device)
    }

    /// When a device without power has it back.
    pub(super) fn is_back(&self, device: u32) -> Option<Moment> {
        self.dark.get(&device).copied()
    }

    /// A device boots: its firmware may crash later.
    pub(super) fn booted(&mut self, now: Moment, device: u32, rest: &Rest) {
        if self.fleet
            && let Some(at) = self.rules.crash(&Occasion::of(now, device, None))
        {
            self.crashes.insert((at, device));
            self.crash_of.insert(device, at);
            rest.hold();
        }
    }

    /// A device has lost its power until `back`: it does not crash any more.
    pub(super) fn lost_power(&mut self, device: u32, back: Moment, rest: &Rest) {
        self.dark.insert(device, back);
        if let Some(at) = self.crash_of.remove(&device) {
            self.crashes.remove(&(at, device));
            rest.release();
        }
    }

    /// A device has its power back.
    pub(super) fn has_power(&mut self, device: u32) {
        self.dark.remove(&device);
    }

    /// The service has accepted a device's registration: when it is back, if it reboots now.
    pub(super) fn reboot(&mut self, now: Moment, device: u32) -> Option<Moment> {
        if !self.fleet {
            return None;
        }
        self.rules.reboot(&Occasion::of(now, device, None))
    }

    /// The device in whose name another one has opened its connection.
    pub(super) fn name_of(&self, device: u32) -> u32 {
        self.in_the_name_of.get(&device).copied().unwrap_or(device)
    }

    /// Takes the next outage.
    pub(super) fn begin_outage(&mut self) -> Option<(usize, Window)> {
        let (_, fault, window) = self.next_outage.take()?;
        self.outages.took(fault);
        self.next_outage = self.outages.next(&self.timeline);
        Some((fault, window))
    }

    /// Whether a device loses its power, and when it is back.
    pub(super) fn power(&mut self, fault: usize, window: Window, device: u32, holds: bool) -> Option<Moment> {
        self.rules.power(fault, window, device, holds)
    }

    /// A device has its hub.
    pub(super) fn assigned(&mut self, now: Moment) {
        if self.waits_for_events {
            self.timeline.assigned(now);
            self.next_outage = self.outages.next(&self.timeline);
        }
    }

    pub(super) fn connect(&mut self, now: Moment, device: u32) -> Connecting {
        if !self.network {
            return Connecting::default();
        }
        let connection = self.open(device);
        let verdict = self.rules.connect(&Occasion { connection, ..Occasion::of(now, device, None) });
        match verdict.in_the_name_of {
            Some(other) => self.in_the_name_of.insert(device, other),
            None => self.in_the_name_of.remove(&device),
        };
        verdict
    }

    /// The number of the device's next connection.
    fn open(&mut self, device: u32) -> u32 {
        self.silent.remove(&device);
        let opened = self.connections.get_mut(device as usize);
        opened.map_or(0, |(count, _)| {
            *count = count.wrapping_add(1);
            *count
        })
    }

    /// A device connects to its hub.
    pub(super) fn connect_hub(&mut self, now: Moment, device: u32) -> (Connecting, Exchanging) {
        if !self.network {
            return Default::default();
        }
        let connection = self.open(device);
        let occasion = Occasion { connection, peer: Peer::Hub, ..Occasion::of(now, device, None) };
        let (connecting, _, exchanging) = self.rules.reach_hub(&occasion);
        self.keep_cut(device, exchanging);
        (connecting, exchanging)
    }

    /// A device sends its hub a message; what becomes of it. One whose hub falls silent notices it at `notice`.
    pub(super) fn message(&mut self, now: Moment, device: u32, notice: Moment) -> Exchanging {
        if !self.network {
            return Exchanging::default();
        }
        let (connection, connected) = self.connection(device);
        let occasion = Occasion { connection, connected, peer: Peer::Hub, ..Occasion::of(now, device, None) };
        let exchanging = self.rules.exchange(&occasion);
        if let Some(silent) = self.silent.get(&device) {
            return Exchanging { reaches_service: silent.hears, ..Exchanging::default() };
        }
        if let Some(Cut::Silence) = exchanging.cut {
            self.silent.insert(device, Silent { hears: exchanging.reaches_service, notice });
        }
        exchanging
    }

    /// When a device notices that its hub has fallen silent, if it has.
    pub(super) fn notices(&self, device: u32) -> Option<Moment> {
        self.silent.get(&device).map(|silent| silent.notice)
    }

    fn connection(&self, device: u32) -> (u32, Moment) {
        self.connections.get(device as usize).copied().unwrap_or((0, Moment::START))
    }

    fn keep_cut(&mut self, device: u32, exchanging: Exchanging) {
        self.cut.remove(&device);
        if let Exchanging { cut: Some(cut), reaches_service: true, .. } = exchanging {
            self.cut.insert(device, cut);
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, now: Moment, device: u32) {
        if let Some((_, opened)) = self.connections.get_mut(device as usize) {
            *opened = now;
        }
    }

    pub(super) fn send(&mut self, now: Moment, device: u32, operation: Operation) -> (Sending, Exchanging) {
        if !self.network {
            return Default::default();
        }
        let (connection, connected) = self.connection(device);
        let occasion = Occasion { connection, connected, ..Occasion::of(now, device, Some(operation)) };
        let (sending, exchanging) = (self.rules.send(&occasion), self.rules.exchange(&occasion));
        self.keep_cut(device, exchanging);
        (sending, exchanging)
    }

    /// How the answer to a device's request ends, unless it arrives.
    pub(super) fn cut(&mut self, device: u32) -> Option<Cut> {
        self.cut.remove(&device)
    }

    pub(super) fn decide(&mut self, attempt: &Attempt, device: u32) -> Deciding {
        if !self.fleet {
            return Deciding::default();
        }
        self.rules.decide(&Occasion::of(attempt.now, device, Some(attempt.operation)))
    }

    /// A device's policy with its clock put off, if a fault does that now.
    pub(super) fn policy(&mut self, now: Moment, device: u32, policy: &Policy) -> Option<Policy> {
        if !self.fleet {
            return None;
        }
        let offset_ns = self.rules.clock_offset_ns(&Occasion::of(now, device, None));
        (offset_ns != 0).then(|| off(policy, offset_ns))
    }
}

/// A hub from which a device hears nothing any more.
struct Silent {
    /// Whether it still hears the device.
    hears: bool,
    /// When the device notices.
    notice: Moment,
}

/// Bandwidth, drips and slices have no bytes to act on here.
pub(super) fn without_bytes(timeline: &Timeline) -> Vec<&'static str> {
    let bytes = |kind: &FaultKind| kind.needs_bytes().then(|| kind.name());
    timeline.faults().iter().filter_map(|fault| bytes(&fault.kind)).collect()
}
