//! The AMQP door: one session, one link each way, and the messages of DPS on them.
//!
//! The model's [`Server`] knows the protocol; the door carries bytes to it, asks the service, and keeps answers until
//! their time has come and the client wants them. A client's credit bounds what it can have under way.

mod wrong;

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use fleetstorm_model::chaos::DoorStep;
use fleetstorm_model::service::{Call, Request as Asked};
use fleetstorm_net::frames::{Broken, Frames};
use fleetstorm_protocol::amqp::{
    Guest, Heard, Refusal, RequestCall, Server, Tpm, frame, named_by, read_request,
};
use fleetstorm_protocol::http::{read_submission, read_tpm, tpm_keys, write_reply};
use fleetstorm_protocol::{ApiVersion, Body, Operation, RetryAfter, Status, Submission};
use fleetstorm_units::time::{Moment, Span};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{House, ask};
use crate::evidence::{Peer, Presented};

/// How the log names it.
const PROTOCOL: &str = "Amqp";

/// Serves one connection until it ends. Errors of a client are its own: they end its connection and nothing else.
pub async fn serve_amqp<S>(house: Rc<House>, stream: S, peer: &Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let idle_ms = u32::try_from(house.limits.head.as_millis()).unwrap_or(u32::MAX);
    let now = house.clock.now();
    let mut talk = Talk {
        house: &house,
        peer,
        server: Server::new(idle_ms),
        frames: Frames::new(stream),
        keys: None,
        pending: VecDeque::new(),
        heard: now,
        spoke: now,
        wrong: WrongAnswers::default(),
    };
    // Boxed, so that a connected client does not carry this state for the rest of its life.
    let greeting = Box::pin(tokio::time::timeout(house.limits.connect, talk.greet()));
    if matches!(greeting.await, Ok(Some(()))) {
        talk.run().await;
    }
    // What was said last is still due: it says why.
    let _ = tokio::time::timeout(house.limits.body, talk.frames.shutdown()).await;
}

/// What faults have to remember.
#[derive(Default)]
struct WrongAnswers {
    /// The registration id that the client has named before it has a link.
    name: Option<Box<str>>,
    /// The correlation id of the answer before, and whether there was one.
    correlation_id: Option<Box<[u8]>>,
    earlier: bool,
}

/// An answer that a latency or a shaping queue still holds, or that its client does not want yet.
struct Answer {
    at: Moment,
    /// The request's delivery, and whether it is settled.
    delivery: (u32, bool),
    correlation_id: Option<Box<[u8]>>,
    operation: Operation,
    status: Status,
    retry_after: RetryAfter,
    body: Vec<u8>,
}

/// One client.
struct Talk<'a, S> {
    house: &'a Rc<House>,
    peer: &'a Peer,
    server: Server,
    frames: Frames<S>,
    /// The keys of a TPM that has come through SASL, as the body of a registration has them.
    keys: Option<Box<str>>,
    /// In the order of the requests.
    pending: VecDeque<Answer>,
    /// When the last frame came, and when the last one was sent.
    heard: Moment,
    spoke: Moment,
    wrong: WrongAnswers,
}

/// What comes first.
enum Event {
    Unit(Bytes),
    AnswerDue,
    /// The client wants a sign of life.
    Heartbeat,
    Silent,
    /// What came is no frame.
    Malformed(Broken),
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    /// Everything up to the opening of the connection.
    async fn greet(&mut self) -> Option<()> {
        while !self.server.is_open() {
            self.frames.flush().await.ok()?;
            let unit = self.frames.next(self.server.frame_max_bytes()).await.ok()?;
            self.hear(&unit).await?;
        }
        self.heard = self.house.clock.now();
        self.peer.heard();
        Some(())
    }

