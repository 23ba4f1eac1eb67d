//! Studies in words: tables for a terminal, and for a comment.

use std::fmt::{self, Write as _};

use fleetstorm_units::time::Span;

use crate::analysis::{
    Against, Capacity, Comparison, Conclusion, Effect, Fidelity, Finding, Probe, Rollout, Standing,
};
use crate::html::{capacity_sentence, comparison_method, comparison_sentence, ranked, rollout_sentence};
use crate::text::clipped;

const NAME_MAX: usize = 60;
const NOTICE_MAX: usize = 600;
/// What a hostile file may hold more of is no comparison and no search that a person reads.
const THROTTLES_MAX: usize = 8;
const PROBES_MAX: usize = 200;
const STEPS_MAX: usize = 40;

/// What a person has to know before anything else.
fn notice(conclusion: &Conclusion, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match conclusion.notice() {
        Some(notice) => writeln!(f, "{}", clipped(&notice, NOTICE_MAX)),
        None => Ok(()),
    }
}

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
        notice(&self.conclusion, f)?;
        if self.seeds == 0 {
            return Ok(());
        }
        for against in &self.throttles {
            table(against, self.horizon_s, f)?;
        }
        writeln!(f, "\n{}", comparison_sentence(self))?;
        for line in comparison_method(self) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

fn table(against: &Against, horizon_s: Option<f64>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\n{}", clipped(&against.throttle, NAME_MAX))?;
    writeln!(
        f,
        "    {:<34}{:>9}{:>9}{:>7}{:>8}{:>9}{:>7}{:>8}  T99 against the baseline",
        "strategy", "T50", "T99", "eff.", "ampl.", "r.peak", "sync", "gave up"
    )?;
    for (place, standing) in against.strategies.iter().enumerate() {
        row(standing, place == 0, horizon_s, f)?;
    }
    Ok(())
}

fn row(
    standing: &Standing,
    is_baseline: bool,
    horizon_s: Option<f64>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let median = &standing.median;
    let number =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let name = clipped(&standing.strategy, 32);
    write!(
        f,
        "  {} {name:<34}{:>9}{:>9}{:>7}{:>8}{:>9}{:>7}{:>8}  {}",
        if standing.pareto { '*' } else { ' ' },
        time(median.t50_s, horizon_s),
        time(median.t99_s, horizon_s),
        number(median.efficiency, 2),
        number(median.amplification, 2),
        number(median.retry_peak, 1),
        number(median.synchrony, 2),
        number(median.given_up, 3),
        against_baseline(standing, is_baseline, interval),
    )?;
    if standing.unreached > 0 {
        let reached =
            standing.runs.len() as u64 - u64::from(standing.unreached).min(standing.runs.len() as u64);
        write!(f, "  [T99 reached in {reached} of {}]", standing.runs.len())?;
    }
    writeln!(f)
}

/// A median time, at least the horizon where half of the runs did not reach it.
fn time(value: Option<f64>, horizon_s: Option<f64>) -> String {
    match (value, horizon_s) {
        (Some(value), _) => format!("{value:.1}"),
        (None, Some(horizon_s)) => format!("≥{horizon_s:.0}"),
        (None, None) => "-".to_owned(),
    }
}

fn against_baseline(standing: &Standing, is_baseline: bool, told: fn(&Effect) -> String) -> String {
    match standing.t99_effect() {
        Some(effect) => told(effect),
        None if is_baseline => "baseline".to_owned(),
        None => "not judged".to_owned(),
    }
}

fn seconds(value: f64) -> String {
    format!("{value:+.1}")
}

