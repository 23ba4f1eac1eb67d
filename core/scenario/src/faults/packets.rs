//! What is wrong with a fault that is done to packets.

use fleetstorm_model::chaos::{ChaosFile, FaultKind, Limits, Select, Start, burst_begins};
use fleetstorm_units::time::Span;

use crate::Scenario;

/// What is wrong with a fault that is done to packets: the key, what, and what to do.
pub(super) fn check(scenario: &Scenario, index: usize) -> Vec<(&'static str, String, &'static str)> {
    let mut list = Vec::new();
    let Some((file, before)) = scenario.chaos.get(..=index).and_then(<[ChaosFile]>::split_last) else {
        return list;
    };
    let name = file.fault.name();
    let mut refuse = |key, message, help| list.push((key, message, help));
    if file.select != Select::default() {
        refuse(
            "select",
            format!("{name} cannot tell devices apart"),
            "leave it out, or take a fault of net.*",
        );
    }
    if file.count.is_some() {
        refuse("count", format!("{name} does not count"), "leave it out");
    }
    if file.limits != Limits::default() {
        refuse("limits", format!("{name} knows no ceilings"), "leave them out, and give it a `duration`");
    }
    let chance = file.probability;
    match &file.fault {
        FaultKind::NetemDelay { delay, jitter } => {
            if chance.is_some() {
                refuse("probability", "every packet is delayed".to_owned(), "leave it and `unit` out");
            }
            if !holds(delay.0) {
                refuse("fault.delay", format!("a delay of {delay}"), HOLDS);
            }
            if jitter.0 > delay.0 {
                refuse(
                    "fault.jitter",
                    "it is more than the delay".to_owned(),
                    "no packet comes before it left",
                );
            }
        }
        FaultKind::NetemReorder { delay } if !holds(delay.0) => {
            refuse("fault.delay", format!("a delay of {delay}"), HOLDS);
        }
        FaultKind::NetemLoss { burst: Some(burst) } => {
            let chance = chance.unwrap_or(0.0);
            if !(*burst >= 1.0 && burst.is_finite()) {
                refuse("fault.burst", format!("a burst of {burst} packets"), "write 1 or more");
            } else if burst_begins(chance, *burst) > 1.0 {
                let message = format!("{chance} of the packets cannot be lost in so short bursts");
                refuse("fault.burst", message, "write more, or lower `probability`");
            }
        }
        _ => {}
    }
    if chance.is_none() && !matches!(file.fault, FaultKind::NetemDelay { .. }) {
        let help = "add `probability` and `unit = \"packet\"`";
        refuse("fault", format!("{name} needs the share of the packets that it hits"), help);
    }
    let twin = |other: &&ChaosFile| other.fault.name() == name && may_meet(other, file);
    if before.iter().find(twin).is_some() {
        let help = "let one end before the other begins";
        refuse("fault", format!("there is one {name} at a time, and another may be on"), help);
    }
    let mock = &scenario.mock;
    if mock.enrollments.iter().any(|one| one.webhook_url.is_some())
        || mock.enrollment_groups.iter().any(|one| one.webhook_url.is_some())
    {
        let help = "take the webhook out, or take faults of net.*";
        refuse("fault", format!("with {name} the run has a network of its own, without the webhook"), help);
    }
    list
}

/// Kernels take longer ones; no network does.
const HELD_MAX: Span = Span::from_secs(60);
const HOLDS: &str = "write more than nothing, up to 1m";

fn holds(delay: Span) -> bool {
    delay > Span::ZERO && delay <= HELD_MAX
}

/// Whether two faults may be on at the same time. Those that repeat are taken for on from their first beginning to their
/// last end.
fn may_meet(one: &ChaosFile, other: &ChaosFile) -> bool {
    let span = |file: &ChaosFile| {
        let Start::At(from) = file.start else { return (Span::ZERO, Span::MAX) };
        let from = from.0;
        let last = match file.repeat {
            Some(repeat) => repeat
                .times
                .map(|times| repeat.every.0.times(u64::from(times.saturating_sub(1))) + repeat.jitter.0),
            None => Some(Span::ZERO),
        };
        let lasts = last.zip(file.duration).map(|(last, duration)| last + duration.0);
        (from, lasts.map_or(Span::MAX, |lasts| from + lasts))
    };
    let (one, other) = (span(one), span(other));
    one.0 < other.1 && other.0 < one.1
}

#[cfg(test)]
#[path = "packets_tests.rs"]
mod tests;
