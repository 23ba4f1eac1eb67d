//! The two machines against each other, and each against whatever a peer may send.

use proptest::prelude::*;

use super::super::frame::{self, length, write_heartbeat};
use super::super::{Client, RequestCall, Said, Terms, address, read_request};
use super::*;
use crate::outcome::Fault;
use crate::{Body, Operation, OperationId, RegistrationState, Reply};

/// No `retry-after`.
const USUAL: (RetryAfter, RetryAfterKeys) = (RetryAfter::Absent, RetryAfterKeys::Both);

pub(super) const TOKEN: &str = "SharedAccessSignature sr=x";

fn terms<'a>(address: &'a str, token: Option<&'a str>) -> Terms<'a> {
    Terms {
        hostname: "localhost",
        registration_id: "dev-1",
        address,
        token,
        api_version: "2019-03-31",
        agent: "agent/1",
        idle_time_out_ms: Some(60_000),
    }
}

/// Both ends, and what each has written that the other has not taken.
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) to_server: Vec<u8>,
    pub(super) to_client: Vec<u8>,
    address: String,
    token: Option<&'static str>,
    /// What the server says to a device's link.
    refusal: Option<Refusal>,
    guests: Vec<Guest>,
    pub(super) requests: Vec<(u32, bool, Vec<u8>)>,
    ready: bool,
    server_over: bool,
}

impl Pair {
    pub(super) fn new(token: Option<&'static str>) -> Self {
        let address = address("0ne00ABCDEF", "dev-1");
        let mut to_server = Vec::new();
        let client = Client::start(&terms(&address, token), &mut to_server);
        Self {
            client,
            server: Server::new(240_000),
            to_server,
            to_client: Vec::new(),
            address,
            token,
            refusal: None,
            guests: Vec::new(),
            requests: Vec::new(),
            ready: false,
            server_over: false,
        }
    }

    /// Carries everything both ways until both ends are silent; what the client made of it.
    pub(super) fn settle(&mut self) -> Vec<Result<Said, Fault>> {
        let mut said = Vec::new();
        while !self.to_server.is_empty() || !self.to_client.is_empty() {
            self.serve();
            let bytes = std::mem::take(&mut self.to_client);
            let mut rest = &bytes[..];
            while let Some(size) = length(rest, self.client.frame_max_bytes()).unwrap() {
                let (unit, after) = rest.split_at(size);
                let terms = terms(&self.address, self.token);
                let unit = frame::read(unit).unwrap();
                let taken = if self.ready {
                    self.client.take(&unit, &mut self.to_server)
                } else {
                    self.client.greet(&unit, &terms, &mut self.to_server)
                };
                self.ready |= taken == Ok(Said::Ready);
                if taken != Ok(Said::Nothing) {
                    said.push(taken);
                }
                rest = after;
            }
            assert!(rest.is_empty(), "the server writes whole frames");
        }
        said
    }

    /// Carries everything until the server hears `heard`, whose words are lost, and does `act` to it.
    pub(super) fn before(&mut self, heard: Heard<'_>, act: impl FnOnce(&mut Server)) {
        loop {
            let size = length(&self.to_server, self.server.frame_max_bytes()).unwrap().unwrap();
            let unit: Vec<u8> = self.to_server.drain(..size).collect();
            let mut out = Vec::new();
            if self.server.take(&frame::read(&unit).unwrap(), &mut |_| Ok(()), &mut out).unwrap() == heard {
                return act(&mut self.server);
            }
            let terms = terms(&self.address, self.token);
            let mut rest = &out[..];
            while let Some(size) = length(rest, self.client.frame_max_bytes()).unwrap() {
                let (unit, after) = rest.split_at(size);
                self.client.greet(&frame::read(unit).unwrap(), &terms, &mut self.to_server).unwrap();
                rest = after;
            }
        }
    }

