//! A finished run as data and as pages.
//!
//! [`Record`] is what `run.json` holds: every number that a page shows stands in it, or follows from it. This crate
//! runs nothing and reads no clock; it can render any record that was ever written: [`html()`] for a review,
//! [`markdown()`] for a comment on a change, [`summary()`] for a terminal and [`sentence()`] for a chat.

#![forbid(unsafe_code)]

mod bound;
mod chart;
mod fault;
mod html;
mod markdown;
mod number;
pub mod record;
mod sentence;
mod summary;
#[cfg(test)]
mod testing;
mod text;
mod verdict;

pub use html::html;
pub use markdown::markdown;
pub use record::Record;
pub use sentence::sentence;
pub use summary::summary;
