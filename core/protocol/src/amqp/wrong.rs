//! What a service can say wrongly over AMQP, for [`Server::say_wrongly`](super::server::Server).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something was ended or refused (OASIS AMQP 1.0, part 2, 2.8.15 to 2.8.18), or a condition of DPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AmqpCondition {
    /// The service's own trouble.
    #[serde(rename = "amqp:internal-error")]
    InternalError,
    /// There is no such address.
    #[serde(rename = "amqp:not-found")]
    NotFound,
    /// The peer may not.
    #[serde(rename = "amqp:unauthorized-access")]
    UnauthorizedAccess,
    /// It is not allowed here.
    #[serde(rename = "amqp:not-allowed")]
    NotAllowed,
    /// The peer has had its share.
    #[serde(rename = "amqp:resource-limit-exceeded")]
    ResourceLimitExceeded,
    /// Somebody else has it.
    #[serde(rename = "amqp:resource-locked")]
    ResourceLocked,
    /// What it was asked of is gone.
    #[serde(rename = "amqp:resource-deleted")]
    ResourceDeleted,
    /// An operator closes the connection.
    #[serde(rename = "amqp:connection:forced")]
    ConnectionForced,
    /// An operator detaches the link.
    #[serde(rename = "amqp:link:detach-forced")]
    DetachForced,
    /// Another connection has taken the link.
    #[serde(rename = "amqp:link:stolen")]
    Stolen,
    /// DPS throttles.
    #[serde(rename = "com.microsoft:device-container-throttled")]
    Throttled,
    /// DPS does not understand.
    #[serde(rename = "com.microsoft:argument-invalid")]
    ArgumentInvalid,
}

impl AmqpCondition {
    /// The symbol on the wire.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::InternalError => "amqp:internal-error",
            Self::NotFound => "amqp:not-found",
            Self::UnauthorizedAccess => "amqp:unauthorized-access",
            Self::NotAllowed => "amqp:not-allowed",
            Self::ResourceLimitExceeded => "amqp:resource-limit-exceeded",
            Self::ResourceLocked => "amqp:resource-locked",
            Self::ResourceDeleted => "amqp:resource-deleted",
            Self::ConnectionForced => "amqp:connection:forced",
            Self::DetachForced => "amqp:link:detach-forced",
            Self::Stolen => "amqp:link:stolen",
            Self::Throttled => "com.microsoft:device-container-throttled",
            Self::ArgumentInvalid => "com.microsoft:argument-invalid",
        }
    }
}

/// How the frame that carries an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrameForm {
    /// Its body is no performative.
    Malformed,
    /// It is longer than the client takes.
    Oversized,
    /// It says that it is shorter than its own header.
    Short,
    /// It belongs to a session that was never begun.
    OtherChannel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_spelled_as_on_the_wire() {
        for condition in [
            AmqpCondition::InternalError,
            AmqpCondition::NotFound,
            AmqpCondition::UnauthorizedAccess,
            AmqpCondition::NotAllowed,
            AmqpCondition::ResourceLimitExceeded,
            AmqpCondition::ResourceLocked,
            AmqpCondition::ResourceDeleted,
            AmqpCondition::ConnectionForced,
            AmqpCondition::DetachForced,
            AmqpCondition::Stolen,
            AmqpCondition::Throttled,
            AmqpCondition::ArgumentInvalid,
        ] {
            assert_eq!(serde_json::to_value(condition).unwrap(), condition.symbol());
        }
    }
}
