//! Scales, and ticks that a person would have chosen.

use crate::number::grouped;

/// From a value to its place on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// Equal steps.
    Linear {
        /// Smallest value.
        from: f64,
        /// Largest value.
        to: f64,
    },
    /// Equal factors.
    Log {
        /// Smallest value, above zero.
        from: f64,
        /// Largest value.
        to: f64,
    },
    /// Nearly equal factors, with a place for zero: `log(1 + value)`.
    LogCount {
        /// Largest value.
        to: f64,
    },
    /// Quantiles by their number of nines, so that 90 %, 99 % and 99.9 % are equally far apart.
    Tail {
        /// Largest quantile, below one.
        to: f64,
    },
}

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    Count,
    /// Shares of one, shown in percent.
    Share,
    /// Seconds since the start of the run: the time that all charts of a page share.
    Elapsed,
    /// Seconds of something else.
    Duration,
    /// Microseconds.
    Micros,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) unit: Unit,
    /// What is counted, without the scale's name.
    pub(crate) label: String,
    /// Labels instead of round numbers: the k-th stands at k.
    pub(crate) names: Vec<String>,
}

/// A labelled place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

impl Scale {
    /// Its ends.
    pub(super) const fn ends(self) -> (f64, f64) {
        match self {
            Self::Linear { from, to } | Self::Log { from, to } => (from, to),
            Self::LogCount { to } | Self::Tail { to } => (0.0, to),
        }
    }

    /// The place of a value, from 0 to 1; values outside the scale stand at its ends.
    pub(super) fn position(self, value: f64) -> f64 {
        let share =
            |from: f64, to: f64, value: f64| if to > from { (value - from) / (to - from) } else { 0.0 };
        let at = match self {
            Self::Linear { from, to } => share(from, to, value),
            Self::Log { from, to } => share(from.ln(), to.ln(), value.max(from).ln()),
            Self::LogCount { to } => share(0.0, to.ln_1p(), value.max(0.0).ln_1p()),
            Self::Tail { to } => share(0.0, nines(to), nines(value.min(to))),
        };
        if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) }
    }
}

/// How many nines a quantile has: 0.9 has one, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// The quantile with so many nines.
pub(crate) fn quantile(nines: f64) -> f64 {
    1.0 - 10f64.powf(-nines)
}

impl Axis {
    fn new(scale: Scale, unit: Unit, label: &str) -> Self {
        Self { scale, unit, label: label.to_owned(), names: Vec::new() }
    }

    /// Time from the start of the run.
    pub(crate) fn elapsed(until_s: f64) -> Self {
        Self::new(Scale::Linear { from: 0.0, to: until_s.max(1e-3) }, Unit::Elapsed, "since the first boot")
    }

    /// Seconds that count from something else than the start of the run.
    pub(crate) fn duration(label: &str, to_s: f64) -> Self {
        Self::new(Scale::Linear { from: 0.0, to: to_s.max(1e-3) }, Unit::Duration, label)
    }

    /// A part of the time of the run.
    pub(crate) fn between(from_s: f64, to_s: f64) -> Self {
        let from = from_s.max(0.0);
        Self::new(Scale::Linear { from, to: to_s.max(from + 1e-3) }, Unit::Elapsed, "since the first boot")
    }

    /// A share of the whole.
    pub(crate) fn share(label: &str) -> Self {
        Self::share_up_to(label, 1.0)
    }

