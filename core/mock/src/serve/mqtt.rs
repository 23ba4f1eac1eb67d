//! The MQTT door: a broker's surface for the topics of DPS and no others.
//!
//! Packets come in the order that strict clients insist on: CONNACK, SUBACK, PUBACK, then the answer. Sessions do not
//! persist, answers are never retained, and a second connection of a device ends the first.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use fleetstorm_model::chaos::{DoorStep, FaultKind};
use fleetstorm_model::service::Request as Asked;
use fleetstorm_protocol::http::{MESSAGE_MAX_BYTES, write_reply};
use fleetstorm_protocol::mqtt::packet::{Connect, Packet, Publish, QoS, Subscribe};
use fleetstorm_protocol::mqtt::{Connack, Heard, Owed};
use fleetstorm_protocol::{Operation, mqtt as spelling};
use fleetstorm_units::time::{Moment, Span};
use tokio::io::{AsyncRead, AsyncWrite};

use super::line::{Event, Line};
use super::sessions::Seat;
use super::{House, ask, damage, faults, hub};
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
    let mut line = Line::new(&house, stream, CONNECT_MAX_BYTES);
    // Boxed, so that a connected client does not carry this state for the rest of its life.
    let greeting = Box::pin(greet(&house, &mut line, peer));
    let Ok(Some(visitor)) = tokio::time::timeout(house.limits.connect, greeting).await else { return };
    peer.heard();
    line.packets.allow(PACKET_MAX_BYTES);
    let guest = match visitor {
        Visitor::Dps(guest) => guest,
        Visitor::Hub(connect) => return hub::serve(&house, line, peer, connect).await,
    };
    let pending = VecDeque::new();
    let mut talk = Talk { house: &house, peer, guest, line, pending, wrong: WrongAnswers::default() };
    talk.run().await;
    talk.line.end().await;
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
    /// Its place under its client id, once it has proved that the id is its own: whoever is there has to go.
    seat: Option<Seat>,
}

/// Reads the CONNECT and answers it, unless it is for a hub; `None` if the client was not let in.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    house: &Rc<House>,
    line: &mut Line<'_, S>,
    peer: &Peer,
) -> Option<Visitor> {
    if line.packets.peek().await.ok()? != CONNECT {
        return None;
    }
    let Heard::Connect(connect) = line.greeted().await? else { return None };
    if hub::is_meant(house, &connect) {
        return Some(Visitor::Hub(connect));
    }
    let guest = match judge(house, peer, connect) {
        Ok(guest) => guest,
        Err(code) => {
            line.refuse(code).await;
            return None;
        }
    };
    if guest.seat.is_none() {
        // A client that has proved nothing is not waited for as long as it likes.
        let asked = line.server.asked_silence();
        let most = Span::from(SILENCE_MAX);
        line.server.bear(Some(asked.map_or(house.limits.head.into(), |silence| silence.min(most))));
    }
    match house.fault(&guest.registration_id, None, DoorStep::MqttConnect) {
        None => line.accept(None).await?,
        Some(FaultKind::MqttConnack { code }) => {
            line.packets.queue_bytes(&[CONNACK, 2, 0, code]);
            line.part().await;
            return None;
        }
        Some(FaultKind::MqttDisconnect { .. }) => {
            line.accept(None).await;
            return None;
        }
        // It is let in and not told.
        Some(_) => line.server.accept(house.clock.now(), None, &mut |_| ()).ok()?,
    }
    Some(Visitor::Dps(guest))
}

/// Lets a client in, or says why not. What is wrong with its credentials it is told with its first answer.
fn judge(house: &Rc<House>, peer: &Peer, connect: Connect) -> Result<Guest, Connack> {
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
        seat: proved.then(|| house.sessions.take(&connect.client_id)),
    })
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
    line: Line<'a, S>,
    /// In the order of the requests.
    pending: VecDeque<Answer>,
    wrong: WrongAnswers,
}

/// What faults have put off or have to remember.
#[derive(Default)]
struct WrongAnswers {
    /// Acknowledgements that follow the next answer.
    owed: Vec<Owed>,
    /// An answer that follows the next one.
    late: Option<Answer>,
    /// The `$rid` of the answer before.
    rid: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn run(&mut self) {
        loop {
            let due = self.pending.front().map_or(Moment::FAR, |answer| answer.at);
            let listening = self.pending.len() < PENDING_MAX;
            let done = match self.line.next(self.guest.seat.as_ref(), due, listening).await {
                Event::Packet(packet) => self.take(packet).await,
                Event::Due => self.deliver(),
                Event::Over => return,
            };
            if done.is_none() {
                return;
            }
        }
    }

