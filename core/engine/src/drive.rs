//! Drives devices: does what their machines ask for, over whatever connects them.
//!
//! One task a device, all tasks of a shard on one thread. The code knows no clock but the shard's and no socket but
//! what [`Connect`] hands it, so the live and the wired run share every line of it.

mod hub;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use fleetstorm_model::chaos::{Cut, Deciding, Exchanging, Occasion, Peer};
use fleetstorm_model::device::{
    Action, Answered, Attempt, Credential, Decision, Device, Host, Input, Life, LifeAction, LifeInput,
    LifePolicy, Observation, Policy,
};
use fleetstorm_net::aside::Aside;
use fleetstorm_net::clock::{Alarms, Clock};
use fleetstorm_net::connect::{Connect, StreamFaults};
use fleetstorm_net::deadline::Deadline;
use fleetstorm_net::exchange::{Caller, Carrier, HubLink, Link};
use fleetstorm_net::governor::{Governor, Halt, Leaving};
use fleetstorm_net::{ConnectTimes, NetError};
use fleetstorm_plugin_host::{AttestationFailed, DeviceIdentity, Retry, Session};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{Operation, OperationId, Reply, Transport};
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Moment, Span};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cause::Cause;
use crate::chaos::ShardChaos;
use crate::plan::Member;
use crate::record::{Key, Recorder};

pub(crate) use hub::HubNames;

/// A cohort as a shard drives it.
pub(crate) struct Cohort<C> {
    pub(crate) policy: Policy,
    /// How its devices live on; `None` where they are done once they have their hub.
    pub(crate) life: Option<LifePolicy>,
    pub(crate) retry: Retry,
    pub(crate) connect: C,
    pub(crate) id_scope: Arc<str>,
    pub(crate) carrier: Carrier,
}

/// The devices of one core and what they share.
pub(crate) struct Shard<C> {
    pub(crate) clock: Clock,
    pub(crate) alarms: Alarms,
    pub(crate) seed: Seed,
    pub(crate) cohorts: Vec<Cohort<C>>,
    pub(crate) recorder: RefCell<Recorder>,
    /// Faults of the devices and their network, if there are any.
    pub(crate) chaos: Option<Rc<ShardChaos>>,
    pub(crate) governor: Governor,
    pub(crate) hubs: HubNames,
    /// Where attestations work that may wait for hardware; `None` where nobody is held up by that.
    pub(crate) aside: Option<Aside>,
}

impl<C> Shard<C> {
    /// What its devices have done; nothing of what they do later is kept.
    pub(crate) fn take_recorder(&self) -> Recorder {
        let recorder = self.recorder.borrow();
        let nobody = Recorder::new(Vec::new(), self.cohorts.len(), Arc::default(), recorder.rest());
        drop(recorder);
        self.recorder.replace(nobody)
    }
}

