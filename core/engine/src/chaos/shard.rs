//! What the drivers of real bytes ask and do about faults. One a shard, like everything else there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use fleetstorm_model::chaos::{
    Connecting, Deciding, Exchanging, FaultKind, Layer, Occasion, Rules, Sending, Timeline, Window,
};
use fleetstorm_model::device::Policy;
use fleetstorm_net::clock::{Alarms, Clock};
use fleetstorm_units::time::{Moment, Span};
use tokio::sync::watch;

use super::power::Outages;

/// The faults of a shard's devices.
pub(crate) struct ShardChaos {
    rules: RefCell<Rules>,
    timeline: Arc<Timeline>,
    network: bool,
    fleet: bool,
    /// Outages that have begun, in order.
    begun: RefCell<Vec<(usize, Window)>>,
    /// How many have begun; closed after the last one.
    news: RefCell<Option<watch::Sender<usize>>>,
    /// Whether devices can lose their power at all.
    cuts: bool,
    told: Cell<bool>,
}

/// How often a shard looks whether the event has come that an outage waits for, and how long its devices may take to hear
/// of one.
const LOOK: Span = Span::from_millis(100);

impl ShardChaos {
    pub(crate) fn new(timeline: &Arc<Timeline>) -> Self {
        Self {
            rules: timeline.rules(&[Layer::Network, Layer::Fleet]).into(),
            network: timeline.has(Layer::Network),
            fleet: timeline.has(Layer::Fleet),
            begun: RefCell::default(),
            news: Some(watch::Sender::new(0)).into(),
            cuts: timeline.faults().iter().any(|fault| fault.kind.cuts_power()),
            told: Cell::new(timeline.waits_for_events()),
            timeline: Arc::clone(timeline),
        }
    }

    /// Whether connections need a stream that faults can act on.
    pub(crate) fn reaches_streams(&self) -> bool {
        self.network
    }

    /// Whether devices can lose their power.
    pub(crate) fn cuts_power(&self) -> bool {
        self.cuts
    }

    /// A device boots: when its firmware will crash, if it does.
    pub(crate) fn crash(&self, occasion: &Occasion) -> Option<Moment> {
        self.rules.borrow_mut().crash(occasion)
    }

    /// The service has accepted a device's registration: when it is back, if it reboots now.
    pub(crate) fn reboot(&self, occasion: &Occasion) -> Option<Moment> {
        if self.cuts { self.rules.borrow_mut().reboot(occasion) } else { None }
    }

    pub(crate) fn connect(&self, occasion: &Occasion) -> Connecting {
        if self.network { self.rules.borrow_mut().connect(occasion) } else { Connecting::default() }
    }

    pub(crate) fn connect_hub(&self, occasion: &Occasion) -> (Connecting, Sending, Exchanging) {
        if self.network { self.rules.borrow_mut().reach_hub(occasion) } else { Default::default() }
    }

    /// A message goes to a hub.
    pub(crate) fn message(&self, occasion: &Occasion) -> Exchanging {
        self.rules.borrow_mut().exchange(occasion)
    }

    pub(crate) fn send(&self, occasion: &Occasion) -> (Sending, Exchanging) {
        let mut rules = self.rules.borrow_mut();
        (rules.send(occasion), rules.exchange(occasion))
    }

    pub(crate) fn decide(&self, occasion: &Occasion) -> Deciding {
        if self.fleet { self.rules.borrow_mut().decide(occasion) } else { Deciding::default() }
    }

    /// A device's policy with its clock put off, if a fault does that now.
    pub(crate) fn policy(&self, occasion: &Occasion, policy: &Policy) -> Option<Policy> {
        if !self.fleet {
            return None;
        }
        let offset_ns = self.rules.borrow_mut().clock_offset_ns(occasion);
        (offset_ns != 0).then(|| off(policy, offset_ns))
    }

    /// A device has its hub.
    pub(crate) fn assigned(&self, now: Moment) {
        if self.told.get() {
            self.timeline.assigned(now);
        }
    }

    /// Tells the devices of each outage as it begins; returns when the power is back after the last one.
    pub(crate) async fn watch_power(self: &Rc<Self>, clock: Clock, alarms: &Alarms, horizon: Moment) {
        let mut outages = Outages::new(&self.timeline, horizon);
        let mut back = Moment::START;
        loop {
            match outages.next(&self.timeline) {
                Some((at, _, _)) if at > clock.now() => {
                    let look =
                        if outages.are_all_known(&self.timeline) { at } else { at.min(clock.now() + LOOK) };
                    alarms.at(look).await;
                }
                Some((_, fault, window)) => {
                    outages.took(fault);
                    if let FaultKind::FleetPowerOutage { off, .. } = &self.timeline.faults()[fault].kind {
                        back = back.max(window.from + off.0);
                    }
                    self.begun.borrow_mut().push((fault, window));
                    if let Some(news) = &*self.news.borrow() {
                        news.send_modify(|begun| *begun += 1);
                    }
                }
                None if outages.are_all_known(&self.timeline) => break,
                None => alarms.at(clock.now() + LOOK).await,
            }
        }
        self.news.take();
        // Those whom the last one hits have heard of it by then, and are not at rest any more.
        alarms.at(back.max(clock.now() + LOOK)).await;
    }

    /// Follows the power of one device from now on.
    pub(crate) fn socket(&self) -> Socket {
        let seen = self.begun.borrow().len();
        Socket { news: self.news.borrow().as_ref().map(watch::Sender::subscribe), seen }
    }
}

/// Where a device draws its power from.
pub(crate) struct Socket {
    news: Option<watch::Receiver<usize>>,
    seen: usize,
}

impl Socket {
    /// Returns when the device's power fails, with the moment at which it is back; `None` if no outage is to come.
    /// `holds` says whether the device has a hub now: one that remembers it does not come back for another.
    pub(crate) async fn fails(
        &mut self,
        chaos: &ShardChaos,
        device: u32,
        holds: impl Fn() -> bool,
    ) -> Option<Moment> {
        loop {
            let back = self.has_failed(chaos, device, holds());
            if back.is_some() {
                return back;
            }
            self.news.as_mut()?.changed().await.ok()?;
        }
    }

    /// The same for the outages that have begun since this was asked last.
    pub(crate) fn has_failed(&mut self, chaos: &ShardChaos, device: u32, holds: bool) -> Option<Moment> {
        loop {
            let (fault, window) = chaos.begun.borrow().get(self.seen).copied()?;
            self.seen += 1;
            let back = chaos.rules.borrow_mut().power(fault, window, device, holds);
            if back.is_some() {
                return back;
            }
        }
    }

    /// Lets the outages pass that have begun: the device waits for its place and draws no power.
    pub(crate) fn skip(&mut self, chaos: &ShardChaos) {
        self.seen = chaos.begun.borrow().len();
    }
}

/// A policy whose devices' clocks are off by so much more.
pub(crate) fn off(policy: &Policy, offset_ns: i64) -> Policy {
    Policy { clock_offset_ns: policy.clock_offset_ns.saturating_add(offset_ns), ..policy.clone() }
}
