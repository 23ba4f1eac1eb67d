//! When a line was logged, as portals of all countries write it.
//!
//! What is not RFC 3339 comes from a portal, which writes times as the language of its reader does: the month before the
//! day or after it, twelve hours or twenty-four. Which of both orders a file has is seen from a day beyond the twelfth,
//! in whatever line it stands; until then both readings are kept.

use std::str::FromStr;

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// What a file does not say of its times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// The zone of times that name none; UTC where the file does not call them local.
    pub zone: Option<Zone>,
    /// Whether the day comes before the month; found out from the file where it can be.
    pub day_first: Option<bool>,
}

/// A zone by its offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(UtcOffset);

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            "write an offset from UTC such as +02:00, -05:30 or UTC; names of zones are not known".to_owned()
        };
        if text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("z") {
            return Ok(Self(UtcOffset::UTC));
        }
        let (sign, digits) = match text.split_at_checked(1) {
            Some(("+", digits)) => (1, digits),
            Some(("-", digits)) => (-1, digits),
            _ => return Err(refuse()),
        };
        let (hours, minutes) = match digits.split_once(':') {
            Some(parts) => parts,
            None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
            None => (digits, "0"),
        };
        let number =
            |text: &str| text.parse::<i8>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(refuse)?;
        UtcOffset::from_hms(sign * hours, sign * minutes, 0).map(Self).map_err(|_| refuse())
    }
}

/// An instant in nanoseconds since the Unix epoch by both readings: with the month first, and with the day first.
pub(super) type At = [Option<u64>; 2];

/// What is known of the times of a file so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct When {
    /// Some line cannot have its month first.
    not_month_first: bool,
    /// Some line cannot have its day first.
    not_day_first: bool,
    /// Both readings of some line are moments, and not the same one.
    differs: bool,
    local: bool,
    readable: bool,
    unreadable: bool,
}

/// What the times of a whole file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// There is one reading only.
    Either,
    MonthFirst,
    DayFirst,
    Ambiguous,
    Local,
    Unreadable,
}

impl Said {
    /// The reading that is right; `None` if that is not known.
    pub(super) const fn of<T: Copy>(self, both: [Option<T>; 2]) -> Option<T> {
        match self {
            Self::Either | Self::MonthFirst => both[0],
            Self::DayFirst => both[1],
            Self::Ambiguous | Self::Local | Self::Unreadable => None,
        }
    }
}

impl When {
    /// Reads the time of a line. An empty one is none.
    pub(super) fn read(&mut self, text: &str, local: bool, reading: Reading) -> At {
        let text = text.trim();
        if text.is_empty() {
            return [None; 2];
        }
        if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
            self.readable = true;
            return [u64::try_from(at.unix_timestamp_nanos()).ok(); 2];
        }
        let Some(written) = Written::read(text) else {
            self.unreadable = true;
            return [None; 2];
        };
        let zone = match (local, reading.zone) {
            (_, Some(Zone(zone))) => zone,
            (false, None) => UtcOffset::UTC,
            (true, None) => {
                self.local = true;
                return [None; 2];
            }
        };
        let mut both = [written.at(false, zone), written.at(true, zone)];
        match reading.day_first {
            Some(day_first) => both = [both[usize::from(day_first)]; 2],
            None if both == [None; 2] => {}
            None => {
                self.not_month_first |= both[0].is_none();
                self.not_day_first |= both[1].is_none();
                self.differs |= both[0] != both[1];
            }
        }
        let is_time = both != [None; 2];
        (self.readable, self.unreadable) = (self.readable | is_time, self.unreadable | !is_time);
        both
    }

    pub(super) const fn said(self) -> Said {
        match self {
            Self { local: true, .. } => Said::Local,
            Self { unreadable: true, readable: false, .. }
            | Self { not_month_first: true, not_day_first: true, .. } => Said::Unreadable,
            Self { differs: false, .. } => Said::Either,
            Self { not_month_first: true, .. } => Said::DayFirst,
            Self { not_day_first: true, .. } => Said::MonthFirst,
            Self { differs: true, .. } => Said::Ambiguous,
        }
    }
}

/// A time without a zone: three numbers whose order is open, and the time of the day.
struct Written {
    date: [u32; 3],
    /// The year is the first of them; else it is the last.
    year_first: bool,
    /// Dots and dashes stand where the day comes first; only a slash leaves it open.
    day_first: bool,
    time: Time,
}

impl Written {
    fn read(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '/' | '.' | '-'))?;
        let (date, rest) = text.split_at(end);
        // Some languages end a date with a point.
        let mut parts = date.trim_end_matches('.').split(['/', '.', '-']);
        let parts: [&str; 3] =
            [parts.next()?, parts.next()?, parts.next().filter(|_| parts.next().is_none())?];
        let year_first = parts[0].len() == 4;
        if !year_first && parts[2].len() != 4 {
            return None;
        }
        let date = [parts[0].parse().ok()?, parts[1].parse().ok()?, parts[2].parse().ok()?];
        let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | 'T'));
        let time = time_of_day(rest)?;
        Some(Self { date, year_first, day_first: !text[..end].contains('/'), time })
    }

    fn at(&self, day_first: bool, zone: UtcOffset) -> Option<u64> {
        let [a, b, c] = self.date;
        let (year, month, day) = match (self.year_first, day_first || self.day_first) {
            (true, _) => (a, b, c),
            (false, true) => (c, b, a),
            (false, false) => (c, a, b),
        };
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        let date =
            Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
        let at = PrimitiveDateTime::new(date, self.time).assume_offset(zone);
        u64::try_from(at.unix_timestamp_nanos()).ok()
    }
}