/// Boots the members of a shard as their moments come and drives each to its end.
///
/// With `limit`, no more than that many are on their way at once: a device without a place boots when it gets one, and
/// how long it was held back is recorded as such, neither as lag nor as the service's time.
///
/// A device that panics stops the run and not this shard: what was recorded until then is kept.
pub(crate) async fn drive_all<C: Connect + 'static>(
    shard: Rc<Shard<C>>,
    members: Vec<Member>,
    limit: Option<usize>,
    horizon: Moment,
) {
    let rest = shard.recorder.borrow().rest();
    if let Some(chaos) = shard.chaos.clone().filter(|chaos| chaos.cuts_power()) {
        let (shard, rest) = (Rc::clone(&shard), rest.clone());
        rest.hold();
        tokio::task::spawn_local(async move {
            chaos.watch_power(shard.clock, &shard.alarms, horizon).await;
            rest.release();
        });
    }
    let places = limit.map(|limit| Rc::new(Semaphore::new(limit)));
    // Local indices are the order of `members`; boots follow the schedule.
    let mut order: Vec<(usize, Member)> = members.into_iter().enumerate().collect();
    order.sort_by_key(|(local, member)| (member.arrival, *local));
    let mut order = order.into_iter().peekable();
    let mut held: VecDeque<Held> = VecDeque::new();
    let mut tasks = JoinSet::new();
    loop {
        let next = order.peek().map(|(_, member)| member.arrival);
        tokio::select! {
            biased;
            () = shard.alarms.at(next.unwrap_or(Moment::FAR)), if next.is_some() => {
                let Some((local, member)) = order.next() else { continue };
                shard.recorder.borrow_mut().dispatched();
                let boot = member.arrival;
                let Some(places) = &places else {
                    tasks.spawn_local(one(Rc::clone(&shard), local, member, None, None, boot));
                    continue;
                };
                let mut asking = Box::pin(Place::of(Rc::clone(places)));
                match poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await {
                    Poll::Ready(place) => {
                        let places = Some(Rc::clone(places));
                        tasks.spawn_local(one(Rc::clone(&shard), local, member, places, place, boot));
                    }
                    Poll::Pending => held.push_back((local, member, asking)),
                }
            }
            place = first(&mut held), if !held.is_empty() => {
                let Some((local, member, _)) = held.pop_front() else { continue };
                let boot = shard.clock.now();
                shard.recorder.borrow_mut().held(local, boot.since(member.arrival));
                tasks.spawn_local(one(Rc::clone(&shard), local, member, places.clone(), place, boot));
            }
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended
                    && let Ok(panic) = error.try_into_panic()
                {
                    rest.abort(Halt::broken(&*panic));
                }
            }
            else => return,
        }
    }
}

/// A device that waits for a place.
type Held = (usize, Member, Pin<Box<dyn Future<Output = Option<Place>>>>);

/// The place of the device that has waited longest.
async fn first(held: &mut VecDeque<Held>) -> Option<Place> {
    match held.front_mut() {
        Some((_, _, asking)) => asking.await,
        None => None,
    }
}

/// Drives one device to its end.
async fn one<C: Connect + 'static>(
    shard: Rc<Shard<C>>,
    local: usize,
    member: Member,
    places: Option<Rc<Semaphore>>,
    place: Option<Place>,
    boot: Moment,
) {
    match &shard.chaos {
        Some(chaos) if chaos.cuts_power() => {
            // Boxed, so that devices whose power is safe do not carry this.
            Box::pin(powered(&shard, chaos, local, &member, places, place, boot)).await;
        }
        _ => {
            Driven::new(&shard, local, &member, places, place).run(boot).await;
        }
    }
}

/// Drives a device that can lose its power. What it holds in memory is lost with it, and so is its place among the devices
/// on their way.
async fn powered<C: Connect>(
    shard: &Shard<C>,
    chaos: &ShardChaos,
    local: usize,
    member: &Member,
    places: Option<Rc<Semaphore>>,
    mut place: Option<Place>,
    mut boot: Moment,
) {
    let mut socket = chaos.socket();
    let holds = || shard.recorder.borrow().is_assigned(local);
    let rest = shard.recorder.borrow().rest();
    let mut connections = 0;
    loop {
        let crash = chaos.crash(&Occasion::of(shard.clock.now(), member.index, None));
        // A device whose firmware will crash is not at rest, wherever it stands.
        let restless = crash.map(|_| rest.held());
        let mut crashed = pin!(shard.alarms.at(crash.unwrap_or(Moment::FAR)));
        let mut driven = Driven::new(shard, local, member, places.clone(), place.take());
        driven.wire.connections = connections;
        let back = tokio::select! {
            biased;
            Some(back) = socket.fails(chaos, member.index, holds) => back,
            () = &mut crashed, if crash.is_some() => shard.clock.now(),
            ended = driven.run(boot) => {
                connections = ended.connections;
                match ended.reboots {
                    Some(back) => back,
                    None => tokio::select! {
                        biased;
                        Some(back) = socket.fails(chaos, member.index, holds) => back,
                        () = &mut crashed, if crash.is_some() => shard.clock.now(),
                        else => return,
                    },
                }
            }
        };
        // The numbers of connections stay apart although nobody counted those before the power failed.
        connections += 1 << 16;
        shard.recorder.borrow_mut().powered_off(local, shard.clock.now());
        drop(restless);
        boot = back;
        loop {
            shard.alarms.at(boot).await;
            // What began meanwhile may last longer.
            match socket.has_failed(chaos, member.index, false) {
                Some(later) => boot = boot.max(later),
                None => break,
            }
        }
        if let Some(places) = &places {
            let free = places.available_permits() > 0;
            place = Place::of(Rc::clone(places)).await;
            if !free {
                let asked = std::mem::replace(&mut boot, shard.clock.now());
                shard.recorder.borrow_mut().held(local, boot.since(asked));
                socket.skip(chaos);
            }
        }
    }
}

