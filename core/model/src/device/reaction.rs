//! What the reference client does about every status and fault (`dps-protocol` 13.2).

use super::{Advice, Refusals};
use crate::outcome::{ErrorClass, Fault};
use crate::protocol::{Body, Operation, RegistrationState, Reply, Status};

/// What a broken connection or request means. A token that was renewed and is refused again is not renewed once more.
pub(super) fn to_fault(fault: Fault, refusals: &Refusals, renewed: bool) -> (ErrorClass, Advice) {
    let once = |advice| if advice == Advice::Renew && renewed { Advice::Park } else { advice };
    match fault {
        Fault::Dns
        | Fault::Refused
        | Fault::Exhausted
        | Fault::Unreachable
        | Fault::ConnectTimeout
        | Fault::Closed => (ErrorClass::Unreachable, Advice::Retry),
        Fault::TlsUntrusted | Fault::TlsExpired | Fault::TlsWrongName => (ErrorClass::Tls, Advice::Park),
        Fault::TlsOther => (ErrorClass::Tls, Advice::Retry),
        Fault::Lost | Fault::Timeout => (ErrorClass::OutcomeUnknown, Advice::Retry),
        Fault::Protocol => (ErrorClass::Protocol, Advice::Retry),
        Fault::Attestation => (ErrorClass::Unauthorized, Advice::Park),
        Fault::Unavailable => (ErrorClass::ServerError, once(refusals.unavailable)),
        Fault::BadCredentials => (ErrorClass::Unauthorized, once(refusals.bad_credentials)),
        Fault::NotAuthorized => (ErrorClass::Unauthorized, once(refusals.not_authorized)),
    }
}

/// What an answer means; `None` if the registration goes on (assigned, or still assigning).
pub(super) fn to_reply(operation: Operation, reply: &Reply, renewed: bool) -> Option<(ErrorClass, Advice)> {
    let refused = if renewed { Advice::Park } else { Advice::Renew };
    Some(match reply.status {
        Status::OK | Status::ACCEPTED => return to_body(operation, &reply.body),
        Status::UNAUTHORIZED => (ErrorClass::Unauthorized, refused),
        Status::FORBIDDEN => (ErrorClass::Forbidden, refused),
        Status::NOT_FOUND => match operation {
            Operation::Register => (ErrorClass::NotFound, Advice::Park),
            // The operation or the record is lost; the enrollment need not be.
            Operation::Poll | Operation::Lookup => (ErrorClass::NotFound, Advice::Restart),
        },
        Status::CONFLICT | Status::PRECONDITION_FAILED => (ErrorClass::Conflict, Advice::Restart),
        Status::TOO_MANY_REQUESTS => (ErrorClass::Throttled, Advice::Retry),
        Status(500..=599) => (ErrorClass::ServerError, Advice::Retry),
        Status(400..=499) => (ErrorClass::ClientBug, Advice::Park),
        // Anything else is not DPS speaking: a proxy, a redirect, a wrong address.
        Status(_) => (ErrorClass::Protocol, Advice::Retry),
    })
}

fn to_body(operation: Operation, body: &Body) -> Option<(ErrorClass, Advice)> {
    const NOT_DPS: Option<(ErrorClass, Advice)> = Some((ErrorClass::Protocol, Advice::Retry));
    let (state, registration) = match body {
        Body::Operation { state, registration, .. } => (*state, registration.as_deref()),
        Body::Registration(registration) => {
            (registration.state.unwrap_or(RegistrationState::Unassigned), Some(&**registration))
        }
        Body::Empty | Body::Error(_) | Body::Challenge(_) | Body::Unreadable => return NOT_DPS,
    };
    match state {
        RegistrationState::Failed => Some((ErrorClass::AssignmentFailed, Advice::Park)),
        RegistrationState::Disabled => Some((ErrorClass::Disabled, Advice::Park)),
        RegistrationState::Assigned => match registration {
            Some(registration) if registration.assigned_hub.is_some() => None,
            _ => NOT_DPS,
        },
        RegistrationState::Assigning | RegistrationState::Unassigned => match (operation, body) {
            // Only a poll may leave the id out: the device still has the one it asked with.
            (Operation::Poll, Body::Operation { .. })
            | (Operation::Register, Body::Operation { id: Some(_), .. }) => None,
            // Nothing assigned yet: registering also tells how far it is.
            (Operation::Lookup, _) => Some((ErrorClass::NotFound, Advice::Restart)),
            _ => NOT_DPS,
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
