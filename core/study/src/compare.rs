//! Which strategy is better, and is the difference real?
//!
//! Every strategy runs against every throttle with the same seeds: the same boots, the same network, the same
//! assignment times. So runs of a seed are pairs, and what differs between them is the strategy.

mod judge;
mod metrics;

use std::sync::{Mutex, PoisonError};

use fleetstorm_engine::{Control, RunError};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::analysis::{
    Against, Comparison, Conclusion, Metrics, Outcome, Standing, seeds_needed,
};
use fleetstorm_reports::record::VerdictResult;
use fleetstorm_scenario::{CompareFile, Scenario, ThrottleFile};

use crate::statistics::median;
use crate::trial::{self, Timing, run_jobs};

/// Runs a scenario's `[compare]`: in virtual time on all cores, by the wall clock one run after the other.
///
/// # Errors
/// The scenario compares nothing, or one of its runs cannot start.
pub fn run(
    scenario: &Scenario,
    registry: &Registry,
    timing: Timing,
    control: &Control,
) -> Result<Comparison, RunError> {
    let Some(file) = &scenario.compare else {
        return Err(RunError::Preflight(
            "the scenario compares nothing: add [compare] with `strategies`".to_owned(),
        ));
    };
    let throttles =
        if file.throttles.is_empty() { vec![scenario.mock.throttle.clone()] } else { file.throttles.clone() };
    // Seeds first, so that an interrupted comparison has whole seeds.
    let jobs: Vec<Job> = (0..file.seeds)
        .flat_map(|seed| {
            let throttles = &throttles;
            (0..throttles.len()).flat_map(move |throttle| {
                (0..file.strategies.len()).map(move |strategy| Job { seed, throttle, strategy })
            })
        })
        .collect();
    let all = jobs.len() as u64;
    control.tell(|progress| progress.of = all);
    let leaders = Mutex::new(Leaders::of(&throttles, file));
    let done = run_jobs(&jobs, timing, control, |job| {
        let scenario_of_job = job.scenario(scenario, file, &throttles);
        let (record, herd) = trial::run_in_detail(scenario_of_job, registry, timing, control)?;
        let metrics = metrics::of(&record, herd.as_ref(), scenario.horizon.0);
        let mut leaders = leaders.lock().unwrap_or_else(PoisonError::into_inner);
        leaders.add(job, &metrics);
        control.tell(|progress| progress.known = leaders.known());
        Ok((metrics, record.verdict.result == VerdictResult::Untrusted))
    })?;

    let width = throttles.len() * file.strategies.len();
    let finished = done.results.iter().take_while(|result| result.is_some()).count() / width;
    let runs = |throttle: usize, strategy: usize| -> Vec<Metrics> {
        let place = throttle * file.strategies.len() + strategy;
        let of_seed = |seed: usize| Some(done.results[seed * width + place].as_ref()?.0.clone());
        (0..finished).filter_map(of_seed).collect()
    };
    let against = |(index, throttle): (usize, &ThrottleFile)| {
        let runs = (0..file.strategies.len()).map(|strategy| runs(index, strategy)).collect();
        standings(throttle_name(throttle), file, runs)
    };
    let mut against: Vec<Against> = match finished {
        0 => Vec::new(),
        _ => throttles.iter().enumerate().map(against).collect(),
    };
    let horizon_s = scenario.horizon.0.as_secs_f64();
    // Whoever stops when it suits them finds a difference anywhere: what was cut short is not tested.
    let stopped = match done.stopped {
        None => judge::judge(&mut against, file.margin, horizon_s, control)?,
        stopped => stopped,
    };
    let whole: Vec<&(Metrics, bool)> = done.results.iter().flatten().collect();
    let untrusted = whole.iter().filter(|(_, untrusted)| *untrusted).count();
    let (outcome, why) = match stopped {
        Some(stop) => (stop.outcome(), stop.told(&left_over(finished, file))),
        None => conclusion(&against, finished, untrusted),
    };
    Ok(Comparison {
        name: scenario.name.clone(),
        devices: u64::from(scenario.fleet.devices),
        seeds: u32::try_from(finished).unwrap_or(u32::MAX),
        baseline: file.strategies.first().map(ToString::to_string).unwrap_or_default(),
        margin: file.margin,
        partial: outcome.is_partial(),
        conclusion: Conclusion { outcome, why, runs: whole.len() as u64, runs_max: all },
        horizon_s: Some(horizon_s),
        throttles: against,
    })
}

fn left_over(finished: usize, file: &CompareFile) -> String {
    match finished {
        0 => "No seed was done with all strategies, so there is nothing to compare.".to_owned(),
        _ => format!(
            "Only the {finished} whole seeds of {} count; the numbers are their medians, and no difference is judged.",
            file.seeds
        ),
    }
}

/// What a comparison that was made as a whole says, in the order of the verdicts of runs.
fn conclusion(against: &[Against], seeds: usize, untrusted: usize) -> (Outcome, String) {
    if untrusted > 0 {
        let why = format!(
            "in {untrusted} runs the generator could not keep up: the numbers say little about the target."
        );
        return (Outcome::Untrusted, why);
    }
    let without = against.iter().filter(|against| against.recommended().is_none());
    let without: Vec<&str> = without.map(|against| &*against.throttle).collect();
    if !without.is_empty() {
        let why = format!(
            "no strategy brought the whole fleet to its hub in every run against {}: none is recommended.",
            without.join(", ")
        );
        return (Outcome::Failed, why);
    }
    let tests = against.iter().map(Against::tests).max().unwrap_or(0);
    if tests == 0 {
        return (Outcome::NoData, "there is one strategy only, so nothing is compared.".to_owned());
    }
    let needed = seeds_needed(tests);
    if (seeds as u64) < u64::from(needed) {
        let why = format!(
            "{seeds} seeds are too few for any difference to be called clear, however large it is: {tests} differences are \
             tested, which takes {needed}; set seeds = {needed} under [compare]."
        );
        return (Outcome::Undecided, why);
    }
    (Outcome::Passed, String::new())
}

