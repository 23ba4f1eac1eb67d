//! Whether an objective held.

use super::life;
use fleetstorm_model::scenario::{Comparison, Metric, Objective, Quantity, Timed, What};
use fleetstorm_model::time::Span;
use fleetstorm_reports::record::{Code, Objective as Judged, ObjectiveStatus, Totals};
use fleetstorm_reports::{Record, grouped};

use super::worst;

/// What was observed, in the unit of the bound, or why there is nothing.
type Observed = Result<f64, String>;

/// Judges one objective on a record. Windows are kept to the second.
pub(super) fn judge(record: &Record, objective: &Objective) -> Judged {
    let bound = match objective.bound {
        Quantity::Percent(share) => share / 100.0,
        Quantity::Number(number) => number,
        Quantity::Time(span) => span.as_secs_f64(),
    };
    let observed = observe(record, objective);
    let (status, note) = match &observed {
        Err(why) => (ObjectiveStatus::NoData, why.clone()),
        Ok(value) if objective.comparison.holds(*value, bound) => (ObjectiveStatus::Passed, String::new()),
        Ok(_) => (ObjectiveStatus::Failed, note(record, objective)),
    };
    let value = observed.ok();
    Judged {
        expression: objective.to_string(),
        status,
        observed: value.map_or("no data".to_owned(), |value| show(value, objective)),
        value,
        bound,
        margin: value.and_then(|value| margin(value, bound, objective.comparison)),
        note,
        worst: worst::window(record, objective),
    }
}

fn observe(record: &Record, objective: &Objective) -> Observed {
    if let Some(observed) = life::observe(record, objective) {
        return observed;
    }
    let totals = match &objective.cohort {
        None => &record.totals,
        Some(name) => match record.cohorts.iter().find(|cohort| cohort.name == *name) {
            Some(cohort) => &cohort.totals,
            None => return Err(format!("there is no cohort `{name}`")),
        },
    };
    let booted =
        |totals: &Totals| if totals.booted == 0 { Err("no device booted".to_owned()) } else { Ok(()) };
    match &objective.metric {
        Metric::Assigned => {
            booted(totals)?;
            let assigned = match objective.within {
                Some(within) => {
                    let seconds = seconds(within);
                    record.series.assigned.iter().take(seconds).map(|count| u64::from(*count)).sum()
                }
                None => totals.assigned,
            };
            Ok(share_or_number(assigned, totals.devices, objective.bound))
        }
        Metric::Stopped => {
            booted(totals)?;
            Ok(share_or_number(totals.stopped, totals.devices, objective.bound))
        }
        Metric::AttemptsPerDevice => {
            let (devices, attempts) = record
                .attempts
                .iter()
                .fold((0u64, 0u64), |(d, a), (count, devices)| (d + devices, a + count * devices));
            if devices == 0 {
                Err("no device was assigned".to_owned())
            } else {
                Ok(attempts as f64 / devices as f64)
            }
        }
        Metric::RegistersPerDevice => {
            booted(totals)?;
            Ok(totals.registers as f64 / totals.booted as f64)
        }
        // Those of the life after provisioning are observed above.
        Metric::Online | Metric::CachedReconnects | Metric::NeedlessRegisters => Err(String::new()),
        Metric::Percentile(p, Timed::Attempts) => attempts_percentile(record, *p),
        Metric::Percentile(p, timed) => latency_percentile(record, *p, *timed),
        Metric::Rate(what) => rate(record, *what, objective),
        Metric::Count(what) => {
            booted(totals)?;
            Ok(record.codes.iter().filter(|code| is(code, *what)).map(|code| code.count).sum::<u64>() as f64)
        }
    }
}

/// Whole seconds that a window covers.
fn seconds(span: Span) -> usize {
    usize::try_from(span.as_nanos().div_ceil(1_000_000_000)).unwrap_or(usize::MAX)
}

fn share_or_number(count: u64, of: u64, bound: Quantity) -> f64 {
    match bound {
        Quantity::Percent(_) => count as f64 / of.max(1) as f64,
        Quantity::Number(_) | Quantity::Time(_) => count as f64,
    }
}

fn attempts_percentile(record: &Record, p: f64) -> Observed {
    let devices: u64 = record.attempts.values().sum();
    let rank = ((p / 100.0 * devices as f64).ceil() as u64).max(1);
    let mut through = 0;
    for (attempts, devices) in &record.attempts {
        through += devices;
        if through >= rank {
            return Ok(*attempts as f64);
        }
    }
    Err("no device was assigned".to_owned())
}

