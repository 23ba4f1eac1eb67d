//! The live driver: real sockets, TLS and the wall clock.
//!
//! Devices are dealt out to shards, one thread and one runtime each. A shard shares nothing with the others but its
//! gauges and the count of devices that are not at rest, so that adding a core adds its speed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fleetstorm_mock::identity::{ServerIdentity, ServerKeys};
use fleetstorm_mock::{Issuer, MockOptions, RunningMock, resolve};
use fleetstorm_model::chaos::Timeline;
use fleetstorm_net::NetError;
use fleetstorm_net::aside::{Aside, THREADS_MAX};
use fleetstorm_net::clock::{Alarms, Clock};
use fleetstorm_net::connect::{Dial, DialError, TlsDialler, Trust, client_config};
use fleetstorm_net::exchange::Carrier;
use fleetstorm_net::governor::{Brake, Ceilings, Governor, Halt, Leaving};
use fleetstorm_net::limits;
use fleetstorm_protocol::Transport;
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{Clock as ClockKind, Residue, Target};
use fleetstorm_scenario::TargetKind;
use fleetstorm_units::UtcTime;
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Calendar, Moment, Span};

use crate::audit::{self, Auditor};
use crate::chaos::canary::{self, Met};
use crate::chaos::netem::{self, Netem};
use crate::chaos::{Guards, ShardChaos, steady};
use crate::control::Control;
use crate::drive::{Cohort, HubNames, Shard, drive_all};
use crate::gauges::{Gauges, Snapshot};
use crate::plan::{Member, Plan};
use crate::record::{Findings, Recorder, Rest};
use crate::tpm::{endorsement_key, enrol};
use crate::{RunError, judge};

pub use crate::chaos::netem::claim_network;

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
    if !netem::is_wanted(&plan) {
        return run_here(plan, machine, control, None);
    }
    // A network belongs to threads: this one's ends with it, and the caller keeps what it had.
    std::thread::scope(|scope| {
        let isolated = || run_here(plan, machine, control, Some(Netem::enter()?));
        let thread = std::thread::Builder::new().name("isolated".to_owned()).spawn_scoped(scope, isolated);
        let done = thread.map_err(RunError::driver)?.join();
        done.unwrap_or_else(|_| Err(RunError::driver("the run ended without a result")))
    })
}

