//! The MQTT door: a broker's surface for the topics of DPS and no others.
//!
//! Packets come in the order that strict clients insist on: CONNACK, SUBACK, PUBACK, then the answer. Sessions do not
//! persist, answers are never retained, and a second connection of a device ends the first.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use fleetstorm_model::chaos::{DoorStep, FaultKind};
use fleetstorm_model::service::log::What;
use fleetstorm_model::service::{Call, Request as Asked};
use fleetstorm_net::packets::{Broken, Packets};
use fleetstorm_protocol::http::{MESSAGE_MAX_BYTES, read_submission, write_reply};
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::{Operation, OperationId, Submission, mqtt as spelling};
use fleetstorm_units::time::Moment;
use rumqttc::Protocol;
use rumqttc::mqttbytes::v4::{
    Connect, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode, UnsubAck, Unsubscribe,
};
use rumqttc::mqttbytes::{Error as CodecError, QoS};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connack::answer;
use super::sessions::Seat;
use super::{House, Visit, damage, faults, hub, webhooks};
use crate::evidence::{Peer, Presented};

/// The first byte of a CONNECT.
const CONNECT: u8 = 0x10;

/// The first byte of a CONNACK.
const CONNACK: u8 = 0x20;

/// Longest CONNECT: a client id, a user name with an agent string, a token.
const CONNECT_MAX_BYTES: usize = 8 * 1024;

/// Longest packet after it: a message and its topic.
const PACKET_MAX_BYTES: usize = MESSAGE_MAX_BYTES + 1024;

/// Longest silence of a client that has proved nothing: one and a half times the longest keep-alive that the service
/// grants (`dps` 7.1).
const SILENCE_MAX: Duration = Duration::from_millis(1_767 * 1_500);

/// Answers that wait at once on one connection; beyond that nothing more is read from it.
const PENDING_MAX: usize = 16;

/// Serves one connection until it ends. Errors of a client are its own: they end its connection and nothing else.
pub async fn serve_mqtt<S>(house: Rc<House>, stream: S, peer: &Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut packets = Packets::new(stream, CONNECT_MAX_BYTES);
    // Boxed, so that a connected client does not carry this state for the rest of its life.
    let greeting = Box::pin(greet(&house, &mut packets, peer));
    let Ok(Some(visitor)) = tokio::time::timeout(house.limits.connect, greeting).await else { return };
    peer.heard();
    packets.allow(PACKET_MAX_BYTES);
    let guest = match visitor {
        Visitor::Dps(guest) => guest,
        Visitor::Hub(connect) => return hub::serve(&house, packets, peer, connect).await,
    };
    let mut talk = Talk {
        house: &house,
        peer,
        guest,
        packets,
        granted: None,
        pending: VecDeque::new(),
        packet_id: 0,
        wrong: WrongAnswers::default(),
    };
    talk.run().await;
    let _ = tokio::time::timeout(house.limits.body, talk.packets.shutdown()).await;
}

/// Who wants to be let in.
enum Visitor {
    /// A device that was let in to DPS.
    Dps(Guest),
    /// A device that wants to its hub.
    Hub(Connect),
}

/// Who has been let in.
struct Guest {
    id_scope: String,
    registration_id: String,
    api_version: Option<String>,
    token: Option<String>,
    /// Longest silence; `None` where the client asked for no limit.
    silence: Option<Duration>,
    /// Its place under its client id, once it has proved that the id is its own: whoever is there has to go.
    seat: Option<Seat>,
}

impl Guest {
    /// How long it may be silent. A client that has proved nothing is not waited for as long as it likes.
    fn silence(&self, house: &House) -> Option<Duration> {
        match self.seat {
            Some(_) => self.silence,
            None => Some(self.silence.map_or(house.limits.head, |silence| silence.min(SILENCE_MAX))),
        }
    }
}

