//! Live numbers of a run, for the display.
//!
//! A shard writes its own gauges and nobody else does, so an update is a plain load and store on a cache line that
//! no other core writes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use fleetstorm_protocol::Status;
use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_units::time::Moment;

use crate::sync::AtomicU64;

/// The gauges of one shard.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gauges {
    /// The latest moment of which something was observed, in nanoseconds.
    now: AtomicU64,
    entered: AtomicU64,
    woken: AtomicU64,
    settled: AtomicU64,
    sent: AtomicU64,
    throttled: AtomicU64,
    failed: AtomicU64,
    assigned: AtomicU64,
    /// Likewise, by cohort, as far as there is room.
    cohorts: [AtomicU64; COHORTS],
    /// Ways to go wrong in the order in which they were met, as far as there is room.
    troubles: [Trouble; TROUBLES],
}

/// How often something went wrong in one way.
#[derive(Debug, Default)]
struct Trouble {
    /// 0 for none yet.
    key: AtomicU64,
    count: AtomicU64,
}

/// Cohorts that are told apart while a run lasts: a display has no room for more.
pub(crate) const COHORTS: usize = 8;

/// Ways to go wrong that are told apart while a run lasts.
const TROUBLES: usize = 16;
/// Of these, the most frequent that a snapshot names.
const TOP: usize = 3;

/// A number of its own for each outcome, other than 0.
fn key(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Answered { status, code } => 1 << 48 | u64::from(status.0) << 32 | u64::from(code),
        Outcome::Challenged => 2 << 48,
        Outcome::Broke(fault) => 3 << 48 | fault as u64,
        Outcome::Unmet { status, why } => 4 << 48 | u64::from(status.0) << 32 | why as u64,
    }
}

fn outcome(key: u64) -> Option<Outcome> {
    match key >> 48 {
        1 => Some(Outcome::Answered { status: Status((key >> 32) as u16), code: key as u32 }),
        2 => Some(Outcome::Challenged),
        3 => Some(Outcome::Broke(*Fault::ALL.get((key & 0xFFFF) as usize)?)),
        4 => {
            let why = *ErrorClass::ALL.get((key & 0xFFFF) as usize)?;
            Some(Outcome::Unmet { status: Status((key >> 32) as u16), why })
        }
        _ => None,
    }
}

/// What the gauges said at one moment, summed over the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// How far the run's own clock is, as far as something was observed.
    pub now: Moment,
    /// Devices that have booted and are neither assigned nor stopped.
    pub in_flight: u64,
    /// Devices with a hub.
    pub assigned: u64,
    /// Likewise, of the first cohorts in the scenario's order.
    pub cohorts: [u64; COHORTS],
    /// Devices that stopped without one.
    pub stopped: u64,
    /// Requests sent.
    pub sent: u64,
    /// Answers with 429.
    pub throttled: u64,
    /// Attempts that failed in another way.
    pub failed: u64,
    /// What went wrong most often, and how often, the most frequent first.
    pub top: [Option<(Outcome, u64)>; TOP],
}

fn bump(gauge: &AtomicU64) {
    gauge.store(gauge.load(Relaxed) + 1, Relaxed);
}

impl Gauges {
    /// Something was observed at this moment; a simulated device may be ahead of others.
    pub(crate) fn at(&self, now: Moment) {
        if now.as_nanos() > self.now.load(Relaxed) {
            self.now.store(now.as_nanos(), Relaxed);
        }
    }

    pub(crate) fn entered(&self) {
        bump(&self.entered);
    }

    pub(crate) fn woken(&self) {
        bump(&self.woken);
    }

    /// A device on its way lost its power: it is neither on its way nor at rest.
    pub(crate) fn went_dark(&self) {
        self.settled();
        self.woken();
    }

    /// A device with a hub lost it.
    pub(crate) fn lost_hub(&self) {
        let less = self.assigned.load(Relaxed).saturating_sub(1);
        self.assigned.store(less, Relaxed);
        self.woken();
    }

    pub(crate) fn settled(&self) {
        bump(&self.settled);
    }

    pub(crate) fn sent(&self) {
        bump(&self.sent);
    }

    pub(crate) fn throttled(&self, how: Outcome) {
        bump(&self.throttled);
        self.trouble(how);
    }