    fn serve(&mut self) {
        let bytes = std::mem::take(&mut self.to_server);
        let mut rest = &bytes[..];
        while let Some(size) = length(rest, self.server.frame_max_bytes()).unwrap() {
            let (unit, after) = rest.split_at(size);
            let (guests, refusal) = (&mut self.guests, &self.refusal);
            let mut admit = |guest: &Guest| {
                guests.push(guest.clone());
                refusal.clone().map_or(Ok(()), Err)
            };
            match self.server.take(&frame::read(unit).unwrap(), &mut admit, &mut self.to_client).unwrap() {
                Heard::Nothing | Heard::Greeted(_) => {}
                Heard::Request { delivery, settled, message } => {
                    self.requests.push((delivery, settled, message.into_owned()));
                }
                Heard::Tpm => panic!("a client here has no TPM"),
                Heard::Over => self.server_over = true,
            }
            rest = after;
        }
        assert!(rest.is_empty(), "the client writes whole frames");
    }

    pub(super) fn open(token: Option<&'static str>) -> Self {
        let mut pair = Self::new(token);
        let said = pair.settle();
        let expected: &[_] = match token {
            Some(_) => &[Ok(Said::Authenticated), Ok(Said::Ready)],
            None => &[Ok(Said::Ready)],
        };
        assert_eq!(said, expected);
        pair
    }

    pub(super) fn ask(&mut self, operation: Operation, id: Option<&OperationId>, body: &[u8]) {
        assert!(self.client.may_ask(body.len() + 256));
        assert!(self.client.ask(operation, id, body, &mut self.to_server));
        self.serve();
    }

    fn answer(&mut self, status: Status, retry_after: RetryAfter, body: &[u8]) -> Vec<Result<Said, Fault>> {
        let (delivery, settled, message) = self.requests.pop().unwrap();
        let correlation = read_request(&message).unwrap().correlation_id.map(<[u8]>::to_vec);
        assert!(self.server.may_answer(body.len()));
        self.server.accept(
            (delivery, settled),
            correlation.as_deref(),
            (status, retry_after),
            body,
            &mut self.to_client,
        );
        self.settle()
    }

    fn reject(
        &mut self,
        status: u16,
        retry_after: RetryAfter,
        description: &str,
    ) -> Vec<Result<Said, Fault>> {
        let (delivery, settled, _) = self.requests.pop().unwrap();
        self.server.reject(
            (delivery, settled),
            (Status(status), retry_after),
            description,
            &mut self.to_client,
        );
        self.settle()
    }
}

