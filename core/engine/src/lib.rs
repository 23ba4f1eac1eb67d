//! One run: a scenario made ready, driven to its end, and judged.
//!
//! A [`Plan`] is a scenario made ready. [`wall::run`] runs it against the wall clock, [`wired::run`] and
//! [`virtual_time::run`] in virtual time; each leaves a [`fleetstorm_reports::Record`]. Nothing here knows a terminal.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "Fleetstorm needs Linux (its audit reads /proc, and faults of packets are made by the kernel's netem): build it there, or in a container"
);

mod audit;
#[cfg(feature = "bench")]
pub mod bench;
mod cause;
pub mod chaos;
mod checks;
mod control;
mod drive;
mod embedded;
pub mod enroll;
mod error;
mod event;
mod gauges;
mod judge;
pub mod life;
mod listen;
mod plan;
mod probes;
mod record;
mod run;
pub mod service_log;
mod sync;
mod truth;
pub mod virtual_time;
pub mod wall;
pub mod wired;

pub use audit::cpus;
pub use control::{Control, Progress};
pub use error::RunError;
pub use gauges::Snapshot;
pub use judge::broken_run;
pub use plan::Plan;
