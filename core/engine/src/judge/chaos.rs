//! What came of each fault: whether it hit, when it was felt, and whether the fleet came back.
//!
//! A fault is felt when a larger share of the attempts goes wrong than in the half minute before it. The fleet has come
//! back when as many devices have come to rest as were waiting at the fault's end and, after its last occurrence, when
//! the last of those that it hit has its hub or has given up. It has locked up if for five minutes devices ask and fewer
//! than half of those that the quota allows come through. What was not seen to its end is unknown, and does not pass.

use fleetstorm_model::chaos::{Fault as Rule, FaultKind, Timeline, Window};
use fleetstorm_reports::record::{Fault, FaultStatus, FaultWindow, Totals};
use fleetstorm_reports::{Record, grouped};
use fleetstorm_units::time::{Moment, Span};

use crate::record::StruckDevices;

/// How long before a fault it is looked at what is usual.
const BEFORE_S: usize = 30;
/// How much more has to go wrong than usual, as a share of the attempts.
const FELT: f64 = 0.05;
/// How often it is looked at whether a fleet has locked up.
const STEP_S: usize = 60;
/// How long after its end a fault may still be felt.
const AFTER_S: usize = 60;
/// How long a fleet may drain badly without having locked up.
const PATIENCE_S: usize = 300;
/// How badly: less than this share of the quota.
const BADLY: f64 = 0.5;
/// Occurrences of one fault that a record keeps.
const WINDOWS_MAX: usize = 1_000;

/// Judges every fault of a run that ended at `now`; `struck` are the devices that each hit.
pub(super) fn faults(
    timeline: &Timeline,
    record: &Record,
    now: Moment,
    registrations: Option<u64>,
    struck: &[StruckDevices],
) -> Vec<Fault> {
    let course = Course::of(record);
    let run = Run { cut_short: record.end.cut_short(), totals: &record.totals };
    let struck = struck.iter().copied().chain(std::iter::repeat(StruckDevices::default()));
    let judged = timeline.faults().iter().zip(struck);
    let mut faults: Vec<Fault> =
        judged.map(|(rule, struck)| judge(rule, struck, &course, &run, now)).collect();
    for (rule, fault) in timeline.faults().iter().zip(&mut faults) {
        if let (FaultKind::FleetDuplicateIds, 1.., "") = (&rule.kind, fault.fired, &*fault.note) {
            fault.note = copies(fault.devices, record.totals.assigned, registrations);
        }
    }
    faults
}

/// What the run as a whole allows to say of a fault.
struct Run<'a> {
    /// Why it ended before its time, if it did.
    cut_short: Option<&'static str>,
    totals: &'a Totals,
}

/// What shows that devices share their ids.
fn copies(devices: u64, assigned: u64, registrations: Option<u64>) -> String {
    let shown = match registrations {
        Some(registrations) if registrations < assigned => {
            format!("the service holds {registrations} registrations for {assigned} devices with a hub")
        }
        Some(_) => "the service holds as many registrations as there are devices with a hub".to_owned(),
        None => "what the service holds is not known here".to_owned(),
    };
    format!("{devices} devices came under the id of another one; {shown}")
}

fn judge(rule: &Rule, struck: StruckDevices, course: &Course, run: &Run<'_>, now: Moment) -> Fault {
    let tally = rule.tally.snapshot();
    let begun = rule.begins();
    let mut windows: Vec<FaultWindow> =
        rule.windows(begun, now).take(WINDOWS_MAX).map(|window| course.judge(window, now)).collect();
    if let Some(last) = windows.last_mut() {
        last.recovered_after_ns = last.recovered_after_ns.and_then(|drained_ns| {
            let ended = Moment::from_nanos(last.until_ns?);
            let back = struck.last_back.map_or(Span::ZERO, |at| at.since(ended));
            (struck.unfinished == 0).then(|| drained_ns.max(back.as_nanos()))
        });
    }
    let (status, note) = status(rule, tally.fired, tally.devices, &struck, &windows, course, run);
    Fault {
        name: rule.name.clone(),
        kind: rule.kind.name().to_owned(),
        layer: rule.kind.layer().name().to_owned(),
        eligible: tally.eligible,
        fired: tally.fired,
        min_fired: rule.min_fired,
        devices: tally.devices,
        stopped: struck.stopped,
        unfinished: struck.unfinished,
        first_ns: tally.first.map(Moment::as_nanos),
        last_ns: tally.last.map(Moment::as_nanos),
        windows,
        exercised: Vec::new(),
        status,
        note,
    }
}

