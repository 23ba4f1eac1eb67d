//! A finished run as data and as pages.
//!
//! [`Record`] is what `run.json` holds: every number that a page shows stands in it, or follows from it. This crate
//! runs nothing and reads no clock; it can render any record that was ever written: [`html()`] for a review,
//! [`markdown()`] for a comment on a change, [`summary()`] for a terminal and [`sentence()`] for a chat.

#![forbid(unsafe_code)]

pub mod analysis;
mod bound;
mod chaos;
mod chart;
pub mod diff;
mod explain;
mod form;
mod html;
mod judged;
mod markdown;
mod meaning;
mod practice;
pub mod record;
mod sentence;
mod summary;
#[cfg(test)]
mod testing;
mod text;
mod verdict;

use fleetstorm_units::number;

pub use analysis::Document;
pub use diff::Diff;
pub use explain::{explain, explain_run};
pub use fleetstorm_units::number::grouped;
pub use form::{Form, FormError, hgrm};
pub use html::html;
pub use markdown::markdown;
pub use record::Record;
pub use sentence::sentence;
pub use summary::summary;
pub use text::json_escaped;
