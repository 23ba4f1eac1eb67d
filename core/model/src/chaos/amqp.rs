//! Faults of the AMQP door: what it says wrongly, or does not say.

use fleetstorm_protocol::amqp::RetryAfterKeys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::FaultKind;
use super::protocol::DoorStep;

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

impl From<RetryAfterForm> for RetryAfterKeys {
    fn from(form: RetryAfterForm) -> Self {
        match form {
            RetryAfterForm::Lower => Self::Lower,
            RetryAfterForm::Capital => Self::Capital,
            RetryAfterForm::Text => Self::Text,
            RetryAfterForm::Long => Self::Long,
        }
    }
}

impl AmqpAwaited {
    fn is_due(self, step: DoorStep) -> bool {
        match self {
            Self::SaslOutcome => step == DoorStep::AmqpSasl,
            Self::Open => step == DoorStep::AmqpOpen,
            Self::Begin => step == DoorStep::AmqpBegin,
            Self::Attach => step == DoorStep::AmqpAttach,
            Self::Disposition | Self::Answer => matches!(step, DoorStep::AmqpAnswer { .. }),
            Self::Heartbeat => step == DoorStep::AmqpHeartbeat,
        }
    }
}

impl AmqpCutAfter {
    const fn step(self) -> DoorStep {
        match self {
            Self::Sasl => DoorStep::AmqpSasl,
            Self::Open => DoorStep::AmqpOpen,
            Self::Begin => DoorStep::AmqpBegin,
            Self::Attach => DoorStep::AmqpAttach,
            Self::Request => DoorStep::AmqpRequest,
        }
    }
}

impl AmqpDetachAfter {
    const fn step(self) -> DoorStep {
        match self {
            Self::Attach => DoorStep::AmqpAttach,
            Self::Request => DoorStep::AmqpRequest,
        }
    }
}

/// Whether a fault of the AMQP door is about this step.
pub(super) fn concerns(step: DoorStep, kind: &FaultKind) -> bool {
    let answered = |wanted: fn(bool, bool, bool) -> bool| match step {
        DoorStep::AmqpAnswer { refused, retry_after, earlier } => wanted(refused, retry_after, earlier),
        _ => false,
    };
    match kind {
        FaultKind::AmqpSasl { .. } => step == DoorStep::AmqpSasl,
        FaultKind::AmqpCredit => step == DoorStep::AmqpAttach,
        FaultKind::AmqpDrop { frame } => frame.is_due(step),
        FaultKind::AmqpDisconnect { after, .. } => step == after.step(),
        FaultKind::AmqpDetach { after, .. } => step == after.step(),
        FaultKind::AmqpReject { .. } | FaultKind::AmqpRelease { .. } => step == DoorStep::AmqpRequest,
        FaultKind::AmqpFrame { .. } => answered(|_, _, _| true),
        FaultKind::AmqpRetryAfter { .. } => answered(|_, retry_after, _| retry_after),
        // A refusal is a disposition: it has no correlation id, and there is no order to it.
        FaultKind::AmqpCorrelation { form: CorrelationForm::Reused } => {
            answered(|refused, _, earlier| !refused && earlier)
        }
        FaultKind::AmqpCorrelation { .. } | FaultKind::AmqpDuplicate | FaultKind::AmqpOrder => {
            answered(|refused, _, _| !refused)
        }
        _ => false,
    }
}

/// Whether a fault of the AMQP door strikes before its device has asked for anything.
pub(super) const fn comes_before_requests(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::AmqpSasl { .. } | FaultKind::AmqpCredit => true,
        FaultKind::AmqpDrop { frame } => !matches!(frame, AmqpAwaited::Disposition | AmqpAwaited::Answer),
        FaultKind::AmqpDisconnect { after, .. } => !matches!(after, AmqpCutAfter::Request),
        FaultKind::AmqpDetach { after, .. } => matches!(after, AmqpDetachAfter::Attach),
        _ => false,
    }
}
