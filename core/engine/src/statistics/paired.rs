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
    let n = differences.len() as u128;
    let mut sample = vec![0.0; differences.len()];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|resample| {
            for (at, value) in (0..).zip(&mut sample) {
                let draw = u128::from(Seed(seed).draw(Purpose::Resample, resample, at));
                *value = differences[((draw * n) >> 64) as usize];
            }
            median(&sample)
        })
        .collect::<Option<_>>()?;
    medians.sort_unstable_by(f64::total_cmp);
    Some(Difference {
        median: median(differences)?,
        low: quantile(&medians, 0.025)?,
        high: quantile(&medians, 0.975)?,
    })
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
    let extreme = |signs: u64| {
        let signed = |(at, value): (usize, &f64)| if signs >> (at % 64) & 1 == 0 { *value } else { -*value };
        moved.iter().enumerate().map(signed).sum::<f64>().abs() >= observed
    };
    if moved.len() <= 20 {
        let all = 1u64 << moved.len();
        return (0..all).filter(|signs| extreme(*signs)).count() as f64 / all as f64;
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

    /// tests/fixtures/statistics.py: by Holm's definition in numpy.
    #[test]
    fn adjusted_p_values_are_those_of_holm() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005, 0.6]);
        for (found, expected) in adjusted.iter().zip(include!("../../tests/fixtures/holm.in")) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
    }
}
