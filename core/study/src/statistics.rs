//! The statistics of a comparison (`strategies` 5.3).
//!
//! The replicate is the run, never the device: devices of one run share one quota, and tests on their ten thousand
//! waits would find a difference anywhere. Every method is tested against another implementation; the fixture names
//! the command that made it.

mod paired;
mod shape;
mod survival;

pub use paired::sign_flip_while;
pub use paired::{a12, bootstrap_interval, holm, paired_difference, sign_flip_p};
pub use shape::jain;
pub use survival::{Ending, Step, cumulative_incidence, kaplan_meier, restricted_mean};

/// The quantile of sorted values with straight lines between them (Hyndman and Fan, type 7, numpy's default); `None`
/// without values.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[at as usize], sorted[at.ceil() as usize]);
    // Between two infinities there is no line.
    Some(if low == high { low } else { low + (high - low) * at.fract() })
}

/// The median of values in any order; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `python3 -c "import numpy as np; print(np.quantile([1,2,4,8,16],[0,.1,.5,.9,1]))"`
    #[test]
    fn quantiles_are_those_of_numpy() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0];
        let found = [0.0, 0.1, 0.5, 0.9, 1.0].map(|share| quantile(&values, share));
        let expected = [1.0, 1.4, 4.0, 12.8, 16.0];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found.unwrap() - expected).abs() < 1e-12);
        }
        assert_eq!((quantile(&[], 0.5), median(&[3.0, 1.0])), (None, Some(2.0)));
        assert_eq!(quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.75), Some(f64::INFINITY));
    }
}
