//! The differences for a terminal, in 80 columns.

use std::fmt;

use super::{Diff, Direction, Shift, Turned};
use crate::number::{self, nanos};
use crate::text::clipped;

/// A number of a shift as people write it; `≥` where it is a bound.
pub(super) fn shown(value: Option<f64>, least: Option<f64>, shift: &Shift) -> String {
    let told = |value: f64| match &*shift.unit {
        "s" => nanos((value.max(0.0) * 1e9).round() as u64),
        _ if shift.name.starts_with("share") => number::share(value),
        _ => number::number(value),
    };
    match (value, least) {
        (Some(value), _) => told(value),
        (None, Some(least)) => format!("≥ {}", told(least)),
        (None, None) => "never".to_owned(),
    }
}

/// The change in percent, with its sign.
pub(super) fn change(shift: &Shift) -> String {
    shift.change().filter(|change| change.is_finite()).map_or(String::new(), number::change)
}

pub(super) const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Better => "better",
        Direction::Worse => "worse",
        Direction::Same => "same",
        Direction::NotJudged => "not judged",
        Direction::Unknown => "–",
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "base  {}: {}", clipped(&self.base.name, 40), self.base.verdict)?;
        writeln!(f, "new   {}: {}", clipped(&self.new.name, 40), self.new.verdict)?;
        writeln!(f, "{}", self.told())?;
        self.notes.iter().try_for_each(|note| writeln!(f, "! {}", clipped(note, 80)))?;
        writeln!(f, "\nRun differently")?;
        if self.environment.is_empty() {
            writeln!(f, "  nothing: the same scenario, seed, plugins and machine")?;
        }
        for changed in &self.environment {
            let (base, new) = (clipped(&changed.base, 70), clipped(&changed.new, 70));
            match (base.is_empty(), new.is_empty()) {
                (false, false) => writeln!(f, "  {}: {base} -> {new}", changed.what)?,
                (false, true) => writeln!(f, "- {}: {base}", changed.what)?,
                (true, _) => writeln!(f, "+ {}: {new}", changed.what)?,
            }
        }
        writeln!(f, "\n{:<26}{:>12}{:>12}{:>12}  verdict", "Number", "base", "new", "change")?;
        for shift in self.shifts.iter().filter(|shift| shift.verdict != Direction::Unknown) {
            let base = shown(shift.base, shift.base_least, shift);
            let new = shown(shift.new, shift.new_least, shift);
            writeln!(
                f,
                "  {:<24}{base:>12}{new:>12}{:>12}  {}",
                shift.name,
                change(shift),
                word(shift.verdict)
            )?;
        }
        let mut whys: Vec<&str> =
            self.shifts.iter().map(|shift| shift.why).filter(|why| !why.is_empty()).collect();
        whys.sort_unstable();
        whys.dedup();
        for why in whys {
            let names = self.shifts.iter().filter(|shift| shift.why == why);
            let names: Vec<&str> = names.map(|shift| &*shift.name).collect();
            writeln!(f, "not judged, {why}:")?;
            names.chunks(3).try_for_each(|names| writeln!(f, "  {}", names.join(", ")))?;
        }
        turned(f, "Objectives that turned", &self.objectives)?;
        turned(f, "Best practices that turned", &self.practices)?;
        if !self.codes.is_empty() {
            writeln!(f, "\nCodes that only one run has")?;
        }
        for code in &self.codes {
            let sign = if code.base == 0 { '+' } else { '-' };
            let count = code.base.max(code.new);
            writeln!(
                f,
                "{sign} {} on {}: {count} times",
                clipped(&code.code, 30),
                clipped(&code.operation, 12)
            )?;
        }
        writeln!(f, "\nBelow {:.0} % a change does not matter. {NOTE}", self.margin * 100.0)
    }
}

/// What an interval of two runs is worth.
pub(super) const NOTE: &str = "Latency verdicts need an interval beyond that;\nit covers the samples of these two runs, \
                               not the chance between runs: use\nfleetstorm compare for that.";

fn turned(f: &mut fmt::Formatter<'_>, heading: &str, list: &[Turned]) -> fmt::Result {
    if !list.is_empty() {
        writeln!(f, "\n{heading}")?;
    }
    for turned in list {
        writeln!(
            f,
            "  {}: {} -> {}",
            clipped(&turned.what, 50),
            clipped(&turned.base, 30),
            clipped(&turned.new, 30)
        )?;
    }
    Ok(())
}
