//! The largest fleet, or rate, or the smallest quota, with which a scenario's objectives still hold.

use std::fmt;

use fleetstorm_model::scenario::{Arrival, Rate, Scenario};
use fleetstorm_reports::record::{ObjectiveStatus, VerdictResult};
use serde::Serialize;

use crate::control::Control;
use crate::trial::{self, Timing, run_jobs};
use crate::{Registry, RunError};

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vary {
    /// The number of devices: the largest is sought.
    Devices,
    /// The arrival rate, in devices a minute, of constant or Poisson arrivals: the largest is sought.
    Rate,
    /// The quota, in registrations a minute: the smallest is sought.
    Quota,
}

impl Vary {
    /// What its values are.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Rate => "devices a minute",
            Self::Quota => "registrations a minute",
        }
    }

    fn now(self, scenario: &Scenario) -> Option<f64> {
        match (self, &scenario.fleet.arrival) {
            (Self::Devices, _) => Some(f64::from(scenario.fleet.devices)),
            (Self::Rate, Arrival::Constant { rate } | Arrival::Poisson { rate }) => {
                Some(rate.per_second() * 60.0)
            }
            (Self::Rate, _) => None,
            (Self::Quota, _) => scenario.mock.throttle.rate.map(|rate| rate.per_second() * 60.0),
        }
    }

    fn set(self, scenario: &mut Scenario, value: f64) {
        let a_minute = Rate { count: value, per_secs: 60.0 };
        match (self, &mut scenario.fleet.arrival) {
            (Self::Devices, _) => scenario.fleet.devices = value as u32,
            (Self::Rate, Arrival::Constant { rate } | Arrival::Poisson { rate }) => *rate = a_minute,
            (Self::Rate, _) => {}
            (Self::Quota, _) => scenario.mock.throttle.rate = Some(a_minute),
        }
    }
}

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

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// What was varied.
    pub vary: Vary,
    /// The best value with which the objectives held; absent if none did.
    pub holds: Option<f64>,
    /// The nearest value with which they did not: with `holds`, the knee. Absent if all did.
    pub breaks: Option<f64>,
    /// How far the scenario's own value is from `holds`, as a share of it; negative if it does not hold.
    pub headroom: Option<f64>,
    /// Whether it was interrupted.
    pub partial: bool,
    /// Every probe, in order.
    pub probes: Vec<Probe>,
}

/// One value and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// The value.
    pub value: f64,
    /// Runs.
    pub runs: u32,
    /// Runs in which every objective held.
    pub passed: u32,
    /// Whether that is at least nine in ten.
    pub holds: bool,
    /// An objective that failed, and what was observed.
    pub failed: Option<(String, String)>,
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
    if search.vary == Vary::Rate && search.vary.now(scenario).is_none() {
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
    found.headroom = found.holds.zip(search.vary.now(scenario)).map(|(holds, now)| match search.vary {
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
        search.vary.set(&mut scenario, value);
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

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.vary.unit();
        match (self.holds, self.breaks) {
            (Some(holds), Some(breaks)) => {
                writeln!(f, "The objectives hold at {holds:.0} {unit} and break at {breaks:.0}.")?;
            }
            (Some(holds), None) => {
                writeln!(f, "The objectives hold at {holds:.0} {unit}, the end of the search.")?
            }
            (None, _) => writeln!(f, "The objectives do not hold anywhere in the search.")?,
        }
        if self.partial {
            writeln!(f, "PARTIAL: interrupted.")?;
        }
        if let Some(headroom) = self.headroom {
            writeln!(f, "Headroom of the scenario as it stands: {:+.0} %.", headroom * 100.0)?;
        }
        for probe in &self.probes {
            let word = if probe.holds { "holds" } else { "breaks" };
            write!(f, "  {:>12.0} {unit}: {word:<6} {} of {} runs", probe.value, probe.passed, probe.runs)?;
            match &probe.failed {
                Some((expression, observed)) => writeln!(f, "  {expression}: {observed}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
