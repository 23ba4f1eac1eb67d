//! IoT hubs behind the MQTT door: a device that DPS has assigned connects under its hub's name.
//!
//! A hub lets it in when the service machine says so, takes its messages, shows it its twin, renews its certificate, and
//! calls the direct method `Reprovision` where its plan has one. It remembers what a device listens to that does not ask for
//! a clean session. A hub that throttles closes the connection without a word, as the real one does.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use fleetstorm_model::service::{Evidence as _, HubEvent, Standing, Token, Welcome};
use fleetstorm_net::packets::Packets;
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::{credentials, hub as spelling};
use fleetstorm_units::time::{Moment, Span};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeFilter, SubscribeReasonCode, UnsubAck,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::House;
use super::connack::{answer, answer_of_session};
use super::sessions::{Seat, Subscriptions};
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
    mut packets: Packets<S>,
    peer: &Peer,
    connect: Connect,
) {
    let greeting = Box::pin(greet(house, &mut packets, peer, connect));
    let Some(guest) = greeting.await else { return };
    let mut talk = Talk { house, peer, guest, packets, calls: 0, packet_id: 0, seen: house.clock.now() };
    talk.run().await;
    let _ = tokio::time::timeout(house.limits.body, talk.packets.shutdown()).await;
}

/// A device that has been let in.
struct Guest {
    standing: Standing,
    device_id: Box<str>,
    /// Longest silence; `None` where the device asked for no limit.
    silence: Option<Duration>,
    seat: Seat,
    /// The token that it connected with.
    token: Option<Box<str>>,
    listens: Subscriptions,
    /// The name of its session, if its hub is to remember it.
    session: Option<Box<str>>,
}

/// Answers the CONNECT; `None` if the device was not let in.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    house: &Rc<House>,
    packets: &mut Packets<S>,
    peer: &Peer,
    connect: Connect,
) -> Option<Guest> {
    let login = connect.login.as_ref()?;
    let (host, device_id) = spelling::read_user_name(&login.username)?;
    if connect.client_id != device_id {
        answer(packets, Connack::Identifier).await;
        return None;
    }
    if !house.latency.is_zero() {
        tokio::time::sleep(house.latency).await;
    }
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
            answer(packets, code).await;
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
    let resumed = house.sessions.resume(&name, connect.clean_session);
    answer_of_session(packets, Connack::Accepted, resumed.is_some()).await;
    // MQTT 3.1.1, 3.1.2.10: one and a half times what the device promised.
    let silence =
        (connect.keep_alive > 0).then(|| Duration::from_millis(u64::from(connect.keep_alive) * 1_500));
    Some(Guest {
        standing,
        device_id: device_id.into(),
        silence,
        // The session that a device has with DPS goes by the bare name.
        seat: house.sessions.take(&name),
        token: Some(&*login.password).filter(|token| !token.is_empty()).map(Into::into),
        listens: resumed.unwrap_or_default(),
        session: (!connect.clean_session).then(|| name.into()),
    })
}

/// A device and its hub after the CONNACK.
struct Talk<'a, S> {
    house: &'a Rc<House>,
    peer: &'a Peer,
    guest: Guest,
    packets: Packets<S>,
    calls: u32,
    packet_id: u16,
    /// Up to when the hub's plan has been carried out.
    seen: Moment,
}

