//! The service's end of a connection.
//!
//! It offers SASL, one session, and on it one link each way, both for one device. What a client is allowed to have under
//! way is its credit, so that nothing has to be dropped and nothing grows.

mod wrong;

use std::borrow::Cow;

use super::frame::{Protocol, Unit, write_amqp, write_header, write_sasl};
use super::link::{Receiving, Sending, WINDOW};
use super::message::write_answer;
use super::performative::{
    Attach, Begin, Detach, Disposition, Error, Open, Performative, State, Terminus, read, write,
};
use super::sasl::{self, Sasl};
use super::tpm::{self, Tpm};
use super::{
    Malformed, Mechanism, RetryAfterKeys, Role, condition, condition_of, read_address, split_address,
};
use crate::{RetryAfter, Status};
pub use wrong::Misanswer;

/// Who has come, as its links and its SASL layer say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The id scope as it was spelled.
    pub id_scope: String,
    /// The registration id as it was spelled.
    pub registration_id: String,
    /// `com.microsoft:api-version` of its first link.
    pub api_version: Option<String>,
}

/// Why a link is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status; it gives the condition.
    pub status: Status,
    /// The error body.
    pub description: String,
}

/// What an opening connection has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The SASL layer has ended well.
    Sasl,
    /// The connection is open.
    Open,
    /// The session has begun.
    Begin,
    /// The link that carries requests is attached.
    Attach,
}

/// What came of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Nothing that the service has to know.
    Nothing,
    /// Nothing yet; the connection opens, and what was written says so.
    Greeted(Greeting),
    /// A request, which counts against the client's credit until it is answered.
    Request {
        /// Its delivery number.
        delivery: u32,
        /// Whether the client does not want to hear what became of it.
        settled: bool,
        /// The message; see [`super::read_request`].
        message: Cow<'a, [u8]>,
    },
    /// A TPM wants to prove itself; answer with [`Server::challenge`].
    Tpm,
    /// The connection is over once what was written is sent.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was said yet.
    Start,
    SaslInit,
    /// What a TPM is asked for: its storage root key, that it has the first part of the challenge, its token.
    TpmStorageKey,
    TpmPart,
    TpmToken,
    /// The SASL layer is over.
    Authenticated,
    Open,
    Begin,
    Session,
    /// The session has ended.
    Ended,
    Over,
}

/// Requests that a client may have under way.
const CREDIT: u32 = 16;

/// The longest frame before the connection is open: an identity and a token.
const GREETING_MAX_BYTES: usize = 8 * 1024;

/// The longest frame after it.
const FRAME_MAX_BYTES: u32 = 64 * 1024;

/// The highest handle.
const HANDLE_MAX: u32 = 7;

/// The shortest idle time-out that a client may ask for, in milliseconds: it is asked for a frame in half of it.
const IDLE_MIN_MS: u32 = 1_000;

/// A client's connection, from its first byte to its last.
#[derive(Debug)]
pub struct Server {
    stage: Stage,
    token: Option<Box<str>>,
    /// The TPM that proves itself, and the last part of its challenge.
    tpm: Option<Box<(Tpm, Vec<u8>)>>,
    guest: Option<Box<Guest>>,
    sending: Sending,
    /// Whether the link to the client is attached.
    attached: bool,
    receiving: Receiving,
    /// Requests that are not answered yet.
    pending: u32,
    /// How it spells `retry-after`.
    keys: RetryAfterKeys,
    idle_here_ms: u32,
    idle_there_ms: Option<u32>,
}

impl Server {
    /// A connection on which nothing was said yet. After `idle_ms` without a frame the client is given up; it is asked
    /// for one in half of that.
    pub fn new(idle_ms: u32) -> Self {
        Self {
            stage: Stage::Start,
            token: None,
            tpm: None,
            guest: None,
            sending: Sending::new(),
            attached: false,
            receiving: Receiving::new(CREDIT),
            pending: 0,
            keys: RetryAfterKeys::default(),
            idle_here_ms: idle_ms,
            idle_there_ms: None,
        }
    }

