//! The device API over an MQTT 3.1.1 connection.
//!
//! The device owns its connection and drives it by hand: no task, no channel and no packet store of its own, because
//! DPS sessions do not persist and a device has one request under way at most.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{Operation, OperationId, Reply, http, mqtt as spelling};
use fleetstorm_units::time::{Moment, Span};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{AGENT, Carrier};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::packets::{Broken, Packets};
use crate::{ConnectTimes, connect};

/// A packet beyond this is no answer of DPS, whose messages have at most 96 KB.
const PACKET_MAX_BYTES: usize = 256 * 1024;

/// The packet id of the one SUBSCRIBE; publications count on from it.
const SUBSCRIBE_ID: u16 = 1;

/// An open MQTT connection that is subscribed to the answers.
pub struct Link<S> {
    packets: Packets<S>,
    clock: Clock,
    /// Zero sends no pings.
    keep_alive: Span,
    /// When the last packet came, and when the last one was sent.
    heard: Moment,
    spoke: Moment,
    /// Since when a ping is under way.
    pinged: Option<Moment>,
    ping: Deadline,
    /// The id of the last request.
    rid: u32,
    packet_id: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Connects and subscribes, in this order and each answered before the next: an answer that comes before its
    /// subscription is lost.
    pub async fn open(
        stream: S,
        caller: &Caller,
        carrier: &Carrier,
        times: &mut ConnectTimes,
    ) -> Result<Self, Fault> {
        let connect = caller.connect(carrier.keep_alive_secs);
        Self::open_as(stream, connect, spelling::ANSWERS, carrier.clock, times).await
    }

    /// The same with any CONNECT and for the topics of one filter.
    pub(super) async fn open_as(
        stream: S,
        connect: Connect,
        filter: &str,
        clock: Clock,
        times: &mut ConnectTimes,
    ) -> Result<Self, Fault> {
        let mut link = Self {
            packets: Packets::new(stream, PACKET_MAX_BYTES),
            clock,
            keep_alive: Span::from_secs(u64::from(connect.keep_alive)),
            heard: clock.now(),
            spoke: clock.now(),
            pinged: None,
            ping: Deadline::default(),
            rid: 0,
            packet_id: SUBSCRIBE_ID,
        };
        let started = clock.now();
        let Packet::ConnAck(ConnAck { code, .. }) = link.greet(Packet::Connect(connect)).await? else {
            return Err(Fault::Protocol);
        };
        let connected = clock.now();
        times.connack = Some(connected.since(started));
        // The codec knows the six codes of MQTT 3.1.1 only, in their order.
        if let Some(fault) = Connack::of(code as u8).map_or(Some(Fault::Protocol), Connack::fault) {
            return Err(fault);
        }
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = SUBSCRIBE_ID;
        let Packet::SubAck(SubAck { pkid: SUBSCRIBE_ID, return_codes }) =
            link.greet(Packet::Subscribe(subscribe)).await?
        else {
            return Err(Fault::Protocol);
        };
        times.subscribe = Some(clock.now().since(connected));
        match return_codes[..] {
            [SubscribeReasonCode::Success(_)] => Ok(link),
            // Refused: whoever does not serve these topics is no DPS.
            _ => Err(Fault::Protocol),
        }
    }

    /// Sends a packet before the first request and reads what comes back.
    async fn greet(&mut self, packet: Packet) -> Result<Packet, Fault> {
        let spoken = async {
            self.packets.queue(&packet)?;
            self.packets.flush().await?;
            self.packets.next().await
        };
        spoken.await.map_err(|broken| match broken {
            Broken::Ended => Fault::Closed,
            Broken::Malformed(_) | Broken::Deaf => Fault::Protocol,
            Broken::Failed(error) => connect::fault_when_connecting(&error),
        })
    }

