//! Moments and spans in nanoseconds, and the calendar that ties them to UTC.
//!
//! A [`Moment`] counts from the start of a run, never from an epoch: virtual and wall clocks then look the same.
//! All arithmetic saturates, because a hostile `Retry-After` must not be able to panic a device.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// An instant, in nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

/// A length of time in nanoseconds; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(u64);

impl Moment {
    /// The start of the run.
    pub const START: Self = Self(0);
    /// Later than any moment a run can reach.
    pub const FAR: Self = Self(u64::MAX);

    /// The moment `ns` nanoseconds after the start of the run.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the start of the run.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the start of the run.
    pub fn as_secs_f64(self) -> f64 {
        Span(self.0).as_secs_f64()
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest span.
    pub const MAX: Self = Self(u64::MAX);

    /// A span of `ns` nanoseconds.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// A span of `us` microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Self(us.saturating_mul(1_000))
    }

    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// A span of `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The span nearest to `secs` seconds; zero for a negative or non-number, [`Span::MAX`] past the range.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1e9) as u64)
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span in whole microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// The span in whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The span in whole seconds.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The span in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// `self - other`, or zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `factor` times this span, saturating.
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// This span scaled by a non-negative factor, saturating.
    pub fn scale(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor) as u64)
    }
}

impl Add<Span> for Moment {
    type Output = Moment;
    fn add(self, span: Span) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Moment {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Moment {
    type Output = Moment;
    fn sub(self, span: Span) -> Moment {
        Moment(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl From<std::time::Duration> for Span {
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.0)
    }
}

/// What the whole run agrees the wall clock said at [`Moment::START`].
///
/// A virtual run has a fixed calendar, so that its tokens and timestamps are the same every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    start_unix_ns: u64,
}

impl Calendar {
    /// The calendar of every virtual run: it starts on 2026-01-01T00:00:00Z.
    pub const VIRTUAL: Self = Self { start_unix_ns: 1_767_225_600_000_000_000 };

    /// A calendar whose run starts `unix_ns` nanoseconds after the Unix epoch.
    pub const fn starting_at_unix_nanos(unix_ns: u64) -> Self {
        Self { start_unix_ns: unix_ns }
    }

    /// Nanoseconds since the Unix epoch at `moment`.
    pub const fn unix_nanos(self, moment: Moment) -> u64 {
        self.start_unix_ns.saturating_add(moment.0)
    }

    /// The moment at which this many seconds have passed since the Unix epoch: [`Moment::START`] for what came before it,
    /// [`Moment::FAR`] for what is past all counting.
    pub const fn moment_of_unix_secs(self, unix_secs: u64) -> Moment {
        match unix_secs.checked_mul(1_000_000_000) {
            Some(unix_ns) => Moment(unix_ns.saturating_sub(self.start_unix_ns)),
            None => Moment::FAR,
        }
    }

    /// Whole seconds since the Unix epoch at `moment`.
    pub const fn unix_secs(self, moment: Moment) -> u64 {
        self.unix_nanos(moment) / 1_000_000_000
    }
}

impl fmt::Display for Span {
    /// Writes the span as a person would: `250 ms`, `3.4 s`, `11 m 42 s`, `2 h 05 m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::number::nanos(self.0))
    }
}

/// Why a text is not a span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a length of time: write a number and a unit, such as 250ms, 3s, 15m, 1h30m")]
pub struct ParseSpanError {
    text: String,
}

/// Nanoseconds of a unit of time by its short name.
pub fn unit_ns(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        _ => return None,
    })
}

/// A number without a sign whose thousands may be parted, as in 1,000.5 and 1_000; `None` for anything else, such as the
/// decimal comma of 99,9.
pub fn plain_number(text: &str) -> Option<f64> {
    let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split([',', '_']);
    let first = groups.next().filter(|first| is_digits(first))?;
    let grouped: Vec<&str> = groups.collect();
    let is_parted = grouped.iter().all(|group| group.len() == 3 && is_digits(group));
    if !is_parted || (!grouped.is_empty() && first.len() > 3) || !decimals.is_none_or(is_digits) {
        return None;
    }
    text.replace([',', '_'], "").parse().ok()
}

impl std::str::FromStr for Span {
    type Err = ParseSpanError;

    /// Reads one or more numbers with a unit, with or without a space between them; the units are `ns us ms s m h d`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseSpanError { text: text.to_owned() };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(refuse());
        }
        let mut total_ns = 0f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !(c.is_ascii_digit() || ".,".contains(c))).ok_or_else(refuse)?;
            let (number, tail) = rest.split_at(digits);
            let number = plain_number(number).ok_or_else(refuse)?;
            let tail = tail.trim_start();
            let unit_len = tail.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_len);
            let unit_ns = unit_ns(unit).ok_or_else(refuse)?;
            total_ns += number * unit_ns;
            rest = tail.trim_start();
        }
        if total_ns.is_finite() && total_ns < u64::MAX as f64 {
            Ok(Self(total_ns.round() as u64))
        } else {
            Err(refuse())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_what_they_write() {
        for (text, ns) in [
            ("5 µs", 5_000),
            ("250 ms", 250_000_000),
            ("3 s", 3_000_000_000),
            ("1.5 s", 1_500_000_000),
            ("15 m", 900_000_000_000),
            ("11 m 42 s", 702_000_000_000),
            ("2 h 05 m", 7_500_000_000_000),
        ] {
            for spelled in [text.to_owned(), text.replace(' ', "")] {
                let span: Span = spelled.parse().unwrap();
                assert_eq!(span.as_nanos(), ns, "{spelled}");
                assert_eq!(span.to_string(), text);
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_text_in_the_message() {
        for text in ["", "5", "-3s", "1,5s", "3 parsecs", "1e400s", "s", "99999999999999999999d"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.to_string().contains(text), "{text}");
        }
    }

    #[test]
    fn the_spellings_of_reports_are_read() {
        for (text, same) in [("1 m 40 s", "100s"), ("15 m", "15m"), ("1,500 ms", "1.5s")] {
            assert_eq!(text.parse::<Span>(), same.parse(), "{text}");
        }
        for (text, number) in [("1,000", 1e3), ("1_000_000.5", 1_000_000.5), ("10000", 1e4), ("0.25", 0.25)] {
            assert_eq!(plain_number(text), Some(number), "{text}");
        }
        for text in ["", "1,00", "99,9", ",5", "1,", "1000,000", "1.", ".5", "1.5,000", "-1", "1e3"] {
            assert_eq!(plain_number(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Moment::FAR + Span::MAX, Moment::FAR);
        assert_eq!(Moment::START.since(Moment::FAR), Span::ZERO);
        assert_eq!(Span::from_secs(u64::MAX), Span::MAX);
    }
}
