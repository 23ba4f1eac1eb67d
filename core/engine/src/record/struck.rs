//! What became of the devices that faults hit.

use std::sync::Arc;

use fleetstorm_model::chaos::Timeline;
use fleetstorm_units::time::Moment;

use super::{PARKED, Recorder, Standing};

/// The devices of a shard, for a run with faults.
pub(super) struct Struck {
    timeline: Arc<Timeline>,
    /// Their numbers, by their local indices.
    numbers: Vec<u32>,
    /// By fault: when the last device came back that it had hit.
    last_back: Vec<Option<Moment>>,
}

/// What became of the devices that a fault hit, at the end of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StruckDevices {
    /// They have their hub; those that live on are connected to it, or have been since they were hit.
    pub(crate) through: u64,
    /// They have given up for good.
    pub(crate) stopped: u64,
    /// They sleep off a failure, or are without power, on their way or away from their hub.
    pub(crate) unfinished: u64,
    /// When the last of those came back that have: from a hit to a hub, or to the end of all tries.
    pub(crate) last_back: Option<Moment>,
}

impl Struck {
    pub(super) fn new(timeline: &Arc<Timeline>, members: impl Iterator<Item = u32>) -> Self {
        let last_back = vec![None; timeline.faults().len()];
        Self { timeline: Arc::clone(timeline), numbers: members.collect(), last_back }
    }

    /// A device has its hub, or has given up for good.
    pub(super) fn came_back(&mut self, device: usize, now: Moment) {
        let Some(number) = self.numbers.get(device) else { return };
        for (fault, last_back) in self.timeline.faults().iter().zip(&mut self.last_back) {
            if fault.tally.came_back(*number) {
                *last_back = (*last_back).max(Some(now));
            }
        }
    }
}

/// What became of the devices that each fault of a timeline hit; empty for a run without faults.
pub(super) fn told(shards: &[Recorder]) -> Vec<StruckDevices> {
    let mut all: Vec<StruckDevices> = Vec::new();
    for shard in shards {
        let Some(struck) = &shard.struck else { continue };
        all.resize(struck.last_back.len(), StruckDevices::default());
        for ((fault, last_back), sum) in struck.timeline.faults().iter().zip(&struck.last_back).zip(&mut all)
        {
            sum.last_back = sum.last_back.max(*last_back);
            for (device, number) in struck.numbers.iter().enumerate() {
                if fault.tally.has_hit(*number) {
                    *end_of(shard, device, fault.tally.is_owing(*number), sum) += 1;
                }
            }
        }
    }
    all
}

/// Where a device that was hit counts; `owing` says that it has not come back since.
fn end_of<'a>(shard: &Recorder, device: usize, owing: bool, sum: &'a mut StruckDevices) -> &'a mut u64 {
    let seen = &shard.devices[device];
    match seen.standing {
        // A hit that left it where it was.
        Standing::Assigned if !shard.lives_on(device) || shard.is_online(device) => &mut sum.through,
        Standing::Stopped(_) if seen.flags & PARKED == 0 => &mut sum.stopped,
        Standing::Stopped(_) | Standing::Off | Standing::Dark(_) => &mut sum.unfinished,
        Standing::Assigned | Standing::Running | Standing::Again if owing => &mut sum.unfinished,
        // It came back, and is on its way for another reason.
        Standing::Assigned | Standing::Running | Standing::Again => &mut sum.through,
    }
}