/// `3:04:05.678 PM`, or `15:04:05`.
fn time_of_day(text: &str) -> Option<Time> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ',')).unwrap_or(text.len());
    let (clock, period) = text.split_at(end);
    let period: String = period.chars().filter(|c| !c.is_whitespace() && *c != '.').collect();
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let hour: u8 = parts.next()?.parse().ok()?;
    let minute: u8 = parts.next()?.parse().ok()?;
    let second: u8 = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let hour = match &*period.to_ascii_lowercase() {
        "" => hour,
        "am" if (1..=12).contains(&hour) => hour % 12,
        "pm" if (1..=12).contains(&hour) => hour % 12 + 12,
        _ => return None,
    };
    Time::from_hms_nano(hour, minute, second, nanos).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(texts: &[&str], reading: Reading) -> (Said, Vec<Option<i64>>) {
        let mut when = When::default();
        let all: Vec<At> = texts.iter().map(|text| when.read(text, false, reading)).collect();
        let said = when.said();
        (
            said,
            all.iter()
                .map(|both| said.of(*both).map(|ns| (ns / 1_000_000_000) as i64 - 1_767_225_600))
                .collect(),
        )
    }

    const DAY: i64 = 86_400;

    #[test]
    fn every_country_writes_the_same_moment() {
        // Half past one in the afternoon of the 13th of January.
        let at = 12 * DAY + 13 * 3_600 + 30 * 60;
        for text in [
            "2026-01-13T13:30:00Z",
            "2026-01-13T14:30:00+01:00",
            "2026-01-13 13:30:00.000",
            "1/13/2026, 1:30:00.000 PM",
            "1/13/2026, 1:30:00\u{202f}PM",
            "13/01/2026, 13:30:00",
            "13/1/2026, 1:30:00 p.m.",
            "13.1.2026, 13:30:00,000",
            "13-1-2026 13:30:00",
            "2026/1/13 13:30:00",
        ] {
            assert_eq!(read(&[text], Reading::default()).1, [Some(at)], "{text}");
        }
    }

    #[test]
    fn one_day_beyond_the_twelfth_tells_the_order_of_all_lines() {
        let plain = Reading::default();
        let (said, at) = read(&["2/3/2026, 0:00:00", "1/13/2026, 0:00:00"], plain);
        assert_eq!((said, at), (Said::MonthFirst, vec![Some(33 * DAY), Some(12 * DAY)]));
        let (said, at) = read(&["2/3/2026, 0:00:00", "13/1/2026, 0:00:00"], plain);
        assert_eq!((said, at), (Said::DayFirst, vec![Some(60 * DAY), Some(12 * DAY)]));
        assert_eq!(read(&["2/3/2026, 0:00:00"], plain), (Said::Ambiguous, vec![None]));
        assert_eq!(read(&["2/2/2026, 0:00:00"], plain).0, Said::Either);
        assert_eq!(read(&["13/1/2026, 0:00:00", "1/13/2026, 0:00:00"], plain).0, Said::Unreadable);
        let told = Reading { day_first: Some(true), ..plain };
        assert_eq!(read(&["2/3/2026, 0:00:00"], told).1, [Some(60 * DAY)]);
    }

    #[test]
    fn local_times_need_a_zone() {
        let mut when = When::default();
        assert_eq!(when.read("13/1/2026, 0:00:00", true, Reading::default()), [None; 2]);
        assert_eq!(when.said(), Said::Local);
        let zone = Some("+02:00".parse().unwrap());
        let east = read(&["13/1/2026, 0:00:00"], Reading { zone, ..Reading::default() });
        assert_eq!(east.1, [Some(12 * DAY - 7_200)]);
    }

    #[test]
    fn zones_are_offsets() {
        for (text, hours, minutes) in [("UTC", 0, 0), ("+02:00", 2, 0), ("-0530", -5, -30), ("+9", 9, 0)] {
            assert_eq!(text.parse(), Ok(Zone(UtcOffset::from_hms(hours, minutes, 0).unwrap())), "{text}");
        }
        for text in ["", "Europe/Berlin", "2", "+99", "+-2", "+1:75", "é"] {
            assert!(text.parse::<Zone>().unwrap_err().contains("+02:00"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,40}", like in "[0-9]{0,5}[/.-][0-9]{0,5}[/.-][0-9]{0,12}[, T]?[0-9]{0,4}:[0-9]{0,4}(:[0-9]{0,4})?([.,][0-9]{0,12})? ?([aApP]\\.?[mM]\\.?)?") {
            for text in [text, like] {
                for local in [false, true] {
                    let _ = When::default().read(&text, local, Reading::default());
                }
            }
        }
    }
}
