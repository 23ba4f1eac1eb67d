//! The messages of the device API as values.
//!
//! A [`Reply`] is small and owned: in virtual time a million of them are in flight between the service's hands and
//! the device's. Only a terminal registration carries heap memory, and a device sees that once.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{OperationId, RetryAfter};

/// The three calls of the device API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `PUT …/register`: starts an assignment. Billable, and counted against the registration quota.
    Register,
    /// `GET …/operations/{id}`: asks how an assignment is going. Counted per device.
    Poll,
    /// `POST …/registrations/{id}`: asks for the last known assignment. Counted as a registration.
    Lookup,
}

impl Operation {
    /// The name used in records and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Poll => "poll",
            Self::Lookup => "lookup",
        }
    }
}

/// An HTTP status, which MQTT carries in its topic and AMQP derives from the error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub u16);

impl Status {
    /// Whether the request was granted.
    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }

    /// Finished: the body says how.
    pub const OK: Self = Self(200);
    /// Accepted: ask again later.
    pub const ACCEPTED: Self = Self(202);
    /// Done, and there is nothing to say.
    pub const NO_CONTENT: Self = Self(204);
    /// The request is malformed.
    pub const BAD_REQUEST: Self = Self(400);
    /// The credential cannot be validated, or a TPM challenge follows.
    pub const UNAUTHORIZED: Self = Self(401);
    /// The credential is valid but not sufficient.
    pub const FORBIDDEN: Self = Self(403);
    /// No such scope, enrollment or operation.
    pub const NOT_FOUND: Self = Self(404);
    /// The method does not exist on this target.
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    /// Another registration of this device is still running.
    pub const CONFLICT: Self = Self(409);
    /// The `ETag` does not match.
    pub const PRECONDITION_FAILED: Self = Self(412);
    /// The body's media type is not JSON.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    /// Throttled.
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// Internal error.
    pub const INTERNAL_ERROR: Self = Self(500);
}

/// One answer of the service.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status of the request itself; a registration can have failed under a 200.
    pub status: Status,
    /// When the service wants to be asked again.
    pub retry_after: RetryAfter,
    /// What the body said.
    pub body: Body,
}

/// The body of a [`Reply`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// No body at all.
    Empty,
    /// `RegistrationOperationStatus`: the answer to a register or a poll.
    Operation {
        /// What to poll; `None` where the service sent none or an empty one (a disabled enrollment).
        id: Option<OperationId>,
        /// How far the assignment is.
        state: RegistrationState,
        /// The `registrationState` member, present when the state is terminal.
        registration: Option<Box<Registration>>,
    },
    /// `DeviceRegistrationResult`: the answer to a status lookup.
    Registration(Box<Registration>),
    /// The service's error body.
    Error(ErrorBody),
    /// The first leg of TPM attestation: `authenticationKey`, decoded from base64.
    Challenge(Box<[u8]>),
    /// Bytes that are none of the above.
    Unreadable,
}

impl Body {
    /// What it carries for a TPM to take up: a challenge, or the key for the hub that comes with an assignment.
    pub fn into_challenge(self) -> Option<Box<[u8]>> {
        let registration = match self {
            Self::Challenge(challenge) => return Some(challenge),
            Self::Operation { registration, .. } => registration?,
            Self::Registration(registration) => registration,
            Self::Empty | Self::Error(_) | Self::Unreadable => return None,
        };
        match registration.enrolment? {
            Enrolment::Tpm { authentication_key } => Some(authentication_key),
            Enrolment::X509 { .. } | Enrolment::SymmetricKey { .. } => None,
        }
    }
}

/// The life cycle of a registration, `dps-device: RegistrationOperationStatus.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationState {
    /// Nothing has happened yet.
    Unassigned,
    /// The service is choosing a hub.
    Assigning,
    /// The device has a hub.
    Assigned,
    /// The assignment failed; the registration says why.
    Failed,
    /// The enrollment is disabled.
    Disabled,
}

/// How an assignment relates to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Substatus {
    /// First registration, or the same hub kept.
    InitialAssignment,
    /// Moved to another hub with its data.
    DeviceDataMigrated,
    /// Moved to another hub and reset.
    DeviceDataReset,
    /// Sent back to the hub of its first assignment.
    ReprovisionedToInitialAssignment,
}

/// Which attestation member `registrationState` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// `x509`, with the enrollment group if there is one.
    X509 {
        /// `enrollmentGroupId`.
        group: Option<String>,
    },
    /// `symmetricKey`, with the enrollment group if there is one.
    SymmetricKey {
        /// `enrollmentGroupId`.
        group: Option<String>,
    },
    /// `tpm`, with the key for the hub.
    Tpm {
        /// `authenticationKey`, decoded from base64.
        authentication_key: Box<[u8]>,
    },
}

/// `DeviceRegistrationResult`: what the service knows about a device's registration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    /// `registrationId`.
    pub registration_id: String,
    /// `status`.
    pub state: Option<RegistrationState>,
    /// `substatus`.
    pub substatus: Option<Substatus>,
    /// `assignedHub`, a bare host name.
    pub assigned_hub: Option<String>,
    /// `deviceId`.
    pub device_id: Option<String>,
    /// `errorCode` of a failed assignment.
    pub error_code: Option<u32>,
    /// `errorMessage` of a failed assignment.
    pub error_message: Option<String>,
    /// `createdDateTimeUtc` in nanoseconds since the Unix epoch.
    pub created_unix_ns: Option<u64>,
    /// `lastUpdatedDateTimeUtc` in nanoseconds since the Unix epoch.
    pub updated_unix_ns: Option<u64>,
    /// `etag` as it stands in the JSON: base64 of the quoted internal tag.
    pub etag: Option<String>,
    /// The attestation member.
    pub enrolment: Option<Enrolment>,
    /// `payload` that a custom allocation returned.
    pub payload: Option<serde_json::Value>,
}

/// `ProvisioningServiceErrorDetails`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// The six-digit code; its first three digits are the HTTP status.
    pub code: u32,
    /// The service's text.
    pub message: Cow<'static, str>,
    /// `trackingId` as the bytes of a GUID; zero where the service sent another form.
    pub tracking: u128,
    /// `timestampUtc` in nanoseconds since the Unix epoch; zero where it was missing.
    pub unix_ns: u64,
}
