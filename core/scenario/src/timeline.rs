//! The faults of a scenario for its fleet.

use std::sync::Arc;

use fleetstorm_model::chaos::{self, Naming, Timeline};
use fleetstorm_units::random::Seed;

use crate::Scenario;

impl Scenario {
    /// Its faults for a fleet whose devices are in these cohorts, `None` if there are none. The list may be longer than the
    /// fleet: devices after its last one are nobody's aim.
    pub fn timeline(&self, membership: &[u16]) -> Option<Arc<Timeline>> {
        (!self.chaos.is_empty()).then(|| self.timeline_even_if_empty(membership))
    }

    /// The same, although there may be no fault.
    pub fn timeline_even_if_empty(&self, membership: &[u16]) -> Arc<Timeline> {
        self.timeline_of(membership, &Naming::Fleet(self.fleet.id_prefix.clone()))
    }

    pub(crate) fn timeline_of(&self, membership: &[u16], naming: &Naming) -> Arc<Timeline> {
        let fleet = chaos::Fleet {
            seed: Seed(self.seed),
            devices: self.fleet.devices,
            cohorts: self.cohorts.iter().map(|cohort| (&*cohort.name, cohort.transport)).collect(),
            membership,
            naming,
        };
        Timeline::new(&self.chaos, &fleet)
    }
}
