//! Live numbers of a run, for the display.
//!
//! A shard writes its own gauges and nobody else does, so an update is a plain load and store on a cache line that
//! no other core writes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The gauges of one shard.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gauges {
    entered: AtomicU64,
    woken: AtomicU64,
    settled: AtomicU64,
    sent: AtomicU64,
    throttled: AtomicU64,
    failed: AtomicU64,
    assigned: AtomicU64,
    /// Likewise, by cohort, as far as there is room.
    cohorts: [AtomicU64; COHORTS],
}

/// Cohorts that are told apart while a run lasts: a display has no room for more.
pub(crate) const COHORTS: usize = 8;

/// What the gauges said at one moment, summed over the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
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
}

fn bump(gauge: &AtomicU64) {
    gauge.store(gauge.load(Relaxed) + 1, Relaxed);
}

impl Gauges {
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

    pub(crate) fn throttled(&self) {
        bump(&self.throttled);
    }

    pub(crate) fn failed(&self) {
        bump(&self.failed);
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
        for gauges in shards {
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
        }
        // A parked device that wakes and stops again came to rest twice.
        sum.stopped = settled.saturating_sub(sum.assigned + woken);
        sum
    }
}
