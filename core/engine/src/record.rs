//! What a shard writes down while devices run.
//!
//! One [`Recorder`] belongs to one shard and is written by it alone, so no device ever waits for another to record
//! something. Its size depends on the number of devices, of distinct codes (bounded) and of seconds, never on the
//! number of requests. At the end the recorders are merged: histograms add up exactly, percentiles are read from
//! the sum.

mod codes;
mod flow;
mod heat;
mod herd;
mod latency;
mod life;
mod matrix;
mod pulse;
mod rest;
mod series;
mod struck;
mod summary;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use codes::Key;
use codes::{Codes, Met};
use fleetstorm_model::chaos::Timeline as Faults;
use fleetstorm_model::device::{LifeEvent, Observation};
pub(crate) use fleetstorm_model::phase::Phase;
use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_protocol::{Operation, Status};
use fleetstorm_reports::record::{RetryAfterUse, Totals};
use fleetstorm_units::time::{Moment, Span};
use flow::{Flow, Passage, Passed};
use heat::Heats;
use herd::Retries;
use latency::Latencies;
pub(crate) use latency::{Delayed, Ending};
use life::Lives;
use pulse::Pulse;
pub(crate) use pulse::{BEAT, Health};
pub(crate) use rest::Rest;
use series::Timeline;
use struck::Struck;
pub(crate) use struck::StruckDevices;
pub(crate) use summary::Findings;
pub(crate) use watch::Watch;

use crate::cause::Cause;
use crate::gauges::Gauges;
use fleetstorm_net::ConnectTimes;

/// Where a device is in the recorder's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Off,
    Running,
    /// On its way again, after it had a hub once.
    Again,
    Assigned,
    Stopped(ErrorClass),
    /// Without power, and whether it had a hub once.
    Dark(bool),
}

impl Standing {
    const fn is_on_its_way(self) -> bool {
        matches!(self, Self::Running | Self::Again)
    }
}

/// What is kept of one device, side by side: a million of them are written at random.
#[derive(Clone, Copy, Debug)]
struct Seen {
    met: Met,
    passed: Passed,
    cohort: u16,
    standing: Standing,
    /// [`WATCHED`] and those below it.
    flags: u8,
}

/// It is watched event by event.
const WATCHED: u8 = 1;
/// It has sent a register request.
const REGISTERED: u8 = 2;
/// It has sent a request that has not ended.
const ASKING: u8 = 4;
/// It has stopped, and will try again some time.
const PARKED: u8 = 8;
/// It has stopped, and keeps the run from ending: it will try again before the horizon.
const SLEEPS: u8 = 16;
/// It has been held back by `max_concurrent`.
const HELD: u8 = 32;
/// It chose a wait shorter than its `Retry-After`, and has not come back yet.
const OWES: u8 = 64;

/// The recorder of one shard.
pub(crate) struct Recorder {
    /// By local index of the device.
    devices: Vec<Seen>,
    cohorts: Vec<CohortTally>,
    latencies: Latencies,
    codes: Codes,
    flow: Flow,
    timeline: Timeline,
    /// Which cohorts live on, and their lives; `None` where none does.
    lives: Option<(Vec<bool>, Box<Lives>)>,
    heats: Option<Heats>,
    retries: Retries,
    watch: Watch,
    /// What became of devices that faults hit, where there are faults.
    struck: Option<Box<Struck>>,
    /// Attempts of assigned devices: attempts to devices.
    attempts: BTreeMap<u64, u64>,
    retry_after: RetryAfterUse,
    /// How late the shard's event loop runs, where it can be late.
    pulse: Option<Box<Pulse>>,
    dispatched: usize,
    /// Devices that were never started, and the longest time for which one was due.
    unwoken: (u64, Span),
    /// When the `Retry-After` of each device that [`OWES`] is over; empty while none does.
    due: Vec<Moment>,
    retry_after_tolerance: Span,
    exhausted: u64,
    held_back: u64,
    held_back_longest: Span,
    /// When the last device came to rest.
    last_settled: Moment,
    gauges: Arc<Gauges>,
    rest: Rest,
}

/// What is counted per cohort.
#[derive(Clone, Default)]
struct CohortTally {
    totals: Totals,
    /// When its devices got their hub.
    completions: Vec<Moment>,
}

