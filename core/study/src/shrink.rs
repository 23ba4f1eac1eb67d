//! Cuts a scenario that fails under faults down to a small one that fails in the same way.
//!
//! A run in virtual time is a function of its scenario, and removing one fault changes no draw of another, so a failed
//! run can be made again with less in it: first with fewer faults (delta debugging), then with simpler and smaller
//! ones, then with fewer devices. Whatever is kept was seen to fail.

mod search;
mod told;
mod values;

use fleetstorm_engine::{Control, Plan, RunError, virtual_time, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{CheckStatus, Clock, FaultStatus, ObjectiveStatus};
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

use self::search::{ddmin, least};
use self::values::{KEYS, NUMBERS};

/// What is wrong with a run, and must stay so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failing {
    /// An objective that does not hold, as the scenario spells it.
    Objective(String),
    /// A fault after which the fleet does not come back, by its name.
    Fault(String),
    /// A guardrail that aborts the run, in words.
    Guardrail(String),
    /// A practice that is broken, by its id.
    Practice(String),
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// A scenario that fails, and is the smallest that was found.
    pub scenario: Scenario,
    /// In what it fails.
    pub failing: Failing,
    /// What was taken away, one thing a line.
    pub steps: Vec<String>,
    /// Runs that it took.
    pub runs: u32,
    /// Whether the search came to its end; otherwise it was interrupted, or had no runs left.
    pub complete: bool,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Whether it still fails with no fault at all.
    pub without_faults: bool,
    /// Faults and devices of the run that was cut down.
    pub before: (usize, u32),
    clock: Clock,
}

/// Why there is nothing to be cut down.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// The wall clock is not the same twice.
    #[error(
        "it is of a run by the wall clock, which cannot be made again as it was: run its scenario with --clock wired \
         or --clock virtual and shrink that"
    )]
    WallClock,
    /// There are no faults.
    #[error("its scenario has no [[chaos]]: there is nothing to take away")]
    NoChaos,
    /// Nothing failed.
    #[error(
        "nothing failed in it ({0}): shrink a run with an objective, a recovery or a guardrail that fails"
    )]
    Passed(String),
    /// What was to be kept did not fail.
    #[error("`{wanted}` did not fail in it; what did: {}", failed.join(", "))]
    NotFailed {
        /// What the user named.
        wanted: String,
        /// What failed.
        failed: Vec<String>,
    },
    /// Made again, the run did not fail.
    #[error(
        "{0} did not fail when the run was made again: its record is of another version of fleetstorm or of a plugin; \
         run the scenario again and shrink that"
    )]
    NotAgain(String),
    /// There is nothing to leave yet.
    #[error("it was interrupted before the failed run was made again, so nothing is left")]
    Interrupted,
    /// The scenario in the record cannot be read, or the run cannot be made.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// How to search.
#[derive(Clone, Debug)]
pub struct Search {
    /// What must go on failing: an objective, a fault's name, a guardrail or a practice's id as the record spells it.
    /// By default the first of them that failed, in this order.
    pub keep: Option<String>,
    /// Most runs.
    pub runs_max: u32,
}