/// A place among the devices on their way, given back when dropped.
struct Place {
    places: Rc<Semaphore>,
}

impl Place {
    /// A place when there is one; those who asked before come first.
    async fn of(places: Rc<Semaphore>) -> Option<Self> {
        places.acquire().await.ok()?.forget();
        Some(Self { places })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.add_permits(1);
    }
}

/// One device, its wire and its place in the shard.
struct Driven<'a, C: Connect> {
    member: &'a Member,
    /// Whether it goes by the name of the device whose image it was made from.
    is_copy: bool,
    device: Device,
    life: Option<Box<Life>>,
    /// What the place is one of, where a scenario limits how many there are.
    places: Option<Rc<Semaphore>>,
    /// A device that parks gives it to another one, and so does one that lives on when it has come to its hub or waits to
    /// try it again.
    place: Option<Place>,
    wire: Wire<C::Stream>,
    around: Around<'a, C>,
}

/// What a device holds in the world.
struct Wire<S: AsyncRead + AsyncWrite + Unpin + 'static> {
    link: Option<Link<S>>,
    hub: Option<Box<HubLink<S>>>,
    caller: Caller,
    identity: Arc<DeviceIdentity>,
    /// As [`Member::at_hub`].
    at_hub: Option<Arc<DeviceIdentity>>,
    /// The credential that `caller` presents.
    presented: Option<Credential>,
    /// What a reply carried for the device's TPM, until it has been taken up.
    challenge: Option<Box<[u8]>>,
    deadline: Deadline,
    /// Connections that were opened, and when the last one was.
    connections: u32,
    connected: Moment,
    /// What faults do to the open connection, if there are any of the network.
    stream_faults: Option<StreamFaults>,
}

/// What a device asks of its surroundings.
struct Around<'a, C> {
    shard: &'a Shard<C>,
    cohort: &'a Cohort<C>,
    local: usize,
    index: u32,
    registration_id: Box<str>,
    /// Its name at its hub, where that is another one.
    device_id: Option<Box<str>>,
    session: Session,
    draws: u32,
    /// Whether the next request goes with the connection that was made for it.
    along: bool,
    /// How the attempt failed that has just ended, until it is explained.
    failed: Option<Key>,
}

impl Event {
    /// The same for a request or a connection, and for the connection to a hub.
    fn broke(error: impl Into<NetError>) -> Self {
        Self::Broke(error.into())
    }

    fn hub_broke(error: impl Into<NetError>) -> Self {
        Self::HubBroke(error.into())
    }

    fn attestation(failed: AttestationFailed) -> Self {
        Self::Broke(NetError::new(Fault::Attestation, failed))
    }

    /// What lay under a failure, if this is one and somebody said something about it.
    fn cause(&self) -> Option<Cause<'_>> {
        match self {
            Self::Broke(error) | Self::HubBroke(error) => Cause::of(error),
            Self::Reply(reply) => Cause::of_body(&reply.body),
            Self::Connected
            | Self::Answered
            | Self::Alarm
            | Self::Resume(_)
            | Self::Welcome
            | Self::Command => None,
        }
    }
}

/// How a device ended.
struct Ended {
    /// Connections that it opened.
    connections: u32,
    /// When it is back, if it rebooted.
    reboots: Option<Moment>,
}