impl Recorder {
    /// A recorder for devices whose cohorts are `cohort[local index]`.
    pub(crate) fn new(cohort: Vec<u16>, cohorts: usize, gauges: Arc<Gauges>, rest: Rest) -> Self {
        let mut tallies = vec![CohortTally::default(); cohorts];
        for &of in &cohort {
            tallies[usize::from(of)].totals.devices += 1;
        }
        for tally in &mut tallies {
            // Growing by doubling would cost a million devices more than what they are.
            tally.completions.reserve_exact(usize::try_from(tally.totals.devices).unwrap_or(0));
        }
        Self {
            devices: cohort
                .into_iter()
                .map(|cohort| Seen {
                    met: Met::default(),
                    passed: Passed::default(),
                    cohort,
                    standing: Standing::Off,
                    flags: 0,
                })
                .collect(),
            codes: Codes::new(true),
            flow: Flow::default(),
            cohorts: tallies,
            latencies: Latencies::default(),
            timeline: Timeline::default(),
            lives: None,
            heats: Some(Heats::default()),
            retries: Retries::default(),
            watch: Watch::nobody(),
            struck: None,
            attempts: BTreeMap::new(),
            retry_after: RetryAfterUse::default(),
            pulse: None,
            dispatched: 0,
            unwoken: (0, Span::ZERO),
            due: Vec::new(),
            retry_after_tolerance: Span::ZERO,
            exhausted: 0,
            held_back: 0,
            held_back_longest: Span::ZERO,
            last_settled: Moment::START,
            gauges,
            rest,
        }
    }

    /// The same recorder for a fleet some of whose cohorts live on.
    pub(crate) fn with_lives(mut self, living: Vec<bool>) -> Self {
        if living.contains(&true) {
            self.lives = Some((living, Box::new(Lives::new(self.devices.len()))));
        }
        self
    }

    /// Also tells what became of the devices that each fault of a timeline hit; `members` are the shard's, by their
    /// numbers, in the order of their local indices.
    pub(crate) fn with_faults(
        mut self,
        timeline: Option<&Arc<Faults>>,
        members: impl Iterator<Item = u32>,
    ) -> Self {
        self.struck = timeline.map(|timeline| Box::new(Struck::new(timeline, members)));
        self
    }

    /// The same recorder of a loop that can be late, and that says when it comes [round](Self::beat).
    pub(crate) fn with_pulse(mut self) -> Self {
        self.pulse = Some(Box::new(Pulse::new(self.devices.len())));
        self
    }

    /// The loop has come round, and its thread has used `cpu` until now. Returns when it is to come next.
    pub(crate) fn beat(&mut self, now: Moment, cpu: Span) -> Moment {
        self.pulse.as_mut().map_or(Moment::FAR, |pulse| pulse.beat(now, cpu))
    }

    /// The driver has started another device, in the order of their arrivals.
    pub(crate) fn dispatched(&mut self) {
        self.dispatched += 1;
    }

    /// Looks, when the run ends, whose time has come and who was not started: `arrivals` are those of all devices in order.
    pub(crate) fn ends(&mut self, arrivals: &[Moment], now: Moment) {
        let left = arrivals.get(self.dispatched..).unwrap_or(&[]);
        let due = left.iter().map(|at| now.since(*at)).filter(|late| *late > BEAT);
        self.unwoken = due.fold((0, Span::ZERO), |(count, longest), late| (count + 1, longest.max(late)));
    }

    fn health(&self) -> Health {
        let health = self.pulse.as_ref().map(|pulse| pulse.health()).unwrap_or_default();
        let (unwoken, unwoken_longest) = self.unwoken;
        Health { unwoken, unwoken_longest, ..health }
    }

    /// What the generator adds to a time that a device began at `started` and that ends now. The device keeps it in mind.
    fn delay(&mut self, device: usize, started: Moment, now: Moment) -> Span {
        let Some(pulse) = &mut self.pulse else { return Span::ZERO };
        let delay = pulse.delay(started, now);
        pulse.delayed(device, delay);
        delay
    }

    /// Whether it counts by windows, for pictures of the run.
    pub(crate) fn with_windows(mut self, windows: bool) -> Self {
        self.heats = windows.then(Heats::default);
        self.codes = Codes::new(windows);
        self
    }

    /// Watches some of its devices event by event.
    pub(crate) fn watching(mut self, watch: Watch) -> Self {
        for &local in watch.locals() {
            if let Some(seen) = self.devices.get_mut(local as usize) {
                seen.flags |= WATCHED;
            }
        }
        self.retry_after_tolerance = watch.retry_after_tolerance();
        self.watch = watch;
        self
    }

    fn is_watched(&self, device: usize) -> bool {
        self.devices[device].flags & WATCHED != 0
    }

