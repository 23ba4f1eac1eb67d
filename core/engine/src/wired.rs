//! The wired driver: the live run's bytes over in-memory pipes, in virtual time.
//!
//! The same devices, encoders, protocols and doors as in a live run; what is missing is the kernel and TLS. Time is
//! tokio's paused clock, which jumps to the next timer when nothing can run, so a run of an hour takes seconds and
//! two runs of a seed leave the same record byte for byte.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fleetstorm_mock::evidence::Peer;
use fleetstorm_mock::serve::{Errands, House, Limits, ServiceLog, serve_amqp, serve_http, serve_mqtt};
use fleetstorm_mock::{Issuer, MockError};
use fleetstorm_model::chaos::{Layer, Timeline};
use fleetstorm_model::service::Service;
use fleetstorm_net::clock::{Alarms, Clock};
use fleetstorm_net::connect::{Connect, FaultyStream, StreamFaults};
use fleetstorm_net::exchange::Carrier;
use fleetstorm_net::governor::{Brake, Governor, Halt};
use fleetstorm_net::{ConnectTimes, NetError};
use fleetstorm_plugin_host::DeviceIdentity;
use fleetstorm_protocol::Transport;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::Clock as ClockKind;
use fleetstorm_scenario::{MqttFile, TargetKind};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Moment, Span};
use rustls::pki_types::CertificateDer;
use tokio::io::DuplexStream;

use crate::chaos::canary::Met;
use crate::chaos::{Guards, ShardChaos, netem};
use crate::control::Control;
use crate::drive::{Cohort, HubNames, Shard, drive_all};
use crate::plan::{Member, Plan};
use crate::record::{Findings, Recorder, Rest};
use crate::run::{self, Books, Driven, Stage as _};
use crate::{RunError, embedded};

/// What it takes to connect, and what a request takes. Some time must pass, or a strategy that never waits would
/// stop it altogether.
const HOP: Duration = Duration::from_millis(1);

/// Bytes that a pipe holds each way.
const PIPE_BYTES: usize = 8 * 1024;

/// Runs a plan in virtual time. The plan's calendar must be [`fleetstorm_units::time::Calendar::VIRTUAL`].
///
/// # Errors
/// The scenario's target is not the embedded mock, or the mock's configuration is contradictory.
pub fn run(plan: Plan, control: &Control) -> Result<Record, RunError> {
    Ok(run::run(plan, Wired, control)?.0)
}

struct Wired;

impl run::Driver for Wired {
    const CLOCK: ClockKind = ClockKind::Wired;
    type Stage = InMemory;

    fn before_faults(&self) -> Self {
        Self
    }

