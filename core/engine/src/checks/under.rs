//! Which faults a device is under when it keeps a rule or breaks it.
//!
//! A device is under a fault from the moment at which it is hit until it comes to rest: it has its hub, or has given up.
//! What it has to do until then is what the fault makes it do.

use std::sync::Arc;

use fleetstorm_model::chaos::Timeline;
use fleetstorm_model::device::Observation;
use fleetstorm_reports::record::Exercised;

use super::device::RULES;

/// The occasions of each rule that devices under each fault met.
#[derive(Clone, Debug)]
pub(super) struct Under {
    timeline: Arc<Timeline>,
    /// By fault and rule: occasions, and those on which the rule was broken.
    counts: Vec<[(u64, u64); RULES.len()]>,
}

impl Under {
    pub(super) fn new(timeline: &Arc<Timeline>) -> Self {
        let counts = vec![[(0, 0); RULES.len()]; timeline.faults().len()];
        Self { timeline: Arc::clone(timeline), counts }
    }

    /// A device met an event, by which it met rules and broke some of them: one bit a rule.
    pub(super) fn see(&mut self, device: u32, event: &Observation<'_>, met: u64, broken: u64) {
        let rests = matches!(event, Observation::Assigned { .. } | Observation::Stopped { .. });
        if met == 0 && !rests {
            return;
        }
        for (fault, counts) in self.timeline.faults().iter().zip(&mut self.counts) {
            if !fault.tally.is_under(device) {
                continue;
            }
            for (rule, (occasions, breaches)) in counts.iter_mut().enumerate() {
                *occasions += (met >> rule) & 1;
                *breaches += (broken >> rule) & 1;
            }
            if rests {
                fault.tally.came_to_rest(device);
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().flatten().zip(other.counts.iter().flatten()) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1);
        }
    }

    /// The rules that devices under a fault met.
    pub(super) fn exercised(&self, fault: usize) -> Vec<Exercised> {
        let counts = self.counts.get(fault).into_iter().flatten();
        let told = |(rule, (occasions, broken)): (&super::Rule, &(u64, u64))| Exercised {
            check: rule.id.name().to_owned(),
            occasions: *occasions,
            broken: *broken,
        };
        RULES.iter().zip(counts).filter(|(_, (occasions, _))| *occasions > 0).map(told).collect()
    }
}
