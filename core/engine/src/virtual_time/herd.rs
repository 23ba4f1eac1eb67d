//! How a fleet's requests fall together, and what became of each device: the raw material of a comparison.

use fleetstorm_units::time::Moment;

/// What became of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It got its hub.
    Assigned,
    /// It gave up, or sleeps off a refusal.
    Stopped,
    /// It was still on its way when the run ended.
    Unfinished,
}

/// What became of each device, and when the fleet sent.
#[derive(Clone, Debug, Default)]
pub struct Herd {
    /// By device: what became of it.
    pub fates: Vec<Fate>,
    /// By device: when that happened; the end of the run for an unfinished one.
    pub at: Vec<Moment>,
    /// By device: attempts since boot.
    pub attempts: Vec<u32>,
    /// Register and lookup requests that were a device's first attempt, by 100 ms slot.
    pub first: Vec<u32>,
    /// Later ones, likewise.
    pub later: Vec<u32>,
    /// The longest wait that a strategy chose, in nanoseconds.
    pub wait_max_ns: u64,
}

/// The slots of [`Herd::first`] and [`Herd::later`] are this long.
const SLOT_NS: u64 = 100_000_000;

/// A fortnight; what comes later counts in the last slot.
const SLOTS_MAX: usize = 14 * 86_400 * 10;

impl Herd {
    pub(super) fn of(devices: u32) -> Self {
        let devices = devices as usize;
        Self {
            fates: vec![Fate::Unfinished; devices],
            at: vec![Moment::START; devices],
            attempts: vec![0; devices],
            ..Self::default()
        }
    }

    pub(super) fn sent(&mut self, now: Moment, attempt: u32) {
        let slots = if attempt <= 1 { &mut self.first } else { &mut self.later };
        let slot = ((now.as_nanos() / SLOT_NS) as usize).min(SLOTS_MAX - 1);
        if slot >= slots.len() {
            slots.resize(slot + 1, 0);
        }
        slots[slot] += 1;
    }
}