    /// Handles a packet; `None` ends the connection once what is queued has left.
    async fn take(&mut self, packet: Packet) -> Option<()> {
        if packet == Packet::PingReq && self.fault(None, DoorStep::MqttPing).is_some() {
            // It is heard, and not answered.
            return self.line.server.take(self.house.clock.now(), packet, &mut |_| ()).ok().map(drop);
        }
        match self.line.take(packet)? {
            Heard::Publish(publish, owed) => self.publish(publish, owed).await,
            Heard::Subscribe(subscribe) => self.subscribe(&subscribe),
            // Answers are not repeated, so nothing waits for their acknowledgements.
            Heard::Unsubscribed | Heard::Ping | Heard::Acknowledged(_) => Some(()),
            Heard::Connect(_) | Heard::Disconnect => None,
        }
    }

    /// The fault that strikes this client now, if one does.
    fn fault(&self, operation: Option<Operation>, step: DoorStep) -> Option<FaultKind> {
        self.house.fault(&self.guest.registration_id, operation, step)
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Option<()> {
        let fault = self.fault(None, DoorStep::MqttSubscribe);
        let otherwise = match fault {
            Some(FaultKind::MqttSuback { code }) => Some(code),
            _ => None,
        };
        let is_told = !matches!(fault, Some(FaultKind::MqttDrop { .. }));
        let now = self.house.clock.now();
        let (server, mut out) = self.line.ends();
        server.grant(
            now,
            subscribe,
            |filter| {
                let granted = spelling::granted(&filter.path, filter.qos as u8)?;
                match otherwise.unwrap_or(granted) {
                    0 => Some(QoS::AtMostOnce),
                    1 => Some(QoS::AtLeastOnce),
                    _ => None,
                }
            },
            &mut |packet| {
                if is_told {
                    out(packet);
                }
            },
        );
        (!matches!(fault, Some(FaultKind::MqttDisconnect { .. }))).then_some(())
    }

    async fn publish(&mut self, publish: Publish, owed: Option<Owed>) -> Option<()> {
        let topic = spelling::read_request_topic(&publish.topic)?;
        let operation = if topic.poll.is_some() { Operation::Poll } else { Operation::Register };
        let fault = self.fault(Some(operation), DoorStep::MqttRequest);
        match (owed, &fault) {
            (None, _) | (Some(_), Some(FaultKind::MqttDrop { .. })) => {}
            (Some(owed), Some(FaultKind::MqttOrder { .. })) => self.wrong.owed.push(owed),
            (Some(owed), _) => {
                let (server, mut out) = self.line.ends();
                server.acknowledge(owed, &mut out);
            }
        }
        if !self.house.latency.is_zero() {
            // The acknowledgement does not wait for the service.
            self.line.packets.flush().await.ok()?;
            self.house.lag().await;
        }
        let poll = topic.poll.is_some();
        let guest = &self.guest;
        let asked = Asked {
            api_version: guest.api_version.as_deref(),
            id_scope: &guest.id_scope,
            registration_id: &guest.registration_id,
            call: match &topic.poll {
                Some(id) => ask::poll(id),
                None => ask::register(&publish.payload),
            },
        };
        let presented = Presented::new(self.peer, guest.token.as_deref()).for_dps();
        let (now, handled) = self.house.ask_and_log(self.peer, "Mqtt", &presented, &asked);
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
            self.guest.seat = Some(self.house.sessions.take(&self.guest.registration_id));
            self.line.server.bear(self.line.server.asked_silence());
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
        let fault = if self.is_listening() { self.fault(Some(answer.operation), step) } else { None };
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
        let (server, mut out) = self.line.ends();
        for owed in std::mem::take(&mut self.wrong.owed) {
            server.acknowledge(owed, &mut out);
        }
        drop(out);
        self.wrong.late.take().map_or(Some(()), |late| self.send(late, false))
    }

    fn is_listening(&self) -> bool {
        self.line.server.listens_to(spelling::ANSWERS).is_some()
    }

    fn send(&mut self, answer: Answer, twice: bool) -> Option<()> {
        let (server, mut out) = self.line.ends();
        let sent = server.publish(answer.topic, QoS::AtLeastOnce, answer.body, &mut |packet| {
            let again = twice.then(|| repeated(&packet));
            out(packet);
            again.into_iter().for_each(&mut out);
        });
        sent.ok().map(drop)
    }
}

/// The same, sent again. Only what has to be acknowledged can be marked so (MQTT 3.1.1, 3.3.1.1).
fn repeated(packet: &Packet) -> Packet {
    let mut again = packet.clone();
    if let Packet::Publish(publish) = &mut again {
        publish.dup = publish.qos != QoS::AtMostOnce;
    }
    again
}

#[cfg(test)]
#[path = "mqtt_tests.rs"]
mod tests;
