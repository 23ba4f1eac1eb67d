//! Does a forecast tell the truth? And the numbers that a forecast should be made with.

use std::collections::BTreeMap;
use std::fmt;

use fleetstorm_engine::{Control, RunError};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_reports::analysis::{Conclusion, Fidelity, Outcome};
use fleetstorm_reports::record::Distribution;
use fleetstorm_scenario::{Network, Scenario};
use fleetstorm_units::time::Span;
use fleetstorm_units::{Delay, Duration};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::trial::{self, Timing, run_jobs};

/// The numbers by which a forecast is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yardsticks([Option<f64>; 4]);

const NAMES: [&str; 4] = ["t50", "t90", "t99", "attempts"];

impl Yardsticks {
    /// Those of one run.
    pub fn of(record: &Record) -> Self {
        let at = |ns: Option<u64>| ns.map(|ns| ns as f64);
        let completion = &record.completion;
        Self([
            at(completion.t50_ns),
            at(completion.t90_ns),
            at(completion.t99_ns),
            (record.devices > 0).then(|| record.totals.requests as f64 / record.devices as f64),
        ])
    }

    fn over(self, measured: Self) -> [Option<f64>; 4] {
        std::array::from_fn(|at| {
            let (own, measured) = (self.0[at]?, measured.0[at]?);
            (measured > 0.0).then(|| own / measured)
        })
    }
}

/// Forecasts with other seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ByChance {
    /// Those that were made.
    pub found: Vec<Yardsticks>,
    /// What ended them, if not all were made.
    pub stopped: Option<Outcome>,
}

/// Forecasts a scenario with the `seeds` seeds that follow its own, on all cores. An interruption leaves fewer.
///
/// # Errors
/// A run cannot start.
pub fn by_chance(
    scenario: &Scenario,
    registry: &Registry,
    seeds: u32,
    control: &Control,
) -> Result<ByChance, RunError> {
    control.tell(|progress| progress.of = u64::from(seeds));
    let seeds: Vec<u64> = (1..=u64::from(seeds)).collect();
    let done = run_jobs(&seeds, Timing::Virtual, control, |seed| {
        let scenario = Scenario { seed: scenario.seed.wrapping_add(seed), ..scenario.clone() };
        trial::run(scenario, registry, Timing::Virtual, control).map(|record| Yardsticks::of(&record))
    })?;
    let stopped = done.stopped.map(|stop| stop.outcome());
    Ok(ByChance { found: done.results.into_iter().flatten().collect(), stopped })
}

/// What a forecast is worth beside a measurement: a run that was cut short has no T99 to compare with.
fn conclude(measured: &Record, forecast: &Record, by_chance: &ByChance, has_score: bool) -> Conclusion {
    let of = |record: &Record| Outcome::from(record.verdict.result);
    let runs = 2 + by_chance.found.len() as u64;
    let (outcome, why) = match (of(measured), of(forecast), by_chance.stopped) {
        (_, _, Some(stopped)) => (stopped, "Forecasts with other seeds are missing.".to_owned()),
        (_, forecast, _) if forecast.is_partial() => {
            (forecast, "The forecast did not come to its end.".to_owned())
        }
        (measured, ..) if measured.is_partial() => (
            Outcome::Undecided,
            format!("the measured run is partial ({}): it did not come to its end.", measured.word()),
        ),
        (Outcome::Untrusted, ..) => (
            Outcome::Untrusted,
            "the measured run is not to be trusted, and so this is not either.".to_owned(),
        ),
        _ if !has_score => {
            (Outcome::NoData, "a share of the fleet was not reached, so there is no score.".to_owned())
        }
        _ => (Outcome::Passed, String::new()),
    };
    Conclusion { outcome, why, runs, runs_max: 0 }
}