    /// A share of the whole that stays below `most`: up to the next round share.
    pub(crate) fn share_up_to(label: &str, most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most.min(1.0) } else { 1.0 };
        let step = round_step(most / 4.0);
        let to = ((most / step).ceil() * step).min(1.0);
        Self::new(Scale::Linear { from: 0.0, to }, Unit::Share, label)
    }

    /// Quantiles up to that of the largest of `samples`.
    pub(crate) fn tail(samples: u64) -> Self {
        let to = 1.0 - 1.0 / samples.max(10) as f64;
        Self::new(Scale::Tail { to }, Unit::Share, "share of the samples")
    }

    /// Counts that reach up to the largest of `values`. A few values far above the rest would press them to the
    /// ground, so then the scale is logarithmic.
    pub(crate) fn counts(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let mut present: Vec<f64> = values.filter(|value| *value > 0.0 && value.is_finite()).collect();
        present.sort_unstable_by(f64::total_cmp);
        let max = present.last().copied().unwrap_or(1.0);
        let usual = present.get(present.len() * 3 / 4).copied().unwrap_or(max);
        if max > 50.0 && max > 8.0 * usual {
            let to = round_factor(max);
            return Self::new(Scale::LogCount { to }, Unit::Count, &format!("{label}, log scale"));
        }
        Self::linear(label, max)
    }

    /// Counts from 0 to a round number that is not below `max`: for what is stacked, whose heights must add up.
    pub(crate) fn linear(label: &str, max: f64) -> Self {
        let step = round_step(max / 4.0);
        let to = (max / step).ceil() * step;
        Self::new(Scale::Linear { from: 0.0, to: if to > 0.0 { to } else { 1.0 } }, Unit::Count, label)
    }

    /// Things between `from` and `to`, by equal factors.
    pub(crate) fn log(label: &str, from: f64, to: f64) -> Self {
        let from = from.max(1e-3);
        Self::new(Scale::Log { from, to: to.max(from * 2.0) }, Unit::Count, &format!("{label}, log scale"))
    }

    /// Times between the round ones around `min_us` and `max_us`.
    pub(crate) fn latency(min_us: u64, max_us: u64) -> Self {
        let fine = latency_ticks(true);
        let (min, max) = (min_us.max(1) as f64, max_us.max(2) as f64);
        let from = fine.iter().map(|tick| tick.at).rfind(|at| *at <= min).unwrap_or(min);
        let to = fine.iter().map(|tick| tick.at).find(|at| *at >= max && *at > from).unwrap_or(max);
        Self::new(Scale::Log { from, to }, Unit::Micros, "latency, log scale")
    }

    /// One place a name.
    pub(crate) fn named(label: &str, names: Vec<String>) -> Self {
        let to = names.len() as f64 - 0.5;
        Self { names, ..Self::new(Scale::Linear { from: -0.5, to: to.max(0.5) }, Unit::Count, label) }
    }

    /// At most about `count` round ticks.
    pub(super) fn ticks(&self, count: usize) -> Vec<Tick> {
        if !self.names.is_empty() {
            let every = self.names.len().div_ceil(count.max(1));
            let named = self.names.iter().enumerate().step_by(every);
            return named.map(|(index, name)| Tick { at: index as f64, label: name.clone() }).collect();
        }
        match (self.scale, self.unit) {
            (Scale::Linear { from, to }, Unit::Elapsed | Unit::Duration) => elapsed_ticks(from, to, count),
            (Scale::Linear { from, to }, unit) => {
                let step = round_step((to - from) / count.clamp(1, 20) as f64);
                steps(from, to, step, |at| match unit {
                    Unit::Share => format!("{} %", plain(at * 100.0)),
                    _ => compact(at),
                })
            }
            (Scale::LogCount { to }, _) => {
                let every = (to.max(1.0).log10() / count.max(2) as f64).ceil().max(1.0) as usize;
                let decades =
                    (0..=308).step_by(every).map(|exponent| 10f64.powi(exponent)).take_while(|at| *at <= to);
                let mut all: Vec<f64> = std::iter::once(0.0).chain(decades).collect();
                // The largest count is never between the lines without a number near it.
                if all.last().is_some_and(|last| to / last >= 2.0) {
                    all.push(to);
                }
                all.into_iter().map(|at| Tick { at, label: compact(at) }).collect()
            }
            (Scale::Log { from, to }, Unit::Count) => count_ticks(from, to, count),
            (Scale::Log { from, to }, _) => {
                let within = |fine| {
                    let all = latency_ticks(fine).into_iter();
                    all.filter(|tick| tick.at >= from && tick.at <= to).collect::<Vec<_>>()
                };
                let fine = within(true);
                if fine.len() <= count * 3 / 2 + 2 { fine } else { within(false) }
            }
            (Scale::Tail { to }, _) => [0.0, 0.5, 0.9, 0.99, 0.999, 0.999_9, 0.999_99, 0.999_999]
                .into_iter()
                .filter(|at| *at <= to)
                .map(|at| Tick { at, label: format!("{} %", plain(at * 100.0)) })
                .collect(),
        }
    }
}

