//! How MQTT 3.1.1 spells the device API: the user name, the topics with their property bags, and what a refused
//! connection means (`dps` 7). Bodies are the JSON of [`super::http`].
//!
//! [`Client`] and [`Server`] are the two ends of a connection as machines without I/O, and [`Sessions`] says which connection a
//! client id belongs to. They take [`packet`]s and the time, and hand on what has to be said. They know keep-alives, packet ids,
//! acknowledgements and subscriptions; what a topic means is the caller's business. Packets are those of a codec, so that
//! neither end sees bytes; reading text is total.
//!
//! A registration, both ends in a conversation:
//!
//! ```
//! use fleetstorm_protocol::mqtt::packet::{Connect, Packet, QoS};
//! use fleetstorm_protocol::mqtt::{ANSWERS, Client, Heard, Said, Server};
//! use fleetstorm_units::time::Moment;
//!
//! let now = Moment::START;
//! let (mut to_server, mut to_client): (Vec<Packet>, Vec<Packet>) = Default::default();
//!
//! // The device connects, and the service lets it in.
//! let mut client = Client::start(now, Connect::new("dev-1"), &mut |packet| to_server.push(packet));
//! let mut server = Server::new(now);
//! let heard = server.take(now, to_server.remove(0), &mut |packet| to_client.push(packet))?;
//! assert!(matches!(heard, Heard::Connect(connect) if connect.client_id == "dev-1"));
//! server.accept(now, None, &mut |packet| to_client.push(packet))?;
//! let said = client.take(now, to_client.remove(0), &mut |packet| to_server.push(packet))?;
//! assert_eq!(said, Said::Connected(false));
//!
//! // It listens to the answers ...
//! client.subscribe(ANSWERS, QoS::AtLeastOnce, &mut |packet| to_server.push(packet))?;
//! let Heard::Subscribe(subscribe) = server.take(now, to_server.remove(0), &mut |_| ())? else { panic!() };
//! server.grant(now, &subscribe, |filter| Some(filter.qos), &mut |packet| to_client.push(packet));
//! let said = client.take(now, to_client.remove(0), &mut |_| ())?;
//! assert_eq!(said, Said::Subscribed(Some(QoS::AtLeastOnce)));
//!
//! // ... and asks. The service acknowledges the request before it answers.
//! let topic = "$dps/registrations/PUT/iotdps-register/?$rid=1";
//! let id = client.publish(now, topic, QoS::AtLeastOnce, "{}", &mut |packet| to_server.push(packet))?;
//! let Heard::Publish(request, owed) = server.take(now, to_server.remove(0), &mut |_| ())? else { panic!() };
//! assert_eq!(request.topic, topic);
//! server.acknowledge(owed.unwrap(), &mut |packet| to_client.push(packet));
//! let answer = "$dps/registrations/res/202/?$rid=1&retry-after=3";
//! assert!(server.publish(answer, QoS::AtLeastOnce, "{}", &mut |packet| to_client.push(packet))?);
//! let mut say = |packet| to_server.push(packet);
//! assert_eq!(client.take(now, to_client.remove(0), &mut say)?, Said::Acknowledged(id));
//! assert!(matches!(client.take(now, to_client.remove(0), &mut say)?, Said::Published(publish) if publish.topic == answer));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
pub mod packet;
mod server;
mod sessions;

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Operation, OperationId, RetryAfter, Status};
use crate::outcome::Fault;
pub use client::{Client, Said, Unfit};
pub use packet::Misuse;
pub use server::{Breach, Heard, Owed, Server, Subscription};
pub use sessions::{Seat, Sessions};

/// The filter that a device subscribes to, the only one that DPS serves.
pub const ANSWERS: &str = "$dps/registrations/res/#";

/// Longest request id that an answer repeats; clients use 1 to 36 characters.
pub const RID_MAX_BYTES: usize = 256;

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/";
const POLL: &str = "$dps/registrations/GET/iotdps-get-operationstatus/";
const ANSWER: &str = "$dps/registrations/res/";

/// What stands unescaped in a property's value.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Writes the user name of a CONNECT. `client_version` is the agent string, percent-encoded here.
pub fn user_name(
    id_scope: &str,
    registration_id: &str,
    api_version: &str,
    client_version: &str,
    out: &mut String,
) {
    let agent = utf8_percent_encode(client_version, VALUE);
    let _ = write!(
        out,
        "{id_scope}/registrations/{registration_id}/api-version={api_version}&ClientVersion={agent}"
    );
}