fn run_here(
    mut plan: Plan,
    machine: Machine,
    control: &Control,
    mut netem: Option<Netem>,
) -> Result<Record, RunError> {
    steady::check(&mut plan, control, |small, control| run_here(small, machine, control, None))?;
    let embedded = plan.scenario.target.kind == TargetKind::Mock;
    let cpus = audit::cpus();
    let shards = machine.shards.unwrap_or(if embedded { cpus.saturating_sub(1) } else { cpus }).max(1);
    preflight(&plan, embedded)?;

    // Identities cost time; the clock starts after them, and that of an embedded mock, by which its hubs keep their
    // plans, must not be far from it.
    let identities = |plan: &Plan| (0..shards).map(|shard| plan.members(shard, shards)).collect();
    let early: Option<Result<Vec<_>, _>> = embedded.then(|| identities(&plan));
    let early = early.transpose()?;
    let (doors, trust, mock) = target(&plan)?;
    for dial in doors.used(&plan) {
        enough_ports(&plan, dial)?;
    }
    let ceilings = ceilings(&plan)?;
    if !embedded {
        for dial in doors.used(&plan) {
            reach(dial, &trust, ceilings.as_ref(), control)?;
        }
    }

    let members = match early {
        Some(members) => members,
        None => identities(&plan)?,
    };
    let configs = configs(&plan, &trust)?;

    if let (Some(netem), Some(timeline)) = (&mut netem, &plan.chaos) {
        netem.begin(timeline)?;
    }
    let gauges: Vec<Arc<Gauges>> = (0..shards).map(|_| Arc::default()).collect();
    let rest = Rest::new(
        u64::from(plan.scenario.fleet.devices),
        control.brake.clone(),
        Moment::START + plan.scenario.horizon.0,
    );
    let clock = mock.as_ref().map_or_else(Clock::start, |(_, clock)| *clock);
    // A mock that was started before the identities were made has an older clock: boots count from here.
    let offset = clock.now().since(Moment::START);
    if let Some(timeline) = &plan.chaos {
        timeline.service_clock_is_ahead(offset);
    }
    let mut auditor = Auditor::start();
    let started_unix_ns = plan.calendar.unix_nanos(clock.now());
    let clock = clock.later(offset);
    control.show(gauges.clone());

    let mut guards = Guards::new(&plan.scenario.guardrails);
    let (done, finished) = mpsc::channel();
    let mut recorders = Vec::new();
    let mut lost = None;
    std::thread::scope(|scope| -> Result<(), RunError> {
        for ((index, members), gauges) in (0..shards).zip(members).zip(&gauges) {
            let recorder = Recorder::new(
                members.iter().map(|member| member.cohort).collect(),
                plan.cohorts.len(),
                Arc::clone(gauges),
                rest.clone(),
            )
            .with_lives(plan.living())
            .with_faults(plan.chaos.as_ref(), members.iter().map(|member| member.index))
            .with_pulse()
            .watching(plan.watch(members.iter().map(|member| member.index)));
            let work = ShardWork {
                plan: &plan,
                chaos: plan.chaos.as_ref(),
                configs: &configs,
                doors: &doors,
                clock,
                governor: control.allowance.governor(ceilings.as_ref(), clock, control.brake.clone()),
                brake: control.brake.clone(),
                end: Moment::START + plan.scenario.horizon.0,
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
        if let (Some(netem), Some(timeline)) = (netem, &plan.chaos) {
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
                        let counts = Snapshot::of(gauges.iter().map(|gauges| &**gauges));
                        guards.look(clock.now(), counts, &control.brake);
                    }
                    auditor.sample();
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    })?;
    let now = clock.now();
    if let Some(timeline) = &plan.chaos {
        timeline.heal();
    }
    if let Some(error) = lost.filter(|_| recorders.is_empty()) {
        return Err(error);
    }

    let findings = Findings::of(recorders, now);
    let halt = control.brake.held().unwrap_or(Halt::Settled);
    let audit = auditor.finish(&findings, &plan.scenario.parsed_objectives(), shards);
    let mut mock = mock.map(|(mock, _)| mock);
    let books = mock.as_mut().map(RunningMock::close_books).unwrap_or_default();
    let residue = match &plan.canaries {
        Some(canaries) if mock.is_some() && canary::may_look(&halt) => {
            canary::or_unknown(residue(canaries, plan.chaos.as_ref(), (&doors, &trust), clock, control))
        }
        _ => None,
    };
    drop(mock);
    let target = Target {
        kind: match plan.scenario.target.kind {
            TargetKind::Mock => "mock",
            TargetKind::Endpoint => "endpoint",
            TargetKind::Dps => "dps",
        }
        .to_owned(),
        address: doors
            .used(&plan)
            .first()
            .map_or_else(String::new, |dial| format!("{}:{}", dial.host, dial.port)),
        id_scope: plan.id_scope.to_string(),
        throttle: embedded.then(|| plan.scenario.mock.throttle.profile.clone()),
    };
    let outcome = judge::Outcome {
        clock: ClockKind::Wall,
        target,
        halt,
        now,
        audit: Some(audit),
        machine: Some(audit::machine(started_unix_ns)),
        metrics: books.metrics.from(offset),
        service_log: books.log,
        registrations: embedded.then_some(books.registrations),
        residue,
    };
    Ok(judge::record(&plan, findings, outcome))
}

/// How the devices of each cohort speak TLS.
fn configs(plan: &Plan, trust: &Trust) -> Result<Vec<Arc<rustls::ClientConfig>>, RunError> {
    let config = |cohort: &fleetstorm_scenario::Cohort| {
        Ok(Arc::new(client_config(trust, cohort.tls, cohort.session_resumption)?))
    };
    plan.scenario.cohorts.iter().map(config).collect()
}

/// What the run has left behind at its mock, as canaries see it. They come to a twin first, which is a part of the time
/// that the quota needs to come back.
fn residue(
    canaries: &Plan,
    timeline: Option<&Arc<Timeline>>,
    (doors, trust): (&Doors, &Trust),
    clock: Clock,
    control: &Control,
) -> Result<Option<Residue>, RunError> {
    let from = clock.now() + canary::rest(canaries.quota(), canaries.scenario.fleet.devices);
    let (twin_doors, twin_trust, twin) = target(canaries)?;
    let Some((twin, twin_clock)) = twin else { return Ok(None) };
    let when = (twin_clock.now(), canaries.scenario.horizon.0);
    let before = visit(canaries, None, (&twin_doors, &twin_trust), twin_clock, when, control)?;
    twin.stop();
    let when = (from.max(clock.now()), before.limit());
    let after = visit(canaries, timeline, (doors, trust), clock, when, control)?;
    Ok(before.residue(&after).filter(|_| !control.is_interrupted()))
}

/// Lets the devices of a plan come to a target from a moment on, for so long at most.
fn visit(
    plan: &Plan,
    timeline: Option<&Arc<Timeline>>,
    (doors, trust): (&Doors, &Trust),
    clock: Clock,
    (from, patience): (Moment, Span),
    control: &Control,
) -> Result<Met, RunError> {
    let brake = control.stage().brake;
    let mut members = plan.members(0, 1)?;
    for member in &mut members {
        member.arrival = from;
    }
    let rest = Rest::new(members.len() as u64, brake.clone(), from + patience);
    let recorder = Recorder::new(plan.membership.clone(), plan.cohorts.len(), Arc::default(), rest);
    let work = ShardWork {
        plan,
        chaos: timeline,
        configs: &configs(plan, trust)?,
        doors,
        clock,
        governor: Governor::unlimited(brake.clone()),
        brake,
        end: from + patience,
    };
    let recorder = work.run(members, recorder)?;
    Ok(Met::of(&Findings::of(vec![recorder], clock.now()), from))
}

/// What one shard's thread needs.
struct ShardWork<'a> {
    plan: &'a Plan,
    chaos: Option<&'a Arc<Timeline>>,
    configs: &'a [Arc<rustls::ClientConfig>],
    doors: &'a Doors,
    clock: Clock,
    governor: Governor,
    brake: Brake,
    /// When it ends at the latest.
    end: Moment,
}

impl ShardWork<'_> {
    fn run(self, members: Vec<Member>, recorder: Recorder) -> Result<Recorder, RunError> {
        let driver = RunError::driver::<std::io::Error>;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(THREADS_MAX)
            .build()
            .map_err(driver)?;
        let aside = Aside::default();
        let local = tokio::task::LocalSet::new();
        let guard = runtime.enter();
        let (alarms, ringer) = Alarms::precise(self.clock).map_err(driver)?;
        drop(guard);
        let host = http::HeaderValue::from_str(&self.doors.https.host_header())
            .map_err(|_| RunError::driver("the host name cannot be a header"))?;
        let cohorts = self
            .plan
            .cohorts
            .iter()
            .zip(&self.plan.scenario.cohorts)
            .zip(self.configs)
            .map(|((planned, cohort), config)| Cohort {
                policy: planned.policy.clone(),
                life: planned.life.clone(),
                retry: planned.retry.clone(),
                connect: TlsDialler::new(
                    Arc::clone(self.doors.of(cohort.transport)),
                    Arc::clone(config),
                    self.clock,
                    planned.certificates,
                )
                .with_hubs(Arc::clone(&self.doors.mqtt))
                .signing_aside(aside.clone())
                .stopping(self.brake.clone()),
                id_scope: Arc::clone(&self.plan.id_scope),
                carrier: Carrier {
                    transport: cohort.transport,
                    api_version: cohort.api_version,
                    host: host.clone(),
                    keep_alive_secs: cohort.keep_alive_secs(),
                    clock: self.clock,
                },
            })
            .collect();
        let shard = Rc::new(Shard {
            clock: self.clock,
            alarms: alarms.clone(),
            seed: Seed(self.plan.scenario.seed),
            cohorts,
            recorder: recorder.into(),
            chaos: self.chaos.map(|timeline| Rc::new(ShardChaos::new(timeline))),
            governor: self.governor,
            hubs: HubNames::default(),
            aside: Some(aside),
        });
        let horizon = self.end;
        let mut arrivals: Vec<Moment> = members.iter().map(|member| member.arrival).collect();
        arrivals.sort_unstable();
        let beats = beats(Rc::clone(&shard));
        let limit = self.plan.scenario.fleet.max_concurrent.map(|limit| limit as usize);
        local.block_on(&runtime, async {
            let ringer = tokio::task::spawn_local(ringer);
            let beats = tokio::task::spawn_local(beats);
            tokio::select! {
                biased;
                () = self.brake.pulled() => {}
                () = alarms.at(horizon) => self.brake.pull(Halt::Horizon),
                () = drive_all(Rc::clone(&shard), members, limit, horizon) => {}
            }
            // Others may still be on their way when this shard's devices have all ended.
            self.brake.pulled().await;
            ringer.abort();
            beats.abort();
        });
        {
            // What the loop was behind when the run ended no beat has told.
            let (now, mut recorder) = (self.clock.now(), shard.recorder.borrow_mut());
            recorder.beat(now, audit::thread_time());
            recorder.ends(&arrivals, now);
        }
        drop(local);
        // Hardware that never answers must not keep the run from ending.
        runtime.shutdown_background();
        match Rc::try_unwrap(shard) {
            Ok(shard) => Ok(shard.recorder.into_inner()),
            Err(_) => Err(RunError::driver("a device outlived its shard")),
        }
    }
}