/// What failed goes before what did not happen, and that before what was not seen.
fn status(
    rule: &Rule,
    fired: u64,
    devices: u64,
    struck: &StruckDevices,
    windows: &[FaultWindow],
    course: &Course,
    run: &Run<'_>,
) -> (FaultStatus, String) {
    let unknown = |note: String| (FaultStatus::Unknown, note);
    if run.totals.booted == 0 {
        return unknown("no device booted: nothing is known of what it does".to_owned());
    }
    if let Some(window) = windows.iter().find(|window| window.locked_up) {
        let ended = Span::from_nanos(window.until_ns.unwrap_or_default());
        let note = format!(
            "the fleet locked up after the fault ended at {ended}: devices wait and few come through"
        );
        return (FaultStatus::Failed, note);
    }
    let late = |window: &&FaultWindow| {
        let after = window.recovered_after_ns.map(Span::from_nanos);
        rule.recover_within.is_some_and(|within| after.is_some_and(|after| after > within))
    };
    if let (Some(within), Some(window)) = (rule.recover_within, windows.iter().find(late)) {
        let after = Span::from_nanos(window.recovered_after_ns.unwrap_or_default());
        return (FaultStatus::Failed, format!("the fleet came back after {after}, not within {within}"));
    }
    // It had all the time it was given, and did not come back in it.
    let overdue = |window: &&FaultWindow| {
        let left = window.until_ns.map(|until_ns| course.end().since(Moment::from_nanos(until_ns)));
        window.recovered_after_ns.is_none()
            && rule.recover_within.zip(left).is_some_and(|(within, left)| left > within)
    };
    if let (Some(within), true) = (rule.recover_within, windows.iter().any(|window| overdue(&window))) {
        return (FaultStatus::Failed, format!("the fleet had not come back {within} after the fault ended"));
    }
    if let Some(how) = run.cut_short {
        let note = match windows.is_empty() {
            true => format!("the run {how} before it began"),
            false => format!("the run {how} before it was seen what becomes of the fleet"),
        };
        return unknown(note);
    }
    if fired < rule.min_fired {
        let note = match (windows.is_empty(), rule.waits_for()) {
            (true, Some(devices)) => {
                format!("it waited for {devices} devices with a hub, which there never were")
            }
            (true, None) => "the run ended before it began".to_owned(),
            (false, _) => format!("it hit {fired} times and had to hit {}", rule.min_fired),
        };
        return (FaultStatus::Vacuous, note);
    }
    let lost = struck.stopped + struck.unfinished;
    let hit = |count: u64| format!("{} of the {} devices that it hit", grouped(count), grouped(devices));
    if windows.iter().any(|window| window.until_ns.is_none()) {
        // What carries no device's name may have hit any of them.
        let missing = if devices > 0 { lost } else { run.totals.devices - run.totals.assigned };
        return match (missing, devices) {
            (0, _) => (FaultStatus::Passed, String::new()),
            (_, 0) => unknown(format!(
                "it was still on when the run ended, and {} devices had no hub",
                grouped(missing)
            )),
            _ => unknown(format!("it was still on when the run ended, and {} had no hub", hit(missing))),
        };
    }
    if struck.unfinished > 0 {
        return unknown(format!("the run ended before {} had come back", hit(struck.unfinished)));
    }
    if windows.iter().any(|window| window.recovered_after_ns.is_none()) {
        return unknown("the run ended before it was seen whether the fleet came back".to_owned());
    }
    match struck.stopped {
        0 => (FaultStatus::Passed, String::new()),
        stopped => (FaultStatus::Passed, format!("{} have given up", hit(stopped))),
    }
}