    async fn run(&mut self) {
        loop {
            let flushed = tokio::time::timeout(self.house.limits.body, self.frames.flush()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                return;
            }
            let mut out = Vec::new();
            match self.next().await {
                Event::Unit(unit) => {
                    self.heard = self.house.clock.now();
                    if self.hear(&unit).await.is_none() {
                        return;
                    }
                }
                Event::AnswerDue => self.deliver(&mut out),
                Event::Heartbeat if self.struck(None, DoorStep::AmqpHeartbeat).is_some() => {
                    self.spoke = self.house.clock.now();
                }
                Event::Heartbeat => frame::write_heartbeat(&mut out),
                Event::Silent => self.server.give_up(&mut out),
                Event::Malformed(broken) => {
                    if let Broken::Malformed(malformed) = broken {
                        self.server.fail(malformed, &mut out);
                    }
                }
                Event::Over => return,
            }
            self.say(&out);
            if self.server.is_over() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Event {
        let (clock, far) = (self.house.clock, Moment::FAR);
        let due = self.pending.front().filter(|answer| self.may_send(answer)).map_or(far, |answer| answer.at);
        // A timer rounds up to the next millisecond, which no answer has to wait for.
        if due <= clock.now() {
            return Event::AnswerDue;
        }
        let silent_until = self.heard + Span::from(self.house.limits.head);
        let beat = self.server.heartbeat_ms().map_or(far, |ms| self.spoke + Span::from_millis(u64::from(ms)));
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(clock.instant(due)), if due != far => Event::AnswerDue,
            unit = self.frames.next(self.server.frame_max_bytes()) => match unit {
                Ok(unit) => Event::Unit(unit),
                Err(broken @ Broken::Malformed(_)) => Event::Malformed(broken),
                Err(_) => Event::Over,
            },
            () = tokio::time::sleep_until(clock.instant(silent_until)) => Event::Silent,
            () = tokio::time::sleep_until(clock.instant(beat)), if beat != far => Event::Heartbeat,
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.spoke = self.house.clock.now();
            self.frames.queue(bytes);
        }
    }

    /// Takes a header or a frame; `None` ends the connection once what is queued has left.
    async fn hear(&mut self, unit: &Bytes) -> Option<()> {
        let mut out = Vec::new();
        let (house, peer) = (self.house, self.peer);
        let heard = match frame::read(unit) {
            Ok(unit) => {
                if house.is_armed() && self.wrong.name.is_none() {
                    self.wrong.name = named_by(&unit).map(Into::into);
                }
                self.server.take(&unit, &mut |guest| admit(house, peer, guest), &mut out)
            }
            Err(malformed) => {
                self.server.fail(malformed, &mut out);
                Err(malformed)
            }
        };
        if let Ok(Heard::Greeted(greeting)) = heard {
            return self.greeted(greeting, &out);
        }
        self.say(&out);
        match heard {
            Ok(Heard::Nothing | Heard::Greeted(_)) => Some(()),
            Ok(Heard::Request { delivery, settled, message }) => {
                self.request((delivery, settled), &message).await
            }
            Ok(Heard::Tpm) => {
                let tpm = self.server.tpm()?;
                let keys = format!("{{{}}}", tpm_keys(&tpm.endorsement_key, &tpm.storage_root_key));
                let challenge = challenge(house, peer, tpm, &keys);
                self.keys = Some(keys.into());
                let mut out = Vec::new();
                self.server.challenge(challenge.as_deref(), &mut out);
                self.say(&out);
                (!self.server.is_over()).then_some(())
            }
            Ok(Heard::Over) | Err(_) => None,
        }
    }

    async fn request(&mut self, delivery: (u32, bool), message: &[u8]) -> Option<()> {
        let request = match read_request(message) {
            Ok(request) => request,
            Err(malformed) => {
                let mut out = Vec::new();
                self.server.fail(malformed, &mut out);
                self.say(&out);
                return None;
            }
        };
        let poll = matches!(request.call, RequestCall::Poll(_));
        let operation = if poll { Operation::Poll } else { Operation::Register };
        let fault = self.struck(Some(operation), DoorStep::AmqpRequest);
        if fault.as_ref().is_some_and(|fault| self.gives_back(fault, delivery)) {
            return Some(());
        }
        self.house.lag().await;
        let call = match request.call {
            RequestCall::Poll(id) => ask::poll(id),
            RequestCall::Unknown => Call::NoSuchPath,
            RequestCall::Register => ask::register(&request.body),
        };
        // Messages come on a link, and a link has a guest.
        let guest = self.server.guest()?;
        let asked = Asked {
            api_version: guest.api_version.as_deref(),
            id_scope: &guest.id_scope,
            registration_id: &guest.registration_id,
            call,
        };
        // The keys that a TPM has proved itself with need not be named again.
        let keys = self.keys.as_deref().filter(|_| read_tpm(&request.body).is_none());
        let named = keys.map_or(&*request.body, str::as_bytes);
        let presented = Presented::new(self.peer, self.server.token()).for_dps().with_body(named);
        let (now, handled) = self.house.ask_and_log(self.peer, PROTOCOL, &presented, &asked);
        let mut body = Vec::with_capacity(256);
        write_reply(&handled.reply, &guest.registration_id, poll, &mut body);
        self.pending.push_back(Answer {
            at: now + handled.delay,
            delivery,
            correlation_id: request.correlation_id.map(Into::into),
            operation,
            status: handled.reply.status,
            retry_after: handled.reply.retry_after,
            body,
        });
        fault.map_or(Some(()), |fault| self.breaks_off(&fault))
    }

    /// A rejection needs no credit.
    fn may_send(&self, answer: &Answer) -> bool {
        is_refusal(answer.status) || self.server.may_answer(answer.body.len())
    }

    /// Sends the first pending answer.
    fn deliver(&mut self, out: &mut Vec<u8>) {
        let Some(mut answer) = self.pending.pop_front() else { return };
        let refused = is_refusal(answer.status);
        if self.house.is_armed() && self.goes_wrong(&mut answer, refused, out) {
            return;
        }
        let outcome = (answer.status, answer.retry_after);
        if refused {
            let description = String::from_utf8_lossy(&answer.body);
            self.server.reject(answer.delivery, outcome, &description, out);
        } else {
            let correlation_id = answer.correlation_id.as_deref();
            self.server.accept(answer.delivery, correlation_id, outcome, &answer.body, out);
        }
    }
}

fn is_refusal(status: Status) -> bool {
    status.0 >= 400
}

/// Lets a device's link in unless its id scope or its api-version is none: what the service says to that, it is told
/// at once (`dps` 17.1). What is wrong with its credentials it is told with its first answer.
fn admit(house: &Rc<House>, peer: &Peer, guest: &Guest) -> Result<(), Refusal> {
    let version = guest.api_version.as_deref();
    let ours = guest.id_scope.eq_ignore_ascii_case(house.service.borrow().id_scope());
    if ours && version.and_then(ApiVersion::of).is_some() {
        return Ok(());
    }
    let asked = Asked {
        api_version: version,
        id_scope: &guest.id_scope,
        registration_id: &guest.registration_id,
        call: Call::Register(Submission::Read { registration_id: None, csr: None, payload: None }),
    };
    let (_, handled) = house.ask_and_log(peer, PROTOCOL, &Presented::new(peer, None).for_dps(), &asked);
    let mut body = Vec::with_capacity(256);
    write_reply(&handled.reply, &guest.registration_id, false, &mut body);
    let description = String::from_utf8_lossy(&body).into_owned();
    Err(Refusal { status: handled.reply.status, description })
}

/// What the service challenges a TPM with: it is asked as over HTTPS, by a registration that names the keys and shows no
/// token. `None` if it does not know the TPM.
fn challenge(house: &Rc<House>, peer: &Peer, tpm: &Tpm, keys: &str) -> Option<Box<[u8]>> {
    let asked = Asked {
        // The version is told with the links, which come later.
        api_version: Some(ApiVersion::USUAL.name()),
        id_scope: &tpm.id_scope,
        registration_id: &tpm.registration_id,
        call: Call::Register(read_submission(None, keys.as_bytes())),
    };
    let presented = Presented::new(peer, None).for_dps().with_body(keys.as_bytes());
    match house.ask_and_log(peer, PROTOCOL, &presented, &asked).1.reply.body {
        Body::Challenge(challenge) => Some(challenge),
        _ => None,
    }
}

#[cfg(test)]
#[path = "amqp_tests.rs"]
mod tests;