/// What comes first.
enum Event {
    Packet(Packet),
    Planned(HubEvent),
    /// What the device has been promised is there.
    Renewed,
    /// The device ended, broke the protocol, was silent for too long, or connected anew.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn run(&mut self) {
        let mut heard = self.house.clock.now();
        loop {
            let flushed = tokio::time::timeout(self.house.limits.body, self.packets.flush()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                return;
            }
            let done = match self.next(heard).await {
                Event::Packet(packet) => {
                    heard = self.house.clock.now();
                    self.take(packet)
                }
                Event::Planned(HubEvent::Command) => self.call(),
                Event::Renewed => self.tell_renewal(),
                Event::Planned(HubEvent::Closed) | Event::Over => return,
            };
            if done.is_none() {
                return;
            }
        }
    }

    async fn next(&mut self, heard: Moment) -> Event {
        let clock = self.house.clock;
        let planned = self.house.service.borrow().hub_event(self.seen, &self.guest.standing);
        let (due, event) = planned.unwrap_or((Moment::FAR, HubEvent::Closed));
        if due <= clock.now() {
            self.seen = due;
            return Event::Planned(event);
        }
        let renewal = self.renewal_due();
        if renewal <= clock.now() {
            return Event::Renewed;
        }
        let silent_until = self.guest.silence.map_or(Moment::FAR, |silence| heard + silence.into());
        tokio::select! {
            biased;
            () = self.guest.seat.evicted() => Event::Over,
            () = tokio::time::sleep_until(clock.instant(due)), if due != Moment::FAR => {
                self.seen = due;
                Event::Planned(event)
            }
            () = tokio::time::sleep_until(clock.instant(renewal)), if renewal != Moment::FAR => Event::Renewed,
            packet = self.packets.next() => packet.map_or(Event::Over, Event::Packet),
            () = tokio::time::sleep_until(clock.instant(silent_until)), if silent_until != Moment::FAR => Event::Over,
        }
    }

    /// Handles a packet; `None` ends the connection.
    fn take(&mut self, packet: Packet) -> Option<()> {
        match packet {
            Packet::Publish(publish) => self.publish(&publish),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => {
                let ends = |filter| unsubscribe.topics.iter().any(|topic| topic == filter);
                let listens = &mut self.guest.listens;
                listens.methods &= !ends(spelling::METHODS);
                listens.twin &= !ends(spelling::TWIN_ANSWERS);
                if ends(credentials::ANSWERS) {
                    listens.credentials = None;
                }
                self.remember();
                self.queue(&Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))
            }
            Packet::PingReq => self.queue(&Packet::PingResp),
            Packet::PubAck(_) => Some(()),
            // DISCONNECT, a second CONNECT, or what a device may not send.
            _ => None,
        }
    }

    fn queue(&mut self, packet: &Packet) -> Option<()> {
        self.packets.queue(packet).ok()
    }

    fn publish(&mut self, publish: &Publish) -> Option<()> {
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.queue(&Packet::PubAck(PubAck::new(publish.pkid)))?,
            // IoT Hub closes a connection that asks for it.
            QoS::ExactlyOnce => return None,
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
        if self.guest.listens.credentials.is_none() {
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
        if self.guest.listens.credentials.is_none() && service.holds_renewals() {
            return Moment::FAR;
        }
        service.renewal_due(&self.guest.device_id).unwrap_or(Moment::FAR)
    }

    fn tell_renewal(&mut self) -> Option<()> {
        let now = self.house.clock.now();
        let since = self.guest.listens.credentials.map(|(_, since)| since);
        let told = self.house.service.borrow_mut().take_renewal(now, &self.guest.device_id, since);
        match told {
            Some((rid, answer)) => self.tell(&rid, &answer),
            None => Some(()),
        }
    }

    /// Tells a device about its certificate, at the quality of service that it listens at.
    fn tell(&mut self, rid: &str, answer: &credentials::Answer) -> Option<()> {
        let Some((qos, _)) = self.guest.listens.credentials else { return Some(()) };
        let (mut topic, mut body) = (String::with_capacity(64), Vec::with_capacity(256));
        credentials::answer_topic(answer.status(), rid, &mut topic);
        answer.write(&mut body);
        let mut publish = Publish::from_bytes(topic, qos, body.into());
        if qos != QoS::AtMostOnce {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            publish.pkid = self.packet_id;
        }
        self.queue(&Packet::Publish(publish))
    }

    /// Lets the hub remember what the device listens to, if it asked for that.
    fn remember(&self) {
        if let Some(session) = &self.guest.session {
            self.house.sessions.keep(session, self.guest.listens);
        }
    }

    /// Answers a device that asks for its twin, if it listens.
    fn show_twin(&mut self, rid: &str) -> Option<()> {
        if !self.guest.listens.twin {
            return Some(());
        }
        let (mut topic, mut twin) = (String::with_capacity(48), Vec::with_capacity(128));
        spelling::twin_answer_topic(200, rid, &mut topic);
        spelling::write_twin(self.house.service.borrow().twin(&self.guest.device_id), &mut twin);
        self.queue(&Packet::Publish(Publish::from_bytes(topic, QoS::AtMostOnce, twin.into())))
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Option<()> {
        let device_id = &self.guest.device_id;
        let code = |filter: &SubscribeFilter| match spelling::is_served(&filter.path, device_id) {
            true if filter.qos == QoS::AtMostOnce => SubscribeReasonCode::Success(QoS::AtMostOnce),
            true => SubscribeReasonCode::Success(QoS::AtLeastOnce),
            false => SubscribeReasonCode::Failure,
        };
        let codes = subscribe.filters.iter().map(code).collect();
        let begins = |path| subscribe.filters.iter().any(|filter| filter.path == path);
        let credentials = subscribe.filters.iter().find(|filter| filter.path == credentials::ANSWERS);
        let now = self.house.clock.now();
        let listens = &mut self.guest.listens;
        listens.methods |= begins(spelling::METHODS);
        listens.twin |= begins(spelling::TWIN_ANSWERS);
        if let Some(filter) = credentials {
            let qos = if filter.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            // Who listens already goes on listening.
            let since = listens.credentials.map_or(now, |(_, since)| since);
            listens.credentials = Some((qos, since));
        }
        self.remember();
        self.queue(&Packet::SubAck(SubAck::new(subscribe.pkid, codes)))
    }

    /// Calls the direct method `Reprovision`; a device that does not listen misses it.
    fn call(&mut self) -> Option<()> {
        if !self.guest.listens.methods {
            return Some(());
        }
        self.calls += 1;
        let mut topic = String::with_capacity(48);
        spelling::method_topic(spelling::REPROVISION, self.calls, &mut topic);
        self.queue(&Packet::Publish(Publish::from_bytes(topic, QoS::AtMostOnce, Bytes::from_static(b"{}"))))
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
