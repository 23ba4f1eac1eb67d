//! Comparisons and searches in words: tables for a terminal, and for a comment.

use std::fmt::{self, Write as _};

use crate::analysis::{Against, Capacity, Comparison, Effect, Finding, Standing};
use crate::html::{capacity_sentence, comparison_sentence, ranked};
use crate::text::clipped;

const NAME_MAX: usize = 60;
/// What a hostile file may hold more of is no comparison and no search that a person reads.
const THROTTLES_MAX: usize = 8;
const PROBES_MAX: usize = 200;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} devices, {} seeds, baseline {}",
            clipped(&self.name, NAME_MAX),
            self.devices,
            self.seeds,
            clipped(&self.baseline, NAME_MAX)
        )?;
        if self.partial {
            writeln!(f, "  PARTIAL: interrupted; only whole seeds count")?;
        }
        for against in &self.throttles {
            table(against, f)?;
        }
        writeln!(f, "\n* on the Pareto front of T99, amplification and retry peak.")?;
        writeln!(
            f,
            "T99: change against the baseline, median of paired runs with a 95 % bootstrap interval; \"=\" is no\n\
             clear difference (Holm-adjusted, margin {:.0} %). Numbers are the model's, medians over the runs.",
            self.margin * 100.0
        )
    }
}

fn table(against: &Against, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\n{}", clipped(&against.throttle, NAME_MAX))?;
    writeln!(
        f,
        "    {:<34}{:>9}{:>9}{:>7}{:>8}{:>9}{:>7}{:>7}  T99 against the baseline",
        "strategy", "T50", "T99", "eff.", "ampl.", "r.peak", "sync", "gave up"
    )?;
    for standing in &against.strategies {
        row(standing, f)?;
    }
    Ok(())
}

fn row(standing: &Standing, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let median = &standing.median;
    let number =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let name = clipped(&standing.strategy, 32);
    write!(
        f,
        "  {} {name:<34}{:>9}{:>9}{:>7}{:>8}{:>9}{:>7}{:>7}  {}",
        if standing.pareto { '*' } else { ' ' },
        number(median.t50_s, 1),
        number(median.t99_s, 1),
        number(median.efficiency, 2),
        number(median.amplification, 2),
        number(median.retry_peak, 1),
        number(median.synchrony, 2),
        number(median.given_up, 3),
        standing.t99_effect().map_or("baseline".to_owned(), interval),
    )?;
    if standing.unreached > 0 {
        write!(f, "  [T99 not reached in {} of {}]", standing.unreached, standing.runs.len())?;
    }
    writeln!(f)
}

fn interval(effect: &Effect) -> String {
    let Effect { difference, verdict, .. } = effect;
    let word = match verdict {
        Finding::Better => "better",
        Finding::Worse => "worse ",
        Finding::NoClearDifference => "=     ",
    };
    format!("{word} {:+.1} s [{:+.1}, {:+.1}]", difference.median, difference.low, difference.high)
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", capacity_sentence(self))?;
        if self.partial {
            writeln!(f, "PARTIAL: interrupted.")?;
        }
        if let Some(headroom) = self.headroom {
            writeln!(f, "Headroom of the scenario as it stands: {:+.0} %.", headroom * 100.0)?;
        }
        for probe in self.probes.iter().take(PROBES_MAX) {
            let word = if probe.holds { "holds" } else { "breaks" };
            let unit = self.vary.unit();
            write!(f, "  {:>12.0} {unit}: {word:<6} {} of {} runs", probe.value, probe.passed, probe.runs)?;
            match &probe.failed {
                Some((expression, observed)) => {
                    writeln!(f, "  {}: {}", clipped(expression, NAME_MAX), clipped(observed, NAME_MAX))?;
                }
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// The ranking against each throttle, for a comment.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "### {}\n", cell(&comparison.name));
    let plain = |c| if "<@`[#|".contains(c) { '?' } else { c };
    let sentence: String = comparison_sentence(comparison).chars().map(plain).collect();
    let _ = writeln!(out, "{sentence}");
    for against in comparison.throttles.iter().take(THROTTLES_MAX) {
        let _ = writeln!(out, "\n{}\n", cell(&against.throttle));
        let _ = writeln!(out, "| Strategy | T99 | against the baseline | registers a success | front |");
        let _ = writeln!(out, "|---|---:|---|---:|---|");
        for standing in ranked(against) {
            let strategy = cell(&standing.strategy);
            let t99 = standing.median.t99_s.map_or("–".to_owned(), |value| format!("{value:.1} s"));
            let calls = standing.median.amplification.map_or("–".to_owned(), |value| format!("{value:.2}"));
            let front = if standing.pareto { "★" } else { "" };
            let change = standing.t99_effect().map_or("baseline".to_owned(), change);
            let _ = writeln!(out, "| {strategy} | {t99} | {change} | {calls} | {front} |");
        }
    }
    out
}

/// Text that breaks no table.
fn cell(text: &str) -> String {
    let text = clipped(text, NAME_MAX);
    let escaped = text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('@', "&#64;");
    escaped.replace('`', "\\`").replace('[', "\\[").replace('#', "&#35;").replace("://", "&#58;//")
}

fn change(effect: &Effect) -> String {
    let word = match effect.verdict {
        Finding::Better => "better",
        Finding::Worse => "worse",
        Finding::NoClearDifference => "no clear difference",
    };
    format!("{word} ({:+.1} s)", effect.difference.median)
}

/// What a search found, and how, for a comment.
pub(super) fn capacity(capacity: &Capacity) -> String {
    let mut out = format!("{}\n", capacity_sentence(capacity));
    if let Some(headroom) = capacity.headroom {
        let _ = writeln!(out, "\nHeadroom of the scenario as it stands: {:+.0} %.", headroom * 100.0);
    }
    out.push('\n');
    for probe in capacity.probes.iter().take(PROBES_MAX) {
        let word = if probe.holds { "holds" } else { "breaks" };
        let _ = writeln!(out, "- {:.0}: {word}, {} of {} runs", probe.value, probe.passed, probe.runs);
    }
    out
}
