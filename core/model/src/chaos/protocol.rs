//! Faults of the protocol: what a door of our own mock says wrongly, or does not say.

use fleetstorm_protocol::RetryAfter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amqp;
use super::kind::FaultKind;
use super::rules::{Occasion, Rules};
use super::service::chosen;

/// What is wrong with the body of an HTTP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyDamage {
    /// It is no JSON, although its header says so.
    MalformedJson,
    /// It ends in the middle, before the length that was promised, and the connection with it.
    Truncated,
    /// There is none.
    Empty,
    /// It is far longer than any answer of the service: 1 MiB.
    Huge,
    /// It is said to be HTML.
    WrongContentType,
    /// It comes in chunks, of which the last one never comes.
    BadChunk,
}

/// How the `$rid` of an MQTT answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RidForm {
    /// One that nobody asked with.
    Wrong,
    /// None.
    Missing,
    /// That of the answer before on the same connection.
    Reused,
}

/// In which order MQTT packets come, instead of the one that strict clients insist on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OrderForm {
    /// The answer comes before the PUBACK of its request.
    AnswerFirst,
    /// The answer comes after the next one on the same connection.
    Late,
}

/// An MQTT packet that a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Awaited {
    /// The answer to CONNECT.
    Connack,
    /// The answer to SUBSCRIBE.
    Suback,
    /// The acknowledgement of a request.
    Puback,
    /// The answer to PINGREQ.
    Pingresp,
}

/// After which packet of its client a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CutAfter {
    /// After the CONNACK.
    Connect,
    /// After the SUBACK.
    Subscribe,
    /// After a request: the service has it.
    Publish,
}

/// How the topic of an MQTT answer is spelled otherwise, with the same meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TopicForm {
    /// `Retry-After` instead of `retry-after`.
    Case,
    /// A property that nobody knows comes first.
    Extra,
    /// `retry-after` comes before `$rid`.
    Reordered,
    /// The value of `retry-after` is percent-encoded.
    Encoded,
}

/// Where a door stands with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorStep {
    /// An HTTP request has been read; `reused` if its connection has carried one before.
    HttpRequest {
        /// The connection is not new.
        reused: bool,
    },
    /// The service's answer is about to leave over HTTP.
    HttpAnswer,
    /// A CONNECT has been accepted.
    MqttConnect,
    /// A SUBSCRIBE has been read.
    MqttSubscribe,
    /// A request has been read.
    MqttRequest,
    /// The service's answer is about to leave over MQTT.
    MqttAnswer {
        /// It says when to come back.
        retry_after: bool,
        /// An answer has left on this connection before.
        earlier: bool,
    },
    /// A PINGREQ has been read.
    MqttPing,
    /// The SASL layer of AMQP has ended well.
    AmqpSasl,
    /// The AMQP connection is open.
    AmqpOpen,
    /// Its session has begun.
    AmqpBegin,
    /// The link that carries its requests is attached.
    AmqpAttach,
    /// A request has been read.
    AmqpRequest,
    /// The service's answer is about to leave over AMQP.
    AmqpAnswer {
        /// It rejects the request.
        refused: bool,
        /// It says when to come back.
        retry_after: bool,
        /// An answer that was no refusal has left on this connection before.
        earlier: bool,
    },
    /// A sign of life is due.
    AmqpHeartbeat,
}

impl DoorStep {
    fn concerns(self, kind: &FaultKind) -> bool {
        match kind {
            FaultKind::HttpCloseReuse => self == Self::HttpRequest { reused: true },
            FaultKind::HttpStatus { .. } | FaultKind::HttpRedirect { .. } => {
                matches!(self, Self::HttpRequest { .. })
            }
            FaultKind::HttpBody { .. } | FaultKind::HttpRetryAfter { .. } | FaultKind::HttpError200 => {
                self == Self::HttpAnswer
            }
            FaultKind::MqttConnack { .. } => self == Self::MqttConnect,
            FaultKind::MqttSuback { .. } => self == Self::MqttSubscribe,
            FaultKind::MqttDrop { packet } => self == packet.step(),
            FaultKind::MqttDisconnect { after } => self == after.step(),
            FaultKind::MqttTakeover | FaultKind::MqttOrder { form: OrderForm::AnswerFirst } => {
                self == Self::MqttRequest
            }
            FaultKind::MqttRid { form: RidForm::Reused } => {
                matches!(self, Self::MqttAnswer { earlier: true, .. })
            }
            FaultKind::MqttTopic { form: TopicForm::Case | TopicForm::Reordered | TopicForm::Encoded } => {
                matches!(self, Self::MqttAnswer { retry_after: true, .. })
            }
            FaultKind::MqttRid { .. }
            | FaultKind::MqttDuplicate
            | FaultKind::MqttOrder { form: OrderForm::Late }
            | FaultKind::MqttTopic { form: TopicForm::Extra } => matches!(self, Self::MqttAnswer { .. }),
            kind => amqp::concerns(self, kind),
        }
    }
}

impl Awaited {
    fn step(self) -> DoorStep {
        match self {
            Self::Connack => DoorStep::MqttConnect,
            Self::Suback => DoorStep::MqttSubscribe,
            Self::Puback => DoorStep::MqttRequest,
            Self::Pingresp => DoorStep::MqttPing,
        }
    }
}

impl CutAfter {
    fn step(self) -> DoorStep {
        match self {
            Self::Connect => DoorStep::MqttConnect,
            Self::Subscribe => DoorStep::MqttSubscribe,
            Self::Publish => DoorStep::MqttRequest,
        }
    }
}

/// What a door does wrongly.
#[derive(Clone, Debug, PartialEq)]
pub struct Misspelt {
    /// The fault.
    pub kind: FaultKind,
    /// What `Retry-After` says, where the fault is about that.
    pub retry_after: RetryAfter,
}

impl Rules {
    /// A door of the mock is at a step with a device, and the mock's clock says `occasion.now` and `unix_secs`. One
    /// fault acts at a step: the first one that hits, and the others are not counted.
    pub fn at_door(&mut self, occasion: &Occasion, step: DoorStep, unix_secs: u64) -> Option<Misspelt> {
        let now = self.timeline().of_service_clock(occasion.now);
        let occasion = Occasion { now, connected: now, ..*occasion };
        let (kind, bits) = self.first(&occasion, |kind| step.concerns(kind))?;
        let retry_after = match &kind {
            FaultKind::HttpRetryAfter { retry_after } => chosen(retry_after, bits, unix_secs),
            _ => RetryAfter::Absent,
        };
        Some(Misspelt { kind, retry_after })
    }
}
