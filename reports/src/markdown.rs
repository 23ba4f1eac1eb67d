//! The record as Markdown that fits a comment on a change: what a reviewer needs before opening the report.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::chart::Buckets;
use crate::html::{Answer, margin, tally};
use crate::meaning::{Meaning, short};
use crate::number::{Bounds, counted, grouped, share};
use crate::record::{CheckStatus, Clock, Code, ObjectiveStatus, VerdictResult};
use crate::text::clipped;
use crate::verdict;
use crate::{Record, chaos, judged, practice};

/// Objectives and faults that are told although they held.
const HELD_MAX: usize = 20;
const CODES_MAX: usize = 5;
const TEXT_MAX: usize = 200;
const WHY_MAX: usize = 400;
/// The verdict's sentence says what else stands below: it is not cut where people write it.
const SENTENCE_MAX: usize = 2_000;
/// Fits a line of a comment on a phone.
const SPARKLINE_MAX: usize = 40;

/// The record in a few lines of GitHub's Markdown.
pub fn markdown(record: &Record) -> String {
    let mut out = String::new();
    let sign = match record.verdict.result {
        VerdictResult::Passed => "✅",
        VerdictResult::Failed | VerdictResult::Vacuous => "❌",
        VerdictResult::Unknown
        | VerdictResult::Untrusted
        | VerdictResult::Ceiling
        | VerdictResult::Interrupted => "⚠️",
    };
    let word = verdict::word(record.verdict.result);
    let _ = writeln!(out, "### {sign} Fleetstorm: {} {word}\n", escaped(&record.name));
    answer(record, &mut out);
    let _ = writeln!(out, "{}.\n", escaped_to(record.verdict.sentence.trim_end_matches('.'), SENTENCE_MAX));
    let bounds = judged::bounds(record);
    objectives(record, &mut out);
    numbers(record, &bounds, &mut out);
    life(record, &bounds, &mut out);
    sparkline(record, &mut out);
    codes(record, &mut out);
    chaos(record, &mut out);
    practices(record, &mut out);
    let clock = match record.clock {
        Clock::Wall => "wall clock",
        Clock::Wired => "virtual time, real bytes: latencies are the model's",
        Clock::Virtual => "simulated: latencies are the model's",
    };
    let _ = writeln!(
        out,
        "<sub>{} · {clock} · target {} · seed {} · exit code {}</sub>",
        escaped(&record.tool),
        escaped(&record.target.address),
        record.seed,
        record.verdict.exit_code
    );
    out
}

/// The question, why, what was broken, and what to do.
fn answer(record: &Record, out: &mut String) {
    let answer = Answer::of(record);
    if !answer.question.is_empty() {
        let _ = writeln!(out, "> {}\n", escaped(answer.question));
    }
    let why: Vec<String> = answer.why.iter().map(|why| escaped_to(why, WHY_MAX)).collect();
    let _ = writeln!(out, "**Why:** {}\n", why.join(" "));
    if !answer.broken.is_empty() {
        let _ = writeln!(out, "⚠️ {}\n", escaped_to(&answer.broken(), WHY_MAX));
    }
    let _ = writeln!(out, "**Next:** {}: {}\n", answer.next.why, escaped_to(&answer.next.command, WHY_MAX));
}

fn objectives(record: &Record, out: &mut String) {
    let (objectives, left) = judged::objectives(record, HELD_MAX);
    if objectives.is_empty() {
        let _ = writeln!(out, "❔ No objective: {}.\n", verdict::NO_OBJECTIVE);
        return;
    }
    out.push_str("| | Objective | Observed | Margin |\n|---|---|--:|--:|\n");
    for objective in objectives {
        let sign = match objective.status {
            ObjectiveStatus::Passed => "✅",
            ObjectiveStatus::Failed => "❌",
            ObjectiveStatus::NoData | ObjectiveStatus::Undecided => "❔",
        };
        let note = if objective.note.is_empty() {
            String::new()
        } else {
            format!("<br><sub>{}</sub>", escaped(&objective.note))
        };
        let _ = writeln!(
            out,
            "| {sign} | {}{note} | {} | {} |",
            escaped(&objective.expression),
            escaped(&objective.observed),
            margin(objective.margin)
        );
    }
    if left > 0 {
        let _ = writeln!(out, "\n{} more held.", counted(left as u64, "objective"));
    }
    out.push('\n');
}

/// The faults and what came of them.
fn chaos(record: &Record, out: &mut String) {
    let (told, left) = judged::faults(record, HELD_MAX);
    for &fault in &told {
        let (name, word) = (escaped(&fault.name), chaos::word(record, fault));
        let _ = writeln!(out, "- Fault **{name}** {word}: {}", escaped(&chaos::sentence(record, fault)));
    }
    if left > 0 {
        let _ = writeln!(out, "- {} more that are over", counted(left as u64, "fault"));
    }
    if !told.is_empty() {
        out.push('\n');
    }
}

/// How many best practices were kept, and which were not.
fn practices(record: &Record, out: &mut String) {
    if record.practice.checks.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}\n", tally(record));
    let broken = || record.practice.checks.iter().filter(|check| check.status == CheckStatus::Failed);
    for check in broken() {
        let _ = writeln!(out, "- **{}**: {}", escaped(&check.title), escaped(&check.evidence));
        for (which, case) in practice::cases(check) {
            let _ = writeln!(out, "  - {which}: {}", escaped(&practice::told(case)));
        }
        if let Some(command) = practice::replay(record, check) {
            let _ = writeln!(out, "  - see it: {}", escaped(&command));
        }
    }
    if broken().next().is_some() {
        out.push('\n');
    }
}

