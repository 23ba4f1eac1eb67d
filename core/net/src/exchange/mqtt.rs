//! The device API over an MQTT 3.1.1 connection.
//!
//! The protocol's [`Client`] knows what MQTT asks for; the device owns its connection and drives it by hand: no task, no channel
//! and no packet store of its own, because DPS sessions do not persist and a device has one request under way at most.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use fleetstorm_protocol::mqtt::packet::{Connect, Packet, QoS};
use fleetstorm_protocol::mqtt::{Client, Said, Unfit};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{ApiVersion, Operation, OperationId, Reply, http, mqtt as spelling};
use fleetstorm_units::time::Moment;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{AGENT, Carrier, broke_opening, broke_under_request};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::packets::Packets;
use crate::{ConnectTimes, NetError};

/// A packet beyond this is no answer of DPS, whose messages have at most 96 KB.
const PACKET_MAX_BYTES: usize = 256 * 1024;

/// An open MQTT connection that is subscribed to the answers.
pub struct Link<S> {
    packets: Packets<S>,
    client: Client,
    clock: Clock,
    /// Rings when the machine has something to do.
    alarm: Deadline,
    /// The id of the last request.
    rid: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Connects and subscribes, in this order and each answered before the next: an answer that comes before its
    /// subscription is lost.
    pub async fn open(
        stream: S,
        caller: &Caller,
        carrier: &Carrier,
        times: &mut ConnectTimes,
    ) -> Result<Self, NetError> {
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
    ) -> Result<Self, NetError> {
        let mut link = Self::start(stream, connect, clock);
        let started = clock.now();
        let answer = link.turn().await?;
        let connected = clock.now();
        if !matches!(answer, Err(Unfit::NoConnack)) {
            times.connack = Some(connected.since(started));
        }
        answer.map_err(|unfit| match unfit {
            Unfit::Refused(code) => NetError::new(code.fault().unwrap_or(Fault::Protocol), unfit),
            _ => NetError::new(Fault::Protocol, unfit),
        })?;
        let subscribed =
            link.client.subscribe(filter, QoS::AtLeastOnce, &mut |packet| link.packets.queue(&packet));
        subscribed.map_err(NetError::to(Fault::Protocol))?;
        let Ok(Said::Subscribed(granted)) = link.turn().await? else {
            return Err(NetError::new(Fault::Protocol, "the answer to SUBSCRIBE is no SUBACK to it"));
        };
        times.subscribe = Some(clock.now().since(connected));
        // Whoever does not serve these topics is no DPS.
        granted.map(|_| link).ok_or_else(|| NetError::new(Fault::Protocol, "the subscription was refused"))
    }

    fn start(stream: S, connect: Connect, clock: Clock) -> Self {
        let mut packets = Packets::new(stream, PACKET_MAX_BYTES);
        let client = Client::start(clock.now(), connect, &mut |packet| packets.queue(&packet));
        Self { packets, client, clock, alarm: Deadline::default(), rid: 0 }
    }

    /// Sends what is said before the first request and reads what comes back.
    async fn turn(&mut self) -> Result<Result<Said, Unfit>, NetError> {
        let packet = async {
            self.packets.flush().await?;
            self.packets.next().await
        };
        let packet = packet.await.map_err(broke_opening)?;
        Ok(self.take(packet))
    }

    fn take(&mut self, packet: Packet) -> Result<Said, Unfit> {
        self.client.take(self.clock.now(), packet, &mut |packet| self.packets.queue(&packet))
    }

    /// Publishes a request and reads the answer with its id; answers to other requests come too late or twice and are
    /// passed over.
    pub async fn exchange(
        &mut self,
        caller: &Caller,
        operation: Operation,
        id: Option<&OperationId>,
    ) -> Result<Reply, NetError> {
        // What came meanwhile belongs to the past; a connection that has ended must not take the request with it.
        std::future::poll_fn(|context| {
            loop {
                match self.poll_said(context) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(NetError { fault: Fault::Closed, ..error }));
                    }
                    Poll::Pending => return Poll::Ready(Ok(())),
                }
            }
        })
        .await?;
        self.rid = self.rid.wrapping_add(1);
        let mut topic = String::with_capacity(160);
        if !spelling::request_topic(operation, self.rid, id, &mut topic) {
            return Err(NetError::new(Fault::Protocol, "the request's topic cannot be spelled"));
        }
        self.publish(topic, QoS::AtLeastOnce, caller.payload(operation))?;
        let rid = self.rid;
        std::future::poll_fn(|context| {
            loop {
                let Said::Published(publish) = ready!(self.poll_said(context))? else { continue };
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
                if ready!(self.poll_said(context)).is_err() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    /// Sends a DISCONNECT as far as that goes without waiting.
    pub fn hang_up(mut self) {
        self.client.disconnect(&mut |packet| self.packets.queue(&packet));
        let _ = self.packets.poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }

    /// Queues a publication.
    pub(super) fn publish(
        &mut self,
        topic: impl Into<String>,
        qos: QoS,
        payload: impl Into<Bytes>,
    ) -> Result<(), NetError> {
        let out = &mut |packet| self.packets.queue(&packet);
        let published = self.client.publish(self.clock.now(), topic, qos, payload, out);
        published.map(drop).map_err(NetError::to(Fault::Protocol))
    }

    /// Sends what is queued.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        self.packets.poll_flush(context).map_err(broke_under_request)
    }

    /// What the next packet means. Sends what is queued and the pings.
    pub(super) fn poll_said(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, NetError>> {
        let unfit = NetError::to::<Unfit>;
        loop {
            // What has come counts even if nothing more can be sent, so reading goes first.
            if let Poll::Ready(packet) = self.packets.poll_next(context) {
                let said = self.take(packet.map_err(broke_under_request)?);
                if self.packets.has_queued() {
                    let _ = self.packets.poll_flush(context);
                }
                return Poll::Ready(said.map_err(unfit(Fault::Lost)));
            }
            if let Poll::Ready(Err(error)) = self.poll_flush(context) {
                return Poll::Ready(Err(error));
            }
            let due = self.client.due();
            if due == Moment::FAR {
                return Poll::Pending;
            }
            ready!(self.alarm.until(self.clock.instant(due)).poll(context));
            let ticked = self.client.tick(self.clock.now(), &mut |packet| self.packets.queue(&packet));
            ticked.map_err(unfit(Fault::Lost))?;
        }
    }
}

/// What a device needs to connect and to spell its requests.
pub struct Caller {
    id_scope: Arc<str>,
    registration_id: String,
    api_version: ApiVersion,
    body: Bytes,
    token: Option<Box<str>>,
}

impl Caller {
    pub fn new(
        (id_scope, api_version): (Arc<str>, ApiVersion),
        registration_id: String,
        extra: Option<&str>,
    ) -> Self {
        let body = http::body(&registration_id, extra).into();
        Self { id_scope, registration_id, api_version, body, token: None }
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
        let version = self.api_version.name();
        spelling::user_name(&self.id_scope, &self.registration_id, version, AGENT, &mut user);
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
