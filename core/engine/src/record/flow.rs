//! How attempts went through registration: the ways between its steps.

use fleetstorm_protocol::outcome::Outcome;
use fleetstorm_protocol::{Operation, Status};
use fleetstorm_reports::record::Passage as PassageRecord;

/// A way from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Passage {
    ConnectFailed,
    RegisterAssigning,
    RegisterAssigned,
    RegisterThrottled,
    RegisterChallenged,
    RegisterFailed,
    LookupAssigning,
    LookupAssigned,
    LookupThrottled,
    LookupFailed,
    PollAssigning,
    PollAssigned,
    PollThrottled,
    PollFailed,
    BackedOff,
    Stopped,
}

/// In the order of the enum: where each comes from and where it leads.
const NAMES: [(&str, &str); 16] = [
    ("connect", "failed"),
    ("register", "assigning"),
    ("register", "assigned"),
    ("register", "throttled"),
    ("register", "challenged"),
    ("register", "failed"),
    ("lookup", "assigning"),
    ("lookup", "assigned"),
    ("lookup", "throttled"),
    ("lookup", "failed"),
    ("poll", "assigning"),
    ("poll", "assigned"),
    ("poll", "throttled"),
    ("poll", "failed"),
    ("failure", "back-off"),
    ("failure", "stopped"),
];

impl Passage {
    /// The way that the end of a request is.
    pub(super) const fn of(operation: Operation, outcome: Outcome, is_assigned: bool) -> Self {
        let [assigning, assigned, throttled, failed] = match operation {
            Operation::Register => [
                Self::RegisterAssigning,
                Self::RegisterAssigned,
                Self::RegisterThrottled,
                Self::RegisterFailed,
            ],
            Operation::Lookup => {
                [Self::LookupAssigning, Self::LookupAssigned, Self::LookupThrottled, Self::LookupFailed]
            }
            Operation::Poll => {
                [Self::PollAssigning, Self::PollAssigned, Self::PollThrottled, Self::PollFailed]
            }
        };
        match outcome {
            Outcome::Challenged => Self::RegisterChallenged,
            // A registration that failed under a 200 carries a code.
            Outcome::Answered { status: Status(200..=299), code: 0 } if is_assigned => assigned,
            Outcome::Answered { status: Status(200..=299), code: 0 } => assigning,
            Outcome::Answered { status: Status::TOO_MANY_REQUESTS, .. } => throttled,
            Outcome::Answered { .. } | Outcome::Unmet { .. } | Outcome::Broke(_) => failed,
        }
    }
}

/// The ways that a device has taken, one bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed(u16);

/// The ways of a shard's devices.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    times: [u64; NAMES.len()],
    devices: [u64; NAMES.len()],
}

impl Flow {
    /// A device that has taken `passed` before goes this way.
    pub(super) fn count(&mut self, passed: &mut Passed, passage: Passage) {
        let (at, bit) = (passage as usize, 1 << passage as u8);
        self.times[at] += 1;
        self.devices[at] += u64::from(passed.0 & bit == 0);
        passed.0 |= bit;
    }

    /// The ways that were taken, of all shards together. No device belongs to two of them.
    pub(super) fn merged<'a>(shards: impl Iterator<Item = &'a Self>) -> Vec<PassageRecord> {
        let mut sum = Self::default();
        for shard in shards {
            for at in 0..NAMES.len() {
                sum.times[at] += shard.times[at];
                sum.devices[at] += shard.devices[at];
            }
        }
        let told = NAMES.iter().zip(sum.times.into_iter().zip(sum.devices));
        told.filter(|(_, (times, _))| *times > 0)
            .map(|((from, to), (times, devices))| PassageRecord {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
                times,
                devices,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_protocol::outcome::{ErrorClass, Fault};

    use super::*;

    #[test]
    fn the_end_of_a_request_is_a_way() {
        let answered = |status, code| Outcome::Answered { status: Status(status), code };
        let unreadable = Outcome::Unmet { status: Status(200), why: ErrorClass::Protocol };
        for (operation, outcome, assigned, way) in [
            (Operation::Register, answered(202, 0), false, ("register", "assigning")),
            (Operation::Register, answered(429, 429_001), false, ("register", "throttled")),
            (Operation::Register, Outcome::Challenged, false, ("register", "challenged")),
            (Operation::Register, unreadable, false, ("register", "failed")),
            (Operation::Lookup, answered(200, 0), true, ("lookup", "assigned")),
            (Operation::Lookup, answered(404, 404_201), false, ("lookup", "failed")),
            (Operation::Poll, answered(200, 0), true, ("poll", "assigned")),
            (Operation::Poll, answered(200, 0), false, ("poll", "assigning")),
            (Operation::Poll, answered(200, 400_209), false, ("poll", "failed")),
            (Operation::Poll, Outcome::Broke(Fault::Lost), false, ("poll", "failed")),
        ] {
            assert_eq!(NAMES[Passage::of(operation, outcome, assigned) as usize], way);
        }
        assert_eq!(Passage::Stopped as usize + 1, NAMES.len());
    }

    #[test]
    fn devices_are_counted_once_a_way_and_shards_add_up() {
        let (mut one, mut other, mut device) = (Flow::default(), Flow::default(), Passed::default());
        one.count(&mut device, Passage::BackedOff);
        one.count(&mut device, Passage::BackedOff);
        other.count(&mut Passed::default(), Passage::BackedOff);
        other.count(&mut Passed::default(), Passage::PollAssigned);
        let merged = Flow::merged([&one, &other].into_iter());
        let told: Vec<_> = merged.iter().map(|way| (&*way.to, way.times, way.devices)).collect();
        assert_eq!(told, [("assigned", 1, 1), ("back-off", 3, 2)]);
    }
}