/// What the world did.
enum Event {
    Connected,
    Reply(Reply),
    Broke(NetError),
    Answered,
    Alarm,
    /// A device that has parked was held back until this moment, and goes on.
    Resume(Moment),
    /// The hub let the device in.
    Welcome,
    HubBroke(NetError),
    /// The hub told the device to provision again.
    Command,
}

impl<'a, C: Connect> Driven<'a, C> {
    fn new(
        shard: &'a Shard<C>,
        local: usize,
        member: &'a Member,
        places: Option<Rc<Semaphore>>,
        place: Option<Place>,
    ) -> Self {
        let cohort = &shard.cohorts[usize::from(member.cohort)];
        let caller = Caller::new(
            &cohort.carrier,
            Arc::clone(&cohort.id_scope),
            member.registration_id.clone(),
            member.identity.enrol().as_deref(),
        );
        Self {
            member,
            is_copy: false,
            device: Device::new(),
            life: cohort.life.as_ref().map(|_| Box::new(Life::new())),
            places,
            place,
            wire: Wire {
                link: None,
                hub: None,
                caller,
                identity: Arc::clone(&member.identity),
                at_hub: member.at_hub.clone(),
                presented: None,
                challenge: None,
                deadline: Deadline::default(),
                connections: 0,
                connected: Moment::START,
                stream_faults: None,
            },
            around: Around {
                shard,
                cohort,
                local,
                index: member.index,
                registration_id: member.registration_id.as_str().into(),
                device_id: None,
                session: cohort.retry.session(),
                draws: 0,
                along: false,
                failed: None,
            },
        }
    }

    /// Runs the device from its boot to its end, or until it reboots.
    async fn run(mut self, arrival: Moment) -> Ended {
        let shard = self.around.shard;
        let now = shard.clock.now();
        {
            let mut recorder = shard.recorder.borrow_mut();
            recorder.booted(self.around.local, now);
            recorder.lagged(self.around.local, now.since(arrival));
        }
        let mut action = self.step(LifeInput::Dps(Input::Boot { intended: arrival }));
        loop {
            let event = match action {
                LifeAction::Dps(Action::Finish) => {
                    self.wire.hang_up();
                    return Ended { connections: self.wire.connections, reboots: None };
                }
                LifeAction::Dps(action) => self.register(action).await,
                // Boxed, so that devices which only register do not carry this state.
                LifeAction::ConnectHub { hub, credential } => {
                    Box::pin(self.connect_hub(hub, credential)).await
                }
                LifeAction::Heartbeat => Box::pin(self.beat()).await,
                LifeAction::Stay => {
                    self.place = None;
                    Box::pin(self.stay()).await
                }
                LifeAction::Sleep => {
                    if self.life.as_ref().is_some_and(|life| life.waits_for_hub()) {
                        self.place = None;
                    }
                    self.wire.hang_up();
                    self.wait().await
                }
            };
            let knew = self.device.operation().is_some();
            action = match &event {
                Event::Connected => self.step(LifeInput::Dps(Input::Connected)),
                Event::Reply(reply) => self.step(LifeInput::Dps(Input::Reply(reply))),
                Event::Broke(error) => self.step(LifeInput::Dps(Input::Broke(error.fault))),
                Event::Answered => self.step(LifeInput::Dps(Input::Answered)),
                Event::Alarm => self.step(LifeInput::Alarm),
                Event::Resume(intended) => self.step(LifeInput::Dps(Input::Resume { intended: *intended })),
                Event::Welcome => self.step(LifeInput::Welcome),
                Event::HubBroke(error) => self.step(LifeInput::HubBroke(error.fault)),
                Event::Command => self.step(LifeInput::Command),
            };
            if let Some(key) = self.around.failed.take() {
                self.around.explain(key, event.cause());
            }
            if !knew
                && self.device.operation().is_some()
                && let Some(chaos) = &shard.chaos
                && let Some(back) = chaos.reboot(&Occasion::of(shard.clock.now(), self.around.index, None))
            {
                return Ended { connections: self.wire.connections, reboots: Some(back) };
            }
            if let Event::Reply(reply) = event
                && let Some(challenge) = reply.body.into_challenge()
            {
                self.wire.challenge = Some(challenge);
            }
        }
    }

