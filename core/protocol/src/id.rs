//! Identifiers: registration ids and operation ids.

use std::fmt;

/// A registration id: compared without case, spelled as it was given.
///
/// Up to 128 characters of ASCII alphanumerics and `-` `.` `_` `:`; the last one is alphanumeric or `-`
/// (Microsoft, "DPS service concepts": registration ID).
#[derive(Clone, Debug, Eq)]
pub struct RegistrationId(Box<str>);

/// Why a text is not a registration id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegistrationId {
    /// It is empty.
    #[error("a registration id must not be empty")]
    Empty,
    /// It has more than 128 characters.
    #[error("a registration id has at most 128 characters, this one has {0}")]
    TooLong(usize),
    /// It holds a character that is not allowed.
    #[error("a registration id holds letters, digits and - . _ : only, not {0:?}")]
    Character(char),
    /// Its last character is neither alphanumeric nor a dash.
    #[error("a registration id must end in a letter, a digit or a dash, not {0:?}")]
    Last(char),
}

impl RegistrationId {
    /// Checks the rules and keeps the text as it is.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, InvalidRegistrationId> {
        let Some(last) = text.chars().next_back() else { return Err(InvalidRegistrationId::Empty) };
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-._:".contains(*c))) {
            return Err(InvalidRegistrationId::Character(bad));
        }
        if text.len() > 128 {
            return Err(InvalidRegistrationId::TooLong(text.len()));
        }
        if !(last.is_ascii_alphanumeric() || last == '-') {
            return Err(InvalidRegistrationId::Last(last));
        }
        Ok(Self(text.into()))
    }

    /// The id as it was spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for RegistrationId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An operation id: opaque, but the form seen in the field is kept in 32 bytes without a heap allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationId(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// `{digit}.{16 hex}.{uuid}`, lower case.
    Usual {
        unit: u8,
        stamp: [u8; 8],
        uuid: [u8; 16],
    },
    Other(Box<str>),
}

impl OperationId {
    /// Longest id: it has to fit into a path and a topic, percent-encoded.
    pub const BYTES_MOST: usize = 1_024;

    /// The id that the mock gives out: `{unit}.{stamp}.{uuid}`.
    pub fn usual(unit: u8, stamp: u64, uuid: u128) -> Self {
        Self(Form::Usual { unit: unit.min(9), stamp: stamp.to_be_bytes(), uuid: uuid.to_be_bytes() })
    }

    /// The number that the mock put into the id, if it has the usual form.
    pub fn parts(&self) -> Option<(u8, u64, u128)> {
        match &self.0 {
            Form::Usual { unit, stamp, uuid } => {
                Some((*unit, u64::from_be_bytes(*stamp), u128::from_be_bytes(*uuid)))
            }
            Form::Other(_) => None,
        }
    }

    /// Reads an id from a reply or a path. `None` if it is empty, or longer than any that can be asked about.
    pub fn read(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > Self::BYTES_MOST {
            return None;
        }
        Some(Self(read_usual(text).unwrap_or_else(|| Form::Other(text.into()))))
    }
}

fn read_usual(text: &str) -> Option<Form> {
    let bytes = text.as_bytes();
    if bytes.len() != 55 || !bytes[0].is_ascii_digit() || bytes[1] != b'.' || bytes[18] != b'.' {
        return None;
    }
    let lower_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    let uuid = &bytes[19..];
    if !bytes[2..18].iter().all(lower_hex) {
        return None;
    }
    let mut digits = [0u8; 32];
    let mut count = 0;
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
        } else if lower_hex(byte) {
            digits[count] = *byte;
            count += 1;
        } else {
            return None;
        }
    }
    let hex = |digits: &[u8]| u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let stamp = hex(&bytes[2..18])?;
    Some(Form::Usual {
        unit: bytes[0] - b'0',
        stamp: u64::try_from(stamp).ok()?.to_be_bytes(),
        uuid: hex(&digits)?.to_be_bytes(),
    })
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Usual { unit, stamp, uuid } => {
                write!(f, "{unit}.{:016x}.{}", u64::from_be_bytes(*stamp), Guid(u128::from_be_bytes(*uuid)))
            }
            Form::Other(text) => f.write_str(text),
        }
    }
}

/// 128 bits that are written as a GUID, `8-4-4-4-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid(pub u128);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            v >> 96,
            (v >> 80) & 0xffff,
            (v >> 64) & 0xffff,
            (v >> 48) & 0xffff,
            v & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_ids_print_what_they_read() {
        for text in [
            "5.71cf7e385566aa10.4469ed4c-dc19-4af8-8b36-9ef6396ac1b3",
            "4.0.mock.00000000-0000-0000-0000-000000000001",
            "5.71CF7E385566AA10.4469ed4c-dc19-4af8-8b36-9ef6396ac1b3",
            "x",
        ] {
            assert_eq!(OperationId::read(text).unwrap().to_string(), text);
        }
        assert!(
            OperationId::read("5.71cf7e385566aa10.4469ed4c-dc19-4af8-8b36-9ef6396ac1b3")
                .unwrap()
                .parts()
                .is_some()
        );
        assert_eq!(OperationId::read(""), None);
        assert!(size_of::<OperationId>() <= 32);
    }

    #[test]
    fn registration_ids_follow_the_rules_and_ignore_case() {
        assert_eq!(RegistrationId::new("Dev-01").unwrap(), RegistrationId::new("dEV-01").unwrap());
        assert_eq!(RegistrationId::new("").unwrap_err(), InvalidRegistrationId::Empty);
        assert_eq!(RegistrationId::new("a b").unwrap_err(), InvalidRegistrationId::Character(' '));
        assert_eq!(RegistrationId::new("a.").unwrap_err(), InvalidRegistrationId::Last('.'));
        assert_eq!(RegistrationId::new(&"a".repeat(129)).unwrap_err(), InvalidRegistrationId::TooLong(129));
        assert!(RegistrationId::new("a-").is_ok());
    }
}
