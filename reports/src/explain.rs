//! What a code means, for a person at a terminal.

use std::fmt::Write as _;

use fleetstorm_protocol::code;

use crate::Record;
use crate::meaning::{Meaning, said, short};
use crate::number::{counted, grouped};
use crate::text::clipped;

/// The meaning of an HTTP status, a six-digit code or a transport error; `None` if it is none that is known.
pub fn explain(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(meaning) = Meaning::of_fault(&text.to_ascii_lowercase().replace('_', "-")) {
        return Some(told(text, meaning));
    }
    let number: u32 = text.parse().ok()?;
    let known = code::all().iter().find(|entry| entry.code == number);
    let status = if number >= 1_000 { code::status(number) } else { u16::try_from(number).ok()? };
    if !(200..=599).contains(&status) {
        return None;
    }
    let entry = known.or_else(|| code::lookup(status, number))?;
    let mut out = told(text, entry.into());
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

/// What went wrong in a run, the most frequent first: what each code means, what was said about it, and what to do.
pub fn explain_run(record: &Record) -> String {
    let mut bad: Vec<_> = record.codes.iter().filter(|code| !code.succeeded()).collect();
    bad.sort_by_key(|code| std::cmp::Reverse(code.count));
    let mut out = format!("{}\n", clipped(&record.verdict.sentence, 1_000));
    if bad.is_empty() {
        out.push_str("\nNo connection and no request failed.\n");
    }
    for code in bad {
        let (count, devices) = (grouped(code.count), counted(code.devices, "device"));
        let _ = writeln!(out, "\n{count} x {}, {devices}", clipped(&code.operation, 9));
        out += &match Meaning::of(code) {
            Some(meaning) => told(&short(code), meaning),
            None => format!("{}  This code is in no catalogue.\n", short(code)),
        };
        for cause in said(code) {
            let _ = writeln!(out, "said: {cause}");
        }
    }
    out
}

fn told(text: &str, Meaning { title, meaning, transient, action }: Meaning) -> String {
    let waiting = if transient { "It can pass: waiting helps." } else { "It does not pass by waiting." };
    format!("{text}  {title}\n\n{meaning}\n{waiting}\n-> {action}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_explained_by_its_codes_and_what_was_said_about_them() {
        let mut record = crate::testing::record();
        let refused = record.codes.iter_mut().find(|code| code.code == 401_000).unwrap();
        let title = Meaning::of(refused).unwrap().title;
        refused.causes = vec!["PIN is wrong\u{1b}[31m".into(), format!("{}.", title.to_uppercase())];
        let text = explain_run(&record);
        assert_eq!(text.matches("said:").count(), 1, "a title is not said twice: {text}");
        assert!(
            text.contains("2 x register, 2 devices\n401000  ") && text.contains("said: PIN is wrong?[31m"),
            "{text}"
        );
        assert!(text.find("429001").unwrap() < text.find("401000").unwrap(), "{text}");
        record.codes.retain(crate::record::Code::succeeded);
        assert!(explain_run(&record).contains("no request failed"));
    }

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
