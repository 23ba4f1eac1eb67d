//! The part of a run in which an objective was worst.

use fleetstorm_model::objective::{Comparison, Metric, Objective, Timed, What};
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{Heat, WorstWindow};
use fleetstorm_units::number::{micros, number, rank};

use super::measure::{is, percent, seconds, show, written};

/// A percentile of fewer samples says nothing of a window.
const SAMPLES_MIN: u64 = 20;
/// Rates are looked at in windows of about a minute.
const RATE_WINDOW_S: usize = 60;

/// Finds it among the moments that the objective is about; absent for objectives that are about none, and where no
/// window has enough samples.
pub(super) fn window(record: &Record, objective: &Objective) -> Option<WorstWindow> {
    // What is kept over time is of the whole fleet.
    if objective.cohort.is_some() {
        return None;
    }
    match &objective.metric {
        Metric::Rate(what @ (What::Status(429) | What::Failed)) => rate(record, *what, objective),
        Metric::Rate(what) | Metric::Count(what) => count(record, *what, objective),
        Metric::Percentile(p, Timed::Phase(phase)) => {
            let heat = record.heat.iter().find(|heat| heat.phase == phase.name())?;
            percentile(heat, *p, record.window_ns, objective)
        }
        _ => None,
    }
}

/// The one farthest from what the objective wants: the first of equals.
fn worst(objective: &Objective, found: impl Iterator<Item = (usize, f64)>) -> Option<(usize, f64)> {
    let badness = |value: f64| match objective.comparison {
        Comparison::Less | Comparison::AtMost => value,
        Comparison::AtLeast | Comparison::More => -value,
        Comparison::Equal => (value - written(objective.bound)).abs(),
    };
    found.reduce(|worst, next| if badness(next.1) > badness(worst.1) { next } else { worst })
}

/// The minute with the largest share of refusals or failures.
fn rate(record: &Record, what: What, objective: &Objective) -> Option<WorstWindow> {
    let series = &record.series;
    let counted = if what == What::Failed { &series.failed } else { &series.throttled };
    let step_s = usize::try_from(series.step_s.max(1)).ok()?;
    let all = series.accepted.len();
    let from = objective.after.map_or(0, |after| usize::try_from(after.as_secs()).unwrap_or(all) / step_s);
    let until = objective.within.map_or(all, |within| seconds(within).div_ceil(step_s)).min(all);
    let width = (RATE_WINDOW_S / step_s).max(1).min(until.checked_sub(from)?);
    let sum = |list: &[u32], at: usize| -> u64 {
        list.iter().skip(at).take(width).map(|count| u64::from(*count)).sum()
    };
    let shares = (from..=until - width).filter_map(|at| {
        let ended = sum(&series.accepted, at) + sum(&series.throttled, at) + sum(&series.failed, at);
        (ended >= SAMPLES_MIN).then(|| (at, percent(sum(counted, at), ended)))
    });
    let (at, share) = worst(objective, shares)?;
    let ns = |at: usize| (at * step_s) as u64 * 1_000_000_000;
    Some(WorstWindow { from_ns: ns(at), to_ns: ns(at + width), observed: show(share, objective) })
}

/// The window in which it happened most often, where it should not have: a number that is wanted is that of a whole run,
/// and no part of it is to blame.
fn count(record: &Record, what: What, objective: &Objective) -> Option<WorstWindow> {
    let wanted = match objective.comparison {
        Comparison::Less | Comparison::AtMost => false,
        Comparison::Equal => written(objective.bound) != 0.0,
        Comparison::AtLeast | Comparison::More => true,
    };
    if wanted {
        return None;
    }
    let windows = record.codes.iter().map(|code| code.windows.len()).max()?;
    let mut sums = vec![0.0; windows];
    for code in record.codes.iter().filter(|code| is(code, what)) {
        for (sum, count) in sums.iter_mut().zip(&code.windows) {
            *sum += f64::from(*count);
        }
    }
    let (at, most) = worst(objective, sums.into_iter().enumerate())?;
    (most > 0.0).then(|| WorstWindow {
        from_ns: at as u64 * record.window_ns,
        to_ns: (at as u64 + 1) * record.window_ns,
        observed: number(most),
    })
}

