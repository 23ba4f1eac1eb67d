//! Faults in a run: the schedule they are given, and how the drivers ask about them.

pub(crate) mod power;
mod schedule;
mod shard;

pub use schedule::{Entry, Occurrence, Schedule, schedule};
pub(crate) use shard::{ShardChaos, off};
