//! Comparisons and searches in words, for a terminal or a comment.

use std::fmt::Write as _;

use crate::analysis::{Capacity, Comparison, Finding, Standing};
use crate::html::{capacity_sentence, comparison_sentence, number, ranked};
use crate::text::clipped;

const NAME_MAX: usize = 60;

/// Text that breaks no table.
fn cell(text: &str, markdown: bool) -> String {
    let text = clipped(text, NAME_MAX);
    if !markdown {
        return text;
    }
    let escaped = text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('@', "&#64;");
    escaped.replace('`', "\\`").replace('[', "\\[").replace('#', "&#35;").replace("://", "&#58;//")
}

/// The ranking against each throttle.
pub(super) fn comparison(comparison: &Comparison, markdown: bool) -> String {
    let mut out = String::new();
    let heading = if markdown { "### " } else { "" };
    let _ = writeln!(out, "{heading}{}\n", cell(&comparison.name, markdown));
    let sentence: String = comparison_sentence(comparison)
        .chars()
        .map(|c| if markdown && "<@`[#|".contains(c) { '?' } else { c })
        .collect();
    let _ = writeln!(out, "{sentence}");
    for against in comparison.throttles.iter().take(8) {
        let _ = writeln!(out, "\n{}\n", cell(&against.throttle, markdown));
        if markdown {
            let _ = writeln!(out, "| Strategy | T99 | against the baseline | registers a success | front |");
            let _ = writeln!(out, "|---|---:|---|---:|---|");
        }
        for standing in ranked(against) {
            let strategy = cell(&standing.strategy, markdown);
            let t99 = number(standing, "t99_s").map_or("–".to_owned(), |value| format!("{value:.1} s"));
            let calls =
                number(standing, "amplification").map_or("–".to_owned(), |value| format!("{value:.2}"));
            let front = if standing.pareto { "★" } else { "" };
            let _ = if markdown {
                writeln!(out, "| {strategy} | {t99} | {} | {calls} | {front} |", change(standing))
            } else {
                writeln!(out, "  {strategy:<34} {t99:>10} {calls:>8} {front:<1}  {}", change(standing))
            };
        }
    }
    out
}

fn change(standing: &Standing) -> String {
    let Some(effect) = standing.effects.iter().find(|effect| effect.metric == "t99_s") else {
        return "baseline".to_owned();
    };
    let word = match effect.verdict {
        Finding::Better => "better",
        Finding::Worse => "worse",
        Finding::NoClearDifference => "no clear difference",
    };
    format!("{word} ({:+.1} s)", effect.difference.median)
}

/// What a search found, and how.
pub(super) fn capacity(capacity: &Capacity) -> String {
    let mut out = format!("{}\n", capacity_sentence(capacity));
    if let Some(headroom) = capacity.headroom {
        let _ = writeln!(out, "\nHeadroom of the scenario as it stands: {:+.0} %.", headroom * 100.0);
    }
    out.push('\n');
    for probe in capacity.probes.iter().take(200) {
        let word = if probe.holds { "holds" } else { "breaks" };
        let _ = writeln!(out, "- {:.0}: {word}, {} of {} runs", probe.value, probe.passed, probe.runs);
    }
    out
}