    /// Does what the registration machine wants.
    async fn register(&mut self, action: Action) -> Event {
        match action {
            Action::Connect { credential } => self.connect(credential).await,
            Action::Send { operation, operation_id, credential } => {
                self.send(operation, operation_id, credential).await
            }
            Action::Answer => self.answer().await,
            Action::Wait { keep_connection } => {
                if !keep_connection {
                    self.wire.hang_up();
                }
                self.wait().await
            }
            // Only a connection that closed under a waiting device leads here: go on waiting. The end of a device is
            // its caller's.
            Action::Ignore | Action::Finish => self.wait().await,
        }
    }

    fn step(&mut self, input: LifeInput<'_>) -> LifeAction {
        let now = self.around.shard.clock.now();
        let cohort = self.around.cohort;
        let off = self
            .around
            .shard
            .chaos
            .as_ref()
            .and_then(|chaos| chaos.policy(&Occasion::of(now, self.around.index, None), &cohort.policy));
        let policy = off.as_ref().unwrap_or(&cohort.policy);
        match (&mut self.life, &cohort.life, input) {
            (Some(life), Some(rules), input) => {
                life.step(&mut self.device, now, input, (policy, rules), &mut self.around)
            }
            (_, _, LifeInput::Dps(input)) => {
                LifeAction::Dps(self.device.step(now, input, policy, &mut self.around))
            }
            (_, _, LifeInput::Alarm) => {
                LifeAction::Dps(self.device.step(now, Input::Alarm, policy, &mut self.around))
            }
            // A device that does not live on has no hub that could say these.
            _ => LifeAction::Dps(Action::Ignore),
        }
    }

    /// What is happening, for the rules about faults.
    fn occasion(&self, operation: Option<Operation>) -> Occasion {
        let now = self.around.shard.clock.now();
        Occasion {
            now,
            device: self.around.index,
            operation,
            connection: self.wire.connections,
            connected: if operation.is_some() { self.wire.connected } else { now },
            peer: Peer::Dps,
        }
    }

    /// When the device wants to be woken.
    fn alarm(&self) -> Option<Moment> {
        match (&self.life, &self.around.cohort.life) {
            (Some(life), Some(rules)) => life.alarm(&self.device, rules),
            _ => self.device.alarm(),
        }
    }

    /// Takes up the name and the keys of the device whose image it was made from, or its own again.
    fn go_by(&mut self, as_copy: bool) {
        let Some(image) = self.member.image.as_deref().filter(|_| as_copy != self.is_copy) else { return };
        let own = (&self.member.registration_id, &self.member.identity);
        let (name, identity) = if as_copy { (&image.0, &image.1) } else { own };
        let cohort = self.around.cohort;
        self.wire.caller = Caller::new(
            &cohort.carrier,
            Arc::clone(&cohort.id_scope),
            name.clone(),
            identity.enrol().as_deref(),
        );
        self.wire.identity = Arc::clone(identity);
        self.wire.presented = None;
        self.is_copy = as_copy;
    }

