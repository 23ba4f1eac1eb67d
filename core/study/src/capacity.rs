//! The largest fleet, or rate, or the smallest quota, with which a scenario's objectives still hold.

use fleetstorm_engine::{Control, RunError};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_reports::analysis::{Capacity, Conclusion, Outcome, Probe, Vary};
use fleetstorm_reports::record::ObjectiveStatus;
use fleetstorm_scenario::{Arrival, Scenario};
use fleetstorm_units::Rate;

use crate::trial::{self, Stop, Timing, run_jobs};

/// A search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// What is varied.
    pub vary: Vary,
    /// The smallest value that is tried.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// The search ends when the bracket is this share of its value.
    pub precision: f64,
    /// Seeds of a probe that three of them do not decide.
    pub repeats: u32,
    /// Which clock drives the runs.
    pub timing: Timing,
}

/// Runs that are made of every probe.
const FIRST_RUNS: u32 = 3;

/// Searches by bisection on a logarithmic scale.
///
/// # Errors
/// There is no objective, the scenario has nothing of this kind to vary, the bounds are none, or a run cannot start.
pub fn search(
    scenario: &Scenario,
    registry: &Registry,
    search: Search,
    control: &Control,
) -> Result<Capacity, RunError> {
    let refuse = |why: &str| Err(RunError::Preflight(why.to_owned()));
    if scenario.objectives.is_empty() {
        return refuse(
            "there is no objective that could hold: add one, such as \"assigned >= 99.9% within 15m\"",
        );
    }
    if search.vary == Vary::Rate && now(search.vary, scenario).is_none() {
        return refuse("the rate can be varied of arrivals of the kind `constant` or `poisson` only");
    }
    let most = if search.vary == Vary::Devices { 1e7 } else { 1e9 };
    let least = if search.vary == Vary::Devices { 1.0 } else { 1e-3 };
    if !(search.low >= least && search.low < search.high && search.high <= most && search.precision > 0.0) {
        return refuse(
            "the bounds of the search are no range: the lower one is above 0 and below the upper one",
        );
    }
    // `easy` is the end at which the objectives hold, if anywhere.
    let (mut easy, mut hard) = match search.vary {
        Vary::Devices | Vary::Rate => (search.low, search.high),
        Vary::Quota => (search.high, search.low),
    };
    let mut found = Capacity {
        vary: search.vary,
        holds: None,
        breaks: None,
        undecided: None,
        headroom: None,
        partial: false,
        conclusion: Conclusion::default(),
        probes: Vec::new(),
    };
    let runs_max = u64::from(probes_max(search)) * u64::from(search.repeats.max(FIRST_RUNS));
    let mut candidate = easy;
    let stopped = loop {
        control.tell(|progress| (progress.of, progress.known) = (runs_max, so_far(&found, candidate)));
        let (probe, stopped) = probe(scenario, registry, search, candidate, control)?;
        let undecided = probe.undecided;
        let holds = probe.holds;
        if probe.runs > 0 && stopped.is_none() {
            found.probes.push(probe);
        }
        if stopped.is_some() {
            break stopped;
        }
        match (holds, undecided) {
            (true, _) => (easy, found.holds) = (candidate, Some(candidate)),
            (false, None) => (hard, found.breaks, found.undecided) = (candidate, Some(candidate), None),
            // Whether it would hold is not known, so what holds for sure is looked for on the easy side of it.
            (false, Some(_)) => (hard, found.undecided) = (candidate, Some(candidate)),
        }
        // Not even the easy end holds, or the hard one does.
        if found.holds.is_none() || found.holds == Some(hard) {
            break None;
        }
        let is_bracketed = found.breaks.is_some() || found.undecided.is_some();
        candidate = if is_bracketed { middle(search.vary, easy, hard) } else { hard };
        let near = (easy / hard - 1.0).abs() <= search.precision;
        if is_bracketed && (near || candidate == easy || candidate == hard) {
            break None;
        }
    };
    found.conclusion = Conclusion {
        runs: control.progress().map_or(0, |progress| progress.done),
        runs_max,
        ..conclusion(&found, stopped)
    };
    found.partial = found.conclusion.is_partial();
    // How far it is to a knee says something once the knee is known.
    if found.conclusion.outcome == Outcome::Passed {
        found.headroom = found.holds.zip(now(search.vary, scenario)).map(|(holds, now)| match search.vary {
            Vary::Devices | Vary::Rate => holds / now - 1.0,
            Vary::Quota => now / holds - 1.0,
        });
    }
    Ok(found)
}