/// How the fleet fared, by the second.
struct Course {
    /// Attempts that ended, and those that went wrong.
    ended: Vec<u32>,
    wrong: Vec<u32>,
    /// Devices that came to rest in that second, and those on their way at its end.
    drained: Vec<u64>,
    waiting: Vec<u32>,
    /// Registrations that were asked for.
    asked: Vec<u32>,
    /// Devices that the quota lets through in a second.
    quota_per_s: Option<f64>,
}

impl Course {
    fn of(record: &Record) -> Self {
        let series = &record.series;
        let sum = |lists: &[&Vec<u32>]| -> Vec<u32> {
            (0..series.sent.len()).map(|at| lists.iter().filter_map(|list| list.get(at)).sum()).collect()
        };
        let mut before = 0u64;
        let drained = series
            .in_flight
            .iter()
            .zip(&series.booted)
            .map(|(waiting, booted)| {
                let drained = (before + u64::from(*booted)).saturating_sub(u64::from(*waiting));
                before = u64::from(*waiting);
                drained
            })
            .collect();
        Self {
            ended: sum(&[&series.accepted, &series.throttled, &series.failed]),
            wrong: sum(&[&series.throttled, &series.failed]),
            drained,
            waiting: series.in_flight.clone(),
            asked: series.registers.clone(),
            quota_per_s: record.bound.as_ref().map(|bound| bound.rate_per_s),
        }
    }

    fn end(&self) -> Moment {
        Moment::START + Span::from_secs(self.waiting.len() as u64)
    }

    fn judge(&self, window: Window, now: Moment) -> FaultWindow {
        let ended = (window.until < now).then_some(window.until);
        FaultWindow {
            from_ns: window.from.as_nanos(),
            until_ns: ended.map(Moment::as_nanos),
            detected_after_ns: self.detected(window).map(|second| since(second, window.from)),
            recovered_after_ns: ended
                .and_then(|until| self.recovered(until).map(|second| since(second, until))),
            locked_up: ended.is_some_and(|until| self.locked_up(until)),
        }
    }

    /// The share of the attempts in these seconds that went wrong.
    fn wrong_share(&self, seconds: std::ops::Range<usize>) -> Option<f64> {
        let sum = |list: &[u32]| {
            let list = list.get(seconds.start.min(list.len())..seconds.end.min(list.len())).unwrap_or(&[]);
            list.iter().map(|count| u64::from(*count)).sum::<u64>()
        };
        let ended = sum(&self.ended);
        (ended > 0).then(|| sum(&self.wrong) as f64 / ended as f64)
    }

    /// The second in which the fault was first felt.
    fn detected(&self, window: Window) -> Option<usize> {
        let from = second(window.from);
        let usual = self.wrong_share(from.saturating_sub(BEFORE_S)..from).unwrap_or(0.0);
        let until = second(window.until).saturating_add(AFTER_S).min(self.ended.len());
        (from..until).find(|&at| self.wrong_share(at..at + 1).is_some_and(|share| share > usual + FELT))
    }

    /// Devices that came to rest in the seconds from this one on.
    fn drained_in(&self, from: usize, seconds: usize) -> u64 {
        self.drained.iter().skip(from).take(seconds).sum()
    }

    /// The second from which on nobody waits any more who waited then: as many devices have come to rest.
    fn recovered(&self, until: Moment) -> Option<usize> {
        let from = second(until);
        let backlog = from.checked_sub(1).and_then(|at| self.waiting.get(at)).copied().unwrap_or(0);
        let mut left = u64::from(backlog);
        for at in from..=self.waiting.len() {
            if left == 0 || at > 0 && at > from && self.waiting.get(at - 1) == Some(&0) {
                return Some(at);
            }
            left = left.saturating_sub(self.drained.get(at).copied().unwrap_or(0));
        }
        None
    }

