//! Values that a scenario spells as text: `15m`, `-2h`, `1000/min`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::time::{Span, plain_number};

/// A length of time such as `250ms`, `3s`, `15m` or `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub Span);

/// A length of time that may be negative, such as `-2h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// In nanoseconds.
    pub ns: i64,
}

/// How often something happens, such as `50/s` or `1000/min`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Number of times...
    pub count: f64,
    /// ...in this many seconds: 1, 60 or 3600.
    pub per_secs: f64,
}

/// A moment by the calendar, such as `2026-12-31T18:00:00Z` (RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcTime {
    /// Nanoseconds since the Unix epoch.
    pub unix_ns: u64,
}

impl Rate {
    /// Times a second.
    pub fn per_second(self) -> f64 {
        self.count / self.per_secs
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: crate::time::ParseSpanError| error.to_string())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        exact(self.0, f)
    }
}

/// Writes a span so that it reads back to the nanosecond, which [`Span`]'s own form for people does not promise.
fn exact(span: Span, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let ns = span.as_nanos();
    for (unit_ns, unit) in
        [(3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms")]
    {
        if ns >= unit_ns && ns.is_multiple_of(unit_ns) {
            return write!(f, "{}{unit}", ns / unit_ns);
        }
    }
    if ns == 0 { f.write_str("0s") } else { write!(f, "{ns}ns") }
}

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sign, rest) = match text.trim().strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.trim().trim_start_matches('+')),
        };
        let span: Duration = rest.parse()?;
        let ns = i64::try_from(span.0.as_nanos()).map_err(|_| format!("`{text}` is too long"))?;
        Ok(Self { ns: sign * ns })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ns < 0 {
            f.write_str("-")?;
        }
        exact(Span::from_nanos(self.ns.unsigned_abs()), f)
    }
}

impl FromStr for UtcTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment = OffsetDateTime::parse(text.trim(), &Rfc3339).ok();
        let unix_ns = moment.and_then(|moment| u64::try_from(moment.unix_timestamp_nanos()).ok());
        unix_ns.map(|unix_ns| Self { unix_ns }).ok_or_else(|| {
            format!("`{text}` is no moment: write date, time and zone, such as 2026-12-31T18:00:00Z")
        })
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.unix_ns));
        // The year of the largest number of nanoseconds has four digits.
        f.write_str(&moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default())
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("`{text}` is not a rate: write a number and a unit, such as 50/s, 1000/min or 3600/h");
        let (count, unit) = text.split_once('/').ok_or_else(refuse)?;
        let count = count.trim();
        let count = plain_number(count).or_else(|| count.parse().ok()).ok_or_else(refuse)?;
        let per_secs = match unit.trim() {
            "s" | "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            "h" | "hour" => 3_600.0,
            _ => return Err(refuse()),
        };
        if count.is_finite() && count >= 0.0 { Ok(Self { count, per_secs }) } else { Err(refuse()) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per_secs {
            1.0 => "s",
            60.0 => "min",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

macro_rules! as_text {
    ($($type:ident: $description:literal, $example:literal;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description, "examples": [$example] })
            }
        }
    )*};
}

as_text! {
    Duration: "A length of time: numbers with the units ns, us, ms, s, m, h, d.", "15m";
    Offset: "A length of time that may be negative.", "-2h";
    Rate: "A number of times per s, min or h.", "1000/min";
    UtcTime: "A moment by the calendar, with its zone (RFC 3339).", "2026-12-31T18:00:00Z";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_and_offsets_read() {
        assert_eq!("1,000/min".parse::<Rate>().unwrap().per_second(), 1_000.0 / 60.0);
        assert_eq!("-2h".parse::<Offset>().unwrap().ns, -7_200_000_000_000);
        for wrong in ["5", "x/s", "5/fortnight", "-1/s", "inf/s", "1,5/s", "1,00/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_have_a_zone() {
        assert_eq!("1970-01-01T02:00:01+02:00".parse::<UtcTime>().unwrap().unix_ns, 1_000_000_000);
        for wrong in ["2026-12-31", "2026-12-31T18:00:00", "1969-12-31T23:00:00Z", "soon", ""] {
            assert!(wrong.parse::<UtcTime>().unwrap_err().contains("such as"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn durations_read_back_exactly(ns in 0..1u64 << 52) {
            let duration = Duration(Span::from_nanos(ns));
            prop_assert_eq!(duration.to_string().parse::<Duration>().unwrap(), duration);
        }

        #[test]
        fn moments_read_back_exactly(unix_ns in any::<u64>()) {
            let moment = UtcTime { unix_ns };
            prop_assert_eq!(moment.to_string().parse::<UtcTime>().unwrap(), moment);
        }
    }
}
