//! What a stream can show.

use std::io::IsTerminal;
use std::io::Write as _;

/// Whether to write colours to a stream: only to a terminal, and not if the user asks for none (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes to standard output.
///
/// # Panics
/// It takes nothing, though somebody reads it: a disk is full.
pub(crate) fn write_out(text: std::fmt::Arguments<'_>) {
    match std::io::stdout().write_fmt(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            panic!("standard output takes no more: {error}")
        }
        _ => {}
    }
}
