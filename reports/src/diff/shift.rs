//! Numbers that have moved.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Record;
use crate::record::{Completion, End, Totals};

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
    /// What the earlier run's is at least, where it was not reached before the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_least: Option<f64>,
    /// What the later run's is at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_least: Option<f64>,
    /// The 95 % interval of the difference; absent for numbers of which a run has only one, and where it is open.
    pub interval: Option<[f64; 2]>,
    /// What follows.
    pub verdict: Direction,
    /// Why nothing follows, where a number moved and is not judged; empty elsewhere.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
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
    /// Both are there, and do not tell: see why.
    NotJudged,
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

/// Where a number lies: from the one to the other. Infinite where it was never reached.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    least: f64,
    most: f64,
}

impl Range {
    const fn at(value: f64) -> Self {
        Self { least: value, most: value }
    }

    fn exact(self) -> Option<f64> {
        (self.least == self.most && self.most.is_finite()).then_some(self.most)
    }

    fn at_least(self) -> Option<f64> {
        (self.most.is_infinite() && self.least.is_finite()).then_some(self.least)
    }
}

/// Which way a number moved that lies in these ranges. It moved for the worse if the least that it can be now is clearly
/// above the most that it can have been, so of two runs either one is worse or the other, or none.
fn moved(base: Range, new: Range, margin: f64) -> Direction {
    match () {
        () if new.least - base.most > margin * base.most => Direction::Worse,
        () if base.least - new.most > margin * base.least.min(f64::MAX) => Direction::Better,
        () if base.exact().is_some() && new.exact().is_some() => Direction::Same,
        () if base.least.is_infinite() && new.least.is_infinite() => Direction::Same,
        () => Direction::NotJudged,
    }
}

