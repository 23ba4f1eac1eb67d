//! What a stream can show.

use std::io::IsTerminal;

/// Whether to write colours to a stream: only to a terminal, and not if the user asks for none (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
