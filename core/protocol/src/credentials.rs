//! How MQTT 3.1.1 spells the renewal of a device's operational certificate at its hub: topics, bodies, codes (`dps` 18.6).
//! Reading is total.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::http::iso_time;
use super::{Guid, Status};

/// The filter of the answers; a request whose device does not listen to them is answered to nobody.
pub const ANSWERS: &str = "$iothub/credentials/res/#";

/// The longest request for a certificate, in characters of base64.
pub const CSR_MAX_BYTES: usize = 8 * 1024;

/// What replaces the pending request, whichever it is.
pub const ANY: &str = "*";

const REQUEST: &str = "$iothub/credentials/POST/issueCertificate/";
const ANSWER: &str = "$iothub/credentials/res/";

/// Longest request id that is answered.
const RID_MAX_BYTES: usize = 256;

/// The request id of a device that asks for a certificate: the inner `None` where the topic has none. `None` for any
/// other topic.
pub fn read_request_topic(topic: &str) -> Option<Option<&str>> {
    let properties = topic.strip_prefix(REQUEST)?;
    let rid = properties.strip_prefix('?').unwrap_or(properties).split('&').find_map(|pair| {
        let (name, rid) = pair.split_once('=')?;
        (name == "$rid").then_some(rid)
    });
    // An answer's topic must not carry wildcards back (MQTT 3.1.1, 3.3.2-2).
    let is_sound =
        |rid: &&str| !rid.is_empty() && rid.len() <= RID_MAX_BYTES && !rid.contains(['+', '#', '/', '\0']);
    Some(rid.filter(is_sound))
}

/// Writes the topic of a request.
pub fn request_topic(rid: &str, out: &mut String) {
    let _ = write!(out, "{REQUEST}?$rid={rid}");
}

/// Writes the topic of an answer.
pub fn answer_topic(status: Status, rid: &str, out: &mut String) {
    let _ = write!(out, "{ANSWER}{}/?$rid={rid}", status.0);
}

/// The status and the request id of an answer; `None` for any other topic. More properties may follow the id.
pub fn read_answer_topic(topic: &str) -> Option<(Status, &str)> {
    let (status, properties) = topic.strip_prefix(ANSWER)?.split_once('/')?;
    let rid = properties.strip_prefix("?$rid=")?.split('&').next()?;
    // `u16::from_str` would also take a sign.
    let status = Some(status).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    Some((Status(status), rid))
}

/// A request for a certificate.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request<'a> {
    /// The device id.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The base64 of a PKCS#10 request.
    #[serde(borrow)]
    pub csr: Cow<'a, str>,
    /// The request id of a pending request that this one replaces, or [`ANY`].
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Cow<'a, str>>,
}

/// Why a body is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is no JSON.
    Undecodable,
    /// It is JSON, or nothing at all, and not of the right shape.
    Argument(&'static str),
}

impl<'a> Request<'a> {
    /// Reads a body. Whose request it is, and whether `csr` is base64, is for others to say.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let body = body.trim_ascii();
        if body.is_empty() {
            return Err(Malformed::Argument("the request has no body"));
        }
        // serde would also fill a structure from an array.
        if !body.starts_with(b"{") {
            return match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
                Ok(_) => Err(Malformed::Argument("the id in the request does not match the device's")),
                Err(_) => Err(Malformed::Undecodable),
            };
        }
        let request: Self = serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => Malformed::Argument("the request has exactly the members id, csr and replace"),
            Category::Syntax | Category::Eof | Category::Io => Malformed::Undecodable,
        })?;
        if request.csr.is_empty() || request.csr.len() > CSR_MAX_BYTES {
            return Err(Malformed::Argument("csr has 1 to 8192 characters"));
        }
        if request.replace.as_deref().is_some_and(|rid| rid != ANY && !is_replaceable(rid)) {
            return Err(Malformed::Argument(
                "replace is a request id of 4 to 36 letters, digits and hyphens, or *",
            ));
        }
        Ok(request)
    }

    /// Writes the body as clients do, without blanks.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail, and this value always serializes.
        let _ = serde_json::to_writer(out, self);
    }
}

/// Whether a request id can be named by `replace`.
fn is_replaceable(rid: &str) -> bool {
    (4..=36).contains(&rid.len())
        && rid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !rid.starts_with('-')
        && !rid.ends_with('-')
}

/// Which codes a hub has: they changed between two generations of its documentation, and a client has to know both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codes {
    /// Those of the scenarios of the C# client's repository, January 2026.
    Y2025,
    /// Those that the C and .NET clients of autumn 2026 match.
    #[default]
    Y2026,
}

/// `400004`: an argument is not in order.
pub const BAD_ARGUMENT: u32 = 400_004;
/// `400006`: the body cannot be decoded.
pub const UNDECODABLE: u32 = 400_006;

impl Codes {
    /// The request for a certificate did not pass.
    pub const fn failed(self) -> u32 {
        match self {
            Self::Y2025 => 400_037,
            Self::Y2026 => 400_040,
        }
    }

    /// Another request of the device is pending.
    pub const fn pending(self) -> u32 {
        match self {
            Self::Y2025 => 409_004,
            Self::Y2026 => 409_005,
        }
    }

    /// What was to be replaced is not pending.
    pub const fn not_pending(self) -> u32 {
        match self {
            Self::Y2025 => 412_001,
            Self::Y2026 => 412_005,
        }
    }
}