    async fn connect(&mut self, credential: Credential) -> Event {
        self.wire.hang_up();
        let (shard, cohort) = (self.around.shard, self.around.cohort);
        self.around.leave().await;
        // Over MQTT and AMQP a device proves itself to the service before its first request.
        self.around.along = cohort.carrier.transport == Transport::Https;
        self.wire.connections = self.wire.connections.wrapping_add(1);
        let verdict = shard.chaos.as_ref().map(|chaos| chaos.connect(&self.occasion(None)));
        let verdict = verdict.unwrap_or_default();
        self.go_by(verdict.in_the_name_of.is_some());
        if cohort.policy.credential_by_connection
            && let Err(event) = self.present(credential).await
        {
            return event;
        }
        let deadline = shard.clock.instant(self.alarm().unwrap_or(Moment::FAR));
        let reached = shard.chaos.as_ref().is_some_and(|chaos| chaos.reaches_streams());
        self.wire.stream_faults = reached.then(StreamFaults::default);
        // Boxed, so that a connected device does not carry the handshake's state for the rest of its life.
        let attempt = Box::pin(async {
            if verdict.delay > Span::ZERO {
                shard.alarms.at(shard.clock.now() + verdict.delay).await;
            }
            match verdict.cut {
                Some(Cut::Silence) => std::future::pending().await,
                Some(Cut::Broke(fault)) => return (Err(fault.into()), ConnectTimes::default()),
                None => {}
            }
            match cohort.connect.connect(&self.wire.identity, self.wire.stream_faults.clone()).await {
                (Ok(stream), mut times) => {
                    let link = Link::open(stream, &cohort.carrier, &self.wire.caller, &mut times).await;
                    (link, times)
                }
                (Err(error), times) => (Err(error), times),
            }
        });
        let (result, times) = match tokio::time::timeout_at(deadline, attempt).await {
            Ok(ended) => ended,
            Err(_) => return Event::Alarm,
        };
        shard.recorder.borrow_mut().connect_times(self.around.local, times, self.device.lag());
        match result {
            Ok(link) => {
                self.wire.link = Some(link);
                self.wire.connected = shard.clock.now();
                Event::Connected
            }
            Err(error) => Event::Broke(error),
        }
    }

