//! Messages: the sections of a request and of its answer (OASIS AMQP 1.0, part 3, 3.2; `dps` 8.3).

use std::borrow::Cow;

use super::value::{Compound, Items, Reader, Value, write_binary, write_descriptor, write_string};
use super::{Malformed, RetryAfterKeys, read_retry_after, write_retry_after};
use crate::{Operation, OperationId, RetryAfter, Status};

/// Longest correlation id, as it is encoded, that an answer repeats; clients use the 38 bytes of a UUID as text.
const CORRELATION_MAX_BYTES: usize = 256;

const OPERATION_TYPE: &str = "iotdps-operation-type";
const OPERATION_ID: &str = "iotdps-operation-id";
const FORCE: &str = "iotdps-forceRegistration";
const STATUS: &str = "iotdps-status";
const REGISTER: &str = "iotdps-register";
const POLL: &str = "iotdps-get-operationstatus";

/// A request of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked for.
    pub call: RequestCall<'a>,
    /// The correlation id as it is encoded; the answer repeats it so.
    pub correlation_id: Option<&'a [u8]>,
    /// What the message carries.
    pub body: Cow<'a, [u8]>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestCall<'a> {
    /// A registration.
    Register,
    /// How the operation with this id is going.
    Poll(&'a str),
    /// Something else.
    Unknown,
}

/// Reads a request.
///
/// # Errors
/// It is no message of AMQP.
pub fn read_request(message: &[u8]) -> Result<Request<'_>, Malformed> {
    let sections = Sections::read(message)?;
    let (mut kind, mut id) = (None, None);
    if let Some(mut properties) = sections.application {
        while let Some(pair) = properties.pair()? {
            match pair {
                (Value::Text(OPERATION_TYPE), Value::Text(text)) => kind = Some(text),
                (Value::Text(OPERATION_ID), Value::Text(text)) => id = Some(text),
                _ => {}
            }
        }
    }
    let call = match (kind, id) {
        (Some(REGISTER), _) => RequestCall::Register,
        (Some(POLL), Some(id)) => RequestCall::Poll(id),
        _ => RequestCall::Unknown,
    };
    Ok(Request { call, correlation_id: sections.correlation_id, body: sections.body })
}

/// Writes a request; `false`, and nothing written, for what AMQP has no word for, and for a poll without an operation.
pub(super) fn write_request(
    operation: Operation,
    id: Option<&OperationId>,
    correlation: u32,
    body: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let (kind, id) = match (operation, id) {
        (Operation::Register, _) => (REGISTER, None),
        (Operation::Poll, Some(id)) => (POLL, Some(id.to_string())),
        (Operation::Poll, None) | (Operation::Lookup, _) => return false,
    };
    let mut correlation_id = Vec::with_capacity(12);
    write_string(&correlation.to_string(), &mut correlation_id);
    write_correlation(Some(&correlation_id), out);
    write_descriptor(0x74, out);
    let mut properties = Compound::map(out);
    properties.string(OPERATION_TYPE).string(kind);
    match &id {
        Some(id) => properties.string(OPERATION_ID).string(&**id),
        // As Node and C# say.
        None => properties.string(FORCE).flag(false),
    };
    properties.end();
    match operation {
        Operation::Register => write_data(body, out),
        // A poll's body means nothing; Node sends an empty text.
        Operation::Poll | Operation::Lookup => {
            write_descriptor(0x77, out);
            write_string("", out);
        }
    }
    true
}

/// A correlation id, as it is encoded, that no client asks with.
pub fn strange_correlation_id() -> Vec<u8> {
    let mut encoded = Vec::with_capacity(12);
    write_string("of-another", &mut encoded);
    encoded
}

/// An answer of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// The correlation id, if it is a text.
    pub(super) correlation: Option<&'a str>,
    pub(super) status: Option<Status>,
    pub(super) retry_after: RetryAfter,
    pub(super) body: Cow<'a, [u8]>,
}

