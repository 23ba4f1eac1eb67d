//! `Retry-After`, in every form that a client may meet.

use crate::time::Span;

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
    /// How long to wait from `now_unix_secs` on: `None` unless the value is valid. A past date means no wait.
    pub fn wait(self, now_unix_secs: u64) -> Option<Span> {
        match self {
            Self::Seconds(secs) => Some(Span::from_secs(u64::from(secs))),
            Self::Date(unix) => {
                Some(Span::from_secs(u64::try_from(unix).unwrap_or(0).saturating_sub(now_unix_secs)))
            }
            Self::Absent | Self::Malformed(_) => None,
        }
    }
}
