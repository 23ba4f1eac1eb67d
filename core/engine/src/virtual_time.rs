//! The simulator: the same devices, strategies and service by direct calls, a million of them in virtual time.
//!
//! A request is two events: it reaches the service, and its answer reaches the device. What lies between is the
//! scenario's `[network]`, drawn by device and attempt, so that two runs of a seed with different strategies meet
//! the same stream_faults. Everything that will happen to a device is one alarm in one [`Wheel`]; a request that outlives
//! its device's patience is the only other thing that can be under way.

mod around;
mod canary;
mod faults;
mod herd;
mod living;
mod parcel;
mod places;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fleetstorm_model::chaos::{Connecting, Cut, Layer, Timeline};
use fleetstorm_model::device::{Action, Device, Input, Life, LifeInput, LifePolicy, Policy};
use fleetstorm_model::service::{Answered, Query, Service};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{ApiVersion, Operation, OperationId, Transport};
use fleetstorm_reports::Record;
use fleetstorm_reports::record::Clock as ClockKind;
use fleetstorm_scenario::{Network, TargetKind};
use fleetstorm_units::Delay;
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Moment, Span};
use fleetstorm_units::wheel::Wheel;

pub use herd::{Fate, Herd};

use crate::audit;
use crate::chaos::canary::Met;
use crate::chaos::{Guards, netem};
use crate::control::Control;
use crate::plan::Plan;
use crate::record::{Recorder, Rest, Watch};
use crate::run::{self, Books, Driven};
use crate::truth::{self, Proof, Truth};
use crate::{RunError, embedded};
use around::Around;
use faults::Faults;
use fleetstorm_mock::MockError;
use fleetstorm_mock::serve::webhooks;
use fleetstorm_net::governor::{Brake, Halt};
use fleetstorm_plugin_host::{Retry, Sessions};
use parcel::{Parcel, Shelf};
use places::Places;

/// Memory that one device takes, all included (`benches/simulate.rs` measures it).
pub const DEVICE_BYTES: u64 = 200;
/// What a device that lives on takes beside that.
const LIFE_BYTES: u64 = 64;
/// Memory that a run takes beside its devices: the wheel's rings, histograms, a timeline.
const RUN_BYTES: u64 = 64 << 20;

/// Runs a plan in virtual time. The plan's calendar must be [`fleetstorm_units::time::Calendar::VIRTUAL`].
///
/// # Errors
/// The target is not the embedded mock, the machine has not the memory, or time stands still.
pub fn run(plan: Plan, control: &Control) -> Result<Record, RunError> {
    Ok(run::run(plan, Virtual::keeping(Keep::Story), control)?.0)
}

/// Runs a plan in virtual time and keeps what became of each device. The record tells the fleet as a whole: no device
/// is watched event by event, and nothing is told by windows.
///
/// # Errors
/// As [`run()`].
pub fn run_in_detail(plan: Plan, control: &Control) -> Result<(Record, Herd), RunError> {
    let (record, stage) = run::run(plan, Virtual::keeping(Keep::Fates), control)?;
    Ok((record, stage.herd.unwrap_or_default()))
}

/// Runs a plan in virtual time for its verdict alone; the record is as that of [`run_in_detail`].
///
/// # Errors
/// As [`run()`].
pub fn run_for_verdict(plan: Plan, control: &Control) -> Result<Record, RunError> {
    Ok(run::run(plan, Virtual::keeping(Keep::Totals), control)?.0)
}

/// What a run keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// What a report shows.
    Story,
    /// What becomes of each device, and totals.
    Fates,
    /// Totals, curves and histograms: what objectives ask for.
    Totals,
}

struct Virtual {
    keep: Keep,
    /// Devices are lined up in steps of so many, which has no common divisor with their number, and live up to
    /// `foresight` ahead of each other: neither makes a difference.
    stride: u32,
    foresight: Span,
}

impl Virtual {
    const fn keeping(keep: Keep) -> Self {
        Self { keep, stride: 1, foresight: FORESIGHT }
    }
}

impl run::Driver for Virtual {
    const CLOCK: ClockKind = ClockKind::Virtual;
    type Stage = Simulated;

    fn before_faults(&self) -> Self {
        Self::keeping(Keep::Story)
    }

    fn preflight(&self, plan: &Plan) -> Result<(), RunError> {
        preflight(plan)
    }

    fn open(self, plan: &Plan, _: &Control) -> Result<Simulated, RunError> {
        let mut service = service(plan)?;
        if let Some(timeline) = &plan.chaos {
            service.disturb(timeline.rules(&[Layer::Service]), plan.naming());
        }
        Ok(Simulated { how: self, service, now: Moment::START, herd: None })
    }
}

/// The service that devices call directly.
struct Simulated {
    how: Virtual,
    service: Service,
    now: Moment,
    /// What became of each device, once they have been driven.
    herd: Option<Herd>,
}

impl run::Stage for Simulated {
    fn address(&self, _: &Plan) -> String {
        "simulated".to_owned()
    }