    /// A device was given power.
    pub(crate) fn booted(&mut self, device: usize, now: Moment) {
        let standing = &mut self.devices[device].standing;
        let again = matches!(standing, Standing::Again | Standing::Dark(true));
        let before = std::mem::replace(standing, if again { Standing::Again } else { Standing::Running });
        if before == Standing::Off {
            self.tally(device).totals.booted += 1;
        }
        if let (Some(pulse), Standing::Off | Standing::Dark(_)) = (&mut self.pulse, before) {
            pulse.restarted(device);
        }
        if self.is_watched(device) {
            self.watch.booted(device, now, matches!(before, Standing::Off | Standing::Dark(_)));
        }
        if !before.is_on_its_way() {
            self.timeline.at(now).entered += 1;
            self.gauges.entered();
        }
    }

    /// A device lost its power, and what it knew with it.
    pub(crate) fn powered_off(&mut self, device: usize, now: Moment) {
        if self.is_watched(device) {
            self.watch.powered_off(device);
        }
        self.abandoned(device);
        self.devices[device].flags &= !OWES;
        let standing = &mut self.devices[device].standing;
        let had_hub = matches!(standing, Standing::Again | Standing::Assigned | Standing::Dark(true));
        if *standing == Standing::Off {
            return;
        }
        match std::mem::replace(standing, Standing::Dark(had_hub)) {
            Standing::Running | Standing::Again => {
                self.timeline.at(now).left += 1;
                self.gauges.went_dark();
            }
            Standing::Assigned => {
                self.gauges.lost_hub();
                // One that lives on was not at rest.
                if !self.lives_on(device) {
                    self.rest.woke();
                }
            }
            Standing::Stopped(_) => self.roused(device),
            Standing::Off | Standing::Dark(_) => {}
        }
    }

    /// A device that has stopped is not at rest any more.
    fn roused(&mut self, device: usize) {
        self.gauges.woken();
        let flags = &mut self.devices[device].flags;
        if *flags & SLEEPS == 0 {
            self.rest.woke();
        }
        *flags &= !(SLEEPS | PARKED);
    }

    /// Nobody will see how the request ends that a device has sent, if it has.
    fn abandoned(&mut self, device: usize) {
        if self.has_ended(device) {
            self.tally(device).totals.unanswered += 1;
        }
    }

    /// A device waits for no answer any more; whether it did.
    fn has_ended(&mut self, device: usize) -> bool {
        let flags = &mut self.devices[device].flags;
        let asked = *flags & ASKING != 0;
        *flags &= !ASKING;
        asked
    }

    /// How late the driver acted on a device's alarm.
    pub(crate) fn lagged(&mut self, device: usize, lag: Span) {
        self.latencies.lag(lag);
        if let Some(pulse) = &mut self.pulse {
            pulse.delayed(device, lag);
        }
    }

    /// A device booted, or went on after parking, later than it would have, because `max_concurrent` others were on their way.
    pub(crate) fn held(&mut self, device: usize, span: Span) {
        let flags = &mut self.devices[device].flags;
        self.held_back += u64::from(*flags & HELD == 0);
        *flags |= HELD;
        self.held_back_longest = self.held_back_longest.max(span);
    }

    /// The parts of a connection attempt, seen by the driver only.
    pub(crate) fn connect_times(&mut self, device: usize, times: ConnectTimes, lag: Span) {
        if self.is_watched(device) {
            self.watch.connect_times(device, times);
        }
        for (phase, took) in [
            (Phase::Dns, times.dns),
            (Phase::Tcp, times.tcp),
            (Phase::Tls, times.tls),
            (Phase::Websocket, times.websocket),
            (Phase::Connack, times.connack),
            (Phase::Subscribe, times.subscribe),
            (Phase::Sasl, times.sasl),
            (Phase::Attach, times.attach),
        ] {
            if let Some(took) = took {
                self.latencies.add(phase, Ending::Ok, took + lag, took);
            }
        }
    }

