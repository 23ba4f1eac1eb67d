//! Faults that a kernel does to packets, by its network emulator (tc-netem(8)). Packets carry no device's name, and which
//! of them are hit is the kernel's own chance: what is repeatable is when and how much.

use fleetstorm_units::time::{Moment, Span};

use super::kind::FaultKind;
use super::timeline::{Fault, Timeline};

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
        self.burst.map(|burst| (burst_begins(self.lost, burst), 1.0 / burst))
    }
}

/// The chance, for a packet, that a burst of losses begins with it, where `lost` of all are lost in bursts of `burst`.
pub fn burst_begins(lost: f64, burst: f64) -> f64 {
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