    fn drive(&mut self, plan: &mut Plan, control: &Control) -> Result<Driven, RunError> {
        let horizon = Moment::START + plan.scenario.horizon.0;
        // A device that is ahead of the others may be the last on its way before one of them wakes: the brake is this
        // driver's to pull.
        let rest = Rest::new(u64::from(plan.scenario.fleet.devices), Brake::default(), horizon);
        let mut simulation = Simulation::new(plan, &self.how, &mut self.service, control, &rest);
        match catch_unwind(AssertUnwindSafe(|| simulation.drive(horizon, &rest, control))) {
            Ok(driven) => driven?,
            Err(panic) => control.brake.pull(Halt::broken(&*panic)),
        }
        let Simulation { world, herd, now, .. } = simulation;
        (self.now, self.herd) = (now, herd);
        Ok(Driven { recorders: vec![world.parts.recorder], now })
    }

    fn close_books(&mut self) -> Option<Books> {
        let (metrics, registrations) = (self.service.metrics().clone(), self.service.registrations() as u64);
        Some(Books { metrics, registrations, log: None })
    }

    fn now(&self) -> Moment {
        self.now
    }

    fn visit_twin(&mut self, canaries: &Plan, _: Moment, _: &Control) -> Result<Met, RunError> {
        let patience = canaries.scenario.horizon.0;
        Ok(canary::visit(canaries, &mut service(canaries)?, None, Moment::START, patience))
    }

    fn visit(
        &mut self,
        canaries: &Plan,
        timeline: Option<&Arc<Timeline>>,
        (from, patience): (Moment, Span),
        _: &Control,
    ) -> Result<Met, RunError> {
        Ok(canary::visit(canaries, &mut self.service, timeline, from, patience))
    }
}

/// The service, which knows the fleet and the canaries of the plan by their numbers.
fn service(plan: &Plan) -> Result<Service, RunError> {
    let config = embedded::config(plan, |plan, place| Ok(Some(truth::endorsement_key(plan.first + place))))?;
    let last = plan.canaries.as_deref().unwrap_or(plan);
    let devices = last.first + last.scenario.fleet.devices;
    Ok(Service::with_roster(config, &plan.scenario.fleet.id_prefix, devices).map_err(MockError::from)?)
}

fn preflight(plan: &Plan) -> Result<(), RunError> {
    if plan.scenario.target.kind != TargetKind::Mock {
        return Err(RunError::Preflight(
            "a simulation needs the embedded mock: a real server does not wait for it; use --clock wall"
                .to_owned(),
        ));
    }
    if plan.scenario.mock.log.is_some() {
        return Err(RunError::Preflight(
            "a simulation makes no requests that a resource log could hold: take [mock.log] out, or use --clock \
             wired"
                .to_owned(),
        ));
    }
    netem::refuse(plan)?;
    if let Some(kind) = plan.chaos.as_ref().and_then(|timeline| faults::without_bytes(timeline).pop()) {
        return Err(RunError::Preflight(format!(
            "a simulation has no bytes that {kind} could act on: take the fault out, or use --clock wired"
        )));
    }
    for (planned, cohort) in plan.cohorts.iter().zip(&plan.scenario.cohorts) {
        if let Proof::Unknown = planned.proof {
            return Err(RunError::Preflight(format!(
                "cohort `{}`: what the attestation `{}` proves is known to its own code only, which a simulation \
                 does not run; use --clock wired",
                cohort.name, cohort.attestation.kind
            )));
        }
    }
    let devices = u64::from(plan.scenario.fleet.devices);
    let each = DEVICE_BYTES + if plan.living().contains(&true) { LIFE_BYTES } else { 0 };
    let needed = devices * each + RUN_BYTES;
    match audit::available_memory_bytes() {
        Some(available) if needed > available => Err(RunError::Preflight(format!(
            "{devices} devices take {} MB and this machine has {} MB left: simulate at most {} devices, or a \
             sample of the fleet against a quota scaled with it",
            needed >> 20,
            available >> 20,
            available.saturating_sub(RUN_BYTES) / each
        ))),
        _ => Ok(()),
    }
}

/// How far ahead of the others a device may live. An interrupted run goes on to where the furthest one stands.
const FORESIGHT: Span = Span::from_secs(60);
/// Events within which an interrupted run gets there. A fleet that is too large for that ends where it stands: whoever
/// interrupts does not wait. Of a run that is only a part of something, an interruption leaves nothing anyway.
const GRACE: u64 = 1 << 18;
/// Events between two looks at the brake.
const LOOK_EVERY: u64 = 4_096;
/// How many things may happen to a device at once: two round trips.
const STRIDE: u32 = 8;

/// One device and what is on its way to it.
struct Cell {
    device: Device,
    parcel: Parcel,
    /// How many draws its strategy has had.
    draws: u32,
    cohort: u16,
}

struct Cohort<'a> {
    policy: Policy,
    /// How its devices live on, if they do.
    life: Option<LifePolicy>,
    retry: Retry,
    /// Whether its devices decide together.
    together: bool,
    session_bytes: usize,
    proof: &'a Proof,
    transport: Transport,
    api_version: ApiVersion,
    /// Longest silence at a hub; zero for any.
    keep_alive: Span,
}