/// The percentile over all endings of a phase, from the instant a device should have acted.
fn latency_percentile(record: &Record, p: f64, timed: Timed) -> Observed {
    let name = timed.name().replace('_', "-");
    let mut all: Option<hdrhistogram::Histogram<u64>> = None;
    for phase in record.phases.iter().filter(|phase| phase.phase == name) {
        let Some(histogram) = phase.intended.decode() else { continue };
        match &mut all {
            Some(all) => {
                all.add(&histogram).map_err(|_| "the record's histograms do not fit together".to_owned())?
            }
            None => all = Some(histogram),
        }
    }
    match all {
        Some(all) if !all.is_empty() => Ok(all.value_at_percentile(p) as f64 / 1e6),
        _ => Err(format!("nothing was recorded for {}", timed.name())),
    }
}

fn rate(record: &Record, what: What, objective: &Objective) -> Observed {
    let nothing = || "nothing was answered in that time".to_owned();
    let series = &record.series;
    match what {
        What::Status(429) | What::Failed => {
            let from =
                objective.after.map_or(0, |after| usize::try_from(after.as_secs()).unwrap_or(usize::MAX));
            let until = objective.within.map_or(usize::MAX, seconds);
            let sum = |list: &[u32]| {
                let until = until.min(list.len());
                list.get(from.min(until)..until)
                    .unwrap_or(&[])
                    .iter()
                    .map(|count| u64::from(*count))
                    .sum::<u64>()
            };
            let (accepted, throttled, failed) =
                (sum(&series.accepted), sum(&series.throttled), sum(&series.failed));
            let ended = accepted + throttled + failed;
            let counted = if what == What::Failed { failed } else { throttled };
            if ended == 0 { Err(nothing()) } else { Ok(counted as f64 / ended as f64) }
        }
        _ => {
            let all: u64 = record.codes.iter().map(|code| code.count).sum();
            let counted: u64 = record.codes.iter().filter(|code| is(code, what)).map(|code| code.count).sum();
            if all == 0 { Err(nothing()) } else { Ok(counted as f64 / all as f64) }
        }
    }
}

pub(super) fn is(code: &Code, what: What) -> bool {
    match what {
        // A challenge is a 401 of its own kind: no credential was refused.
        What::Status(status) => code.status == status && !code.is_challenge(),
        What::Code(wanted) => code.code == wanted,
        What::Fault(fault) => code.fault == fault.name(),
        What::Failed => code.status != 429 && !code.succeeded(),
    }
}

/// Distance to the bound as a share of it; positive is headroom.
fn margin(value: f64, bound: f64, comparison: Comparison) -> Option<f64> {
    if bound == 0.0 {
        return None;
    }
    match comparison {
        Comparison::Less | Comparison::AtMost => Some((bound - value) / bound),
        Comparison::AtLeast | Comparison::More => Some((value - bound) / bound),
        Comparison::Equal => None,
    }
}

