//! IoT hubs behind the MQTT door: a device that DPS has assigned connects under its hub's name.
//!
//! A hub lets it in when the service machine says so, takes its messages, shows it its twin, renews its certificate, and
//! calls the direct method `Reprovision` where its plan has one. It remembers what a device listens to that does not ask for
//! a clean session. A hub that throttles closes the connection without a word, as the real one does.

use std::rc::Rc;

use fleetstorm_model::service::{Evidence as _, HubEvent, Standing, Token, Welcome};
use fleetstorm_protocol::mqtt::packet::{Connect, Packet, Publish, QoS, Subscribe, SubscribeFilter};
use fleetstorm_protocol::mqtt::{Connack, Heard, Owed};
use fleetstorm_protocol::{credentials, hub as spelling};
use fleetstorm_units::time::{Moment, Span};
use tokio::io::{AsyncRead, AsyncWrite};

use super::House;
use super::line::{Event, Line};
use super::sessions::Seat;
use super::webhooks;
use crate::evidence::{Peer, Presented};

/// Whether a CONNECT is for one of the mock's hubs.
pub(super) fn is_meant(house: &House, connect: &Connect) -> bool {
    let hub = connect.login.as_ref().and_then(|login| spelling::read_user_name(&login.username));
    hub.is_some_and(|(host, _)| house.service.borrow().hub_at(host).is_some())
}

/// Serves a device's connection with its hub until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    house: &Rc<House>,
    mut line: Line<'_, S>,
    peer: &Peer,
    connect: Connect,
) {
    let greeting = Box::pin(greet(house, &mut line, peer, connect));
    let Some(guest) = greeting.await else { return };
    let mut talk = Talk { house, peer, guest, line, calls: 0, seen: house.clock.now() };
    talk.run().await;
    talk.line.end().await;
}

/// A device that has been let in.
struct Guest {
    standing: Standing,
    device_id: Box<str>,
    seat: Seat,
    /// The token that it connected with.
    token: Option<Box<str>>,
    /// The name of its session, if its hub is to remember it.
    session: Option<Box<str>>,
}

/// Answers the CONNECT; `None` if the device was not let in.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    house: &Rc<House>,
    line: &mut Line<'_, S>,
    peer: &Peer,
    connect: Connect,
) -> Option<Guest> {
    let login = connect.login.as_ref()?;
    let (host, device_id) = spelling::read_user_name(&login.username)?;
    if connect.client_id != device_id {
        line.refuse(Connack::Identifier).await;
        return None;
    }
    house.lag().await;
    let (standing, welcome) = {
        let mut service = house.service.borrow_mut();
        let hub = service.hub_at(host)?;
        let presented = Presented::new(peer, Some(&*login.password).filter(|token| !token.is_empty()));
        let expires = match presented.token() {
            Token::Claims { expires_unix_secs, .. } if presented.certificate().is_none() => expires_unix_secs,
            _ => 0,
        };
        let welcome = service.connect_hub(house.clock.now(), hub, device_id, &presented);
        (service.standing(hub, device_id, expires), welcome)
    };
    match welcome {
        Welcome::Closed => return None,
        Welcome::Refused(code) => {
            line.refuse(code).await;
            return None;
        }
        Welcome::Accepted { delay } => {
            if delay > Span::ZERO {
                tokio::time::sleep(delay.into()).await;
            }
            peer.proved();
        }
    }
    let name = format!("{host}/{device_id}");
    line.accept(house.sessions.resume(&name, connect.clean_session)).await?;
    Some(Guest {
        standing,
        device_id: device_id.into(),
        // The session that a device has with DPS goes by the bare name.
        seat: house.sessions.take(&name),
        token: Some(&*login.password).filter(|token| !token.is_empty()).map(Into::into),
        session: (!connect.clean_session).then(|| name.into()),
    })
}

