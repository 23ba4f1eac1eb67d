//! What a service has counted, and the numbers that it gives to its requests.

use std::collections::BTreeMap;

use fleetstorm_units::random::{Purpose, Seed};

/// What a service has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of any kind.
    pub requests: u64,
    /// Registrations accepted.
    pub accepted: u64,
    /// Requests refused by a quota or by the poll limit.
    pub throttled: u64,
    /// Answers with `assigned`.
    pub assigned: u64,
    /// Answers with `failed`.
    pub failed: u64,
    /// Errors by six-digit code, throttling included.
    pub errors: BTreeMap<u32, u64>,
}

impl Counters {
    pub(super) fn erred(&mut self, code: u32) {
        match self.errors.get_mut(&code) {
            Some(count) => *count += 1,
            None => drop(self.errors.insert(code, 1)),
        }
    }
}

/// Numbers requests, and what has no request of its own. What is drawn for a request is keyed by its number.
#[derive(Debug)]
pub(super) struct Numbers {
    seed: Seed,
    last: u32,
}

impl Numbers {
    pub(super) const fn new(seed: Seed) -> Self {
        Self { seed, last: 0 }
    }

    pub(super) fn next(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// That of the request in hand.
    pub(super) const fn last(&self) -> u32 {
        self.last
    }

    /// The id of the request in hand.
    pub(super) fn request_id(&self) -> u128 {
        let [high, low] = self.seed.pair(Purpose::Tracking, 0, self.last);
        u128::from(high) << 64 | u128::from(low)
    }
}
