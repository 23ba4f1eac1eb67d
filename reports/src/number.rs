//! Numbers as people read them.

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

/// `part` of `whole` in percent. Never rounded to 100 % or to 0 % if it is not.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = part as f64 / whole as f64 * 100.0;
    let text = match share {
        _ if part == whole => "100".to_owned(),
        _ if part == 0 => "0".to_owned(),
        99.95.. => format!("{:.3}", (share * 1_000.0).floor().min(99_999.0) / 1_000.0),
        99.0.. => format!("{share:.2}"),
        ..0.01 => "<0.01".to_owned(),
        ..1.0 => format!("{share:.2}"),
        _ => format!("{share:.1}"),
    };
    format!("{text} %")
}

/// Microseconds with a unit and three digits: `870 us`, `12.3 ms`, `4.56 s`, `11 m 42 s`.
pub(crate) fn micros(us: u64) -> String {
    nanos(us.saturating_mul(1_000))
}

/// Nanoseconds, likewise.
pub(crate) fn nanos(ns: u64) -> String {
    let three = |value: f64| match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let value = ns as f64;
    match ns {
        0 => "0".to_owned(),
        1..999_500 => format!("{} us", three(value / 1e3)),
        999_500..999_500_000 => format!("{} ms", three(value / 1e6)),
        999_500_000..59_950_000_000 => format!("{} s", three(value / 1e9)),
        _ => {
            let secs = (value / 1e9).round() as u64;
            match secs {
                ..3_600 => format!("{} m {:02} s", secs / 60, secs % 60),
                _ => format!("{} h {:02} m", secs / 3_600, secs % 3_600 / 60),
            }
        }
    }
}

/// A ratio with one decimal, `–` without a denominator.
pub(crate) fn ratio(part: u64, whole: u64) -> String {
    match part as f64 / whole as f64 {
        _ if whole == 0 => "–".to_owned(),
        // A digit behind the point says nothing any more.
        many @ 1_000.0.. => grouped(many.round() as u64),
        few => format!("{few:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(percent(1, 1), "100 %");
        assert_eq!(percent(99_999, 100_000), "99.999 %");
        assert_eq!(percent(9_999_999, 10_000_000), "99.999 %", "one missing device is a missing device");
        assert_eq!([percent(1, 3), percent(1, 1_000_000), percent(0, 0)], ["33.3 %", "<0.01 %", "–"]);
        assert_eq!(nanos(870_000), "870 us");
        assert_eq!(
            [micros(12_345), micros(4_561_000), micros(702_000_000)],
            ["12.3 ms", "4.56 s", "11 m 42 s"]
        );
        assert_eq!(micros(999_600), "1.00 s");
        assert_eq!(nanos(7_500_000_000_000), "2 h 05 m");
    }
}