#[track_caller]
pub(super) fn reply(said: &[Result<Said, Fault>]) -> Reply {
    match said {
        [Ok(Said::Answer(reply))] => (**reply).clone(),
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn a_device_with_a_token_has_a_sasl_layer_and_one_with_a_certificate_has_none() {
    let pair = Pair::open(Some(TOKEN));
    assert_eq!(pair.server.token(), Some(TOKEN));
    let guest = pair.server.guest().unwrap();
    assert_eq!((&*guest.id_scope, &*guest.registration_id), ("0ne00ABCDEF", "dev-1"));
    assert_eq!(guest.api_version.as_deref(), Some("2019-03-31"));
    assert_eq!(pair.guests.len(), 1, "the second link is the same device's");
    let pair = Pair::open(None);
    assert_eq!((pair.server.token(), pair.guests.len()), (None, 1));
}

#[test]
fn each_end_asks_for_half_of_the_silence_that_it_bears() {
    let pair = Pair::open(None);
    // 240 s here and 60 s there: half is asked for, and half of that is kept.
    assert_eq!((pair.client.heartbeat_ms(), pair.server.heartbeat_ms()), (Some(60_000), Some(15_000)));
}

#[test]
fn a_registration_and_its_poll_are_answered() {
    let mut pair = Pair::open(Some(TOKEN));
    pair.ask(Operation::Register, None, b"{\"registrationId\":\"dev-1\"}");
    let (_, settled, message) = &pair.requests[0];
    let request = read_request(message).unwrap();
    assert_eq!(
        (request.call, *settled, &*request.body),
        (RequestCall::Register, false, &b"{\"registrationId\":\"dev-1\"}"[..])
    );
    let id = "4.0123456789abcdef.00000000-0000-0000-0000-000000000001";
    let body = format!("{{\"operationId\":\"{id}\",\"status\":\"assigning\"}}");
    let answered = reply(&pair.answer(Status::ACCEPTED, RetryAfter::Seconds(3), body.as_bytes()));
    assert_eq!((answered.status, answered.retry_after), (Status::ACCEPTED, RetryAfter::Seconds(3)));
    let Body::Operation { id: Some(operation), state: RegistrationState::Assigning, .. } = answered.body
    else {
        panic!("{answered:?}")
    };
    pair.ask(Operation::Poll, Some(&operation), b"");
    assert_eq!(read_request(&pair.requests[0].2).unwrap().call, RequestCall::Poll(id));
    assert_eq!(reply(&pair.answer(Status::OK, RetryAfter::Absent, body.as_bytes())).status, Status::OK);
    pair.client.close(&mut pair.to_server);
    pair.settle();
    assert!(pair.server_over && pair.client.is_over());
}

#[test]
fn an_answer_that_does_not_say_its_status_has_it_in_its_body() {
    let assigning = br#"{"operationId":"x","status":"assigning"}"#;
    let assigned =
        br#"{"operationId":"x","status":"assigned","registrationState":{"registrationId":"dev-1"}}"#;
    let error = br#"{"errorCode":429001,"message":"m"}"#;
    for (body, status) in [(&assigning[..], 202), (assigned, 200), (error, 429)] {
        let mut pair = Pair::open(None);
        pair.ask(Operation::Register, None, b"{}");
        let (delivery, _, message) = pair.requests.pop().unwrap();
        let correlation = read_request(&message).unwrap().correlation_id;
        pair.server.dispose(delivery, false, State::Accepted, &mut pair.to_client);
        let mut answer = Vec::new();
        write_answer(correlation, Status(0), USUAL, body, &mut answer);
        // Without the property: its name is another one.
        let at = answer.windows(6).position(|window| window == b"status").unwrap();
        answer[at] = b'x';
        pair.server.sending.send(&answer, &mut pair.to_client);
        assert_eq!(reply(&pair.settle()).status, Status(status));
    }
}

#[test]
fn a_rejection_is_an_answer() {
    for (status, code, retry_after) in [
        (400, 400_004, RetryAfter::Absent),
        (401, 401_002, RetryAfter::Absent),
        (404, 404_201, RetryAfter::Absent),
        (429, 429_001, RetryAfter::Seconds(4)),
        (500, 500_000, RetryAfter::Seconds(0)),
    ] {
        let mut pair = Pair::open(Some(TOKEN));
        pair.ask(Operation::Register, None, b"{}");
        let description = format!("{{\"errorCode\":{code},\"message\":\"m\"}}");
        let reply = reply(&pair.reject(status, retry_after, &description));
        assert_eq!((reply.status, reply.retry_after), (Status(status), retry_after));
        assert!(matches!(reply.body, Body::Error(error) if error.code == code));
    }
    // Words that are none of the service's: the condition says it.
    let mut pair = Pair::open(Some(TOKEN));
    pair.ask(Operation::Register, None, b"{}");
    let reply = reply(&pair.reject(401, RetryAfter::Absent, "go away"));
    assert_eq!((reply.status, reply.body), (Status::UNAUTHORIZED, Body::Empty));
}

#[test]
fn late_and_duplicate_answers_are_passed_over() {
    let mut pair = Pair::open(Some(TOKEN));
    pair.ask(Operation::Register, None, b"{}");
    let mut late = Vec::new();
    let mut id = Vec::new();
    super::super::value::write_string("77", &mut id);
    write_answer(Some(&id), Status::INTERNAL_ERROR, USUAL, b"{}", &mut late);
    pair.server.sending.send(&late, &mut pair.to_client);
    assert_eq!(pair.settle(), []);
    let correlation = read_request(&pair.requests[0].2).unwrap().correlation_id.map(<[u8]>::to_vec);
    assert_eq!(reply(&pair.answer(Status::OK, RetryAfter::Absent, b"{}")).status, Status::OK);
    let mut again = Vec::new();
    write_answer(correlation.as_deref(), Status::NOT_FOUND, USUAL, b"{}", &mut again);
    pair.server.sending.send(&again, &mut pair.to_client);
    assert_eq!(pair.settle(), []);
}

#[test]
fn a_link_that_is_refused_is_a_fault_of_the_connection() {
    for (status, fault) in [
        (404, Fault::Unavailable),
        (401, Fault::NotAuthorized),
        (429, Fault::Unavailable),
        (400, Fault::Protocol),
    ] {
        let mut pair = Pair::new(Some(TOKEN));
        pair.refusal = Some(Refusal { status: Status(status), description: "{}".to_owned() });
        assert_eq!(pair.settle(), [Ok(Said::Authenticated), Err(fault)]);
    }
}

#[test]
fn a_user_name_that_is_none_fails_the_sasl_layer() {
    let mut pair = Pair::new(Some(TOKEN));
    pair.address = "nobody".to_owned();
    assert_eq!(pair.settle(), [Err(Fault::BadCredentials)]);
    assert!(pair.server_over);
}

#[test]
fn credit_comes_back_for_as_long_as_a_device_asks() {
    let mut pair = Pair::open(None);
    for _ in 0..5_000 {
        pair.ask(Operation::Register, None, b"{}");
        assert_eq!(reply(&pair.answer(Status::OK, RetryAfter::Absent, b"{}")).status, Status::OK);
    }
}

#[test]
fn a_client_that_sends_beyond_its_credit_is_sent_away() {
    let mut pair = Pair::open(None);
    // Nobody answers.
    for _ in 0..CREDIT {
        pair.ask(Operation::Register, None, b"{}");
    }
    assert!(!pair.client.may_ask(1));
    let mut out = Vec::new();
    pair.client.ask(Operation::Register, None, b"{}", &mut out);
    let taken = pair.server.take(&frame::read(&out).unwrap(), &mut |_| Ok(()), &mut pair.to_client);
    assert_eq!(taken, Err(Malformed::TooLong));
    assert_eq!(pair.settle(), [Ok(Said::Over)]);
}

#[test]
fn a_service_that_ends_the_link_under_a_request_has_answered_it() {
    let mut pair = Pair::open(None);
    pair.ask(Operation::Register, None, b"{}");
    let error = Error::of(condition::UNAUTHORIZED, Some("{\"errorCode\":401002,\"message\":\"m\"}"));
    let detach = Detach { handle: pair.server.sending.handle, closed: true, error: Some(error) };
    say(Performative::Detach(detach), &mut pair.to_client);
    pair.server.attached = false;
    assert_eq!(reply(&pair.settle()).status, Status::UNAUTHORIZED);
    assert!(pair.client.is_over(), "the connection is of no use any more");
}

#[test]
fn a_time_out_that_nobody_can_keep_is_refused() {
    let mut server = Server::new(240_000);
    let mut out = Vec::new();
    server.take(&Unit::Header(Some(Protocol::Amqp)), &mut |_| Ok(()), &mut out).unwrap();
    let mut open = Vec::new();
    let hasty = Open {
        container_id: "x",
        hostname: None,
        max_frame_size: 512,
        channel_max: 0,
        idle_time_out_ms: Some(1),
    };
    write(&Performative::Open(hasty), &mut open);
    let heard = server.take(&Unit::Amqp { channel: 0, body: &open }, &mut |_| Ok(()), &mut out);
    assert_eq!(heard, Ok(Heard::Over));
    assert!(String::from_utf8_lossy(&out).contains("amqp:not-allowed"));
}

#[test]
fn another_protocol_is_told_what_is_spoken_here() {
    let mut server = Server::new(240_000);
    let mut out = Vec::new();
    assert_eq!(server.take(&Unit::Header(None), &mut |_| Ok(()), &mut out), Ok(Heard::Over));
    assert_eq!(out, b"AMQP\x03\x01\0\0");
}

/// What Node's client says with mechanism TPM, captured, with shorter keys; what the service says as its notes have it.
#[test]
fn a_tpm_is_asked_for_its_keys_challenged_in_two_parts_and_let_in_with_its_token() {
    let mut server = Server::new(240_000);
    let say = |server: &mut Server, sasl: Sasl<'_>| {
        let (mut body, mut out) = (Vec::new(), Vec::new());
        sasl::write(&sasl, &mut body);
        let heard = server.take(&Unit::Sasl(&body), &mut |_| Ok(()), &mut out).unwrap();
        // A layer of SASL carries no message that would have to be kept.
        (if heard == Heard::Tpm { Heard::Tpm } else { Heard::Nothing }, out)
    };
    let challenge = |bytes: &[u8]| {
        let mut out = Vec::new();
        write_sasl(&mut out, |out| sasl::write(&Sasl::Challenge(bytes), out));
        out
    };
    server.take(&Unit::Header(Some(Protocol::Sasl)), &mut |_| Ok(()), &mut Vec::new()).unwrap();
    let init = Sasl::Init {
        mechanism: "TPM",
        initial_response: Some(b"\x000ne00000000\0tpm-node-amqp\0\x01\x3a\0\x01"),
        hostname: Some("localhost"),
    };
    assert_eq!(say(&mut server, init), (Heard::Nothing, challenge(&[0])));
    assert_eq!(say(&mut server, Sasl::Response(b"\0\x01\x1a\0\x02")), (Heard::Tpm, Vec::new()));
    let tpm = server.tpm().unwrap();
    assert_eq!((&*tpm.id_scope, &*tpm.registration_id), ("0ne00000000", "tpm-node-amqp"));
    assert_eq!((&*tpm.endorsement_key, &*tpm.storage_root_key), (&[1, 0x3a, 0, 1][..], &[1, 0x1a, 0, 2][..]));
    let mut out = Vec::new();
    server.challenge(Some(&[1, 2, 3, 4, 5]), &mut out);
    assert_eq!(out, challenge(&[0x80, 1, 2]));
    assert_eq!(say(&mut server, Sasl::Response(&[0])), (Heard::Nothing, challenge(&[0xc1, 3, 4, 5])));
    let (heard, out) = say(&mut server, Sasl::Response(b"\0SharedAccessSignature sr=x"));
    let mut welcome = Vec::new();
    write_sasl(&mut welcome, |out| sasl::write(&Sasl::Outcome(0), out));
    assert_eq!((heard, out, server.token()), (Heard::Nothing, welcome, Some(TOKEN)));
}

#[test]
fn a_tpm_that_is_not_known_fails_the_sasl_layer() {
    let mut server = Server::new(240_000);
    let mut out = Vec::new();
    server.take(&Unit::Header(Some(Protocol::Sasl)), &mut |_| Ok(()), &mut out).unwrap();
    for sasl in [
        Sasl::Init { mechanism: "TPM", initial_response: Some(b"\0s\0d\0k"), hostname: None },
        Sasl::Response(b"\0k"),
    ] {
        let mut body = Vec::new();
        sasl::write(&sasl, &mut body);
        server.take(&Unit::Sasl(&body), &mut |_| Ok(()), &mut out).unwrap();
    }
    out.clear();
    server.challenge(None, &mut out);
    assert_eq!((out.last(), server.is_over()), (Some(&1), true));
}

/// Frames that a client may send, in any order.
fn any_unit() -> impl Strategy<Value = Vec<u8>> {
    let frame = |performative: Performative<'_>| {
        let mut out = Vec::new();
        say(performative, &mut out);
        out
    };
    let attach = move |handle, role, address| {
        frame(Performative::Attach(Attach {
            name: "link",
            handle,
            role,
            source: Some(Terminus { address: Some(address) }),
            target: Some(Terminus { address: Some(address) }),
            initial_delivery_count: Some(7),
            api_version: None,
            client_version: None,
        }))
    };
    let address =
        prop::sample::select(vec!["0ne00ABCDEF/registrations/dev-1", "0ne00ABCDEF/registrations/dev-2", "x"]);
    let mut header = Vec::new();
    write_header(Protocol::Amqp, &mut header);
    let mut message = Vec::new();
    super::super::message::write_answer(None, Status::OK, USUAL, b"{}", &mut message);
    let mut heartbeat = Vec::new();
    write_heartbeat(&mut heartbeat);
    prop_oneof![
        1 => Just(header),
        1 => Just(heartbeat),
        1 => Just(frame(Performative::Open(Open { container_id: "c", hostname: None, max_frame_size: 512, channel_max: 0, idle_time_out_ms: None }))),
        1 => Just(frame(Performative::Begin(Begin { remote_channel: None, next_outgoing_id: 0, incoming_window: 3, outgoing_window: 3, handle_max: 7 }))),
        4 => (0..9u32, any::<bool>(), address).prop_map(move |(handle, receiver, address)| attach(handle, Role::of(receiver), address)),
        6 => (0..3u32, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(handle, settled, more, aborted)| {
            frame(Performative::Transfer(super::super::performative::Transfer {
                handle, delivery_id: Some(handle), delivery_tag: None, settled: Some(settled), more, aborted, payload: &message,
            }))
        }),
        3 => (any::<Option<u32>>(), any::<u32>(), 0..3u32, any::<Option<u32>>(), any::<bool>()).prop_map(
            move |(next_incoming_id, incoming_window, handle, link_credit, echo)| {
                frame(Performative::Flow(super::super::performative::Flow {
                    next_incoming_id, incoming_window, handle: Some(handle), link_credit, echo, ..Default::default()
                }))
            }
        ),
        1 => (0..3u32).prop_map(move |handle| frame(Performative::Detach(Detach { handle, closed: true, error: None }))),
        1 => Just(frame(Performative::End(None))),
        1 => Just(frame(Performative::Close(None))),
        1 => any::<Vec<u8>>().prop_map(|body| {
            let mut out = Vec::new();
            write_amqp(&mut out, |out| out.extend(&body));
            out
        }),
    ]
}

