//! When devices boot.

use fleetstorm_units::random::{Purpose, Seed, span_below};
use fleetstorm_units::time::{Moment, Span};
use fleetstorm_units::{Duration, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the devices of a fleet boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arrival {
    /// All at once, or evenly drawn over a spread: the power comes back.
    AllAtOnce {
        /// Over how long; 0s for the same instant.
        #[serde(default = "nothing")]
        spread: Duration,
    },
    /// One after the other at a constant rate.
    Constant {
        /// How many boot per unit of time.
        rate: Rate,
    },
    /// At a rate that grows (or falls) evenly, then stays.
    Ramp {
        /// The rate at the start.
        from: Rate,
        /// The rate at the end of the ramp and after it.
        to: Rate,
        /// How long the ramp takes.
        over: Duration,
    },
    /// Independently of each other at an average rate.
    Poisson {
        /// The average.
        rate: Rate,
    },
    /// In batches: Microsoft's staggered schedule for large deployments.
    Batches {
        /// Devices in a batch; the registration quota per interval is what the guidance names.
        size: u32,
        /// From the start of one batch to the next.
        interval: Duration,
        /// Over how long the devices of a batch are spread.
        #[serde(default = "nothing")]
        spread: Duration,
        /// Whether they boot evenly, one after the other, rather than each at a time of its own drawing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        even: bool,
    },
    /// At the instants of a CSV file: seconds from the start, in the column `t_s` or the first one.
    Trace {
        /// The file.
        file: String,
        /// The instants, read from the file.
        #[serde(skip)]
        #[schemars(skip)]
        instants: Vec<Moment>,
    },
}

const fn nothing() -> Duration {
    Duration(Span::ZERO)
}

impl Default for Arrival {
    fn default() -> Self {
        Self::AllAtOnce { spread: nothing() }
    }
}

impl Arrival {
    /// When each of `devices` devices boots, by its number. A trace that is too short leaves the rest at its end.
    pub fn schedule(&self, devices: u32, seed: Seed) -> Vec<Moment> {
        let draw = |device| seed.draw(Purpose::Arrival, device, 0);
        let at = |secs: f64| Moment::START + Span::from_secs_f64(secs);
        match self {
            Self::AllAtOnce { spread } => {
                (0..devices).map(|n| Moment::START + span_below(draw(n), spread.0)).collect()
            }
            Self::Constant { rate } => (0..devices).map(|n| at(f64::from(n) / rate.per_second())).collect(),
            Self::Ramp { from, to, over } => {
                let ramp = Ramp { from: from.per_second(), to: to.per_second(), over: over.0.as_secs_f64() };
                (0..devices).map(|n| at(ramp.time_of(f64::from(n)))).collect()
            }
            Self::Poisson { rate } => {
                let mut now = 0.0;
                (0..devices)
                    .map(|n| {
                        // The gaps of a Poisson process are exponential.
                        now -= (1.0 - fleetstorm_units::random::fraction(draw(n))).ln() / rate.per_second();
                        at(now)
                    })
                    .collect()
            }
            Self::Batches { size, interval, spread, even } => (0..devices)
                .map(|n| {
                    let size = (*size).max(1);
                    let place = f64::from(n % size) / f64::from(size);
                    let within = match even {
                        true => Span::from_secs_f64(place * spread.0.as_secs_f64()),
                        false => span_below(draw(n), spread.0),
                    };
                    Moment::START + interval.0.times(u64::from(n / size)) + within
                })
                .collect(),
            Self::Trace { instants, .. } => {
                let last = instants.last().copied().unwrap_or_default();
                (0..devices as usize).map(|n| instants.get(n).copied().unwrap_or(last)).collect()
            }
        }
    }

    /// The latest instant at which a device boots, whatever is drawn; that of the average where there is no latest.
    /// `None` for a trace, whose file says it.
    pub(super) fn latest(&self, devices: u32) -> Option<Moment> {
        let last = f64::from(devices.saturating_sub(1));
        let secs = match self {
            Self::AllAtOnce { spread } => return Some(Moment::START + before(spread.0)),
            Self::Constant { rate } | Self::Poisson { rate } => last / rate.per_second(),
            Self::Ramp { from, to, over } => {
                let ramp = Ramp { from: from.per_second(), to: to.per_second(), over: over.0.as_secs_f64() };
                ramp.time_of(last)
            }
            Self::Batches { size, interval, spread, even } => {
                let (size, last) = ((*size).max(1), devices.saturating_sub(1));
                let boots = |batch: u32, place: u32| {
                    let within = match even {
                        true => {
                            let place = f64::from(place) / f64::from(size);
                            Span::from_secs_f64(place * spread.0.as_secs_f64())
                        }
                        false => before(spread.0),
                    };
                    Moment::START + interval.0.times(u64::from(batch)) + within
                };
                let batch = last / size;
                // The last of a whole batch may boot after those of the next one, which need not be whole.
                let whole = batch.checked_sub(1).map(|batch| boots(batch, size - 1));
                return whole.max(Some(boots(batch, last % size)));
            }
            Self::Trace { .. } => return None,
        };
        Some(Moment::START + Span::from_secs_f64(secs))
    }

    /// Reads the instants of a trace.
    ///
    /// # Errors
    /// Names the line that holds no number of seconds.
    pub fn read_trace(csv: &str) -> Result<Vec<Moment>, String> {
        let mut lines = csv.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
        let mut column = 0;
        if let Some((_, head)) = lines.peek() {
            let names: Vec<&str> = head.split(',').map(str::trim).collect();
            if names.first().is_some_and(|name| name.parse::<f64>().is_err()) {
                column = names.iter().position(|name| *name == "t_s").unwrap_or(0);
                lines.next();
            }
        }
        let mut instants = lines
            .map(|(index, line)| {
                let cell = line.split(',').nth(column).unwrap_or("").trim();
                match cell.parse::<f64>() {
                    Ok(secs) if secs.is_finite() && secs >= 0.0 => {
                        Ok(Moment::START + Span::from_secs_f64(secs))
                    }
                    _ => Err(format!("line {}: `{cell}` is no number of seconds from the start", index + 1)),
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        instants.sort_unstable();
        Ok(instants)
    }

    /// What is wrong with the numbers.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let positive = |rate: &Rate| rate.per_second() > 0.0;
        match self {
            Self::Constant { rate } | Self::Poisson { rate } if !positive(rate) => {
                Err("a rate of zero boots nobody")
            }
            Self::Ramp { to, .. } if !positive(to) => {
                Err("a ramp that ends at zero never boots the last devices")
            }
            Self::Batches { size: 0, .. } => Err("a batch needs at least one device"),
            _ => Ok(()),
        }
    }
}

/// What is drawn below a span is at most this.
fn before(spread: Span) -> Span {
    Span::from_nanos(spread.as_nanos().saturating_sub(1))
}

/// A rate that changes linearly from `from` to `to` over `over` seconds and then stays.
struct Ramp {
    from: f64,
    to: f64,
    over: f64,
}

impl Ramp {
    /// When the n-th device boots: the time at which the integral of the rate reaches n.
    fn time_of(&self, n: f64) -> f64 {
        let during = (self.from + self.to) / 2.0 * self.over;
        if n >= during {
            return self.over + (n - during) / self.to;
        }
        let slope = (self.to - self.from) / self.over;
        if slope.abs() < 1e-12 {
            return n / self.from;
        }
        // Solves slope/2 t^2 + from t = n for the smaller positive t, in the form that does not cancel.
        let root = (self.from * self.from + 2.0 * slope * n).max(0.0).sqrt();
        2.0 * n / (self.from + root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn secs(arrival: &Arrival, devices: u32) -> Vec<f64> {
        arrival.schedule(devices, Seed(3)).into_iter().map(Moment::as_secs_f64).collect()
    }

    #[test]
    fn constant_and_batches_follow_their_arithmetic() {
        assert_eq!(secs(&Arrival::Constant { rate: rate("2/s") }, 5), [0.0, 0.5, 1.0, 1.5, 2.0]);
        let batches = |spread: &str, even| Arrival::Batches {
            size: 2,
            interval: "1m".parse().unwrap(),
            spread: spread.parse().unwrap(),
            even,
        };
        assert_eq!(secs(&batches("0s", false), 5), [0.0, 0.0, 60.0, 60.0, 120.0]);
        assert_eq!(secs(&batches("30s", true), 5), [0.0, 15.0, 60.0, 75.0, 120.0]);
        // A batch that is spread evenly over its interval is a constant rate.
        let constant = Arrival::Constant { rate: rate("2/min") };
        let apart = secs(&batches("1m", true), 9).into_iter().zip(secs(&constant, 9));
        assert!(apart.into_iter().all(|(one, other)| (one - other).abs() < 1e-6));
    }

    #[test]
    fn a_ramp_integrates_its_rate() {
        // 0 to 10/s over 10 s boots 50 devices; the n-th at sqrt(2n).
        let ramp = Arrival::Ramp { from: rate("0/s"), to: rate("10/s"), over: "10s".parse().unwrap() };
        let at = secs(&ramp, 71);
        assert!((at[8] - 4.0).abs() < 1e-6 && (at[50] - 10.0).abs() < 1e-6);
        assert!((at[70] - 12.0).abs() < 1e-6, "and goes on at 10/s");
        let flat = Arrival::Ramp { from: rate("4/s"), to: rate("4/s"), over: "10s".parse().unwrap() };
        assert!((secs(&flat, 9)[8] - 2.0).abs() < 1e-9);
        let down = Arrival::Ramp { from: rate("10/s"), to: rate("1/s"), over: "10s".parse().unwrap() };
        assert!(secs(&down, 100).is_sorted());
    }

    #[test]
    fn poisson_gaps_have_the_right_mean_and_spread() {
        let at = secs(&Arrival::Poisson { rate: rate("50/s") }, 20_000);
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.02).abs() < 0.0006, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "an exponential's deviation is its mean");
    }

    #[test]
    fn a_spread_is_uniform_and_the_seed_decides() {
        let arrival = Arrival::AllAtOnce { spread: "10s".parse().unwrap() };
        let at = secs(&arrival, 10_000);
        assert!(at.iter().all(|at| (0.0..10.0).contains(at)));
        assert!((at.iter().sum::<f64>() / 10_000.0 - 5.0).abs() < 0.1);
        assert_eq!(arrival.schedule(9, Seed(1)), arrival.schedule(9, Seed(1)));
        assert_ne!(arrival.schedule(9, Seed(1)), arrival.schedule(9, Seed(2)));
    }

    #[test]
    fn nobody_boots_after_the_latest_instant() {
        let (minute, second) = (|| "1m".parse().unwrap(), || "1s".parse().unwrap());
        let batches = |even| Arrival::Batches { size: 4, interval: minute(), spread: minute(), even };
        for arrival in [
            Arrival::AllAtOnce { spread: nothing() },
            Arrival::AllAtOnce { spread: minute() },
            Arrival::Constant { rate: rate("3/s") },
            Arrival::Ramp { from: rate("0/s"), to: rate("10/s"), over: second() },
            Arrival::Ramp { from: rate("9/s"), to: rate("1/s"), over: minute() },
            batches(false),
            batches(true),
        ] {
            for devices in [1, 3, 4, 5, 1_000] {
                let last = arrival.schedule(devices, Seed(3)).into_iter().max().unwrap();
                let latest = arrival.latest(devices).unwrap();
                assert!(last <= latest, "{arrival:?} {devices}: {last:?} {latest:?}");
                let drawn =
                    matches!(arrival, Arrival::AllAtOnce { .. } | Arrival::Batches { even: false, .. });
                assert!(drawn || last == latest, "{arrival:?} {devices}");
            }
        }
    }

    #[test]
    fn traces_are_read_with_and_without_a_head() {
        let moments =
            |list: &[f64]| list.iter().map(|s| Moment::START + Span::from_secs_f64(*s)).collect::<Vec<_>>();
        assert_eq!(Arrival::read_trace("3\n1.5\n\n").unwrap(), moments(&[1.5, 3.0]));
        assert_eq!(Arrival::read_trace("id,t_s\na,2\nb,0\n").unwrap(), moments(&[0.0, 2.0]));
        assert_eq!(
            Arrival::read_trace("t_s\n1\nx\n").unwrap_err(),
            "line 3: `x` is no number of seconds from the start"
        );
        assert!(Arrival::read_trace("-1").is_err());
    }
}
