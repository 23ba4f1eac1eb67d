//! How often attempts ended in which way, and how many devices met it.

use std::fmt;

use fleetstorm_model::device::Observation;
use fleetstorm_protocol::outcome::Outcome;
use fleetstorm_protocol::{Operation, Status};
use fleetstorm_reports::record::Code;
use fleetstorm_units::time::Moment;

use super::matrix::Matrix;
use crate::cause::Cause;

/// One way to end; `operation` is `None` for a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(super) operation: Option<Operation>,
    pub(super) outcome: Outcome,
}

impl Key {
    /// How the attempt ended that is observed, if it failed.
    pub(crate) fn of_failure(observation: &Observation<'_>) -> Option<Self> {
        match *observation {
            Observation::Connected { fault: Some(fault), .. } => {
                Some(Self { operation: None, outcome: Outcome::Broke(fault) })
            }
            Observation::Ended { operation, outcome, .. } => match outcome {
                Outcome::Challenged | Outcome::Answered { status: Status(200..=299), code: 0 } => None,
                Outcome::Answered { .. } | Outcome::Unmet { .. } | Outcome::Broke(_) => {
                    Some(Self { operation: Some(operation), outcome })
                }
            },
            _ => None,
        }
    }
}

/// Causes that are kept of a way to end, and of all of them together.
const CAUSES_MAX: usize = 3;
const CAUSES_MAX_IN_ALL: usize = 64;

/// So many endings of a kind are all looked at for causes that are new; after these each time that their number has
/// doubled.
const LOOKED_AT: u64 = 16;

#[derive(Clone, Debug)]
struct Count {
    key: Option<Key>,
    count: u64,
    devices: u64,
    first: Moment,
    last: Moment,
    /// What lay under it, in the order in which it was met.
    causes: Vec<String>,
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

    /// Keeps what lay under an ending that was counted just now, if it is new and there is room. Causes are only spelled
    /// while they may be kept, so a storm of failures costs no more than its first ones.
    pub(super) fn explain(&mut self, key: Key, cause: Cause<'_>) {
        let counted = self.counts.get_mut(self.recent).filter(|count| count.key == Some(key));
        let Some(Count { count, causes, .. }) = counted else { return };
        if causes.len() < CAUSES_MAX && (*count <= LOOKED_AT || count.is_power_of_two()) {
            let told = cause.told();
            if !causes.contains(&told) {
                causes.push(told);
            }
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
                self.counts.push(Count {
                    key,
                    count: 0,
                    devices: 0,
                    first: now,
                    last: now,
                    causes: Vec::new(),
                });
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
                    other.causes.extend(code.causes);
                    for (sum, count) in other.windows.iter_mut().zip(&code.windows) {
                        *sum += count;
                    }
                }
                None => all.push(code),
            }
        }
        all.sort();
        bound_causes(&mut all);
        all
    }
}

/// The same few causes whichever shard met them first: in the order of the alphabet, and so that every code has one before
/// any has two.
fn bound_causes(codes: &mut [Code]) {
    for code in &mut *codes {
        code.causes.sort_unstable();
        code.causes.dedup();
    }
    let mut left = CAUSES_MAX_IN_ALL;
    let mut kept = vec![0; codes.len()];
    for round in 0..CAUSES_MAX {
        for (code, kept) in codes.iter().zip(&mut kept) {
            if left > 0 && code.causes.len() > round {
                (*kept, left) = (round + 1, left - 1);
            }
        }
    }
    for (code, kept) in codes.iter_mut().zip(kept) {
        code.causes.truncate(kept);
    }
}

impl Key {
    fn operation(&self) -> &'static str {
        self.operation.map_or("connect", Operation::name)
    }

    /// Its status, its code and its fault, as far as it has them.
    fn outcome(&self) -> (u16, u32, &'static str) {
        match self.outcome {
            Outcome::Answered { status, code } => (status.0, code, ""),
            Outcome::Unmet { status, why } => (status.0, 0, why.name()),
            Outcome::Challenged => (Status::UNAUTHORIZED.0, 0, "challenge"),
            Outcome::Broke(fault) => (0, 0, fault.name()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation())?;
        let (status, code, fault) = self.outcome();
        for number in [u32::from(status), code].into_iter().filter(|number| *number != 0) {
            write!(f, " {number}")?;
        }
        if fault.is_empty() { Ok(()) } else { write!(f, " {fault}") }
    }
}

fn describe(count: &Count) -> Code {
    let operation = count.key.map_or("any", |key| key.operation());
    let (status, code, fault) = count.key.map_or((0, 0, "others"), |key| key.outcome());
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
        causes: count.causes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_protocol::outcome::Fault;

    use super::*;

    fn key(status: u16, code: u32) -> Key {
        Key {
            operation: Some(Operation::Register),
            outcome: Outcome::Answered { status: Status(status), code },
        }
    }

    #[test]
    fn a_way_to_end_is_told_in_a_few_words() {
        let broke = Key { operation: None, outcome: Outcome::Broke(Fault::Refused) };
        let told = [key(429, 429_001), key(503, 0), broke].map(|key| key.to_string());
        assert_eq!(told, ["register 429 429001", "register 503", "connect refused"]);
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
    fn causes_are_a_small_sample_that_no_order_of_shards_changes() {
        let shard = |texts: &[&str]| {
            let (mut codes, mut met) = (Codes::new(false), Met::default());
            for text in texts {
                codes.count(&mut met, Moment::START, key(503, 0));
                codes.explain(key(503, 0), Cause::Message(text));
            }
            codes
        };
        let (one, other) = (shard(&["c", "a", "c"]), shard(&["d", "b", "a"]));
        let causes = |shards: [&Codes; 2]| Codes::merged(shards.into_iter(), 0)[0].causes.clone();
        assert_eq!(causes([&one, &other]), ["a", "b", "c"]);
        assert_eq!(causes([&other, &one]), ["a", "b", "c"]);

        // A cause that comes late is found, and one that is not counted belongs to no code.
        let late = shard(&[["same"; 40].as_slice(), &["late"; 40]].concat());
        assert_eq!(late.counts[0].causes, ["same", "late"]);
        let mut none = Codes::new(false);
        none.explain(key(503, 0), Cause::Message("a"));
        assert!(Codes::merged([&none].into_iter(), 0).is_empty());
    }

    #[test]
    fn a_service_that_invents_causes_cannot_grow_the_record() {
        let (mut codes, mut met) = (Codes::new(false), Met::default());
        for code in 0..200 {
            for cause in 0..50 {
                codes.count(&mut met, Moment::START, key(400, code));
                codes.explain(key(400, code), Cause::Message(&format!("{code} {cause} {}", "x".repeat(500))));
            }
        }
        let merged = Codes::merged([&codes].into_iter(), 0);
        let causes = || merged.iter().flat_map(|code| &code.causes);
        assert_eq!(causes().count(), CAUSES_MAX_IN_ALL);
        assert!(causes().all(|cause| cause.chars().count() <= 161));
        let with = merged.iter().filter(|code| !code.causes.is_empty()).count();
        assert_eq!(with, SLOTS - 1, "every code but the rest has one before any has two");
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
