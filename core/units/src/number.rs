//! Numbers as people read them: one way for every text that is written.
//!
//! A number has three digits where it had more, and is written whole where it has none to lose. None is ever rounded
//! onto or across a bound that it is judged by ([`Bounds`]), nor a share to 0 % or 100 % that is neither.

use std::fmt::Write as _;

/// `12345678` as `12,345,678`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun, given in the singular: `1 device`, `2,000 devices`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {}", grouped(count), plural(count, noun))
}

/// A noun as it stands behind a count.
pub fn plural(count: u64, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if count == 1 => noun.to_owned(),
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    }
}

/// `part` of `whole` in percent, `–` without a whole.
pub fn percent(part: u64, whole: u64) -> String {
    Bounds::NONE.percent(part, whole)
}

/// A share of one in percent.
pub fn share(of_one: f64) -> String {
    Bounds::NONE.share(of_one * 100.0)
}

/// A change of a share with its sign: `+3.2 %`, `−12 %`, `<0.01 %`, `0 %`.
pub fn change(of_one: f64) -> String {
    let percent = of_one * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        // What differs by less differs by how it was summed up.
        -0.01..0.01 => "<0.01 %".to_owned(),
        _ if percent < 0.0 => format!("−{}", Bounds::NONE.share(-percent)),
        _ => format!("+{}", Bounds::NONE.share(percent)),
    }
}

/// Microseconds with a unit: see [`nanos`].
pub fn micros(us: u64) -> String {
    nanos(us.saturating_mul(1_000))
}

/// Nanoseconds with a unit: `870 µs`, `12.3 ms`, `4.56 s`, `11 m 42 s`, `2 h 05 m`.
pub fn nanos(ns: u64) -> String {
    Bounds::NONE.nanos(ns)
}

/// How many come to one, `–` without a denominator.
pub fn ratio(part: u64, whole: u64) -> String {
    Bounds::NONE.ratio(part, whole)
}

/// A number that may have a fraction.
pub fn number(value: f64) -> String {
    Bounds::NONE.number(value)
}

/// Which of so many values, counted from 1, is their percentile: 999 of 1,000 is p99.9.
pub fn rank(percentile: f64, count: u64) -> u64 {
    // The product of a decimal and a count is off by a few last digits, and must not be rounded up for them.
    let rank = (percentile * count as f64 / 100.0 * (1.0 - 4.0 * f64::EPSILON)).ceil() as u64;
    rank.clamp(1, count.max(1))
}

/// The bounds that numbers are judged by which stand beside them. A number that would be rounded onto or across one of
/// them is written with as many digits more as it takes to stand where it was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    percent: Vec<f64>,
    ns: Vec<u64>,
    numbers: Vec<f64>,
}

impl Bounds {
    /// Nothing is judged.
    pub const NONE: Self = Self { percent: Vec::new(), ns: Vec::new(), numbers: Vec::new() };

    /// A share in percent that others are held against.
    pub fn add_percent(&mut self, bound: f64) {
        self.percent.push(bound);
    }

    /// A time.
    pub fn add_nanos(&mut self, bound: u64) {
        self.ns.push(bound);
    }

    /// A plain number.
    pub fn add_number(&mut self, bound: f64) {
        self.numbers.push(bound);
    }

    /// `part` of `whole` in percent, `–` without a whole.
    pub fn percent(&self, part: u64, whole: u64) -> String {
        if whole == 0 {
            return "–".to_owned();
        }
        self.share(part as f64 * 100.0 / whole as f64)
    }

    /// A share that is in percent already.
    pub fn share(&self, percent: f64) -> String {
        let digits = match percent.abs() {
            99.95..100.0 => 3,
            99.0..100.0 | ..1.0 => 2,
            _ => 1,
        };
        format!("{} %", beside(percent, digits, self.percent.iter().copied().chain([0.0, 100.0])))
    }

