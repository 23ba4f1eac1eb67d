//! What every form of a report says of faults.

use crate::number::{counted, grouped, nanos};
use crate::record::{Exercised, Fault, FaultStatus, FaultWindow, Residue};
use crate::{Record, judged};

/// What became of a fleet under a fault, in a word.
pub(crate) fn word(record: &Record, fault: &Fault) -> &'static str {
    match fault.status {
        // Nobody met it, or not all that met it got through.
        FaultStatus::Passed if fault.fired == 0 => "no hit",
        FaultStatus::Passed if fault.stopped > 0 || judged::is_dead(record) => "over",
        FaultStatus::Passed => "survived",
        FaultStatus::Failed => "failed",
        FaultStatus::Vacuous => "vacuous",
        FaultStatus::Unknown => "unknown",
    }
}

/// The longest of a time over all occurrences. What was not seen even once is worse than any time.
pub(crate) fn worst(fault: &Fault, of: fn(&FaultWindow) -> Option<u64>) -> Option<u64> {
    let seen: Option<Vec<u64>> = fault.windows.iter().map(of).collect();
    seen.and_then(|seen| seen.into_iter().max())
}

/// The longest time until the fleet was back, over all occurrences. It is no shorter than the series says that the backlog
/// took which waited when the fault ended: what stands in a chart must not contradict the number beside it.
pub(crate) fn back_after(record: &Record, fault: &Fault) -> Option<u64> {
    let back: Option<Vec<u64>> = fault
        .windows
        .iter()
        .map(|window| {
            let recorded_ns = window.recovered_after_ns?;
            let Some(until_ns) = window.until_ns else { return Some(recorded_ns) };
            // A step is as near as a series is known.
            let known_ns = recorded_ns + 2_000_000_000 * u64::from(record.series.step_s.max(1));
            match drained_after(record, until_ns) {
                Drained::After(ns) if ns > known_ns => Some(ns),
                Drained::Never => None,
                Drained::After(_) | Drained::Unknown => Some(recorded_ns),
            }
        })
        .collect();
    back.and_then(|back| back.into_iter().max())
}

/// When a backlog was gone.
enum Drained {
    After(u64),
    Never,
    Unknown,
}

/// When as many devices had come to rest as waited at this moment, or none waited any more.
fn drained_after(record: &Record, from_ns: u64) -> Drained {
    let series = &record.series;
    let step_ns = 1_000_000_000 * u64::from(series.step_s.max(1));
    let Ok(from) = usize::try_from(from_ns / step_ns) else { return Drained::Unknown };
    let Some(&backlog) = from.checked_sub(1).and_then(|before| series.in_flight.get(before)) else {
        return Drained::Unknown;
    };
    let (mut left, mut waited) = (u64::from(backlog), u64::from(backlog));
    if left == 0 {
        return Drained::After(0);
    }
    for (at, waiting) in series.in_flight.iter().enumerate().skip(from) {
        let booted = series.booted.get(at).copied().unwrap_or(0);
        left = left.saturating_sub((waited + u64::from(booted)).saturating_sub(u64::from(*waiting)));
        if left == 0 || *waiting == 0 {
            return Drained::After(((at as u64 + 1) * step_ns).saturating_sub(from_ns));
        }
        waited = u64::from(*waiting);
    }
    Drained::Never
}

/// How many devices it hit, unless it hit packets.
pub(crate) fn devices(fault: &Fault) -> Option<String> {
    (fault.devices > 0 || fault.fired == 0).then(|| grouped(fault.devices))
}

/// Whom it hit, in words.
pub(crate) fn whom(fault: &Fault) -> String {
    devices(fault).map_or("packets".to_owned(), |_| counted(fault.devices, "device"))
}

