//! Which differences between strategies are real.
//!
//! Everything that is tested against one throttle is one family: every strategy against the baseline in each of the
//! tested numbers, and every pair of strategies in T99. Its p-values are adjusted together, so that a wrong claim
//! anywhere in a throttle's tables has a chance of 5 % at most.

use fleetstorm_engine::{Control, RunError};
use fleetstorm_reports::analysis::{
    Against, Difference, Effect, Finding, Metrics, Pair, SIGNIFICANT, seeds_needed,
};

use crate::statistics::{a12, holm, median, paired_difference, sign_flip_while};
use crate::trial::{Left, Stop, Timing, run_jobs};

/// The numbers that are tested, and that span the Pareto front. The first one is the headline.
const TESTED: [&str; 3] = [T99, "amplification", "retry_peak"];
const T99: &str = "t99_s";

/// What is known of a number of a run: it lies from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    least: f64,
    most: f64,
}

/// A number of a run as it stands in its record.
fn value(run: &Metrics, metric: &str) -> Option<f64> {
    Metrics::FIELDS.iter().find(|(name, _)| *name == metric).and_then(|(_, field)| field(run))
}

/// What is known of a number: a time that was not reached is at least the horizon, and without a single hub there is no
/// bound for what a success costs.
fn known(run: &Metrics, metric: &str, horizon_s: f64) -> Known {
    match value(run, metric) {
        Some(value) => Known { least: value, most: value },
        None => Known { least: if metric == T99 { horizon_s } else { 0.0 }, most: f64::INFINITY },
    }
}

/// Two strategies in one number.
struct Test {
    throttle: usize,
    metric: &'static str,
    one: usize,
    other: usize,
}

/// What came of it, before it is adjusted.
struct Tested {
    difference: Difference,
    a12: f64,
    p: f64,
    /// The value of the other one below a share of which nothing matters.
    scale: f64,
}

/// Judges what stands against each throttle. Says what ended it, if it did not come to its end: then nothing is judged.
pub(super) fn judge(
    against: &mut [Against],
    margin: f64,
    horizon_s: f64,
    control: &Control,
) -> Result<Option<Stop>, RunError> {
    let tests: Vec<Test> =
        against.iter().enumerate().flat_map(|(throttle, against)| family(throttle, against)).collect();
    let places: Vec<usize> = (0..tests.len()).collect();
    control.tell(|progress| progress.known = format!("testing {} differences", tests.len()));
    // Tests are no runs.
    let (runs, silent) = (&*against, control.stage());
    let done = run_jobs(&places, Timing::Virtual, &silent, |place| {
        let Test { throttle, metric, one, other } = &tests[place];
        let runs = |strategy: usize| &*runs[*throttle].strategies[strategy].runs;
        test(runs(*one), runs(*other), metric, horizon_s, control).ok_or(Left::Stopped(Stop::Interrupted))
    })?;
    if done.stopped.is_some() {
        return Ok(done.stopped);
    }
    let found: Vec<Tested> = done.results.into_iter().flatten().collect();
    let mut found = tests.into_iter().zip(found).peekable();
    for (throttle, against) in against.iter_mut().enumerate() {
        let mut own = Vec::new();
        while let Some(test) = found.next_if(|(test, _)| test.throttle == throttle) {
            own.push(test);
        }
        conclude(against, own, margin);
    }
    Ok(None)
}

/// Everything that is tested against one throttle. A number that no run of two strategies has is none.
fn family(throttle: usize, against: &Against) -> Vec<Test> {
    let strategies = against.strategies.len();
    let has = |strategy: usize, metric| {
        against.strategies[strategy].runs.iter().any(|run| value(run, metric).is_some())
    };
    let effects = TESTED.into_iter().flat_map(|metric| {
        (1..strategies)
            .filter(move |one| metric == T99 || has(0, metric) || has(*one, metric))
            .map(move |one| Test { throttle, metric, one, other: 0 })
    });
    let pairs = (1..strategies)
        .flat_map(|one| (one + 1..strategies).map(move |other| Test { throttle, metric: T99, one, other }));
    effects.chain(pairs).collect()
}

