//! How often a fault could have hit, and how often it did.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fleetstorm_units::time::Moment;

/// The counts of one fault, shared by everybody who asks about it. They are touched while the fault lasts, and only
/// for those whom it selects.
#[derive(Debug)]
pub struct Tally {
    eligible: AtomicU64,
    fired: AtomicU64,
    /// One bit a device of the fleet: it has been hit.
    hit: Box<[AtomicU64]>,
    /// Likewise: it has been hit, and has not come to rest since.
    under: Box<[AtomicU64]>,
    /// Likewise: it has been hit, and has neither got its hub nor given up since.
    owing: Box<[AtomicU64]>,
    first_ns: AtomicU64,
    last_ns: AtomicU64,
    /// The occurrence of the fault in the upper half, its devices in the lower.
    active: AtomicU64,
}

/// What a [`Tally`] says at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TallySnapshot {
    /// Occasions on which the fault was on and its selection fitted.
    pub eligible: u64,
    /// Times that it hit.
    pub fired: u64,
    /// Devices that it hit.
    pub devices: u64,
    /// The first hit.
    pub first: Option<Moment>,
    /// The last hit.
    pub last: Option<Moment>,
}

impl Tally {
    /// Counts for a fleet of so many devices.
    pub(super) fn new(devices: usize) -> Self {
        let bits = || (0..devices.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self {
            eligible: AtomicU64::new(0),
            fired: AtomicU64::new(0),
            hit: bits(),
            under: bits(),
            owing: bits(),
            first_ns: AtomicU64::new(u64::MAX),
            last_ns: AtomicU64::new(0),
            active: AtomicU64::new(0),
        }
    }

    /// Counts an occasion; returns how many there were before.
    pub(super) fn eligible(&self) -> u64 {
        self.eligible.fetch_add(1, Relaxed)
    }

    /// Counts a hit, unless there have been `ceiling` already.
    pub(super) fn fire(&self, now: Moment, ceiling: Option<u64>) -> bool {
        let below = |fired: u64| ceiling.is_none_or(|ceiling| fired < ceiling).then_some(fired + 1);
        if self.fired.fetch_update(Relaxed, Relaxed, below).is_err() {
            return false;
        }
        self.first_ns.fetch_min(now.as_nanos(), Relaxed);
        self.last_ns.fetch_max(now.as_nanos(), Relaxed);
        true
    }

    /// Counts what was counted elsewhere.
    pub(super) fn count(&self, now: Moment, eligible: u64, fired: u64) {
        self.eligible.fetch_add(eligible, Relaxed);
        self.fired.fetch_add(fired, Relaxed);
        if fired > 0 {
            self.first_ns.fetch_min(now.as_nanos(), Relaxed);
            self.last_ns.fetch_max(now.as_nanos(), Relaxed);
        }
    }

    /// Remembers that a device was hit.
    pub(super) fn met(&self, device: u32) {
        for bits in [&self.hit, &self.under, &self.owing] {
            if let Some(word) = bits.get(device as usize / 64) {
                word.fetch_or(1 << (device % 64), Relaxed);
            }
        }
    }

    /// Whether a device has been hit at all.
    pub fn has_hit(&self, device: u32) -> bool {
        let word = self.hit.get(device as usize / 64);
        word.is_some_and(|word| word.load(Relaxed) & (1 << (device % 64)) != 0)
    }

    /// A device has its hub or has given up for good; whether it had been hit and had done neither since.
    pub fn came_back(&self, device: u32) -> bool {
        let bit = 1 << (device % 64);
        let word = self.owing.get(device as usize / 64);
        word.is_some_and(|word| word.load(Relaxed) & bit != 0 && word.fetch_and(!bit, Relaxed) & bit != 0)
    }

    /// Whether a device has been hit and has neither got its hub nor given up since.
    pub fn is_owing(&self, device: u32) -> bool {
        let word = self.owing.get(device as usize / 64);
        word.is_some_and(|word| word.load(Relaxed) & (1 << (device % 64)) != 0)
    }

    /// Whether a device has been hit and has not come to rest since.
    pub fn is_under(&self, device: u32) -> bool {
        let word = self.under.get(device as usize / 64);
        word.is_some_and(|word| word.load(Relaxed) & (1 << (device % 64)) != 0)
    }

    /// A device has come to rest: what it meets from now on is not this fault's doing.
    pub fn came_to_rest(&self, device: u32) {
        if let Some(word) = self.under.get(device as usize / 64) {
            word.fetch_and(!(1 << (device % 64)), Relaxed);
        }
    }

    /// Takes a place among the devices that are hit by this occurrence of the fault, if there is one.
    pub(super) fn enter(&self, occurrence: u32, ceiling: u32) -> bool {
        let of = u64::from(occurrence) << 32;
        let place = |held: u64| {
            let devices = if held & !0xffff_ffff == of { held & 0xffff_ffff } else { 0 };
            (devices < u64::from(ceiling)).then_some(of | (devices + 1))
        };
        self.active.fetch_update(Relaxed, Relaxed, place).is_ok()
    }

    /// The counts now.
    pub fn snapshot(&self) -> TallySnapshot {
        let fired = self.fired.load(Relaxed);
        let at = |ns: &AtomicU64| (fired > 0).then(|| Moment::from_nanos(ns.load(Relaxed)));
        TallySnapshot {
            eligible: self.eligible.load(Relaxed),
            fired,
            devices: self.hit.iter().map(|word| u64::from(word.load(Relaxed).count_ones())).sum(),
            first: at(&self.first_ns),
            last: at(&self.last_ns),
        }
    }
}