    pub(crate) fn failed(&self, how: Outcome) {
        bump(&self.failed);
        self.trouble(how);
    }

    fn trouble(&self, how: Outcome) {
        let key = key(how);
        for trouble in &self.troubles {
            let known = trouble.key.load(Relaxed);
            if known == 0 {
                trouble.key.store(key, Relaxed);
            }
            if known == key || known == 0 {
                return bump(&trouble.count);
            }
        }
    }

    /// A device of that cohort has its hub.
    pub(crate) fn assigned(&self, cohort: u16) {
        bump(&self.assigned);
        if let Some(gauge) = self.cohorts.get(usize::from(cohort)) {
            bump(gauge);
        }
    }

    /// Devices on the way: booted and not at rest.
    pub(crate) fn in_flight(&self) -> u64 {
        self.entered.load(Relaxed).saturating_sub(self.settled.load(Relaxed))
    }
}

impl Snapshot {
    /// Reads the gauges of all shards. Numbers of one shard may be a few events apart.
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a Gauges>) -> Self {
        let mut sum = Self::default();
        let (mut settled, mut woken) = (0u64, 0);
        let mut troubles: BTreeMap<u64, u64> = BTreeMap::new();
        for gauges in shards {
            sum.now = sum.now.max(Moment::from_nanos(gauges.now.load(Relaxed)));
            sum.in_flight += gauges.in_flight();
            sum.assigned += gauges.assigned.load(Relaxed);
            for (sum, gauge) in sum.cohorts.iter_mut().zip(&gauges.cohorts) {
                *sum += gauge.load(Relaxed);
            }
            sum.sent += gauges.sent.load(Relaxed);
            sum.throttled += gauges.throttled.load(Relaxed);
            sum.failed += gauges.failed.load(Relaxed);
            settled += gauges.settled.load(Relaxed);
            woken += gauges.woken.load(Relaxed);
            for trouble in &gauges.troubles {
                *troubles.entry(trouble.key.load(Relaxed)).or_default() += trouble.count.load(Relaxed);
            }
        }
        let mut troubles: Vec<(u64, u64)> = troubles.into_iter().collect();
        troubles.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
        let named = troubles.into_iter().filter_map(|(key, count)| Some((outcome(key)?, count)));
        for (place, trouble) in sum.top.iter_mut().zip(named) {
            *place = Some(trouble);
        }
        // A parked device that wakes and stops again came to rest twice.
        sum.stopped = settled.saturating_sub(sum.assigned + woken);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_number_of_its_own() {
        let answered = |status, code| Outcome::Answered { status: Status(status), code };
        let faults = Fault::ALL.map(Outcome::Broke);
        let unmet = ErrorClass::ALL.map(|why| Outcome::Unmet { status: Status(200), why });
        let all = [answered(429, 429_001), answered(429, 0), answered(0, 0), Outcome::Challenged];
        for how in all.into_iter().chain(faults).chain(unmet) {
            assert_eq!(outcome(key(how)), Some(how));
        }
        assert_eq!((outcome(0), outcome(u64::MAX)), (None, None));
    }

    #[test]
    fn the_most_frequent_troubles_of_all_shards_are_named() {
        let answered = |code| Outcome::Answered { status: Status(400), code };
        let shards = [Gauges::default(), Gauges::default()];
        for count in 0..3 {
            shards[0].throttled(answered(429_001));
            shards[1].throttled(answered(429_001));
            (0..count).for_each(|_| shards[1].failed(Outcome::Broke(Fault::Lost)));
        }
        // A service that invents codes finds no more room than there is.
        (0..1_000).for_each(|code| shards[0].failed(answered(code)));
        for (shard, ns) in [(0, 7), (0, 5), (1, 6)] {
            shards[shard].at(Moment::from_nanos(ns));
        }
        let now = Snapshot::of(shards.iter());
        assert_eq!(now.top[0], Some((answered(429_001), 6)));
        assert_eq!(now.top[1], Some((Outcome::Broke(Fault::Lost), 3)));
        assert_eq!((now.throttled, now.failed), (6, 1_003));
        assert_eq!(now.now, Moment::from_nanos(7), "the clock does not go back");
    }
}