/// `None` once the answer is no longer wanted.
fn test(
    one: &[Metrics],
    other: &[Metrics],
    metric: &str,
    horizon_s: f64,
    control: &Control,
) -> Option<Tested> {
    let known =
        |runs: &[Metrics]| -> Vec<Known> { runs.iter().map(|run| known(run, metric, horizon_s)).collect() };
    let (one, other) = (known(one), known(other));
    let differences: Vec<(f64, f64)> =
        one.iter().zip(&other).map(|(one, other)| (one.least - other.most, one.most - other.least)).collect();
    // Equality is tested on the numbers up to a bound that both sides share, which keeps pairs exchangeable: what lies
    // beyond it is a tie.
    let exact = one.iter().chain(&other).filter(|known| known.most.is_finite()).map(|known| known.least);
    let bound = if metric == T99 { horizon_s } else { exact.fold(0.0, f64::max) };
    let bounded = |known: &[Known]| -> Vec<f64> { known.iter().map(|known| known.most.min(bound)).collect() };
    let (one, other) = (bounded(&one), bounded(&other));
    let moved: Vec<f64> = one.iter().zip(&other).map(|(one, other)| one - other).collect();
    Some(Tested {
        difference: paired_difference(&differences).unwrap_or_default(),
        a12: a12(&one, &other).unwrap_or(0.5),
        p: sign_flip_while(&moved, 1, &|| !control.is_interrupted())?,
        scale: median(&other).unwrap_or(0.0).abs(),
    })
}

/// Adjusts what was tested against one throttle, and says what follows.
fn conclude(against: &mut Against, tested: Vec<(Test, Tested)>, margin: f64) {
    let p: Vec<f64> = tested.iter().map(|(_, tested)| tested.p).collect();
    let seeds = against.strategies.first().map_or(0, |standing| standing.runs.len());
    let is_enough = seeds as u64 >= u64::from(seeds_needed(tested.len()));
    for ((test, tested), p) in tested.into_iter().zip(holm(&p)) {
        let Tested { difference, a12, scale, .. } = tested;
        let verdict = finding(&difference, p, margin * scale, is_enough);
        let Test { metric, one, other, .. } = test;
        if metric == T99 {
            against.pairs.push(as_pair(one, other, difference, p, verdict));
        }
        if other == 0 {
            let effect = Effect { metric: metric.to_owned(), difference, a12, p, verdict };
            against.strategies[one].effects.push(effect);
        }
    }
    against.pairs.sort_by_key(|pair| (pair.one, pair.other));
}

fn finding(difference: &Difference, p: f64, margin: f64, is_enough: bool) -> Finding {
    if p < SIGNIFICANT && difference.is_clear(margin) {
        let is_larger = difference.low.is_some_and(|low| low > 0.0);
        return if is_larger { Finding::Worse } else { Finding::Better };
    }
    if is_enough && difference.is_exact() { Finding::NoClearDifference } else { Finding::Undecided }
}

/// A pair names the strategy first that stands first.
fn as_pair(one: usize, other: usize, difference: Difference, p: f64, verdict: Finding) -> Pair {
    if one < other {
        return Pair { one, other, difference, p, verdict };
    }
    let minus = |value: Option<f64>| value.map(|value| 0.0 - value);
    let Difference { median, at_least, at_most, low, high } = difference;
    let difference = Difference {
        median: minus(median),
        at_least: minus(at_most),
        at_most: minus(at_least),
        low: minus(high),
        high: minus(low),
    };
    let verdict = match verdict {
        Finding::Better => Finding::Worse,
        Finding::Worse => Finding::Better,
        same @ (Finding::NoClearDifference | Finding::Undecided) => same,
    };
    Pair { one: other, other: one, difference, p, verdict }
}

