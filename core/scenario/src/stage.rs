//! A mock in a process of its own, as a scenario in which its faults can be looked at.

use std::sync::Arc;

use fleetstorm_model::chaos::{Naming, Timeline};
use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;

use crate::file::{Cohort, Fleet, Scenario};
use crate::mock::MockFile;

impl MockFile {
    /// Its faults made ready for whoever comes, and how they know devices; `None` if there are none.
    pub fn timeline(&self) -> Option<(Arc<Timeline>, Naming)> {
        (!self.chaos.is_empty()).then(|| {
            let naming = Naming::guests();
            let everybody = vec![0; Naming::GUESTS_MAX as usize];
            (self.stage().timeline_of(&everybody, &naming), naming)
        })
    }

    /// A scenario in which its faults can be looked at: whoever comes, for as long as the mock lives.
    pub(crate) fn stage(&self) -> Scenario {
        Scenario {
            seed: self.seed,
            horizon: Duration(Span::from_secs(100 * 365 * 86_400)),
            fleet: Fleet { devices: Naming::GUESTS_MAX, ..Fleet::default() },
            cohorts: vec![Cohort::default()],
            chaos: self.chaos.clone(),
            ..Scenario::default()
        }
    }
}
