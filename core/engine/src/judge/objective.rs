//! Whether an objective held.

use fleetstorm_model::objective::{Comparison, Metric, Objective, Quantity, Timed, What};
use fleetstorm_model::phase::Phase;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{Code, Objective as Judged, ObjectiveStatus, Totals, percentile_us};
use fleetstorm_units::number::{counted, grouped, rank};
use fleetstorm_units::time::Span;

use super::measure::{is, percent, seconds, share_or_number, show, written};
use super::{life, practice, worst};

/// What was observed, in the unit that the bound is written in, or why there is nothing. A share is in percent, so that
/// 999 of 1,000 and `99.9%` are the same number: the hundredth part of the latter is not.
type Observed = Result<f64, String>;

/// Judges one objective on a record. Windows are kept to the second.
///
/// A run that ended before its time leaves an objective undecided, unless nothing that could have come would have changed
/// it.
pub(super) fn judge(record: &Record, objective: &Objective) -> Judged {
    let bound = written(objective.bound);
    let unit = if matches!(objective.bound, Quantity::Percent(_)) { 100.0 } else { 1.0 };
    let observed = observe(record, objective);
    let holds = |value: &f64| objective.comparison.holds(*value, bound);
    let open = too_early(record, objective).filter(|_| !is_final(record, objective, &observed, bound));
    let (status, note) = match (&observed, open) {
        (_, Some(why)) => (ObjectiveStatus::Undecided, why),
        (Err(why), None) => (ObjectiveStatus::NoData, why.clone()),
        (Ok(value), None) if holds(value) => (ObjectiveStatus::Passed, few(record, objective)),
        (Ok(_), None) => (ObjectiveStatus::Failed, note(record, objective)),
    };
    let value = observed.ok();
    Judged {
        expression: objective.to_string(),
        status,
        observed: value.map_or("no data".to_owned(), |value| show(value, objective)),
        value: value.map(|value| value / unit),
        bound: bound / unit,
        margin: value.and_then(|value| margin(value, bound, objective.comparison)),
        note,
        worst: worst::window(record, objective),
    }
}

/// Why the time of an objective has not come, in a run that ended before its own.
fn too_early(record: &Record, objective: &Objective) -> Option<String> {
    let how = record.end.cut_short()?;
    let ended = Span::from_nanos(record.duration_ns);
    match objective.within {
        Some(within) if within <= ended => None,
        Some(within) => Some(format!("the run {how} after {ended}, and its time comes at {within}")),
        None => Some(format!("the run {how} after {ended}, and its time comes at the end")),
    }
}

/// Whether what has been counted until now decides an objective whatever comes later: a count that only grows has passed
/// its bound.
fn is_final(record: &Record, objective: &Objective, observed: &Observed, bound: f64) -> bool {
    let Ok(value) = observed else { return false };
    let grows = match objective.metric {
        Metric::Assigned => objective.within.is_some(),
        Metric::Count(_) | Metric::NeedlessRegisters => true,
        Metric::Broken(about) => practice::only_grows(record, about),
        _ => false,
    };
    // Later boots share what was asked for until now.
    let grows = grows || objective.metric == Metric::RegistersPerDevice && record.totals.unborn == 0;
    let holds = objective.comparison.holds(*value, bound);
    grows
        && match objective.comparison {
            Comparison::AtLeast | Comparison::More => holds,
            Comparison::AtMost | Comparison::Less => !holds,
            Comparison::Equal => *value > bound || holds && record.totals.assigned == record.devices,
        }
}

/// The totals of the devices that an objective is about.
fn totals<'a>(record: &'a Record, objective: &Objective) -> Result<&'a Totals, String> {
    match &objective.cohort {
        None => Ok(&record.totals),
        Some(name) => match record.cohorts.iter().find(|cohort| cohort.name == *name) {
            Some(cohort) => Ok(&cohort.totals),
            None => Err(format!("there is no cohort `{name}`")),
        },
    }
}