    /// Publishes a request and reads the answer with its id; answers to other requests come too late or twice and are
    /// passed over.
    pub async fn exchange(
        &mut self,
        caller: &Caller,
        operation: Operation,
        id: Option<&OperationId>,
    ) -> Result<Reply, Fault> {
        // What came meanwhile belongs to the past; a connection that has ended must not take the request with it.
        std::future::poll_fn(|context| {
            loop {
                match self.poll_packet(context) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Closed)),
                    Poll::Pending => return Poll::Ready(Ok(())),
                }
            }
        })
        .await?;
        self.rid = self.rid.wrapping_add(1);
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(SUBSCRIBE_ID);
        let mut topic = String::with_capacity(160);
        if !spelling::request_topic(operation, self.rid, id, &mut topic) {
            return Err(Fault::Protocol);
        }
        let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, caller.payload(operation));
        publish.pkid = self.packet_id;
        self.say(&Packet::Publish(publish)).map_err(|_| Fault::Protocol)?;
        let rid = self.rid;
        std::future::poll_fn(|context| {
            loop {
                let packet = match std::task::ready!(self.poll_packet(context)) {
                    Ok(packet) => packet,
                    Err(broken) => return Poll::Ready(Err(fault(&broken))),
                };
                let Packet::Publish(publish) = packet else { continue };
                let Some(answer) = spelling::read_answer_topic(&publish.topic) else { continue };
                if answer.rid.parse() == Ok(rid) {
                    let reply = http::read_reply(answer.status, answer.retry_after, None, &publish.payload);
                    return Poll::Ready(Ok(reply));
                }
            }
        })
        .await
    }

    /// Returns when the peer closes the idle connection; keeps it alive meanwhile.
    pub async fn closed(&mut self) {
        std::future::poll_fn(|context| {
            loop {
                if std::task::ready!(self.poll_packet(context)).is_err() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    /// Sends a DISCONNECT as far as that goes without waiting.
    pub fn hang_up(mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if self.packets.queue(&Packet::Disconnect).is_ok() {
            let _ = self.packets.poll_shutdown(&mut context);
        }
    }

    /// Queues a publication that nothing waits for.
    pub(super) fn publish(&mut self, topic: &str, qos: QoS, payload: impl Into<Bytes>) {
        let mut publish = Publish::from_bytes(topic, qos, payload.into());
        if qos != QoS::AtMostOnce {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(SUBSCRIBE_ID);
            publish.pkid = self.packet_id;
        }
        // A topic of ours can always be spelled; a connection that is gone shows when it is read from.
        let _ = self.say(&Packet::Publish(publish));
    }

    /// Sends what is queued.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.packets.poll_flush(context)
    }

    fn say(&mut self, packet: &Packet) -> Result<(), Broken> {
        self.spoke = self.clock.now();
        self.packets.queue(packet)
    }

    /// The next packet that a server may send to a subscriber, acknowledged. Sends what is queued and the pings.
    pub(super) fn poll_packet(&mut self, context: &mut Context<'_>) -> Poll<Result<Packet, Broken>> {
        loop {
            // What has come counts even if nothing more can be sent, so reading goes first.
            if let Poll::Ready(packet) = self.packets.poll_next(context) {
                let packet = packet?;
                // Whatever it is, the peer lives.
                (self.heard, self.pinged) = (self.clock.now(), None);
                if let Packet::Publish(publish) = &packet
                    && publish.qos != QoS::AtMostOnce
                {
                    self.say(&Packet::PubAck(PubAck::new(publish.pkid)))?;
                    let _ = self.packets.poll_flush(context);
                }
                return Poll::Ready(match packet {
                    Packet::Publish(_) | Packet::PubAck(_) | Packet::PingResp => Ok(packet),
                    _ => Err(Broken::Ended),
                });
            }
            if let Poll::Ready(Err(broken)) = self.packets.poll_flush(context) {
                return Poll::Ready(Err(broken));
            }
            if self.keep_alive == Span::ZERO {
                return Poll::Pending;
            }
            // A peer that is spoken to and says nothing is asked as one that nobody has spoken to.
            let since = self.pinged.unwrap_or(self.spoke.min(self.heard));
            std::task::ready!(self.ping.until(self.clock.instant(since + self.keep_alive)).poll(context));
            if self.pinged.is_some() {
                // A whole interval without a sign of life.
                return Poll::Ready(Err(Broken::Ended));
            }
            self.pinged = Some(self.clock.now());
            self.say(&Packet::PingReq)?;
        }
    }
}

/// What a connection that broke under a request means.
fn fault(broken: &Broken) -> Fault {
    match broken {
        Broken::Malformed(_) | Broken::Deaf => Fault::Protocol,
        Broken::Failed(error) => connect::fault_under_request(error),
        Broken::Ended => Fault::Lost,
    }
}

/// What a device needs to connect and to spell its requests.
pub struct Caller {
    id_scope: Arc<str>,
    registration_id: String,
    body: Bytes,
    token: Option<Box<str>>,
}

impl Caller {
    pub fn new(id_scope: Arc<str>, registration_id: String, extra: Option<&str>) -> Self {
        let body = http::body(&registration_id, extra).into();
        Self { id_scope, registration_id, body, token: None }
    }

    pub fn audience(&self) -> String {
        format!("{}/registrations/{}", self.id_scope, self.registration_id)
    }

    pub fn authorize(&mut self, token: Option<&str>) {
        self.token = token.map(Into::into);
    }

    fn connect(&self, keep_alive_secs: u16) -> Connect {
        let mut connect = Connect::new(&*self.registration_id);
        connect.keep_alive = keep_alive_secs;
        let mut user = String::with_capacity(128);
        spelling::user_name(&self.id_scope, &self.registration_id, http::API_VERSION, AGENT, &mut user);
        connect.set_login(user, self.token.as_deref().unwrap_or(""));
        connect
    }

    /// A poll's body means nothing; DPS clients send a space or nothing.
    fn payload(&self, operation: Operation) -> Bytes {
        match operation {
            Operation::Register => self.body.clone(),
            Operation::Poll | Operation::Lookup => Bytes::from_static(b" "),
        }
    }
}

#[cfg(test)]
#[path = "mqtt_tests.rs"]
mod tests;