/// Who is fastest so far, for whoever watches.
struct Leaders {
    throttles: Vec<String>,
    strategies: Vec<String>,
    /// By throttle and strategy: the T99 of each run, infinite where the fleet did not come in.
    t99_s: Vec<Vec<Vec<f64>>>,
}

impl Leaders {
    fn of(throttles: &[ThrottleFile], file: &CompareFile) -> Self {
        Self {
            throttles: throttles.iter().map(throttle_name).collect(),
            strategies: file.strategies.iter().map(ToString::to_string).collect(),
            t99_s: vec![vec![Vec::new(); file.strategies.len()]; throttles.len()],
        }
    }

    fn add(&mut self, job: Job, run: &Metrics) {
        let t99_s = run.t99_s.filter(|_| run.t100_s.is_some()).unwrap_or(f64::INFINITY);
        self.t99_s[job.throttle][job.strategy].push(t99_s);
    }

    fn known(&self) -> String {
        let lead = |(throttle, times): (&String, &Vec<Vec<f64>>)| {
            let middles = times.iter().zip(&self.strategies);
            let middles = middles.filter_map(|(times, name)| Some((median(times)?, name)));
            let whole = middles.filter(|(t99_s, _)| t99_s.is_finite());
            let (t99_s, name) = whole.min_by(|a, b| a.0.total_cmp(&b.0))?;
            Some(format!("{throttle}: {name} {t99_s:.0} s"))
        };
        let leads: Vec<String> = self.throttles.iter().zip(&self.t99_s).filter_map(lead).collect();
        if leads.is_empty() { String::new() } else { format!("fastest so far: {}", leads.join(", ")) }
    }
}

/// One run.
#[derive(Clone, Copy)]
struct Job {
    seed: u32,
    throttle: usize,
    strategy: usize,
}

impl Job {
    fn scenario(self, scenario: &Scenario, file: &CompareFile, throttles: &[ThrottleFile]) -> Scenario {
        let mut scenario = scenario.clone();
        scenario.seed = scenario.seed.wrapping_add(u64::from(self.seed));
        scenario.mock.throttle = throttles[self.throttle].clone();
        for cohort in &mut scenario.cohorts {
            cohort.retry = file.strategies[self.strategy].clone();
        }
        scenario
    }
}

/// A throttle with what differs from its profile.
fn throttle_name(throttle: &ThrottleFile) -> String {
    let mut name = throttle.profile.clone();
    if let Some(rate) = throttle.rate {
        name.push_str(&format!(" rate={rate}"));
    }
    if let Some(burst) = throttle.burst {
        name.push_str(&format!(" burst={burst}"));
    }
    if let Some(rho) = throttle.rho {
        name.push_str(&format!(" rho={rho}"));
    }
    name
}

/// The medians of all strategies against one throttle; nothing is judged yet.
fn standings(throttle: String, file: &CompareFile, runs: Vec<Vec<Metrics>>) -> Against {
    let strategies = file.strategies.iter().zip(runs).map(|(strategy, runs)| Standing {
        strategy: strategy.to_string(),
        unreached: runs.iter().map(|run| u32::from(run.t99_s.is_none())).sum(),
        pareto: false,
        median: middle(&runs),
        effects: Vec::new(),
        runs,
    });
    let mut against = Against { throttle, strategies: strategies.collect(), pairs: Vec::new() };
    // A strategy under which devices gave up costs little: it is on no front.
    let whole = against.strategies.iter().filter(|standing| standing.is_whole());
    let whole: Vec<Metrics> = whole.map(|standing| standing.median.clone()).collect();
    for standing in &mut against.strategies {
        standing.pareto =
            standing.is_whole() && !whole.iter().any(|other| judge::dominates(other, &standing.median));
    }
    against
}

/// The median of each number; a number that a run lacks counts as the largest.
fn middle(runs: &[Metrics]) -> Metrics {
    let of = |field: fn(&Metrics) -> Option<f64>| {
        let values: Vec<f64> = runs.iter().map(|run| field(run).unwrap_or(f64::INFINITY)).collect();
        median(&values).filter(|value| value.is_finite())
    };
    let [t50, t90, t99, t100, efficiency, wait, given, amplification, billable, throttled, rest @ ..] =
        Metrics::FIELDS.map(|(_, field)| of(field));
    let [first, retry, synchrony, fullest, wait_max, fairness, gap] = rest;
    Metrics {
        t50_s: t50,
        t90_s: t90,
        t99_s: t99,
        t100_s: t100,
        efficiency,
        mean_wait_s: wait,
        given_up: given,
        amplification,
        billable,
        throttled,
        first_peak: first,
        retry_peak: retry,
        synchrony,
        fullest_slot: fullest,
        wait_max_s: wait_max,
        fairness,
        cohort_gap: gap,
    }
}
