//! Distributions of times, with the draw as the quantile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::fraction;
use crate::text::Duration;
use crate::time::Span;

/// A distribution of times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Delay {
    /// Always the same.
    Constant {
        /// How long.
        delay: Duration,
    },
    /// Uniform between the two.
    Uniform {
        /// At least.
        min: Duration,
        /// At most.
        max: Duration,
    },
    /// Lognormal, cut at a maximum.
    Lognormal {
        /// Half of them are faster.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// None is slower.
        max: Duration,
    },
    /// Normal, cut at zero and at a maximum.
    Normal {
        /// Half of them are faster.
        mean: Duration,
        /// Standard deviation.
        deviation: Duration,
        /// None is slower.
        max: Duration,
    },
    /// Pareto: most are close to the least, and a few are far above it.
    Pareto {
        /// None is faster.
        min: Duration,
        /// The shape: the share that is slower than a time falls with this power of it. The smaller, the longer the tail.
        alpha: f64,
        /// None is slower.
        max: Duration,
    },
    /// As measured: evenly spaced quantiles from the least to the greatest, with straight lines between them.
    Empirical {
        /// At least two, ascending.
        quantiles: Vec<Duration>,
    },
}

impl Delay {
    /// The time that belongs to 64 random bits: more bits never mean less time, so two runs with the same draws
    /// differ by their distributions alone.
    pub fn of(&self, bits: u64) -> Span {
        match self {
            Self::Constant { delay } => delay.0,
            Self::Uniform { min, max } => min.0 + max.0.saturating_sub(min.0).scale(fraction(bits)),
            Self::Lognormal { median, sigma, max } => {
                median.0.scale((sigma * normal_quantile(fraction(bits))).exp()).min(max.0)
            }
            Self::Normal { mean, deviation, max } => {
                let off = normal_quantile(fraction(bits));
                let by = deviation.0.scale(off.abs());
                let span = if off < 0.0 { mean.0.saturating_sub(by) } else { mean.0 + by };
                span.min(max.0)
            }
            Self::Pareto { min, alpha, max } => {
                min.0.scale((1.0 - fraction(bits)).powf(-1.0 / alpha)).min(max.0)
            }
            Self::Empirical { quantiles } => {
                let at = fraction(bits) * quantiles.len().saturating_sub(1) as f64;
                let span = |index: usize| quantiles.get(index).map_or(Span::ZERO, |quantile| quantile.0);
                let (from, to) = (span(at as usize), span(at as usize + 1));
                from + to.saturating_sub(from).scale(at.fract())
            }
        }
    }

    /// What is wrong with the numbers.
    ///
    /// # Errors
    /// What and, where it helps, how it is meant.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Uniform { min, max } if max < min => Err("`max` is below `min`"),
            Self::Lognormal { sigma, .. } if !(0.0..=10.0).contains(sigma) => {
                Err("`sigma` is from 0 to 10: the standard deviation of the logarithm")
            }
            Self::Lognormal { median, max, .. } if max < median => Err("`max` is below the median"),
            Self::Normal { mean, max, .. } if max < mean => Err("`max` is below the mean"),
            Self::Pareto { alpha, .. } if !(0.1..=100.0).contains(alpha) => {
                Err("`alpha` is from 0.1 to 100: the power with which the tail falls")
            }
            Self::Pareto { min, max, .. } if max < min => Err("`max` is below `min`"),
            Self::Empirical { quantiles } if quantiles.len() < 2 => {
                Err("a measured distribution needs at least two quantiles")
            }
            Self::Empirical { quantiles } if !quantiles.is_sorted() => Err("quantiles ascend"),
            _ => Ok(()),
        }
    }
}

