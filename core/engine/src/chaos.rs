//! Faults in a run: the schedule they are given, and how the drivers ask about them.

mod schedule;

pub use schedule::{Entry, Occurrence, Schedule, schedule};