    /// The longest frame that is taken now.
    pub const fn frame_max_bytes(&self) -> usize {
        if self.is_open() { FRAME_MAX_BYTES as usize } else { GREETING_MAX_BYTES }
    }

    /// Whether the client has opened its connection.
    pub const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Begin | Stage::Session | Stage::Ended)
    }

    /// Whether the connection has ended.
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// How long this end may be silent, in milliseconds: half of what the client bears.
    pub fn heartbeat_ms(&self) -> Option<u32> {
        self.idle_there_ms.map(|ms| ms / 2)
    }

    /// Who is at the other end, once a link of it was let in.
    pub fn guest(&self) -> Option<&Guest> {
        self.guest.as_deref()
    }

    /// The token of its SASL layer.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether an answer with a body of so many bytes can be sent now: a client without a link for it, or without
    /// credit, waits for its own answers.
    pub fn may_answer(&self, body_bytes: usize) -> bool {
        self.attached && self.sending.ready(body_bytes + ANSWER_MAX_BYTES)
    }

    /// Takes what came, and writes what it asks for. A new device's link is let in if `admit` says so.
    ///
    /// # Errors
    /// The client breaks the protocol: the connection is over once what was written is sent.
    pub fn take<'a>(
        &mut self,
        unit: &Unit<'a>,
        admit: &mut dyn FnMut(&Guest) -> Result<(), Refusal>,
        out: &mut Vec<u8>,
    ) -> Result<Heard<'a>, Malformed> {
        let taken = match unit {
            _ if self.stage == Stage::Over => Ok(Heard::Over),
            Unit::Header(protocol) => self.header(*protocol, out),
            Unit::Sasl(body) => sasl::read(body).and_then(|sasl| self.sasl(sasl, out)),
            Unit::Amqp { channel, body } => read(body).and_then(|performative| match performative {
                None => Ok(Heard::Nothing),
                Some(_) if *channel != 0 => Err(Malformed::Frame),
                Some(performative) => self.perform(performative, admit, out),
            }),
        };
        if let Err(malformed) = taken {
            self.fail(malformed, out);
        }
        taken
    }

    /// Ends the connection because of what came.
    pub fn fail(&mut self, malformed: Malformed, out: &mut Vec<u8>) {
        let condition = match malformed {
            Malformed::Frame | Malformed::TooLong => condition::FRAMING_ERROR,
            Malformed::Incomplete | Malformed::Type | Malformed::Text | Malformed::Missing => {
                condition::DECODE_ERROR
            }
        };
        self.close(condition, &malformed.to_string(), out);
    }

    /// Ends the connection because the client was silent for too long.
    pub fn give_up(&mut self, out: &mut Vec<u8>) {
        self.close(condition::LIMIT_EXCEEDED, "silent for longer than the idle time-out", out);
    }

    fn close(&mut self, condition: &'static str, description: &str, out: &mut Vec<u8>) {
        if self.is_open() {
            say(Performative::Close(Some(Error::of(condition, Some(description)))), out);
        }
        self.stage = Stage::Over;
    }

    fn header(&mut self, protocol: Option<Protocol>, out: &mut Vec<u8>) -> Result<Heard<'static>, Malformed> {
        match (self.stage, protocol) {
            (Stage::Start, Some(Protocol::Sasl)) => {
                write_header(Protocol::Sasl, out);
                let mechanisms = Sasl::Mechanisms(Mechanism::ALL.to_vec());
                write_sasl(out, |out| sasl::write(&mechanisms, out));
                self.stage = Stage::SaslInit;
            }
            (Stage::Start | Stage::Authenticated, Some(Protocol::Amqp)) => {
                write_header(Protocol::Amqp, out);
                self.stage = Stage::Open;
            }
            (Stage::Start, None) => {
                // What is spoken here (2.2).
                write_header(Protocol::Sasl, out);
                self.stage = Stage::Over;
                return Ok(Heard::Over);
            }
            _ => return Err(Malformed::Frame),
        }
        Ok(Heard::Nothing)
    }

    /// What is wrong with a token the client is told with its first answer; here it only has to be one.
    fn sasl(&mut self, sasl: Sasl<'_>, out: &mut Vec<u8>) -> Result<Heard<'static>, Malformed> {
        match (self.stage, sasl) {
            (Stage::SaslInit, Sasl::Init { mechanism, initial_response, .. }) => {
                Ok(self.init(Mechanism::of(mechanism), initial_response.unwrap_or_default(), out))
            }
            (Stage::TpmStorageKey, Sasl::Response(response)) => {
                let good = self.tpm.as_mut().is_some_and(|tpm| tpm.0.take_storage_root_key(response));
                Ok(if good { Heard::Tpm } else { self.outcome(false, out) })
            }
            (Stage::TpmPart, Sasl::Response(_)) => {
                let last = self.tpm.take().map(|tpm| tpm.1).unwrap_or_default();
                write_sasl(out, |out| sasl::write(&Sasl::Challenge(&last), out));
                self.stage = Stage::TpmToken;
                Ok(Heard::Nothing)
            }
            (Stage::TpmToken, Sasl::Response(response)) => {
                self.token = tpm::read_token(response).map(Into::into);
                Ok(self.outcome(self.token.is_some(), out))
            }
            _ => Err(Malformed::Frame),
        }
    }

    fn init(&mut self, mechanism: Option<Mechanism>, response: &[u8], out: &mut Vec<u8>) -> Heard<'static> {
        let admitted = match mechanism {
            Some(Mechanism::Plain) => match sasl::read_plain(response) {
                // Whom it names the links say.
                Some((user, token)) if split_address(user).is_some() => {
                    self.token = Some(token.into());
                    true
                }
                _ => false,
            },
            Some(Mechanism::External | Mechanism::Anonymous) => true,
            Some(Mechanism::Tpm) => {
                if let Some(tpm) = Tpm::read(response) {
                    self.tpm = Some(Box::new((tpm, Vec::new())));
                    write_sasl(out, |out| sasl::write(&Sasl::Challenge(&tpm::STORAGE_KEY_PLEASE), out));
                    self.stage = Stage::TpmStorageKey;
                    return Heard::Nothing;
                }
                false
            }
            None => false,
        };
        self.outcome(admitted, out)
    }

    /// Ends the SASL layer. Outcome 1 says that it is the credentials that are wrong.
    fn outcome(&mut self, admitted: bool, out: &mut Vec<u8>) -> Heard<'static> {
        write_sasl(out, |out| sasl::write(&Sasl::Outcome(u8::from(!admitted)), out));
        self.stage = if admitted { Stage::Authenticated } else { Stage::Over };
        if admitted { Heard::Greeted(Greeting::Sasl) } else { Heard::Over }
    }

    /// The TPM that wants to prove itself.
    pub fn tpm(&self) -> Option<&Tpm> {
        self.tpm.as_deref().map(|(tpm, _)| tpm)
    }

    /// Challenges it; without a challenge it is refused.
    pub fn challenge(&mut self, challenge: Option<&[u8]>, out: &mut Vec<u8>) {
        match (challenge.map(tpm::parts), &mut self.tpm) {
            (Some([first, last]), Some(tpm)) => {
                tpm.1 = last;
                write_sasl(out, |out| sasl::write(&Sasl::Challenge(&first), out));
                self.stage = Stage::TpmPart;
            }
            _ => {
                self.outcome(false, out);
            }
        }
    }

    fn perform<'a>(
        &mut self,
        performative: Performative<'a>,
        admit: &mut dyn FnMut(&Guest) -> Result<(), Refusal>,
        out: &mut Vec<u8>,
    ) -> Result<Heard<'a>, Malformed> {
        match (self.stage, performative) {
            (Stage::Open, Performative::Open(open)) => return self.open(&open, out),
            (Stage::Begin, Performative::Begin(begin)) => {
                self.sending.begin(&begin);
                self.receiving.begin(&begin);
                say(
                    Performative::Begin(Begin {
                        remote_channel: Some(0),
                        next_outgoing_id: 0,
                        incoming_window: WINDOW,
                        outgoing_window: u32::MAX,
                        handle_max: HANDLE_MAX,
                    }),
                    out,
                );
                self.stage = Stage::Session;
                return Ok(Heard::Greeted(Greeting::Begin));
            }
            (Stage::Session, Performative::Attach(attach)) => return self.attach(&attach, admit, out),
            (Stage::Session, Performative::Flow(flow)) => {
                let ours = self.attached && flow.handle == Some(self.sending.handle);
                self.sending.flow(&flow, ours);
                if flow.echo {
                    self.receiving.say(&self.sending, self.receiving.handle, out);
                }
            }
            (Stage::Session, Performative::Transfer(transfer)) => {
                if let Some(delivery) = self.receiving.take(&transfer)? {
                    self.pending += 1;
                    return Ok(Heard::Request {
                        delivery: delivery.id,
                        settled: delivery.settled,
                        message: delivery.message,
                    });
                }
            }
            // An answer is sent once, whatever becomes of it.
            (Stage::Session, Performative::Disposition(_)) => {}
            (Stage::Session, Performative::Detach(detach)) => self.detach(detach.handle, out),
            (Stage::Session, Performative::End(_)) => {
                self.detach(self.sending.handle, &mut Vec::new());
                say(Performative::End(None), out);
                self.stage = Stage::Ended;
            }
            (Stage::Begin | Stage::Session | Stage::Ended, Performative::Close(_)) => {
                say(Performative::Close(None), out);
                self.stage = Stage::Over;
                return Ok(Heard::Over);
            }
            _ => return Err(Malformed::Frame),
        }
        Ok(Heard::Nothing)
    }

    fn open(&mut self, open: &Open<'_>, out: &mut Vec<u8>) -> Result<Heard<'static>, Malformed> {
        self.sending.frames(open.max_frame_size).ok_or(Malformed::Frame)?;
        let answer = Open {
            container_id: "fleetstorm",
            hostname: None,
            max_frame_size: FRAME_MAX_BYTES,
            channel_max: 0,
            idle_time_out_ms: Some(self.idle_here_ms / 2),
        };
        say(Performative::Open(answer), out);
        self.stage = Stage::Begin;
        self.idle_there_ms = open.idle_time_out_ms.filter(|ms| *ms > 0);
        if self.idle_there_ms.is_some_and(|ms| ms < IDLE_MIN_MS) {
            self.close(condition::NOT_ALLOWED, "an idle time-out of less than a second", out);
            return Ok(Heard::Over);
        }
        Ok(Heard::Greeted(Greeting::Open))
    }

    fn attach(
        &mut self,
        attach: &Attach<'_>,
        admit: &mut dyn FnMut(&Guest) -> Result<(), Refusal>,
        out: &mut Vec<u8>,
    ) -> Result<Heard<'static>, Malformed> {
        let taken = |handle: Option<u32>| handle == Some(attach.handle);
        if attach.handle > HANDLE_MAX
            || taken(self.receiving.handle)
            || taken(self.attached.then_some(self.sending.handle))
        {
            return Err(Malformed::Frame);
        }
        let role = attach.role.other();
        let answer = Attach {
            name: attach.name,
            handle: attach.handle,
            role,
            source: attach.source,
            target: attach.target,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            api_version: None,
            client_version: None,
        };
        if let Err(refusal) = self.judge(attach, admit) {
            say(Performative::Attach(Attach { source: None, target: None, ..answer }), out);
            let error = Error::of(condition_of(refusal.status), Some(&refusal.description));
            let detach = Detach { handle: attach.handle, closed: true, error: Some(error) };
            say(Performative::Detach(detach), out);
            return Ok(Heard::Nothing);
        }
        say(Performative::Attach(answer), out);
        match role {
            Role::Sender => {
                self.sending.attach(attach.handle);
                self.attached = true;
                Ok(Heard::Nothing)
            }
            Role::Receiver => {
                self.receiving.attach(attach.handle, attach.initial_delivery_count);
                self.receiving.replenish(self.pending, &self.sending, attach.handle, out);
                Ok(Heard::Greeted(Greeting::Attach))
            }
        }
    }

    fn judge(
        &mut self,
        attach: &Attach<'_>,
        admit: &mut dyn FnMut(&Guest) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let refuse = |status, description: &str| Err(Refusal { status, description: description.to_owned() });
        let (busy, terminus) = match attach.role {
            Role::Receiver => (self.attached, attach.source),
            Role::Sender => (self.receiving.handle.is_some(), attach.target),
        };
        if busy {
            return refuse(Status::FORBIDDEN, "a device has one link each way");
        }
        let address = terminus.and_then(|Terminus { address }| read_address(address?));
        let Some((id_scope, registration_id)) = address else {
            return refuse(Status::NOT_FOUND, "no address of a registration");
        };
        if let Some(guest) = &self.guest {
            let same = guest.id_scope.eq_ignore_ascii_case(&id_scope)
                && guest.registration_id.eq_ignore_ascii_case(&registration_id);
            return if same { Ok(()) } else { refuse(Status::FORBIDDEN, "a connection is for one device") };
        }
        let guest = Guest { id_scope, registration_id, api_version: attach.api_version.map(Into::into) };
        admit(&guest)?;
        self.guest = Some(Box::new(guest));
        Ok(())
    }

    /// A link that is not there was refused: its client only agrees.
    fn detach(&mut self, handle: u32, out: &mut Vec<u8>) {
        let sender = self.attached && self.sending.handle == handle;
        if sender {
            self.attached = false;
        } else if self.receiving.handle == Some(handle) {
            self.receiving.detach();
        } else {
            return;
        }
        say(Performative::Detach(Detach { handle, closed: true, error: None }), out);
    }

    /// Accepts a request and sends its answer. Call only when [`Self::may_answer`].
    pub fn accept(
        &mut self,
        (delivery, settled): (u32, bool),
        correlation_id: Option<&[u8]>,
        (status, retry_after): (Status, RetryAfter),
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        self.dispose(delivery, settled, State::Accepted, out);
        self.answer(correlation_id, (status, retry_after), body, out);
        self.done(out);
    }

    fn answer(
        &mut self,
        correlation_id: Option<&[u8]>,
        (status, retry_after): (Status, RetryAfter),
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        let mut message = Vec::with_capacity(body.len() + 192);
        write_answer(correlation_id, status, (retry_after, self.keys), body, &mut message);
        self.sending.send(&message, out);
    }

    /// Rejects a request.
    pub fn reject(
        &mut self,
        (delivery, settled): (u32, bool),
        (status, retry_after): (Status, RetryAfter),
        description: &str,
        out: &mut Vec<u8>,
    ) {
        let keys = self.keys;
        let error =
            Error { condition: condition_of(status), description: Some(description), retry_after, keys };
        self.dispose(delivery, settled, State::Rejected(Some(error)), out);
        self.done(out);
    }

    fn dispose(&mut self, first: u32, settled: bool, state: State<'_>, out: &mut Vec<u8>) {
        if !settled && self.stage == Stage::Session {
            let disposition =
                Disposition { role: Role::Receiver, first, last: None, settled: true, state: Some(state) };
            say(Performative::Disposition(disposition), out);
        }
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        self.pending = self.pending.saturating_sub(1);
        if let Some(handle) = self.receiving.handle {
            self.receiving.replenish(self.pending, &self.sending, handle, out);
        }
    }
}

/// What stands around the body of an answer, at its longest.
const ANSWER_MAX_BYTES: usize = 512;

fn say(performative: Performative<'_>, out: &mut Vec<u8>) {
    write_amqp(out, |out| write(&performative, out));
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
