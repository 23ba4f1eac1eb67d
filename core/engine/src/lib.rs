//! Drives the model: over real sockets, as real bytes over in-memory pipes in virtual time, and by direct calls over a
//! million devices.
//!
//! A [`Plan`] is a scenario made ready. [`live::run`] runs it against the wall clock, [`wired::run`] and
//! [`simulate::run`] in virtual time; each leaves a [`fleetstorm_reports::Record`]. [`RunningMock`] is the mock of the service with its doors. Nothing
//! here knows a terminal.

#![deny(unsafe_code)]

mod audit;
#[cfg(feature = "bench")]
pub mod bench;
pub mod chaos;
mod checks;
mod control;
mod drive;
pub mod enroll;
mod error;
mod event;
mod gauges;
mod judge;
pub mod life;
mod listen;
pub mod live;
mod plan;
mod probes;
mod record;
pub mod service_log;
pub mod simulate;
mod tpm;
mod truth;
pub mod wired;

pub use audit::cpus;
pub use control::{Control, Progress};
pub use error::RunError;
pub use gauges::Snapshot;
pub use judge::broken_run;
pub use plan::Plan;
