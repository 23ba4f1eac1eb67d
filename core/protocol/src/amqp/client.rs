//! A device's end of a connection.

use super::frame::{Protocol, Unit, write_amqp, write_header, write_sasl};
use super::link::{Receiving, Sending, WINDOW};
use super::message::{read_answer, write_request};
use super::performative::{
    Attach, Begin, Detach, Disposition, Error, Flow, Open, Performative, State, Terminus, Transfer, read,
    write,
};
use super::sasl::{self, Sasl};
use super::{Malformed, Mechanism, Role, condition, condition_of, status_of};
use crate::http::read_reply;
use crate::outcome::Fault;
use crate::{Body, Operation, OperationId, RegistrationState, Reply, RetryAfter, Status};

/// What a device says of itself while it connects.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The host that is dialled.
    pub hostname: &'a str,
    /// The registration id, which names the container too.
    pub registration_id: &'a str,
    /// The address of the links and the user name; see [`super::address`].
    pub address: &'a str,
    /// The token. Without one there is no SASL layer: the certificate of the TLS connection counts.
    pub token: Option<&'a str>,
    /// The version of the device API.
    pub api_version: &'a str,
    /// The client's agent string.
    pub agent: &'a str,
    /// After how much silence of the service the device gives up, in milliseconds; it is asked for half of it.
    pub idle_time_out_ms: Option<u32>,
}

/// What came of a unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Nothing yet.
    Nothing,
    /// The SASL layer is over.
    Authenticated,
    /// Requests can be made.
    Ready,
    /// The answer to the request.
    Answer(Box<Reply>),
    /// The service ends the connection.
    Over,
}

/// Where an opening connection is: what is waited for. As the clients of DPS do, nothing is sent ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    SaslHeader,
    Mechanisms,
    Outcome,
    Header,
    Open,
    Begin,
    Receiver,
    Sender,
    Credit,
    Ready,
    Over,
}

/// The handles of this end's links.
const RECEIVER: u32 = 0;
const SENDER: u32 = 1;

/// Answers that the service may send ahead. A device has one request under way.
const CREDIT: u32 = 16;

/// The shortest time between two signs of life.
const HEARTBEAT_LEAST_MS: u32 = 500;

/// The longest frame that is taken.
const FRAME_MAX_BYTES: u32 = 64 * 1024;

/// A connection of a device, from its first byte to its last.
#[derive(Debug)]
pub struct Client {
    stage: Stage,
    sending: Sending,
    receiving: Receiving,
    /// The service's handle of the link that this end sends on.
    sender_there: Option<u32>,
    /// The service's idle time-out in milliseconds.
    idle_there_ms: Option<u32>,
    /// The request that is under way: its delivery and its correlation id.
    asked: Option<(u32, u32)>,
    correlation: u32,
}

impl Client {
    /// Opens a connection: writes its first bytes.
    pub fn start(terms: &Terms<'_>, out: &mut Vec<u8>) -> Self {
        let (stage, protocol) = match terms.token {
            Some(_) => (Stage::SaslHeader, Protocol::Sasl),
            None => (Stage::Header, Protocol::Amqp),
        };
        write_header(protocol, out);
        Self {
            stage,
            sending: Sending::new(),
            receiving: Receiving::new(CREDIT),
            sender_there: None,
            idle_there_ms: None,
            asked: None,
            correlation: 0,
        }
    }

    /// The longest frame that this end takes.
    pub const fn frame_max_bytes(&self) -> usize {
        FRAME_MAX_BYTES as usize
    }

    /// How long this end may be silent, in milliseconds: half of what the service bears (2.4.5). One that bears next to
    /// nothing gives the connection up, rather than having it filled with signs of life.
    pub fn heartbeat_ms(&self) -> Option<u32> {
        self.idle_there_ms.filter(|ms| *ms > 0).map(|ms| (ms / 2).max(HEARTBEAT_LEAST_MS))
    }

    /// Whether a message of so many bytes can be sent now.
    pub fn may_ask(&self, bytes: usize) -> bool {
        self.stage == Stage::Ready && self.sending.ready(bytes)
    }