/// Says, for as long as it is polled, when a shard's loop comes round.
async fn beats<C>(shard: Rc<Shard<C>>) {
    loop {
        let next = shard.recorder.borrow_mut().beat(shard.clock.now(), audit::thread_time());
        shard.alarms.at(next).await;
    }
}

/// Where to dial, by transport.
struct Doors {
    https: Arc<Dial>,
    mqtt: Arc<Dial>,
    amqp: Arc<Dial>,
}

impl Doors {
    fn new(https: Dial, mqtt_port: Option<u16>, amqp_port: Option<u16>) -> Self {
        Self {
            mqtt: Arc::new(https.at_port(mqtt_port.unwrap_or(MQTT_PORT))),
            amqp: Arc::new(https.at_port(amqp_port.unwrap_or(AMQP_PORT))),
            https: Arc::new(https),
        }
    }

    fn of(&self, transport: Transport) -> &Arc<Dial> {
        match transport {
            Transport::Https | Transport::MqttWs | Transport::AmqpWs => &self.https,
            Transport::Mqtt => &self.mqtt,
            Transport::Amqp => &self.amqp,
        }
    }

    /// The doors that the plan's cohorts come to, each once.
    fn used(&self, plan: &Plan) -> Vec<&Arc<Dial>> {
        let mut used: Vec<&Arc<Dial>> = Vec::new();
        for cohort in &plan.scenario.cohorts {
            let doors = [Some(self.of(cohort.transport)), needs_mqtt(cohort).then_some(&self.mqtt)];
            for dial in doors.into_iter().flatten() {
                if !used.iter().any(|known| known.port == dial.port) {
                    used.push(dial);
                }
            }
        }
        used
    }
}