fn numbers(record: &Record, bounds: &Bounds, out: &mut String) {
    let (totals, completion) = (&record.totals, &record.completion);
    let at = |ns: Option<u64>| ns.map_or("–".to_owned(), |ns| bounds.nanos(ns));
    out.push_str("| Assigned | 50 % | 99 % | All | Registrations a device | Throttled | Billed |\n");
    out.push_str("|--:|--:|--:|--:|--:|--:|--:|\n");
    let _ = writeln!(
        out,
        "| {} of {} ({}) | {} | {} | {} | {} | {} ({}) | {} |\n",
        grouped(totals.assigned),
        grouped(record.devices),
        bounds.percent(totals.assigned, record.devices),
        at(completion.t50_ns),
        at(completion.t99_ns),
        at(completion.t100_ns),
        bounds.ratio(totals.registers, totals.booted),
        grouped(totals.throttled),
        bounds.percent(totals.throttled, totals.requests),
        grouped(totals.billable)
    );
    if record.objectives.iter().any(|objective| objective.expression.contains("(time_to_")) {
        out.push_str(
            "<sub>50 %, 99 % and all count from the start, the times of devices from their boot.</sub>\n\n",
        );
    }
}

/// The life after provisioning, where there was one.
fn life(record: &Record, bounds: &Bounds, out: &mut String) {
    let Some(life) = &record.life else { return };
    let _ = writeln!(
        out,
        "Online at the end {} of {} ({}), {} of the time; {}, {} from the cache; {} not needed.\n",
        grouped(life.online_at_end),
        grouped(life.devices),
        bounds.percent(life.online_at_end, life.devices),
        share(life.online_share),
        counted(life.reconnects, "reconnect"),
        bounds.percent(life.reconnects_cached, life.reconnects),
        counted(life.registrations_needless, "registration")
    );
}

/// Devices assigned over time, one block a bucket.
fn sparkline(record: &Record, out: &mut String) {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let buckets = Buckets::new(record.series.assigned.len(), record.series.step_s, SPARKLINE_MAX);
    let sums = buckets.sums(&record.series.assigned);
    let most = sums.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let block = |sum: u64| match sum {
        0 => BLOCKS[0],
        // Whatever is there at all stands above nothing.
        _ => BLOCKS[((sum as f64 / most as f64 * 7.0).ceil() as usize).clamp(1, 7)],
    };
    let line: String = sums.into_iter().map(block).collect();
    let width = buckets.width();
    let _ =
        writeln!(out, "Assigned over time `{line}` (a block is {width}, the highest {})\n", grouped(most));
}

fn codes(record: &Record, out: &mut String) {
    let mut bad: Vec<&Code> = record.codes.iter().filter(|code| !code.succeeded()).collect();
    if bad.is_empty() {
        return;
    }
    bad.sort_by_key(|code| Reverse(code.count));
    out.push_str("| Code | Operation | Count | Devices | What to do |\n|---|---|--:|--:|---|\n");
    for code in bad.iter().take(CODES_MAX) {
        let advice =
            Meaning::of(code).map_or(String::new(), |known| format!("**{}.** {}", known.title, known.action));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {advice} |",
            escaped(&short(code)),
            escaped(&code.operation),
            grouped(code.count),
            grouped(code.devices)
        );
    }
    if bad.len() > CODES_MAX {
        let _ = writeln!(out, "\n{} more ways to fail stand in the report.", bad.len() - CODES_MAX);
    }
    out.push('\n');
}

/// Text that Markdown, its HTML and its mentions leave as it is, on one line.
pub(crate) fn escaped(text: &str) -> String {
    escaped_to(text, TEXT_MAX)
}

fn escaped_to(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in clipped(text, max).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Backslashes do not stop a mention nor a reference to an issue.
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    // Nor an address that would become a link.
    out.replace("://", "&#58;//").replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Objective;
    use crate::testing;

    #[test]
    fn a_comment_says_what_a_reviewer_needs() {
        insta::assert_snapshot!(markdown(&testing::record()));
    }

    #[test]
    fn names_cannot_break_a_comment_nor_call_people() {
        let mut record = testing::record();
        let evil = "@team #1 `x` | <img src=x> [a](https://e.vil)\n# big";
        record.name = evil.into();
        record.verdict.sentence = evil.into();
        record.objectives[0].expression = evil.into();
        record.codes[0].fault = evil.into();
        record.codes[0].operation = evil.into();
        let text = markdown(&record);
        for broken in ["@", "<img", "[a]", "://", "\n# ", " `x`"] {
            assert!(!text.contains(broken), "{broken}: {text}");
        }
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert!(rows.iter().all(|row| [5, 6, 8].contains(&cells(row))), "{rows:#?}");
    }

    #[test]
    fn a_comment_stays_far_below_its_limit() {
        let mut record = testing::record();
        record.name = "x".repeat(1 << 20);
        let failed = record.objectives[0].clone();
        record.objectives = vec![Objective { status: ObjectiveStatus::Passed, ..failed.clone() }; 5_000];
        record.objectives.push(Objective { expression: "the last".to_owned(), ..failed });
        record.codes = vec![record.codes[0].clone(); 5_000];
        record.series.assigned = vec![3; 14 * 86_400];
        let text = markdown(&record);
        assert!(text.len() < 32_768, "{}", text.len());
        assert!(text.find("the last").unwrap() < text.find("| ✅").unwrap(), "what failed comes first");
        let blocks = text.chars().filter(|c| ('▁'..='█').contains(c)).count();
        assert!(blocks <= SPARKLINE_MAX, "{blocks}");
    }

    #[test]
    fn a_run_in_which_nothing_happened_is_told_too() {
        assert!(markdown(&Record::empty()).contains("0 of 0"));
    }
}
