//! How AMQP 1.0 spells the device API (`dps` 8): SASL, links, application properties and rejected deliveries.
//! Bodies are the JSON of [`super::http`].
//!
//! [`Client`] and [`Server`] are the two ends of a connection as machines without I/O: they take what [`frame`] has cut
//! out of the stream and write what has to be said. The frames are our own, because the codecs that can be had recurse
//! over what a peer nests: one frame would end the process.

mod client;
pub mod frame;
mod link;
mod message;
mod performative;
mod sasl;
mod server;
mod tpm;
mod value;
mod wrong;

use super::{RetryAfter, Status};
pub use client::{Client, Said, Terms};
pub use message::{Request, RequestCall, read_request, strange_correlation_id};
pub use server::{Greeting, Guest, Heard, Misanswer, Refusal, Server};
pub use tpm::Tpm;
use value::{Compound, Items, Value};
pub use wrong::{AmqpCondition, FrameForm};

/// Why bytes are no AMQP of DPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("it ends too early")]
    Incomplete,
    /// A value is not of the type that stands there.
    #[error("a value of another type")]
    Type,
    /// A text is not UTF-8.
    #[error("a text that is not UTF-8")]
    Text,
    /// A field that has to be there is not.
    #[error("a field is missing")]
    Missing,
    /// It is no frame.
    #[error("no frame of AMQP")]
    Frame,
    /// It is longer than allowed.
    #[error("longer than allowed")]
    TooLong,
}

/// Which end of a link somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

impl Role {
    const fn of(receiver: bool) -> Self {
        if receiver { Self::Receiver } else { Self::Sender }
    }

    const fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// The SASL mechanisms of DPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// A user name and a token.
    Plain,
    /// The certificate of the TLS connection.
    External,
    /// Nothing; the certificate of the TLS connection, if there is one, counts.
    Anonymous,
    /// A challenge that only one TPM can take up, and a token signed with what was in it.
    Tpm,
}

impl Mechanism {
    /// Every mechanism, in the order in which a server offers them.
    const ALL: [Self; 4] = [Self::Plain, Self::External, Self::Anonymous, Self::Tpm];

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::Tpm => "TPM",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// The address of a device's links, which is its user name too.
pub fn address(id_scope: &str, registration_id: &str) -> String {
    format!("{id_scope}/registrations/{registration_id}")
}

/// Reads an address: id scope and registration id. C puts the host before it, Java a slash. It is no URL: what is escaped
/// in it is no registration id.
pub(crate) fn read_address(text: &str) -> Option<(String, String)> {
    let (id_scope, registration_id) = split_address(text)?;
    let is_plain = |text: &str| !text.is_empty() && !text.contains('%');
    (is_plain(id_scope) && is_plain(registration_id))
        .then(|| (id_scope.to_owned(), registration_id.to_owned()))
}

/// What has the form of an address, whatever it names.
pub(crate) fn split_address(text: &str) -> Option<(&str, &str)> {
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => text.strip_prefix('/').unwrap_or(text),
    };
    let mut parts = path.split('/');
    let (id_scope, word, registration_id) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && word.eq_ignore_ascii_case("registrations");
    whole.then_some((id_scope, registration_id))
}

/// The registration id that a client names before it has a link: in its user name, as a TPM, or by the name of its
/// container, which clients that are not ours may choose otherwise.
pub fn named_by(unit: &frame::Unit<'_>) -> Option<String> {
    match unit {
        frame::Unit::Header(_) => None,
        frame::Unit::Sasl(body) => match sasl::read(body).ok()? {
            sasl::Sasl::Init { mechanism, initial_response, .. } => match Mechanism::of(mechanism)? {
                Mechanism::Plain => Some(read_address(sasl::read_plain(initial_response?)?.0)?.1),
                Mechanism::Tpm => Some(Tpm::read(initial_response?)?.registration_id),
                Mechanism::External | Mechanism::Anonymous => None,
            },
            _ => None,
        },
        frame::Unit::Amqp { body, .. } => match performative::read(body).ok()?? {
            performative::Performative::Open(open) => Some(open.container_id.to_owned()),
            _ => None,
        },
    }
}

/// Names for conditions of the specification (part 2, 2.8.15 to 2.8.18) and of DPS.
mod condition {
    pub(super) const INTERNAL_ERROR: &str = "amqp:internal-error";
    pub(super) const NOT_FOUND: &str = "amqp:not-found";
    pub(super) const UNAUTHORIZED: &str = "amqp:unauthorized-access";
    pub(super) const NOT_ALLOWED: &str = "amqp:not-allowed";
    pub(super) const LOCKED: &str = "amqp:resource-locked";
    pub(super) const DELETED: &str = "amqp:resource-deleted";
    pub(super) const CONNECTION_FORCED: &str = "amqp:connection:forced";
    pub(super) const DETACH_FORCED: &str = "amqp:link:detach-forced";
    pub(super) const STOLEN: &str = "amqp:link:stolen";
    pub(super) const PRECONDITION_FAILED: &str = "amqp:precondition-failed";
    pub(super) const LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
    pub(super) const FRAMING_ERROR: &str = "amqp:connection:framing-error";
    pub(super) const DECODE_ERROR: &str = "amqp:decode-error";
    pub(super) const THROTTLED: &str = "com.microsoft:device-container-throttled";
    pub(super) const ARGUMENT_INVALID: &str = "com.microsoft:argument-invalid";
}

