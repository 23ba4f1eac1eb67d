//! Do devices act together, and does each get its share?

use std::f64::consts::TAU;

/// Rayleigh's R: how much instants fall together in a cycle of `period`. 1 is lockstep, near 0 is no rhythm. `None`
/// without instants. Instants come as `(time, how often)`.
pub fn rayleigh_r(instants: &[(f64, f64)], period: f64) -> Option<f64> {
    let (mut x, mut y, mut n) = (0.0, 0.0, 0.0);
    for (time, count) in instants {
        let (sin, cos) = (TAU * time / period).sin_cos();
        (x, y, n) = (x + count * cos, y + count * sin, n + count);
    }
    (n > 0.0).then(|| f64::hypot(x, y) / n)
}

/// The largest [`rayleigh_r`] over whole periods from 1 to `period_max`, and its period.
pub fn rayleigh_max(instants: &[(f64, f64)], period_max: u32) -> Option<(f64, u32)> {
    (1..=period_max)
        .filter_map(|period| Some((rayleigh_r(instants, f64::from(period))?, period)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

/// Jain's index of fairness (1984): 1 if all values are equal, 1/n if one has everything. `None` without a positive
/// value.
pub fn jain(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        (n, sum, squares) = (n + 1.0, sum + value, squares + value * value);
    }
    (squares > 0.0).then(|| sum * sum / (n * squares))
}

#[cfg(test)]
mod tests {
    use fleetstorm_model::random::{Purpose, Seed};

    use super::*;

    /// tests/fixtures/statistics.py: 1 - SciPy's `circvar`, and Jain's formula in numpy.
    #[test]
    fn synchrony_and_fairness_are_those_of_scipy_and_numpy() {
        let times = [0.1, 0.2, 0.25, 1.15, 2.3, 3.9];
        let instants = times.map(|time| (time, 1.0));
        let (r, fairness) = include!("../../tests/fixtures/shape.in");
        assert!((rayleigh_r(&instants, 1.0).unwrap() - r).abs() < 1e-9);
        assert!((jain(times.into_iter()).unwrap() - fairness).abs() < 1e-12);
    }

    #[test]
    fn lockstep_is_found_at_its_period_and_noise_at_none() {
        // Every seven seconds, within one second.
        let jitter = |n| Seed(1).fraction(Purpose::Resample, n, 0);
        let lockstep: Vec<_> = (0..500).map(|n| (f64::from(n) * 7.0 + jitter(n), 1.0)).collect();
        let (r, _) = rayleigh_max(&lockstep, 6).unwrap();
        assert!(r < 0.2, "{r}");
        let (r, period) = rayleigh_max(&lockstep, 13).unwrap();
        assert!(r > 0.95 && period == 7, "{r} at {period}");
        assert_eq!((rayleigh_max(&[], 9), jain([0.0].into_iter())), (None, None));
        assert_eq!(jain([1.0, 0.0, 0.0, 0.0].into_iter()), Some(0.25));
    }
}
