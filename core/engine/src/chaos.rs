//! Faults in a run: the schedule they are given, and how the drivers ask about them.

pub(crate) mod canary;
mod guard;
pub(crate) mod netem;
pub(crate) mod power;
mod schedule;
mod shard;
pub(crate) mod steady;

pub(crate) use guard::Guards;
pub use schedule::{Entry, Occurrence, Schedule, schedule};
pub(crate) use shard::{ShardChaos, off};

#[cfg(test)]
#[path = "chaos/tests.rs"]
mod tests;