/// A device and its hub after the CONNACK.
struct Talk<'a, S> {
    house: &'a Rc<House>,
    peer: &'a Peer,
    guest: Guest,
    line: Line<'a, S>,
    calls: u32,
    /// Up to when the hub's plan has been carried out.
    seen: Moment,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn run(&mut self) {
        loop {
            let planned = self.planned();
            let due = planned.map_or(Moment::FAR, |(due, _)| due).min(self.renewal_due());
            let done = match self.line.next(Some(&self.guest.seat), due, true).await {
                Event::Packet(packet) => self.take(packet),
                Event::Due => self.act(planned),
                Event::Over => return,
            };
            if done.is_none() {
                return;
            }
        }
    }

    /// What the hub's plan has next.
    fn planned(&self) -> Option<(Moment, HubEvent)> {
        self.house.service.borrow().hub_event(self.seen, &self.guest.standing)
    }

    /// Does what is due: what was planned goes before what the device has been promised.
    fn act(&mut self, planned: Option<(Moment, HubEvent)>) -> Option<()> {
        match planned {
            Some((due, event)) if due <= self.house.clock.now() => {
                self.seen = due;
                match event {
                    HubEvent::Command => self.call(),
                    HubEvent::Closed => None,
                }
            }
            _ => self.tell_renewal(),
        }
    }

    /// Handles a packet; `None` ends the connection once what is queued has left.
    fn take(&mut self, packet: Packet) -> Option<()> {
        match self.line.take(packet)? {
            Heard::Publish(publish, owed) => self.publish(&publish, owed),
            Heard::Subscribe(subscribe) => {
                self.subscribe(&subscribe);
                Some(())
            }
            Heard::Unsubscribed => {
                self.remember();
                Some(())
            }
            Heard::Ping | Heard::Acknowledged(_) => Some(()),
            Heard::Connect(_) | Heard::Disconnect => None,
        }
    }

    fn publish(&mut self, publish: &Publish, owed: Option<Owed>) -> Option<()> {
        if let Some(owed) = owed {
            let (server, mut out) = self.line.ends();
            server.acknowledge(owed, &mut out);
        }
        if spelling::is_message_topic(&publish.topic, &self.guest.device_id) {
            self.house.service.borrow_mut().hub_heard(self.guest.standing.hub);
            return Some(());
        }
        if let Some(rid) = spelling::read_twin_get(&publish.topic) {
            return self.show_twin(rid);
        }
        if let Some(rid) = credentials::read_request_topic(&publish.topic) {
            return self.renew(rid, &publish.payload);
        }
        spelling::is_method_answer(&publish.topic).then_some(())
    }

    /// Takes a request for a certificate. One that nobody can be answered about is carried out all the same (`dps` 18.6).
    fn renew(&mut self, rid: Option<&str>, body: &[u8]) -> Option<()> {
        let now = self.house.clock.now();
        let Some(rid) = rid else { return self.unanswerable() };
        let answer = {
            let presented = Presented::new(self.peer, self.guest.token.as_deref());
            self.house.service.borrow_mut().renew(now, &self.guest.device_id, rid, body, &presented)
        };
        webhooks::run_errands(self.house);
        if !self.listens_to(credentials::ANSWERS) {
            return self.unanswerable();
        }
        self.tell(rid, &answer)
    }

    fn unanswerable(&self) -> Option<()> {
        (!self.house.service.borrow().cuts_unanswerable_renewals()).then_some(())
    }

    /// When the answer to a request for a certificate is to be told, or would have been.
    fn renewal_due(&self) -> Moment {
        let service = self.house.service.borrow();
        if !self.listens_to(credentials::ANSWERS) && service.holds_renewals() {
            return Moment::FAR;
        }
        service.renewal_due(&self.guest.device_id).unwrap_or(Moment::FAR)
    }

    fn tell_renewal(&mut self) -> Option<()> {
        let now = self.house.clock.now();
        let since = self.line.server.listens_to(credentials::ANSWERS).map(|known| known.since);
        let told = self.house.service.borrow_mut().take_renewal(now, &self.guest.device_id, since);
        match told {
            Some((rid, answer)) => self.tell(&rid, &answer),
            None => Some(()),
        }
    }

    /// Tells a device about its certificate, at the quality of service that it listens at.
    fn tell(&mut self, rid: &str, answer: &credentials::Answer) -> Option<()> {
        let (mut topic, mut body) = (String::with_capacity(64), Vec::with_capacity(256));
        credentials::answer_topic(answer.status(), rid, &mut topic);
        answer.write(&mut body);
        self.say(credentials::ANSWERS, topic, QoS::AtLeastOnce, body)
    }

    fn listens_to(&self, filter: &str) -> bool {
        self.line.server.listens_to(filter).is_some()
    }

    /// Publishes to a device that listens under this filter, and to no other.
    fn say(&mut self, filter: &str, topic: String, qos: QoS, body: Vec<u8>) -> Option<()> {
        if !self.listens_to(filter) {
            return Some(());
        }
        let (server, mut out) = self.line.ends();
        server.publish(topic, qos, body, &mut out).ok().map(drop)
    }

    /// Lets the hub remember what the device listens to, if it asked for that.
    fn remember(&self) {
        if let Some(session) = &self.guest.session {
            self.house.sessions.keep(session, self.line.server.listens());
        }
    }

    /// Answers a device that asks for its twin, if it listens.
    fn show_twin(&mut self, rid: &str) -> Option<()> {
        let (mut topic, mut twin) = (String::with_capacity(48), Vec::with_capacity(128));
        spelling::twin_answer_topic(200, rid, &mut topic);
        spelling::write_twin(self.house.service.borrow().twin(&self.guest.device_id), &mut twin);
        self.say(spelling::TWIN_ANSWERS, topic, QoS::AtMostOnce, twin)
    }

    fn subscribe(&mut self, subscribe: &Subscribe) {
        let (now, device_id) = (self.house.clock.now(), &self.guest.device_id);
        let grant = |filter: &SubscribeFilter| {
            let most = if filter.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            spelling::is_served(&filter.path, device_id).then_some(most)
        };
        let (server, mut out) = self.line.ends();
        server.grant(now, subscribe, grant, &mut out);
        drop(out);
        self.remember();
    }

    /// Calls the direct method `Reprovision`; a device that does not listen misses it.
    fn call(&mut self) -> Option<()> {
        if !self.listens_to(spelling::METHODS) {
            return Some(());
        }
        self.calls += 1;
        let mut topic = String::with_capacity(48);
        spelling::method_topic(spelling::REPROVISION, self.calls, &mut topic);
        self.say(spelling::METHODS, topic, QoS::AtMostOnce, b"{}".to_vec())
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
