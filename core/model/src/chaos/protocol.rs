//! Faults of the protocol: what a door of our own mock says wrongly, or does not say.

use fleetstorm_protocol::RetryAfter;

use super::amqp;
use super::door::DoorStep;
use super::form::{Awaited, CutAfter, OrderForm, RidForm, TopicForm};
use super::kind::{FaultKind, of_amqp, of_fleet, of_network, of_service};
use super::rules::{Occasion, Rules};
use super::service::chosen;

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
            | FaultKind::MqttBody { .. }
            | FaultKind::MqttOrder { form: OrderForm::Late }
            | FaultKind::MqttTopic { form: TopicForm::Extra } => matches!(self, Self::MqttAnswer { .. }),
            of_amqp!() => amqp::concerns(self, kind),
            of_network!() | of_service!() | of_fleet!() => false,
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
