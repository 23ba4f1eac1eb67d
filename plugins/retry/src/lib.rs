//! The retry strategies that Fleetstorm ships, one file each.
//!
//! Every one states its formula and where it comes from. `n` counts failures in a row from 1, `U(a, b)` is a uniform
//! draw. All arithmetic saturates: a strategy that has failed for a month must not wrap around to no wait at all.

#![deny(unsafe_code)]

mod backoff;
mod decorrelated;
mod fixed;
mod none;
mod retry_after;

fleetstorm_plugin::export! {
    fleetstorm_plugin_retry;
    retry: [
        none::GiveUp,
        none::Immediate,
        fixed::Fixed,
        backoff::Exponential,
        backoff::FullJitter,
        backoff::EqualJitter,
        decorrelated::Decorrelated,
        retry_after::RetryAfter,
    ]
}

const MS: u64 = 1_000_000;

/// Milliseconds as nanoseconds.
fn ns(ms: u64) -> u64 {
    ms.saturating_mul(MS)
}

#[cfg(test)]
mod tests;