    /// What device number `device` of this shard noticed. A caller that knows the kind of its observation is left with
    /// the part for that kind alone.
    #[inline(always)]
    pub(crate) fn observe(&mut self, device: usize, now: Moment, observation: Observation<'_>) {
        self.gauges.at(now);
        if self.is_watched(device) {
            self.watch.observe(device, now, &observation);
        }
        match observation {
            Observation::Connected { intended, started, fault } => {
                self.connected(device, now, intended, started, fault);
            }
            Observation::Sent { operation, intended } => self.sent(device, now, operation, intended),
            Observation::Ended { operation, intended, started, outcome, assigned, .. } => {
                let passage = Passage::of(operation, outcome, assigned);
                self.ended(device, now, operation, (intended, started), outcome, passage);
            }
            Observation::Unsent { .. } => {
                self.has_ended(device);
                self.tally(device).totals.unsent += 1;
            }
            Observation::Faltered => self.tally(device).totals.faltered += 1,
            Observation::BackedOff { wait, retry_after, .. } => {
                self.backed_off(device, now, wait, retry_after);
            }
            Observation::TokenRenewed => self.tally(device).totals.tokens_renewed += 1,
            Observation::Assigned { booted, attempts, registration, .. } => {
                let hub = registration.assigned_hub.as_deref();
                self.assigned(device, now, booted, attempts, hub);
            }
            Observation::Stopped { class, faulted, rearm_after, .. } => {
                self.passed(device, Passage::Stopped);
                let totals = &mut self.tally(device).totals;
                totals.plugin_faults += u64::from(faulted);
                totals.stops += 1;
                self.stopped(device, now, class, rearm_after);
            }
        }
    }

    /// What lay under the failure that was observed last, for the sample of causes that a record keeps.
    pub(crate) fn explain(&mut self, key: Key, cause: Cause<'_>) {
        self.codes.explain(key, cause);
    }

    fn connected(
        &mut self,
        device: usize,
        now: Moment,
        intended: Moment,
        started: Moment,
        fault: Option<Fault>,
    ) {
        self.came_back(device, started);
        self.tally(device).totals.connections += 1;
        let ending = if fault.is_some() { Ending::Failed } else { Ending::Ok };
        let service = now.since(started);
        let undelayed = service.saturating_sub(self.delay(device, started, now));
        self.latencies.add_delayed(Phase::Connect, ending, (now.since(intended), service), undelayed);
        self.warm(Phase::Connect, now, now.since(intended));
        if let Some(fault) = fault {
            self.failed(device, now, fault);
            self.passed(device, Passage::ConnectFailed);
            let key = Key { operation: None, outcome: Outcome::Broke(fault) };
            self.codes.count(&mut self.devices[device].met, now, key);
        }
    }

    fn sent(&mut self, device: usize, now: Moment, operation: Operation, intended: Moment) {
        self.came_back(device, now);
        let seen = &mut self.devices[device];
        seen.flags |= ASKING;
        let totals = &mut self.cohorts[usize::from(seen.cohort)].totals;
        totals.requests += 1;
        totals.billable += u64::from(operation == Operation::Register);
        if intended != now {
            self.timeline.at(intended).intended += 1;
        }
        let second = self.timeline.at(now);
        second.intended += u32::from(intended == now);
        second.sent += 1;
        if operation != Operation::Poll {
            totals.registers += 1;
            second.registers += 1;
            if seen.flags & REGISTERED == 0 {
                seen.flags |= REGISTERED;
                second.first += 1;
            } else {
                self.retries.add(now);
            }
        }
        self.gauges.sent();
    }

    fn backed_off(&mut self, device: usize, now: Moment, wait: Span, retry_after: Option<Span>) {
        self.passed(device, Passage::BackedOff);
        let totals = &mut self.tally(device).totals;
        totals.back_offs += 1;
        totals.backed_off_ns = totals.backed_off_ns.saturating_add(wait.as_nanos());
        if let Some(floor) = retry_after {
            self.retry_after.given += 1;
            if wait + self.retry_after_tolerance >= floor {
                self.retry_after.honoured += 1;
            } else {
                // What was planned is no violation yet: the run may end, or the power go, before the device comes back.
                if self.due.is_empty() {
                    self.due.resize(self.devices.len(), Moment::START);
                }
                self.due[device] = now + floor.saturating_sub(self.retry_after_tolerance);
                self.devices[device].flags |= OWES;
            }
        }
    }

    /// A device starts an attempt: a connection, or a request on an open one.
    fn came_back(&mut self, device: usize, at: Moment) {
        let flags = &mut self.devices[device].flags;
        if *flags & OWES != 0 {
            *flags &= !OWES;
            if at < self.due[device] {
                self.retry_after.violated += 1;
            } else {
                self.retry_after.honoured += 1;
            }
        }
    }