/// A request whose device no longer waits for it.
struct Ghost {
    expires_unix_secs: u32,
    operation: Operation,
    slot: u8,
    id: Option<OperationId>,
}

struct Simulation<'a> {
    now: Moment,
    seed: Seed,
    network: Network,
    prefix: String,
    wheel: Wheel,
    cells: Vec<Cell>,
    /// By device; empty where no cohort lives on.
    lives: Vec<Life>,
    world: World<'a>,
    service: &'a mut Service,
    shelf: Shelf,
    /// By when they reach the service, device and attempt.
    ghosts: BTreeMap<(Moment, u32, u32), Ghost>,
    /// Where a scenario limits how many devices are on their way at once.
    places: Option<Places>,
    foresight: Span,
    /// Devices live alone no further than this; whatever changes all of them at an instant must not lie before it.
    frontier: Moment,
    /// The latest moment to which a device has lived alone.
    furthest: Moment,
    herd: Option<Herd>,
    /// What aborts the run.
    guards: Option<Guards>,
    /// Events that an interrupted run may still take.
    grace: u64,
}

impl<'a> Simulation<'a> {
    /// The devices of a plan before the first of them boots.
    fn new(
        plan: &'a mut Plan,
        how: &Virtual,
        service: &'a mut Service,
        control: &Control,
        rest: &Rest,
    ) -> Self {
        let devices = plan.scenario.fleet.devices;
        let horizon = Moment::START + plan.scenario.horizon.0;
        let is_story = how.keep == Keep::Story;
        let membership = std::mem::take(&mut plan.membership);
        let arrivals = std::mem::take(&mut plan.arrivals);
        let plan = &*plan;
        let mut wheel = Wheel::new(devices);
        for place in 0..u64::from(devices) {
            let device = (place * u64::from(how.stride) % u64::from(devices)) as u32;
            wheel.set(device, arrivals[device as usize]);
        }
        drop(arrivals);
        let cell = |&cohort| Cell { device: Device::new(), parcel: Parcel::Boot, draws: 0, cohort };
        let cells: Vec<Cell> = membership.iter().map(cell).collect();
        let gauges = control.show(1);
        let guards = Guards::new(&plan.scenario.guardrails, &gauges);
        let cohorts: Vec<Cohort<'_>> = plan
            .cohorts
            .iter()
            .zip(&plan.scenario.cohorts)
            .map(|(planned, cohort)| Cohort {
                policy: planned.policy.clone(),
                life: planned.life.clone(),
                // Devices that live on meet at their hubs, in the order of time.
                together: planned.retry.is_coordinated() || planned.life.is_some(),
                session_bytes: planned.retry.session_layout().size,
                retry: planned.retry.clone(),
                proof: &planned.proof,
                transport: cohort.transport,
                api_version: cohort.api_version,
                keep_alive: Span::from_secs(u64::from(cohort.keep_alive_secs())),
            })
            .collect();
        let living = if plan.living().contains(&true) { cells.len() } else { 0 };
        let session_bytes_max = cohorts.iter().map(|cohort| cohort.session_bytes).max().unwrap_or(0);
        let timeline = plan.chaos.as_ref();
        // What looks at all devices, rather than at each, must meet them in the order of time.
        let in_order = guards.is_some() || timeline.is_some_and(|timeline| timeline.meets_in_order());
        Self {
            now: Moment::START,
            seed: Seed(plan.scenario.seed),
            network: plan.scenario.network.clone(),
            prefix: plan.scenario.fleet.id_prefix.clone(),
            wheel,
            cells,
            lives: vec![Life::new(); living],
            world: World {
                parts: Parts {
                    recorder: Recorder::new(membership, cohorts.len(), Arc::clone(&gauges[0]), rest.clone())
                        .with_lives(plan.living())
                        .with_windows(is_story)
                        .with_faults(timeline, 0..devices)
                        .watching(if is_story { plan.watch(0..devices) } else { Watch::nobody() }),
                    sessions: Sessions::of(devices, session_bytes_max),
                    seed: Seed(plan.scenario.seed),
                    wait_max_ns: 0,
                    hubs: service.hub_hosts().map(str::to_owned).collect(),
                    faults: timeline.map(|timeline| Box::new(Faults::new(timeline, devices, horizon))),
                },
                cohorts,
            },
            service,
            shelf: Shelf::default(),
            ghosts: BTreeMap::new(),
            places: plan.scenario.fleet.max_concurrent.map(|limit| Places::new(limit, devices)),
            foresight: if in_order { Span::ZERO } else { how.foresight },
            frontier: Moment::START,
            furthest: Moment::START,
            herd: (how.keep == Keep::Fates).then(|| Herd::of(devices)),
            guards,
            grace: if is_story { GRACE } else { 0 },
        }
    }
}

/// When something happens to a device, and what; nothing more if its life is over.
type Due = Option<(Moment, Parcel)>;

/// What devices ask and tell.
struct World<'a> {
    cohorts: Vec<Cohort<'a>>,
    parts: Parts,
}

