//! The largest fleet, or rate, or the smallest quota, with which a scenario's objectives still hold.

use fleetstorm_model::scenario::{Arrival, Rate, Scenario};
use fleetstorm_reports::analysis::{Capacity, Probe, Vary};
use fleetstorm_reports::record::{ObjectiveStatus, VerdictResult};

use crate::control::Control;
use crate::trial::{self, Timing, run_jobs};
use crate::{Registry, RunError};

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
        headroom: None,
        partial: false,
        probes: Vec::new(),
    };
    let mut candidate = easy;
    loop {
        let Some(probe) = probe(scenario, registry, search, candidate, control)? else {
            found.partial = true;
            break;
        };
        let holds = probe.holds;
        found.probes.push(probe);
        if holds {
            (easy, found.holds) = (candidate, Some(candidate));
        } else {
            (hard, found.breaks) = (candidate, Some(candidate));
        }
        // Not even the easy end holds, or the hard one does.
        if found.holds.is_none() || found.holds == Some(hard) {
            break;
        }
        candidate = if found.breaks.is_none() { hard } else { middle(search.vary, easy, hard) };
        let near = (easy / hard - 1.0).abs() <= search.precision;
        if found.breaks.is_some() && (near || candidate == easy || candidate == hard) {
            break;
        }
    }
    found.headroom = found.holds.zip(now(search.vary, scenario)).map(|(holds, now)| match search.vary {
        Vary::Devices | Vary::Rate => holds / now - 1.0,
        Vary::Quota => now / holds - 1.0,
    });
    Ok(found)
}

fn middle(vary: Vary, a: f64, b: f64) -> f64 {
    let middle = (a * b).sqrt();
    if vary == Vary::Devices { middle.round() } else { middle }
}

/// `None` if it was interrupted.
fn probe(
    scenario: &Scenario,
    registry: &Registry,
    search: Search,
    value: f64,
    control: &Control,
) -> Result<Option<Probe>, RunError> {
    let mut probe = Probe { value, runs: 0, passed: 0, holds: false, failed: None };
    let run = |seed: u32| {
        let mut scenario = scenario.clone();
        scenario.seed = scenario.seed.wrapping_add(u64::from(seed));
        set(search.vary, &mut scenario, value);
        let record = trial::run(scenario, registry, search.timing, control)?;
        let failed = record.objectives.iter().find(|objective| objective.status != ObjectiveStatus::Passed);
        let failed = failed.map(|objective| (objective.expression.clone(), objective.observed.clone()));
        Ok((record.verdict.result == VerdictResult::Passed, failed))
    };
    let most = search.repeats.max(FIRST_RUNS);
    for (from, to) in [(0, FIRST_RUNS), (FIRST_RUNS, most)] {
        let seeds: Vec<u32> = (from..to).collect();
        for result in run_jobs(&seeds, search.timing, control, run)? {
            let Some((passed, failed)) = result else { return Ok(None) };
            probe.runs += 1;
            probe.passed += u32::from(passed);
            probe.failed = probe.failed.take().or(failed);
        }
        let failed = probe.runs - probe.passed;
        // Or so many failed that the others could not make up for it.
        if probe.passed == 0 || failed == 0 || failed * 10 > most {
            break;
        }
    }
    probe.holds = probe.passed * 10 >= probe.runs * 9;
    Ok(Some(probe))
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