/// Reads the CONNECT and answers it, unless it is for a hub; `None` if the client was not let in.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    house: &Rc<House>,
    packets: &mut Packets<S>,
    peer: &Peer,
) -> Option<Visitor> {
    if packets.peek().await.ok()? != CONNECT {
        return None;
    }
    let connect = match packets.next().await {
        Ok(Packet::Connect(connect)) => connect,
        Err(Broken::Malformed(CodecError::InvalidProtocolLevel(_))) => {
            answer(packets, Connack::ProtocolVersion).await;
            return None;
        }
        _ => return None,
    };
    if hub::is_meant(house, &connect) {
        return Some(Visitor::Hub(connect));
    }
    let guest = match judge(house, peer, connect) {
        Ok(guest) => guest,
        Err(code) => {
            answer(packets, code).await;
            return None;
        }
    };
    match house.struck(&guest.registration_id, None, DoorStep::MqttConnect).map(|misspelt| misspelt.kind) {
        None => answer(packets, Connack::Accepted).await,
        Some(FaultKind::MqttConnack { code }) => {
            packets.queue_bytes(&[CONNACK, 2, 0, code]);
            // A client that is gone has lost nothing.
            let _ = packets.flush().await;
            let _ = packets.shutdown().await;
            return None;
        }
        Some(FaultKind::MqttDisconnect { .. }) => {
            answer(packets, Connack::Accepted).await;
            return None;
        }
        // It is let in and not told.
        Some(_) => {}
    }
    Some(Visitor::Dps(guest))
}

/// Lets a client in, or says why not. What is wrong with its credentials it is told with its first answer.
fn judge(house: &Rc<House>, peer: &Peer, connect: Connect) -> Result<Guest, Connack> {
    if connect.protocol != Protocol::V4 {
        return Err(Connack::ProtocolVersion);
    }
    let refused = |code| Connack::of(code).unwrap_or(Connack::NotAuthorized);
    let (user, token) = connect.login.map_or_else(Default::default, |login| (login.username, login.password));
    let read = spelling::read_user_name(&user).ok_or_else(|| refused(house.mqtt.user_name))?;
    if !connect.client_id.eq_ignore_ascii_case(read.registration_id) {
        return Err(refused(house.mqtt.user_name));
    }
    let ours = read.id_scope.eq_ignore_ascii_case(house.service.borrow().id_scope());
    if !ours && house.mqtt.unknown_scope != 0 {
        return Err(refused(house.mqtt.unknown_scope));
    }
    // MQTT 3.1.1, 3.1.2.10: one and a half times what the client promised.
    let silence =
        (connect.keep_alive > 0).then(|| Duration::from_millis(u64::from(connect.keep_alive) * 1_500));
    let token = (!token.is_empty()).then_some(token);
    let presented = Presented::new(peer, token.as_deref()).for_dps();
    let proved = ours && house.service.borrow().proves(house.clock.now(), read.registration_id, &presented);
    if proved {
        peer.proved();
    }
    Ok(Guest {
        id_scope: read.id_scope.to_owned(),
        registration_id: read.registration_id.to_owned(),
        api_version: read.api_version.map(Into::into),
        token,
        silence,
        seat: proved.then(|| house.sessions.take(&connect.client_id)),
    })
}

/// Returns when another connection has taken the seat.
async fn evicted(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.evicted().await,
        None => std::future::pending().await,
    }
}

/// An answer that a latency or a shaping queue still holds.
struct Answer {
    at: Moment,
    operation: Operation,
    topic: String,
    body: Bytes,
}

/// One client after its CONNACK.
struct Talk<'a, S> {
    house: &'a Rc<House>,
    peer: &'a Peer,
    guest: Guest,
    packets: Packets<S>,
    /// At which quality of service answers are delivered; `None` before it subscribed, and then they are lost.
    granted: Option<QoS>,
    /// In the order of the requests.
    pending: VecDeque<Answer>,
    packet_id: u16,
    wrong: WrongAnswers,
}

/// What faults have put off or have to remember.
#[derive(Default)]
struct WrongAnswers {
    /// PUBACKs that follow the next answer.
    owed: Vec<u16>,
    /// An answer that follows the next one.
    late: Option<Answer>,
    /// The `$rid` of the answer before.
    rid: Option<String>,
}