fn interval(effect: &Effect) -> String {
    let Effect { difference, verdict, .. } = effect;
    let word = match verdict {
        Finding::Better => "better",
        Finding::Worse => "worse ",
        Finding::NoClearDifference => "=     ",
        Finding::Undecided => "?     ",
    };
    format!("{word} {} s {}", difference.told(seconds), difference.interval(seconds))
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        notice(&self.conclusion, f)?;
        writeln!(f, "{}", capacity_sentence(self))?;
        if let Some(headroom) = self.headroom {
            writeln!(f, "Headroom of the scenario as it stands: {:+.0} %.", headroom * 100.0)?;
        }
        for probe in self.probes.iter().take(PROBES_MAX) {
            let unit = self.vary.unit();
            write!(f, "  {:>12.0} {unit}: {:<9} {}", probe.value, probe.word(), counted(probe))?;
            match &probe.failed {
                Some((expression, observed)) => {
                    writeln!(f, "; {}: {}", clipped(expression, NAME_MAX), clipped(observed, NAME_MAX))?;
                }
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// How many runs of a probe held.
fn counted(probe: &Probe) -> String {
    let told = format!("held in {} of {} runs", probe.passed, probe.runs);
    match probe.undecided {
        Some(outcome) => format!("{told}, failed in {}, {} in the others", probe.broke, outcome.word()),
        None => told,
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        notice(&self.conclusion, f)?;
        writeln!(f, "{}", rollout_sentence(self))?;
        for step in self.because.iter().take(STEPS_MAX) {
            writeln!(f, "  {}", clipped(step, NOTICE_MAX))?;
        }
        if let Some(tried) = tried(self) {
            writeln!(f, "{tried}")?;
        }
        Ok(())
    }
}

/// What the trial of a plan said.
fn tried(plan: &Rollout) -> Option<String> {
    let tried = plan.tried.as_ref()?;
    let mut told = format!(
        "Tried in virtual time with {}: {} of {} devices assigned, {:.2} registrations a device",
        clipped(&tried.strategy, NAME_MAX),
        tried.assigned,
        tried.devices,
        tried.registers_per_device
    );
    if let Some(t99_s) = tried.t99_s {
        let _ = write!(told, ", 99 % of them within {}", Span::from_secs_f64(t99_s.ceil()));
    }
    Some(told)
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        notice(&self.conclusion, f)?;
        match self.score {
            Some(score) => writeln!(f, "The forecast is off by {:.1} % at most.", score * 100.0)?,
            None => writeln!(f, "There is no score: a share of the fleet was not reached.")?,
        }
        writeln!(f, "  (the largest relative error of T50, T90, T99 and attempts per device)")?;
        match self.unexplained {
            Some(0.0) => writeln!(f, "  All of it lies within what other seeds of the scenario make.")?,
            Some(beyond) => writeln!(f, "  Chance does not explain {:.1} % of it.", beyond * 100.0)?,
            None => {}
        }
        for (name, ratio) in &self.ratios {
            let name = clipped(name, NAME_MAX);
            match ratio {
                Some(ratio) => write!(f, "  {name:<10} {ratio:.3} of what was measured")?,
                None => write!(f, "  {name:<10} not reached")?,
            }
            match self.chance.get(&name).copied().flatten() {
                Some([low, high]) => writeln!(f, "; {low:.3} to {high:.3} by other seeds")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "  curves     {:.1} % of the fleet apart at most", self.curve_distance * 100.0)?;
        for (name, (measured, forecast)) in self.codes.iter().take(PROBES_MAX) {
            let name = clipped(name, NAME_MAX);
            writeln!(f, "  {name:<24} {measured:>10} measured {forecast:>10} forecast")?;
        }
        Ok(())
    }
}

/// The notice of a comment, as a paragraph of its own.
fn paragraph(conclusion: &Conclusion) -> String {
    let notice =
        conclusion.notice().map(|notice| format!("**{}**\n\n", plain(&clipped(&notice, NOTICE_MAX))));
    notice.unwrap_or_default()
}

/// Text that neither calls anybody nor becomes a link or a table.
fn plain(text: &str) -> String {
    text.chars().map(|c| if "<@`[#|*".contains(c) { '?' } else { c }).collect()
}

/// The ranking against each throttle, for a comment.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "### {}\n", cell(&comparison.name));
    out.push_str(&paragraph(&comparison.conclusion));
    if comparison.seeds == 0 {
        return out;
    }
    let _ = writeln!(out, "{}", plain(&comparison_sentence(comparison)));
    for against in comparison.throttles.iter().take(THROTTLES_MAX) {
        let _ = writeln!(out, "\n{}\n", cell(&against.throttle));
        let _ = writeln!(out, "| Strategy | T99 | against the baseline | registers a success | front |");
        let _ = writeln!(out, "|---|---:|---|---:|---|");
        let baseline = against.strategies.first().map(|standing| &standing.strategy);
        for standing in ranked(against) {
            let mut strategy = cell(&standing.strategy);
            if standing.unreached > 0 {
                let _ = write!(
                    strategy,
                    "<br>99 % not reached in {} of {} runs",
                    standing.unreached,
                    standing.runs.len()
                );
            }
            let t99 = format!("{} s", time(standing.median.t99_s, comparison.horizon_s));
            let calls = standing.median.amplification.map_or("–".to_owned(), |value| format!("{value:.2}"));
            let front = if standing.pareto { "★" } else { "" };
            let is_baseline = baseline == Some(&standing.strategy);
            let change = against_baseline(standing, is_baseline, change);
            let _ = writeln!(out, "| {strategy} | {t99} | {change} | {calls} | {front} |");
        }
    }
    out.push('\n');
    for line in comparison_method(comparison) {
        let _ = writeln!(out, "<sub>{}</sub><br>", plain(&line));
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
        Finding::Undecided => "cannot be told",
    };
    format!("{word} ({} s)", effect.difference.told(seconds))
}

/// What a search found, and how, for a comment.
pub(super) fn capacity(capacity: &Capacity) -> String {
    let mut out = paragraph(&capacity.conclusion);
    let _ = writeln!(out, "{}", capacity_sentence(capacity));
    if let Some(headroom) = capacity.headroom {
        let _ = writeln!(out, "\nHeadroom of the scenario as it stands: {:+.0} %.", headroom * 100.0);
    }
    out.push('\n');
    for probe in capacity.probes.iter().take(PROBES_MAX) {
        let _ = writeln!(out, "- {:.0}: {}, {}", probe.value, probe.word(), counted(probe));
    }
    out
}

/// A plan and its trial, for a comment.
pub(super) fn rollout(plan: &Rollout) -> String {
    let mut out = paragraph(&plan.conclusion);
    let _ = writeln!(out, "{}\n", plain(&rollout_sentence(plan)));
    for step in plan.because.iter().take(STEPS_MAX) {
        let _ = writeln!(out, "- {}", plain(&clipped(step, NOTICE_MAX)));
    }
    if let Some(tried) = tried(plan) {
        let _ = writeln!(out, "\n{}", plain(&tried));
    }
    out
}

/// How far a forecast is off, for a comment.
pub(super) fn fidelity(found: &Fidelity) -> String {
    let mut out = paragraph(&found.conclusion);
    let score =
        found.score.map_or("There is no score: a share of the fleet was not reached.".to_owned(), |score| {
            format!("The forecast is off by {:.1} % at most.", score * 100.0)
        });
    let _ =
        writeln!(out, "{score}\n\n| Number | forecast over measurement | by other seeds |\n|---|---:|---|");
    for (name, ratio) in &found.ratios {
        let ratio = ratio.map_or("not reached".to_owned(), |ratio| format!("{ratio:.3}"));
        let chance = found.chance.get(name).copied().flatten();
        let chance = chance.map_or("–".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"));
        let _ = writeln!(out, "| {} | {ratio} | {chance} |", cell(name));
    }
    out
}