pub(super) fn read_answer(message: &[u8]) -> Result<Answer<'_>, Malformed> {
    let sections = Sections::read(message)?;
    let (mut status, mut retry_after) = (None, RetryAfter::Absent);
    if let Some(properties) = sections.application {
        retry_after = read_retry_after(properties)?;
        let mut properties = properties;
        while let Some(pair) = properties.pair()? {
            status = match pair {
                (Value::Text(STATUS), Value::Unsigned(number)) => u16::try_from(number).ok().map(Status),
                (Value::Text(STATUS), Value::Signed(number)) => u16::try_from(number).ok().map(Status),
                _ => status,
            };
        }
    }
    let correlation = sections.correlation_id.and_then(|raw| match Reader(raw).value() {
        Ok(Value::Text(text)) => Some(text),
        _ => None,
    });
    Ok(Answer { correlation, status, retry_after, body: sections.body })
}

pub(super) fn write_answer(
    correlation_id: Option<&[u8]>,
    status: Status,
    (retry_after, keys): (RetryAfter, RetryAfterKeys),
    body: &[u8],
    out: &mut Vec<u8>,
) {
    write_correlation(correlation_id, out);
    write_descriptor(0x74, out);
    let mut properties = Compound::map(out);
    properties.string(STATUS).int(status.0.into());
    write_retry_after(retry_after, keys, &mut properties, Compound::string);
    properties.end();
    write_data(body, out);
}

fn write_data(body: &[u8], out: &mut Vec<u8>) {
    write_descriptor(0x75, out);
    write_binary(body, out);
}

/// The properties section, which is the correlation id alone.
fn write_correlation(encoded: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(encoded) = encoded else { return };
    Compound::list(0x73, out).null().null().null().null().null().member(|out| out.extend(encoded)).end();
}

/// The sections of a message that mean something.
struct Sections<'a> {
    correlation_id: Option<&'a [u8]>,
    application: Option<Items<'a>>,
    body: Cow<'a, [u8]>,
}