fn show(value: f64, objective: &Objective) -> String {
    match objective.bound {
        Quantity::Percent(_) => {
            let percent = value * 100.0;
            // Never rounded to 100 %: one missing device of ten thousand is a missing device.
            let digits = if percent < 100.0 && percent > 99.0 { 3 } else { 2 };
            let text = format!("{percent:.digits$}");
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        }
        Quantity::Time(_) => Span::from_secs_f64(value).to_string(),
        Quantity::Number(_) => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

/// Where it broke.
fn note(record: &Record, objective: &Objective) -> String {
    match &objective.metric {
        Metric::Assigned => {
            let missing = record.devices.saturating_sub(record.totals.assigned);
            match record.totals.stopped_by.iter().max_by_key(|(_, devices)| **devices) {
                Some((class, devices)) => {
                    format!(
                        "{} devices have no hub at the end; {} stopped by {class}",
                        grouped(missing),
                        grouped(*devices)
                    )
                }
                None if missing > 0 => format!("{} devices have no hub at the end", grouped(missing)),
                None => "all devices had their hub in the end, but not in time".to_owned(),
            }
        }
        Metric::Count(what) | Metric::Rate(what) => {
            let mut met: Vec<&Code> = record.codes.iter().filter(|code| is(code, *what)).collect();
            met.sort_by_key(|code| std::cmp::Reverse(code.count));
            met.first().map_or(String::new(), |code| {
                let first = Span::from_nanos(code.first_ns);
                format!("first at {first}, on {} by {} devices", code.operation, code.devices)
            })
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::record::{Distribution, Phase};

    use super::*;

    /// 10 devices: 6 assigned in the first second, 2 in the second, 2 stopped; 5 requests of 20 throttled.
    fn record() -> Record {
        let mut record = Record::empty();
        record.devices = 10;
        record.totals =
            Totals { devices: 10, booted: 10, assigned: 8, stopped: 2, registers: 15, ..Totals::default() };
        record.totals.stopped_by.insert("unauthorized".into(), 2);
        record.series.assigned = vec![6, 2];
        record.series.accepted = vec![10, 3];
        record.series.throttled = vec![5, 0];
        record.series.failed = vec![1, 1];
        record.attempts = [(2, 5), (3, 2), (9, 1)].into_iter().collect();
        let code = |operation: &str, status, code, fault: &str, count| Code {
            operation: operation.into(),
            status,
            code,
            fault: fault.into(),
            count,
            devices: 1,
            first_ns: 0,
            last_ns: 0,
            windows: Vec::new(),
        };
        record.codes = vec![
            code("register", 202, 0, "", 13),
            code("register", 401, 401_000, "", 1),
            code("register", 429, 429_001, "", 5),
            code("connect", 0, 0, "refused", 1),
        ];
        let mut histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        for ms in 1..=100 {
            histogram.record(ms * 1_000).unwrap();
        }
        let distribution = Distribution::from_histogram(&histogram);
        record.phases = vec![Phase {
            phase: "register".into(),
            outcome: "ok".into(),
            intended: distribution.clone(),
            service: distribution,
        }];
        record
    }

    fn judged(text: &str) -> Judged {
        judge(&record(), &text.parse().unwrap())
    }

    #[test]
    fn every_metric_is_observed_as_counted_by_hand() {
        for (text, value) in [
            ("assigned >= 80%", 0.8),
            ("assigned >= 8", 8.0),
            ("assigned >= 60% within 1s", 0.6),
            ("assigned >= 60% within 1500ms", 0.8),
            ("stopped == 2", 2.0),
            ("stopped <= 20%", 0.2),
            ("attempts_per_device <= 5", (2.0 * 5.0 + 3.0 * 2.0 + 9.0) / 8.0),
            ("registers_per_device <= 2", 1.5),
            ("p50(attempts_per_device) <= 5", 2.0),
            ("p99(attempts_per_device) <= 9", 9.0),
            ("rate(429) < 50%", 0.25),
            ("rate(429) < 50% after 1s", 0.0),
            ("rate(failed) < 50%", 0.1),
            ("rate(401) < 50%", 0.05),
            ("count(401) == 1", 1.0),
            ("count(401000) == 1", 1.0),
            ("count(refused) == 1", 1.0),
            ("count(failed) == 2", 2.0),
        ] {
            let judged = judged(text);
            assert!((judged.value.unwrap() - value).abs() < 1e-9, "{text}: {:?}", judged.value);
            assert_eq!(judged.status, ObjectiveStatus::Passed, "{text}");
        }
        let p90 = judged("p90(register) < 1s").value.unwrap();
        assert!((p90 / 0.090 - 1.0).abs() < 0.002, "{p90}");
    }

    #[test]
    fn a_failure_says_by_how_much_and_where() {
        let failed = judged("assigned >= 99.9% within 15m");
        assert_eq!((failed.status, &*failed.observed), (ObjectiveStatus::Failed, "80 %"));
        assert!(failed.margin.unwrap() < 0.0);
        assert_eq!(failed.note, "2 devices have no hub at the end; 2 stopped by unauthorized");
        assert!(judged("count(429) == 0").note.contains("register"));
    }

    #[test]
    fn nothing_recorded_is_no_data_and_not_a_pass() {
        for text in ["p99(lookup) < 1s", "rate(429) < 50% after 1h", "p99(time_to_assigned) < 1s"] {
            assert_eq!(judged(text).status, ObjectiveStatus::NoData, "{text}");
        }
        let nobody = judge(&Record::empty(), &"stopped == 0".parse().unwrap());
        assert_eq!(nobody.status, ObjectiveStatus::NoData);
    }

    #[test]
    fn almost_all_is_never_shown_as_all() {
        let mut record = record();
        (record.totals.devices, record.totals.assigned) = (100_000, 99_999);
        assert_eq!(judge(&record, &"assigned == 100%".parse().unwrap()).observed, "99.999 %");
    }
}