/// What devices change by asking and telling.
struct Parts {
    sessions: Sessions,
    recorder: Recorder,
    seed: Seed,
    wait_max_ns: u64,
    /// Hosts of the hubs, by number.
    hubs: Vec<String>,
    /// Faults of the fleet and its network, if there are any.
    faults: Option<Box<Faults>>,
}

impl Parts {
    /// The device in whose name another one speaks.
    fn name_of(&self, device: u32) -> u32 {
        self.faults.as_ref().map_or(device, |faults| faults.name_of(device))
    }

    /// A device's policy with its clock put off, if a fault does that now.
    fn policy(&mut self, now: Moment, device: u32, policy: &Policy) -> Option<Policy> {
        self.faults.as_mut()?.policy(now, device, policy)
    }
}

/// A device and what it asks and tells.
fn around<'a>(
    parts: &'a mut Parts,
    cohort: &'a Cohort<'_>,
    cell: &'a mut Cell,
    device: u32,
) -> (&'a mut Device, Around<'a>) {
    let around = Around {
        recorder: &mut parts.recorder,
        session: parts.sessions.get_mut(device as usize, cohort.session_bytes),
        retry: &cohort.retry,
        draws: &mut cell.draws,
        wait_max_ns: &mut parts.wait_max_ns,
        seed: parts.seed,
        device,
        faults: parts.faults.as_deref_mut(),
        hubs: &parts.hubs,
    };
    (&mut cell.device, around)
}

/// The parts of a way that are drawn; they key its chance together with the attempt.
#[derive(Clone, Copy)]
enum Leg {
    Connect,
    There,
    Service,
    Back,
}

