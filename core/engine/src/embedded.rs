//! What the embedded mock knows of the fleet that comes to it.

use fleetstorm_mock::resolve;
use fleetstorm_model::service::Config;
use fleetstorm_protocol::enrollment::Individual;
use fleetstorm_protocol::http::{body, read_tpm};
use fleetstorm_units::random::Seed;

use crate::RunError;
use crate::plan::Plan;

/// The configuration of the embedded mock, which knows the canaries of the plan too. `key` says what it is told of the
/// endorsement key of the device at a place of a plan; `None` for a device without a TPM.
pub(crate) fn config(
    plan: &Plan,
    key: impl Fn(&Plan, u32) -> Result<Option<Box<[u8]>>, RunError>,
) -> Result<Config, RunError> {
    let mut config = resolve(&plan.scenario.mock, &plan.fleet, plan.calendar)?;
    config.seed = Seed(plan.scenario.seed);
    for plan in std::iter::once(plan).chain(plan.canaries.as_deref()) {
        enrol(plan, &mut config, &key)?;
    }
    Ok(config)
}

/// Adds an enrollment for every device that has a TPM, is to be known to the mock and has no enrollment yet. No group can
/// hold a TPM (`dps` 10.1), so they are enrolled one by one, as an operator would with the keys that the maker of the
/// devices supplied.
fn enrol(
    plan: &Plan,
    config: &mut Config,
    key: impl Fn(&Plan, u32) -> Result<Option<Box<[u8]>>, RunError>,
) -> Result<(), RunError> {
    let mut named: Vec<String> =
        config.individuals.iter().map(|known| known.registration_id.to_ascii_lowercase()).collect();
    named.sort_unstable();
    for (device, cohort) in (0..).zip(&plan.membership) {
        let cohort = usize::from(*cohort);
        if !plan.cohorts[cohort].attestation.is_challenged() || !plan.scenario.cohorts[cohort].enrolled {
            continue;
        }
        let id = plan.scenario.registration_id(plan.first + device);
        if named.binary_search(&id.to_ascii_lowercase()).is_err()
            && let Some(key) = key(plan, device)?
        {
            config.individuals.push(Individual::of_tpm(id, key));
        }
    }
    Ok(())
}

/// The endorsement key that a device will name when it registers.
pub(crate) fn endorsement_key(plan: &Plan, device: u32) -> Result<Option<Box<[u8]>>, RunError> {
    let member = plan.member(device)?;
    let named = member
        .identity
        .enrol()
        .and_then(|extra| read_tpm(body(&member.registration_id, Some(&extra)).as_bytes()));
    Ok(named.map(|keys| keys.endorsement_key))
}