    fn assigned(&mut self, device: usize, now: Moment, booted: Moment, attempts: u32, hub: Option<&str>) {
        self.tally(device).totals.assignments += 1;
        let again = self.devices[device].standing == Standing::Again;
        if again {
            self.gauges.assigned(self.devices[device].cohort);
        }
        if self.reassigned(device, hub.unwrap_or_default()) || again {
            // What a fleet needs to come online is told by first assignments.
            return self.settle(device, now, Standing::Assigned);
        }
        let took = now.since(booted);
        let delay = self.pulse.as_ref().map_or(Span::ZERO, |pulse| pulse.delay_of(device));
        self.latencies.add_delayed(
            Phase::TimeToAssigned,
            Ending::Ok,
            (took, took),
            took.saturating_sub(delay),
        );
        self.warm(Phase::TimeToAssigned, now, now.since(booted));
        *self.attempts.entry(u64::from(attempts)).or_default() += 1;
        let tally = self.tally(device);
        tally.completions.push(now);
        if let Some(hub) = hub {
            count_hub(&mut tally.totals.hubs, hub);
        }
        self.timeline.at(now).assigned += 1;
        self.gauges.assigned(self.devices[device].cohort);
        self.settle(device, now, Standing::Assigned);
    }

    fn ended(
        &mut self,
        device: usize,
        now: Moment,
        operation: Operation,
        (intended, started): (Moment, Moment),
        outcome: Outcome,
        passage: Passage,
    ) {
        self.has_ended(device);
        let key = Key { operation: Some(operation), outcome };
        self.codes.count(&mut self.devices[device].met, now, key);
        self.passed(device, passage);
        let ending = self.ending(device, now, outcome);
        let service = now.since(started);
        let undelayed = service.saturating_sub(self.delay(device, started, now));
        self.latencies.add_delayed(operation.into(), ending, (now.since(intended), service), undelayed);
        self.warm(operation.into(), now, now.since(intended));
    }

    fn ending(&mut self, device: usize, now: Moment, outcome: Outcome) -> Ending {
        match outcome {
            Outcome::Answered { status: Status::TOO_MANY_REQUESTS, .. } => {
                self.tally(device).totals.throttled += 1;
                self.timeline.at(now).throttled += 1;
                self.gauges.throttled(outcome);
                Ending::Throttled
            }
            // A registration that failed under a 200 carries a code.
            Outcome::Answered { status: Status(200..=299), code: 0 } | Outcome::Challenged => {
                self.timeline.at(now).accepted += 1;
                Ending::Ok
            }
            Outcome::Answered { .. } | Outcome::Unmet { .. } => {
                self.tally(device).totals.failed += 1;
                self.timeline.at(now).failed += 1;
                self.gauges.failed(outcome);
                Ending::Failed
            }
            Outcome::Broke(fault) => {
                self.failed(device, now, fault);
                Ending::Failed
            }
        }
    }

    fn passed(&mut self, device: usize, passage: Passage) {
        self.flow.count(&mut self.devices[device].passed, passage);
    }

    fn failed(&mut self, device: usize, now: Moment, fault: Fault) {
        self.exhausted += u64::from(fault == Fault::Exhausted);
        self.tally(device).totals.failed += 1;
        self.timeline.at(now).failed += 1;
        self.gauges.failed(Outcome::Broke(fault));
    }

    /// A device stopped; it is at rest unless it has something left to do before the run ends.
    fn stopped(&mut self, device: usize, now: Moment, class: ErrorClass, rearm_after: Option<Span>) {
        // The power of a device that lives on may fail meanwhile, and bring it back before its time.
        let sleeps = rearm_after.is_some_and(|after| now + after < self.rest.end || self.lives_on(device));
        let flags = &mut self.devices[device].flags;
        *flags &= !(PARKED | SLEEPS);
        *flags |= if rearm_after.is_some() { PARKED } else { 0 } | if sleeps { SLEEPS } else { 0 };
        self.settle(device, now, Standing::Stopped(class));
    }

    fn settle(&mut self, device: usize, now: Moment, standing: Standing) {
        if std::mem::replace(&mut self.devices[device].standing, standing).is_on_its_way() {
            self.timeline.at(now).left += 1;
            self.gauges.settled();
            // A device that lives on is never at rest once it has its hub.
            let restless = match standing {
                Standing::Assigned => self.lives_on(device),
                _ => self.devices[device].flags & SLEEPS != 0,
            };
            if standing == Standing::Assigned || !restless {
                self.last_settled = self.last_settled.max(now);
            }
            let parked = self.devices[device].flags & PARKED != 0 && standing != Standing::Assigned;
            if let Some(struck) = &mut self.struck
                && !restless
                && !parked
            {
                struck.came_back(device, now);
            }
            if !restless {
                self.rest.settled();
            }
        }
    }