impl Simulation<'_> {
    /// Lets things happen in order until every device is at rest, the horizon comes or the brake is pulled.
    fn drive(&mut self, horizon: Moment, rest: &Rest, control: &Control) -> Result<(), RunError> {
        // A device makes some dozen steps at one instant at most, unless neither it nor the network takes time.
        let patience = 64 * self.cells.len() as u64 + 10_000;
        let (mut events, mut stood) = (0u64, 0u64);
        let mut end = horizon;
        let mut last_event = None;
        let mut held = self.expects_outages();
        if held {
            rest.hold();
        }
        loop {
            if held && !self.expects_outages() {
                held = false;
                rest.release();
            }
            events += 1;
            if events.is_multiple_of(LOOK_EVERY) && control.brake.held().is_some() {
                // Some devices are ahead of others: the run ends where all of them stand.
                end = end.min(self.furthest.max(self.now));
                if events >= *last_event.get_or_insert(events + self.grace) {
                    self.now = end;
                    break;
                }
            }
            let cut = self.world.parts.faults.as_ref().and_then(|faults| faults.next_cut());
            self.frontier = end.min(self.now + self.foresight).min(cut.unwrap_or(Moment::FAR));
            // While nobody is on the way, only a device that wakes before the last one came to rest matters.
            let last = if rest.is_still() { end.min(self.world.parts.recorder.last_settled()) } else { end };
            let ghost = self.ghosts.first_key_value().map(|(key, _)| key.0);
            let until = [ghost, cut].into_iter().flatten().fold(last, Moment::min);
            let before = self.now;
            if let Some((at, device)) = self.wheel.pop(until) {
                self.now = self.now.max(at);
                if let Some(guards) = &mut self.guards
                    && self.now >= guards.next()
                {
                    guards.look(self.now, &control.brake);
                    if control.brake.held().is_some() {
                        break;
                    }
                }
                self.fetch();
                stood = if self.now > before { 0 } else { stood + 1 };
                if stood > patience {
                    let cohort = &self.world.cohorts[usize::from(self.cells[device as usize].cohort)];
                    let at = self.now.since(Moment::START);
                    return Err(RunError::Livelock { strategy: cohort.retry.used.id.clone(), at });
                }
                self.ring(device);
                self.call();
            } else if cut.is_some_and(|cut| cut <= until) {
                self.cut_power();
            } else if ghost.is_some_and(|ghost| ghost <= last) {
                self.late_request_arrives();
            } else {
                if rest.is_still() {
                    self.now = self.now.max(last);
                } else {
                    self.now = end;
                    control.brake.pull(Halt::Horizon);
                }
                break;
            }
        }
        if let Some(herd) = &mut self.herd {
            herd.wait_max_ns = self.world.parts.wait_max_ns;
            for (cell, (attempts, (fate, at))) in
                self.cells.iter().zip(herd.attempts.iter_mut().zip(herd.fates.iter().zip(&mut herd.at)))
            {
                *attempts = cell.device.attempts();
                if *fate == Fate::Unfinished {
                    *at = self.now;
                }
            }
        }
        Ok(())
    }

    /// Lets devices go on that wait for a place, as far as there are places.
    fn call(&mut self) {
        while let Some(next) = self.places.as_mut().and_then(Places::next) {
            let (device, now) = (next.device, self.now);
            // One that has lost its power meanwhile asks again when it boots.
            if next.wakes && !self.is_due_to_wake(device, now) {
                continue;
            }
            self.world.parts.recorder.held(device as usize, now.since(next.asked));
            let due = match next.wakes {
                true => self.wake(device, now, Input::Resume { intended: now }),
                false => self.boot(device, now),
            };
            self.follow(device, due);
        }
    }

    /// Asks for the memory of devices that will soon be needed. A million of them do not fit into the caches, and
    /// waiting for memory is most of the time that a simulation takes.
    fn fetch(&self) {
        let mut touched = 0u32;
        for device in self.wheel.upcoming() {
            let Cell { device: own, parcel, draws, cohort } = &self.cells[device as usize];
            // One of each line of the cache that a cell may lie on.
            touched ^= u32::from(own.operation().is_some()) ^ own.attempts() ^ *draws ^ u32::from(*cohort);
            touched ^= self.world.parts.recorder.fetch(device as usize);
            // The service looks at a device's record once it has found the request itself in order.
            if let Parcel::Request { operation: Operation::Poll, .. } = parcel {
                touched ^= u32::from(self.service.is_registered(device));
            }
        }
        std::hint::black_box(touched);
    }

    /// A device's alarm rings.
    fn ring(&mut self, device: u32) {
        let parcel = std::mem::replace(&mut self.cells[device as usize].parcel, Parcel::Time);
        let due = self.happen(device, self.now, parcel);
        self.follow(device, due);
    }

    /// Lives a device on for as long as it is alone, then sets its alarm.
    ///
    /// Devices meet at the service, in what a coordinated strategy shares and in the queue for a place. From one
    /// meeting to the next nobody can tell when a device's steps are made, so they are made at once, each at its own
    /// time: one alarm a request rather than four, and one journey to the device's memory.
    fn follow(&mut self, device: u32, due: Due) {
        let Some((mut at, mut parcel)) = due else { return };
        for _ in 0..STRIDE {
            if !self.is_alone(device, at, parcel) {
                break;
            }
            self.furthest = self.furthest.max(at);
            let Some(next) = self.happen(device, at, parcel) else { return };
            (at, parcel) = next;
        }
        self.cells[device as usize].parcel = parcel;
        self.wheel.set(device, at);
    }

    /// Whether what is due concerns the device alone.
    fn is_alone(&self, device: u32, at: Moment, parcel: Parcel) -> bool {
        let cell = &self.cells[device as usize];
        let together = self.places.is_some() || self.world.cohorts[usize::from(cell.cohort)].together;
        at <= self.frontier
            && match parcel {
                // A device that wakes up after the last one came to rest has no run to return to.
                Parcel::Time => !together && !cell.device.is_settled(),
                Parcel::Connection => true,
                Parcel::Broken(_) => !together,
                Parcel::Boot
                | Parcel::Request { .. }
                | Parcel::HubConnect { .. }
                | Parcel::Welcome
                | Parcel::HubFault(_)
                | Parcel::News(_) => false,
                Parcel::Throttled { .. }
                | Parcel::Assigning { .. }
                | Parcel::Assigned { .. }
                | Parcel::Shelved(_) => !together,
            }
    }

    /// What is due happens, and something else is due.
    fn happen(&mut self, device: u32, now: Moment, parcel: Parcel) -> Due {
        match parcel {
            Parcel::Boot => self.boot(device, now),
            Parcel::Time if self.is_due_to_wake(device, now) => self.wake(device, now, Input::Alarm),
            Parcel::Time => self.step(device, now, Input::Alarm),
            Parcel::Connection => {
                if let Some(faults) = &mut self.world.parts.faults {
                    faults.connected(now, device);
                }
                self.step(device, now, Input::Connected)
            }
            Parcel::Broken(fault) => self.step(device, now, Input::Broke(fault)),
            Parcel::Request { expires_unix_secs, operation, slot } => {
                self.serve(device, now, expires_unix_secs, operation, slot)
            }
            Parcel::HubConnect { expires_unix_secs, slot } => {
                self.reaches_hub(device, now, expires_unix_secs, slot)
            }
            Parcel::Welcome => {
                if let Some(faults) = &mut self.world.parts.faults {
                    faults.connected(now, device);
                }
                self.live(device, now, LifeInput::Welcome)
            }
            Parcel::HubFault(fault) => self.live(device, now, LifeInput::HubBroke(fault)),
            Parcel::News(event) => self.hear(device, now, event),
            answer => match self.shelf.unpack(device, answer) {
                Some(answer) => {
                    let reply = self.service.gist(&answer);
                    let knew = self.cells[device as usize].device.operation().is_some();
                    let due = self.step(device, now, Input::Reply(&reply));
                    let accepted = !knew && self.cells[device as usize].device.operation().is_some();
                    let faults = self.world.parts.faults.as_mut().filter(|_| accepted);
                    match faults.and_then(|faults| faults.reboot(now, device)) {
                        Some(back) => {
                            self.lose_power(device, now, back);
                            Some((back, Parcel::Boot))
                        }
                        None => due,
                    }
                }
                None => self.alarm(device),
            },
        }
    }

    fn boot(&mut self, device: u32, now: Moment) -> Due {
        if let Some(faults) = &mut self.world.parts.faults {
            faults.has_power(device);
        }
        if let Some(places) = &mut self.places
            && !places.ask(device, now, false)
        {
            return None;
        }
        let Parts { recorder, faults, .. } = &mut self.world.parts;
        recorder.booted(device as usize, now);
        if let Some(faults) = faults {
            faults.booted(now, device, &recorder.rest());
        }
        self.step(device, now, Input::Boot { intended: now })
    }

    /// A parked device goes on, if there is a place for it.
    fn wake(&mut self, device: u32, now: Moment, input: Input<'_>) -> Due {
        if let Some(places) = &mut self.places
            && !places.ask(device, now, true)
        {
            return None;
        }
        self.world.parts.recorder.woke(device as usize, now);
        self.note(device, now, Fate::Unfinished);
        self.step(device, now, input)
    }

    /// Gives a device an input and says what its wish leads to.
    #[inline]
    fn step(&mut self, device: u32, now: Moment, input: Input<'_>) -> Due {
        let cell = &mut self.cells[device as usize];
        let cohort = &self.world.cohorts[usize::from(cell.cohort)];
        if cohort.life.is_some() {
            let input = match input {
                Input::Alarm => LifeInput::Alarm,
                other => LifeInput::Dps(other),
            };
            return self.live(device, now, input);
        }
        let off = self.world.parts.policy(now, device, &cohort.policy);
        let (own, mut around) = around(&mut self.world.parts, cohort, cell, device);
        let action = own.step(now, input, off.as_ref().unwrap_or(&cohort.policy), &mut around);
        self.act(device, now, action)
    }

    /// What the wish of a registration leads to.
    fn act(&mut self, device: u32, now: Moment, action: Action) -> Due {
        let cell = &self.cells[device as usize];
        match action {
            Action::Connect { .. } => {
                let stands = now + self.leg(device, Leg::Connect);
                match self.world.parts.faults.as_mut().map(|faults| faults.connect(now, device)) {
                    None => self.dispatch(device, stands, Parcel::Connection),
                    Some(Connecting { delay, cut, .. }) => {
                        self.dispatch_cut(device, stands + delay, Parcel::Connection, cut)
                    }
                }
            }
            Action::Send { operation, credential, .. } => {
                let attempt = cell.device.attempts();
                if let Some(herd) = &mut self.herd
                    && operation != Operation::Poll
                {
                    herd.sent(now, attempt);
                }
                let expires_unix_secs = u32::try_from(credential.expires_unix_secs).unwrap_or(u32::MAX);
                let arrives = now + self.leg(device, Leg::There);
                let slot = credential.slot;
                let request = Parcel::Request { expires_unix_secs, operation, slot };
                match self.world.parts.faults.as_mut().map(|faults| faults.send(now, device, operation)) {
                    None => self.dispatch(device, arrives, request),
                    Some((sending, exchanging)) => {
                        let cut = exchanging.cut.filter(|_| !exchanging.reaches_service);
                        self.dispatch_cut(device, arrives + sending.delay, request, cut)
                    }
                }
            }
            Action::Answer => {
                let answered = match self.world.cohorts[usize::from(cell.cohort)].proof {
                    Proof::Tpm => Input::Answered,
                    Proof::Derived(_) | Proof::Signed(_) | Proof::Unknown => Input::Broke(Fault::Attestation),
                };
                self.step(device, now, answered)
            }
            Action::Wait { .. } => {
                if cell.device.is_parked() {
                    self.note(device, now, Fate::Stopped);
                    self.free_place(device);
                }
                self.alarm(device)
            }
            Action::Ignore => self.alarm(device),
            Action::Finish => {
                self.finish(device, now);
                None
            }
        }
    }

    fn alarm(&self, device: u32) -> Due {
        let cell = &self.cells[device as usize];
        let at = match &self.world.cohorts[usize::from(cell.cohort)].life {
            Some(rules) => self.lives[device as usize].alarm(&cell.device, rules)?,
            None => cell.device.alarm()?,
        };
        Some((at, Parcel::Time))
    }

    /// Whether a device has slept off a failure.
    fn is_due_to_wake(&self, device: u32, now: Moment) -> bool {
        let own = &self.cells[device as usize].device;
        let registering = self.lives.get(device as usize).is_none_or(Life::is_registering);
        registering && own.is_parked() && own.alarm().is_some_and(|at| at <= now)
    }

    /// Sends something on its way to a device or from it, unless the device runs out of patience first.
    fn dispatch(&mut self, device: u32, at: Moment, parcel: Parcel) -> Due {
        let cell = &self.cells[device as usize];
        let deadline = self.alarm(device).map_or(Moment::FAR, |(at, _)| at);
        if at <= deadline {
            return Some((at, parcel));
        }
        match parcel {
            Parcel::Request { expires_unix_secs, operation, slot } => {
                let id = cell.device.operation().cloned();
                let ghost = Ghost { expires_unix_secs, operation, slot, id };
                self.ghosts.insert((at, device, cell.device.attempts()), ghost);
            }
            // Nobody will read this answer; its place on the shelf is free again.
            lost => drop(self.shelf.unpack(device, lost)),
        }
        Some((deadline, Parcel::Time))
    }

    /// As [`Self::dispatch`], unless a fault cuts it off.
    fn dispatch_cut(&mut self, device: u32, at: Moment, parcel: Parcel, cut: Option<Cut>) -> Due {
        match cut {
            None => self.dispatch(device, at, parcel),
            Some(Cut::Broke(fault)) => self.dispatch(device, at, Parcel::Broken(fault)),
            Some(Cut::Silence) => self.alarm(device),
        }
    }

    /// A device's request reaches the service.
    fn serve(
        &mut self,
        device: u32,
        now: Moment,
        expires_unix_secs: u32,
        operation: Operation,
        slot: u8,
    ) -> Due {
        let cell = &self.cells[device as usize];
        let Some(query) = query(operation, cell.device.operation()) else { return self.alarm(device) };
        let cohort = &self.world.cohorts[usize::from(cell.cohort)];
        let number = self.world.parts.name_of(device);
        let truth = Truth {
            proof: cohort.proof,
            transport: cohort.transport,
            slot,
            expires_unix_secs: u64::from(expires_unix_secs),
            name: (&self.prefix, number),
            certificate: OnceCell::new(),
        };
        let Answered { answer, delay } = self.service.ask(now, number, cohort.api_version, query, &truth);
        webhooks::forbid(self.service, now);
        let returns = now + delay + self.leg(device, Leg::Service) + self.leg(device, Leg::Back);
        if let Some(cut) = self.world.parts.faults.as_mut().and_then(|faults| faults.cut(device)) {
            return self.dispatch_cut(device, returns, Parcel::Time, Some(cut));
        }
        let parcel = self.shelf.pack(device, answer);
        self.dispatch(device, returns, parcel)
    }

    /// A request reaches the service after its device stopped waiting: it counts, and its answer goes nowhere.
    fn late_request_arrives(&mut self) {
        let Some(((at, device, _), ghost)) = self.ghosts.pop_first() else { return };
        self.now = self.now.max(at);
        let Some(query) = query(ghost.operation, ghost.id.as_ref()) else { return };
        let cohort = &self.world.cohorts[usize::from(self.cells[device as usize].cohort)];
        let number = self.world.parts.name_of(device);
        let truth = Truth {
            proof: cohort.proof,
            transport: cohort.transport,
            slot: ghost.slot,
            expires_unix_secs: u64::from(ghost.expires_unix_secs),
            name: (&self.prefix, number),
            certificate: OnceCell::new(),
        };
        self.service.ask(self.now, number, cohort.api_version, query, &truth);
        webhooks::forbid(self.service, self.now);
    }

    fn expects_outages(&self) -> bool {
        self.world.parts.faults.as_ref().is_some_and(|faults| faults.expects_outages())
    }

    /// An outage begins, or a device's firmware crashes.
    fn cut_power(&mut self) {
        let parts = &mut self.world.parts;
        let Some(faults) = &mut parts.faults else { return };
        self.now = faults.next_cut().map_or(self.now, |at| self.now.max(at));
        if let Some(device) = faults.begin_crash() {
            self.lose_power(device, self.now, self.now);
            self.wheel.set(device, self.now);
            self.call();
            return;
        }
        let Some((fault, window)) = faults.begin_outage() else { return };
        for device in 0..self.cells.len() as u32 {
            let parts = &mut self.world.parts;
            if !parts.recorder.has_booted(device as usize) {
                continue;
            }
            let Some(faults) = &mut parts.faults else { return };
            let before = faults.is_back(device);
            if before.is_none() && parts.recorder.is_dark(device as usize) {
                // It waits for its place and draws no power.
                continue;
            }
            let holds = parts.recorder.is_assigned(device as usize);
            let Some(back) = faults.power(fault, window, device, holds) else { continue };
            // Where it has none already, what began before may last longer.
            let back = back.max(before.unwrap_or(self.now));
            self.lose_power(device, self.now, back);
            self.wheel.set(device, back);
        }
        self.call();
    }

    /// A device loses its power and what it holds in memory, and boots when its alarm rings. What it had sent is lost with
    /// it; its place is another one's.
    fn lose_power(&mut self, device: u32, now: Moment, back: Moment) {
        let parts = &mut self.world.parts;
        let cell = &mut self.cells[device as usize];
        self.shelf.unpack(device, cell.parcel);
        (cell.device, cell.parcel) = (Device::new(), Parcel::Boot);
        let session_bytes = self.world.cohorts[usize::from(cell.cohort)].session_bytes;
        parts.sessions.get_mut(device as usize, session_bytes).fill(0);
        parts.recorder.powered_off(device as usize, now);
        if let Some(faults) = &mut parts.faults {
            faults.lost_power(device, back, &parts.recorder.rest());
        }
        self.note(device, now, Fate::Unfinished);
        self.free_place(device);
    }

    fn finish(&mut self, device: u32, now: Moment) {
        let standing = self.world.parts.recorder.is_assigned(device as usize);
        self.note(device, now, if standing { Fate::Assigned } else { Fate::Stopped });
        self.free_place(device);
    }

    fn free_place(&mut self, device: u32) {
        if let Some(places) = &mut self.places {
            places.free(device);
        }
    }

    fn note(&mut self, device: u32, now: Moment, fate: Fate) {
        if let Some(herd) = &mut self.herd {
            herd.fates[device as usize] = fate;
            herd.at[device as usize] = now;
        }
    }

    /// How long a leg of the attempt in hand takes.
    fn leg(&self, device: u32, leg: Leg) -> Span {
        self.stream_faults(device, self.cells[device as usize].device.attempts(), leg)
    }

    fn stream_faults(&self, device: u32, attempt: u32, leg: Leg) -> Span {
        let delay = match leg {
            Leg::Connect => &self.network.connect,
            Leg::There | Leg::Back => &self.network.hop,
            Leg::Service => &self.network.service,
        };
        if let Delay::Constant { delay } = delay {
            return delay.0;
        }
        delay.of(self.seed.draw(Purpose::Network, device, attempt.wrapping_mul(4).wrapping_add(leg as u32)))
    }
}