/// Powers of ten, and the numbers between them while there is room.
fn count_ticks(from: f64, to: f64, count: usize) -> Vec<Tick> {
    let digits: &[f64] = if (to / from).log10() * 3.0 <= count as f64 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    (-3..=12)
        .flat_map(|exponent| digits.iter().map(move |digit| digit * 10f64.powi(exponent)))
        .filter(|at| *at >= from && *at <= to)
        .map(|at| Tick { at, label: compact(at) })
        .collect()
}

fn steps(from: f64, to: f64, step: f64, label: impl Fn(f64) -> String) -> Vec<Tick> {
    let first = (from / step).ceil();
    // A step that vanishes beside its axis would never arrive.
    let count = (((to - from) / step) + 1e-9).floor().clamp(0.0, 50.0) as u32;
    (0..=count)
        .map(|index| (first + f64::from(index)) * step)
        .filter(|at| *at <= to * (1.0 + 1e-9))
        .map(|at| Tick { at, label: label(at) })
        .collect()
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let decade = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * decade)
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(least)
}

/// Likewise, for the end of a logarithmic axis.
fn round_factor(least: f64) -> f64 {
    round_step(least).max(1.0)
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;
const DAY: f64 = 86_400.0;

/// Steps in one unit, the largest that still gives a few of them.
fn elapsed_ticks(from: f64, to: f64, count: usize) -> Vec<Tick> {
    let (unit_s, name, round): (f64, &str, &[f64]) = match to - from {
        ..=180.0 => (1.0, "s", &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0]),
        ..=10_800.0 => (MINUTE, "min", &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0]),
        ..=259_200.0 => (HOUR, "h", &[1.0, 2.0, 3.0, 4.0, 6.0, 12.0, 24.0]),
        _ => (DAY, "d", &[1.0, 2.0, 7.0, 14.0, 28.0]),
    };
    let least = (to - from) / unit_s / count.max(1) as f64;
    let step = if least < 0.8 { None } else { round.iter().copied().find(|step| *step >= least * 0.75) };
    let step = step.unwrap_or_else(|| round_step(least)) * unit_s;
    steps(
        from,
        to,
        step,
        |at| if at == 0.0 { "0".to_owned() } else { format!("{} {name}", plain(at / unit_s)) },
    )
}

/// Round times from a microsecond to a month, in microseconds; `fine` has some between the powers.
fn latency_ticks(fine: bool) -> Vec<Tick> {
    let decade: &[f64] = if fine { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let minutes: &[f64] = if fine { &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0] } else { &[1.0, 10.0] };
    let hours: &[f64] = if fine { &[1.0, 2.0, 5.0, 10.0, 24.0] } else { &[1.0, 10.0] };
    let mut all = Vec::new();
    let mut add = |unit_us: f64, name: &str, digits: &[f64], factors: &[f64]| {
        for factor in factors {
            for digit in digits {
                let label = format!("{} {name}", plain(digit * factor));
                all.push(Tick { at: digit * factor * unit_us, label });
            }
        }
    };
    add(1.0, "µs", decade, &[1.0, 10.0, 100.0]);
    add(1e3, "ms", decade, &[1.0, 10.0, 100.0]);
    add(1e6, "s", decade, &[1.0, 10.0]);
    add(1e6 * MINUTE, "min", minutes, &[1.0]);
    add(1e6 * HOUR, "h", hours, &[1.0]);
    add(1e6 * DAY, "d", if fine { &[2.0, 5.0] } else { &[] }, &[1.0]);
    add(1e6 * DAY, "d", decade, &[10.0]);
    // It would stand on the minute's toes.
    all.retain(|tick| tick.at != 50e6);
    all
}

