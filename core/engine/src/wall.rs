//! The live driver: real sockets, TLS and the wall clock.
//!
//! Devices are dealt out to shards, one thread and one runtime each. A shard shares nothing with the others but its
//! gauges and the count of devices that are not at rest, so that adding a core adds its speed.

mod preflight;
mod shard;
mod target;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fleetstorm_mock::RunningMock;
use fleetstorm_model::chaos::Timeline;
use fleetstorm_net::clock::Clock;
use fleetstorm_net::connect::{Trust, client_config};
use fleetstorm_net::governor::{Ceilings, Governor, Halt};
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{self, Clock as ClockKind};
use fleetstorm_scenario::TargetKind;
use fleetstorm_units::time::{Calendar, Moment, Span};

use crate::RunError;
use crate::audit::{self, Auditor};
use crate::chaos::Guards;
use crate::chaos::canary::Met;
use crate::chaos::netem::{self, Netem};
use crate::control::Control;
use crate::plan::{Member, Plan};
use crate::record::{Findings, Recorder, Rest};
use crate::run::{self, Books, Driven};
use shard::ShardWork;
use target::Doors;

pub use crate::chaos::netem::claim_network;
pub(crate) use target::lasting;

/// How a live run uses the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// Threads that drive devices; by default all cores, less one for an embedded mock.
    pub shards: Option<u32>,
}