    /// Whether the connection is of no use any more.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Makes a request; `false`, and nothing written, for what AMQP has no word for. Call only when [`Self::may_ask`].
    pub fn ask(
        &mut self,
        operation: Operation,
        id: Option<&OperationId>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        self.correlation = self.correlation.wrapping_add(1);
        let mut message = Vec::with_capacity(body.len() + 256);
        if !write_request(operation, id, self.correlation, body, &mut message) {
            return false;
        }
        self.asked = Some((self.sending.send(&message, out), self.correlation));
        true
    }

    /// Says goodbye.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if !matches!(
            self.stage,
            Stage::SaslHeader | Stage::Mechanisms | Stage::Outcome | Stage::Header | Stage::Over
        ) {
            write_amqp(out, |out| write(&Performative::Close(None), out));
        }
        self.stage = Stage::Over;
    }

    /// Takes what came before [`Said::Ready`], and writes what it asks for.
    ///
    /// # Errors
    /// The service refuses the connection, or speaks something else.
    pub fn greet(&mut self, unit: &Unit<'_>, terms: &Terms<'_>, out: &mut Vec<u8>) -> Result<Said, Fault> {
        match unit {
            Unit::Header(protocol) => self.header(*protocol, terms, out),
            Unit::Sasl(body) => self.sasl(sasl::read(body).map_err(protocol)?, terms, out),
            Unit::Amqp { .. } => match (self.stage, perform(unit)?) {
                (Stage::Begin, Some(Performative::Begin(begin))) => {
                    self.sending.begin(&begin);
                    self.receiving.begin(&begin);
                    self.attach(Role::Receiver, terms, out);
                    self.stage = Stage::Receiver;
                    Ok(Said::Nothing)
                }
                (Stage::Receiver | Stage::Sender, Some(Performative::Attach(attach))) => {
                    self.attached(&attach, terms, out)
                }
                (_, performative) => self.perform(performative, out),
            },
        }
    }

    /// Takes what came after it, and writes what it asks for.
    ///
    /// # Errors
    /// The service speaks something else, or did not act on the request.
    pub fn take(&mut self, unit: &Unit<'_>, out: &mut Vec<u8>) -> Result<Said, Fault> {
        let performative = perform(unit)?;
        self.perform(performative, out)
    }

    fn header(
        &mut self,
        protocol: Option<Protocol>,
        terms: &Terms<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Said, Fault> {
        self.stage = match (self.stage, protocol) {
            (Stage::SaslHeader, Some(Protocol::Sasl)) => Stage::Mechanisms,
            (Stage::Header, Some(Protocol::Amqp)) => {
                let open = Open {
                    container_id: terms.registration_id,
                    hostname: Some(terms.hostname),
                    max_frame_size: FRAME_MAX_BYTES,
                    channel_max: 0,
                    idle_time_out_ms: terms.idle_time_out_ms.map(|ms| ms / 2),
                };
                say(Performative::Open(open), out);
                Stage::Open
            }
            _ => return Err(Fault::Protocol),
        };
        Ok(Said::Nothing)
    }

    fn sasl(&mut self, sasl: Sasl<'_>, terms: &Terms<'_>, out: &mut Vec<u8>) -> Result<Said, Fault> {
        match (self.stage, sasl) {
            (Stage::Mechanisms, Sasl::Mechanisms(offered)) if offered.contains(&Mechanism::Plain) => {
                let response = sasl::plain(terms.address, terms.token.unwrap_or_default());
                let init = Sasl::Init {
                    mechanism: Mechanism::Plain.name(),
                    initial_response: Some(&response),
                    hostname: Some(terms.hostname),
                };
                write_sasl(out, |out| sasl::write(&init, out));
                self.stage = Stage::Outcome;
                Ok(Said::Nothing)
            }
            (Stage::Outcome, Sasl::Outcome(0)) => {
                write_header(Protocol::Amqp, out);
                self.stage = Stage::Header;
                Ok(Said::Authenticated)
            }
            // Codes of part 5, 5.3.3.6: 1 is about the credentials, the others are the server's trouble.
            (Stage::Outcome, Sasl::Outcome(1)) => Err(Fault::BadCredentials),
            (Stage::Outcome, Sasl::Outcome(_)) => Err(Fault::Unavailable),
            _ => Err(Fault::Protocol),
        }
    }

    fn perform(&mut self, performative: Option<Performative<'_>>, out: &mut Vec<u8>) -> Result<Said, Fault> {
        // Without one, the service only says that it lives.
        let Some(performative) = performative else { return Ok(Said::Nothing) };
        match (self.stage, performative) {
            (Stage::Open, Performative::Open(open)) => {
                self.sending.frames(open.max_frame_size).ok_or(Fault::Protocol)?;
                self.idle_there_ms = open.idle_time_out_ms;
                say(Performative::Begin(begin()), out);
                self.stage = Stage::Begin;
                Ok(Said::Nothing)
            }
            (
                Stage::Begin | Stage::Receiver | Stage::Sender | Stage::Credit | Stage::Ready,
                Performative::Flow(flow),
            ) => Ok(self.flow(&flow, out)),
            (Stage::Ready, Performative::Transfer(transfer)) => self.transfer(&transfer, out),
            (Stage::Ready, Performative::Disposition(disposition)) => self.disposed(&disposition),
            (_, Performative::Detach(detach)) => {
                self.detached(detach.error.as_ref(), Some(detach.handle), out)
            }
            (_, Performative::End(error) | Performative::Close(error)) => {
                self.detached(error.as_ref(), None, out)
            }
            // What comes after a link has gone belongs to it.
            (Stage::Over, _) => Ok(Said::Nothing),
            _ => Err(Fault::Protocol),
        }
    }

    fn flow(&mut self, flow: &Flow, out: &mut Vec<u8>) -> Said {
        self.sending.flow(flow, flow.handle.is_some() && flow.handle == self.sender_there);
        if flow.echo {
            self.receiving.say(&self.sending, Some(RECEIVER), out);
        }
        if self.stage == Stage::Credit && self.sending.ready(1) {
            self.stage = Stage::Ready;
            return Said::Ready;
        }
        Said::Nothing
    }

    fn attach(&self, role: Role, terms: &Terms<'_>, out: &mut Vec<u8>) {
        let (here, there) = (Some(Terminus::default()), Some(Terminus { address: Some(terms.address) }));
        let (name, handle, source, target) = match role {
            Role::Receiver => ("receiver", RECEIVER, there, here),
            Role::Sender => ("sender", SENDER, here, there),
        };
        let attach = Attach {
            name,
            handle,
            role,
            source,
            target,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            api_version: Some(terms.api_version),
            client_version: Some(terms.agent),
        };
        say(Performative::Attach(attach), out);
    }

    fn attached(&mut self, attach: &Attach<'_>, terms: &Terms<'_>, out: &mut Vec<u8>) -> Result<Said, Fault> {
        match (self.stage, attach.role) {
            // Without an end of its own the link is refused: why, says the detach that follows (2.6.3).
            (Stage::Receiver, Role::Sender) if attach.source.is_none() => {}
            (Stage::Sender, Role::Receiver) if attach.target.is_none() => {}
            (Stage::Receiver, Role::Sender) => {
                self.receiving.attach(attach.handle, attach.initial_delivery_count);
                self.receiving.replenish(0, &self.sending, RECEIVER, out);
                self.attach(Role::Sender, terms, out);
                self.stage = Stage::Sender;
            }
            (Stage::Sender, Role::Receiver) => {
                self.sending.attach(SENDER);
                self.sender_there = Some(attach.handle);
                self.stage = Stage::Credit;
            }
            _ => return Err(Fault::Protocol),
        }
        Ok(Said::Nothing)
    }

    /// A part of an answer. One that comes too late or twice is taken and passed over.
    fn transfer(&mut self, transfer: &Transfer<'_>, out: &mut Vec<u8>) -> Result<Said, Fault> {
        let Some(delivery) = self.receiving.take(transfer).map_err(protocol)? else {
            return Ok(Said::Nothing);
        };
        if !delivery.settled {
            let disposition = Disposition {
                role: Role::Receiver,
                first: delivery.id,
                last: None,
                settled: true,
                state: Some(State::Accepted),
            };
            say(Performative::Disposition(disposition), out);
        }
        self.receiving.replenish(0, &self.sending, RECEIVER, out);
        let answer = read_answer(&delivery.message).map_err(protocol)?;
        let Some((_, correlation)) = self.asked else { return Ok(Said::Nothing) };
        if answer.correlation.and_then(|text| text.parse().ok()) != Some(correlation) {
            return Ok(Said::Nothing);
        }
        self.asked = None;
        let mut reply = read_reply(Status::OK, answer.retry_after, None, &answer.body);
        reply.status = answer.status.unwrap_or_else(|| status_in(&reply.body));
        Ok(Said::Answer(Box::new(reply)))
    }

    /// What became of the request. That it was accepted says nothing yet.
    fn disposed(&mut self, disposition: &Disposition<'_>) -> Result<Said, Fault> {
        let about = self
            .asked
            .filter(|(delivery, _)| disposition.role == Role::Receiver && disposition.covers(*delivery));
        if about.is_none() {
            return Ok(Said::Nothing);
        }
        match &disposition.state {
            Some(State::Rejected(error)) => {
                self.asked = None;
                Ok(Said::Answer(Box::new(refusal(error.as_ref()))))
            }
            // The service says that it did not act on it.
            Some(State::Released | State::Modified) => Err(Fault::Closed),
            Some(State::Accepted | State::Received) | None => Ok(Said::Nothing),
        }
    }

    /// A link, the session or the connection has ended.
    fn detached(
        &mut self,
        error: Option<&Error<'_>>,
        link: Option<u32>,
        out: &mut Vec<u8>,
    ) -> Result<Said, Fault> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        match link {
            Some(handle) => {
                let handle = if Some(handle) == self.sender_there { SENDER } else { RECEIVER };
                say(Performative::Detach(Detach { handle, closed: true, error: None }), out);
            }
            None => say(Performative::Close(None), out),
        }
        match (stage, self.asked.take(), error) {
            (Stage::Ready, Some(_), Some(error)) => {
                let reply = refusal(Some(error));
                // Only the service's own words answer the request; everything else may have come across it.
                Ok(if matches!(reply.body, Body::Error(_)) {
                    Said::Answer(Box::new(reply))
                } else {
                    Said::Over
                })
            }
            (Stage::Ready | Stage::Over, ..) => Ok(Said::Over),
            (_, _, error) => Err(error.map_or(Fault::Closed, |error| refused(error.condition))),
        }
    }
}

