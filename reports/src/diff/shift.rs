//! Numbers that have moved.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Record;
use crate::record::Totals;

/// A number of both runs. Smaller is better in all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shift {
    /// What it is.
    pub name: String,
    /// Its unit: `s`, or empty for a number or a share.
    pub unit: String,
    /// In the earlier run; absent where it was not reached or not recorded.
    pub base: Option<f64>,
    /// In the later run.
    pub new: Option<f64>,
    /// The 95 % interval of the difference; absent for numbers of which a run has only one.
    pub interval: Option<[f64; 2]>,
    /// What follows.
    pub verdict: Direction,
}

/// Which way a number has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Clearly smaller, or reached where it was not.
    Better,
    /// Clearly larger, or not reached where it was.
    Worse,
    /// Not by more than matters, or by chance.
    Same,
    /// Neither run has it.
    Unknown,
}

impl Shift {
    /// The change as a share of the base.
    pub fn change(&self) -> Option<f64> {
        let (base, new) = (self.base?, self.new?);
        (base != 0.0).then(|| new / base - 1.0)
    }
}

/// Phases whose quantiles are compared, where they succeeded.
const PHASES: [&str; 4] = ["time-to-assigned", "connect", "register", "poll"];
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

pub(super) fn shifts(base: &Record, new: &Record, margin: f64) -> Vec<Shift> {
    let mut all = Vec::new();
    let secs = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e9);
    let mut one = |name: &str, unit: &str, base: Option<f64>, new: Option<f64>| {
        let verdict = direction(base, new, None, margin);
        all.push(Shift { name: name.to_owned(), unit: unit.to_owned(), base, new, interval: None, verdict });
    };
    let (a, b) = (&base.completion, &new.completion);
    for (name, base, new) in [
        ("50 % online after", a.t50_ns, b.t50_ns),
        ("90 % online after", a.t90_ns, b.t90_ns),
        ("99 % online after", a.t99_ns, b.t99_ns),
        ("99.9 % online after", a.t999_ns, b.t999_ns),
        ("all online after", a.t100_ns, b.t100_ns),
    ] {
        one(name, "s", secs(base), secs(new));
    }
    type Ratio = fn(&Totals) -> (u64, u64);
    let ratios: [(&str, Ratio); 5] = [
        ("share without a hub", |totals| (totals.devices.saturating_sub(totals.assigned), totals.devices)),
        ("registrations a device", |totals| (totals.registers, totals.booted)),
        ("connections a device", |totals| (totals.connections, totals.booted)),
        ("share throttled", |totals| (totals.throttled, totals.requests)),
        ("share failed", |totals| (totals.failed, totals.requests)),
    ];
    for (name, ratio) in ratios {
        let of = |record: &Record| match ratio(&record.totals) {
            (_, 0) => None,
            (part, whole) => Some(part as f64 / whole as f64),
        };
        one(name, "", of(base), of(new));
    }
    for phase in PHASES {
        for (name, quantile) in QUANTILES {
            all.extend(latency(base, new, phase, name, quantile, margin));
        }
    }
    all
}

fn latency(
    base: &Record,
    new: &Record,
    phase: &str,
    name: &str,
    quantile: f64,
    margin: f64,
) -> Option<Shift> {
    let of = |record: &Record| {
        let found = record.phases.iter().find(|other| other.phase == phase && other.outcome == "ok")?;
        // Below 10 / (1 - q) samples a quantile says little (see the report's table).
        let histogram = found.intended.decode()?;
        (histogram.len() as f64 >= 10.0 / (1.0 - quantile)).then(|| bounds(&histogram, quantile))
    };
    let ([base, base_low, base_high], [new, new_low, new_high]) = (of(base)?, of(new)?);
    let difference = new - base;
    // The interval of a difference from those of its parts: MOVER (Zou and Donner, 2008).
    let low = difference - f64::hypot(new - new_low, base_high - base);
    let high = difference + f64::hypot(new_high - new, base - base_low);
    let (base, new, interval) = (Some(base), Some(new), Some([low, high]));
    let verdict = direction(base, new, interval, margin);
    Some(Shift { name: format!("{phase} {name}"), unit: "s".to_owned(), base, new, interval, verdict })
}

/// A quantile in seconds and its 95 % interval from order statistics (Conover, "Practical Nonparametric Statistics").
fn bounds(histogram: &Histogram<u64>, quantile: f64) -> [f64; 3] {
    let n = histogram.len() as f64;
    let spread = 1.96 * (n * quantile * (1.0 - quantile)).sqrt();
    let at = |rank: f64| histogram.value_at_quantile((rank / n).clamp(0.0, 1.0)) as f64 / 1e6;
    [at(n * quantile), at((n * quantile - spread).floor()), at((n * quantile + spread).ceil())]
}

fn direction(base: Option<f64>, new: Option<f64>, interval: Option<[f64; 2]>, margin: f64) -> Direction {
    let (base, new) = match (base, new) {
        (None, None) => return Direction::Unknown,
        (Some(_), None) => return Direction::Worse,
        (None, Some(_)) => return Direction::Better,
        (Some(base), Some(new)) => (base, new),
    };
    let [low, high] = interval.unwrap_or([new - base; 2]);
    let matters = margin * base.abs();
    match () {
        () if low > matters => Direction::Worse,
        () if high < -matters => Direction::Better,
        () => Direction::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Distribution, Phase};

    fn with(values: impl Iterator<Item = u64>) -> Record {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        values.for_each(|value| histogram.record(value).unwrap());
        let times = Distribution::from_histogram(&histogram);
        let mut record = Record::empty();
        record.phases = vec![Phase {
            phase: "register".into(),
            outcome: "ok".into(),
            intended: times.clone(),
            service: times,
        }];
        record
    }

    fn shift(base: &Record, new: &Record, name: &str) -> Shift {
        shifts(base, new, 0.05).into_iter().find(|shift| shift.name == name).unwrap()
    }

    #[test]
    fn a_quantile_that_moved_is_found_and_its_interval_holds_the_truth() {
        let (base, new) = (with((1..=20_000).map(|n| n * 10)), with((1..=20_000).map(|n| n * 12)));
        let found = shift(&base, &new, "register p50");
        assert_eq!(found.verdict, Direction::Worse);
        assert!((found.change().unwrap() - 0.2).abs() < 0.002, "{found:?}");
        let [low, high] = found.interval.unwrap();
        assert!(low < 0.02 && 0.02 < high && high - low < 0.01, "{found:?}");
        assert_eq!(shift(&new, &base, "register p99").verdict, Direction::Better);
        let near = with((1..=20_000).map(|n| n * 10 + n / 5));
        assert_eq!(shift(&base, &near, "register p50").verdict, Direction::Same, "2 % does not matter");
    }

    #[test]
    fn few_samples_give_no_tail_and_a_share_that_was_not_reached_is_worse() {
        let few = with((1..=500).map(|n| n * 10));
        assert!(shifts(&few, &few, 0.05).iter().all(|shift| shift.name != "register p99"));
        let mut base = Record::empty();
        base.completion.t99_ns = Some(1);
        assert_eq!(shift(&base, &Record::empty(), "99 % online after").verdict, Direction::Worse);
        assert_eq!(shift(&Record::empty(), &base, "99 % online after").verdict, Direction::Better);
        assert_eq!(shift(&base, &base, "90 % online after").verdict, Direction::Unknown);
    }
}