/// What a user name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName<'a> {
    /// The id scope as it was spelled.
    pub id_scope: &'a str,
    /// The registration id as it was spelled.
    pub registration_id: &'a str,
    /// `api-version`, if there is one.
    pub api_version: Option<Cow<'a, str>>,
}

/// Reads a user name: scope, the word `registrations`, the id, and properties whose names are read without case.
/// `None` if a part is missing.
pub fn read_user_name(text: &str) -> Option<UserName<'_>> {
    let mut parts = text.splitn(4, '/');
    let (id_scope, word, registration_id) = (parts.next()?, parts.next()?, parts.next()?);
    if id_scope.is_empty() || !word.eq_ignore_ascii_case("registrations") || registration_id.is_empty() {
        return None;
    }
    let query = parts.next().unwrap_or("");
    let api_version = property(query.trim_start_matches('?'), "api-version").map(decode);
    Some(UserName { id_scope, registration_id, api_version })
}

/// Writes the topic of a request; `false`, and nothing written, for a status lookup, which MQTT has no topic for,
/// and for a poll without an operation.
pub fn request_topic(
    operation: Operation,
    rid: impl fmt::Display,
    operation_id: Option<&OperationId>,
    out: &mut String,
) -> bool {
    match (operation, operation_id) {
        (Operation::Register, _) => {
            let _ = write!(out, "{REGISTER}?$rid={rid}");
        }
        (Operation::Poll, Some(id)) => {
            let id = id.to_string();
            let _ = write!(out, "{POLL}?$rid={rid}&operationId={}", utf8_percent_encode(&id, VALUE));
        }
        (Operation::Poll, None) | (Operation::Lookup, _) => return false,
    }
    true
}

/// What a device published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTopic<'a> {
    /// The request id as it was spelled; the answer repeats it so.
    pub rid: &'a str,
    /// The operation to poll, percent-decoded; `None` for a registration.
    pub poll: Option<Cow<'a, str>>,
}

/// Reads the topic of a request; `None` for every topic that is none of DPS.
pub fn read_request_topic(topic: &str) -> Option<RequestTopic<'_>> {
    // MQTT 3.3.2-2 forbids wildcards in a published topic; an answer must not carry them back.
    if topic.contains(['+', '#', '\0']) {
        return None;
    }
    let (path, properties) = topic.split_once('?')?;
    let rid = property(properties, "$rid").filter(|rid| !rid.is_empty() && rid.len() <= RID_MAX_BYTES)?;
    let poll = match path {
        REGISTER => None,
        POLL => Some(decode(property(properties, "operationId")?)),
        _ => return None,
    };
    Some(RequestTopic { rid, poll })
}

/// Writes the topic of an answer. `$rid` comes first, because Python and Rust clients look for it there, and
/// `retry-after` second.
pub fn answer_topic(status: Status, rid: &str, retry_after: RetryAfter, out: &mut String) {
    let _ = write!(out, "{ANSWER}{}/?$rid={rid}", status.0);
    if retry_after != RetryAfter::Absent {
        let _ = write!(out, "&retry-after={retry_after}");
    }
}

/// What an answer's topic says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerTopic<'a> {
    /// The status.
    pub status: Status,
    /// The id of the request that it answers; empty where there is none.
    pub rid: &'a str,
    /// How long to wait.
    pub retry_after: RetryAfter,
}

/// Reads the topic of an answer; `None` if it is none.
pub fn read_answer_topic(topic: &str) -> Option<AnswerTopic<'_>> {
    let (status, properties) = topic.strip_prefix(ANSWER)?.split_once('/')?;
    let properties = properties.strip_prefix('?').unwrap_or(properties);
    // `u16::from_str` would also take a sign.
    let status = Some(status).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    Some(AnswerTopic {
        status: Status(status),
        rid: property(properties, "$rid").unwrap_or(""),
        retry_after: property(properties, "retry-after")
            .map_or(RetryAfter::Absent, |value| RetryAfter::read_text(&decode(value))),
    })
}