/// A fault and what came of it, in one sentence. A text of the record's own may stand in it.
pub(crate) fn sentence(record: &Record, fault: &Fault) -> String {
    let felt = worst(fault, |window| window.detected_after_ns);
    let felt = felt.map_or("not felt".to_owned(), |ns| format!("felt after {}", nanos(ns)));
    let still_on = fault.windows.iter().any(|window| window.until_ns.is_none());
    let back = match back_after(record, fault) {
        _ if fault.windows.is_empty() => "never on".to_owned(),
        _ if still_on => "on to the end of the run".to_owned(),
        Some(ns) => format!("back after {}", nanos(ns)),
        None => "not seen to come back".to_owned(),
    };
    let mut told = format!("{} on {}; {felt}, {back}", counted(fault.fired, "hit"), whom(fault));
    if !fault.exercised.is_empty() {
        told.push_str("; exercised ");
        told.push_str(&exercised(fault));
    }
    if !fault.note.is_empty() {
        told.push_str("; ");
        told.push_str(&fault.note);
    }
    told
}

/// What clean devices found after the last fault, in a word or two.
pub(crate) const fn residue(residue: &Residue) -> &'static str {
    match (residue.unknown, residue.clean) {
        (true, _) => "Residue was not looked for",
        (false, true) => "No residue",
        (false, false) => "Something stayed behind",
    }
}

/// The checks that a fault exercised, by their ids, with how often they were broken.
pub(crate) fn exercised(fault: &Fault) -> String {
    let one = |met: &Exercised| match met.broken {
        0 => met.check.clone(),
        broken => {
            format!("{} (broken {} of {})", met.check, grouped(broken), counted(met.occasions, "time"))
        }
    };
    fault.exercised.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::record::ObjectiveStatus;
    use crate::testing::record;
    use crate::{markdown, summary};

    use super::*;

    fn stormy() -> Record {
        let window = FaultWindow {
            from_ns: 60_000_000_000,
            until_ns: Some(120_000_000_000),
            detected_after_ns: Some(2_000_000_000),
            recovered_after_ns: None,
            locked_up: false,
        };
        let fault = |name: &str, status, windows: Vec<FaultWindow>| Fault {
            name: name.to_owned(),
            kind: "service.throttle".to_owned(),
            layer: "service".to_owned(),
            eligible: 4_321,
            fired: 1_234,
            min_fired: 1,
            devices: 345,
            windows,
            exercised: vec![Exercised { check: "retry-after-floor".to_owned(), occasions: 40, broken: 3 }],
            status,
            note: "the fleet did not drain as fast as the quota lets it".to_owned(),
            ..Fault::default()
        };
        let mut record = record();
        record.objectives[0].status = ObjectiveStatus::Passed;
        record.series.in_flight.fill(0);
        record.chaos.faults = vec![
            fault(&"<script>\u{1b}[2J@everyone ".repeat(9), FaultStatus::Failed, vec![window.clone()]),
            fault("storm", FaultStatus::Passed, vec![FaultWindow { recovered_after_ns: Some(9), ..window }]),
        ];
        record
    }

    #[test]
    fn a_time_that_an_occurrence_never_had_is_the_worst() {
        let Record { chaos, .. } = stormy();
        assert_eq!(worst(&chaos.faults[0], |window| window.recovered_after_ns), None);
        assert_eq!(worst(&chaos.faults[1], |window| window.recovered_after_ns), Some(9));
        let told = sentence(&Record::empty(), &chaos.faults[0]);
        assert!(
            told.starts_with(
                "1,234 hits on 345 devices; felt after 2 s, not seen to come back; exercised retry-after-floor \
                 (broken 3 of 40 times); the fleet"
            ),
            "{told}"
        );
    }

    #[test]
    fn every_form_tells_the_faults_and_lets_no_name_break_out() {
        let record = stormy();
        let text = summary(&record, false);
        assert!(text.contains("\nFaults\n  failed    ") && text.contains("\n  survived  storm\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\u{1b}'), "{text}");
        let text = markdown(&record);
        assert!(text.contains("- Fault **storm** survived: 1,234 hits"), "{text}");
        assert!(!text.contains("<script>") && !text.contains("@everyone"), "{text}");
    }
}
