//! Files that a run leaves: results, whole or not at all, and logs that are written line by line beside it.

#![forbid(unsafe_code)]

mod lines;
mod write;

pub use lines::{LineFile, Lines, Manner};
pub use write::{Claim, WriteError, is_locked, open_lines, write_together, write_whole};
