//! What a code means, for a person at a terminal.

use std::fmt::Write as _;

use fleetstorm_protocol::code;

use crate::fault;

/// The meaning of an HTTP status, a six-digit code or a transport error; `None` if it is none that is known.
pub fn explain(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(entry) = fault::lookup(&text.to_ascii_lowercase().replace('_', "-")) {
        return Some(told(text, entry.title, entry.meaning, entry.transient, entry.action));
    }
    let number: u32 = text.parse().ok()?;
    let known = code::all().iter().find(|entry| entry.code == number);
    let status = if number >= 1_000 { code::status(number) } else { u16::try_from(number).ok()? };
    if !(200..=599).contains(&status) {
        return None;
    }
    let entry = known.or_else(|| code::lookup(status, number))?;
    let mut out = told(text, entry.title, entry.meaning, entry.transient, entry.action);
    if known.is_none() {
        let _ = writeln!(out, "\n{number} itself is in no catalogue: this is what its status {status} says.");
    } else if number >= 1_000
        && let Some(of_status) = code::lookup(status, 0)
    {
        let _ = writeln!(out, "\nIt comes with HTTP status {status}: {}.", of_status.title);
        if (200..300).contains(&status) {
            let _ = writeln!(
                out,
                "The answer is a success; the registration in it has failed, and holds the code."
            );
        }
    } else {
        let finer: Vec<String> = code::all()
            .iter()
            .filter(|entry| entry.code >= 1_000 && u32::from(code::status(entry.code)) == number)
            .map(|entry| format!("  {}  {}", entry.code, entry.title))
            .collect();
        if !finer.is_empty() {
            let _ = writeln!(out, "\nFiner codes:\n{}", finer.join("\n"));
        }
    }
    Some(out)
}

fn told(text: &str, title: &str, meaning: &str, transient: bool, action: &str) -> String {
    let waiting = if transient { "It can pass: waiting helps." } else { "It does not pass by waiting." };
    format!("{text}  {title}\n\n{meaning}\n{waiting}\n-> {action}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_explained_and_nonsense_is_not() {
        for entry in code::all() {
            let text = explain(&entry.code.to_string()).unwrap();
            assert!(text.contains(entry.title) && text.contains(entry.action), "{text}");
        }
        assert!(explain("429").unwrap().contains("429001"));
        assert!(explain("401002").unwrap().contains("HTTP status 401"));
        for code in ["400207", "400208", "400209"] {
            assert!(explain(code).unwrap().contains("HTTP status 200"), "{code}");
            assert!(explain("200").unwrap().contains(code) && !explain("400").unwrap().contains(code));
        }
        assert!(explain("401999").unwrap().contains("in no catalogue"));
        assert!(explain("connect_timeout").unwrap().contains("Connect timeout"));
        for nonsense in ["", "42", "99999999999", "run.json", "-1"] {
            assert_eq!(explain(nonsense), None, "{nonsense}");
        }
    }
}