/// The ports of MQTT and AMQP over TLS (IANA: secure-mqtt, amqps).
const MQTT_PORT: u16 = 8883;
const AMQP_PORT: u16 = 5671;

/// Where to dial, whom to trust, and the embedded mock with its clock.
type Targeted = (Doors, Trust, Option<(RunningMock, Clock)>);

fn target(plan: &Plan) -> Result<Targeted, RunError> {
    let target = &plan.scenario.target;
    if target.kind == TargetKind::Mock {
        let mut service = resolve(&plan.scenario.mock, &plan.fleet, plan.calendar)?;
        service.seed = Seed(plan.scenario.seed);
        for plan in std::iter::once(plan).chain(plan.canaries.as_deref()) {
            enrol(plan, &mut service, endorsement_key)?;
        }
        let names = [plan.scenario.mock.tls.names.clone(), plan.hubs()].concat();
        let identity = ServerIdentity::throw_away(&names, ServerKeys::Both)?;
        let free = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let clock = Clock::start();
        let spoken = |transport| plan.scenario.cohorts.iter().any(|cohort| cohort.transport == transport);
        let mock = RunningMock::start(MockOptions {
            service,
            faults: plan.chaos.as_ref().map(|timeline| (Arc::clone(timeline), plan.naming())),
            https: free,
            mqtt: plan.scenario.cohorts.iter().any(needs_mqtt).then_some(free),
            amqp: spoken(Transport::Amqp).then_some(free),
            refusals: plan.scenario.mock.mqtt,
            limits: plan.scenario.mock.limits,
            identity,
            issuer: Issuer::new(&plan.scenario.mock, &plan.fleet)?,
            webhook: plan.scenario.mock.webhook.clone(),
            log: plan.scenario.mock.log.clone(),
            keep_log: false,
            clock,
        })?;
        let dial = Dial::read(&format!("https://{}", mock.address()), None)?;
        let trust = Trust::Ca { name: "the mock's CA".to_owned(), pem: mock.ca_pem().as_bytes().to_vec() };
        let port = |address: Option<SocketAddr>| address.map(|address| address.port());
        let doors = Doors::new(dial, port(mock.mqtt_address()), port(mock.amqp_address()));
        return Ok((doors, trust, Some((mock, clock))));
    }
    let global = "https://global.azure-devices-provisioning.net";
    let dial = Dial::read(target.address.as_deref().unwrap_or(global), target.server_name.as_deref())?;
    let dial = consented(target, dial)?;
    let trust = match &target.ca_file {
        Some(name) => Trust::Ca { name: name.clone(), pem: fleetstorm_mock::file(name)? },
        None => Trust::System,
    };
    Ok((Doors::new(dial, target.mqtt_port, target.amqp_port), trust, None))
}

