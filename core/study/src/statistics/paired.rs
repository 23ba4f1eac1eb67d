//! Is the difference real? Runs with the same seed are pairs.

use std::ops::ControlFlow;

use fleetstorm_reports::analysis::Difference;
use fleetstorm_units::random::{Purpose, Seed};

/// Signs that are drawn where there are too many pairs to try every choice of them.
const DRAWS: u32 = 100_000;
/// Draws as extreme as the observed sum after which their share is known well enough (Besag and Clifford, 1991).
const HITS_MAX: u32 = 1_000;
/// Draws between two looks whether the answer is still wanted.
const LOOK_EVERY: u32 = 256;

/// The median of paired differences with its 95 % interval, where each difference is known to lie from the one number to
/// the other: the same number where it is known exactly, infinite where it has no bound. `None` without pairs.
///
/// The median of the lower ends is the least that the median can be, and the interval's lower end is that of the lower
/// ends; likewise above.
pub fn paired_difference(differences: &[(f64, f64)]) -> Option<Difference> {
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let mut sorted: Vec<f64> = differences.iter().map(of).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let interval = bootstrap_interval(&sorted)?;
        Some((middle(&sorted)?, interval))
    };
    if differences.iter().any(|(least, most)| least.is_nan() || most.is_nan()) {
        return None;
    }
    let (least, (low, _)) = ends(|difference| difference.0)?;
    let (most, (_, high)) = ends(|difference| difference.1)?;
    let known = |value: f64| value.is_finite().then_some(value);
    Some(Difference {
        median: known(least).filter(|_| least == most),
        at_least: known(least),
        at_most: known(most),
        low: known(low),
        high: known(high),
    })
}

/// The median of sorted values; infinite where one of the two in the middle is.
fn middle(sorted: &[f64]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    Some(mean(sorted[last / 2], sorted[sorted.len() / 2]))
}

fn mean(a: f64, b: f64) -> f64 {
    if a == b { a } else { a / 2.0 + b / 2.0 }
}

/// Sorted values of an even number up to which the whole distribution is added up.
const EXACT_MAX: usize = 200;

/// The 95 % percentile bootstrap interval (Efron, 1979) of the median of sorted values: of all resamples, not of some
/// (Maritz and Jarrett, 1978). `None` without values.
///
/// A resample's median is at most the k-th value if more than half of its draws are among the first k, which is a
/// binomial's tail.
pub fn bootstrap_interval(sorted: &[f64]) -> Option<(f64, f64)> {
    const LOW: f64 = 0.025;
    let n = sorted.len();
    if n == 0 {
        return None;
    }
    let tails = Tails::of(n);
    if n.is_multiple_of(2) && n <= EXACT_MAX {
        let shares = halves(sorted, &tails);
        return Some((reached(&shares, LOW), reached(&shares, 1.0 - LOW)));
    }
    // Of an even number of values the median lies between the two in the middle, a value apart.
    let (lower, upper) = (n.div_ceil(2), n / 2 + 1);
    let at = |least: usize, share: f64| {
        let place = first(n, &|k| tails.at_least(least, k) >= share - 1e-12);
        sorted[place.max(1) - 1]
    };
    Some((at(lower, LOW), at(upper, 1.0 - LOW)))
}

/// The smallest value up to which this share of the distribution lies.
fn reached(shares: &[(f64, f64)], share: f64) -> f64 {
    let mut sum = 0.0;
    let found = shares.iter().find(|(_, weight)| {
        sum += weight;
        sum >= share - 1e-12
    });
    found.or(shares.last()).map_or(f64::NAN, |(value, _)| *value)
}

/// The medians of all resamples of an even number of values, ascending, and how likely each is.
fn halves(sorted: &[f64], tails: &Tails) -> Vec<(f64, f64)> {
    let (n, half) = (sorted.len(), sorted.len() / 2);
    let power = |k: usize| (k as f64 / n as f64).powi(half as i32);
    let choose = (tails.ln_choose(half)).exp();
    let mut shares = Vec::with_capacity(n * (n + 1) / 2);
    for one in 1..=n {
        // Half of the draws are among the first `one` values, one of them the last of these.
        let below = choose * (power(one) - power(one - 1));
        for other in one + 1..=n {
            let above = power(n + 1 - other) - power(n - other);
            shares.push((mean(sorted[one - 1], sorted[other - 1]), below * above));
        }
        let lower_is_one = tails.at_least(half, one) - tails.at_least(half, one - 1);
        shares.push((sorted[one - 1], (lower_is_one - below * power(n - one)).max(0.0)));
    }
    shares.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    shares
}

/// The first `k` from 1 to `n` for which something holds that holds for all later ones.
fn first(n: usize, holds: &dyn Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (1, n);
    while low < high {
        let k = usize::midpoint(low, high);
        if holds(k) {
            high = k;
        } else {
            low = k + 1;
        }
    }
    low
}