proptest! {
    /// Whatever a client says: the machine writes whole frames, has no more than the credit under way, and stays over
    /// once it is over.
    #[test]
    fn any_conversation_is_survived(greeted: bool, units in proptest::collection::vec(any_unit(), 0..40), answered: bool) {
        let mut pair = if greeted { Pair::open(Some(TOKEN)) } else { Pair::new(None) };
        pair.to_client.clear();
        let (mut waiting, mut over) = (0_u32, false);
        for unit in &units {
            match pair.server.take(&frame::read(unit).unwrap(), &mut |_| Ok(()), &mut pair.to_client) {
                Ok(Heard::Request { delivery, settled, .. }) => {
                    prop_assert!(!over);
                    waiting += 1;
                    prop_assert!(waiting <= CREDIT);
                    if answered {
                        pair.server.reject((delivery, settled), (Status(429), RetryAfter::Seconds(1)), "{}", &mut pair.to_client);
                        waiting -= 1;
                    }
                }
                Ok(Heard::Nothing | Heard::Greeted(_) | Heard::Tpm) => prop_assert!(!over),
                Ok(Heard::Over) | Err(_) => over = true,
            }
        }
        let mut rest = &pair.to_client[..];
        while let Some(size) = length(rest, usize::MAX).unwrap() {
            let (unit, after) = rest.split_at(size);
            prop_assert!(frame::read(unit).is_ok());
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    /// The same for a device, at every stage of its connection.
    #[test]
    fn any_service_is_survived(token: bool, steps in 0..8usize, units in proptest::collection::vec(any_unit(), 0..20)) {
        let mut pair = Pair::new(token.then_some(TOKEN));
        for _ in 0..steps {
            pair.serve();
            let bytes = std::mem::take(&mut pair.to_client);
            let mut rest = &bytes[..];
            while let Some(size) = length(rest, usize::MAX).unwrap() {
                let (unit, after) = rest.split_at(size);
                let _ = pair.client.greet(&frame::read(unit).unwrap(), &terms(&pair.address, pair.token), &mut pair.to_server);
                rest = after;
            }
        }
        if pair.client.may_ask(300) {
            pair.client.ask(Operation::Register, None, b"{}", &mut Vec::new());
        }
        let mut out = Vec::new();
        for unit in &units {
            let _ = pair.client.greet(&frame::read(unit).unwrap(), &terms(&pair.address, pair.token), &mut out);
            let _ = pair.client.take(&frame::read(unit).unwrap(), &mut out);
        }
    }
}
