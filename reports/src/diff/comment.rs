//! The differences as Markdown that fits a comment on a change.

use std::fmt::Write as _;

use super::words::{change, shown, word};
use super::{Diff, Direction, Shift};
use crate::markdown::escaped;

/// Rows of a table; a page has all of them.
const ROWS_MAX: usize = 60;

/// The differences in a few tables of GitHub's Markdown.
pub(crate) fn comment(diff: &Diff) -> String {
    let mut out = String::new();
    let (sign, told) = if diff.is_regression() {
        ("❌", "the later run is worse")
    } else {
        ("✅", "the later run is not worse")
    };
    let _ = writeln!(out, "### {sign} Fleetstorm: {told}\n");
    for (which, side) in [("Base", &diff.base), ("New", &diff.new)] {
        let _ = writeln!(out, "- {which}: {} {}", escaped(&side.name), escaped(&side.verdict));
    }
    let environment = diff.environment.iter().map(|changed| [&changed.what, &changed.base, &changed.new]);
    table(&mut out, "Run differently", environment);
    let known = diff.shifts.iter().filter(|shift| shift.verdict != Direction::Unknown);
    let _ = writeln!(out, "\n| Number | Base | New | Change | Verdict |\n|---|--:|--:|--:|---|");
    for shift in known.take(ROWS_MAX) {
        let base = shown(shift.base, shift.base_least, shift);
        let new = shown(shift.new, shift.new_least, shift);
        let (name, verdict) = (escaped(&shift.name), word(shift.verdict));
        let _ = writeln!(out, "| {name} | {base} | {new} | {} | {verdict} |", change(shift));
    }
    for (title, list) in [("Objective", &diff.objectives), ("Best practice", &diff.practices)] {
        table(&mut out, title, list.iter().map(|turned| [&turned.what, &turned.base, &turned.new]));
    }
    let counted: Vec<[String; 3]> = diff
        .codes
        .iter()
        .map(|code| {
            [format!("{} on {}", code.code, code.operation), code.base.to_string(), code.new.to_string()]
        })
        .collect();
    table(&mut out, "Code that only one run has", counted.iter().map(|[what, base, new]| [what, base, new]));
    out
}

fn table<'a>(out: &mut String, title: &str, rows: impl Iterator<Item = [&'a String; 3]>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "\n| {title} | Base | New |\n|---|---|---|");
    for [what, base, new] in rows.by_ref().take(ROWS_MAX) {
        let _ = writeln!(out, "| {} | {} | {} |", escaped(what), escaped(base), escaped(new));
    }
    let more = rows.count();
    if more > 0 {
        let _ = writeln!(out, "\n{more} more stand on the page.");
    }
}

/// A number in one line.
pub(crate) fn told(shift: &Shift) -> String {
    let base = shown(shift.base, shift.base_least, shift);
    let new = shown(shift.new, shift.new_least, shift);
    format!("{base} -> {new} {} {}", change(shift), word(shift.verdict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ObjectiveStatus;
    use crate::testing;

    #[test]
    fn a_comment_names_what_moved_and_hostile_names_are_text() {
        let (base, mut new) = (testing::record(), testing::record());
        new.name = "@team | <img> \u{1b}[31m\u{202e}".into();
        new.objectives[1].status = ObjectiveStatus::Failed;
        let text = comment(&Diff::of(&base, &new, 0.05));
        assert!(text.contains("is worse") && text.contains("| Objective | Base | New |"), "{text}");
        for broken in ["@team", "<img", "\u{1b}", "\u{202e}"] {
            assert!(!text.contains(broken), "{broken}: {text}");
        }
    }
}