    async fn send(&mut self, operation: Operation, id: Option<OperationId>, credential: Credential) -> Event {
        let shard = self.around.shard;
        let deadline = self.alarm().unwrap_or(Moment::FAR);
        if self.around.cohort.policy.credential_by_connection {
            // The token ran out between connecting and sending: the connection's is the old one.
            if self.wire.presented != Some(credential) {
                self.wire.hang_up();
                return Event::broke(Fault::Closed);
            }
        } else if let Err(event) = self.present(credential).await {
            return event;
        }
        if let Some(stream_faults) = self.wire.stream_faults.clone()
            && let Some(event) = self.stream_faults(&stream_faults, operation, deadline).await
        {
            return event;
        }
        let wire = &mut self.wire;
        let Some(link) = &mut wire.link else { return Event::broke(Fault::Closed) };
        let result = {
            let mut exchange = pin!(link.exchange(&wire.caller, operation, id.as_ref()));
            let mut deadline = wire.deadline.until(shard.clock.instant(deadline));
            poll_fn(|context| match exchange.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => deadline.poll(context).map(|()| None),
            })
            .await
        };
        match result {
            Some(Ok(reply)) => Event::Reply(reply),
            Some(Err(error)) => {
                wire.link = None;
                Event::Broke(error)
            }
            None => {
                wire.link = None;
                Event::Alarm
            }
        }
    }

    /// Lets faults of the network act on the request that is about to leave; returns what it comes to if they end it.
    async fn stream_faults(
        &mut self,
        stream_faults: &StreamFaults,
        operation: Operation,
        deadline: Moment,
    ) -> Option<Event> {
        let shard = self.around.shard;
        let chaos = shard.chaos.as_ref()?;
        let (sending, exchanging) = chaos.send(&self.occasion(Some(operation)));
        if let Exchanging { cut: Some(Cut::Broke(fault)), reaches_service: false, .. } = exchanging {
            self.wire.link = None;
            return Some(Event::broke(fault));
        }
        if sending.delay > Span::ZERO {
            let until = shard.clock.now() + sending.delay;
            shard.alarms.at(until.min(deadline)).await;
            if until >= deadline {
                self.wire.link = None;
                return Some(Event::Alarm);
            }
        }
        stream_faults.set(sending, exchanging);
        None
    }

    async fn answer(&mut self) -> Event {
        let Some(challenge) = self.wire.challenge.take() else { return Event::broke(Fault::Attestation) };
        self.wire.presented = None;
        match self.attest(&self.wire.identity, move |identity| identity.answer(&challenge)).await {
            Ok(Ok(())) => Event::Answered,
            Ok(Err(failed)) => Event::attestation(failed),
            Err(event) => event,
        }
    }

    /// Makes the token that `credential` asks for, unless it is the one in hand.
    async fn present(&mut self, credential: Credential) -> Result<(), Event> {
        if self.wire.presented == Some(credential) {
            return Ok(());
        }
        let token = self.sign(&self.wire.identity, credential, self.wire.caller.audience()).await?;
        self.wire.caller.authorize(token.as_deref()).map_err(Event::Broke)?;
        self.wire.presented = Some(credential);
        Ok(())
    }

    /// A token for this audience; `None` for a device that proves itself in another way.
    async fn sign(
        &self,
        identity: &Arc<DeviceIdentity>,
        credential: Credential,
        audience: String,
    ) -> Result<Option<String>, Event> {
        if credential.expires_unix_secs == 0 {
            return Ok(None);
        }
        let sign = move |identity: &DeviceIdentity| {
            let mut token = String::new();
            identity.authorize(credential.slot, &audience, credential.expires_unix_secs, &mut token)?;
            Ok::<_, AttestationFailed>(token)
        };
        let token = self.attest(identity, sign).await?.map_err(Event::attestation)?;
        Ok(Some(token).filter(|token| !token.is_empty()))
    }

    /// Has the attestation do something: at once, or beside the event loop if it may wait for hardware. The alarm rings
    /// meanwhile.
    async fn attest<T: Send + 'static>(
        &self,
        identity: &Arc<DeviceIdentity>,
        work: impl FnOnce(&DeviceIdentity) -> T + Send + 'static,
    ) -> Result<T, Event> {
        let shard = self.around.shard;
        let Some(aside) = shard.aside.as_ref().filter(|_| identity.may_block()) else {
            return Ok(work(identity));
        };
        let identity = Arc::clone(identity);
        let deadline = shard.clock.instant(self.alarm().unwrap_or(Moment::FAR));
        // Boxed, so that a device which never waits for hardware does not carry this.
        let done = Box::pin(aside.call(move || work(&identity)));
        match tokio::time::timeout_at(deadline, done).await {
            Ok(Some(result)) => Ok(result),
            Ok(None) => Err(Event::Broke(NetError::new(Fault::Attestation, "attestation: its thread ended"))),
            Err(_) => Err(Event::Alarm),
        }
    }

    /// Waits for the alarm, or for the peer to close the idle connection.
    async fn wait(&mut self) -> Event {
        let shard = self.around.shard;
        let at = self.alarm().unwrap_or(Moment::FAR);
        let registering = self.life.as_ref().is_none_or(|life| life.is_registering());
        let parked = registering && self.device.is_parked();
        if parked {
            self.place = None;
        }
        if let Some(link) = &mut self.wire.link {
            let closed = {
                let mut alarm = pin!(shard.alarms.at(at));
                let mut closed = pin!(link.closed());
                poll_fn(|context| {
                    if alarm.as_mut().poll(context).is_ready() {
                        return Poll::Ready(false);
                    }
                    closed.as_mut().poll(context).map(|()| true)
                })
                .await
            };
            if closed {
                self.wire.link = None;
                return Event::broke(Fault::Closed);
            }
        } else {
            shard.alarms.at(at).await;
        }
        let now = shard.clock.now();
        shard.recorder.borrow_mut().lagged(self.around.local, now.since(at));
        // The alarm of a device that lives on may be for its power rather than for its registration.
        if parked && self.device.alarm().is_some_and(|wakes| wakes <= now) {
            return self.wake(now).await;
        }
        Event::Alarm
    }

    /// Takes a place again after parking, when there is one.
    async fn wake(&mut self, asked: Moment) -> Event {
        let shard = self.around.shard;
        let mut event = Event::Alarm;
        if let Some(places) = self.places.clone() {
            let free = places.available_permits() > 0;
            // Boxed, so that devices which never park do not carry this.
            self.place = Box::pin(Place::of(places)).await;
            if !free {
                let now = shard.clock.now();
                shard.recorder.borrow_mut().held(self.around.local, now.since(asked));
                event = Event::Resume(now);
            }
        }
        shard.recorder.borrow_mut().woke(self.around.local, shard.clock.now());
        event
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Wire<S> {
    fn hang_up(&mut self) {
        if let Some(link) = self.link.take() {
            link.hang_up();
        }
        if let Some(link) = self.hub.take() {
            link.hang_up();
        }
    }
}

impl<C> Host for Around<'_, C> {
    fn admit(&mut self, attempt: &Attempt) -> Decision {
        let (hash, random) = (self.hash(), self.random(self.deciding(attempt).equal_seeds));
        self.cohort.retry.admit(&mut self.session, hash, random, attempt)
    }

    fn decide(&mut self, attempt: &Attempt) -> Decision {
        let deciding = self.deciding(attempt);
        if let Some(wait) = deciding.wait {
            return Decision::Wait(wait);
        }
        let (hash, random) = (self.hash(), self.random(deciding.equal_seeds));
        let failures = attempt.failures.saturating_add(deciding.failures);
        self.cohort.retry.decide(&mut self.session, hash, random, &Attempt { failures, ..*attempt })
    }

    fn answered(&mut self, answer: impl FnOnce() -> Attempt, assigned: bool) -> Answered {
        if !self.cohort.retry.paces_polls() {
            return Answered::AsUsual;
        }
        let (hash, random) = (self.hash(), self.random(false));
        self.cohort.retry.answered(&mut self.session, hash, random, (&answer(), assigned))
    }

    fn settled(&mut self, attempt: &Attempt) {
        let (hash, random) = (self.hash(), self.random(false));
        self.cohort.retry.settled(&mut self.session, hash, random, attempt);
    }

    fn poll_jitter(&mut self, count: u32) -> u64 {
        self.shard.seed.draw(Purpose::Poll, self.index, count)
    }

    fn permit(&mut self, now: Moment, operation: Operation) -> bool {
        let along = std::mem::take(&mut self.along);
        let leaving = if along { Leaving::Along(operation) } else { Leaving::Request(operation) };
        self.shard.governor.permit(now, self.index, leaving)
    }

    fn observe(&mut self, now: Moment, observation: Observation<'_>) {
        if let (Some(chaos), Observation::Assigned { .. }) = (&self.shard.chaos, observation) {
            chaos.assigned(now);
        }
        if let Some(failed) = Key::of_failure(&observation) {
            self.failed = Some(failed);
        }
        self.shard.recorder.borrow_mut().observe(self.local, now, observation);
    }
}

