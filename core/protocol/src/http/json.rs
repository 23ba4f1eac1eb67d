//! The JSON bodies of the device API (`dps` 3.4 and 4).

use std::borrow::Cow;
use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::MESSAGE_MAX_BYTES;
use crate::{
    Body, Enrolment, ErrorBody, Guid, OperationId, Registration, RegistrationState, Reply, RetryAfter,
    Status, Submission, Substatus, TpmKeys, code,
};

/// The body of a registration. `extra` are members that an attestation adds, as JSON text such as
/// `"tpm":{"endorsementKey":"…"}`.
pub fn body(registration_id: &str, extra: Option<&str>) -> String {
    // A registration id holds no character that JSON would escape.
    match extra {
        Some(extra) if !extra.is_empty() => format!(r#"{{"registrationId":"{registration_id}",{extra}}}"#),
        _ => format!(r#"{{"registrationId":"{registration_id}"}}"#),
    }
}

/// Every member that any answer may have; which of them are there tells what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow, default)]
    operation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    registration_state: Option<&'a RawValue>,
    #[serde(default)]
    error_code: Option<u32>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tracking_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    timestamp_utc: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    authentication_key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    registration_id: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireRegistration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    x509: Option<WireGroup<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symmetric_key: Option<WireGroup<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm: Option<WireTpm<'a>>,
    #[serde(borrow)]
    registration_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date_time_utc: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned_hub: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    substatus: Option<Substatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated_date_time_utc: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<serde_json::Value>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireGroup<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment_group_id: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireTpm<'a> {
    authentication_key: Cow<'a, str>,
}

/// Reads an answer. Total: what is no answer of DPS becomes [`Body::Unreadable`].
pub fn read_reply(status: Status, retry_after: RetryAfter, content_type: Option<&str>, body: &[u8]) -> Reply {
    let body = if body.is_empty() {
        Body::Empty
    } else if content_type.is_some_and(|kind| !kind.to_ascii_lowercase().contains("json")) {
        Body::Unreadable
    } else {
        read_body(body).unwrap_or(Body::Unreadable)
    };
    Reply { status, retry_after, body }
}

fn read_body(body: &[u8]) -> Option<Body> {
    let wire: Wire<'_> = serde_json::from_slice(body).ok()?;
    if let Some(key) = &wire.authentication_key {
        return Some(Body::Challenge(BASE64_STANDARD.decode(key.as_bytes()).ok()?.into()));
    }
    // A registration carries an error code too, beside its status.
    if let (Some(code), None) = (wire.error_code, &wire.status) {
        return Some(Body::Error(ErrorBody {
            code,
            message: message(wire.message.unwrap_or_default()),
            tracking: wire.tracking_id.as_deref().and_then(read_guid).unwrap_or(0),
            unix_ns: wire.timestamp_utc.as_deref().and_then(read_time).unwrap_or(0),
        }));
    }
    let state = read_state(wire.status.as_deref()?)?;
    // No id at all leaves a device without a question; one that cannot be asked about is no answer of DPS.
    let too_long = |id: &Cow<'_, str>| id.len() > OperationId::BYTES_MOST;
    if wire.operation_id.as_ref().is_some_and(too_long) {
        return None;
    }
    if wire.registration_id.is_some() && wire.operation_id.is_none() {
        return Some(Body::Registration(Box::new(read_registration(body)?)));
    }
    let terminal = !matches!(state, RegistrationState::Assigning | RegistrationState::Unassigned);
    let registration = match wire.registration_state.filter(|_| terminal) {
        Some(raw) if raw.get() != "null" => Some(Box::new(read_registration(raw.get().as_bytes())?)),
        _ => None,
    };
    Some(Body::Operation {
        id: wire.operation_id.as_deref().and_then(OperationId::read),
        state,
        registration,
    })
}

/// Most bytes of a message that are kept.
const MESSAGE_MOST: usize = 4_096;

/// The longest name of a host (RFC 1035, 2.3.4), and the longest id of a device at a hub.
const HOST_MOST: usize = 253;
const DEVICE_ID_MOST: usize = 128;

/// The texts of the mock and of the service are few: nearly every message needs no memory of its own.
fn message(text: Cow<'_, str>) -> Cow<'static, str> {
    const KNOWN: [&str; 5] = [
        "Too many requests",
        "Unauthorized",
        "Invalid certificate",
        "Precondition failed.",
        "Internal error",
    ];
    match KNOWN.iter().find(|known| **known == text) {
        Some(known) => Cow::Borrowed(known),
        None if text.len() > MESSAGE_MOST => {
            let end = (0..=MESSAGE_MOST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            Cow::Owned(text[..end].to_owned())
        }
        None => Cow::Owned(text.into_owned()),
    }
}

fn read_state(text: &str) -> Option<RegistrationState> {
    Some(match text {
        "unassigned" => RegistrationState::Unassigned,
        "assigning" => RegistrationState::Assigning,
        "assigned" => RegistrationState::Assigned,
        "failed" => RegistrationState::Failed,
        // An older name that azure-iot-sdk-c still knows.
        "disabled" | "blacklisted" => RegistrationState::Disabled,
        _ => return None,
    })
}

const fn state_name(state: RegistrationState) -> &'static str {
    match state {
        RegistrationState::Unassigned => "unassigned",
        RegistrationState::Assigning => "assigning",
        RegistrationState::Assigned => "assigned",
        RegistrationState::Failed => "failed",
        RegistrationState::Disabled => "disabled",
    }
}

fn read_registration(text: &[u8]) -> Option<Registration> {
    let wire: WireRegistration<'_> = serde_json::from_slice(text).ok()?;
    // What names no host and no device would be dialled, spelled into topics and written into records.
    let longer =
        |text: &Option<Cow<'_, str>>, most: usize| text.as_ref().is_some_and(|text| text.len() > most);
    if longer(&wire.assigned_hub, HOST_MOST) || longer(&wire.device_id, DEVICE_ID_MOST) {
        return None;
    }
    let group = |group: WireGroup<'_>| group.enrollment_group_id.map(Cow::into_owned);
    let enrolment = match (wire.x509, wire.symmetric_key, wire.tpm) {
        (_, _, Some(tpm)) => Some(Enrolment::Tpm {
            authentication_key: BASE64_STANDARD.decode(tpm.authentication_key.as_bytes()).ok()?.into(),
        }),
        (Some(x509), _, None) => Some(Enrolment::X509 { group: group(x509) }),
        (None, Some(key), None) => Some(Enrolment::SymmetricKey { group: group(key) }),
        (None, None, None) => None,
    };
    Some(Registration {
        registration_id: wire.registration_id.into_owned(),
        state: wire.status.as_deref().and_then(read_state),
        substatus: wire.substatus,
        assigned_hub: wire.assigned_hub.map(Cow::into_owned),
        device_id: wire.device_id.map(Cow::into_owned),
        error_code: wire.error_code,
        error_message: wire.error_message.map(|text| message(text).into_owned()),
        created_unix_ns: wire.created_date_time_utc.as_deref().and_then(read_time),
        updated_unix_ns: wire.last_updated_date_time_utc.as_deref().and_then(read_time),
        etag: wire.etag.map(Cow::into_owned),
        enrolment,
        payload: wire.payload,
    })
}

/// Writes an answer's body. `registration_id` is the request's, which an `assigning` answer to a poll repeats.
pub fn write_reply(reply: &Reply, registration_id: &str, poll: bool, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail, and these values always serialize.
    let _ = match &reply.body {
        Body::Empty | Body::Unreadable => Ok(()),
        Body::Challenge(key) => write!(
            out,
            r#"{{"message":"Authorization required, resend request using supplied key","authenticationKey":"{}","keyName":"registration"}}"#,
            BASE64_STANDARD.encode(key)
        ),
        Body::Error(error) => write_error(error, out),
        Body::Registration(registration) => write_registration(registration, out),
        Body::Operation { id, state, registration } => {
            let _ = out.write_all(br#"{"operationId":""#);
            if let Some(id) = id {
                let _ = write!(out, "{id}");
            }
            let _ = write!(out, r#"","status":"{}""#, state_name(*state));
            match registration {
                Some(registration) => {
                    let _ = out.write_all(br#","registrationState":"#);
                    let _ = write_registration(registration, out);
                }
                // iot-identity-service cannot do without it (`dps` 3.4).
                None if poll || *state == RegistrationState::Disabled => {
                    let _ = out.write_all(br#","registrationState":{"registrationId":"#);
                    let _ = serde_json::to_writer(&mut *out, registration_id);
                    let _ = write!(out, r#","status":"{}"}}"#, state_name(*state));
                }
                None => {}
            }
            out.write_all(b"}")
        }
    };
}

pub(super) fn write_error(error: &ErrorBody, out: &mut Vec<u8>) -> std::io::Result<()> {
    write!(out, r#"{{"errorCode":{},"trackingId":"{}","message":"#, error.code, Guid(error.tracking))?;
    serde_json::to_writer(&mut *out, &error.message).map_err(std::io::Error::other)?;
    write!(out, r#","timestampUtc":"{}"}}"#, write_time(error.unix_ns))
}

pub(super) fn write_registration(registration: &Registration, out: &mut Vec<u8>) -> std::io::Result<()> {
    let group =
        |group: &'_ Option<String>| Some(WireGroup { enrollment_group_id: group.clone().map(Cow::Owned) });
    let (mut x509, mut symmetric_key, mut tpm) = (None, None, None);
    match &registration.enrolment {
        Some(Enrolment::X509 { group: id }) => x509 = group(id),
        Some(Enrolment::SymmetricKey { group: id }) => symmetric_key = group(id),
        // A key that was not sealed to anybody is not told.
        Some(Enrolment::Tpm { authentication_key }) if authentication_key.is_empty() => {}
        Some(Enrolment::Tpm { authentication_key }) => {
            tpm = Some(WireTpm { authentication_key: BASE64_STANDARD.encode(authentication_key).into() });
        }
        None => {}
    }
    let wire = WireRegistration {
        x509,
        symmetric_key,
        tpm,
        registration_id: Cow::Borrowed(&registration.registration_id),
        created_date_time_utc: registration.created_unix_ns.map(|at| write_time(at).into()),
        assigned_hub: registration.assigned_hub.as_deref().map(Cow::Borrowed),
        device_id: registration.device_id.as_deref().map(Cow::Borrowed),
        status: registration.state.map(|state| state_name(state).into()),
        substatus: registration.substatus,
        error_code: registration.error_code,
        error_message: registration.error_message.as_deref().map(Cow::Borrowed),
        last_updated_date_time_utc: registration.updated_unix_ns.map(|at| write_time(at).into()),
        etag: registration.etag.as_deref().map(Cow::Borrowed),
        payload: registration.payload.clone(),
    };
    serde_json::to_writer(out, &wire).map_err(std::io::Error::other)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSubmission<'a> {
    #[serde(borrow, default)]
    registration_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    csr: Option<&'a RawValue>,
    /// Python sends `null`.
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// Reads the body of a register or lookup request.
pub fn read_submission<'a>(content_type: Option<&str>, body: &'a [u8]) -> Submission<'a> {
    if content_type.is_some_and(|kind| !kind.to_ascii_lowercase().contains("application/json")) {
        return Submission::WrongMediaType;
    }
    if body.len() > MESSAGE_MAX_BYTES {
        return Submission::Unreadable;
    }
    // serde would also fill a structure from an array.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Submission::Unreadable;
    }
    match serde_json::from_slice::<WireSubmission<'_>>(body) {
        Ok(wire) => Submission::Read {
            registration_id: wire.registration_id,
            csr: wire.csr.is_some(),
            payload: wire.payload.map(RawValue::get),
        },
        Err(_) => Submission::Unreadable,
    }
}

#[derive(Deserialize)]
struct WireNamed<'a> {
    #[serde(borrow)]
    tpm: WireTpmKeys<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTpmKeys<'a> {
    #[serde(borrow)]
    endorsement_key: Cow<'a, str>,
    #[serde(borrow, default)]
    storage_root_key: Option<Cow<'a, str>>,
}

/// The keys of a TPM as a member of a registration's body.
pub fn tpm_keys(endorsement_key: &[u8], storage_root_key: &[u8]) -> String {
    let [endorsement, storage] = [endorsement_key, storage_root_key].map(|key| BASE64_STANDARD.encode(key));
    format!(r#""tpm":{{"endorsementKey":"{endorsement}","storageRootKey":"{storage}"}}"#)
}

/// Reads which TPM the body of a register request names; `None` where it names none, or none that can be read.
pub fn read_tpm(body: &[u8]) -> Option<TpmKeys> {
    let WireNamed { tpm } = serde_json::from_slice(body).ok()?;
    let decode = |key: &str| BASE64_STANDARD.decode(key).ok().map(Vec::into_boxed_slice);
    Some(TpmKeys {
        endorsement_key: decode(&tpm.endorsement_key)?,
        storage_root_key: match tpm.storage_root_key {
            Some(key) => Some(decode(&key)?),
            None => None,
        },
    })
}

/// As the service writes times: seven fractional digits and `Z` (`dps` 2.3).
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

/// A time as the service writes it, from nanoseconds since the Unix epoch.
pub fn write_time(unix_ns: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns))
        .ok()
        .and_then(|at| at.format(TIME).ok())
        .unwrap_or_default()
}

fn read_time(text: &str) -> Option<u64> {
    u64::try_from(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos()).ok()
}

fn read_guid(text: &str) -> Option<u128> {
    if text.len() != 36 || !text.is_ascii() {
        return None;
    }
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&digits, 16).ok()
}

/// The error body for a code, with the mock's text for it.
pub fn text_of(code: u32) -> &'static str {
    match code {
        code::UNAUTHORIZED => "Unauthorized",
        code::INVALID_CERTIFICATE => "Invalid certificate",
        code::REGISTRATION_CONFLICT => "Precondition failed.",
        code::THROTTLED => "Too many requests",
        code::INTERNAL_ERROR => "Internal error",
        _ => code::lookup(u16::try_from(code / 1_000).unwrap_or(0), code).map_or("", |entry| entry.title),
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
