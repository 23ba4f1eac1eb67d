//! One run in numbers (`strategies` 5.2).

use fleetstorm_engine::virtual_time::{Fate, Herd};
use fleetstorm_reports::Record;
use fleetstorm_reports::analysis::Metrics;
use fleetstorm_reports::record::{Bound, Series};
use fleetstorm_units::time::Span;

use crate::statistics::{Ending, cumulative_incidence, jain, kaplan_meier, restricted_mean};

/// The numbers of one run up to its horizon; some are known only of a fleet whose devices were kept one by one.
pub(super) fn of(record: &Record, herd: Option<&Herd>, horizon: Span) -> Metrics {
    let secs = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e9);
    let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let completion = &record.completion;
    let t99_s = secs(completion.t99_ns);
    let fates = herd.map(|herd| Fates::of(herd, horizon));
    let quota = record.bound.as_ref().map(|bound| bound.rate_per_s);
    let (first, later) = match herd {
        Some(herd) => (second_peak(&herd.first), second_peak(&herd.later)),
        None => peaks(&record.series),
    };
    let peak = |most: f64| quota.filter(|quota| *quota > 0.0).map(|quota| most / quota);
    let cohorts: Vec<Option<f64>> =
        record.cohorts.iter().map(|cohort| secs(cohort.completion.t99_ns)).collect();
    let cohorts: Option<Vec<f64>> = cohorts.into_iter().collect();
    Metrics {
        t50_s: secs(completion.t50_ns),
        t90_s: secs(completion.t90_ns),
        t99_s,
        t100_s: secs(completion.t100_ns),
        efficiency: record
            .bound
            .as_ref()
            .zip(t99_s)
            .map(|(bound, t99_s)| ideal_s(bound, record.devices as f64 * 0.99) / t99_s),
        mean_wait_s: fates.as_ref().map(|fates| fates.mean_wait_s),
        given_up: match fates {
            Some(fates) => fates.given_up,
            None => ratio(record.totals.stopped, record.devices),
        },
        amplification: ratio(record.totals.registers, record.totals.assigned),
        billable: ratio(record.totals.billable, record.devices),
        throttled: ratio(record.totals.throttled, record.totals.requests),
        first_peak: peak(first),
        retry_peak: peak(later),
        synchrony: record.herd.synchrony,
        fullest_slot: record.herd.fullest_share,
        wait_max_s: herd.map(|herd| herd.wait_max_ns as f64 / 1e9),
        fairness: herd.and_then(|herd| jain(herd.attempts.iter().map(|&attempts| f64::from(attempts)))),
        cohort_gap: cohorts.and_then(|cohorts| {
            let slowest = cohorts.iter().copied().reduce(f64::max)?;
            let fastest = cohorts.iter().copied().reduce(f64::min)?;
            (fastest > 0.0).then_some(slowest / fastest)
        }),
    }
}

/// What survival analysis makes of what became of the devices.
struct Fates {
    mean_wait_s: f64,
    given_up: Option<f64>,
}

impl Fates {
    fn of(herd: &Herd, horizon: Span) -> Self {
        let endings: Vec<(f64, Ending)> = herd
            .fates
            .iter()
            .zip(&herd.at)
            .map(|(fate, at)| match fate {
                Fate::Assigned => (at.as_secs_f64(), Ending::Event),
                Fate::Stopped => (at.as_secs_f64(), Ending::Competing),
                Fate::Unfinished => (horizon.as_secs_f64(), Ending::Censored),
            })
            .collect();
        // A device that gave up waits to the end: its time is not cut short by that.
        let waiting: Vec<_> = endings
            .iter()
            .map(|&(at, ending)| match ending {
                Ending::Event => (at, Ending::Event),
                Ending::Competing | Ending::Censored => (horizon.as_secs_f64(), Ending::Censored),
            })
            .collect();
        let gave_up: Vec<_> = endings
            .iter()
            .map(|&(at, ending)| match ending {
                Ending::Event => (at, Ending::Competing),
                Ending::Competing => (at, Ending::Event),
                Ending::Censored => (at, Ending::Censored),
            })
            .collect();
        Self {
            mean_wait_s: restricted_mean(&kaplan_meier(&waiting), horizon.as_secs_f64()),
            given_up: cumulative_incidence(&gave_up).last().map(|step| step.value),
        }
    }
}

/// Most first attempts and most later ones in a second of the record.
fn peaks(series: &Series) -> (f64, f64) {
    let step = f64::from(series.step_s.max(1));
    let most = |counts: &mut dyn Iterator<Item = u32>| f64::from(counts.max().unwrap_or(0)) / step;
    let later = series.registers.iter().zip(&series.first).map(|(all, first)| all.saturating_sub(*first));
    (most(&mut series.first.iter().copied()), most(&mut { later }))
}

/// The earliest time at which `k` registrations can have passed a quota.
fn ideal_s(bound: &Bound, k: f64) -> f64 {
    if bound.window_s > 0.0 {
        return ((k - 1.0) / bound.burst).floor().max(0.0) * bound.window_s;
    }
    ((k - bound.burst) / bound.rate_per_s).max(0.0)
}

/// Most in ten consecutive slots, which are a second.
fn second_peak(slots: &[u32]) -> f64 {
    let (mut sum, mut most) = (0u64, 0);
    for (at, &count) in slots.iter().enumerate() {
        sum += u64::from(count);
        if at >= 10 {
            sum -= u64::from(slots[at - 10]);
        }
        most = most.max(sum);
    }
    most as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ideal_follows_the_quota() {
        let mut bound = Bound { rate_per_s: 10.0, burst: 100.0, window_s: 0.0, what: String::new() };
        assert_eq!([50.0, 100.0, 150.0].map(|k| ideal_s(&bound, k)), [0.0, 0.0, 5.0]);
        bound.window_s = 60.0;
        assert_eq!([1.0, 100.0, 101.0, 250.0].map(|k| ideal_s(&bound, k)), [0.0, 0.0, 60.0, 120.0]);
    }

    #[test]
    fn a_peak_is_over_any_second() {
        let mut slots = vec![0; 30];
        slots[9] = 5;
        slots[12] = 4;
        slots[22] = 6;
        assert_eq!(second_peak(&slots), 9.0);
        assert_eq!(second_peak(&[]), 0.0);
    }
}