/// Compares a forecast with a measured run of the same scenario, and with forecasts by other seeds.
pub fn compare(measured: &Record, forecast: &Record, by_chance: &ByChance) -> Fidelity {
    let own = Yardsticks::of(measured);
    let ratios = Yardsticks::of(forecast).over(own);
    let others: Vec<[Option<f64>; 4]> = by_chance.found.iter().map(|other| other.over(own)).collect();
    let chance: [Option<[f64; 2]>; 4] = std::array::from_fn(|at| {
        let all: Option<Vec<f64>> = others.iter().map(|ratios| ratios[at]).collect();
        let all = all?;
        Some([all.iter().copied().reduce(f64::min)?, all.iter().copied().reduce(f64::max)?])
    });
    let largest = |errors: Option<Vec<f64>>| errors.and_then(|errors| errors.into_iter().reduce(f64::max));
    let errors = ratios.iter().map(|ratio| Some((ratio.as_ref()? - 1.0).abs())).collect();
    let beyond = chance.iter().map(|chance| chance.map(|[low, high]| (low - 1.0).max(1.0 - high).max(0.0)));
    let mut codes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (record, forecast) in [(measured, false), (forecast, true)] {
        for code in &record.codes {
            let name = match (&*code.fault, code.code) {
                ("", 0) => format!("{} {}", code.operation, code.status),
                ("", six) => format!("{} {six}", code.operation),
                (fault, _) => format!("{} {fault}", code.operation),
            };
            let counts = codes.entry(name).or_default();
            *if forecast { &mut counts.1 } else { &mut counts.0 } += code.count;
        }
    }
    let score = largest(errors);
    let named = || NAMES.into_iter().map(str::to_owned);
    Fidelity {
        conclusion: conclude(measured, forecast, by_chance, score.is_some()),
        curve_distance: curve_distance(measured, forecast),
        score,
        trusted: Outcome::from(measured.verdict.result) != Outcome::Untrusted,
        unexplained: largest(beyond.collect()),
        ratios: named().zip(ratios).collect(),
        chance: named().zip(chance).collect(),
        codes,
    }
}

/// The largest distance between two completion curves, at the instants that both know.
fn curve_distance(a: &Record, b: &Record) -> f64 {
    let step_s = a.series.step_s.max(b.series.step_s).max(1) as usize;
    let curve = |record: &Record| -> Vec<f64> {
        let own_step_s = record.series.step_s.max(1) as usize;
        let mut sum = 0.0;
        let mut shares = vec![0.0; (record.series.assigned.len() * own_step_s).div_ceil(step_s)];
        for (index, count) in record.series.assigned.iter().enumerate() {
            sum += f64::from(*count) / record.devices.max(1) as f64;
            shares[index * own_step_s / step_s] = sum;
        }
        shares
    };
    let (of_a, of_b) = (curve(a), curve(b));
    // A curve that has ended stays where it is.
    let at = |curve: &[f64], index: usize| curve.get(index).or(curve.last()).copied().unwrap_or(0.0);
    (0..of_a.len().max(of_b.len()))
        .map(|index| (at(&of_a, index) - at(&of_b, index)).abs())
        .fold(0.0, f64::max)
}

/// What a measured run says about the numbers of a forecast.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The cost model: `hop` is nothing and `service` all of a request's time, because a client cannot tell them apart.
    pub network: Network,
    /// Registrations a second that a saturated throttle let through; absent if the run did not saturate it.
    pub rate_per_s: Option<f64>,
    /// Registrations that passed at once before that, to about what the rate lets through in the time that an
    /// assignment takes.
    pub burst: Option<f64>,
    /// What the data cannot say, and why.
    pub unidentified: Vec<String>,
    /// What the whole of it is worth.
    pub conclusion: Conclusion,
}

/// Points of a measured distribution.
const QUANTILES: u32 = 100;
/// Seconds of throttling below which a rate is not fitted.
const SATURATED_MIN: usize = 10;