/// What comes first.
enum Event {
    Packet(Packet),
    AnswerDue,
    /// The client ended, broke the protocol, was silent for too long, or connected anew.
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
                    self.take(packet).await
                }
                Event::AnswerDue => self.deliver(),
                Event::Over => return,
            };
            if done.is_none() {
                // What was queued before the offence is still due.
                let _ = tokio::time::timeout(self.house.limits.body, self.packets.flush()).await;
                return;
            }
        }
    }

    async fn next(&mut self, heard: Moment) -> Event {
        let clock = self.house.clock;
        let far = Moment::FAR;
        let silent_until = self.guest.silence(self.house).map_or(far, |silence| heard + silence.into());
        let due = self.pending.front().map_or(far, |answer| answer.at);
        // A timer rounds up to the next millisecond, which no answer has to wait for.
        if due <= clock.now() {
            return Event::AnswerDue;
        }
        let listening = self.pending.len() < PENDING_MAX;
        tokio::select! {
            biased;
            () = evicted(self.guest.seat.as_ref()) => Event::Over,
            () = tokio::time::sleep_until(clock.instant(due)), if due != far => Event::AnswerDue,
            packet = self.packets.next(), if listening => match packet {
                Ok(packet) => Event::Packet(packet),
                Err(_) => Event::Over,
            },
            // A client that is not listened to cannot be blamed for its silence.
            () = tokio::time::sleep_until(clock.instant(silent_until)), if listening && silent_until != far => Event::Over,
        }
    }

    /// Handles a packet; `None` ends the connection.
    async fn take(&mut self, packet: Packet) -> Option<()> {
        match packet {
            Packet::Publish(publish) => self.publish(publish).await,
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Packet::PingReq if self.struck(None, DoorStep::MqttPing).is_some() => Some(()),
            Packet::PingReq => self.queue(&Packet::PingResp),
            // Answers are not repeated, so nothing waits for their acknowledgements.
            Packet::PubAck(_) => Some(()),
            // DISCONNECT, a second CONNECT, or what a client may not send.
            _ => None,
        }
    }

    fn queue(&mut self, packet: &Packet) -> Option<()> {
        self.packets.queue(packet).ok()
    }

    /// The fault that strikes this client now, if one does.
    fn struck(&self, operation: Option<Operation>, step: DoorStep) -> Option<FaultKind> {
        self.house.struck(&self.guest.registration_id, operation, step).map(|misspelt| misspelt.kind)
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Option<()> {
        let fault = self.struck(None, DoorStep::MqttSubscribe);
        let otherwise = match fault {
            Some(FaultKind::MqttSuback { code }) => Some(code),
            _ => None,
        };
        let codes = subscribe
            .filters
            .iter()
            .map(|filter| match spelling::granted(&filter.path, filter.qos as u8) {
                Some(_) if otherwise.is_some_and(|code| code > 1) => SubscribeReasonCode::Failure,
                Some(granted) => {
                    let granted = otherwise.unwrap_or(granted);
                    let qos = if granted == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                    self.granted = Some(qos);
                    SubscribeReasonCode::Success(qos)
                }
                None => SubscribeReasonCode::Failure,
            })
            .collect();
        if !matches!(fault, Some(FaultKind::MqttDrop { .. })) {
            self.queue(&Packet::SubAck(SubAck::new(subscribe.pkid, codes)))?;
        }
        (!matches!(fault, Some(FaultKind::MqttDisconnect { .. }))).then_some(())
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Option<()> {
        if unsubscribe.topics.iter().any(|topic| topic == spelling::ANSWERS) {
            self.granted = None;
        }
        self.queue(&Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))
    }

    async fn publish(&mut self, publish: Publish) -> Option<()> {
        let topic = spelling::read_request_topic(&publish.topic)?;
        let operation = if topic.poll.is_some() { Operation::Poll } else { Operation::Register };
        let fault = self.struck(Some(operation), DoorStep::MqttRequest);
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce if matches!(fault, Some(FaultKind::MqttDrop { .. })) => {}
            QoS::AtLeastOnce if matches!(fault, Some(FaultKind::MqttOrder { .. })) => {
                self.wrong.owed.push(publish.pkid);
            }
            QoS::AtLeastOnce => self.queue(&Packet::PubAck(PubAck::new(publish.pkid)))?,
            // As IoT Hub does: quality of service 2 is not offered.
            QoS::ExactlyOnce => return None,
        }
        if !self.house.latency.is_zero() {
            // The acknowledgement does not wait for the service.
            self.packets.flush().await.ok()?;
            tokio::time::sleep(self.house.latency).await;
        }
        let poll = topic.poll.is_some();
        let call = match &topic.poll {
            Some(id) => OperationId::read(id).map_or(Call::NoSuchPath, Call::Poll),
            None if publish.payload.trim_ascii().is_empty() => {
                // C# and embedded C send no body; the user name says who it is.
                Call::Register(Submission::Read { registration_id: None, csr: None, payload: None })
            }
            None => Call::Register(read_submission(None, &publish.payload)),
        };
        let guest = &self.guest;
        let asked = Asked {
            api_version: guest.api_version.as_deref(),
            id_scope: &guest.id_scope,
            registration_id: &guest.registration_id,
            call,
        };
        let now = self.house.clock.now();
        let handled = {
            let presented = Presented::new(self.peer, guest.token.as_deref()).for_dps();
            self.house.service.borrow_mut().handle(now, &asked, &presented)
        };
        webhooks::run_errands(self.house);
        let visit =
            Visit { protocol: "Mqtt", began: now, took: handled.delay, api_version: asked.api_version };
        self.house.log(self.peer, &visit, || What::device(&asked, &handled));
        let mut body = Vec::with_capacity(256);
        write_reply(&handled.reply, &guest.registration_id, poll, &mut body);
        let mut answer = String::with_capacity(96);
        spelling::answer_topic(handled.reply.status, topic.rid, handled.reply.retry_after, &mut answer);
        self.pending.push_back(Answer {
            at: now + handled.delay,
            operation,
            topic: answer,
            body: body.into(),
        });
        // What it is let in by may have been made since it came.
        if handled.reply.status.is_success() && self.guest.seat.is_none() {
            self.peer.proved();
            self.guest.seat = Some(self.house.sessions.take(&self.guest.registration_id));
        }
        match fault {
            Some(FaultKind::MqttTakeover) => {
                // The other client is gone as soon as it came; this one has lost its place all the same.
                drop(self.house.sessions.take(&self.guest.registration_id));
                None
            }
            Some(FaultKind::MqttDisconnect { .. }) => None,
            _ => Some(()),
        }
    }

    /// Sends the first pending answer. One that comes before its subscription is lost.
    fn deliver(&mut self) -> Option<()> {
        let mut answer = self.pending.pop_front()?;
        let step = DoorStep::MqttAnswer {
            retry_after: answer.topic.contains("retry-after="),
            earlier: self.wrong.rid.is_some(),
        };
        let fault = if self.granted.is_some() { self.struck(Some(answer.operation), step) } else { None };
        let earlier = self.wrong.rid.as_deref();
        match fault {
            Some(FaultKind::MqttRid { form }) => {
                answer.topic = faults::with_rid(&answer.topic, form, earlier)
            }
            Some(FaultKind::MqttTopic { form }) => answer.topic = faults::respelled(&answer.topic, form),
            Some(FaultKind::MqttBody { damage }) => {
                answer.body = Bytes::copy_from_slice(damage::payload(&answer.body, damage));
            }
            Some(FaultKind::MqttOrder { .. }) => {
                let before = self.wrong.late.replace(answer);
                return before.map_or(Some(()), |before| self.send(before, false));
            }
            _ => {}
        }
        if self.house.is_armed() {
            self.wrong.rid = faults::rid(&answer.topic).map(Into::into);
        }
        self.send(answer, fault == Some(FaultKind::MqttDuplicate))?;
        for packet_id in std::mem::take(&mut self.wrong.owed) {
            self.queue(&Packet::PubAck(PubAck::new(packet_id)))?;
        }
        self.wrong.late.take().map_or(Some(()), |late| self.send(late, false))
    }

    fn send(&mut self, answer: Answer, twice: bool) -> Option<()> {
        let Some(qos) = self.granted else { return Some(()) };
        let mut publish = Publish::from_bytes(answer.topic, qos, answer.body);
        if qos != QoS::AtMostOnce {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            publish.pkid = self.packet_id;
        }
        if !twice {
            return self.queue(&Packet::Publish(publish));
        }
        self.queue(&Packet::Publish(publish.clone()))?;
        // Only what has to be acknowledged can be marked as sent again (MQTT 3.1.1, 3.3.1.1).
        publish.dup = qos != QoS::AtMostOnce;
        self.queue(&Packet::Publish(publish))
    }
}

#[cfg(test)]
#[path = "mqtt_tests.rs"]
mod tests;
