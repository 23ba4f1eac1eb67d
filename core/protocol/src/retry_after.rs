//! `Retry-After`, in every form that a client may meet.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use fleetstorm_units::time::Span;

/// What a `Retry-After` header, topic property or application property said.
///
/// RFC 9110 section 10.2.3 allows delta-seconds and an HTTP date; everything else is kept as what it was, so that
/// a strategy can be judged by how it treats nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// There was none.
    Absent,
    /// Whole seconds.
    Seconds(u32),
    /// An HTTP date, in seconds since the Unix epoch. It may lie in the past.
    Date(i64),
    /// Something else.
    Malformed(Malformed),
}

/// How a `Retry-After` is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Malformed {
    /// Present without a value.
    Empty,
    /// A negative number.
    Negative,
    /// A number with a fraction.
    Fraction,
    /// Digits beyond 32 bits.
    TooLarge,
    /// More than one value.
    Repeated,
    /// No number and no date.
    Garbage,
}

impl RetryAfter {
    /// Reads the values of all `Retry-After` headers of a reply. Never fails: what is wrong is part of the value.
    pub fn read<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        let Some(value) = values.next() else { return Self::Absent };
        if values.next().is_some() {
            return Self::Malformed(Malformed::Repeated);
        }
        match std::str::from_utf8(value) {
            Ok(text) => Self::read_text(text),
            Err(_) => Self::Malformed(Malformed::Garbage),
        }
    }

    /// Reads one value, such as the `retry-after` property of an MQTT topic.
    pub fn read_text(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Malformed(Malformed::Empty);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map_or(Self::Malformed(Malformed::TooLarge), Self::Seconds);
        }
        if let Ok(at) = httpdate::parse_http_date(text) {
            let unix = match at.duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
            };
            return Self::Date(unix);
        }
        Self::Malformed(match text.parse::<f64>() {
            Ok(number) if number < 0.0 => Malformed::Negative,
            Ok(number) if number.is_finite() => Malformed::Fraction,
            _ => Malformed::Garbage,
        })
    }

    /// How long to wait from `now_unix_ns`, in nanoseconds since the Unix epoch, on: `None` unless the value is valid. A
    /// past date means no wait.
    pub fn wait(self, now_unix_ns: u64) -> Option<Span> {
        match self {
            Self::Seconds(secs) => Some(Span::from_secs(u64::from(secs))),
            Self::Date(unix) => {
                let at = Span::from_secs(u64::try_from(unix).unwrap_or(0));
                Some(at.saturating_sub(Span::from_nanos(now_unix_ns)))
            }
            Self::Absent | Self::Malformed(_) => None,
        }
    }
}

impl fmt::Display for RetryAfter {
    /// Spells the value as a header would; a malformed one as an example of its kind. `Absent` is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => Ok(()),
            Self::Seconds(secs) => secs.fmt(f),
            Self::Date(unix) => {
                // The crate can spell the years 1970 to 9999.
                let secs = u64::try_from(*unix).unwrap_or(0).min(253_402_300_799);
                httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(secs)).fmt(f)
            }
            Self::Malformed(kind) => f.write_str(match kind {
                Malformed::Empty => "",
                Malformed::Negative => "-5",
                Malformed::Fraction => "2.5",
                Malformed::TooLarge => "99999999999999999999",
                Malformed::Repeated => "3, 5",
                Malformed::Garbage => "soon",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_told_apart() {
        use Malformed::*;
        for (text, expected) in [
            ("0", RetryAfter::Seconds(0)),
            (" 30 ", RetryAfter::Seconds(30)),
            ("4294967295", RetryAfter::Seconds(u32::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", RetryAfter::Date(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", RetryAfter::Date(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", RetryAfter::Date(784_111_777)),
            ("", RetryAfter::Malformed(Empty)),
            ("  ", RetryAfter::Malformed(Empty)),
            ("-1", RetryAfter::Malformed(Negative)),
            ("1.5", RetryAfter::Malformed(Fraction)),
            ("4294967296", RetryAfter::Malformed(TooLarge)),
            ("soon", RetryAfter::Malformed(Garbage)),
            ("3, 5", RetryAfter::Malformed(Garbage)),
            ("Sun, 31 Feb 2026 99:00:00 GMT", RetryAfter::Malformed(Garbage)),
        ] {
            assert_eq!(RetryAfter::read_text(text), expected, "{text:?}");
        }
        assert_eq!(RetryAfter::read(std::iter::empty()), RetryAfter::Absent);
        let two: [&[u8]; 2] = [b"3", b"5"];
        assert_eq!(RetryAfter::read(two.into_iter()), RetryAfter::Malformed(Repeated));
        assert_eq!(RetryAfter::read([&b"\xff"[..]].into_iter()), RetryAfter::Malformed(Garbage));
    }

    #[test]
    fn a_date_is_waited_for_and_one_in_the_past_means_no_wait() {
        const S: u64 = 1_000_000_000;
        assert_eq!(RetryAfter::Date(100).wait(160 * S), Some(Span::ZERO));
        assert_eq!(RetryAfter::Date(-5).wait(0), Some(Span::ZERO));
        assert_eq!(RetryAfter::Date(160).wait(100 * S), Some(Span::from_secs(60)));
        assert_eq!(
            RetryAfter::Date(160).wait(159 * S + 400_000_000),
            Some(Span::from_millis(600)),
            "a date names an instant, not seconds from a second's start"
        );
        assert_eq!(RetryAfter::Malformed(Malformed::Negative).wait(0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(bytes: Vec<u8>) {
            RetryAfter::read([&bytes[..]].into_iter());
        }

        #[test]
        fn valid_values_read_back(secs: u32, unix in 0..253_402_300_799i64) {
            for value in [RetryAfter::Seconds(secs), RetryAfter::Date(unix)] {
                prop_assert_eq!(RetryAfter::read_text(&value.to_string()), value);
            }
        }
    }
}