/// What a hub answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will issue a certificate.
    Accepted {
        /// Names the operation.
        correlation: u128,
        /// When it stops trying, in nanoseconds since the Unix epoch.
        expires_unix_ns: u64,
    },
    /// It has.
    Issued {
        /// Names the operation.
        correlation: u128,
        /// The certificates in DER: the device's first, the root last.
        certificates: Vec<Arc<[u8]>>,
    },
    /// It will not.
    Refused(Refusal),
}

/// Why a hub issues no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The six-digit code; its first three digits are the status.
    pub code: u32,
    /// For a person.
    pub message: &'static str,
    /// Names the answer.
    pub tracking: u128,
    /// When, in nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// More about it.
    pub info: Vec<(&'static str, String)>,
}

impl Answer {
    /// The status in the answer's topic.
    pub fn status(&self) -> Status {
        match self {
            Self::Accepted { .. } => Status::ACCEPTED,
            Self::Issued { .. } => Status::OK,
            Self::Refused(refusal) => Status(u16::try_from(refusal.code / 1_000).unwrap_or(500)),
        }
    }

    /// Writes the answer's body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let value = match self {
            Self::Accepted { correlation, expires_unix_ns } => serde_json::json!({
                "correlationId": Guid(*correlation).to_string(),
                "operationExpires": iso_time(*expires_unix_ns),
            }),
            Self::Issued { correlation, certificates } => {
                let certificates: Vec<String> =
                    certificates.iter().map(|der| BASE64_STANDARD.encode(der)).collect();
                serde_json::json!({
                    "correlationId": Guid(*correlation).to_string(),
                    "certificates": certificates,
                })
            }
            Self::Refused(refusal) => {
                let info: serde_json::Map<_, _> = refusal
                    .info
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
                    .collect();
                serde_json::json!({
                    "errorCode": refusal.code,
                    "message": refusal.message,
                    "trackingId": Guid(refusal.tracking).to_string(),
                    "timestampUtc": iso_time(refusal.unix_ns),
                    "info": info,
                })
            }
        };
        // Writing to a vector cannot fail, and a value always serializes.
        let _ = serde_json::to_writer(out, &value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_topics_of_real_clients_are_understood() {
        for (topic, rid) in [
            ("$iothub/credentials/POST/issueCertificate/?$rid=7", Some("7")),
            ("$iothub/credentials/POST/issueCertificate/?$rid=66641568&$version=1", Some("66641568")),
            ("$iothub/credentials/POST/issueCertificate/", None),
            ("$iothub/credentials/POST/issueCertificate/?$rid=", None),
            ("$iothub/credentials/POST/issueCertificate/?$rid=a/b", None),
            ("$iothub/credentials/POST/issueCertificate/?rid=7", None),
        ] {
            assert_eq!(read_request_topic(topic), Some(rid), "{topic}");
        }
        for other in ["", "$iothub/credentials/POST/", "$iothub/twin/GET/?$rid=1"] {
            assert_eq!(read_request_topic(other), None, "{other}");
        }
        assert_eq!(
            read_answer_topic("$iothub/credentials/res/202/?$rid=7&$version=1"),
            Some((Status::ACCEPTED, "7"))
        );
        assert_eq!(read_answer_topic("$iothub/credentials/res/+02/?$rid=7"), None);
    }

    #[test]
    fn a_request_is_what_the_c_client_writes() {
        for text in [r#"{"id":"D","csr":"B"}"#, r#"{"id":"D","csr":"B","replace":"abcd"}"#] {
            let request = Request::read(text.as_bytes()).unwrap();
            let mut written = Vec::new();
            request.write(&mut written);
            assert_eq!(written, text.as_bytes());
        }
    }

    #[test]
    fn a_name_to_replace_has_four_to_thirty_six_characters() {
        let read = |replace: &str| {
            let text = format!(r#"{{"id":"D","csr":"B","replace":"{replace}"}}"#);
            Request::read(text.as_bytes()).is_ok()
        };
        for good in ["*", "1234", "a-b-c", &"a".repeat(36)] {
            assert!(read(good), "{good}");
        }
        for bad in ["", "123", "-123", "123-", "12_4", "1*34", &"a".repeat(37)] {
            assert!(!read(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(bytes: Vec<u8>, text in "[{}\\[\\]:,\"a-z0-9]{0,60}", topic in "\\PC{0,80}") {
            for body in [&bytes[..], text.as_bytes(), format!("{{{text}").as_bytes()] {
                let _ = Request::read(body);
            }
            read_request_topic(&topic);
            read_answer_topic(&topic);
            if let Some(Some(rid)) = read_request_topic(&format!("{REQUEST}{topic}")) {
                prop_assert!(!rid.contains(['+', '#']));
            }
        }

        #[test]
        fn what_one_end_writes_the_other_reads(rid in "[0-9a-zA-Z-]{1,36}", status in 100..1000u16) {
            let mut topic = String::new();
            request_topic(&rid, &mut topic);
            prop_assert_eq!(read_request_topic(&topic), Some(Some(&*rid)));
            topic.clear();
            answer_topic(Status(status), &rid, &mut topic);
            prop_assert_eq!(read_answer_topic(&topic), Some((Status(status), &*rid)));
        }
    }
}
