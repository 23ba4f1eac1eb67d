//! A device at its hub: the part of its loop that comes after DPS.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;

use fleetstorm_model::chaos::{Cut, Exchanging, Occasion, Peer};
use fleetstorm_model::device::{Credential, Decision, HubAttempt, LifeEvent, LifeHost};
use fleetstorm_net::connect::{Connect, StreamFaults};
use fleetstorm_net::exchange::{HubLink, News, Passport};
use fleetstorm_net::{ConnectTimes, NetError};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{Registration, hub};
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::{Moment, Span};

use super::{Around, Driven, Event};

/// A hostile service could name a new hub for each device; beyond this many an assignment cannot be followed.
const HUBS_MAX: usize = 4_096;

/// The hubs that a shard's devices were sent to, by number.
#[derive(Default)]
pub(crate) struct HubNames {
    names: RefCell<Vec<Rc<str>>>,
}

impl HubNames {
    fn number(&self, host: &str) -> Option<u16> {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.iter().position(|name| name.eq_ignore_ascii_case(host)) {
            return u16::try_from(known).ok();
        }
        if names.len() >= HUBS_MAX {
            return None;
        }
        names.push(host.into());
        u16::try_from(names.len() - 1).ok()
    }

    fn name(&self, number: u16) -> Option<Rc<str>> {
        self.names.borrow().get(usize::from(number)).cloned()
    }
}

impl<C: Connect> Driven<'_, C> {
    /// Connects to the hub of the assignment in hand.
    pub(super) async fn connect_hub(&mut self, number: u16, credential: Credential) -> Event {
        self.wire.hang_up();
        let (shard, cohort) = (self.around.shard, self.around.cohort);
        let Some(name) = shard.hubs.name(number) else { return Event::hub_broke(Fault::Dns) };
        let device_id = self.around.device_id.as_deref().unwrap_or(&self.around.registration_id);
        let challenge = self.wire.challenge.take();
        let token = match self.sign_for_hub(challenge, credential, hub::audience(&name, device_id)).await {
            Ok(token) => token,
            Err(Event::Broke(error)) => return Event::HubBroke(error),
            Err(event) => return event,
        };
        self.around.leave().await;
        let deadline = shard.clock.instant(self.alarm().unwrap_or(Moment::FAR));
        self.wire.connections = self.wire.connections.wrapping_add(1);
        let occasion = Occasion { peer: Peer::Hub, ..self.occasion(None) };
        let verdict = shard.chaos.as_ref().map(|chaos| chaos.connect_hub(&occasion));
        let (connecting, sending, exchanging) = verdict.unwrap_or_default();
        let reached = shard.chaos.as_ref().is_some_and(|chaos| chaos.reaches_streams());
        let stream_faults = reached.then(StreamFaults::default);
        if let Some(stream_faults) = &stream_faults {
            stream_faults.set(sending, exchanging);
        }
        let passport = Passport {
            hub: &name,
            device_id,
            token: token.as_deref(),
            keep_alive_secs: cohort.carrier.keep_alive_secs,
        };
        let attempt = async {
            let mut times = ConnectTimes::default();
            if connecting.delay > Span::ZERO {
                shard.alarms.at(shard.clock.now() + connecting.delay).await;
            }
            match connecting.cut {
                Some(Cut::Silence) => std::future::pending().await,
                Some(Cut::Broke(fault)) => return Err(fault.into()),
                None => {}
            }
            let stream =
                cohort.connect.connect_hub(&name, &self.wire.identity, stream_faults.clone()).await?;
            if let Exchanging { cut: Some(Cut::Broke(fault)), reaches_service: false, .. } = exchanging {
                return Err(NetError::from(fault));
            }
            HubLink::open(stream, &passport, shard.clock, &mut times).await
        };
        match tokio::time::timeout_at(deadline, attempt).await {
            Ok(Ok(link)) => {
                self.wire.hub = Some(Box::new(link));
                (self.wire.stream_faults, self.wire.connected) = (stream_faults, shard.clock.now());
                Event::Welcome
            }
            Ok(Err(error)) => Event::HubBroke(error),
            Err(_) => Event::Alarm,
        }
    }

    /// Sends a message, and stays connected.
    pub(super) async fn beat(&mut self) -> Event {
        if let (Some(stream_faults), Some(chaos)) = (&self.wire.stream_faults, &self.around.shard.chaos) {
            let connected = self.wire.connected;
            let exchanging = chaos.message(&Occasion { peer: Peer::Hub, connected, ..self.occasion(None) });
            if let Exchanging { cut: Some(Cut::Broke(_)), reaches_service: false, .. } = exchanging {
                self.wire.hub = None;
                return Event::hub_broke(Fault::Lost);
            }
            stream_faults.cut(exchanging);
        }
        if let Some(link) = &mut self.wire.hub {
            link.send();
        }
        self.stay().await
    }

    /// A token for the hub. A TPM first takes up the key that came with the assignment.
    async fn sign_for_hub(
        &self,
        challenge: Option<Box<[u8]>>,
        credential: Credential,
        audience: String,
    ) -> Result<Option<String>, Event> {
        let identity = self.wire.at_hub.as_ref().unwrap_or(&self.wire.identity);
        if let (Some(own), Some(challenge)) = (&self.wire.at_hub, challenge) {
            let taken = self.attest(own, move |identity| identity.answer(&challenge)).await?;
            taken.map_err(Event::attestation)?;
        }
        self.sign(identity, credential, audience).await
    }

    /// Stays connected until the alarm, or until the hub has something to say.
    pub(super) async fn stay(&mut self) -> Event {
        let shard = self.around.shard;
        let at = self.alarm().unwrap_or(Moment::FAR);
        let Some(link) = &mut self.wire.hub else { return Event::hub_broke(Fault::Closed) };
        let news = {
            let mut alarm = std::pin::pin!(shard.alarms.at(at));
            let mut news = std::pin::pin!(link.news());
            std::future::poll_fn(|context| {
                if alarm.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                news.as_mut().poll(context).map(Some)
            })
            .await
        };
        match news {
            None => {
                shard.recorder.borrow_mut().lagged(self.around.local, shard.clock.now().since(at));
                Event::Alarm
            }
            Some(News::Reprovision) => Event::Command,
            Some(News::Closed) => {
                self.wire.hub = None;
                Event::hub_broke(Fault::Lost)
            }
        }
    }
}

