//! Faults of the AMQP door: what it says wrongly, or does not say.

use fleetstorm_protocol::amqp::RetryAfterKeys;

use super::door::DoorStep;
use super::form::{AmqpAwaited, AmqpCutAfter, AmqpDetachAfter, CorrelationForm, RetryAfterForm};
use super::kind::{FaultKind, of_fleet, of_http, of_mqtt, of_network, of_service};

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
        FaultKind::AmqpBody { .. } | FaultKind::AmqpFrame { .. } => answered(|_, _, _| true),
        FaultKind::AmqpRetryAfter { .. } => answered(|_, retry_after, _| retry_after),
        // A refusal is a disposition: it has no correlation id, and there is no order to it.
        FaultKind::AmqpCorrelation { form: CorrelationForm::Reused } => {
            answered(|refused, _, earlier| !refused && earlier)
        }
        FaultKind::AmqpCorrelation { .. } | FaultKind::AmqpDuplicate | FaultKind::AmqpOrder => {
            answered(|refused, _, _| !refused)
        }
        of_network!() | of_service!() | of_http!() | of_mqtt!() | of_fleet!() => false,
    }
}
