//! Faults of the fleet: what devices decide, what time they believe it is, and whether they have power.

use fleetstorm_units::random::{fraction, span_below};
use fleetstorm_units::time::{Moment, Span};

use super::kind::{FaultKind, of_amqp, of_http, of_mqtt, of_network, of_service};
use super::rules::{Occasion, Rules};
use super::timeline::Window;
use super::verdict::Deciding;

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
            FaultKind::FleetPowerOutage { .. }
            | FaultKind::FleetCacheLoss { .. }
            | FaultKind::FleetReboot { .. }
            | FaultKind::FleetFirmwareLoop { .. }
            | FaultKind::FleetDuplicateIds
            | FaultKind::FleetClock { .. } => {}
            of_network!() | of_service!() | of_http!() | of_mqtt!() | of_amqp!() => {}
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

    /// Whether a fault that begins with a cut takes a device's power at the beginning of one of its occurrences, and when
    /// it is back. `holds` says whether the device has a hub now: one that remembers it does not come back for another.
    pub fn power(&mut self, fault: usize, window: Window, device: u32, holds: bool) -> Option<Moment> {
        let place = self.place_of(fault)?;
        let forgets = matches!(self.timeline().faults()[fault].kind, FaultKind::FleetCacheLoss { .. });
        if forgets && !holds {
            return None;
        }
        let hit = self.hit(place, &Occasion::of(window.from, device, None))?;
        let (off, spread, remembers) = match &self.timeline().faults()[fault].kind {
            FaultKind::FleetPowerOutage { off, reboot_spread, keep_cache } => {
                (off.0, reboot_spread.0, fraction(hit.more_bits) < *keep_cache)
            }
            FaultKind::FleetCacheLoss { spread } => (Span::ZERO, spread.0, false),
            FaultKind::FleetFirmwareLoop { every } => (Span::ZERO, every.0, false),
            _ => return None,
        };
        (!(remembers && holds)).then(|| window.from + off + span_below(hit.bits, spread))
    }

    /// A device boots: when its firmware will crash, if it does.
    pub fn crash(&mut self, occasion: &Occasion) -> Option<Moment> {
        let mut crash = None;
        let concerns = |kind: &FaultKind| matches!(kind, FaultKind::FleetFirmwareLoop { .. });
        self.each(occasion, concerns, |kind, hit| {
            if let FaultKind::FleetFirmwareLoop { every } = kind {
                let at = occasion.now + every.0;
                // What is healed by then does not crash.
                crash = crash.into_iter().chain((at < hit.until).then_some(at)).min();
            }
        });
        crash
    }

    /// The service has accepted a device's registration: when the device is back, if it reboots before it polls.
    pub fn reboot(&mut self, occasion: &Occasion) -> Option<Moment> {
        let mut back = None;
        let concerns = |kind: &FaultKind| matches!(kind, FaultKind::FleetReboot { .. });
        self.each(occasion, concerns, |kind, hit| {
            if let FaultKind::FleetReboot { off, reboot_spread } = kind {
                back = back.or(Some(occasion.now + off.0 + span_below(hit.bits, reboot_spread.0)));
            }
        });
        back
    }
}

fn is_about_deciding(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::FleetNoBackOff { .. } | FaultKind::FleetCounter { .. } | FaultKind::FleetEqualSeeds
    )
}