/// What a frame says; `None` if nothing.
fn perform<'a>(unit: &Unit<'a>) -> Result<Option<Performative<'a>>, Fault> {
    match unit {
        Unit::Amqp { channel: 0, body } => read(body).map_err(protocol),
        _ => Err(Fault::Protocol),
    }
}

fn protocol(_: Malformed) -> Fault {
    Fault::Protocol
}

fn say(performative: Performative<'_>, out: &mut Vec<u8>) {
    write_amqp(out, |out| write(&performative, out));
}

fn begin() -> Begin {
    Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window: WINDOW,
        outgoing_window: u32::MAX,
        handle_max: SENDER,
    }
}

/// What it means that the service lets no link or connection stand.
fn refused(condition: &str) -> Fault {
    match condition {
        condition::UNAUTHORIZED | condition::NOT_ALLOWED => Fault::NotAuthorized,
        condition::NOT_FOUND
        | condition::DELETED
        | condition::LOCKED
        | condition::THROTTLED
        | condition::LIMIT_EXCEEDED
        | condition::INTERNAL_ERROR => Fault::Unavailable,
        // Nothing is wrong with the device: it may come again.
        condition::CONNECTION_FORCED | condition::DETACH_FORCED | condition::STOLEN => Fault::Closed,
        _ => Fault::Protocol,
    }
}

/// The reply that a rejection is. Its description is the error body; without one, the condition says what it can.
fn refusal(error: Option<&Error<'_>>) -> Reply {
    let condition = error.map_or(condition_of(Status::BAD_REQUEST), |error| error.condition);
    let retry_after = error.map_or(RetryAfter::Absent, |error| error.retry_after);
    let description = error.and_then(|error| error.description).unwrap_or_default();
    let reply = read_reply(status_of(condition), retry_after, None, description.as_bytes());
    match &reply.body {
        Body::Error(body) => match u16::try_from(body.code / 1_000) {
            Ok(status @ 400..=599) => Reply { status: Status(status), ..reply },
            _ => reply,
        },
        _ => Reply { body: Body::Empty, ..reply },
    }
}

/// The status of an answer that does not say it: AMQP has none of its own.
fn status_in(body: &Body) -> Status {
    match body {
        Body::Operation { state: RegistrationState::Assigning | RegistrationState::Unassigned, .. } => {
            Status::ACCEPTED
        }
        Body::Error(error) => u16::try_from(error.code / 1_000).map_or(Status::INTERNAL_ERROR, Status),
        _ => Status::OK,
    }
}
