//! Every way an attempt can end.

use serde::{Deserialize, Serialize};

use crate::Status;

/// Why no usable answer came: the transport's side of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The name did not resolve.
    Dns,
    /// The connection was refused.
    Refused,
    /// Our own side has no port or descriptor left: the generator's fault, not the target's.
    Exhausted,
    /// No route, or another error before the connection stood.
    Unreachable,
    /// Name resolution, TCP, TLS or the transport's own greeting took too long.
    ConnectTimeout,
    /// The server's certificate chain leads to no trusted root.
    TlsUntrusted,
    /// The server's certificate has expired or is not valid yet.
    TlsExpired,
    /// The server's certificate is for another name.
    TlsWrongName,
    /// The server refused our certificate or the handshake failed in another way.
    TlsOther,
    /// The connection ended before the request was sent: the service has not seen it.
    Closed,
    /// The connection ended after the request was sent: whether the service acted on it is unknown.
    Lost,
    /// The answer did not come in time: whether the service acted on it is unknown.
    Timeout,
    /// The peer does not speak the protocol.
    Protocol,
    /// The attestation could not produce a credential.
    Attestation,
    /// The service refused the connection as unavailable: MQTT return code 3, which is also what an unknown id scope
    /// gets; over AMQP a link that is not found.
    Unavailable,
    /// The service refused the connection's credentials as malformed: MQTT return code 4, or SASL's outcome 1.
    BadCredentials,
    /// The service refused to let the connection in: MQTT return code 5; over AMQP a link with unauthorized access.
    NotAuthorized,
}

impl Fault {
    /// Every fault, in the order of the enum.
    pub const ALL: [Self; 17] = [
        Self::Dns,
        Self::Refused,
        Self::Exhausted,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::TlsUntrusted,
        Self::TlsExpired,
        Self::TlsWrongName,
        Self::TlsOther,
        Self::Closed,
        Self::Lost,
        Self::Timeout,
        Self::Protocol,
        Self::Attestation,
        Self::Unavailable,
        Self::BadCredentials,
        Self::NotAuthorized,
    ];

    /// The name used in records and reports, as serde spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect-timeout",
            Self::TlsUntrusted => "tls-untrusted",
            Self::TlsExpired => "tls-expired",
            Self::TlsWrongName => "tls-wrong-name",
            Self::TlsOther => "tls-other",
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Attestation => "attestation",
            Self::Unavailable => "unavailable",
            Self::BadCredentials => "bad-credentials",
            Self::NotAuthorized => "not-authorized",
        }
    }

    /// Whether the service may have acted on the request although no answer came.
    pub const fn outcome_unknown(self) -> bool {
        matches!(self, Self::Lost | Self::Timeout)
    }
}

/// How one attempt (a connection, or a request on it) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The service answered.
    Answered {
        /// The status of the request.
        status: Status,
        /// The six-digit code of the error body or of a failed registration; 0 where there is none.
        code: u32,
    },
    /// 401 with a challenge for the device's TPM, which takes it up. Nothing has failed.
    Challenged,
    /// 2xx without a code that is no success all the same: what the body says, or that it says nothing that can be read.
    Unmet {
        /// The status of the request.
        status: Status,
        /// Why it brings the device no further.
        why: ErrorClass,
    },
    /// No usable answer came.
    Broke(Fault),
}

/// What a failure means to a retry strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// 429.
    Throttled,
    /// 5xx.
    ServerError,
    /// The connection could not be made, or ended before the request was sent.
    Unreachable,
    /// TLS failed.
    Tls,
    /// The request was sent and no answer came: its outcome is unknown.
    OutcomeUnknown,
    /// An answer came that is not DPS.
    Protocol,
    /// 401, or the attestation has no credential.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409 or 412.
    Conflict,
    /// Any other 4xx: the client is wrong.
    ClientBug,
    /// 200 with `failed`.
    AssignmentFailed,
    /// 200 with `disabled`.
    Disabled,
    /// The service kept assigning past the device's patience.
    AssignmentTimeout,
}

impl ErrorClass {
    /// Every class, in the order of the enum.
    pub const ALL: [Self; 14] = [
        Self::Throttled,
        Self::ServerError,
        Self::Unreachable,
        Self::Tls,
        Self::OutcomeUnknown,
        Self::Protocol,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::ClientBug,
        Self::AssignmentFailed,
        Self::Disabled,
        Self::AssignmentTimeout,
    ];

    /// The name used in records and reports, as serde spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "server-error",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Protocol => "protocol",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::ClientBug => "client-bug",
            Self::AssignmentFailed => "assignment-failed",
            Self::Disabled => "disabled",
            Self::AssignmentTimeout => "assignment-timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_the_name_that_serde_gives_it_and_stands_at_its_place() {
        for (place, class) in ErrorClass::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
            assert_eq!(class as usize, place);
        }
    }
}
