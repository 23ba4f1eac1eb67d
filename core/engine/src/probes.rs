//! The small scenarios that a run is looked at with: its steady state before the first fault, and canaries after the last.

use fleetstorm_scenario::{Arrival, Scenario, TargetKind};
use fleetstorm_units::time::Span;

/// Devices of each cohort.
const EACH: u32 = 3;
/// Devices in all.
const MOST: u32 = 48;
/// How long they may take at the twin.
const PATIENCE: Span = Span::from_secs(60);
/// The scenario of the look before: the same fleet in small, at once, and nothing that goes wrong on purpose.
pub(crate) fn steady(of: &Scenario) -> Option<Scenario> {
    let steady = of.steady_state.as_ref()?;
    let mut small = quiet(of);
    small.fleet.devices = steady.devices.min(of.fleet.devices);
    small.fleet.arrival = Arrival::default();
    small.horizon = steady.within;
    small.objectives.clone_from(&steady.expect);
    Some(small)
}

/// The same scenario without anything that goes wrong on purpose, and without what belongs to the run itself.
fn quiet(of: &Scenario) -> Scenario {
    let mut small = of.clone();
    (small.chaos, small.steady_state) = (Vec::new(), None);
    (small.guardrails, small.alerts, small.compare) = (Vec::new(), Vec::new(), None);
    small.mock.log = None;
    small
}

/// The scenario of the canaries; `None` where there is no service of ours that a fault could have stayed in.
pub(crate) fn canaries(of: &Scenario) -> Option<Scenario> {
    if of.chaos.is_empty() || of.target.kind != TargetKind::Mock {
        return None;
    }
    let mut small = quiet(of);
    small.cohorts.retain(|cohort| cohort.enrolled);
    for cohort in &mut small.cohorts {
        (cohort.share, cohort.life) = (1.0, None);
    }
    small.fleet.devices = (EACH * u32::try_from(small.cohorts.len()).unwrap_or(MOST)).min(MOST);
    small.fleet.arrival = Arrival::default();
    small.fleet.max_concurrent = None;
    (small.horizon.0, small.objectives) = (PATIENCE, Vec::new());
    (!small.cohorts.is_empty()).then_some(small)
}
