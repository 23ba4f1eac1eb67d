//! Does each device get its share?

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

    /// tests/fixtures/statistics.py: Jain's formula in numpy.
    #[test]
    fn fairness_is_that_of_numpy() {
        let fairness = include!("../../tests/fixtures/shape.in");
        assert!((jain([0.1, 0.2, 0.25, 1.15, 2.3, 3.9].into_iter()).unwrap() - fairness).abs() < 1e-12);
    }

    #[test]
    fn one_that_has_everything_is_unfair() {
        assert_eq!(jain([0.0].into_iter()), None);
        assert_eq!(jain([1.0, 0.0, 0.0, 0.0].into_iter()), Some(0.25));
    }
}