/// Phases whose quantiles are compared, where they succeeded.
const PHASES: [&str; 3] = ["connect", "register", "poll"];
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Below so many samples a quantile says little, and the largest one decides (see the report's table).
fn samples_min(quantile: f64) -> f64 {
    10.0 / (1.0 - quantile)
}

const FEW: &str = "too few devices: the last ones would decide";
const MAXIMUM: &str = "a maximum is one device's luck";
const OPEN: &str = "a run ended before it was reached";
const MORE: &str = "more devices came online";
const FEWER: &str = "fewer devices came online";

pub(super) fn shifts(base: &Record, new: &Record, margin: f64) -> Vec<Shift> {
    let mut all = completions(base, new, margin);
    all.extend(QUANTILES.into_iter().filter_map(|(name, quantile)| waits(base, new, name, quantile, margin)));
    let share =
        |record: &Record| share(record.devices.saturating_sub(record.totals.assigned), record.devices);
    all.extend(number("share without a hub", share(base), share(new), margin));
    let online = share(base).zip(share(new)).map(|(base, new)| base.most.total_cmp(&new.most));
    let online = online.unwrap_or(std::cmp::Ordering::Equal);
    let costs = costs(base, new, margin).into_iter();
    let latencies = PHASES.into_iter().flat_map(|phase| {
        QUANTILES.into_iter().filter_map(move |(name, q)| latency(base, new, phase, name, q, margin))
    });
    all.extend(costs.chain(latencies).map(|shift| comparable(shift, online)));
    all
}

/// What a fleet costs and how long its requests take is of the devices that came through: where more of them did, more is
/// no change for the worse, and where fewer did, less is none for the better.
fn comparable(mut shift: Shift, online: std::cmp::Ordering) -> Shift {
    let why = match (shift.verdict, online) {
        (Direction::Worse, std::cmp::Ordering::Greater) => MORE,
        (Direction::Better, std::cmp::Ordering::Less) => FEWER,
        _ => return shift,
    };
    (shift.verdict, shift.why) = (Direction::NotJudged, why);
    shift
}

/// When shares of all devices had their hub, whether they got it or not.
fn completions(base: &Record, new: &Record, margin: f64) -> Vec<Shift> {
    let reached = |record: &Record, ns: Option<u64>| match (ns, &record.end) {
        _ if record.devices == 0 => None,
        (Some(ns), _) => Some(Range::at(ns as f64 / 1e9)),
        // Everybody had come to rest.
        (None, End::Settled) => Some(Range::at(f64::INFINITY)),
        (None, _) => Some(Range { least: record.duration_ns as f64 / 1e9, most: f64::INFINITY }),
    };
    type Mark = fn(&Completion) -> Option<u64>;
    let marks: [(&str, f64, Mark); 5] = [
        ("50 % online after", 0.5, |marks| marks.t50_ns),
        ("90 % online after", 0.9, |marks| marks.t90_ns),
        ("99 % online after", 0.99, |marks| marks.t99_ns),
        ("99.9 % online after", 0.999, |marks| marks.t999_ns),
        ("all online after", 1.0, |marks| marks.t100_ns),
    ];
    let devices = base.devices.min(new.devices) as f64;
    let one = |(name, quantile, mark): (&str, f64, Mark)| {
        let of = |record: &Record| reached(record, mark(&record.completion));
        let mut shift = Shift { unit: "s".to_owned(), ..number(name, of(base), of(new), margin)? };
        let is_moved = matches!(shift.verdict, Direction::Better | Direction::Worse);
        if is_moved && quantile >= 1.0 {
            (shift.verdict, shift.why) = (Direction::NotJudged, MAXIMUM);
        } else if is_moved && devices < samples_min(quantile) {
            (shift.verdict, shift.why) = (Direction::NotJudged, FEW);
        }
        Some(shift)
    };
    marks.into_iter().filter_map(one).collect()
}

/// A share, or how much there is for each; without any whole there is none.
fn share(part: u64, whole: u64) -> Option<Range> {
    match (part, whole) {
        (0, 0) => None,
        (_, 0) => Some(Range::at(f64::INFINITY)),
        _ => Some(Range::at(part as f64 / whole as f64)),
    }
}

fn costs(base: &Record, new: &Record, margin: f64) -> Vec<Shift> {
    type Ratio = fn(&Totals) -> (u64, u64);
    let ratios: [(&str, Ratio); 4] = [
        ("registrations a success", |totals| (totals.registers, totals.assigned)),
        ("connections a success", |totals| (totals.connections, totals.assigned)),
        ("share throttled", |totals| (totals.throttled, totals.requests)),
        ("share failed", |totals| (totals.failed, totals.requests)),
    ];
    let of = |ratio: Ratio, record: &Record| {
        let (part, whole) = ratio(&record.totals);
        share(part, whole)
    };
    ratios
        .into_iter()
        .filter_map(|(name, ratio)| number(name, of(ratio, base), of(ratio, new), margin))
        .collect()
}

/// A number of which each run has one. `None` if one of them has none.
fn number(name: &str, base: Option<Range>, new: Option<Range>, margin: f64) -> Option<Shift> {
    let (base, new) = (base?, new?);
    let verdict = match base.least.is_infinite() && new.least.is_infinite() {
        true => Direction::Unknown,
        false => moved(base, new, margin),
    };
    Some(Shift {
        name: name.to_owned(),
        unit: String::new(),
        base: base.exact(),
        new: new.exact(),
        base_least: base.at_least(),
        new_least: new.at_least(),
        interval: None,
        verdict,
        why: if verdict == Direction::NotJudged { OPEN } else { "" },
    })
}

/// A quantile of the time from boot to hub over all devices: those without a hub wait longer than all that have one.
fn waits(base: &Record, new: &Record, name: &str, quantile: f64, margin: f64) -> Option<Shift> {
    let of = |record: &Record| {
        let found =
            record.phases.iter().find(|other| other.phase == "time-to-assigned" && other.outcome == "ok");
        let histogram = found.and_then(|found| found.intended.decode());
        let assigned = histogram.as_ref().map_or(0, |histogram| histogram.len());
        let never = record.end == End::Settled;
        Some(bounds(histogram.as_ref(), record.devices.max(assigned), quantile, never))
            .filter(|_| record.devices as f64 >= samples_min(quantile))
    };
    let name = format!("time-to-assigned {name}");
    between(name, of(base)?, of(new)?, margin)
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
        let histogram = found.intended.decode()?;
        let samples = histogram.len();
        (samples as f64 >= samples_min(quantile)).then(|| bounds(Some(&histogram), samples, quantile, true))
    };
    between(format!("{phase} {name}"), of(base)?, of(new)?, margin)
}

/// A quantile in seconds, and the ends of its 95 % interval.
struct Bounds {
    value: Range,
    low: Range,
    high: Range,
}