/// What a request asks; a poll without an operation is none that a device makes.
fn query(operation: Operation, id: Option<&OperationId>) -> Option<Query<'_>> {
    Some(match operation {
        Operation::Register => Query::Register,
        Operation::Poll => Query::Poll(id?),
        Operation::Lookup => Query::Lookup,
    })
}

#[cfg(test)]
mod tests {
    use fleetstorm_scenario::Scenario;
    use fleetstorm_units::time::Calendar;

    use super::*;
    use crate::run::Driver as _;
    use fleetstorm_plugin_host::Registry;

    fn plan_of(text: &str) -> Plan {
        let scenario = Scenario::read(text, "t.toml", &[]).unwrap();
        let registry =
            Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
        Plan::new(scenario, &registry, Calendar::VIRTUAL).unwrap()
    }

    fn record_of(text: &str, stride: u32, foresight: Span) -> String {
        let how = Virtual { keep: Keep::Story, stride, foresight };
        let (record, _) = run::run(plan_of(text), how, &Control::default()).unwrap();
        serde_json::to_string(&record).unwrap()
    }

    const CROWD: &str = "horizon = \"20m\"\n[fleet]\ndevices = 2000\n[mock.throttle]\nrate = \"600/min\"\n\
                         burst = 50\n[network]\nhop = { kind = \"constant\", delay = \"10ms\" }\n";

