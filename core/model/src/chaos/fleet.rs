//! Faults of the fleet: what devices decide, what time they believe it is, and whether they have power.

use super::kind::FaultKind;
use super::rules::{Occasion, Rules};
use super::timeline::Window;
use super::verdict::Deciding;
use crate::random::{fraction, span_below};
use crate::time::Moment;

impl Rules {
    /// A device has met a failure.
    pub fn decide(&mut self, occasion: &Occasion) -> Deciding {
        let mut verdict = Deciding::default();
        self.each(occasion, is_about_deciding, |kind, _| match kind {
            FaultKind::FleetNoBackOff { wait } => verdict.wait = verdict.wait.or(Some(wait.0)),
            FaultKind::FleetCounter { failures } => {
                verdict.failures = verdict.failures.saturating_add(*failures)
            }
            FaultKind::FleetEqualSeeds => verdict.equal_seeds = true,
            _ => {}
        });
        verdict
    }

    /// How far a device's clock is ahead of its cohort's, in nanoseconds.
    pub fn clock_offset_ns(&mut self, occasion: &Occasion) -> i64 {
        let mut offset_ns = 0i64;
        let concerns = |kind: &FaultKind| matches!(kind, FaultKind::FleetClock { .. });
        self.each(occasion, concerns, |kind, hit| {
            if let FaultKind::FleetClock { offset } = kind {
                offset_ns = offset_ns.saturating_add((offset.ns as f64 * hit.intensity) as i64);
            }
        });
        offset_ns
    }

    /// Whether an outage takes a device's power at the beginning of one of its occurrences: when it is back, if ever,
    /// and whether the device remembers its hub.
    pub fn power(&mut self, fault: usize, window: Window, device: u32) -> Option<(Moment, bool)> {
        let place = self.place_of(fault)?;
        let hit = self.hit(place, &Occasion::of(window.from, device, None))?;
        let FaultKind::FleetPowerOutage { off, reboot_spread, keep_cache } =
            &self.timeline().faults()[fault].kind
        else {
            return None;
        };
        let back = window.from + off.0 + span_below(hit.bits, reboot_spread.0);
        Some((back, fraction(hit.more_bits) < *keep_cache))
    }
}

fn is_about_deciding(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::FleetNoBackOff { .. } | FaultKind::FleetCounter { .. } | FaultKind::FleetEqualSeeds
    )
}
