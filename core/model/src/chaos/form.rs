//! The forms that faults can take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When in a connection's life it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResetPhase {
    /// As soon as it is accepted, before TLS.
    Accept,
    /// After the TLS handshake, before a request.
    AfterTls,
    /// After the request was sent: the service has it, and its answer is lost.
    AfterRequest,
    /// In the middle of the answer.
    MidResponse,
}

/// From when on nothing comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BlackholePhase {
    /// From the beginning: the connection is never made.
    Connect,
    /// Requests vanish on their way to the service.
    Request,
    /// The service does its work, and its answers vanish: half of the connection is dead.
    Answer,
}

/// How a name does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DnsFailure {
    /// The server says at once that there is no such name, or that it cannot tell.
    NoName,
    /// The server does not answer.
    Timeout,
}

/// How TLS fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsFailure {
    /// The server's certificate leads to no trusted root.
    Untrusted,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is for another name.
    WrongName,
    /// The handshake is cut off.
    Cut,
    /// The server refuses the handshake with an alert: it has no version or cipher in common with the device.
    Alert,
}

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

/// What an AMQP client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AmqpAwaited {
    /// How the SASL layer ends.
    SaslOutcome,
    /// The answer to its `open`.
    Open,
    /// The answer to its `begin`.
    Begin,
    /// The answer to its `attach`, for the link that carries requests.
    Attach,
    /// What became of a request's delivery. A refusal is nothing else.
    Disposition,
    /// The answer to a request; a refusal too.
    Answer,
    /// A sign of life while nothing else is said.
    Heartbeat,
}

/// After which word of its client an AMQP connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AmqpCutAfter {
    /// After the SASL layer.
    Sasl,
    /// After both have said `open`.
    Open,
    /// After both have said `begin`.
    Begin,
    /// After the link that carries requests was attached.
    Attach,
    /// After a request: the service has it.
    Request,
}

/// After what the link that carries requests is detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AmqpDetachAfter {
    /// As soon as it was attached.
    Attach,
    /// After a request: the service has it.
    Request,
}

/// How the correlation id of an AMQP answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CorrelationForm {
    /// One that nobody asked with.
    Wrong,
    /// None.
    Missing,
    /// That of the answer before on the same connection.
    Reused,
}

/// With which outcome the service gives back a request that it did not act on (part 3, 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseForm {
    /// It may be sent again as it is.
    Released,
    /// It may be sent again, and counts as tried.
    Modified,
}

/// How `retry-after` is spelled otherwise over AMQP, with the same meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfterForm {
    /// Only `retry-after`.
    Lower,
    /// Only `Retry-After`.
    Capital,
    /// As a text instead of an int.
    Text,
    /// As a long instead of an int.
    Long,
}
