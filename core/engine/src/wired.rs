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
use fleetstorm_mock::{Issuer, MockError, resolve};
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
use fleetstorm_reports::record::{Clock as ClockKind, Residue, Target};
use fleetstorm_scenario::{MqttFile, TargetKind};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Moment, Span};
use rustls::pki_types::CertificateDer;
use tokio::io::DuplexStream;

use crate::chaos::canary::{self, Met};
use crate::chaos::{Guards, ShardChaos, netem, steady};
use crate::control::Control;
use crate::drive::{Cohort, HubNames, Shard, drive_all};
use crate::gauges::{Gauges, Snapshot};
use crate::plan::Plan;
use crate::record::{Findings, Recorder, Rest};
use crate::tpm::{endorsement_key, enrol};
use crate::{RunError, judge};

/// What it takes to connect, and what a request takes. Some time must pass, or a strategy that never waits would
/// stop it altogether.
const HOP: Duration = Duration::from_millis(1);

/// Bytes that a pipe holds each way.
const PIPE_BYTES: usize = 8 * 1024;

/// Runs a plan in virtual time. The plan's calendar must be [`fleetstorm_units::time::Calendar::VIRTUAL`].
///
/// # Errors
/// The scenario's target is not the embedded mock, or the mock's configuration is contradictory.
pub fn run(mut plan: Plan, control: &Control) -> Result<Record, RunError> {
    netem::refuse(&plan)?;
    steady::check(&mut plan, control, run)?;
    if plan.scenario.target.kind != TargetKind::Mock {
        return Err(RunError::Preflight(
            "virtual time needs the embedded mock: a real server does not wait for it; use --clock wall"
                .to_owned(),
        ));
    }
    let driver = RunError::driver::<std::io::Error>;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(driver)?;
    let members = plan.members(0, 1)?;
    let brake = control.brake.clone();
    let horizon = Moment::START + plan.scenario.horizon.0;
    let rest = Rest::new(u64::from(plan.scenario.fleet.devices), brake.clone(), horizon);
    let numbers: Vec<u32> = members.iter().map(|member| member.index).collect();
    let cohort = members.iter().map(|member| member.cohort).collect();
    let watch = plan.watch(members.iter().map(|member| member.index));
    let gauges: Arc<Gauges> = Arc::default();
    let guards = Guards::new(&plan.scenario.guardrails).map(|guards| (guards, Arc::clone(&gauges)));
    control.show(vec![Arc::clone(&gauges)]);
    let recorder = Recorder::new(cohort, plan.cohorts.len(), gauges, rest)
        .with_lives(plan.living())
        .with_faults(plan.chaos.as_ref(), numbers.into_iter())
        .watching(watch);
    let mut service = service(&plan)?;
    if let Some(timeline) = &plan.chaos {
        service.disturb(timeline.rules(&[Layer::Service]), plan.naming());
    }
    // Virtual time outruns any disk: here the log waits for it instead of dropping lines.
    let log = ServiceLog::start(plan.scenario.mock.log.as_ref(), false, true)?;

    let errands = errands(&plan)?;
    let local = tokio::task::LocalSet::new();
    let (shard, now, books, looked) = local.block_on(&runtime, async {
        let clock = Clock::start();
        let house = House::new(service, clock, HOP, doors(&plan), errands, log);
        if let Some(timeline) = &plan.chaos {
            house.arm(timeline, plan.naming());
        }
        let alarms = Alarms::of_tokio(clock);
        let shard = shard(&plan, plan.chaos.as_ref(), &house, &alarms, recorder, &brake);
        let limit = plan.scenario.fleet.max_concurrent.map(|limit| limit as usize);
        tokio::select! {
            biased;
            () = brake.pulled() => {}
            () = alarms.at(horizon) => brake.pull(Halt::Horizon),
            () = guarded(guards, clock, &alarms, &brake) => {}
            () = drive_all(Rc::clone(&shard), members, limit, horizon) => {}
        }
        let now = clock.now();
        if let Some(timeline) = &plan.chaos {
            timeline.heal();
        }
        let counted = |service: &Service| (service.metrics().clone(), service.registrations() as u64);
        let (metrics, registrations) = counted(&house.service.borrow());
        let books = (metrics, registrations, house.finish_log());
        let halt = brake.held().unwrap_or(Halt::Settled);
        let looked = match &plan.canaries {
            Some(canaries) if canary::may_look(&halt) => {
                residue(canaries, plan.chaos.as_ref(), &house, &alarms, control).await
            }
            _ => Ok(None),
        };
        (shard, now, books, looked)
    });
    drop(local);
    let (metrics, registrations, service_log) = books;
    let shard = Rc::try_unwrap(shard).map_err(|_| RunError::driver("a device outlived its shard"))?;

    let findings = Findings::of(vec![shard.recorder.into_inner()], now);
    let outcome = judge::Outcome {
        clock: ClockKind::Wired,
        target: Target {
            kind: "mock".to_owned(),
            address: "in memory".to_owned(),
            id_scope: plan.id_scope.to_string(),
            throttle: Some(plan.scenario.mock.throttle.profile.clone()),
        },
        halt: brake.held().unwrap_or(Halt::Settled),
        now,
        audit: None,
        machine: None,
        metrics,
        service_log,
        registrations: Some(registrations),
        residue: canary::or_unknown(looked),
    };
    Ok(judge::record(&plan, findings, outcome))
}

