//! Every strategy against every other one, in the number that is the headline.

use fleetstorm_reports::analysis::{Finding, Metrics, Pair};

use super::{SIGNIFICANT, tested};
use crate::statistics::{holm, median, paired_difference, sign_flip_p};

/// All pairs of strategies, whose runs are in the order of the seeds.
pub(super) fn pairs(runs: &[Vec<Metrics>], margin: f64, horizon_s: f64) -> Vec<Pair> {
    let values: Vec<Vec<f64>> = runs
        .iter()
        .map(|runs| runs.iter().map(|run| tested(run, "t99_s").unwrap_or(horizon_s)).collect())
        .collect();
    let places: Vec<(usize, usize)> =
        (0..values.len()).flat_map(|one| (one + 1..values.len()).map(move |other| (one, other))).collect();
    let differences: Vec<Vec<f64>> = places
        .iter()
        .map(|&(one, other)| values[one].iter().zip(&values[other]).map(|(a, b)| a - b).collect())
        .collect();
    let p: Vec<f64> = differences.iter().map(|differences| sign_flip_p(differences, 1)).collect();
    let judged = places.into_iter().zip(&differences).zip(holm(&p));
    judged
        .filter_map(|(((one, other), differences), p)| {
            let difference = paired_difference(differences, 1)?;
            let margin = margin * median(&values[other]).unwrap_or(0.0).abs();
            let verdict = match difference.median < 0.0 {
                _ if !difference.is_clear(margin) || p >= SIGNIFICANT => Finding::NoClearDifference,
                true => Finding::Better,
                false => Finding::Worse,
            };
            Some(Pair { one, other, difference, p, verdict })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_judged_once_and_a_tie_is_a_tie() {
        let runs = |middle: f64, slope: f64| -> Vec<Metrics> {
            let t99 = |n: u32| middle + slope * f64::from(n * 7 % 20);
            (0..20).map(|n| Metrics { t99_s: Some(t99(n)), ..Metrics::default() }).collect()
        };
        let pairs = pairs(&[runs(100.0, 1.0), runs(80.0, 1.0), runs(119.0, -1.0)], 0.05, 1_000.0);
        let told: Vec<_> = pairs.iter().map(|pair| (pair.one, pair.other, pair.verdict)).collect();
        assert_eq!(told[0], (0, 1, Finding::Worse));
        assert_eq!(told[1], (0, 2, Finding::NoClearDifference));
        assert_eq!((told[2].0, told[2].1, told.len()), (1, 2, 3));
        assert_eq!(pairs[0].difference.median, 20.0);
    }
}