/// Fits the cost model and the throttle to a measured run.
pub fn calibrate(record: &Record) -> Calibration {
    let mut unidentified = Vec::new();
    let fallback = Network::default();
    let connect = match merged(record, &["connect"], &["ok"]) {
        Some(histogram) => empirical(&histogram),
        None => {
            unidentified.push("connect: no connection was made; the default stays".to_owned());
            fallback.connect
        }
    };
    let requests = merged(record, &["register", "poll", "lookup"], &["ok", "throttled"]);
    let (hop, service) = match requests {
        Some(histogram) => {
            unidentified.push(
                "hop: a client sees a request's whole time, not its ways; all of it is taken for `service`"
                    .to_owned(),
            );
            (Delay::Constant { delay: Duration(Span::ZERO) }, empirical(&histogram))
        }
        None => {
            unidentified.push("hop and service: no request was answered; the defaults stay".to_owned());
            (fallback.hop, fallback.service)
        }
    };
    let fitted = throttle(record);
    match fitted {
        Some(_) => unidentified.push(
            "window: from completions alone a quota per window and a continuous one with its burst look alike".to_owned(),
        ),
        None => unidentified.push(format!(
            "rate, burst and window of the throttle: fewer than {SATURATED_MIN} seconds had 429 answers"
        )),
    }
    let (rate_per_s, burst) = fitted.unzip();
    let seen = |phases: &[&str], outcomes: &[&str]| merged(record, phases, outcomes).is_some();
    let measured = Outcome::from(record.verdict.result);
    let (outcome, why) = match measured {
        _ if !seen(&["connect"], &["ok"]) && !seen(&["register", "poll", "lookup"], &["ok", "throttled"]) => {
            (Outcome::NoData, "nothing was measured, so these are the defaults.".to_owned())
        }
        partial if partial.is_partial() => (
            Outcome::Undecided,
            format!("the measured run is partial ({}): it did not come to its end.", partial.word()),
        ),
        Outcome::Untrusted => (
            Outcome::Untrusted,
            "the measured run is not to be trusted, and so this is not either.".to_owned(),
        ),
        _ => (Outcome::Passed, String::new()),
    };
    let conclusion = Conclusion { outcome, why, runs: 1, runs_max: 1 };
    Calibration { network: Network { connect, hop, service }, rate_per_s, burst, unidentified, conclusion }
}

fn merged(record: &Record, phases: &[&str], outcomes: &[&str]) -> Option<Histogram<u64>> {
    let mut sum: Option<Histogram<u64>> = None;
    let wanted = record
        .phases
        .iter()
        .filter(|phase| phases.contains(&&*phase.phase) && outcomes.contains(&&*phase.outcome));
    for histogram in wanted.filter_map(|phase| Distribution::decode(&phase.service)) {
        match &mut sum {
            // A record of other bounds than ours is still read by its first part.
            Some(sum) => drop(sum.add(histogram)),
            None => sum = Some(histogram),
        }
    }
    sum.filter(|histogram| !histogram.is_empty())
}

fn empirical(histogram: &Histogram<u64>) -> Delay {
    let at = |n: u32| {
        let us = match n {
            0 => histogram.min(),
            n => histogram.value_at_quantile(f64::from(n) / f64::from(QUANTILES)),
        };
        Duration(Span::from_micros(us))
    };
    let mut quantiles: Vec<Duration> = (0..=QUANTILES).map(at).collect();
    // The smallest value and the first quantile are rounded differently.
    quantiles.sort_unstable();
    Delay::Empirical { quantiles }
}

/// Rate and burst: the least-squares line through the devices assigned while the throttle refused others.
fn throttle(record: &Record) -> Option<(f64, f64)> {
    let series = &record.series;
    let first = series.throttled.iter().position(|&count| count > 0)?;
    let last = series.throttled.iter().rposition(|&count| count > 0)?;
    // The first devices are assigned some seconds after they were let through; their burst is no rate.
    let lag_s = record
        .phases
        .iter()
        .find(|phase| phase.phase == "time-to-assigned")
        .map_or(0.0, |phase| phase.service.min_us as f64 / 1e6);
    let step_s = f64::from(series.step_s.max(1));
    let from = first + (2.0 * lag_s.ceil() / step_s).ceil() as usize + 2;
    let mut assigned = 0.0;
    let mut points = Vec::new();
    for (index, &count) in series.assigned.iter().enumerate() {
        assigned += f64::from(count);
        if (from..=last).contains(&index) {
            // Counts are those of the step's end.
            points.push(((index as f64 + 1.0) * step_s, assigned));
        }
    }
    if points.len() < SATURATED_MIN {
        return None;
    }
    let n = points.len() as f64;
    let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, y) in &points {
        covariance += (x - mean_x) * (y - mean_y);
        variance += (x - mean_x).powi(2);
    }
    let rate = covariance / variance;
    let burst = mean_y - rate * (mean_x - lag_s);
    (rate > 0.0).then_some((rate, burst.max(1.0)))
}