/// Cuts the scenario of a failed run down. `tell` hears of every run what was tried and what came of it.
///
/// # Errors
/// The record is of a run that did not fail, cannot be made again or had no faults.
pub fn shrink(
    record: &Record,
    registry: &Registry,
    search: &Search,
    control: &Control,
    tell: &mut dyn FnMut(&str),
) -> Result<Shrunk, ShrinkError> {
    if record.clock == Clock::Wall {
        return Err(ShrinkError::WallClock);
    }
    let mut scenario =
        Scenario::read(&record.scenario, "the record's scenario", &[]).map_err(RunError::from)?;
    if scenario.chaos.is_empty() {
        return Err(ShrinkError::NoChaos);
    }
    let failing = choose(record, search.keep.as_deref())?;
    strip(&mut scenario, &failing);
    let before = (scenario.chaos.len(), scenario.fleet.devices);
    let mut trials = Trials {
        best: scenario,
        failing,
        clock: record.clock,
        registry,
        control,
        left: search.runs_max,
        runs: 0,
        stopped: false,
        steps: Vec::new(),
        tell,
    };
    let whole = trials.best.clone();
    if !trials.fails(&whole, "all of it")? {
        let again = trials.failing.to_string();
        return if trials.stopped {
            Err(ShrinkError::Interrupted)
        } else {
            Err(ShrinkError::NotAgain(again))
        };
    }
    trials.drop_faults();
    trials.simplify_faults();
    trials.drop_devices();
    Ok(Shrunk {
        without_faults: trials.best.chaos.is_empty(),
        scenario: trials.best,
        failing: trials.failing,
        steps: trials.steps,
        runs: trials.runs,
        complete: !trials.stopped,
        interrupted: trials.stopped && control.is_interrupted(),
        before,
        clock: trials.clock,
    })
}

/// Everything that failed in a run, what decides about its verdict first.
fn failures(record: &Record) -> Vec<Failing> {
    let objectives = record.objectives.iter().filter(|objective| objective.status == ObjectiveStatus::Failed);
    let faults = record.chaos.faults.iter().filter(|fault| fault.status == FaultStatus::Failed);
    let guardrails = record.chaos.guardrails.iter().filter(|guardrail| guardrail.breached_ns.is_some());
    let checks = record.practice.checks.iter().filter(|check| check.status == CheckStatus::Failed);
    objectives
        .map(|objective| Failing::Objective(objective.expression.clone()))
        .chain(faults.map(|fault| Failing::Fault(fault.name.clone())))
        .chain(guardrails.map(|guardrail| Failing::Guardrail(guardrail.rule.clone())))
        .chain(checks.map(|check| Failing::Practice(check.id.clone())))
        .collect()
}

/// What must go on failing. A broken practice decides about no verdict, so it is only kept if it is named.
fn choose(record: &Record, keep: Option<&str>) -> Result<Failing, ShrinkError> {
    let failed = failures(record);
    match keep {
        Some(wanted) => failed.iter().find(|failing| failing.name() == wanted).cloned().ok_or_else(|| {
            if failed.is_empty() {
                return ShrinkError::Passed(record.verdict.sentence.clone());
            }
            let failed = failed.iter().map(|failing| format!("`{}`", failing.name())).collect();
            ShrinkError::NotFailed { wanted: wanted.to_owned(), failed }
        }),
        None => {
            let decides = |failing: &Failing| !matches!(failing, Failing::Practice(_));
            let first = failed.into_iter().find(decides);
            first.ok_or_else(|| ShrinkError::Passed(record.verdict.sentence.clone()))
        }
    }
}

/// Takes away what has no part in a run's course, and the objectives that need not fail.
fn strip(scenario: &mut Scenario, failing: &Failing) {
    (scenario.alerts, scenario.compare, scenario.mock.log) = (Vec::new(), None, None);
    scenario.objectives.retain(|objective| matches!(failing, Failing::Objective(kept) if kept == objective));
    scenario.question = format!("What is left of `{}` that fails in {failing}?", scenario.name);
}

/// Runs of ever smaller scenarios.
struct Trials<'a> {
    /// The smallest that fails.
    best: Scenario,
    failing: Failing,
    clock: Clock,
    registry: &'a Registry,
    control: &'a Control,
    left: u32,
    runs: u32,
    /// Interrupted, or out of runs: from then on nothing more is found to fail.
    stopped: bool,
    steps: Vec<String>,
    tell: &'a mut dyn FnMut(&str),
}