impl<C> LifeHost for Around<'_, C> {
    fn hub_number(&mut self, registration: &Registration) -> Option<u16> {
        self.device_id = registration
            .device_id
            .as_deref()
            .filter(|id| *id != &*self.registration_id)
            .map(|id| id.chars().take(256).collect());
        self.shard.hubs.number(registration.assigned_hub.as_deref()?)
    }

    fn chance(&mut self, count: u32) -> u64 {
        self.shard.seed.draw(Purpose::Life, self.index, count)
    }

    fn decide_at_hub(&mut self, attempt: &HubAttempt) -> Option<Decision> {
        if !self.cohort.retry.decides_at_hub() {
            return None;
        }
        let (hash, random) = (self.hash(), self.random(false));
        let decision = self.cohort.retry.decide_at_hub(&mut self.session, hash, random, attempt);
        if decision == Decision::Faulted {
            self.shard.recorder.borrow_mut().plugin_failed(self.local);
        }
        Some(decision)
    }

    fn let_in(&mut self, attempt: &HubAttempt) {
        if self.cohort.retry.decides_at_hub() {
            let (hash, random) = (self.hash(), self.random(false));
            self.cohort.retry.let_in(&mut self.session, hash, random, attempt);
        }
    }

    fn lived(&mut self, now: Moment, event: LifeEvent) {
        if event == LifeEvent::PowerLost {
            self.session.fill(0);
        }
        self.shard.recorder.borrow_mut().lived(self.local, now, event);
    }
}