/// Without the zeros that a fixed number of digits would leave.
fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1,500`, `20k`, `3M`: ticks are round, so nothing is lost.
fn compact(value: f64) -> String {
    let scaled = |by: f64, name: &str| format!("{}{name}", plain(value / by));
    match value {
        1e9.. => scaled(1e9, "G"),
        1e6.. => scaled(1e6, "M"),
        1e4.. => scaled(1e3, "k"),
        1e3.. => grouped(value as u64),
        _ => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis, count: usize) -> String {
        axis.ticks(count).into_iter().map(|tick| tick.label).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn time_is_told_in_one_unit() {
        assert_eq!(labels(&Axis::elapsed(14.2), 8), "0 | 2 s | 4 s | 6 s | 8 s | 10 s | 12 s | 14 s");
        assert_eq!(labels(&Axis::elapsed(393.0), 8), "0 | 1 min | 2 min | 3 min | 4 min | 5 min | 6 min");
        assert_eq!(labels(&Axis::elapsed(7_000.0), 4), "0 | 30 min | 60 min | 90 min");
        assert_eq!(labels(&Axis::elapsed(14.0 * DAY), 8), "0 | 2 d | 4 d | 6 d | 8 d | 10 d | 12 d | 14 d");
        assert_eq!(labels(&Axis::elapsed(0.5), 5), "0 | 0.1 s | 0.2 s | 0.3 s | 0.4 s | 0.5 s");
    }

    #[test]
    fn counts_end_on_a_round_number() {
        let axis = Axis::counts("n", [3.0, 7.0, 13.0].into_iter());
        assert_eq!(axis.scale, Scale::Linear { from: 0.0, to: 15.0 });
        assert_eq!(labels(&axis, 4), "0 | 5 | 10 | 15");
    }

    #[test]
    fn a_spike_above_the_rest_makes_the_scale_logarithmic() {
        let spike = std::iter::once(5_000.0).chain((0..100).map(|_| 17.0));
        let axis = Axis::counts("n", spike);
        assert_eq!(axis.scale, Scale::LogCount { to: 5_000.0 });
        assert_eq!(labels(&axis, 5), "0 | 1 | 10 | 100 | 1,000 | 5,000");
        assert!(axis.label.contains("log"));
    }

    #[test]
    fn latencies_stand_between_round_times() {
        let narrow = Axis::latency(1_050, 1_950);
        assert_eq!(narrow.scale, Scale::Log { from: 1e3, to: 2e3 });
        assert_eq!(labels(&narrow, 6), "1 ms | 2 ms");
        let wide = Axis::latency(300, 391_000_000);
        assert_eq!(labels(&wide, 8), "1 ms | 10 ms | 100 ms | 1 s | 10 s | 1 min | 10 min");
        assert!(latency_ticks(true).is_sorted_by(|a, b| a.at < b.at));
    }

    #[test]
    fn nines_are_equally_far_apart() {
        let axis = Axis::tail(10_000);
        let at = |quantile| axis.scale.position(quantile);
        assert!((at(0.99) - at(0.9) - (at(0.999) - at(0.99))).abs() < 1e-9);
        assert!((quantile(3.0) - 0.999).abs() < 1e-12);
        assert_eq!(labels(&axis, 6), "0 % | 50 % | 90 % | 99 % | 99.9 % | 99.99 %");
    }

    proptest! {
        #[test]
        fn every_value_has_a_place_and_ticks_are_few_and_within(
            values in prop::collection::vec(any::<f64>(), 0..40),
            until: f64, min: u64, max: u64, samples: u64, count in 0..20usize,
        ) {
            for axis in [
                Axis::counts("n", values.iter().copied()),
                Axis::elapsed(until),
                Axis::latency(min, max),
                Axis::tail(samples),
                Axis::share("s"),
            ] {
                for value in &values {
                    prop_assert!((0.0..=1.0).contains(&axis.scale.position(*value)));
                }
                let ticks = axis.ticks(count);
                prop_assert!(ticks.len() <= 60 && ticks.is_sorted_by(|a, b| a.at < b.at), "{ticks:?}");
            }
        }
    }
}
