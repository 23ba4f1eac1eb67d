//! Faults that a kernel does to packets, by its network emulator (tc-netem(8)). Packets carry no device's name, and which
//! of them are hit is the kernel's own chance: what is repeatable is when and how much.

use super::file::{ChaosFile, Limits, Select, Start};
use super::kind::FaultKind;
use super::timeline::{Fault, Timeline};
use crate::scenario::Scenario;
use crate::time::{Moment, Span};

/// What is done to packets. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packets {
    /// Each packet is held back by so much.
    pub delay: Span,
    /// It may be so much less or more, evenly.
    pub jitter: Span,
    /// Share of the packets that are lost.
    pub lost: f64,
    /// Packets that are lost in a row, on average; `None` if each is lost on its own.
    pub burst: Option<f64>,
    /// Share of the packets that overtake those that are held back.
    pub overtaking: f64,
    /// The places of the faults that do it.
    pub faults: Vec<usize>,
}

/// A ramp climbs in steps: each is told to the kernel.
const RAMP_STEPS: f64 = 20.0;

/// How many packets there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Those that came through.
    pub passed: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Those among `passed` that overtook others.
    pub overtook: u64,
}

impl Packets {
    /// The chances, for each packet, that a burst of losses begins, and that it ends (the model of Gilbert, 1960).
    pub fn bursts(&self) -> Option<(f64, f64)> {
        self.burst.map(|burst| (begins(self.lost, burst), 1.0 / burst))
    }
}

fn begins(lost: f64, burst: f64) -> f64 {
    lost / (burst * (1.0 - lost))
}

impl Timeline {
    /// The faults that are done to packets.
    pub fn packet_faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults().iter().filter(|fault| fault.kind.is_about_packets())
    }

    /// What they do at a moment.
    pub fn packets(&self, now: Moment) -> Packets {
        let mut packets = Packets::default();
        for (place, fault) in
            self.faults().iter().enumerate().filter(|(_, fault)| fault.kind.is_about_packets())
        {
            let Some(window) = fault.window_at(now) else { continue };
            packets.faults.push(place);
            let intensity = (fault.intensity(window, now) * RAMP_STEPS).ceil() / RAMP_STEPS;
            let share = fault.chance.map_or(1.0, |(chance, _)| chance) * intensity;
            match &fault.kind {
                FaultKind::NetemLoss { burst } => (packets.lost, packets.burst) = (share, *burst),
                FaultKind::NetemDelay { delay, jitter } => {
                    packets.delay += delay.0.scale(intensity);
                    packets.jitter = jitter.0.scale(intensity);
                }
                FaultKind::NetemReorder { delay } => {
                    packets.delay += delay.0;
                    packets.overtaking = share;
                }
                _ => {}
            }
        }
        packets
    }

    /// Credits what was counted until now, while this was done to packets, to the faults that did it.
    pub fn count_packets(&self, done: &Packets, now: Moment, counts: PacketCounts) {
        for fault in done.faults.iter().filter_map(|place| self.faults().get(*place)) {
            let hit = match fault.kind {
                FaultKind::NetemLoss { .. } => counts.lost,
                FaultKind::NetemReorder { .. } => counts.overtook,
                _ => counts.passed.saturating_sub(counts.overtook),
            };
            fault.tally.count(now, counts.passed + counts.lost, hit);
        }
    }
}

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
            } else if begins(chance, *burst) > 1.0 {
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