/// The quality of service that a subscription is granted: at most 1, and none but that to the answers.
pub fn granted(filter: &str, requested: u8) -> Option<u8> {
    (filter == ANSWERS).then_some(requested.min(1))
}

fn property<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    properties.split('&').find_map(|pair| {
        let (known, value) = pair.split_once('=')?;
        known.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The return codes of a CONNACK (MQTT 3.1.1, 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connack {
    /// 0.
    Accepted,
    /// 1: the protocol level.
    ProtocolVersion,
    /// 2: the client id.
    Identifier,
    /// 3: what DPS says to an unknown id scope.
    Unavailable,
    /// 4: user name or password malformed.
    BadCredentials,
    /// 5.
    NotAuthorized,
}

impl Connack {
    /// Every code, each at its own number.
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::ProtocolVersion,
        Self::Identifier,
        Self::Unavailable,
        Self::BadCredentials,
        Self::NotAuthorized,
    ];

    /// The code of a number; `None` for those that MQTT 3.1.1 reserves.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// What the code means to a device; `None` if it is connected.
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::Accepted => None,
            Self::ProtocolVersion | Self::Identifier => Some(Fault::Protocol),
            Self::Unavailable => Some(Fault::Unavailable),
            Self::BadCredentials => Some(Fault::BadCredentials),
            Self::NotAuthorized => Some(Fault::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_user_names_of_real_clients_are_understood() {
        for (text, scope, id, version) in [
            (
                "0ne00000000/registrations/x5-py-mqtt/api-version=2019-03-31&ClientVersion=azure-iot-device-\
                 provisioning-py%2F2.14.0%283.11.7%3BLinux%20%231%20SMP%20PREEMPT_DYNAMIC%20%400%3Bx86_64%29",
                "0ne00000000",
                "x5-py-mqtt",
                Some("2019-03-31"),
            ),
            (
                "0ne00000000/registrations/d/api-version=2021-06-01&ClientVersion=1.15.0",
                "0ne00000000",
                "d",
                Some("2021-06-01"),
            ),
            ("s/registrations/d/API-Version=2019-03-31", "s", "d", Some("2019-03-31")),
            ("s/Registrations/d", "s", "d", None),
        ] {
            let read = read_user_name(text).unwrap();
            assert_eq!((read.id_scope, read.registration_id), (scope, id), "{text}");
            assert_eq!(read.api_version.as_deref(), version, "{text}");
        }
        for text in ["", "s", "s/registrations", "s/registrations/", "/registrations/d", "s/devices/d/x"] {
            assert_eq!(read_user_name(text), None, "{text}");
        }
    }

    #[test]
    fn the_topics_of_real_clients_are_understood() {
        let uuid = "dce407fa-15d3-4a33-b55f-08a0c922d9bf";
        let topic = format!("$dps/registrations/PUT/iotdps-register/?$rid={uuid}");
        assert_eq!(read_request_topic(&topic).unwrap(), RequestTopic { rid: uuid, poll: None });
        let topic = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=4.0.mock.1";
        assert_eq!(
            read_request_topic(topic).unwrap(),
            RequestTopic { rid: "1", poll: Some("4.0.mock.1".into()) }
        );
        for topic in [
            "",
            "devices/d/messages/events/",
            "$dps/registrations/PUT/iotdps-register/",
            "$dps/registrations/PUT/iotdps-register/?$rid=",
            "$dps/registrations/PUT/iotdps-register/?$rid=a+b",
            "$dps/registrations/PUT/iotdps-register/?$rid=#",
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
            "$dps/registrations/POST/iotdps-register/?$rid=1",
            "$dps/registrations/res/200/?$rid=1",
        ] {
            assert_eq!(read_request_topic(topic), None, "{topic}");
        }
        let long = format!("{REGISTER}?$rid={}", "1".repeat(RID_MAX_BYTES + 1));
        assert_eq!(read_request_topic(&long), None);
    }

    #[test]
    fn an_answer_names_its_request_first() {
        let mut topic = String::new();
        answer_topic(Status(429), "1", RetryAfter::Seconds(9), &mut topic);
        assert_eq!(topic, "$dps/registrations/res/429/?$rid=1&retry-after=9");
        topic.clear();
        answer_topic(Status(200), "7", RetryAfter::Absent, &mut topic);
        assert_eq!(topic, "$dps/registrations/res/200/?$rid=7");
        for topic in
            ["", "$dps/registrations/res/", "$dps/registrations/res/abc/?$rid=1", "x/res/200/?$rid=1"]
        {
            assert_eq!(read_answer_topic(topic), None, "{topic}");
        }
        assert_eq!(read_answer_topic("$dps/registrations/res/+20/?$rid=1"), None);
        let bare = read_answer_topic("$dps/registrations/res/500/").unwrap();
        assert_eq!((bare.status, bare.rid, bare.retry_after), (Status(500), "", RetryAfter::Absent));
    }

    #[test]
    fn only_the_answers_can_be_subscribed_to_and_at_most_at_1() {
        assert_eq!([0, 1, 2].map(|qos| granted(ANSWERS, qos)), [Some(0), Some(1), Some(1)]);
        for filter in ["#", "$dps/#", "$dps/registrations/res/200/#", "$dps/registrations/+/#"] {
            assert_eq!(granted(filter, 1), None, "{filter}");
        }
    }

    #[test]
    fn every_return_code_stands_at_its_number() {
        assert_eq!(Connack::ALL.map(|code| code as u8), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Connack::of(3), Some(Connack::Unavailable));
        assert_eq!(Connack::of(6), None);
        assert_eq!(Connack::Accepted.fault(), None);
    }

    #[test]
    fn a_lookup_has_no_topic() {
        let mut topic = String::new();
        assert!(!request_topic(Operation::Lookup, 1, None, &mut topic));
        assert!(!request_topic(Operation::Poll, 1, None, &mut topic));
        assert_eq!(topic, "");
    }

    proptest! {
        #[test]
        fn any_text_reads_without_a_panic(text in "\\PC{0,120}", tail in "[$/?&=a-z0-9+#-]{0,40}") {
            for text in [text.as_str(), &format!("{REGISTER}{tail}"), &format!("{POLL}{tail}"), &format!("{ANSWER}{tail}")] {
                read_user_name(text);
                read_answer_topic(text);
                if let Some(read) = read_request_topic(text) {
                    prop_assert!(!read.rid.is_empty() && !read.rid.contains(['+', '#']));
                }
            }
        }

        #[test]
        fn what_a_device_writes_a_door_reads(scope in "[0-9a-zA-Z]{1,12}", id in "[0-9a-zA-Z:._-]{1,64}", agent in "\\PC{0,30}", rid: u32, uuid: u128) {
            let mut name = String::new();
            user_name(&scope, &id, "2019-03-31", &agent, &mut name);
            let read = read_user_name(&name).unwrap();
            prop_assert_eq!((read.id_scope, read.registration_id), (&*scope, &*id));
            prop_assert_eq!(read.api_version.as_deref(), Some("2019-03-31"));
            let operation = OperationId::usual(5, 7, uuid);
            for kind in [Operation::Register, Operation::Poll] {
                let mut topic = String::new();
                prop_assert!(request_topic(kind, rid, Some(&operation), &mut topic));
                let read = read_request_topic(&topic).unwrap();
                prop_assert_eq!(read.rid, rid.to_string());
                let poll = read.poll.as_deref().and_then(OperationId::read);
                prop_assert_eq!(poll, (kind == Operation::Poll).then(|| operation.clone()));
            }
        }

        #[test]
        fn what_a_door_writes_a_device_reads(status in 100..1000u16, rid in "[!-%'-*,-~]{1,40}", wait: Option<u32>) {
            let retry_after = wait.map_or(RetryAfter::Absent, RetryAfter::Seconds);
            let mut topic = String::new();
            answer_topic(Status(status), &rid, retry_after, &mut topic);
            let read = read_answer_topic(&topic).unwrap();
            prop_assert_eq!(read, AnswerTopic { status: Status(status), rid: &rid, retry_after });
        }

        #[test]
        fn any_operation_id_survives_the_topic(id in "\\PC{1,60}") {
            let operation = OperationId::read(&id).unwrap();
            let mut topic = String::new();
            prop_assert!(request_topic(Operation::Poll, 1, Some(&operation), &mut topic));
            let read = read_request_topic(&topic).unwrap();
            prop_assert_eq!(read.poll.as_deref(), Some(&*id));
        }
    }
}

#[cfg(test)]
#[path = "mqtt/machine_tests.rs"]
mod machine_tests;