impl Trials<'_> {
    /// Whether a scenario fails as the first one did.
    fn fails(&mut self, scenario: &Scenario, what: &str) -> Result<bool, RunError> {
        self.stopped |= self.left == 0 || self.control.is_interrupted();
        if self.stopped {
            return Ok(false);
        }
        (self.left, self.runs) = (self.left - 1, self.runs + 1);
        let plan = Plan::new(scenario.clone(), self.registry, Calendar::VIRTUAL)?;
        let own = self.control.stage();
        let record = match self.clock {
            Clock::Wired => wired::run(plan, &own),
            Clock::Virtual | Clock::Wall => virtual_time::run(plan, &own),
        }?;
        if self.control.is_interrupted() {
            self.stopped = true;
            return Ok(false);
        }
        let fails = failures(&record).contains(&self.failing);
        let result = if fails { "fails still" } else { "does not fail" };
        let most = self.runs + self.left;
        (self.tell)(&format!("run {} of at most {most}: {what}: {result}", self.runs));
        Ok(fails)
    }

    /// Tries a smaller scenario and keeps it if it fails. One that is not sound, or cannot run, is none.
    fn keeps(&mut self, smaller: Scenario, what: &str) -> bool {
        let sound = Scenario::read(&smaller.resolved(), "smaller", &[]).is_ok();
        let fails = sound && self.fails(&smaller, what).unwrap_or(false);
        if fails {
            self.best = smaller;
        }
        fails
    }

    fn drop_faults(&mut self) {
        let all = self.best.chaos.clone();
        let names = |places: &[usize]| {
            let labels: Vec<&str> = places.iter().map(|place| all[*place].label()).collect();
            format!("with {}", if labels.is_empty() { "no fault".to_owned() } else { labels.join(", ") })
        };
        let only = |trials: &mut Self, places: &[usize]| {
            let chaos = places.iter().map(|place| all[*place].clone()).collect();
            let smaller = Scenario { chaos, ..trials.best.clone() };
            trials.keeps(smaller, &names(places))
        };
        if !only(self, &[]) {
            ddmin((0..all.len()).collect(), &mut |places: &[usize]| only(self, places));
        }
        let left = &self.best.chaos;
        let gone = all.iter().filter(|fault| !left.contains(fault));
        self.steps.extend(gone.map(|fault| format!("the fault `{}`", fault.label())));
    }

    fn simplify_faults(&mut self) {
        for place in 0..self.best.chaos.len() {
            for key in &KEYS {
                let Some(simpler) = key.without(&self.best.chaos[place]) else { continue };
                let what = format!("`{}` without {}", simpler.label(), key.name);
                if self.replaces(place, simpler, &what) {
                    self.steps.push(format!("{} of `{}`", key.name, self.best.chaos[place].label()));
                }
            }
            for number in &NUMBERS {
                let fault = self.best.chaos[place].clone();
                let Some(high) = number.of(&fault) else { continue };
                let label = fault.label().to_owned();
                let found = least(1, high, &mut |steps| {
                    let what = format!("`{label}` with {} {}", number.name, number.told(steps));
                    self.replaces(place, number.with(&fault, steps), &what)
                });
                if found < high {
                    let (from, to) = (number.told(high), number.told(found));
                    self.steps.push(format!("{} of `{label}`: {from} to {to}", number.name));
                }
            }
        }
    }

    fn replaces(&mut self, place: usize, fault: fleetstorm_model::chaos::ChaosFile, what: &str) -> bool {
        let mut smaller = self.best.clone();
        smaller.chaos[place] = fault;
        self.keeps(smaller, what)
    }

    fn drop_devices(&mut self) {
        let high = self.best.fleet.devices;
        let found = least(1, u64::from(high), &mut |devices| {
            let mut smaller = self.best.clone();
            // It is below a number of this type.
            smaller.fleet.devices = u32::try_from(devices).unwrap_or(high);
            self.keeps(smaller, &format!("with {devices} devices"))
        });
        if found < u64::from(high) {
            self.steps.push(format!("devices: {high} to {found}"));
        }
    }
}