    #[test]
    fn the_order_in_which_devices_are_lined_up_makes_no_difference() {
        let straight = record_of(CROWD, 1, FORESIGHT);
        // 7 and 2,000 have no common divisor, so this meets every device once.
        assert_eq!(straight, record_of(CROWD, 7, FORESIGHT));
    }

    #[test]
    fn a_device_that_is_ahead_of_the_others_meets_what_it_would_have_met() {
        let network = "horizon = \"15m\"\n[mock.throttle]\nrate = \"600/min\"\nburst = 50\n[network]\n\
                       connect = { kind = \"lognormal\", median = \"2s\", sigma = 1.5, max = \"3m\" }\n\
                       hop = { kind = \"lognormal\", median = \"50ms\", sigma = 3, max = \"3m\" }\n";
        let fleet = |more: &str| format!("[fleet]\ndevices = 600\n{more}\n");
        let mixed = "[[cohort]]\nname = \"a\"\nretry = \"immediate\"\n[[cohort]]\nname = \"b\"\nretry = \"aws-adaptive\"\n\
                     [[cohort]]\nname = \"c\"\nretry = { kind = \"fixed\", base_ms = 3000, max_attempts = 4 }\n\
                     [[cohort]]\nname = \"d\"\nretry = \"sdk-c-dps\"\nclock_offset = \"-400d\"\n";
        let places = format!("{network}{}", fleet("max_concurrent = 40"));
        let mixed = format!("{network}{}{mixed}", fleet(""));
        for text in [&places, &mixed] {
            let ahead = record_of(text, 1, FORESIGHT);
            assert_eq!(ahead, record_of(text, 1, Span::ZERO), "{text}");
        }
    }

    #[test]
    fn a_fault_that_is_not_healed_is_residue() {
        for fault in ["service.throttle\"", "net.refused\"", "net.blackhole\", phase = \"answer\""] {
            let text = format!("[fleet]\ndevices = 5\n[[chaos]]\nfault = {{ kind = \"{fault} }}\n");
            let plan = plan_of(&text);
            let (timeline, canaries) = (plan.chaos.clone().unwrap(), plan.canaries.as_ref().unwrap());
            let control = Control::default();
            let mut stage = Virtual::keeping(Keep::Story).open(&plan, &control).unwrap();
            let mut look = |secs| {
                stage.now = Moment::START + Span::from_secs(secs);
                run::residue(canaries, Some(&timeline), &mut stage, &control).unwrap().unwrap()
            };
            let dirty = look(0);
            assert!(!dirty.clean, "{fault}: {dirty:?}");
            timeline.heal();
            let clean = look(1_000);
            assert!(clean.clean, "{fault}: {clean:?}");
        }
    }

    #[test]
    fn a_device_fits_its_share_of_memory() {
        assert!(size_of::<Cell>() <= 112, "{}", size_of::<Cell>());
    }
}
