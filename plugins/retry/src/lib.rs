//! The retry strategies that Fleetstorm ships, one file each.
//!
//! Every one states its formula and where it comes from. `n` counts failures in a row from 1, `U(a, b)` is a uniform
//! draw. All arithmetic saturates: a strategy that has failed for a month must not wrap around to no wait at all.

#![forbid(unsafe_code)]

mod backoff;
mod decorrelated;
mod fixed;
mod none;
mod retry_after;

use fleetstorm_plugin::{Entry, Part};

/// What this library offers.
pub static ENTRY: Entry = Entry {
    name: "retry",
    version: env!("CARGO_PKG_VERSION"),
    parts: &[
        Part::retry::<none::GiveUp>(),
        Part::retry::<none::Immediate>(),
        Part::retry::<fixed::Fixed>(),
        Part::retry::<backoff::Exponential>(),
        Part::retry::<backoff::FullJitter>(),
        Part::retry::<backoff::EqualJitter>(),
        Part::retry::<decorrelated::Decorrelated>(),
        Part::retry::<retry_after::RetryAfter>(),
    ],
};

const MS: u64 = 1_000_000;

/// Milliseconds as nanoseconds.
fn ns(ms: u64) -> u64 {
    ms.saturating_mul(MS)
}

#[cfg(test)]
mod tests;
