//! A finished run as data and as pages.
//!
//! [`Record`] is what `run.json` holds: every number that a page shows stands in it. This crate runs nothing and
//! reads no clock; it can render any record that was ever written.

#![forbid(unsafe_code)]

mod number;
pub mod record;
mod sentence;
mod summary;

pub use record::Record;
pub use sentence::sentence;
pub use summary::summary;
