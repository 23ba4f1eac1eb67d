//! How often attempts ended in which way, and how many devices met it.

use fleetstorm_protocol::outcome::Outcome;
use fleetstorm_protocol::{Operation, Status};
use fleetstorm_reports::record::Code;
use fleetstorm_units::time::Moment;

use super::matrix::Matrix;

/// One way to end; `operation` is `None` for a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) operation: Option<Operation>,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    key: Option<Key>,
    count: u64,
    devices: u64,
    first: Moment,
    last: Moment,
}

/// A device's set of codes is 64 bits, so this many are told apart; a hostile service that invents more finds the
/// rest counted together under the last slot.
const SLOTS: usize = 64;

/// The slots that a device has met, one bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met([u32; 2]);

impl Met {
    /// Adds a slot; whether it is new.
    fn meet(&mut self, slot: usize) -> bool {
        let (word, bit) = (&mut self.0[slot / 32], 1 << (slot % 32));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// The counts of one shard.
pub(super) struct Codes {
    counts: Vec<Count>,
    /// The slot used last: answers come in runs.
    recent: usize,
    /// The counts over time, by slot, where they are wanted.
    over_time: Option<Matrix>,
}

impl Codes {
    pub(super) fn new(windows: bool) -> Self {
        Self { counts: Vec::new(), recent: 0, over_time: windows.then(Matrix::default) }
    }

    /// Counts an ending for a device that has met `met` before.
    pub(super) fn count(&mut self, met: &mut Met, now: Moment, key: Key) {
        let slot = self.slot(key, now);
        let entry = &mut self.counts[slot];
        entry.count += 1;
        // A simulated device may be ahead of others.
        entry.first = entry.first.min(now);
        entry.last = entry.last.max(now);
        entry.devices += u64::from(met.meet(slot));
        if let Some(over_time) = &mut self.over_time {
            over_time.add(slot, now);
        }
    }

    pub(super) fn over_time(&self) -> Option<&Matrix> {
        self.over_time.as_ref()
    }

    pub(super) fn over_time_mut(&mut self) -> Option<&mut Matrix> {
        self.over_time.as_mut()
    }

    fn slot(&mut self, key: Key, now: Moment) -> usize {
        if self.counts.get(self.recent).is_some_and(|count| count.key == Some(key)) {
            return self.recent;
        }
        let known = self.counts.iter().position(|count| count.key == Some(key));
        self.recent = known.unwrap_or_else(|| {
            if self.counts.len() < SLOTS {
                let key = (self.counts.len() < SLOTS - 1).then_some(key);
                self.counts.push(Count { key, count: 0, devices: 0, first: now, last: now });
            }
            self.counts.len() - 1
        });
        self.recent
    }

    /// The counts of all shards together, in the order of operation, status, code and fault. No device belongs to
    /// two shards, so the numbers of devices add up. Windows of all shards have the same length; the first `windows`
    /// of them are told.
    pub(super) fn merged<'a>(shards: impl Iterator<Item = &'a Self>, windows: usize) -> Vec<Code> {
        let mut all: Vec<Code> = Vec::new();
        let counts = shards.flat_map(|shard| {
            let over_time =
                |slot| shard.over_time.as_ref().map_or_else(Vec::new, |matrix| matrix.row(slot, windows));
            shard.counts.iter().enumerate().map(move |(slot, count)| (count, over_time(slot)))
        });
        for (count, over_time) in counts {
            let code = Code { windows: over_time, ..describe(count) };
            let same = |other: &&mut Code| {
                (&other.operation, other.status, other.code, &other.fault)
                    == (&code.operation, code.status, code.code, &code.fault)
            };
            match all.iter_mut().find(same) {
                Some(other) => {
                    other.count += code.count;
                    other.devices += code.devices;
                    other.first_ns = other.first_ns.min(code.first_ns);
                    other.last_ns = other.last_ns.max(code.last_ns);
                    for (sum, count) in other.windows.iter_mut().zip(&code.windows) {
                        *sum += count;
                    }
                }
                None => all.push(code),
            }
        }
        all.sort();
        all
    }
}

fn describe(count: &Count) -> Code {
    let (status, code, fault) = match count.key.map(|key| key.outcome) {
        Some(Outcome::Answered { status, code }) => (status.0, code, ""),
        Some(Outcome::Unmet { status, why }) => (status.0, 0, why.name()),
        Some(Outcome::Challenged) => (Status::UNAUTHORIZED.0, 0, "challenge"),
        Some(Outcome::Broke(fault)) => (0, 0, fault.name()),
        None => (0, 0, "others"),
    };
    let operation = match count.key {
        Some(Key { operation: Some(operation), .. }) => operation.name(),
        Some(Key { operation: None, .. }) => "connect",
        None => "any",
    };
    Code {
        operation: operation.to_owned(),
        status,
        code,
        fault: fault.to_owned(),
        count: count.count,
        devices: count.devices,
        first_ns: count.first.as_nanos(),
        last_ns: count.last.as_nanos(),
        windows: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(status: u16, code: u32) -> Key {
        Key {
            operation: Some(Operation::Register),
            outcome: Outcome::Answered { status: Status(status), code },
        }
    }

    #[test]
    fn devices_are_counted_once_a_code() {
        let (mut codes, mut met) = (Codes::new(true), [Met::default(); 3]);
        for device in [0, 0, 1] {
            codes.count(&mut met[device], Moment::from_nanos(5), key(429, 429_001));
        }
        codes.count(&mut met[2], Moment::from_nanos(9), key(202, 0));
        let merged = Codes::merged([&codes].into_iter(), 1);
        assert_eq!(merged.len(), 2);
        assert_eq!((merged[1].status, merged[1].count, merged[1].devices), (429, 3, 2));
        assert_eq!(merged[1].windows, [3]);
    }

    #[test]
    fn a_service_that_invents_codes_cannot_grow_the_record() {
        let (mut codes, mut met) = (Codes::new(true), Met::default());
        for code in 0..10_000 {
            codes.count(&mut met, Moment::START, key(400, code));
        }
        let merged = Codes::merged([&codes].into_iter(), 1);
        assert_eq!(merged.len(), SLOTS);
        assert_eq!(merged.iter().map(|code| code.count).sum::<u64>(), 10_000);
        let others = merged.iter().find(|code| code.fault == "others").unwrap();
        assert_eq!((others.count, others.devices), (10_000 - 63, 1));
    }
}