/// Devices that live on come to the mock's hubs, which are behind its MQTT port.
fn needs_mqtt(cohort: &fleetstorm_scenario::Cohort) -> bool {
    cohort.transport == Transport::Mqtt || cohort.life.is_some()
}

/// The target with the consent to touch it, if it needs one: nothing leaves this machine without.
fn consented(target: &fleetstorm_scenario::Target, dial: Dial) -> Result<Dial, RunError> {
    let Some(consent) = &target.consent else {
        if dial.is_loopback() && target.kind != TargetKind::Dps {
            return Ok(dial);
        }
        return Err(RunError::NoConsent { host: dial.host });
    };
    if !dial.is_at(&consent.host) {
        return Err(RunError::OtherConsent { host: dial.host, consented: consent.host.clone() });
    }
    Ok(dial.named())
}

/// What the consent allows, if there is one, and it lasts as long as the run could.
fn ceilings(plan: &Plan) -> Result<Option<Ceilings>, RunError> {
    let Some(consent) =
        plan.scenario.target.consent.as_ref().filter(|_| plan.scenario.target.kind != TargetKind::Mock)
    else {
        return Ok(None);
    };
    let until = plan.calendar.unix_nanos(Moment::START + plan.scenario.horizon.0);
    lasting(consent, UtcTime { unix_ns: until })?;
    if plan.scenario.fleet.devices > consent.max_devices {
        let ceiling = format!(
            "max_devices = {} before a fleet of {}",
            consent.max_devices, plan.scenario.fleet.devices
        );
        return Err(RunError::Ceiling { ceiling });
    }
    Ok(Some(Ceilings::of(consent)))
}

/// Whether a consent holds until this moment.
pub(crate) fn lasting(consent: &fleetstorm_scenario::Consent, until: UtcTime) -> Result<(), RunError> {
    match consent.expires {
        Some(expires) if expires < until => {
            Err(RunError::ConsentExpires { host: consent.host.clone(), expires, until })
        }
        _ => Ok(()),
    }
}

/// Memory that a connected device takes on the client's and on the mock's side, in bytes (`tests/perf`).
const DEVICE_BYTES: u64 = 32 * 1024;
const SERVED_BYTES: u64 = 28 * 1024;
/// Memory that a device takes while it is not connected.
const IDLE_BYTES: u64 = 4 * 1024;
/// Descriptors that are not connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// The most devices that can be on their way at the same time.
fn at_once(plan: &Plan) -> u64 {
    let fleet = &plan.scenario.fleet;
    // Devices that live on keep their connection, whatever place they had on their way.
    let limit = fleet.max_concurrent.filter(|_| !plan.living().contains(&true));
    u64::from(limit.unwrap_or(fleet.devices).min(fleet.devices))
}