    fn lives_on(&self, device: usize) -> bool {
        let cohort = usize::from(self.devices[device].cohort);
        self.lives.as_ref().is_some_and(|(living, _)| living.get(cohort) == Some(&true))
    }

    /// Whether a device that lives on is connected to its hub.
    fn is_online(&self, device: usize) -> bool {
        self.lives.as_ref().is_some_and(|(_, lives)| lives.is_online(device))
    }

    /// Whether a device that lives on had a hub before this one.
    fn reassigned(&mut self, device: usize, hub: &str) -> bool {
        if !self.lives_on(device) {
            return false;
        }
        let cohort = usize::from(self.devices[device].cohort);
        let Some((_, lives)) = &mut self.lives else { return false };
        let Some(before) = lives.assigned(device, hub) else { return false };
        let hubs = &mut self.cohorts[cohort].totals.hubs;
        if let Some(devices) = hubs.get_mut(before) {
            *devices = devices.saturating_sub(1);
        }
        count_hub(hubs, hub);
        true
    }

    /// A device's strategy failed at its hub, where no registration ends that would say so.
    pub(crate) fn plugin_failed(&mut self, device: usize) {
        self.tally(device).totals.plugin_faults += 1;
    }

    /// What device number `device` of this shard noticed after it had its hub.
    pub(crate) fn lived(&mut self, device: usize, now: Moment, event: LifeEvent) {
        if let (LifeEvent::Online { .. }, Some(struck)) = (event, &mut self.struck) {
            struck.came_back(device, now);
        }
        match event {
            LifeEvent::PowerLost => {
                self.abandoned(device);
                self.woke(device, now);
            }
            LifeEvent::Returned(_) if self.devices[device].standing == Standing::Assigned => {
                self.gauges.woken();
                self.booted(device, now);
            }
            _ => {}
        }
        if self.is_watched(device) {
            self.watch.lived(device, now, event);
        }
        if let Some((_, lives)) = &mut self.lives {
            lives.note(device, event);
            let pulse = self.pulse.as_deref();
            self.gauges.at(now);
            lives.observe(now, event, &mut self.latencies, |since| {
                let delay = pulse.map_or(Span::ZERO, |pulse| pulse.delay(since, now));
                now.since(since).saturating_sub(delay)
            });
        }
    }

    /// Some of what is kept of a device, for a driver that wants it in the cache.
    pub(crate) fn fetch(&self, device: usize) -> u32 {
        u32::from(self.devices[device].cohort)
    }

    /// When the last device came to rest.
    pub(crate) fn last_settled(&self) -> Moment {
        self.last_settled
    }

    /// What counts the devices that are not at rest.
    pub(crate) fn rest(&self) -> Rest {
        self.rest.clone()
    }

    /// Whether a device has been given power at all.
    pub(crate) fn has_booted(&self, device: usize) -> bool {
        self.devices[device].standing != Standing::Off
    }

    /// Whether a device has lost its power, and has not booted since.
    pub(crate) fn is_dark(&self, device: usize) -> bool {
        matches!(self.devices[device].standing, Standing::Dark(_))
    }

    /// Whether a device has its hub.
    pub(crate) fn is_assigned(&self, device: usize) -> bool {
        self.devices[device].standing == Standing::Assigned
    }

    /// A parked device woke up again.
    pub(crate) fn woke(&mut self, device: usize, now: Moment) {
        if matches!(self.devices[device].standing, Standing::Stopped(_)) {
            self.roused(device);
            self.booted(device, now);
        }
    }

    fn warm(&mut self, phase: Phase, now: Moment, took: Span) {
        if let Some(heats) = &mut self.heats {
            heats.add(phase, now, took);
        }
    }

    fn tally(&mut self, device: usize) -> &mut CohortTally {
        &mut self.cohorts[usize::from(self.devices[device].cohort)]
    }
}

/// A hostile service could name a new hub for each device; beyond this many the rest are counted together.
const HUBS_MAX: usize = 64;

fn count_hub(hubs: &mut BTreeMap<String, u64>, hub: &str) {
    match hubs.get_mut(hub) {
        Some(count) => *count += 1,
        None => {
            let name = if hubs.len() < HUBS_MAX { hub } else { "others" };
            *hubs.entry(name.chars().take(253).collect()).or_default() += 1;
        }
    }
}