/// Most probes that a search takes: its two ends, and then each halves the bracket.
fn probes_max(search: Search) -> u32 {
    let bracket = (search.high / search.low).ln();
    let halvings = (bracket / search.precision.ln_1p()).log2().ceil();
    // A search that wants to know it to the last digit ends with the digits of a number.
    2 + (halvings.clamp(0.0, 64.0) as u32)
}

/// What is known so far, for whoever watches.
fn so_far(found: &Capacity, candidate: f64) -> String {
    let mut known = Vec::new();
    for (word, value) in
        [("holds at", found.holds), ("breaks at", found.breaks), ("undecided at", found.undecided)]
    {
        if let Some(value) = value {
            known.push(format!("{word} {value:.0}"));
        }
    }
    known.push(format!("trying {candidate:.0}"));
    known.join(", ")
}

fn conclusion(found: &Capacity, stopped: Option<Stop>) -> Conclusion {
    let last = found.probes.last();
    let (outcome, why) = match (stopped, found.holds, found.breaks, found.undecided) {
        (Some(stop), Some(_), ..) => (stop.outcome(), stop.told("What was found so far is no capacity.")),
        (Some(stop), None, ..) => (stop.outcome(), stop.told("Nothing was found yet.")),
        (None, _, _, Some(_)) => {
            let outcome =
                found.probes.iter().rev().find_map(|probe| probe.undecided).unwrap_or(Outcome::Undecided);
            let seen = last.and_then(|probe| probe.failed.as_ref());
            let seen = seen.map_or(String::new(), |(what, seen)| format!(" ({what}: {seen})"));
            (outcome, format!("runs without a verdict keep the capacity from being told{seen}."))
        }
        (None, None, ..) => (
            Outcome::Failed,
            "the objectives do not hold even at the easiest value of the search.".to_owned(),
        ),
        (None, Some(_), ..) => (Outcome::Passed, String::new()),
    };
    Conclusion { outcome, why, ..Conclusion::default() }
}

fn middle(vary: Vary, a: f64, b: f64) -> f64 {
    let middle = (a * b).sqrt();
    if vary == Vary::Devices { middle.round() } else { middle }
}

/// A value's runs, and what ended the search if they did not come to their end.
fn probe(
    scenario: &Scenario,
    registry: &Registry,
    search: Search,
    value: f64,
    control: &Control,
) -> Result<(Probe, Option<Stop>), RunError> {
    let run = |seed: u32| {
        let mut scenario = scenario.clone();
        scenario.seed = scenario.seed.wrapping_add(u64::from(seed));
        set(search.vary, &mut scenario, value);
        let record = trial::run(scenario, registry, search.timing, control)?;
        Ok((Outcome::from(record.verdict.result), missed(&record)))
    };
    let most = search.repeats.max(FIRST_RUNS);
    let mut outcomes = Vec::new();
    let mut failed = None;
    for (from, to) in [(0, FIRST_RUNS), (FIRST_RUNS, most)] {
        let seeds: Vec<u32> = (from..to).collect();
        let done = run_jobs(&seeds, search.timing, control, run)?;
        for (outcome, missed) in done.results.into_iter().flatten() {
            outcomes.push(outcome);
            failed = failed.or(missed);
        }
        let probe = judged(value, &outcomes, failed.clone());
        if done.stopped.is_some() {
            return Ok((probe, done.stopped));
        }
        // All agree, or so many failed that the others could not make up for it.
        if probe.passed == 0 || probe.passed == probe.runs || probe.broke * 10 > most {
            return Ok((probe, None));
        }
    }
    Ok((judged(value, &outcomes, failed), None))
}

