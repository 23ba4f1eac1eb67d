//! Is the difference real? Runs with the same seed are pairs.

use fleetstorm_model::random::{Purpose, Seed};
use fleetstorm_reports::analysis::Difference;

use super::{median, quantile};

/// Resamples of a bootstrap.
const RESAMPLES: u32 = 10_000;

/// The 95 % percentile bootstrap interval (Efron, 1979) of the median of paired differences; `None` without pairs or
/// where one is no number. The draws are keyed by `seed`: the same differences always get the same interval.
pub fn paired_difference(differences: &[f64], seed: u64) -> Option<Difference> {
    if differences.iter().any(|difference| !difference.is_finite()) {
        return None;
    }
    let mut sorted = differences.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = |value: &f64| sorted.partition_point(|other| other.total_cmp(value).is_lt());
    let ranks: Vec<usize> = differences.iter().map(rank).collect();
    let n = differences.len() as u128;
    // How often each value was drawn: a median is read from the counts faster than a resample is sorted.
    let mut drawn = vec![0u32; differences.len()];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|resample| {
            drawn.fill(0);
            for at in (0..).take(differences.len()) {
                let draw = u128::from(Seed(seed).draw(Purpose::Resample, resample, at));
                drawn[ranks[((draw * n) >> 64) as usize]] += 1;
            }
            middle(&sorted, &drawn)
        })
        .collect::<Option<_>>()?;
    medians.sort_unstable_by(f64::total_cmp);
    Some(Difference {
        median: median(differences)?,
        low: quantile(&medians, 0.025)?,
        high: quantile(&medians, 0.975)?,
    })
}

/// The median of a sample that holds each of these ascending values so often; `None` without values.
fn middle(sorted: &[f64], counts: &[u32]) -> Option<f64> {
    let size: u32 = counts.iter().sum();
    let at = |rank: u32| {
        let mut seen = 0;
        let place = counts.iter().position(|count| {
            seen += count;
            seen > rank
        })?;
        sorted.get(place).copied()
    };
    quantile(&[at(size.checked_sub(1)? / 2)?, at(size / 2)?], 0.5)
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
    let moved: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    if moved.is_empty() || moved.iter().any(|difference| !difference.is_finite()) {
        return 1.0;
    }
    // What rounding makes of an equal sum must still count as equal.
    let observed = moved.iter().sum::<f64>().abs() * (1.0 - 1e-12);
    if moved.len() <= 20 {
        return exact_p(&moved, observed);
    }
    let hits = (0..RESAMPLES).filter(|&resample| {
        let signed = |(at, value): (u32, &f64)| {
            let draw = Seed(seed).draw(Purpose::Resample, resample, at);
            if draw >> 63 == 0 { *value } else { -*value }
        };
        (0..).zip(&moved).map(signed).sum::<f64>().abs() >= observed
    });
    (hits.count() as f64 + 1.0) / (f64::from(RESAMPLES) + 1.0)
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

    /// tests/fixtures/statistics.py: SciPy's `bootstrap(..., method="percentile")` with 200,000 resamples.
    #[test]
    fn the_interval_is_that_of_scipy() {
        let found = paired_difference(&DIFFERENCES, 7).unwrap();
        let (low, high) = include!("../../tests/fixtures/bootstrap.in");
        assert!((found.median - 1.0).abs() < 1e-12);
        assert!((found.low - low).abs() < 0.11 && (found.high - high).abs() < 0.11, "{found:?} {low} {high}");
        assert_eq!(found, paired_difference(&DIFFERENCES, 7).unwrap(), "the draws are keyed");
        assert_eq!(paired_difference(&[], 1), None);
        assert_eq!(paired_difference(&[1.0, f64::INFINITY], 1), None);
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

        #[test]
        fn a_median_of_counts_is_that_of_the_values(counted in prop::collection::vec((-9..9i32, 0..4u32), 1..12)) {
            let mut counted = counted;
            counted.sort_unstable();
            let (sorted, counts): (Vec<f64>, Vec<u32>) =
                counted.iter().map(|(value, count)| (f64::from(*value), *count)).unzip();
            let spelled: Vec<f64> =
                counted.iter().flat_map(|(value, count)| std::iter::repeat_n(f64::from(*value), *count as usize)).collect();
            prop_assert_eq!(middle(&sorted, &counts), median(&spelled));
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