    /// Whether for five minutes from then on devices were waiting and few came through.
    fn locked_up(&self, until: Moment) -> bool {
        let Some(quota_per_s) = self.quota_per_s else { return false };
        let from = second(until);
        let badly = |at: usize| {
            let waits =
                self.waiting.get(at..at + PATIENCE_S).is_some_and(|part| part.iter().all(|count| *count > 0));
            let backlog = self.waiting.get(at).copied().unwrap_or(0);
            let possible = (quota_per_s * PATIENCE_S as f64).min(f64::from(backlog));
            // Devices that were told to wait, and do, load nobody: a fleet locks up asking.
            let asked: u64 = self.asked.iter().skip(at).take(PATIENCE_S).map(|count| u64::from(*count)).sum();
            waits && asked as f64 >= possible && (self.drained_in(at, PATIENCE_S) as f64) < BADLY * possible
        };
        let last = self.waiting.len().saturating_sub(PATIENCE_S);
        (from..=last).step_by(STEP_S).any(badly)
    }
}

/// The second of a moment.
fn second(moment: Moment) -> usize {
    usize::try_from(moment.as_nanos() / 1_000_000_000).unwrap_or(usize::MAX)
}

/// From a moment to the beginning of a second, or no time if it lies in it.
fn since(second: usize, moment: Moment) -> u64 {
    (Moment::START + Span::from_secs(second as u64)).since(moment).as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fleet of 600 that waits from second 0 on and drains as `drained` says, with a quota of 10 a second.
    fn course(drained: &[u64], wrong: &[u32]) -> Course {
        let mut left = 600u64;
        let waiting = drained.iter().map(|count| {
            left = left.saturating_sub(*count);
            left as u32
        });
        Course {
            waiting: waiting.collect(),
            drained: drained.to_vec(),
            ended: vec![100; drained.len()],
            wrong: wrong.to_vec(),
            asked: wrong.to_vec(),
            quota_per_s: Some(10.0),
        }
    }

    fn at(secs: u64) -> Moment {
        Moment::START + Span::from_secs(secs)
    }

    #[test]
    fn a_fleet_has_come_back_when_nobody_waits_any_more_who_waited_at_the_end_of_the_fault() {
        // Nothing for 20 s, then the quota until all are through.
        let mut drained = vec![0; 20];
        drained.extend([10; 60]);
        drained.extend([0; 20]);
        let course = course(&drained, &vec![0; drained.len()]);
        assert_eq!(course.recovered(at(20)), Some(80), "a backlog that drains is not back yet");
        assert_eq!(course.recovered(at(95)), Some(95), "nobody waits");
        assert!(!course.locked_up(at(20)));
        let mut drained = vec![0; 20];
        drained.extend([10; 40]);
        assert_eq!(self::course(&drained, &[0; 60]).recovered(at(20)), None, "200 are left");
    }

    #[test]
    fn a_fleet_that_trickles_for_five_minutes_has_locked_up() {
        let drained: Vec<u64> = (0..400).map(|second| second % 2).collect();
        let course = course(&drained, &vec![90; 400]);
        assert!(course.locked_up(at(10)));
        assert_eq!(course.recovered(at(10)), None);
        assert!(!course.locked_up(at(200)), "200 s are too few to say so");
        let patient = self::course(&drained, &vec![0; 400]);
        assert!(!patient.locked_up(at(10)), "devices that wait as they were told have not locked up");
    }

    #[test]
    fn a_fault_is_felt_when_more_goes_wrong_than_before() {
        let wrong: Vec<u32> = (0..60).map(|second| if second >= 42 { 50 } else { 10 }).collect();
        let course = course(&vec![10; 60], &wrong);
        let window = Window { occurrence: 0, from: at(40), until: at(50) };
        assert_eq!(course.detected(window), Some(42));
        let judged = course.judge(window, at(60));
        assert_eq!(judged.detected_after_ns, Some(2_000_000_000));
        assert_eq!(course.detected(Window { occurrence: 0, from: at(48), until: at(50) }), Some(48));
    }
}