fn observe(record: &Record, objective: &Objective) -> Observed {
    if let Some(observed) = life::observe(record, objective) {
        return observed;
    }
    let totals = totals(record, objective)?;
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
        Metric::Percentile(p, Timed::Phase(phase)) => latency_percentile(record, *p, *phase),
        Metric::Broken(about) => practice::observe(record, *about),
        Metric::Rate(what) => rate(record, *what, objective),
        Metric::Count(what) => {
            booted(totals)?;
            Ok(record.codes.iter().filter(|code| is(code, *what)).map(|code| code.count).sum::<u64>() as f64)
        }
    }
}

fn attempts_percentile(record: &Record, p: f64) -> Observed {
    let devices: u64 = record.attempts.values().sum();
    let rank = rank(p, devices);
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
fn latency_percentile(record: &Record, p: f64, phase: Phase) -> Observed {
    match samples(record, phase)? {
        Some(all) => Ok(percentile_us(&all, p) as f64 / 1e6),
        None => Err(format!("nothing was recorded for {}", Timed::Phase(phase))),
    }
}

/// All endings of a phase; `None` if there were none.
fn samples(record: &Record, phase: Phase) -> Result<Option<hdrhistogram::Histogram<u64>>, String> {
    let mut all: Option<hdrhistogram::Histogram<u64>> = None;
    for recorded in record.phases.iter().filter(|recorded| recorded.phase == phase.name()) {
        let Some(histogram) = recorded.intended.decode() else { continue };
        match &mut all {
            Some(all) => {
                all.add(&histogram).map_err(|_| "the record's histograms do not fit together".to_owned())?
            }
            None => all = Some(histogram),
        }
    }
    Ok(all.filter(|all| !all.is_empty()))
}

/// What a percentile stands on, where it is no more than the largest of a few samples.
fn few(record: &Record, objective: &Objective) -> String {
    let Metric::Percentile(p, timed) = objective.metric else { return String::new() };
    let count = match timed {
        Timed::Attempts => record.attempts.values().sum(),
        Timed::Phase(phase) => samples(record, phase).ok().flatten().map_or(0, |all| all.len()),
    };
    if p < 100.0 && count > 0 && rank(p, count) == count {
        format!("there are {}: their p{p} is the largest of them", counted(count, "sample"))
    } else {
        String::new()
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
            if ended == 0 { Err(nothing()) } else { Ok(percent(counted, ended)) }
        }
        _ => {
            let all: u64 = record.codes.iter().map(|code| code.count).sum();
            let counted: u64 = record.codes.iter().filter(|code| is(code, what)).map(|code| code.count).sum();
            if all == 0 { Err(nothing()) } else { Ok(percent(counted, all)) }
        }
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

/// Where it broke.
fn note(record: &Record, objective: &Objective) -> String {
    match &objective.metric {
        Metric::Assigned => {
            let Ok(totals) = totals(record, objective) else { return String::new() };
            let missing = totals.devices.saturating_sub(totals.assigned);
            match totals.stopped_by.iter().max_by_key(|(_, devices)| **devices) {
                _ if missing == 0 => "all devices had their hub in the end, but not in time".to_owned(),
                Some((class, devices)) => format!(
                    "{} without a hub at the end; {} stopped by {class}",
                    counted(missing, "device"),
                    grouped(*devices)
                ),
                None => format!("{} without a hub at the end", counted(missing, "device")),
            }
        }
        Metric::Count(what) | Metric::Rate(what) => {
            let mut met: Vec<&Code> = record.codes.iter().filter(|code| is(code, *what)).collect();
            met.sort_by_key(|code| std::cmp::Reverse(code.count));
            met.first().map_or(String::new(), |code| {
                let first = Span::from_nanos(code.first_ns);
                format!("first at {first}, on {} by {}", code.operation, counted(code.devices, "device"))
            })
        }
        Metric::Broken(about) => practice::note(record, *about),
        Metric::Percentile(..) => few(record, objective),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::record::{Distribution, Phase};
    use proptest::prelude::*;

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
            causes: Vec::new(),
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
        assert_eq!(failed.note, "2 devices without a hub at the end; 2 stopped by unauthorized");
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
        (record.totals.devices, record.totals.assigned) = (250_000, 249_999);
        let lost = judge(&record, &"assigned == 100%".parse().unwrap());
        assert_eq!((lost.status, &*lost.observed), (ObjectiveStatus::Failed, "99.9996 %"));
        (record.totals.devices, record.totals.assigned) = (10_000_000, 9_999_999);
        assert_eq!(judge(&record, &"assigned == 100%".parse().unwrap()).status, ObjectiveStatus::Failed);
        (record.totals.devices, record.totals.assigned) = (1_000, 999);
        let exact = judge(&record, &"assigned >= 99.9%".parse().unwrap());
        assert_eq!(
            (exact.status, &*exact.observed),
            (ObjectiveStatus::Passed, "99.9 %"),
            "a bound in decimal is met"
        );
    }

    #[test]
    fn a_cohorts_failure_is_told_by_the_cohorts_numbers() {
        let mut record = record();
        let mut totals = Totals { devices: 4, booted: 4, assigned: 3, stopped: 1, ..Totals::default() };
        totals.stopped_by.insert("not-found".into(), 1);
        record.cohorts = vec![fleetstorm_reports::record::Cohort {
            name: "old".into(),
            attestation: String::new(),
            retry: String::new(),
            transport: String::new(),
            totals,
            completion: Default::default(),
            assigned: Vec::new(),
        }];
        let failed = judge(&record, &"assigned == 100% for \"old\"".parse().unwrap());
        assert_eq!(failed.note, "1 device without a hub at the end; 1 stopped by not-found");
        assert_eq!((&*failed.observed, failed.worst), ("75 %", None));
    }

    #[test]
    fn a_percentile_of_few_samples_says_what_it_stands_on() {
        let few = judged("p99.99(register) < 1s");
        assert_eq!(few.note, "there are 100 samples: their p99.99 is the largest of them");
        assert_eq!(judged("p99(register) < 1s").note, "");
        assert_eq!(
            judged("p99(attempts_per_device) <= 9").note,
            "there are 8 samples: their p99 is the largest of them"
        );
    }

    /// What a person reads of a value, in the unit of its bound.
    fn read(shown: &str) -> f64 {
        let shown = shown.replace(',', "");
        match shown.strip_suffix(" %").unwrap_or(&shown).parse() {
            Ok(number) => number,
            Err(_) => shown.parse::<Span>().unwrap().as_secs_f64(),
        }
    }

    proptest! {
        #[test]
        fn no_value_that_is_shown_contradicts_its_verdict(
            devices in 1..3_000_000u64,
            lost in 0..40u64,
            registers in 0..9_000_000u64,
            us in 1..400_000_000u64,
            near in 0..5u64,
            comparison in prop::sample::select(vec!["<", "<=", "==", ">=", ">"]),
            thousandths in 0..=100_000u64,
        ) {
            let mut record = record();
            let assigned = devices.saturating_sub(lost);
            record.totals = Totals { devices, booted: devices, assigned, registers, ..Totals::default() };
            let mut histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
            histogram.record(us).unwrap();
            record.phases[0].intended = Distribution::from_histogram(&histogram);
            let measured = record.phases[0].intended.p99_us;
            let exactly = assigned as f64 * 100.0 / devices as f64;
            let each = registers as f64 / devices as f64;
            let bounds = [
                format!("assigned {comparison} {}%", thousandths as f64 / 1_000.0),
                format!("assigned {comparison} {exactly:.3}%"),
                format!("assigned {comparison} {assigned}"),
                format!("registers_per_device {comparison} {each:.1}"),
                format!("registers_per_device {comparison} 1"),
                format!("p99(register) {comparison} {}us", measured.saturating_sub(near).max(1)),
                format!("p99(register) {comparison} {}ms", us.div_ceil(1_000)),
                format!("p99(register) {comparison} {}s", us.div_ceil(1_000_000)),
            ];
            for text in bounds {
                let objective: Objective = text.parse().unwrap();
                let judged = judge(&record, &objective);
                let shown = objective.comparison.holds(read(&judged.observed), written(objective.bound));
                prop_assert_eq!(shown, judged.status == ObjectiveStatus::Passed, "{}: {}", text, judged.observed);
                if let Some(margin) = judged.margin && margin != 0.0 && comparison != "==" {
                    prop_assert_eq!(margin > 0.0, shown, "{}: {}", text, margin);
                }
            }
        }
    }
}