impl<C> Around<'_, C> {
    /// Keeps and logs what lay under a failure.
    fn explain(&self, key: Key, cause: Option<Cause<'_>>) {
        let Some(cause) = cause else { return };
        tracing::debug!(device = &*self.registration_id, what = %key, cause = cause.told(), "failed");
        self.shard.recorder.borrow_mut().explain(key, cause);
    }

    /// Returns if a connection may be made; if not, the run is being stopped, and this device with it.
    async fn leave(&self) {
        if !self.shard.governor.permit(self.shard.clock.now(), self.index, Leaving::Connection) {
            std::future::pending::<()>().await;
        }
    }

    /// What faults make of the device's own decision.
    fn deciding(&self, attempt: &Attempt) -> Deciding {
        let occasion = || Occasion::of(attempt.now, self.index, Some(attempt.operation));
        self.shard.chaos.as_ref().map(|chaos| chaos.decide(&occasion())).unwrap_or_default()
    }

    /// The draws of this device's strategy, in the order in which it is asked. With `equal_seeds` they are those of
    /// device 0.
    fn random(&mut self, equal_seeds: bool) -> [u64; 2] {
        let count = self.draws;
        self.draws = self.draws.wrapping_add(1);
        let seed = self.shard.seed;
        let device = if equal_seeds { 0 } else { self.index };
        seed.pair(Purpose::Retry, u64::from(device), count)
    }

    /// A number that stays with the device from run to run.
    fn hash(&self) -> u64 {
        Seed(0).draw(Purpose::DeviceHash, self.index, 0)
    }
}