/// Tails of the binomial distribution of `n` draws.
struct Tails {
    /// The logarithms of the factorials up to `n`.
    ln_factorial: Vec<f64>,
}

impl Tails {
    fn of(n: usize) -> Self {
        let mut sum = 0.0;
        let ln_factorial = std::iter::once(0.0).chain((1..=n).map(|k| {
            sum += (k as f64).ln();
            sum
        }));
        Self { ln_factorial: ln_factorial.collect() }
    }

    fn n(&self) -> usize {
        self.ln_factorial.len() - 1
    }

    fn ln_choose(&self, k: usize) -> f64 {
        self.ln_factorial[self.n()] - self.ln_factorial[k] - self.ln_factorial[self.n() - k]
    }

    /// How likely at least `least` of the draws are among `k` of `n` values.
    fn at_least(&self, least: usize, k: usize) -> f64 {
        let n = self.n();
        if k == 0 || k == n {
            return if k == n || least == 0 { 1.0 } else { 0.0 };
        }
        let share = k as f64 / n as f64;
        let (ln_in, ln_out) = (share.ln(), (1.0 - share).ln());
        let term =
            |hits: usize| (self.ln_choose(hits) + hits as f64 * ln_in + (n - hits) as f64 * ln_out).exp();
        (least..=n).map(term).sum::<f64>().min(1.0)
    }
}

/// The probability that a random value of `a` is above one of `b`, ties counting half (Vargha and Delaney, 2000):
/// 0.5 is no effect, 0 and 1 are the largest. `None` if either is empty.
pub fn a12(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let above = |(x, y): (&f64, &f64)| match x.total_cmp(y) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let sum: f64 = a.iter().flat_map(|x| b.iter().map(move |y| above((x, y)))).sum();
    Some(sum / (a.len() * b.len()) as f64)
}

/// The two-sided p-value of Fisher's randomisation test for pairs: how often the mean difference is as large if the
/// sign of each is a coin's. Exact for up to 20 pairs that differ, otherwise by keyed draws.
pub fn sign_flip_p(differences: &[f64], seed: u64) -> f64 {
    sign_flip_while(differences, seed, &|| true).unwrap_or(1.0)
}

/// As [`sign_flip_p`]; `None` once the answer is no longer wanted.
pub fn sign_flip_while(differences: &[f64], seed: u64, wanted: &dyn Fn() -> bool) -> Option<f64> {
    let moved: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    if moved.is_empty() || moved.iter().any(|difference| !difference.is_finite()) {
        return Some(1.0);
    }
    // What rounding makes of an equal sum must still count as equal.
    let observed = moved.iter().sum::<f64>().abs() * (1.0 - 1e-12);
    if moved.len() <= 20 {
        return Some(exact_p(&moved, observed));
    }
    let counted = (0..DRAWS).try_fold(0, |hits, draw| {
        if draw.is_multiple_of(LOOK_EVERY) && !wanted() {
            return ControlFlow::Break(None);
        }
        let hits = hits + u32::from(flipped(&moved, seed, draw).abs() >= observed);
        match hits {
            HITS_MAX => ControlFlow::Break(Some(f64::from(hits) / f64::from(draw + 1))),
            _ => ControlFlow::Continue(hits),
        }
    });
    match counted {
        ControlFlow::Continue(hits) => Some((f64::from(hits) + 1.0) / (f64::from(DRAWS) + 1.0)),
        ControlFlow::Break(known) => known,
    }
}

/// The sum of the values under drawn signs, 64 of them a draw.
fn flipped(values: &[f64], seed: u64, draw: u32) -> f64 {
    let signed = |(word, values): (u32, &[f64])| {
        let signs = Seed(seed).draw(Purpose::Resample, draw, word);
        let one = |(bit, value): (u32, &f64)| if signs >> bit & 1 == 0 { *value } else { -*value };
        (0..).zip(values).map(one).sum::<f64>()
    };
    (0..).zip(values.chunks(64)).map(signed).sum()
}

/// The share of all choices of signs with a sum of at least `observed`, by halves: for each sum of the one half, those
/// of the other that go with it lie at the two ends of their order.
fn exact_p(values: &[f64], observed: f64) -> f64 {
    let (one, other) = values.split_at(values.len() / 2);
    let (one, mut other) = (signed_sums(one), signed_sums(other));
    other.sort_unstable_by(f64::total_cmp);
    let extreme = |sum: &f64| {
        let low = other.partition_point(|more| sum + more <= -observed);
        let high = other.partition_point(|more| sum + more < observed);
        // Where nothing counts as observed, the ends overlap.
        (low + other.len() - high).min(other.len())
    };
    one.iter().map(extreme).sum::<usize>() as f64 / (1u64 << values.len()) as f64
}

