//! When power fails: the outages of a timeline, and other faults that begin with a cut, one after the other.

use std::sync::Arc;

use fleetstorm_model::chaos::{Timeline, Window};
use fleetstorm_units::time::Moment;

/// The outages that have not begun yet.
pub(crate) struct Outages {
    /// Places of the faults, and which occurrence is next.
    faults: Vec<(usize, u32)>,
    horizon: Moment,
}

impl Outages {
    pub(crate) fn new(timeline: &Arc<Timeline>, horizon: Moment) -> Self {
        let faults = timeline.faults().iter().enumerate();
        Self {
            faults: faults
                .filter(|(_, fault)| fault.kind.begins_with_a_cut())
                .map(|(place, _)| (place, 0))
                .collect(),
            horizon,
        }
    }

    /// The next one that is known: when, its fault and its occurrence.
    pub(crate) fn next(&self, timeline: &Timeline) -> Option<(Moment, usize, Window)> {
        let of = |&(place, occurrence): &(usize, u32)| {
            let fault = &timeline.faults()[place];
            let begun = fault.begins();
            let window = if begun < Moment::FAR { fault.window(begun, occurrence) } else { None };
            window.filter(|window| window.from < self.horizon).map(|window| (window.from, place, window))
        };
        self.faults.iter().filter_map(of).min_by_key(|(at, place, _)| (*at, *place))
    }

    /// The next one of this fault has begun.
    pub(crate) fn took(&mut self, fault: usize) {
        if let Some((_, occurrence)) = self.faults.iter_mut().find(|(place, _)| *place == fault) {
            *occurrence += 1;
        }
    }

    /// Whether none waits for an event that has not come.
    pub(crate) fn are_all_known(&self, timeline: &Timeline) -> bool {
        self.faults.iter().all(|(place, _)| timeline.faults()[*place].begins() < Moment::FAR)
    }
}
