//! The steady state: before the first fault a few devices must come online without any.

use fleetstorm_reports::Record;
use fleetstorm_reports::record::{ObjectiveStatus, SteadyState};

use crate::plan::Plan;
use crate::{Control, RunError};

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