/// What the runs of a value say: it holds if nine in ten did, and breaks if too many failed for that. Runs that could not
/// be judged are neither.
fn judged(value: f64, outcomes: &[Outcome], failed: Option<(String, String)>) -> Probe {
    let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count() as u32;
    let (runs, passed, broke) = (outcomes.len() as u32, count(Outcome::Passed), count(Outcome::Failed));
    let holds = runs > 0 && passed * 10 >= runs * 9;
    // Whatever came of the others, nine in ten cannot hold.
    let breaks = broke * 10 > runs;
    let other =
        outcomes.iter().copied().find(|outcome| !matches!(outcome, Outcome::Passed | Outcome::Failed));
    let undecided = (!holds && !breaks).then(|| other.unwrap_or(Outcome::Undecided));
    Probe { value, runs, passed, broke, holds, undecided, failed }
}

/// The objective that did not hold, or whatever else the verdict stands on.
fn missed(record: &Record) -> Option<(String, String)> {
    let verdict = Outcome::from(record.verdict.result);
    let missed = record.objectives.iter().find(|objective| objective.status == ObjectiveStatus::Failed);
    let missed = missed
        .or_else(|| record.objectives.iter().find(|objective| objective.status != ObjectiveStatus::Passed));
    match missed {
        Some(objective) => Some((objective.expression.clone(), objective.observed.clone())),
        None if verdict == Outcome::Passed => None,
        None => Some((verdict.word().to_owned(), record.verdict.sentence.clone())),
    }
}

/// Where the scenario stands.
fn now(vary: Vary, scenario: &Scenario) -> Option<f64> {
    match (vary, &scenario.fleet.arrival) {
        (Vary::Devices, _) => Some(f64::from(scenario.fleet.devices)),
        (Vary::Rate, Arrival::Constant { rate } | Arrival::Poisson { rate }) => {
            Some(rate.per_second() * 60.0)
        }
        (Vary::Rate, _) => None,
        (Vary::Quota, _) => scenario.mock.throttle.rate.map(|rate| rate.per_second() * 60.0),
    }
}

fn set(vary: Vary, scenario: &mut Scenario, value: f64) {
    let a_minute = Rate { count: value, per_secs: 60.0 };
    match (vary, &mut scenario.fleet.arrival) {
        (Vary::Devices, _) => scenario.fleet.devices = value as u32,
        (Vary::Rate, Arrival::Constant { rate } | Arrival::Poisson { rate }) => *rate = a_minute,
        (Vary::Rate, _) => {}
        (Vary::Quota, _) => scenario.mock.throttle.rate = Some(a_minute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_breaks_or_is_not_known() {
        let word = |passed: usize, failed: usize, other: usize| {
            let mut outcomes = vec![Outcome::Passed; passed];
            outcomes.extend(vec![Outcome::Failed; failed]);
            outcomes.extend(vec![Outcome::NoData; other]);
            judged(1.0, &outcomes, None).word()
        };
        assert_eq!([word(3, 0, 0), word(9, 1, 0), word(9, 0, 1)], ["holds"; 3]);
        assert_eq!([word(0, 3, 0), word(7, 3, 0), word(8, 2, 0), word(3, 2, 5)], ["breaks"; 4]);
        assert_eq!([word(0, 0, 3), word(8, 1, 1), word(5, 0, 5), word(0, 0, 0)], ["undecided"; 4]);
    }

    #[test]
    fn the_number_of_probes_is_known_before() {
        let search = |low, high, precision| Search {
            vary: Vary::Rate,
            low,
            high,
            precision,
            repeats: 3,
            timing: Timing::Virtual,
        };
        for (low, high, precision) in [(1.0, 1e6, 0.02), (5.0, 6.0, 0.5), (1.0, 2.0, 1e-3)] {
            // Halved by hand until the bracket is small enough.
            let (mut ratio, mut probes) = (high / low, 2);
            while ratio > 1.0 + precision {
                (ratio, probes) = (f64::sqrt(ratio), probes + 1);
            }
            assert_eq!(probes_max(search(low, high, precision)), probes, "{low} {high} {precision}");
        }
    }
}