impl fmt::Display for Calibration {
    /// As TOML that a scenario can take, with what could not be identified as comments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(notice) = self.conclusion.notice() {
            writeln!(f, "# {notice}")?;
        }
        for line in &self.unidentified {
            writeln!(f, "# not identified: {line}")?;
        }
        let network = BTreeMap::from([("network", &self.network)]);
        write!(f, "{}", toml::to_string(&network).map_err(|_| fmt::Error)?)?;
        if let (Some(rate_per_s), Some(burst)) = (self.rate_per_s, self.burst) {
            write!(f, "\n[mock.throttle]\nrate = \"{:.3}/min\"\nburst = {burst:.1}\n", rate_per_s * 60.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::record::VerdictResult;

    use super::*;

    #[test]
    fn an_error_within_what_other_seeds_make_is_chance() {
        let run = |t99_ns, requests| {
            let mut record = Record { devices: 10, ..Record::empty() };
            let completion = &mut record.completion;
            (completion.t50_ns, completion.t90_ns, completion.t99_ns) = (Some(100), Some(200), t99_ns);
            record.totals.requests = requests;
            record
        };
        let measured = run(Some(400), 50);
        let others = |t99_ns: [u64; 3], requests| ByChance {
            found: t99_ns.map(|at| Yardsticks::of(&run(Some(at), requests))).into(),
            stopped: None,
        };
        let found = compare(&measured, &run(Some(350), 50), &others([300, 380, 500], 50));
        assert_eq!((found.score, found.unexplained), (Some(0.125), Some(0.0)), "{found}");
        assert_eq!(found.chance["t99"], Some([0.75, 1.25]));
        assert!(found.to_string().contains("0.750 to 1.250 by other seeds"), "{found}");
        assert_eq!(found.conclusion.outcome, Outcome::Passed);

        let biased = compare(&measured, &run(Some(350), 50), &others([300, 320, 380], 40));
        assert!((biased.unexplained.unwrap() - 0.2).abs() < 1e-9, "attempts are 40 of 50: {biased}");
        assert!(biased.to_string().contains("does not explain 20.0 %"), "{biased}");
        let alone = ByChance::default();
        assert_eq!(compare(&measured, &measured, &alone).unexplained, None);
        let mut late = measured.clone();
        late.verdict.result = VerdictResult::Untrusted;
        let untrusted = compare(&late, &measured, &alone);
        assert!(untrusted.to_string().contains("not to be trusted"));
        assert_eq!(untrusted.conclusion.outcome, Outcome::Untrusted);
        assert!(compare(&measured, &late, &alone).trusted);
        let unreached = compare(&measured, &run(None, 50), &others([300, 320, 380], 50));
        assert_eq!((unreached.score, unreached.conclusion.outcome), (None, Outcome::NoData));
    }

    #[test]
    fn what_was_interrupted_is_partial() {
        let mut measured = Record { devices: 10, ..Record::empty() };
        let stopped = ByChance { stopped: Some(Outcome::Interrupted), ..ByChance::default() };
        let found = compare(&measured, &measured, &stopped);
        assert_eq!(found.conclusion.outcome, Outcome::Interrupted);
        assert!(found.to_string().starts_with("PARTIAL"), "{found}");
        measured.verdict.result = VerdictResult::Interrupted;
        let found = compare(&Record::empty(), &measured, &ByChance::default());
        assert_eq!(found.conclusion.outcome, Outcome::Interrupted);
        let found = compare(&measured, &Record::empty(), &ByChance::default());
        assert_eq!(
            found.conclusion.outcome,
            Outcome::Undecided,
            "it was not this command that was interrupted"
        );
        assert!(found.to_string().contains("partial"), "{found}");
        assert_eq!(calibrate(&measured).conclusion.outcome, Outcome::NoData);
        assert!(calibrate(&measured).to_string().starts_with("# NO DATA"));
    }
}