/// The condition under which a status is refused (`dps` 8.4). Node tries again after
/// `amqp:internal-error` and the throttled one, and after nothing else.
pub(crate) const fn condition_of(status: Status) -> &'static str {
    match status.0 {
        401 => condition::UNAUTHORIZED,
        403 => condition::NOT_ALLOWED,
        404 => condition::NOT_FOUND,
        409 => condition::LOCKED,
        412 => condition::PRECONDITION_FAILED,
        429 => condition::THROTTLED,
        500..=599 => condition::INTERNAL_ERROR,
        _ => condition::ARGUMENT_INVALID,
    }
}

/// The status that a condition stands for, for refusals without the service's own words.
pub(crate) fn status_of(condition: &str) -> Status {
    match condition {
        condition::UNAUTHORIZED => Status::UNAUTHORIZED,
        condition::NOT_ALLOWED => Status::FORBIDDEN,
        condition::NOT_FOUND => Status::NOT_FOUND,
        condition::LOCKED => Status::CONFLICT,
        condition::PRECONDITION_FAILED => Status::PRECONDITION_FAILED,
        condition::THROTTLED | condition::LIMIT_EXCEEDED => Status::TOO_MANY_REQUESTS,
        condition::INTERNAL_ERROR => Status::INTERNAL_ERROR,
        _ => Status::BAD_REQUEST,
    }
}

const RETRY_AFTER: &str = "retry-after";
const RETRY_AFTER_CAPITAL: &str = "Retry-After";

/// How `retry-after` is spelled. Clients look for either key, each with its case, and for one type or another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryAfterKeys {
    /// Under both keys, as an int where it is a number: C reads nothing else.
    #[default]
    Both,
    /// Only as `retry-after`.
    Lower,
    /// Only as `Retry-After`.
    Capital,
    /// Under both keys, as a text.
    Text,
    /// Under both keys, as a long.
    Long,
}

impl RetryAfterKeys {
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Lower => &[RETRY_AFTER],
            Self::Capital => &[RETRY_AFTER_CAPITAL],
            Self::Both | Self::Text | Self::Long => &[RETRY_AFTER, RETRY_AFTER_CAPITAL],
        }
    }
}

fn read_retry_after(mut properties: Items<'_>) -> Result<RetryAfter, Malformed> {
    while let Some((key, value)) = properties.pair()? {
        let Value::Text(key) = key else { continue };
        if key.eq_ignore_ascii_case(RETRY_AFTER) {
            return Ok(match value {
                Value::Text(text) => RetryAfter::read_text(text),
                Value::Unsigned(number) => RetryAfter::read_text(&number.to_string()),
                Value::Signed(number) => RetryAfter::read_text(&number.to_string()),
                Value::Null => RetryAfter::Absent,
                _ => RetryAfter::read_text("?"),
            });
        }
    }
    Ok(RetryAfter::Absent)
}

/// Writes `retry-after`; a text where it is no number. `key` writes the key, which is a symbol in an error and a string in
/// a message.
fn write_retry_after<'m, 'o>(
    retry_after: RetryAfter,
    keys: RetryAfterKeys,
    map: &'m mut Compound<'o>,
    key: impl for<'k> Fn(&'k mut Compound<'o>, &'static str) -> &'k mut Compound<'o>,
) {
    if retry_after == RetryAfter::Absent {
        return;
    }
    for name in keys.keys() {
        let map = key(map, name);
        match (retry_after, keys) {
            (RetryAfter::Seconds(secs), RetryAfterKeys::Long) => map.long(secs.into()),
            (RetryAfter::Seconds(secs), keys)
                if keys != RetryAfterKeys::Text && i32::try_from(secs).is_ok() =>
            {
                map.int(secs.cast_signed())
            }
            (other, _) => map.string(&*other.to_string()),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_addresses_of_real_clients_are_understood() {
        // Node and C#, C, Java.
        for text in [
            "0ne00ABCDEF/registrations/dev-1",
            "amqps://localhost/0ne00ABCDEF/registrations/dev-1",
            "amqps://global.azure-devices-provisioning.net:5671/0ne00ABCDEF/registrations/dev-1",
            "/0ne00ABCDEF/registrations/dev-1",
            "0ne00ABCDEF/Registrations/dev-1",
        ] {
            assert_eq!(read_address(text), Some(("0ne00ABCDEF".to_owned(), "dev-1".to_owned())), "{text}");
        }
        for text in [
            "",
            "a/b/c",
            "a/registrations",
            "a/registrations/",
            "/registrations/b",
            "a/registrations/b/c",
            "a/registrations/dev%2D1",
            "a/registrations/%",
            "%61/registrations/b",
        ] {
            assert_eq!(read_address(text), None, "{text}");
        }
    }

    #[test]
    fn a_status_survives_its_condition() {
        for status in [400, 401, 403, 404, 409, 412, 429, 500] {
            assert_eq!(status_of(condition_of(Status(status))), Status(status));
        }
        assert_eq!(condition_of(Status(503)), "amqp:internal-error");
        assert_eq!(condition_of(Status(415)), "com.microsoft:argument-invalid");
    }

    proptest! {
        #[test]
        fn any_address_reads_without_a_panic(text: String) {
            read_address(&text);
        }

        #[test]
        fn an_address_reads_back(scope in "[0-9a-zA-Z]{1,12}", id in "[a-z0-9._:-]{1,40}") {
            prop_assert_eq!(read_address(&address(&scope, &id)), Some((scope, id)));
        }
    }
}
