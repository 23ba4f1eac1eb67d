//! The steady state: before the first fault a few devices must come online without any.

use fleetstorm_reports::Record;
use fleetstorm_reports::record::{ObjectiveStatus, SteadyState};
use fleetstorm_scenario::{Arrival, Scenario};

use crate::plan::Plan;
use crate::{Control, RunError};

/// The scenario of the look before: the same fleet in small, at once, and nothing that goes wrong on purpose.
pub(crate) fn scenario(of: &Scenario) -> Option<Scenario> {
    let steady = of.steady_state.as_ref()?;
    let mut small = quiet(of);
    small.fleet.devices = steady.devices.min(of.fleet.devices);
    small.fleet.arrival = Arrival::default();
    small.horizon = steady.within;
    small.objectives.clone_from(&steady.expect);
    Some(small)
}

/// The same scenario without anything that goes wrong on purpose, and without what belongs to the run itself.
pub(super) fn quiet(of: &Scenario) -> Scenario {
    let mut small = of.clone();
    (small.chaos, small.steady_state) = (Vec::new(), None);
    (small.guardrails, small.alerts, small.compare) = (Vec::new(), Vec::new(), None);
    small.mock.log = None;
    small
}

/// Looks whether the plan's target is in its steady state, with the driver that will run the plan. A look that is
/// interrupted says nothing; the run ends with it.
///
/// # Errors
/// It is not, or it could not be seen.
pub(crate) fn check(
    plan: &mut Plan,
    control: &Control,
    run: impl FnOnce(Plan, &Control) -> Result<Record, RunError>,
) -> Result<(), RunError> {
    let Some(small) = plan.steady.take() else { return Ok(()) };
    let record = run(*small, &control.stage())?;
    if control.is_interrupted() {
        return Ok(());
    }
    let failed: Vec<String> = record
        .objectives
        .iter()
        .filter(|objective| objective.status != ObjectiveStatus::Passed)
        .map(|objective| format!("{} (seen: {})", objective.expression, objective.observed))
        .collect();
    if !failed.is_empty() {
        return Err(RunError::Unsteady { devices: record.devices, failed: failed.join(", ") });
    }
    plan.steady_state = Some(SteadyState { devices: record.devices, objectives: record.objectives });
    Ok(())
}
