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
    fn nothing_has_neither_a_rhythm_nor_fairness() {
        assert_eq!((rayleigh_r(&[], 9.0), jain([0.0].into_iter())), (None, None));
        assert_eq!(jain([1.0, 0.0, 0.0, 0.0].into_iter()), Some(0.25));
    }
}
