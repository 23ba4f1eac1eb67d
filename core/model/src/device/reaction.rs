//! What a device does about every status and fault. The default is the reference client's (`dps` 13.2); a
//! policy profile may say otherwise.

use fleetstorm_protocol::outcome::{ErrorClass, Fault};
use fleetstorm_protocol::{Body, Operation, RegistrationState, Reply, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Advice, Policy};

/// What a device is advised to do by what a failure at the provisioning service means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reactions {
    /// 429.
    pub throttled: Advice,
    /// 5xx.
    pub server_error: Advice,
    /// No connection, or it closed before the request left.
    pub unreachable: Advice,
    /// The request left and no answer came.
    pub outcome_unknown: Advice,
    /// The server's certificate is not to be trusted.
    pub tls_refused: Advice,
    /// The handshake failed in another way.
    pub tls_failed: Advice,
    /// An answer that is not the service's.
    pub protocol: Advice,
    /// 401 outside the TPM flow.
    pub unauthorized: Advice,
    /// 403.
    pub forbidden: Advice,
    /// 404 to a registration.
    pub not_found: Advice,
    /// 404 to a poll or a status lookup: the operation or the record is lost, the enrollment need not be.
    pub operation_lost: Advice,
    /// 409 or 412.
    pub conflict: Advice,
    /// Any other 4xx.
    pub client_bug: Advice,
    /// 200 with `failed`.
    pub assignment_failed: Advice,
    /// 200 with `disabled`.
    pub disabled: Advice,
    /// The service kept assigning past the device's patience.
    pub assignment_timeout: Advice,
}

impl Default for Reactions {
    fn default() -> Self {
        Self {
            throttled: Advice::Retry,
            server_error: Advice::Retry,
            unreachable: Advice::Retry,
            outcome_unknown: Advice::Retry,
            tls_refused: Advice::Park,
            tls_failed: Advice::Retry,
            protocol: Advice::Retry,
            unauthorized: Advice::Renew,
            forbidden: Advice::Renew,
            not_found: Advice::Park,
            operation_lost: Advice::Restart,
            conflict: Advice::Restart,
            client_bug: Advice::Park,
            assignment_failed: Advice::Park,
            disabled: Advice::Park,
            assignment_timeout: Advice::Restart,
        }
    }
}

/// A token that was renewed and is refused again is not renewed once more.
fn once(advice: Advice, renewed: bool) -> Advice {
    if advice == Advice::Renew && renewed { Advice::Park } else { advice }
}

/// What a broken connection or request means.
pub(super) fn to_fault(fault: Fault, policy: &Policy, renewed: bool) -> (ErrorClass, Advice) {
    let (reactions, refusals) = (&policy.reactions, &policy.refusals);
    let (class, advice) = match fault {
        Fault::Dns
        | Fault::Refused
        | Fault::Exhausted
        | Fault::Unreachable
        | Fault::ConnectTimeout
        | Fault::Closed => (ErrorClass::Unreachable, reactions.unreachable),
        Fault::TlsUntrusted | Fault::TlsExpired | Fault::TlsWrongName => {
            (ErrorClass::Tls, reactions.tls_refused)
        }
        Fault::TlsOther => (ErrorClass::Tls, reactions.tls_failed),
        Fault::Lost | Fault::Timeout => (ErrorClass::OutcomeUnknown, reactions.outcome_unknown),
        Fault::Protocol => (ErrorClass::Protocol, reactions.protocol),
        // No answer of the service: nothing that is asked of it would mend the device's own key.
        Fault::Attestation => (ErrorClass::Unauthorized, Advice::Park),
        Fault::Unavailable => (ErrorClass::ServerError, refusals.unavailable),
        Fault::BadCredentials => (ErrorClass::Unauthorized, refusals.bad_credentials),
        Fault::NotAuthorized => (ErrorClass::Unauthorized, refusals.not_authorized),
    };
    (class, once(advice, renewed))
}

/// What an answer means; `None` if the registration goes on (assigned, or still assigning).
pub(super) fn to_reply(
    operation: Operation,
    reply: &Reply,
    reactions: &Reactions,
    renewed: bool,
) -> Option<(ErrorClass, Advice)> {
    let (class, advice) = match reply.status {
        Status::OK | Status::ACCEPTED => return to_body(operation, &reply.body, reactions),
        Status::UNAUTHORIZED => (ErrorClass::Unauthorized, reactions.unauthorized),
        Status::FORBIDDEN => (ErrorClass::Forbidden, reactions.forbidden),
        Status::NOT_FOUND => match operation {
            Operation::Register => (ErrorClass::NotFound, reactions.not_found),
            Operation::Poll | Operation::Lookup => (ErrorClass::NotFound, reactions.operation_lost),
        },
        Status::CONFLICT | Status::PRECONDITION_FAILED => (ErrorClass::Conflict, reactions.conflict),
        Status::TOO_MANY_REQUESTS => (ErrorClass::Throttled, reactions.throttled),
        Status(500..=599) => (ErrorClass::ServerError, reactions.server_error),
        Status(400..=499) => (ErrorClass::ClientBug, reactions.client_bug),
        // Anything else is not DPS speaking: a proxy, a redirect, a wrong address.
        Status(_) => (ErrorClass::Protocol, reactions.protocol),
    };
    Some((class, once(advice, renewed)))
}

fn to_body(operation: Operation, body: &Body, reactions: &Reactions) -> Option<(ErrorClass, Advice)> {
    let not_dps = Some((ErrorClass::Protocol, reactions.protocol));
    let (state, registration) = match body {
        Body::Operation { state, registration, .. } => (*state, registration.as_deref()),
        Body::Registration(registration) => {
            (registration.state.unwrap_or(RegistrationState::Unassigned), Some(&**registration))
        }
        Body::Empty | Body::Error(_) | Body::Challenge(_) | Body::Unreadable => return not_dps,
    };
    match state {
        RegistrationState::Failed => Some((ErrorClass::AssignmentFailed, reactions.assignment_failed)),
        RegistrationState::Disabled => Some((ErrorClass::Disabled, reactions.disabled)),
        RegistrationState::Assigned => match registration {
            Some(registration) if registration.assigned_hub.is_some() => None,
            _ => not_dps,
        },
        RegistrationState::Assigning | RegistrationState::Unassigned => match (operation, body) {
            // Only a poll may leave the id out: the device still has the one it asked with.
            (Operation::Poll, Body::Operation { .. })
            | (Operation::Register, Body::Operation { id: Some(_), .. }) => None,
            // Nothing assigned yet: registering also tells how far it is.
            (Operation::Lookup, _) => Some((ErrorClass::NotFound, reactions.operation_lost)),
            _ => not_dps,
        },
    }
}

/// The six-digit code of an error body or of a failed registration; 0 where there is none.
pub(super) fn service_code(reply: &Reply) -> u32 {
    match &reply.body {
        Body::Error(error) => error.code,
        Body::Operation { registration: Some(registration), .. } | Body::Registration(registration) => {
            registration.error_code.unwrap_or(0)
        }
        Body::Empty | Body::Operation { .. } | Body::Challenge(_) | Body::Unreadable => 0,
    }
}