/// What lies between two quantiles.
fn between(name: String, base: Bounds, new: Bounds, margin: f64) -> Option<Shift> {
    let (at_base, at_new) = (base.value, new.value);
    let mut shift = number(&name, Some(at_base), Some(at_new), margin)?;
    shift.unit = "s".to_owned();
    let exact = |bounds: &Bounds| Some([bounds.value.exact()?, bounds.low.exact()?, bounds.high.exact()?]);
    let [low, high] = match (exact(&base), exact(&new)) {
        (Some([base, base_low, base_high]), Some([new, new_low, new_high])) => {
            // The interval of a difference from those of its parts: MOVER (Zou and Donner, 2008).
            let difference = new - base;
            let low = difference - f64::hypot(new - new_low, base_high - base);
            let high = difference + f64::hypot(new_high - new, base - base_low);
            shift.interval = Some([low, high]);
            [low, high]
        }
        // With an open end it is at least as wide as what its parts leave.
        _ => [new.low.least - base.high.most, new.high.most - base.low.least],
    };
    if shift.verdict == Direction::Unknown {
        return Some(shift);
    }
    let matters = |of: Range| margin * of.least.min(f64::MAX);
    shift.verdict = match () {
        () if low > matters(at_base) => Direction::Worse,
        () if high < -matters(at_base) => Direction::Better,
        () if shift.interval.is_some() => Direction::Same,
        () => Direction::NotJudged,
    };
    shift.why = if shift.verdict == Direction::NotJudged { OPEN } else { "" };
    Some(shift)
}

