//! Exit codes that are the command's own; a record's are its verdict's.

/// The user asked for something that cannot be.
pub(crate) const USAGE: u8 = 2;
/// The world is not ready for it.
pub(crate) const PREFLIGHT: u8 = 14;
/// The user asked for the end.
pub(crate) const INTERRUPTED: u8 = 130;
/// It is nobody's fault but ours, or the disk's.
pub(crate) const INTERNAL: u8 = 1;
