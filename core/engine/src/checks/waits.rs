//! The waits that strategies planned, by how many failures in a row came before.

use std::collections::BTreeMap;

use fleetstorm_units::time::Span;

/// Failures in a row that are told apart; further ones count together.
pub(super) const RANKS: usize = 12;
const SLOT_NS: u64 = 100_000_000;
/// A fleet that waits in more different slots than this is no herd.
const SLOTS_MAX: usize = 4_096;

/// The waits after the same number of failures.
#[derive(Clone, Debug, Default)]
pub(super) struct Rank {
    /// Waits that no `Retry-After` had a say in.
    pub(super) free: u64,
    free_ns: u128,
    /// All waits, by slots of 100 ms.
    slots: BTreeMap<u64, u64>,
    pub(super) all: u64,
}

impl Rank {
    /// The mean of the free waits.
    pub(super) fn mean(&self) -> Option<Span> {
        let mean = self.free_ns.checked_div(u128::from(self.free))?;
        Some(Span::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// The share of the fullest slot, and where it is.
    pub(super) fn fullest(&self) -> Option<(f64, Span)> {
        let (slot, count) =
            self.slots.iter().max_by_key(|(slot, count)| (**count, std::cmp::Reverse(**slot)))?;
        Some((*count as f64 / self.all as f64, Span::from_nanos(slot * SLOT_NS)))
    }
}

/// All ranks.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(pub(super) [Rank; RANKS]);

impl Waits {
    /// A wait after `failures` in a row, this one included.
    pub(super) fn add(&mut self, failures: u16, wait: Span, told: bool) {
        let rank = &mut self.0[usize::from(failures).clamp(1, RANKS) - 1];
        rank.all += 1;
        if !told {
            rank.free += 1;
            rank.free_ns += u128::from(wait.as_nanos());
        }
        let slot = wait.as_nanos() / SLOT_NS;
        if let Some(count) = rank.slots.get_mut(&slot) {
            *count += 1;
        } else if rank.slots.len() < SLOTS_MAX {
            rank.slots.insert(slot, 1);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.all += theirs.all;
            mine.free += theirs.free;
            mine.free_ns += theirs.free_ns;
            for (slot, count) in &theirs.slots {
                *mine.slots.entry(*slot).or_default() += count;
            }
        }
    }
}