    fn preflight(&self, plan: &Plan) -> Result<(), RunError> {
        netem::refuse(plan)?;
        if plan.scenario.target.kind != TargetKind::Mock {
            return Err(RunError::Preflight(
                "virtual time needs the embedded mock: a real server does not wait for it; use --clock wall"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    fn open(self, plan: &Plan, _: &Control) -> Result<InMemory, RunError> {
        let members = plan.members(0, 1)?;
        let mut service = service(plan)?;
        if let Some(timeline) = &plan.chaos {
            service.disturb(timeline.rules(&[Layer::Service]), plan.naming());
        }
        // Virtual time outruns any disk: here the log waits for it instead of dropping lines.
        let log = ServiceLog::start(plan.scenario.mock.log.as_ref(), false, true)?;
        let errands = errands(plan)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(RunError::driver::<std::io::Error>)?;
        let (house, alarms) = runtime.block_on(async {
            let clock = Clock::start();
            let house = House::new(service, clock, HOP, doors(plan), errands, log);
            if let Some(timeline) = &plan.chaos {
                house.arm(timeline, plan.naming());
            }
            (house, Alarms::of_tokio(clock))
        });
        Ok(InMemory { local: tokio::task::LocalSet::new(), runtime, members, house, alarms })
    }
}

/// The service behind pipes, and the tasks on both sides of them.
struct InMemory {
    local: tokio::task::LocalSet,
    runtime: tokio::runtime::Runtime,
    /// The fleet until it is driven.
    members: Vec<Member>,
    house: Rc<House>,
    alarms: Alarms,
}

impl run::Stage for InMemory {
    fn address(&self, _: &Plan) -> String {
        "in memory".to_owned()
    }

    fn drive(&mut self, plan: &mut Plan, control: &Control) -> Result<Driven, RunError> {
        let brake = &control.brake;
        let horizon = Moment::START + plan.scenario.horizon.0;
        let rest = Rest::new(u64::from(plan.scenario.fleet.devices), brake.clone(), horizon);
        let gauges = control.show(1);
        let guards = Guards::new(&plan.scenario.guardrails, &gauges);
        let members = std::mem::take(&mut self.members);
        let recorder = plan.recorder(&members, Arc::clone(&gauges[0]), rest);
        let shard = shard(plan, plan.chaos.as_ref(), &self.house, &self.alarms, recorder, brake);
        let limit = plan.scenario.fleet.max_concurrent.map(|limit| limit as usize);
        let (clock, alarms) = (self.house.clock, &self.alarms);
        self.local.block_on(&self.runtime, async {
            tokio::select! {
                biased;
                () = brake.pulled() => {}
                () = alarms.at(horizon) => brake.pull(Halt::Horizon),
                () = guarded(guards, clock, alarms, brake) => {}
                () = drive_all(Rc::clone(&shard), members, limit, horizon) => {}
            }
        });
        Ok(Driven { recorders: vec![shard.take_recorder()], now: self.now() })
    }

    fn close_books(&mut self) -> Option<Books> {
        let service = self.house.service.borrow();
        let (metrics, registrations) = (service.metrics().clone(), service.registrations() as u64);
        drop(service);
        Some(Books { metrics, registrations, log: self.house.finish_log() })
    }

    fn now(&self) -> Moment {
        // Outside of its runtime the clock does not stand still.
        let _inside = self.runtime.enter();
        self.house.clock.now()
    }

    fn visit_twin(&mut self, canaries: &Plan, from: Moment, control: &Control) -> Result<Met, RunError> {
        let doors = (self.house.mqtt, self.house.limits);
        let twin = House::new(service(canaries)?, self.house.clock, HOP, doors, errands(canaries)?, None);
        self.come(&twin, canaries, None, (from, canaries.scenario.horizon.0), control)
    }

    fn visit(
        &mut self,
        canaries: &Plan,
        timeline: Option<&Arc<Timeline>>,
        when: (Moment, Span),
        control: &Control,
    ) -> Result<Met, RunError> {
        self.come(&self.house, canaries, timeline, when, control)
    }
}

impl InMemory {
    /// Lets the devices of a plan come to a house from a moment on, for so long at most.
    fn come(
        &self,
        house: &Rc<House>,
        plan: &Plan,
        timeline: Option<&Arc<Timeline>>,
        (from, patience): (Moment, Span),
        control: &Control,
    ) -> Result<Met, RunError> {
        let (brake, end) = (control.stage().brake, from + patience);
        let members = plan.members_from(from)?;
        let rest = Rest::new(members.len() as u64, brake.clone(), end);
        let recorder = Recorder::new(plan.membership.clone(), plan.cohorts.len(), Arc::default(), rest);
        let shard = shard(plan, timeline, house, &self.alarms, recorder, &brake);
        self.local.block_on(&self.runtime, async {
            tokio::select! {
                biased;
                () = brake.pulled() => {}
                () = self.alarms.at(end) => {}
                () = drive_all(Rc::clone(&shard), members, None, end) => {}
            }
        });
        Ok(Met::of(&Findings::of(vec![shard.take_recorder()], self.now()), from))
    }
}

/// The embedded mock's service.
fn service(plan: &Plan) -> Result<Service, RunError> {
    Ok(Service::new(embedded::config(plan, embedded::endorsement_key)?).map_err(MockError::from)?)
}

/// What the service can have done in virtual time: there is no network to ask a webhook.
fn errands(plan: &Plan) -> Result<Errands, RunError> {
    Ok(Errands { webhooks: None, issuer: Issuer::new(&plan.scenario.mock, &plan.fleet)? })
}

/// The devices of a plan, in front of a house.
fn shard(
    plan: &Plan,
    chaos: Option<&Arc<Timeline>>,
    house: &Rc<House>,
    alarms: &Alarms,
    recorder: Recorder,
    brake: &Brake,
) -> Rc<Shard<Pipes>> {
    let clock = house.clock;
    let cohorts = plan.cohorts.iter().zip(&plan.scenario.cohorts).map(|(planned, cohort)| Cohort {
        policy: planned.policy.clone(),
        life: planned.life.clone(),
        retry: planned.retry.clone(),
        connect: Pipes {
            house: Rc::clone(house),
            certificates: planned.certificates,
            transport: cohort.transport,
        },
        id_scope: Arc::clone(&plan.id_scope),
        carrier: Carrier {
            transport: cohort.transport,
            api_version: cohort.api_version,
            host: http::HeaderValue::from_static("global.azure-devices-provisioning.net"),
            keep_alive_secs: cohort.keep_alive_secs(),
            clock,
        },
    });
    Rc::new(Shard {
        clock,
        alarms: alarms.clone(),
        seed: Seed(plan.scenario.seed),
        cohorts: cohorts.collect(),
        recorder: recorder.into(),
        chaos: chaos.map(|timeline| Rc::new(ShardChaos::new(timeline))),
        governor: Governor::unlimited(brake.clone()),
        hubs: HubNames::default(),
        // Virtual time stands still while an attestation works.
        aside: None,
    })
}

/// Looks at the guardrails once a second; never returns.
async fn guarded(guards: Option<Guards>, clock: Clock, alarms: &Alarms, brake: &Brake) {
    let Some(mut guards) = guards else { return std::future::pending().await };
    loop {
        alarms.at(guards.next()).await;
        guards.look(clock.now(), brake);
    }
}

/// Connects devices to the door by pipes.
struct Pipes {
    house: Rc<House>,
    certificates: bool,
    transport: Transport,
}

impl Connect for Pipes {
    type Stream = FaultyStream<DuplexStream>;

    async fn connect(
        &self,
        identity: &Arc<DeviceIdentity>,
        stream_faults: Option<StreamFaults>,
    ) -> (Result<Self::Stream, NetError>, ConnectTimes) {
        (
            Ok(FaultyStream::new(self.pipe(identity, self.transport).await, stream_faults)),
            ConnectTimes::default(),
        )
    }

    async fn connect_hub(
        &self,
        _: &str,
        identity: &Arc<DeviceIdentity>,
        stream_faults: Option<StreamFaults>,
    ) -> Result<Self::Stream, NetError> {
        Ok(FaultyStream::new(self.pipe(identity, Transport::Mqtt).await, stream_faults))
    }
}

impl Pipes {
    /// A pipe to the door of a transport.
    async fn pipe(&self, identity: &Arc<DeviceIdentity>, transport: Transport) -> DuplexStream {
        tokio::time::sleep(HOP).await;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        // What TLS would have proved.
        let chain = if self.certificates { identity.certificates() } else { Vec::new() };
        let peer = Peer::new(chain.into_iter().map(CertificateDer::from).collect());
        let house = Rc::clone(&self.house);
        match transport {
            // The door learns of an upgrade by itself.
            Transport::Https | Transport::MqttWs | Transport::AmqpWs => {
                tokio::task::spawn_local(serve_http(house, theirs, peer));
            }
            Transport::Mqtt => {
                peer.speaks(transport);
                tokio::task::spawn_local(async move { serve_mqtt(house, theirs, &peer).await });
            }
            Transport::Amqp => {
                peer.speaks(transport);
                tokio::task::spawn_local(async move { serve_amqp(house, theirs, &peer).await });
            }
        }
        ours
    }
}

/// What the scenario says of the doors.
fn doors(plan: &Plan) -> (MqttFile, Limits) {
    (plan.scenario.mock.mqtt, plan.scenario.mock.limits.into())
}

#[cfg(test)]
mod tests {
    use fleetstorm_scenario::Scenario;
    use fleetstorm_units::time::Calendar;

    use super::*;
    use crate::run::Driver as _;
    use fleetstorm_plugin_host::Registry;

    /// Canaries meet a fault that nobody heals, until it is healed.
    #[test]
    fn a_fault_that_is_not_healed_is_residue() {
        for fault in ["service.error\", status = 503", "net.refused\"", "http.status\", status = 502"] {
            let text = format!("[fleet]\ndevices = 5\n[[chaos]]\nfault = {{ kind = \"{fault} }}\n");
            let scenario = Scenario::read(&text, "t.toml", &[]).unwrap();
            let registry =
                Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
            let plan = Plan::new(scenario, &registry, Calendar::VIRTUAL).unwrap();
            let (timeline, canaries) = (plan.chaos.clone().unwrap(), plan.canaries.as_ref().unwrap());
            let control = Control::default();
            let mut stage = Wired.open(&plan, &control).unwrap();
            let mut look = || run::residue(canaries, Some(&timeline), &mut stage, &control).unwrap().unwrap();
            let dirty = look();
            assert!(!dirty.clean, "{fault}: {dirty:?}");
            timeline.heal();
            let clean = look();
            assert!(clean.clean, "{fault}: {clean:?}");
        }
    }
}
