//! IoT hubs behind the MQTT door: a device that DPS has assigned connects under its hub's name.
//!
//! A hub lets it in when the service machine says so, takes its messages, shows it its twin, and calls the direct method
//! `Reprovision` where its plan has one. A hub that throttles closes the connection without a word, as the real one does.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use fleetstorm_model::service::{Evidence as _, HubEvent, Standing, Token, Welcome};
use fleetstorm_net::packets::Packets;
use fleetstorm_protocol::hub as spelling;
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_units::time::{Moment, Span};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeFilter, SubscribeReasonCode, UnsubAck,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::House;
use super::connack::answer;
use super::sessions::Seat;
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
    let mut talk =
        Talk { house, guest, packets, methods: false, twin: false, calls: 0, seen: house.clock.now() };
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
            answer(packets, Connack::Accepted).await;
        }
    }
    // MQTT 3.1.1, 3.1.2.10: one and a half times what the device promised.
    let silence =
        (connect.keep_alive > 0).then(|| Duration::from_millis(u64::from(connect.keep_alive) * 1_500));
    Some(Guest {
        standing,
        device_id: device_id.into(),
        silence,
        // The session that a device has with DPS goes by the bare name.
        seat: house.sessions.take(&format!("{host}/{device_id}")),
    })
}

/// A device and its hub after the CONNACK.
struct Talk<'a, S> {
    house: &'a Rc<House>,
    guest: Guest,
    packets: Packets<S>,
    /// Whether the device listens to direct methods, and to answers about its twin.
    methods: bool,
    twin: bool,
    calls: u32,
    /// Up to when the hub's plan has been carried out.
    seen: Moment,
}

/// What comes first.
enum Event {
    Packet(Packet),
    Planned(HubEvent),
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
        let silent_until = self.guest.silence.map_or(Moment::FAR, |silence| heard + silence.into());
        tokio::select! {
            biased;
            () = self.guest.seat.evicted() => Event::Over,
            () = tokio::time::sleep_until(clock.instant(due)), if due != Moment::FAR => {
                self.seen = due;
                Event::Planned(event)
            }
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
                self.methods &= !ends(spelling::METHODS);
                self.twin &= !ends(spelling::TWIN_ANSWERS);
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
        spelling::is_method_answer(&publish.topic).then_some(())
    }

    /// Answers a device that asks for its twin, if it listens.
    fn show_twin(&mut self, rid: &str) -> Option<()> {
        if !self.twin {
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
        self.methods |= begins(spelling::METHODS);
        self.twin |= begins(spelling::TWIN_ANSWERS);
        self.queue(&Packet::SubAck(SubAck::new(subscribe.pkid, codes)))
    }

    /// Calls the direct method `Reprovision`; a device that does not listen misses it.
    fn call(&mut self) -> Option<()> {
        if !self.methods {
            return Some(());
        }
        self.calls += 1;
        let mut topic = String::with_capacity(48);
        spelling::method_topic(spelling::REPROVISION, self.calls, &mut topic);
        self.queue(&Packet::Publish(Publish::from_bytes(topic, QoS::AtMostOnce, Bytes::from_static(b"{}"))))
    }
}