impl<'a> Sections<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut sections = Self { correlation_id: None, application: None, body: Cow::Borrowed(&[]) };
        let mut reader = Reader(message);
        while !reader.0.is_empty() {
            let section = reader.described()?;
            match section.descriptor {
                0x73 => {
                    let mut fields = section.fields()?;
                    fields.pass(5)?;
                    sections.correlation_id = fields.raw()?;
                }
                0x74 => match section.value()? {
                    Value::Map(properties) => sections.application = Some(properties),
                    _ => return Err(Malformed::Type),
                },
                0x75 => match section.value()? {
                    Value::Binary(data) => sections.add(data),
                    _ => return Err(Malformed::Type),
                },
                0x77 => match section.value()? {
                    Value::Binary(data) => sections.add(data),
                    Value::Text(text) => sections.add(text.as_bytes()),
                    _ => {}
                },
                // Header, annotations, sequences and footer.
                0x70..=0x72 | 0x76 | 0x78 => {}
                _ => return Err(Malformed::Type),
            }
        }
        if sections.correlation_id.is_some_and(|id| id.len() > CORRELATION_MAX_BYTES) {
            return Err(Malformed::TooLong);
        }
        Ok(sections)
    }

    /// A message may have its data in several sections.
    fn add(&mut self, data: &'a [u8]) {
        if self.body.is_empty() {
            self.body = Cow::Borrowed(data);
        } else {
            self.body.to_mut().extend_from_slice(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: RetryAfterKeys = RetryAfterKeys::Both;

    #[test]
    fn a_body_in_pieces_is_one_body() {
        let mut out = Vec::new();
        write_data(b"{\"a\"", &mut out);
        write_data(b":1}", &mut out);
        assert_eq!(&*read_request(&out).unwrap().body, b"{\"a\":1}");
    }

    #[test]
    fn what_amqp_has_no_word_for_is_not_written() {
        let mut out = Vec::new();
        assert!(!write_request(Operation::Lookup, None, 1, b"", &mut out));
        assert!(!write_request(Operation::Poll, None, 1, b"", &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn a_correlation_id_of_any_type_is_repeated_as_it_came() {
        // ulong, uuid, binary, string.
        for raw in [&[0x53, 7][..], &[&[0x98][..], &[9; 16]].concat(), &[0xa0, 1, 3], &[0xa1, 1, b'x']] {
            let mut request = Vec::new();
            write_correlation(Some(raw), &mut request);
            let read = read_request(&request).unwrap();
            assert_eq!(read.correlation_id, Some(raw));
            let mut answer = Vec::new();
            write_answer(read.correlation_id, Status::OK, (RetryAfter::Absent, BOTH), b"{}", &mut answer);
            assert_eq!(read_request(&answer).unwrap().correlation_id, Some(raw));
        }
        let mut long = Vec::new();
        let mut id = Vec::new();
        write_string(&"x".repeat(300), &mut id);
        write_correlation(Some(&id), &mut long);
        assert_eq!(read_request(&long), Err(Malformed::TooLong));
    }

    #[test]
    fn both_spellings_of_retry_after_are_numbers_of_the_type_that_clients_read() {
        let mut out = Vec::new();
        write_answer(None, Status::ACCEPTED, (RetryAfter::Seconds(3), BOTH), b"{}", &mut out);
        let text = String::from_utf8_lossy(&out);
        // A small int: the C client ignores a long.
        assert!(
            text.contains("\u{b}retry-afterT\u{3}") && text.contains("\u{b}Retry-AfterT\u{3}"),
            "{text:?}"
        );
    }

    #[test]
    fn every_spelling_of_retry_after_reads_as_the_same_time() {
        for (keys, spelled) in [
            (RetryAfterKeys::Lower, "\u{b}retry-afterT\u{3}"),
            (RetryAfterKeys::Capital, "\u{b}Retry-AfterT\u{3}"),
            (RetryAfterKeys::Text, "\u{b}retry-after\u{a1}\u{1}3"),
            (RetryAfterKeys::Long, "\u{b}retry-after\u{81}\0\0\0\0\0\0\0\u{3}"),
        ] {
            let mut out = Vec::new();
            write_answer(None, Status::ACCEPTED, (RetryAfter::Seconds(3), keys), b"{}", &mut out);
            let text: String = out.iter().map(|byte| char::from(*byte)).collect();
            assert!(text.contains(spelled), "{keys:?} {text:?}");
            let spellings = ["retry-after", "Retry-After"].map(|key| text.matches(key).count());
            let expected = match keys {
                RetryAfterKeys::Lower => [1, 0],
                RetryAfterKeys::Capital => [0, 1],
                _ => [1, 1],
            };
            assert_eq!(spellings, expected, "{keys:?}");
            assert_eq!(read_answer(&out).unwrap().retry_after, RetryAfter::Seconds(3), "{keys:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(bytes: Vec<u8>, section in 0x70..0x79u8) {
            let _ = read_request(&bytes);
            let _ = read_answer(&bytes);
            let mut plausible = vec![0, 0x53, section];
            plausible.extend(&bytes);
            let _ = read_request(&plausible);
        }

        #[test]
        fn a_request_reads_back(register: bool, correlation: u32, body: Vec<u8>, id in "[a-z0-9.-]{1,60}") {
            let id = OperationId::read(&id).unwrap();
            let operation = if register { Operation::Register } else { Operation::Poll };
            let mut out = Vec::new();
            prop_assert!(write_request(operation, Some(&id), correlation, &body, &mut out));
            let request = read_request(&out).unwrap();
            let text = id.to_string();
            prop_assert_eq!(request.call, if register { RequestCall::Register } else { RequestCall::Poll(&text) });
            prop_assert_eq!(&*request.body, if register { &body[..] } else { b"" });
            prop_assert_eq!(read_answer(&out).unwrap().correlation, Some(&*correlation.to_string()));
        }

        #[test]
        fn an_answer_reads_back(status in 200..600u16, secs: Option<u32>, body: Vec<u8>) {
            let retry_after = secs.map_or(RetryAfter::Absent, RetryAfter::Seconds);
            let mut out = Vec::new();
            write_answer(Some(&[0xa1, 1, b'7']), Status(status), (retry_after, BOTH), &body, &mut out);
            prop_assert_eq!(read_answer(&out).unwrap(), Answer {
                correlation: Some("7"), status: Some(Status(status)), retry_after, body: Cow::Borrowed(&body),
            });
        }
    }
}
