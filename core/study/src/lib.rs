//! Studies of many runs: which strategy, how many devices, how well a forecast fits, what makes a run fail.
//!
//! Each run of a study is a stage of its control, so that an interruption reaches into it; each study leaves an analysis
//! whose outcome is its exit code.

#![forbid(unsafe_code)]

pub mod capacity;
pub mod compare;
pub mod fidelity;
pub mod rollout;
pub mod shrink;
pub mod statistics;
mod trial;

pub use trial::Timing;