/// Whether `a` is at least as good as `b` in every tested number and better in one.
pub(super) fn dominates(a: &Metrics, b: &Metrics) -> bool {
    let value = |run, metric| value(run, metric).unwrap_or(f64::INFINITY);
    let pairs = TESTED.map(|metric| (value(a, metric), value(b, metric)));
    pairs.iter().all(|(a, b)| a <= b) && pairs.iter().any(|(a, b)| a < b)
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::analysis::Outcome;
    use fleetstorm_scenario::{CompareFile, Plugin};

    use super::super::{conclusion, standings};
    use super::*;

    const HORIZON_S: f64 = 1_000.0;

    fn run(t99_s: f64, amplification: f64, retry_peak: f64) -> Metrics {
        let reached = (t99_s < HORIZON_S).then_some(t99_s);
        Metrics {
            t99_s: reached,
            t100_s: reached,
            amplification: Some(amplification),
            retry_peak: Some(retry_peak),
            ..Metrics::default()
        }
    }

    /// Strategies against one throttle; each makes a run from its seed's chance.
    fn judged(strategies: &[&dyn Fn(f64) -> Metrics], seeds: u32) -> Against {
        let file = CompareFile {
            strategies: (0..strategies.len()).map(|n| Plugin::named(&format!("s{n}"))).collect(),
            ..CompareFile::default()
        };
        let chance = |seed: u32| f64::from(seed * 7 % 20);
        let runs = strategies.iter().map(|of| (0..seeds).map(|seed| of(chance(seed))).collect()).collect();
        let mut against = [standings("t".to_owned(), &file, runs)];
        assert_eq!(judge(&mut against, 0.05, HORIZON_S, &Control::default()).unwrap(), None);
        let [against] = against;
        against
    }

    fn base(noise: f64) -> Metrics {
        run(100.0 + noise, 2.0 + noise / 100.0, 1.0)
    }

    #[test]
    fn a_real_difference_is_found_and_noise_is_not() {
        let against = judged(
            &[
                &base,
                &|noise| run(80.0 + noise, 2.0 + noise / 100.0, 1.0),
                &|noise| run(119.0 - noise, 2.0, 1.0),
                &|noise| run(103.0 + noise, 2.0, 1.0),
                &|_| run(5_000.0, 9.0, 3.0),
            ],
            20,
        );
        let t99 = |index: usize| against.strategies[index].effects[0].clone();
        assert_eq!((t99(1).verdict, t99(1).difference.median), (Finding::Better, Some(-20.0)));
        assert_eq!(t99(2).verdict, Finding::NoClearDifference, "{:?}", t99(2));
        assert_eq!(t99(3).verdict, Finding::NoClearDifference, "clear, and within 5 %: {:?}", t99(3));
        assert_eq!((t99(4).verdict, t99(4).a12), (Finding::Worse, 1.0), "whatever it is, it is later");
        assert_eq!(t99(4).difference.median, None);
        assert!(t99(4).difference.at_least.unwrap() > 880.0 && t99(4).difference.at_most.is_none());
        assert_eq!((against.strategies[4].unreached, against.strategies[4].median.t99_s), (20, None));
        assert!(against.strategies[0].effects.is_empty());
        let front: Vec<bool> = against.strategies.iter().map(|standing| standing.pareto).collect();
        assert_eq!(front, [false, true, true, false, false]);
        assert_eq!(against.recommended().unwrap().strategy, "s1");

        let told: Vec<_> = against.pairs.iter().map(|pair| (pair.one, pair.other, pair.verdict)).collect();
        assert_eq!(told.len(), 10, "each pair is judged once");
        assert_eq!(told[0], (0, 1, Finding::Worse));
        assert_eq!(told[1], (0, 2, Finding::NoClearDifference));
        assert_eq!(told[3], (0, 4, Finding::Better));
        assert_eq!(against.pairs[0].difference.median, Some(20.0));
        assert!(against.pairs[3].difference.at_most.unwrap() < -880.0);
        // What the table says of the baseline, the matrix says too.
        assert!((1..5).all(|one| against.pairs[one - 1].p == t99(one).p));
        assert_eq!(against.tests(), 4 * 3 + 6);
    }

    /// What was not reached is at least the horizon: 2.6 s before it, nothing follows.
    #[test]
    fn what_no_run_reached_is_no_tie() {
        let against =
            judged(&[&|noise| run(997.4 - noise / 100.0, 2.0, 1.0), &|_| run(5_000.0, 2.0, 1.0)], 20);
        let effect = &against.strategies[1].effects[0];
        assert_eq!((effect.verdict, effect.difference.median), (Finding::Undecided, None));
        assert!((effect.difference.at_least.unwrap() - 2.6).abs() < 0.2, "{effect:?}");
        let neither = judged(&[&|_| run(5_000.0, 2.0, 1.0), &|_| run(6_000.0, 2.0, 1.0)], 20);
        let effect = &neither.strategies[1].effects[0];
        assert_eq!((effect.verdict, effect.difference), (Finding::Undecided, Difference::default()));
        assert!(neither.recommended().is_none());
        assert_eq!(conclusion(&[neither], 20, 0).0, Outcome::Failed);
    }

    #[test]
    fn who_gives_up_is_neither_recommended_nor_on_the_front() {
        let quitter =
            |noise: f64| Metrics { given_up: Some(0.01), t100_s: None, ..run(5.0 + noise, 1.0, 0.1) };
        let against = judged(&[&base, &quitter, &|_| run(5_000.0, 1.0, 0.0)], 20);
        assert_eq!(against.recommended().unwrap().strategy, "s0");
        let front: Vec<bool> = against.strategies.iter().map(|standing| standing.pareto).collect();
        assert_eq!(front, [true, false, false]);
        assert_eq!(against.strategies[1].effects[0].verdict, Finding::Better, "its T99 is what it is");
        let some = judged(&[&|noise| if noise == 3.0 { run(5_000.0, 2.0, 1.0) } else { base(noise) }], 20);
        assert!(some.recommended().is_none(), "once is enough");
    }

    #[test]
    fn too_few_seeds_decide_nothing_and_say_how_many_do() {
        let strategies: [&dyn Fn(f64) -> Metrics; 2] = [&base, &|noise| run(20.0 + noise, 1.0, 0.5)];
        let few = judged(&strategies, 6);
        assert!(few.strategies[1].effects.iter().all(|effect| effect.verdict == Finding::Undecided));
        let (outcome, why) = conclusion(&[few], 6, 0);
        assert_eq!(outcome, Outcome::Undecided);
        assert!(why.contains("takes 7"), "three tests times 2 in 2^n: {why}");
        let enough = judged(&strategies, 7);
        assert!(enough.strategies[1].effects.iter().all(|effect| effect.verdict == Finding::Better));
        assert_eq!(conclusion(&[enough], 7, 0).0, Outcome::Passed);
        assert_eq!(conclusion(&[judged(&[&base], 7)], 7, 0).0, Outcome::NoData);
    }

    /// Of strategies that do not differ, any claim in the whole table is wrong: it may happen in 5 of 100 tables.
    #[test]
    fn chance_makes_no_more_claims_than_it_may() {
        use fleetstorm_units::random::{Purpose, Seed};
        let claims = |table: u32| {
            let runs = |strategy: u32| -> Vec<Metrics> {
                let draw = |seed: u32, metric: u32| {
                    Seed(7).fraction(Purpose::Resample, table * 1_000 + strategy * 100 + seed, metric)
                };
                (0..12)
                    .map(|seed| run(100.0 + 900.0 * draw(seed, 0) * 0.9, draw(seed, 1), draw(seed, 2)))
                    .collect()
            };
            let file = CompareFile {
                strategies: (0..3).map(|n| Plugin::named(&format!("s{n}"))).collect(),
                ..CompareFile::default()
            };
            let mut against = [standings("t".to_owned(), &file, (0..3).map(runs).collect())];
            judge(&mut against, 0.0, HORIZON_S, &Control::default()).unwrap();
            let clear = |verdict: Finding| matches!(verdict, Finding::Better | Finding::Worse);
            let effects = against[0].strategies.iter().flat_map(|standing| &standing.effects);
            effects.clone().any(|effect| clear(effect.verdict))
                || against[0].pairs.iter().any(|pair| clear(pair.verdict))
        };
        let wrong = (0..200).filter(|table| claims(*table)).count();
        // Three deviations above the mean of 10.
        assert!(wrong <= 20, "{wrong} of 200");
    }
}