/// The quantile of the standard normal distribution, to some seven digits (Wichura, "Algorithm AS 241: The
/// Percentage Points of the Normal Distribution", 1988, PPND7).
fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        let above = ((59.109_374_720 * r + 159.291_132_02) * r + 50.434_271_938) * r + 3.387_132_717_9;
        let below = ((67.187_563_600 * r + 78.757_757_664) * r + 17.895_169_469) * r + 1.0;
        return q * above / below;
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-tail.max(f64::MIN_POSITIVE).ln()).sqrt();
    let z = if r <= 5.0 {
        let r = r - 1.6;
        let above = ((0.170_238_211_03 * r + 1.306_728_481_6) * r + 2.756_815_390_0) * r + 1.423_437_277_7;
        above / ((0.120_211_329_75 * r + 0.737_001_642_50) * r + 1.0)
    } else {
        let r = r - 5.0;
        let above = ((0.017_337_203_997 * r + 0.428_682_943_37) * r + 3.081_226_386_0) * r + 6.657_905_115_0;
        above / ((0.012_258_202_635 * r + 0.241_978_942_25) * r + 1.0)
    };
    if q < 0.0 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Seed};

    fn ms(ms: u64) -> Duration {
        Duration(Span::from_millis(ms))
    }

    /// Milliseconds at a share of the distribution.
    fn at(delay: &Delay, share: f64) -> f64 {
        delay.of((share * 2f64.powi(64)) as u64).as_secs_f64() * 1e3
    }

    /// `python3 -c "from scipy.stats import norm; print([norm.ppf(p) for p in (1e-12,.001,.025,.3,.5,.8,.999)])"`
    #[test]
    fn normal_quantiles_are_those_of_scipy() {
        for (p, expected) in [
            (1e-12, -7.034_483_825_3),
            (0.001, -3.090_232_306_2),
            (0.025, -1.959_963_984_5),
            (0.3, -0.524_400_512_7),
            (0.5, 0.0),
            (0.8, 0.841_621_233_6),
            (0.999, 3.090_232_306_2),
        ] {
            assert!((normal_quantile(p) - expected).abs() < 1e-6, "{p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn a_draw_is_the_quantile_of_its_share() {
        let uniform = Delay::Uniform { min: ms(10), max: ms(30) };
        assert_eq!((at(&uniform, 0.0), at(&uniform, 0.5)), (10.0, 20.0));
        let lognormal = Delay::Lognormal { median: ms(100), sigma: 0.5, max: ms(150) };
        assert!((at(&lognormal, 0.5) - 100.0).abs() < 1e-3);
        assert!((at(&lognormal, 0.3) - 100.0 * (-0.5 * 0.524_400_5f64).exp()).abs() < 1e-3);
        assert_eq!(at(&lognormal, 0.99), 150.0);
        let normal = Delay::Normal { mean: ms(100), deviation: ms(50), max: ms(200) };
        assert!((at(&normal, 0.8) - 100.0 - 50.0 * 0.841_621_2).abs() < 1e-3);
        assert_eq!([0.001, 0.5, 0.999].map(|share| at(&normal, share).round()), [0.0, 100.0, 200.0]);
        let pareto = Delay::Pareto { min: ms(10), alpha: 2.0, max: ms(500) };
        assert_eq!([0.0, 0.75, 0.99].map(|share| at(&pareto, share).round()), [10.0, 20.0, 100.0]);
        assert_eq!(at(&pareto, 0.9999), 500.0);
        let measured = Delay::Empirical { quantiles: vec![ms(1), ms(2), ms(4)] };
        assert_eq!([0.0, 0.25, 0.5, 0.75].map(|share| at(&measured, share)), [1.0, 1.5, 2.0, 3.0]);
    }

    #[test]
    fn draws_have_the_mean_of_their_distribution() {
        let mean = |delay: &Delay| {
            let draw = |n| delay.of(Seed(5).draw(Purpose::Network, n, 0)).as_secs_f64();
            (0..20_000).map(draw).sum::<f64>() / 20_000.0
        };
        let lognormal = Delay::Lognormal { median: ms(100), sigma: 0.4, max: ms(60_000) };
        assert!((mean(&lognormal) - 0.1 * (0.08f64).exp()).abs() < 0.001, "median e^(sigma^2/2)");
        assert!((mean(&Delay::Uniform { min: ms(10), max: ms(30) }) - 0.02).abs() < 0.0002);
    }
}