/// The window with the largest percentile, to the upper edge of its bucket.
fn percentile(heat: &Heat, p: f64, window_ns: u64, objective: &Objective) -> Option<WorstWindow> {
    let windows = heat.rows.first()?.len();
    let of = |window: usize| -> Option<u64> {
        let column = || heat.rows.iter().map(move |row| u64::from(row.get(window).copied().unwrap_or(0)));
        let samples: u64 = column().sum();
        if samples < SAMPLES_MIN {
            return None;
        }
        let rank = rank(p, samples);
        let through = column().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let bucket = through.take_while(|through| *through < rank).count();
        heat.edges_us.get(bucket + 1).copied()
    };
    let found = (0..windows).filter_map(|window| Some((window, of(window)? as f64)));
    let (at, us) = worst(objective, found)?;
    Some(WorstWindow {
        from_ns: at as u64 * window_ns,
        to_ns: (at as u64 + 1) * window_ns,
        observed: format!("below {}", micros(us as u64)),
    })
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::record::Code;

    use super::*;

    fn worst(record: &Record, text: &str) -> Option<(u64, u64, String)> {
        let found = window(record, &text.parse().unwrap())?;
        Some((found.from_ns / 1_000_000_000, found.to_ns / 1_000_000_000, found.observed))
    }

    #[test]
    fn the_worst_minute_is_found_by_its_share() {
        let mut record = Record::empty();
        record.series.accepted = vec![1; 300];
        record.series.throttled = (0..300).map(|s| if (100..160).contains(&s) { 3 } else { 1 }).collect();
        record.series.failed = vec![0; 300];
        assert_eq!(worst(&record, "rate(429) < 10%"), Some((100, 160, "75 %".into())));
        assert_eq!(
            worst(&record, "rate(429) < 10% after 130s"),
            Some((130, 190, "66.7 %".into())),
            "nothing before counts"
        );
        assert_eq!(worst(&record, "rate(429) < 10% within 30s"), Some((0, 30, "50 %".into())));
        assert_eq!(
            worst(&record, "rate(429) > 60%"),
            Some((0, 60, "50 %".into())),
            "little is worse than much"
        );
        record.series.accepted = vec![0; 300];
        record.series.throttled = vec![0; 300];
        assert_eq!(worst(&record, "rate(429) < 10%"), None, "nothing happened");
    }

    #[test]
    fn a_count_and_a_percentile_have_their_worst_window() {
        let mut record = Record::empty();
        record.window_ns = 2_000_000_000;
        record.codes = vec![Code {
            operation: "register".into(),
            status: 500,
            code: 500_000,
            fault: String::new(),
            count: 9,
            devices: 9,
            first_ns: 0,
            last_ns: 0,
            windows: vec![1, 0, 7, 1],
            causes: Vec::new(),
        }];
        assert_eq!(worst(&record, "count(500) == 0"), Some((4, 6, "7".into())));
        assert_eq!(worst(&record, "count(404) == 0"), None);
        assert_eq!(worst(&record, "count(500) >= 1"), None);
        record.heat = vec![Heat {
            phase: "register".into(),
            edges_us: vec![1_000, 1_500, 2_000, 3_000],
            rows: vec![vec![50, 90, 1], vec![50, 0, 0], vec![0, 10, 1]],
        }];
        // Of 100 samples in the second window the 95th lies in the last bucket; the third window has too few.
        assert_eq!(worst(&record, "p95(register) < 1s"), Some((2, 4, "below 3 ms".into())));
        assert_eq!(worst(&record, "p50(register) < 1s"), Some((0, 2, "below 1.5 ms".into())));
        assert_eq!(worst(&record, "p95(register) > 1s"), Some((0, 2, "below 2 ms".into())));
        assert_eq!(worst(&record, "p99(poll) < 1s"), None);
    }
}