/// The sums of the values under all choices of their signs.
fn signed_sums(values: &[f64]) -> Vec<f64> {
    values
        .iter()
        .fold(vec![0.0], |sums, value| sums.iter().flat_map(|sum| [sum + value, sum - value]).collect())
}

/// p-values adjusted for their number, after Holm (1979), in the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max((p[index] * (p.len() - rank) as f64).min(1.0));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIFFERENCES: [f64; 12] = [1.2, -0.4, 2.5, 0.9, 3.1, -1.0, 0.3, 1.8, 2.2, 0.0, 1.1, -0.2];

    fn exactly(differences: &[f64]) -> Vec<(f64, f64)> {
        differences.iter().map(|difference| (*difference, *difference)).collect()
    }

    /// tests/fixtures/statistics.py: SciPy's `bootstrap(..., method="percentile")` with 200,000 resamples.
    #[test]
    fn the_interval_is_that_of_scipy() {
        let found = paired_difference(&exactly(&DIFFERENCES)).unwrap();
        let (low, high) = include!("../../tests/fixtures/bootstrap.in");
        assert!((found.median.unwrap() - 1.0).abs() < 1e-12);
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 0.11;
        assert!(near(found.low, low) && near(found.high, high), "{found:?} {low} {high}");
        assert_eq!(paired_difference(&[]), None);
        assert_eq!(paired_difference(&[(1.0, f64::NAN)]), None);
    }

    /// Every resample there is, drawn one after the other.
    fn by_brute_force(sorted: &[f64]) -> (f64, f64) {
        let n = sorted.len();
        let mut medians: Vec<f64> = (0..n.pow(n as u32))
            .map(|mut number| {
                let mut resample: Vec<f64> = (0..n)
                    .map(|_| {
                        let place = number % n;
                        number /= n;
                        sorted[place]
                    })
                    .collect();
                resample.sort_unstable_by(f64::total_cmp);
                middle(&resample).unwrap()
            })
            .collect();
        medians.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| medians[((medians.len() as f64 * share - 1e-9).ceil() as usize).max(1) - 1];
        (at(0.025), at(0.975))
    }

    #[test]
    fn the_interval_is_that_of_all_resamples() {
        for values in [
            &[2.0][..],
            &[-1.0, 4.0],
            &[-3.0, 0.5, 9.0],
            &[1.0, 2.0, 2.0, 7.0],
            &[-5.0, -1.0, 0.0, 3.0, 11.0],
            &[0.0, 1.0, 3.0, 7.0, 15.0, 31.0],
            &[-9.0, 0.0, 1.0, 3.0, 7.0, 15.0, 31.0],
            &[f64::NEG_INFINITY, 0.0, 1.0, 3.0, 7.0, 15.0],
        ] {
            assert_eq!(bootstrap_interval(values), Some(by_brute_force(values)), "{values:?}");
        }
        // Where the distribution is no longer added up, the interval goes on as it was.
        let many = |n: u32| bootstrap_interval(&(0..n).map(f64::from).collect::<Vec<_>>()).unwrap();
        let ((low, high), (more_low, more_high)) = (many(200), many(202));
        assert!((low - more_low).abs() < 2.0 && (more_high - high).abs() < 4.0);
        let (low, high) = many(10_001);
        let expected = 1.96 * (10_001f64 / 4.0).sqrt();
        assert!((5_000.0 - low - expected).abs() < 3.0 && (high - 5_000.0 - expected).abs() < 3.0);
    }

    /// A T99 that was not reached by the horizon of 100: whatever it is, the median lies within the bounds.
    #[test]
    fn differences_from_times_that_were_not_reached_are_bounds() {
        const OPEN: f64 = f64::INFINITY;
        let told = |differences: &[(f64, f64)]| paired_difference(differences).unwrap();
        let one_sided = told(&[(2.6, OPEN); 20]);
        assert_eq!((one_sided.median, one_sided.at_least, one_sided.at_most), (None, Some(2.6), None));
        assert_eq!((one_sided.low, one_sided.high), (Some(2.6), None));
        let other = told(&[(-OPEN, -3.0); 7]);
        assert_eq!((other.at_least, other.at_most, other.high), (None, Some(-3.0), Some(-3.0)));
        let nothing = told(&[(-OPEN, OPEN); 5]);
        assert_eq!(nothing, Difference::default());
        // A minority that is not known does not move the median, and may open its interval.
        let few = told(&[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (90.0, OPEN)]);
        assert_eq!((few.median, few.high), (Some(3.0), None));
        let mixed = told(&[(-OPEN, -5.0), (1.0, 1.0), (2.0, OPEN)]);
        assert_eq!((mixed.median, mixed.low, mixed.high), (Some(1.0), None, None));
    }

    proptest! {
        #[test]
        fn whatever_the_unknown_is_its_median_lies_within_the_bounds(
            pairs in prop::collection::vec((1..300u32, 1..300u32), 1..12),
        ) {
            // Times above the horizon were not reached: only the true ones know.
            const HORIZON: f64 = 150.0;
            let (mut differences, mut truth) = (Vec::new(), Vec::new());
            for (own, base) in pairs {
                let (own, base) = (f64::from(own), f64::from(base));
                truth.push(own - base);
                let seen = |time: f64| if time <= HORIZON { (time, time) } else { (HORIZON, f64::INFINITY) };
                let (own, base) = (seen(own), seen(base));
                differences.push((own.0 - base.1, own.1 - base.0));
            }
            let found = paired_difference(&differences).unwrap();
            truth.sort_unstable_by(f64::total_cmp);
            let median = middle(&truth).unwrap();
            prop_assert!(found.at_least.is_none_or(|least| least <= median + 1e-9), "{found:?} {median}");
            prop_assert!(found.at_most.is_none_or(|most| most >= median - 1e-9), "{found:?} {median}");
            prop_assert!(found.median.is_none_or(|known| (known - median).abs() < 1e-9));
            let (low, high) = bootstrap_interval(&truth).unwrap();
            prop_assert!(found.low.is_none_or(|bound| bound <= low + 1e-9));
            prop_assert!(found.high.is_none_or(|bound| bound >= high - 1e-9));
        }
    }

    /// tests/fixtures/statistics.py: A12 is U / (n m) of SciPy's `mannwhitneyu`.
    #[test]
    fn the_effect_size_is_the_u_statistic_of_scipy() {
        let (a, b) = ([1.0, 3.0, 5.0, 5.0, 9.0], [2.0, 3.0, 4.0, 5.0]);
        assert!((a12(&a, &b).unwrap() - include!("../../tests/fixtures/a12.in")).abs() < 1e-12);
        assert_eq!((a12(&a, &a), a12(&[], &b)), (Some(0.5), None));
    }

    /// tests/fixtures/statistics.py: SciPy's exact `permutation_test(..., permutation_type="samples")`.
    #[test]
    fn the_randomisation_test_is_that_of_scipy() {
        let expected = include!("../../tests/fixtures/sign_flip.in");
        assert!((sign_flip_p(&DIFFERENCES, 1) - expected).abs() < 1e-9, "{}", sign_flip_p(&DIFFERENCES, 1));
        let many: Vec<f64> = DIFFERENCES.iter().cycle().take(60).map(|d| d - 1.0).collect();
        let p = sign_flip_p(&many, 1);
        assert!((0.3..1.0).contains(&p), "{p}");
        assert_eq!(sign_flip_p(&[0.0, 0.0], 1), 1.0);
        assert_eq!(sign_flip_while(&many, 1, &|| false), None);
        // Of 25 equal differences the two choices with one sign are as extreme: 2 in 2^25, below what draws can tell.
        assert!(sign_flip_p(&[1.0; 25], 1) < 2e-5);
        // Drawn and exact agree where both can be had: zeros only make the list long enough to be looked at again.
        let exact = sign_flip_p(&DIFFERENCES, 1);
        let drawn = (0..20_000).filter(|draw| {
            flipped(&DIFFERENCES, 3, *draw).abs() >= DIFFERENCES.iter().sum::<f64>() * (1.0 - 1e-12)
        });
        let drawn = drawn.count() as f64 / 20_000.0;
        assert!((drawn - exact).abs() < 5.0 * (exact / 20_000.0).sqrt(), "{drawn} {exact}");
    }

    proptest! {
        #[test]
        fn halves_find_what_trying_every_choice_finds(
            steps in prop::collection::vec(prop_oneof![1..5i32, -5..0i32], 1..=11),
        ) {
            prop_assume!(steps.iter().sum::<i32>() != 0);
            let values: Vec<f64> = steps.iter().map(|step| f64::from(*step) * 0.1).collect();
            let observed = values.iter().sum::<f64>().abs() * (1.0 - 1e-12);
            let extreme = |signs: &u32| {
                let sum: i32 = (0..).zip(&steps).map(|(at, step)| if signs >> at & 1 == 0 { *step } else { -step }).sum();
                sum.abs() >= steps.iter().sum::<i32>().abs()
            };
            let all = 1u32 << steps.len();
            let share = (0..all).filter(extreme).count() as f64 / f64::from(all);
            prop_assert!((exact_p(&values, observed) - share).abs() < 1e-12);
        }
    }

    /// tests/fixtures/statistics.py: by Holm's definition in numpy.
    #[test]
    fn adjusted_p_values_are_those_of_holm() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005, 0.6]);
        for (found, expected) in adjusted.iter().zip(include!("../../tests/fixtures/holm.in")) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
    }
}