/// The embedded mock's service, which knows the canaries of the plan too.
fn service(plan: &Plan) -> Result<Service, RunError> {
    let mut config = resolve(&plan.scenario.mock, &plan.fleet, plan.calendar)?;
    config.seed = Seed(plan.scenario.seed);
    for plan in std::iter::once(plan).chain(plan.canaries.as_deref()) {
        enrol(plan, &mut config, endorsement_key)?;
    }
    Ok(Service::new(config).map_err(MockError::from)?)
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

/// What the run has left behind at its house, as canaries see it.
async fn residue(
    canaries: &Plan,
    timeline: Option<&Arc<Timeline>>,
    house: &Rc<House>,
    alarms: &Alarms,
    control: &Control,
) -> Result<Option<Residue>, RunError> {
    let from = house.clock.now() + canary::rest(canaries.quota(), canaries.scenario.fleet.devices);
    let twin = House::new(
        service(canaries)?,
        house.clock,
        HOP,
        (house.mqtt, house.limits),
        errands(canaries)?,
        None,
    );
    let before = visit(canaries, None, &twin, alarms, (from, canaries.scenario.horizon.0), control).await?;
    let from = from.max(house.clock.now());
    let after = visit(canaries, timeline, house, alarms, (from, before.limit()), control).await?;
    Ok(before.residue(&after).filter(|_| !control.is_interrupted()))
}

/// Lets the devices of a plan come to a house from a moment on, for so long at most.
async fn visit(
    plan: &Plan,
    timeline: Option<&Arc<Timeline>>,
    house: &Rc<House>,
    alarms: &Alarms,
    (from, patience): (Moment, Span),
    control: &Control,
) -> Result<Met, RunError> {
    let brake = control.stage().brake;
    let mut members = plan.members(0, 1)?;
    for member in &mut members {
        member.arrival = from;
    }
    let recorder = |membership: &[u16]| {
        let rest = Rest::new(membership.len() as u64, brake.clone(), from + patience);
        Recorder::new(membership.to_vec(), plan.cohorts.len(), Arc::default(), rest)
    };
    let shard = shard(plan, timeline, house, alarms, recorder(&plan.membership), &brake);
    let end = from + patience;
    tokio::select! {
        biased;
        () = brake.pulled() => {}
        () = alarms.at(end) => {}
        () = drive_all(Rc::clone(&shard), members, None, end) => {}
    }
    let recorder = shard.recorder.replace(recorder(&[]));
    Ok(Met::of(&Findings::of(vec![recorder], house.clock.now()), from))
}

/// Looks at the guardrails once a second; never returns.
async fn guarded(guards: Option<(Guards, Arc<Gauges>)>, clock: Clock, alarms: &Alarms, brake: &Brake) {
    let Some((mut guards, gauges)) = guards else { return std::future::pending().await };
    loop {
        alarms.at(guards.next()).await;
        guards.look(clock.now(), Snapshot::of(std::iter::once(&*gauges)), brake);
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
    use fleetstorm_plugin_host::Registry;

    /// A run with a fault that its canaries meet, because nobody heals it, and again once it is healed.
    #[test]
    fn a_fault_that_is_not_healed_is_residue() {
        for fault in ["service.error\", status = 503", "net.refused\"", "http.status\", status = 502"] {
            let text = format!("[fleet]\ndevices = 5\n[[chaos]]\nfault = {{ kind = \"{fault} }}\n");
            let scenario = Scenario::read(&text, "t.toml", &[]).unwrap();
            let registry =
                Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
            let plan = Plan::new(scenario, &registry, Calendar::VIRTUAL).unwrap();
            let (timeline, canaries) = (plan.chaos.clone().unwrap(), plan.canaries.as_ref().unwrap());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let mut service = service(&plan).unwrap();
                service.disturb(
                    timeline.rules(&[Layer::Service]),
                    fleetstorm_model::chaos::Naming::Fleet("dev-".to_owned()),
                );
                let clock = Clock::start();
                let house = House::new(service, clock, HOP, doors(&plan), errands(&plan).unwrap(), None);
                house.arm(&timeline, fleetstorm_model::chaos::Naming::Fleet("dev-".to_owned()));
                let (alarms, control) = (Alarms::of_tokio(clock), Control::default());
                let look = async || {
                    residue(canaries, Some(&timeline), &house, &alarms, &control).await.unwrap().unwrap()
                };
                let dirty = look().await;
                assert!(!dirty.clean, "{fault}: {dirty:?}");
                timeline.heal();
                let clean = look().await;
                assert!(clean.clean, "{fault}: {clean:?}");
            });
        }
    }
}