    /// A number that may have a fraction, with three digits.
    pub fn number(&self, value: f64) -> String {
        let digits = match value.abs() {
            100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        beside(value, digits, self.numbers.iter().copied().chain([0.0]))
    }

    /// How many come to one, `–` without a denominator.
    pub fn ratio(&self, part: u64, whole: u64) -> String {
        if whole == 0 { "–".to_owned() } else { self.number(part as f64 / whole as f64) }
    }

    /// Nanoseconds with a unit.
    pub fn nanos(&self, ns: u64) -> String {
        let mut quantum = quantum(ns);
        // What is rounded up to the next unit has that unit's digits.
        quantum = quantum.max(self::quantum(rounded(ns, quantum)));
        loop {
            let shown = rounded(ns, quantum);
            if self.ns.iter().all(|bound| shown.cmp(bound) == ns.cmp(bound)) || quantum == 1 {
                return spelled(shown, quantum, shown == ns);
            }
            quantum = if quantum == MINUTE { SECOND } else { quantum / 10 };
        }
    }
}

/// A decimal on its side of every bound.
fn beside(value: f64, digits: usize, bounds: impl Iterator<Item = f64> + Clone) -> String {
    // A double has no more digits than these.
    const DIGITS_MAX: usize = 17;
    if !value.is_finite() {
        return "–".to_owned();
    }
    for digits in digits..=DIGITS_MAX {
        let text = format!("{value:.digits$}");
        let Ok(shown) = text.parse::<f64>() else { break };
        if bounds.clone().all(|bound| shown.partial_cmp(&bound) == value.partial_cmp(&bound)) {
            return decimal(&text, shown == value);
        }
    }
    decimal(&value.to_string(), true)
}

/// Groups the whole part. Zeros behind the point are kept only where they say that digits were cut.
fn decimal(text: &str, exact: bool) -> String {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) if rest.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) => ("−", rest),
        Some(rest) => ("", rest),
        None => ("", text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = if exact { fraction.trim_end_matches('0') } else { fraction };
    let whole = whole.parse().map_or(whole.to_owned(), grouped);
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The unit below a minute that so many nanoseconds are written in.
const fn unit(ns: u64) -> (u64, &'static str) {
    match ns {
        0 | SECOND.. => (SECOND, "s"),
        MILLI.. => (MILLI, "ms"),
        MICRO.. => (MICRO, "µs"),
        _ => (1, "ns"),
    }
}

/// What a time is rounded to.
const fn quantum(ns: u64) -> u64 {
    match ns {
        HOUR.. => MINUTE,
        MINUTE.. => SECOND,
        _ => {
            let (unit, _) = unit(ns);
            let digits = if ns >= 100 * unit {
                1
            } else if ns >= 10 * unit {
                10
            } else {
                100
            };
            if unit / digits == 0 { 1 } else { unit / digits }
        }
    }
}

const fn rounded(ns: u64, quantum: u64) -> u64 {
    let rest = ns % quantum;
    let down = ns - rest;
    if rest * 2 >= quantum { down.saturating_add(quantum) } else { down }
}

/// A time that is a multiple of `quantum`.
fn spelled(ns: u64, quantum: u64, exact: bool) -> String {
    let fraction = |ns: u64, unit: u64| -> String {
        let width = if quantum < unit { (unit / quantum).ilog10() as usize } else { 0 };
        let text = format!("{:0width$}", ns % unit / quantum.min(unit));
        let text = if exact { text.trim_end_matches('0') } else { &text };
        if width == 0 || text.is_empty() { String::new() } else { format!(".{text}") }
    };
    if ns < MINUTE {
        let (unit, name) = unit(ns);
        return format!("{}{} {name}", ns / unit, fraction(ns, unit));
    }
    let mut out = String::new();
    let (hours, minutes, seconds) = (ns / HOUR, ns % HOUR / MINUTE, ns % MINUTE);
    if hours > 0 {
        let _ = write!(out, "{} h", grouped(hours));
        if seconds > 0 || minutes > 0 || !exact {
            let _ = write!(out, " {minutes:02} m");
        }
    } else {
        let _ = write!(out, "{minutes} m");
    }
    if quantum < MINUTE && (seconds > 0 || !exact) {
        let _ = write!(out, " {:02}{} s", seconds / SECOND, fraction(seconds, SECOND));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Span;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [counted(1, "device"), counted(0, "device"), counted(2_000, "device"), counted(2, "query")],
            ["1 device", "0 devices", "2,000 devices", "2 queries"]
        );
        assert_eq!(
            [percent(1, 1), percent(4, 5), percent(1, 3), percent(0, 0)],
            ["100 %", "80 %", "33.3 %", "–"]
        );
        assert_eq!(
            [number(1.0), number(3.826), number(38.26), number(100_000.0)],
            ["1", "3.83", "38.3", "100,000"]
        );
        assert_eq!([ratio(7, 2), ratio(12_346, 10), ratio(1, 0)], ["3.5", "1,235", "–"]);
        assert_eq!(
            [change(0.032), change(-0.12), change(-0.0), change(1e-9)],
            ["+3.2 %", "−12 %", "0 %", "<0.01 %"]
        );
    }

    #[test]
    fn what_is_not_all_is_not_100_percent_and_what_is_something_is_not_0() {
        assert_eq!(percent(249_999, 250_000), "99.9996 %");
        assert_eq!(percent(99_999, 100_000), "99.999 %");
        assert_eq!(percent(9_999_999, 10_000_000), "99.99999 %");
        assert_eq!([percent(1, 1_000_000), percent(0, 5)], ["0.0001 %", "0 %"]);
        assert_eq!(number(0.0004), "0.0004");
        assert_eq!(number(-0.0), "0");
    }

    #[test]
    fn a_percentile_has_the_rank_that_its_decimal_says() {
        for (tenths, count) in
            (0..=1_000u64).flat_map(|tenths| (1..2_000u64).step_by(7).map(move |count| (tenths, count)))
        {
            let exact = (tenths * count).div_ceil(1_000).max(1);
            assert_eq!(rank(tenths as f64 / 10.0, count), exact, "{tenths} {count}");
        }
        assert_eq!([rank(99.9, 1_000), rank(99.99, 50), rank(50.0, 0)], [999, 50, 1]);
    }

    #[test]
    fn times_are_rounded_and_never_cut() {
        for (ns, text) in [
            (0, "0 s"),
            (870, "870 ns"),
            (870_000, "870 µs"),
            (12_345_000, "12.3 ms"),
            (71_600_000, "71.6 ms"),
            (999_600_000, "1.00 s"),
            (4_561_000_000, "4.56 s"),
            (5_000_000_000, "5 s"),
            (59_960_000_000, "1 m 00 s"),
            (60_000_000_000, "1 m"),
            (99_600_000_000, "1 m 40 s"),
            (702_000_000_000, "11 m 42 s"),
            (7_500_000_000_000, "2 h 05 m"),
            (7_529_000_000_000, "2 h 05 m"),
            (3_599_600_000_000, "1 h 00 m"),
            (u64::MAX, "5,124,095 h 34 m"),
        ] {
            assert_eq!(nanos(ns), text, "{ns}");
        }
    }

    #[test]
    fn a_bound_beside_a_number_makes_it_exact_enough() {
        let mut bounds = Bounds::default();
        bounds.add_nanos(100_000_000_000);
        bounds.add_percent(99.9);
        bounds.add_number(1.0);
        assert_eq!(bounds.nanos(99_600_000_000), "1 m 39.6 s");
        assert_eq!(bounds.nanos(100_000_000_001), "1 m 40.000000001 s");
        assert_eq!(bounds.percent(99_899_999, 100_000_000), "99.899999 %");
        assert_eq!(bounds.percent(999, 1_000), "99.9 %");
        assert_eq!(bounds.number(1.003), "1.003");
    }

    fn read(text: &str) -> f64 {
        text.trim_end_matches(" %").replace(',', "").replace('−', "-").parse().unwrap()
    }

    proptest! {
        #[test]
        fn no_number_is_shown_across_its_bound(value in 0.0..2_000.0f64, near in -1e-3..1e-3f64, bound in 0.0..2_000.0f64) {
            for value in [value, bound + near, bound + near * 1e-6, bound] {
                let mut bounds = Bounds::default();
                bounds.add_number(bound);
                bounds.add_percent(bound);
                for shown in [bounds.number(value), bounds.share(value)] {
                    prop_assert_eq!(read(&shown).partial_cmp(&bound), value.partial_cmp(&bound), "{}", shown);
                }
            }
        }

        #[test]
        fn no_time_is_shown_across_its_bound(value in any::<u64>(), bits in 0u32..64, near in -2_000_000i64..2_000_000) {
            let value = value >> bits;
            for bound in [value.saturating_add_signed(near), value.saturating_add_signed(near * 1_000_000), value] {
                let mut bounds = Bounds::default();
                bounds.add_nanos(bound);
                let shown: Span = bounds.nanos(value).replace(',', "").parse().unwrap();
                // Text of hundreds of years is read to a double's precision.
                if value < 1 << 52 {
                    prop_assert_eq!(shown.as_nanos().cmp(&bound), value.cmp(&bound), "{}", bounds.nanos(value));
                }
            }
        }

        #[test]
        fn times_are_right_to_three_digits(value in any::<u64>(), bits in 12u32..64) {
            let value = value >> bits;
            let shown: Span = nanos(value).replace(',', "").parse().unwrap();
            let off = shown.as_nanos().abs_diff(value) as f64;
            prop_assert!(off <= value as f64 * 0.009, "{value}: {shown}");
        }
    }
}
