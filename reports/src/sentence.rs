//! The verdict in one sentence, made from the data.

use crate::Record;
use crate::number::{counted, grouped};
use crate::record::{CheckStatus, End, FaultStatus, ObjectiveStatus};
use crate::verdict::NO_OBJECTIVE;
use crate::{bound, judged};

/// What happened, in one sentence that stands alone in a review or a chat.
pub fn sentence(record: &Record) -> String {
    let (totals, bounds) = (&record.totals, judged::bounds(record));
    let mut parts = vec![format!(
        "{}: {} assigned{}",
        counted(record.devices, "device"),
        bounds.percent(totals.assigned, record.devices),
        match record.completion.t100_ns {
            Some(ns) => format!(" in {}", bounds.nanos(ns)),
            None => format!(" after {}", bounds.nanos(record.duration_ns)),
        }
    )];
    if totals.stopped > 0 {
        let most = totals.stopped_by.iter().max_by_key(|(_, devices)| **devices);
        let by = most.map_or(String::new(), |(class, _)| format!(" ({class})"));
        parts.push(format!("{} stopped{by}", grouped(totals.stopped)));
        if totals.parked > 0 && record.end != End::Interrupted {
            parts.push(format!("{} of these would try again after the end", grouped(totals.parked)));
        }
    }
    for (devices, what) in [
        (totals.in_flight, "still on their way"),
        (totals.without_power, "without power"),
        (totals.unborn, "never got their turn"),
    ] {
        if devices > 0 {
            parts.push(format!("{} {what}", grouped(devices)));
        }
    }
    let (held, all) = (
        record.objectives.iter().filter(|objective| objective.status == ObjectiveStatus::Passed).count(),
        record.objectives.len(),
    );
    match (held, all) {
        (_, 0) => parts.push(NO_OBJECTIVE.to_owned()),
        (1, 1) => parts.push("the objective held".to_owned()),
        _ if held == all => parts.push(format!("all {all} objectives held")),
        _ => parts.push(format!("{held} of {all} objectives held")),
    }
    let open = record.objectives.iter().filter(|objective| objective.status == ObjectiveStatus::Undecided);
    match open.count() {
        0 => {}
        open => parts.push(format!("{open} undecided")),
    }
    if totals.assigned > 0 {
        let each = bounds.ratio(totals.registers, totals.booted);
        let noun = if each == "1" { "registration" } else { "registrations" };
        parts.push(format!("{each} {noun} a device"));
    }
    // Refusals that a fault made are none of the quota's.
    let beyond = |bound| bound::earliest_s(bound, totals.registers) > 0.0;
    if totals.throttled > 0 && record.bound.as_ref().is_some_and(beyond) {
        parts.push("limited by the registration quota".to_owned());
    }
    match &record.end {
        End::Settled => {}
        End::Horizon => parts.push("the horizon ended it".to_owned()),
        End::Interrupted => parts.push("it was interrupted".to_owned()),
        End::Guardrail { rule } => parts.push(format!("it was aborted by the guardrail {rule}")),
        End::Ceiling { ceiling } => parts.push(format!("it was stopped by the ceiling {ceiling}")),
        End::Broken { what } => parts.push(format!("the tool itself failed: {what}")),
    }
    for fault in &record.chaos.faults {
        match fault.status {
            FaultStatus::Passed => {}
            _ => parts.push(format!("fault {}: {}", fault.name, fault.note)),
        }
    }
    let broken: Vec<&str> = record
        .practice
        .checks
        .iter()
        .filter(|check| check.status == CheckStatus::Failed)
        .map(|check| check.id.as_str())
        .collect();
    match &broken[..] {
        [] => {}
        [one] => parts.push(format!("1 best practice broken: {one}")),
        [first, rest @ ..] => parts.push(format!(
            "{} broken: {first} and {} more",
            counted(broken.len() as u64, "best practice"),
            rest.len()
        )),
    }
    if let Some(residue) = record.chaos.residue.as_ref().filter(|residue| !residue.clean) {
        let what = if residue.unknown { "residue was not looked for" } else { "something stayed behind" };
        parts.push(format!("{what}: {}", residue.note));
    }
    if let Some(discrepancy) = record.discrepancies.first() {
        parts.push(format!("the record contradicts itself, which is a fault of this tool: {discrepancy}"));
    }
    if let Some(why) = record.audit.as_ref().and_then(|audit| audit.untrusted.first()) {
        parts.push(format!("not to be trusted: {why}"));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Bound;

    #[test]
    fn refusals_that_a_fault_made_are_not_the_quotas() {
        let mut record = crate::testing::record();
        let bound = |burst| Bound { rate_per_s: 16.7, burst, window_s: 0.0, what: "quota".to_owned() };
        let is_limited = |record: &Record| sentence(record).contains("limited by the registration quota");
        record.totals.throttled = 5;
        record.bound = Some(bound(record.totals.registers as f64));
        assert!(!is_limited(&record), "every registration would have passed at once");
        record.bound = Some(bound(record.totals.registers as f64 - 1.0));
        assert!(is_limited(&record));
        record.totals.throttled = 0;
        assert!(!is_limited(&record));
    }
}
