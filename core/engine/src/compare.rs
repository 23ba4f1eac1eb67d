//! Which strategy is better, and is the difference real?
//!
//! Every strategy runs against every throttle with the same seeds: the same boots, the same network, the same
//! assignment times. So runs of a seed are pairs, and what differs between them is the strategy.

mod metrics;
mod pairs;

use fleetstorm_model::scenario::{CompareFile, Scenario, ThrottleFile};
use fleetstorm_reports::analysis::{Against, Comparison, Effect, Finding, Metrics, Standing};

use crate::control::Control;
use crate::statistics::{a12, holm, median, paired_difference, sign_flip_p};
use crate::trial::{self, Timing, run_jobs};
use crate::{Registry, RunError};

/// The numbers that are tested, and that span the Pareto front.
const TESTED: [&str; 3] = ["t99_s", "amplification", "retry_peak"];
/// Adjusted p-values below this are taken for a difference.
const SIGNIFICANT: f64 = 0.05;

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
    let results = run_jobs(&jobs, timing, control, |job| {
        let scenario_of_job = job.scenario(scenario, file, &throttles);
        let (record, herd) = trial::run_in_detail(scenario_of_job, registry, timing, control)?;
        Ok(metrics::of(&record, herd.as_ref(), scenario.horizon.0))
    })?;

    let width = throttles.len() * file.strategies.len();
    let finished = results.iter().take_while(|result| result.is_some()).count() / width;
    let runs = |throttle: usize, strategy: usize| -> Vec<Metrics> {
        let place = throttle * file.strategies.len() + strategy;
        (0..finished).filter_map(|seed| results[seed * width + place].clone()).collect()
    };
    let horizon_s = scenario.horizon.0.as_secs_f64();
    let against = |(index, throttle): (usize, &ThrottleFile)| {
        let runs = (0..file.strategies.len()).map(|strategy| runs(index, strategy)).collect();
        judge(throttle_name(throttle), file, runs, horizon_s)
    };
    Ok(Comparison {
        name: scenario.name.clone(),
        devices: u64::from(scenario.fleet.devices),
        seeds: u32::try_from(finished).unwrap_or(u32::MAX),
        baseline: file.strategies.first().map(ToString::to_string).unwrap_or_default(),
        margin: file.margin,
        partial: finished < file.seeds as usize,
        throttles: throttles.iter().enumerate().map(against).collect(),
    })
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

fn judge(throttle: String, file: &CompareFile, runs: Vec<Vec<Metrics>>, horizon_s: f64) -> Against {
    let medians: Vec<Metrics> = runs.iter().map(|runs| middle(runs)).collect();
    let mut effects: Vec<Vec<Effect>> = vec![Vec::new(); runs.len()];
    if let Some((baseline, others)) = runs.split_first() {
        for metric in TESTED {
            let values = |runs: &[Metrics]| -> Vec<f64> {
                runs.iter().map(|run| tested(run, metric).unwrap_or(horizon_s)).collect()
            };
            let base = values(baseline);
            let margin = file.margin * median(&base).unwrap_or(0.0).abs();
            let differences: Vec<Vec<f64>> = others
                .iter()
                .map(|runs| values(runs).iter().zip(&base).map(|(own, base)| own - base).collect())
                .collect();
            let p: Vec<f64> = differences.iter().map(|differences| sign_flip_p(differences, 1)).collect();
            for (at, (p, differences)) in holm(&p).into_iter().zip(&differences).enumerate() {
                let Some(difference) = paired_difference(differences, 1) else { continue };
                let verdict = match (difference.is_clear(margin) && p < SIGNIFICANT, difference.median < 0.0)
                {
                    (false, _) => Finding::NoClearDifference,
                    (true, true) => Finding::Better,
                    (true, false) => Finding::Worse,
                };
                let a12 = a12(&values(&others[at]), &base).unwrap_or(0.5);
                effects[at + 1].push(Effect { metric: metric.to_owned(), difference, a12, p, verdict });
            }
        }
    }
    let pairs = pairs::pairs(&runs, file.margin, horizon_s);
    let strategies = file
        .strategies
        .iter()
        .zip(runs)
        .zip(effects)
        .enumerate()
        .map(|(index, ((strategy, runs), effects))| Standing {
            strategy: strategy.to_string(),
            unreached: runs.iter().map(|run| u32::from(run.t99_s.is_none())).sum(),
            pareto: !medians.iter().any(|other| dominates(other, &medians[index])),
            median: medians[index].clone(),
            effects,
            runs,
        })
        .collect();
    Against { throttle, strategies, pairs }
}

/// A tested number. Without a single hub there is no amplification either: no run is worse.
fn tested(run: &Metrics, metric: &str) -> Option<f64> {
    Metrics::FIELDS.iter().find(|(name, _)| *name == metric).and_then(|(_, field)| field(run))
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

/// Whether `a` is at least as good as `b` in every tested number and better in one.
fn dominates(a: &Metrics, b: &Metrics) -> bool {
    let value = |run, metric| tested(run, metric).unwrap_or(f64::INFINITY);
    let pairs = TESTED.map(|metric| (value(a, metric), value(b, metric)));
    pairs.iter().all(|(a, b)| a <= b) && pairs.iter().any(|(a, b)| a < b)
}

#[cfg(test)]
mod tests {
    use fleetstorm_model::scenario::Plugin;

    use super::*;

    fn run(t99_s: f64, amplification: f64, retry_peak: f64) -> Metrics {
        Metrics {
            t99_s: (t99_s < 1_000.0).then_some(t99_s),
            amplification: Some(amplification),
            retry_peak: Some(retry_peak),
            ..Metrics::default()
        }
    }

    fn judged(others: &[&dyn Fn(f64) -> Metrics]) -> Against {
        let base = |noise: f64| run(100.0 + noise, 2.0 + noise / 100.0, 1.0);
        let file = CompareFile {
            strategies: (0..=others.len()).map(|n| Plugin::named(&format!("s{n}"))).collect(),
            ..CompareFile::default()
        };
        let noise = |n: u32| f64::from(n * 7 % 20);
        let mut runs = vec![(0..20).map(|n| base(noise(n))).collect::<Vec<_>>()];
        runs.extend(others.iter().map(|other| (0..20).map(|n| other(noise(n))).collect()));
        judge("t".into(), &file, runs, 1_000.0)
    }

    #[test]
    fn a_real_difference_is_found_and_noise_is_not() {
        let against = judged(&[
            &|noise| run(80.0 + noise, 2.0 + noise / 100.0, 1.0),
            &|noise| run(119.0 - noise, 2.0, 1.0),
            &|noise| run(103.0 + noise, 2.0, 1.0),
            &|_| run(5_000.0, 9.0, 3.0),
        ]);
        let t99 = |index: usize| against.strategies[index].effects[0].clone();
        assert_eq!((t99(1).verdict, t99(1).difference.median), (Finding::Better, -20.0));
        assert_eq!(t99(2).verdict, Finding::NoClearDifference, "{:?}", t99(2));
        assert_eq!(t99(3).verdict, Finding::NoClearDifference, "clear, and within 5 %: {:?}", t99(3));
        assert_eq!((t99(4).verdict, t99(4).a12), (Finding::Worse, 1.0));
        assert_eq!((against.strategies[4].unreached, against.strategies[4].median.t99_s), (20, None));
        assert!(against.strategies[0].effects.is_empty());
        let front: Vec<bool> = against.strategies.iter().map(|standing| standing.pareto).collect();
        assert_eq!(front, [false, true, true, false, false]);
    }
}
