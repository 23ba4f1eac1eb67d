//! A `Retry-After` as a scenario spells it: dates are relative, because a scenario knows no calendar.

use std::fmt;
use std::str::FromStr;

use fleetstorm_protocol::{Malformed, RetryAfter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A `Retry-After` to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfterText {
    /// This value.
    Plain(RetryAfter),
    /// A date so many seconds from the answer; negative for the past.
    DateIn(i64),
}

const MALFORMED: [(&str, Malformed); 6] = [
    ("empty", Malformed::Empty),
    ("negative", Malformed::Negative),
    ("fraction", Malformed::Fraction),
    ("huge", Malformed::TooLarge),
    ("repeated", Malformed::Repeated),
    ("garbage", Malformed::Garbage),
];

impl RetryAfterText {
    /// The value in an answer that leaves at `unix_secs`.
    pub fn at(self, unix_secs: u64) -> RetryAfter {
        match self {
            Self::Plain(value) => value,
            Self::DateIn(secs) => {
                RetryAfter::Date(i64::try_from(unix_secs).unwrap_or(i64::MAX).saturating_add(secs))
            }
        }
    }
}

impl FromStr for RetryAfterText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "none" {
            return Ok(Self::Plain(RetryAfter::Absent));
        }
        if let Some((_, malformed)) = MALFORMED.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Plain(RetryAfter::Malformed(*malformed)));
        }
        if let Some(rest) = text.strip_prefix("date")
            && let Ok(secs) = rest.parse::<i64>()
            && rest.starts_with(['+', '-'])
        {
            return Ok(Self::DateIn(secs));
        }
        match RetryAfter::read_text(text) {
            value @ RetryAfter::Seconds(_) => Ok(Self::Plain(value)),
            _ => Err(format!(
                "`{text}` is no Retry-After: write a number of seconds, none, date+30, date-60, empty, negative, \
                 fraction, huge, repeated or garbage"
            )),
        }
    }
}

impl fmt::Display for RetryAfterText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(RetryAfter::Absent) => f.write_str("none"),
            Self::Plain(RetryAfter::Malformed(malformed)) => {
                let name = MALFORMED.iter().find(|(_, known)| known == malformed);
                f.write_str(name.map_or("garbage", |(name, _)| name))
            }
            Self::Plain(value) => value.fmt(f),
            Self::DateIn(secs) => write!(f, "date{secs:+}"),
        }
    }
}

impl Serialize for RetryAfterText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RetryAfterText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for RetryAfterText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RetryAfterText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number of seconds, none, date+30, date-60, empty, negative, fraction, huge, repeated or \
                            garbage.",
            "examples": ["30", "none", "date+30"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back() {
        for text in
            ["none", "0", "3600", "date+30", "date-60", "empty", "negative", "fraction", "huge", "repeated"]
        {
            assert_eq!(text.parse::<RetryAfterText>().unwrap().to_string(), text);
        }
        for wrong in ["", "date", "date5", "soon", "5s", "-3"] {
            assert!(wrong.parse::<RetryAfterText>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_count_from_the_answer() {
        assert_eq!(RetryAfterText::DateIn(-60).at(1_000), RetryAfter::Date(940));
    }
}