/// A quantile and its 95 % interval from order statistics (Conover, "Practical Nonparametric Statistics") of so many
/// samples, of which those that are not in the histogram are larger: infinite if they will `never` be seen.
fn bounds(histogram: Option<&Histogram<u64>>, samples: u64, quantile: f64, never: bool) -> Bounds {
    let n = samples as f64;
    let seen = histogram.map_or(0, |histogram| histogram.len()) as f64;
    let largest = histogram.map_or(0.0, |histogram| histogram.max() as f64 / 1e6);
    let at = |rank: f64| match histogram {
        Some(histogram) if rank <= seen => {
            Range::at(histogram.value_at_quantile((rank / seen).clamp(0.0, 1.0)) as f64 / 1e6)
        }
        _ if never => Range::at(f64::INFINITY),
        _ => Range { least: largest, most: f64::INFINITY },
    };
    let spread = 1.96 * (n * quantile * (1.0 - quantile)).sqrt();
    Bounds {
        value: at(n * quantile),
        low: at((n * quantile - spread).floor()),
        high: at((n * quantile + spread).ceil().min(n)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Distribution, Phase};

    fn phase(name: &str, values: impl Iterator<Item = u64>) -> Phase {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        values.for_each(|value| histogram.record(value).unwrap());
        let times = Distribution::from_histogram(&histogram);
        Phase { phase: name.into(), outcome: "ok".into(), intended: times.clone(), service: times }
    }

    fn with(values: impl Iterator<Item = u64>) -> Record {
        let mut record = Record::empty();
        record.phases = vec![phase("register", values)];
        record
    }

    /// A run of 3,000 devices of which some came online, one each 10 ms.
    fn fleet(assigned: u64, registers: u64, end: End) -> Record {
        let mut record = Record { devices: 3_000, end, duration_ns: 300_000_000_000, ..Record::empty() };
        (record.totals.devices, record.totals.booted, record.totals.assigned) = (3_000, 3_000, assigned);
        (record.totals.registers, record.totals.requests, record.totals.connections) =
            (registers, 2 * registers, registers);
        record.phases = vec![
            phase("time-to-assigned", (1..=assigned).map(|n| n * 10_000)),
            phase("register", (1..=registers).map(|n| 100 * (1 + assigned / 10) + n % 50)),
        ];
        let mark = |rank: u64| (assigned >= rank).then(|| rank * 10_000_000);
        record.completion = Completion {
            t50_ns: mark(1_500),
            t90_ns: mark(2_700),
            t99_ns: mark(2_970),
            t999_ns: mark(2_997),
            t100_ns: mark(3_000),
        };
        record
    }

    fn shift(base: &Record, new: &Record, name: &str) -> Shift {
        shifts(base, new, 0.05).into_iter().find(|shift| shift.name == name).unwrap()
    }

    fn worse(base: &Record, new: &Record) -> Vec<String> {
        let worse = shifts(base, new, 0.05).into_iter().filter(|shift| shift.verdict == Direction::Worse);
        worse.map(|shift| shift.name).collect()
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
        let mut base = Record { devices: 1_000, ..Record::empty() };
        base.completion.t99_ns = Some(1);
        let never = Record { devices: 1_000, ..Record::empty() };
        assert_eq!(shift(&base, &never, "99 % online after").verdict, Direction::Worse);
        assert_eq!(shift(&never, &base, "99 % online after").verdict, Direction::Better);
        assert_eq!(shift(&base, &base, "90 % online after").verdict, Direction::Unknown);
        // Of a hundred devices the 99 % are the last but one.
        (base.devices, base.completion.t99_ns) = (100, Some(1));
        let later =
            Record { completion: Completion { t99_ns: Some(9), ..Completion::default() }, ..base.clone() };
        assert_eq!(shift(&base, &later, "99 % online after").why, FEW);
    }

    #[test]
    fn a_fleet_that_came_online_is_no_regression_of_one_that_did_not() {
        for few in [0, 41] {
            let (base, new) = (fleet(few, 3_000, End::Settled), fleet(3_000, 30_000, End::Settled));
            assert_eq!(worse(&base, &new), [""; 0], "{few}");
            let back = worse(&new, &base);
            assert!(back.iter().any(|name| name == "time-to-assigned p50"), "{back:?}");
            assert!(back.iter().any(|name| name == "50 % online after"), "{back:?}");
        }
        let (base, new) = (fleet(41, 3_000, End::Settled), fleet(3_000, 30_000, End::Settled));
        let p50 = shift(&base, &new, "time-to-assigned p50");
        // Of all 3,000, the survivors' median would be 0.21 s.
        assert_eq!((p50.base, p50.verdict), (None, Direction::Better));
        assert!((p50.new.unwrap() - 15.0).abs() < 0.02, "{p50:?}");
        assert_eq!(shift(&base, &new, "registrations a success").verdict, Direction::Better, "73 to 10");
        assert_eq!(shift(&base, &new, "register p50").why, MORE);
        let dearer = fleet(3_000, 60_000, End::Settled);
        assert_eq!(shift(&new, &dearer, "registrations a success").verdict, Direction::Worse);
    }

    #[test]
    fn what_a_run_did_not_live_to_see_is_a_bound_and_a_maximum_decides_nothing() {
        let (base, cut) = (fleet(3_000, 3_000, End::Settled), fleet(2_900, 3_000, End::Horizon));
        // At least 300 s after 29.7 s.
        let found = shift(&base, &cut, "99 % online after");
        assert_eq!((found.verdict, found.new_least), (Direction::Worse, Some(300.0)));
        let mut soon = cut.clone();
        soon.duration_ns = 30_000_000_000;
        assert_eq!(shift(&base, &soon, "99 % online after").why, OPEN, "30 s is within 5 % of 29.7");
        let mut last = base.clone();
        last.completion.t100_ns = Some(900_000_000_000);
        let all = shift(&base, &last, "all online after");
        assert_eq!((all.verdict, all.why), (Direction::NotJudged, MAXIMUM));
        assert_eq!(worse(&base, &last), [""; 0]);
    }

    /// The quantile over all devices, by sorting them.
    #[test]
    fn a_censored_quantile_is_that_of_the_sorted_fleet() {
        for (assigned, quantile) in
            [(3_000u64, 0.5), (2_000, 0.5), (1_400, 0.5), (2_980, 0.99), (2_900, 0.99)]
        {
            let record = fleet(assigned, 3_000, End::Settled);
            let mut all: Vec<f64> = (1..=assigned).map(|n| n as f64 * 0.01).collect();
            all.resize(3_000, f64::INFINITY);
            let expected = all[(3_000.0f64 * quantile).ceil() as usize - 1];
            let histogram = record.phases[0].intended.decode().unwrap();
            let found = bounds(Some(&histogram), 3_000, quantile, true).value.most;
            let is_near = (found / expected - 1.0).abs() < 2e-3;
            assert!(is_near || found == expected, "{assigned} {quantile}: {found} {expected}");
        }
    }

    fn any_fleet() -> impl Strategy<Value = Record> {
        let end = prop_oneof![Just(End::Settled), Just(End::Horizon), Just(End::Interrupted)];
        let counts = (0..=3_000u64, 0..20_000u64, 0..5_000u64, 0..2_000u64, end, 1..400u64);
        counts.prop_map(|(assigned, registers, throttled, failed, end, secs)| {
            let mut record = fleet(assigned, registers, end);
            (record.totals.throttled, record.totals.failed) = (throttled, failed);
            record.duration_ns = secs * 1_000_000_000;
            record
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn of_two_runs_only_one_can_be_worse_in_a_number(a in any_fleet(), b in any_fleet(), margin in 0.0..0.5) {
            let (there, back) = (shifts(&a, &b, margin), shifts(&b, &a, margin));
            for (there, back) in there.iter().zip(&back) {
                prop_assert_eq!(&there.name, &back.name);
                let both = [there.verdict, back.verdict];
                prop_assert_ne!(both, [Direction::Worse; 2], "{}", there.name);
                prop_assert_ne!(both, [Direction::Better; 2], "{}", there.name);
            }
            if b.totals.assigned > a.totals.assigned {
                let costs = there.iter().filter(|shift| shift.name.starts_with("registrations"));
                prop_assert!(costs.into_iter().all(|shift| shift.verdict != Direction::Worse));
            }
        }
    }
}