/// The wall clock's calendar, for a plan that will be run live.
#[allow(clippy::disallowed_methods, reason = "the live driver is where the wall clock is read")]
pub fn calendar() -> Calendar {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Calendar::starting_at_unix_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Runs a plan against the wall clock, until every device is settled, the horizon comes or it is interrupted.
///
/// # Errors
/// The run cannot start: the target does not answer, the machine is too small, consent is missing.
pub fn run(plan: Plan, machine: Machine, control: &Control) -> Result<Record, RunError> {
    let is_isolated = netem::is_wanted(&plan);
    let here = |netem| Ok(run::run(plan, Wall { machine, netem }, control)?.0);
    if !is_isolated {
        return here(None);
    }
    // A network belongs to threads: this one's ends with it, and the caller keeps what it had.
    std::thread::scope(|scope| {
        let isolated = || here(Some(Netem::enter()?));
        let thread = std::thread::Builder::new().name("isolated".to_owned()).spawn_scoped(scope, isolated);
        let done = thread.map_err(RunError::driver)?.join();
        done.unwrap_or_else(|_| Err(RunError::driver("the run ended without a result")))
    })
}

struct Wall {
    machine: Machine,
    /// The network of the run's own, where packets have faults.
    netem: Option<Netem>,
}

impl Wall {
    /// Threads that drive devices.
    fn shards(&self, plan: &Plan) -> u32 {
        let cpus = audit::cpus();
        let free = if is_embedded(plan) { cpus.saturating_sub(1) } else { cpus };
        self.machine.shards.unwrap_or(free).max(1)
    }
}

fn is_embedded(plan: &Plan) -> bool {
    plan.scenario.target.kind == TargetKind::Mock
}

impl run::Driver for Wall {
    const CLOCK: ClockKind = ClockKind::Wall;
    type Stage = Sockets;

    fn before_faults(&self) -> Self {
        Self { machine: self.machine, netem: None }
    }

    fn preflight(&self, plan: &Plan) -> Result<(), RunError> {
        preflight::preflight(plan, is_embedded(plan))
    }

    fn open(mut self, plan: &Plan, control: &Control) -> Result<Sockets, RunError> {
        let shards = self.shards(plan);
        // Identities cost time; the clock starts after them, and that of an embedded mock, by which its hubs keep their
        // plans, must not be far from it.
        let identities = || (0..shards).map(|shard| plan.members(shard, shards)).collect();
        let early: Option<Result<Vec<_>, _>> = is_embedded(plan).then(identities);
        let early = early.transpose()?;
        let (doors, trust, mock) = target::target(plan)?;
        for dial in doors.used(plan) {
            preflight::enough_ports(plan, dial)?;
        }
        let ceilings = target::ceilings(plan)?;
        if mock.is_none() {
            for dial in doors.used(plan) {
                preflight::reach(dial, &trust, ceilings.as_ref(), control)?;
            }
        }
        let members = match early {
            Some(members) => members,
            None => identities()?,
        };
        let configs = configs(plan, &trust)?;
        if let (Some(netem), Some(timeline)) = (&mut self.netem, &plan.chaos) {
            netem.begin(timeline)?;
        }
        let (mock, clock) = mock.unzip();
        // A mock that was started before the identities were made has an older clock: boots count from `offset`.
        let clock = clock.unwrap_or_else(Clock::start);
        let offset = clock.now().since(Moment::START);
        if let Some(timeline) = &plan.chaos {
            timeline.service_clock_is_ahead(offset);
        }
        Ok(Sockets {
            auditor: Some(Auditor::start()),
            started_unix_ns: plan.calendar.unix_nanos(clock.now()),
            clock: clock.later(offset),
            doors,
            trust,
            mock,
            ceilings,
            members,
            configs,
            offset,
            netem: self.netem,
            shards,
        })
    }
}

/// The service behind sockets, and the devices by shard.
struct Sockets {
    doors: Doors,
    trust: Trust,
    mock: Option<RunningMock>,
    ceilings: Option<Ceilings>,
    /// The fleet until it is driven.
    members: Vec<Vec<Member>>,
    configs: Vec<Arc<rustls::ClientConfig>>,
    clock: Clock,
    /// How far the mock's clock is ahead of the run's.
    offset: Span,
    netem: Option<Netem>,
    auditor: Option<Auditor>,
    started_unix_ns: u64,
    shards: u32,
}

impl run::Stage for Sockets {
    fn address(&self, plan: &Plan) -> String {
        let dial = self.doors.used(plan).first().map(|dial| format!("{}:{}", dial.host, dial.port));
        dial.unwrap_or_default()
    }

    fn drive(&mut self, plan: &mut Plan, control: &Control) -> Result<Driven, RunError> {
        let plan = &*plan;
        let (clock, end) = (self.clock, Moment::START + plan.scenario.horizon.0);
        let rest = Rest::new(u64::from(plan.scenario.fleet.devices), control.brake.clone(), end);
        let gauges = control.show(self.shards);
        let mut guards = Guards::new(&plan.scenario.guardrails, &gauges);
        let members = std::mem::take(&mut self.members);
        let (done, finished) = mpsc::channel();
        let mut recorders = Vec::new();
        let mut lost = None;
        std::thread::scope(|scope| -> Result<(), RunError> {
            for (index, (members, gauges)) in members.into_iter().zip(gauges).enumerate() {
                let recorder = plan.recorder(&members, gauges, rest.clone()).with_pulse();
                let work = ShardWork {
                    plan,
                    chaos: plan.chaos.as_ref(),
                    configs: &self.configs,
                    doors: &self.doors,
                    clock,
                    governor: control.allowance.governor(
                        self.ceilings.as_ref(),
                        clock,
                        control.brake.clone(),
                    ),
                    brake: control.brake.clone(),
                    end,
                };
                let done = done.clone();
                let brake = control.brake.clone();
                std::thread::Builder::new()
                    .name(format!("shard-{index}"))
                    .spawn_scoped(scope, move || {
                        let ended = catch_unwind(AssertUnwindSafe(|| work.run(members, recorder)));
                        let _ = done.send(ended.unwrap_or_else(|panic| {
                            let halt = Halt::broken(&*panic);
                            let error = RunError::driver(format!("a shard panicked: {halt:?}"));
                            brake.pull(halt);
                            Err(error)
                        }));
                    })
                    .map_err(RunError::driver)?;
            }
            drop(done);
            let (_running, stopped) = mpsc::channel();
            if let (Some(netem), Some(timeline)) = (self.netem.take(), &plan.chaos) {
                let brake = control.brake.clone();
                std::thread::Builder::new()
                    .name("netem".to_owned())
                    .spawn_scoped(scope, move || netem.follow(timeline, clock, &brake, &stopped))
                    .map_err(RunError::driver)?;
            }
            loop {
                match finished.recv_timeout(Duration::from_millis(250)) {
                    Ok(Ok(recorder)) => recorders.push(recorder),
                    // What the other shards recorded is kept.
                    Ok(Err(error)) => {
                        control.brake.pull(Halt::Broken(error.to_string()));
                        lost = Some(error);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        if let Some(guards) = &mut guards {
                            guards.look(clock.now(), &control.brake);
                        }
                        if let Some(auditor) = &mut self.auditor {
                            auditor.sample();
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        })?;
        match lost.filter(|_| recorders.is_empty()) {
            Some(error) => Err(error),
            None => Ok(Driven { recorders, now: clock.now() }),
        }
    }

    fn audit(&mut self, plan: &Plan, findings: &Findings) -> Option<(record::Audit, record::Machine)> {
        let auditor = self.auditor.take()?;
        let audit = auditor.finish(findings, &plan.scenario.parsed_objectives(), self.shards);
        Some((audit, audit::machine(self.started_unix_ns)))
    }

    fn close_books(&mut self) -> Option<Books> {
        let books = self.mock.as_mut()?.close_books();
        let metrics = books.metrics.from(self.offset);
        Some(Books { metrics, registrations: books.registrations, log: books.log })
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn visit_twin(&mut self, canaries: &Plan, _: Moment, control: &Control) -> Result<Met, RunError> {
        let (doors, trust, twin) = target::target(canaries)?;
        let (_twin, clock) = twin.unzip();
        let clock = clock.unwrap_or_else(Clock::start);
        come(canaries, None, (&doors, &trust), clock, (clock.now(), canaries.scenario.horizon.0), control)
    }

    fn visit(
        &mut self,
        canaries: &Plan,
        timeline: Option<&Arc<Timeline>>,
        when: (Moment, Span),
        control: &Control,
    ) -> Result<Met, RunError> {
        come(canaries, timeline, (&self.doors, &self.trust), self.clock, when, control)
    }
}

/// Lets the devices of a plan come to a target from a moment on, for so long at most.
fn come(
    plan: &Plan,
    timeline: Option<&Arc<Timeline>>,
    (doors, trust): (&Doors, &Trust),
    clock: Clock,
    (from, patience): (Moment, Span),
    control: &Control,
) -> Result<Met, RunError> {
    let (brake, end) = (control.stage().brake, from + patience);
    let members = plan.members_from(from)?;
    let rest = Rest::new(members.len() as u64, brake.clone(), end);
    let recorder = Recorder::new(plan.membership.clone(), plan.cohorts.len(), Arc::default(), rest);
    let work = ShardWork {
        plan,
        chaos: timeline,
        configs: &configs(plan, trust)?,
        doors,
        clock,
        governor: Governor::unlimited(brake.clone()),
        brake,
        end,
    };
    let recorder = work.run(members, recorder)?;
    Ok(Met::of(&Findings::of(vec![recorder], clock.now()), from))
}

/// How the devices of each cohort speak TLS.
fn configs(plan: &Plan, trust: &Trust) -> Result<Vec<Arc<rustls::ClientConfig>>, RunError> {
    let config = |cohort: &fleetstorm_scenario::Cohort| {
        Ok(Arc::new(client_config(trust, cohort.tls, cohort.session_resumption)?))
    };
    plan.scenario.cohorts.iter().map(config).collect()
}

#[cfg(test)]
mod tests {
    use fleetstorm_scenario::Scenario;

    use super::*;
    use crate::run::Driver as _;
    use fleetstorm_plugin_host::Registry;

    #[test]
    fn a_fault_that_is_not_healed_is_residue() {
        let text = "[fleet]\ndevices = 5\n[[cohort]]\nretry = { kind = \"fixed\", base_ms = 500 }\n[mock.throttle]\n\
                    profile = \"unlimited\"\n[[chaos]]\nfault = { kind = \"service.error\", status = 503 }\n";
        let scenario = Scenario::read(text, "t.toml", &[]).unwrap();
        let registry =
            Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
        let plan = Plan::new(scenario, &registry, calendar()).unwrap();
        let (timeline, canaries) = (plan.chaos.clone().unwrap(), plan.canaries.as_ref().unwrap());
        let control = Control::default();
        let wall = Wall { machine: Machine { shards: Some(1) }, netem: None };
        let mut stage = wall.open(&plan, &control).unwrap();
        let mut look = || run::residue(canaries, Some(&timeline), &mut stage, &control).unwrap().unwrap();
        let dirty = look();
        assert!(!dirty.clean, "{dirty:?}");
        timeline.heal();
        let clean = look();
        assert!(clean.clean, "{clean:?}");
    }
}
