//! What every crate here counts with: time in nanoseconds, seeded draws, and how both are written for people.
//!
//! Nothing here knows a device, a service or a file. A [`time::Moment`] counts from the start of a run, so virtual and
//! wall clocks look the same; a draw of [`random::Seed`] is keyed, so the order of execution changes nothing.

#![forbid(unsafe_code)]

mod delay;
mod nearest;
pub mod number;
pub mod random;
pub mod shown;
mod text;
pub mod time;
pub mod wheel;

pub use delay::Delay;
pub use nearest::nearest;
pub use text::{Duration, Offset, Rate, UtcTime};