fn preflight(plan: &Plan, embedded: bool) -> Result<(), RunError> {
    let devices = u64::from(plan.scenario.fleet.devices);
    let at_once = at_once(plan);
    let ends = 1 + u64::from(embedded);
    let limit = limits::raise_descriptor_limit();
    let needed = at_once * ends + OTHER_DESCRIPTORS;
    if needed > limit {
        let fits = limit.saturating_sub(OTHER_DESCRIPTORS) / ends;
        let mut help = format!("set `fleet.max_concurrent = {fits}` (or --set fleet.max_concurrent={fits})");
        if embedded && devices + OTHER_DESCRIPTORS <= limit {
            help.push_str(", or run the mock in a process of its own (`fleetstorm mock`, then `--target`)");
        }
        return Err(RunError::Preflight(format!(
            "{at_once} devices at once need {needed} descriptors and this process may open {limit}: {help}"
        )));
    }
    let served = if embedded { SERVED_BYTES } else { 0 };
    let needed = at_once * (DEVICE_BYTES + served) + devices * IDLE_BYTES;
    if let Some(available) = audit::available_memory_bytes()
        && needed > available
    {
        let mib = |bytes: u64| bytes / (1024 * 1024);
        return Err(RunError::Preflight(format!(
            "the fleet needs some {} MiB of memory and {} MiB are available: lower `fleet.devices` or set \
             `fleet.max_concurrent`",
            mib(needed),
            mib(available)
        )));
    }
    Ok(())
}

/// Every open connection holds a port of one of this machine's addresses.
fn enough_ports(plan: &Plan, dial: &Dial) -> Result<(), RunError> {
    let Some(each) = limits::ephemeral_ports() else { return Ok(()) };
    let (ports, at_once) = (each * u64::from(dial.sources()), at_once(plan));
    if at_once <= ports {
        return Ok(());
    }
    Err(RunError::Preflight(format!(
        "{at_once} devices at once need as many ports and this machine has {ports} for {}:{}: set \
         `fleet.max_concurrent = {ports}`, or widen net.ipv4.ip_local_port_range",
        dial.host, dial.port
    )))
}

/// One connection without a request, so that a wrong address fails before a fleet is let loose on it.
fn reach(
    dial: &Arc<Dial>,
    trust: &Trust,
    ceilings: Option<&Ceilings>,
    control: &Control,
) -> Result<(), RunError> {
    let (clock, brake) = (Clock::start(), Brake::default());
    let governor = control.allowance.governor(ceilings, clock, brake.clone());
    // The first device of the fleet may be here once more.
    if !governor.permit(clock.now(), 0, Leaving::Connection)
        && let Some(Halt::Ceiling(ceiling)) = brake.held()
    {
        return Err(RunError::Ceiling { ceiling });
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::driver)?;
    let config = Arc::new(client_config(trust, fleetstorm_scenario::TlsVersions::Any, false)?);
    match runtime.block_on(dial.resolve()) {
        // That a name has no address is said below, as other ways to be out of reach.
        Ok(_) | Err(DialError::Unknown | DialError::Failed(_)) => {}
        Err(error) => return Err(RunError::DialError { what: error.told(&dial.host) }),
    }
    let error = runtime.block_on(async {
        let dialler = TlsDialler::new(Arc::clone(dial), config, clock, false);
        match tokio::time::timeout(Duration::from_secs(10), dialler.probe()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(Fault::ConnectTimeout.into()),
        }
    });
    let Some(NetError { fault, source }) = error else { return Ok(()) };
    let why = match fault {
        Fault::Dns => "its name does not resolve; check the address",
        Fault::Refused => "nothing listens there; start the mock (`fleetstorm mock`) or check the port",
        Fault::ConnectTimeout => "it does not answer within 10 s; check the address and firewalls",
        Fault::TlsUntrusted => "its certificate is not trusted; name its CA with `target.ca_file` (--ca)",
        Fault::TlsExpired => {
            "its certificate has expired or is not valid yet; renew it, or check this machine's clock"
        }
        Fault::TlsWrongName => "its certificate is for another name; set `target.server_name`",
        Fault::Protocol => "it does not speak TLS, which DPS always does",
        Fault::Closed => "it closes the connection during the TLS handshake",
        Fault::Exhausted => "this machine has no port or descriptor left",
        _ => "the TLS handshake fails",
    };
    let address = format!("{}:{}", dial.host, dial.port);
    Err(RunError::Unreachable { address, why: why.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use fleetstorm_scenario::Scenario;

    use super::*;
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
        let (doors, trust, mock) = target(&plan).unwrap();
        let (_mock, clock) = mock.unwrap();
        let look = || {
            let control = Control::default();
            residue(canaries, Some(&timeline), (&doors, &trust), clock, &control).unwrap().unwrap()
        };
        let dirty = look();
        assert!(!dirty.clean, "{dirty:?}");
        timeline.heal();
        let clean = look();
        assert!(clean.clean, "{clean:?}");
    }
}
