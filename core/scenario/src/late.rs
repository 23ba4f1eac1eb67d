//! Devices that a run ends before.

use std::fmt;

use fleetstorm_units::Duration;
use fleetstorm_units::number::counted;
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Moment, Span};

use crate::file::Scenario;

/// Devices that boot when the run has ended, and so never do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// How many.
    pub devices: u64,
    /// When the last one would boot.
    pub last: Span,
    /// When the run ends.
    pub horizon: Duration,
}

impl Late {
    /// Those of a fleet by its schedule, if there are any.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        let fleet = &scenario.fleet;
        let end = Moment::START + scenario.horizon.0;
        let schedule = fleet.arrival.schedule(fleet.devices, Seed(scenario.seed));
        let devices = schedule.iter().filter(|at| **at >= end).count() as u64;
        let last = schedule.into_iter().max()?.since(Moment::START);
        (devices > 0).then_some(Self { devices, last, horizon: scenario.horizon })
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (devices, horizon) = (counted(self.devices, "device"), self.horizon);
        write!(
            f,
            "{devices} would boot after the run, which ends at {horizon} (the last at {}): {}",
            self.last,
            longer(self.last)
        )
    }
}

/// How to let a device boot that boots at `last`.
pub(crate) fn longer(last: Span) -> String {
    let minutes = Span::from_secs((last.as_secs() / 60).saturating_add(1).saturating_mul(60));
    format!("write `horizon = \"{}\"` or more, or let the fleet boot faster", Duration(minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrival::Arrival;

    #[test]
    fn who_boots_after_the_run_is_counted() {
        let mut scenario = Scenario::default();
        scenario.fleet.devices = 400;
        scenario.fleet.arrival = Arrival::Constant { rate: "1/s".parse().unwrap() };
        scenario.horizon = "399s".parse().unwrap();
        let late = Late::of(&scenario).unwrap();
        assert_eq!((late.devices, late.last), (1, Span::from_secs(399)));
        assert_eq!(
            late.to_string(),
            "1 device would boot after the run, which ends at 399s (the last at 6 m 39 s): write `horizon = \"7m\"` or \
             more, or let the fleet boot faster"
        );
        scenario.horizon = "400s".parse().unwrap();
        assert_eq!(Late::of(&scenario), None);
    }
}
