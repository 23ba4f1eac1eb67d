//! What a stream can show.

use std::io::IsTerminal;
use std::io::Write as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

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

/// Keeps a terminal from showing Ctrl-C as `^C`, which would push a live display out of its place. Put back when dropped.
pub(crate) struct QuietKeys(Option<Termios>);

impl QuietKeys {
    /// Does nothing where standard error is no terminal.
    pub(crate) fn new() -> Self {
        // A terminal stops whoever changes it from the background.
        let ours = tcgetpgrp(std::io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp());
        let before = tcgetattr(std::io::stderr()).ok().filter(|_| ours);
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHOCTL);
            // A terminal that refuses shows two characters too many.
            let _ = tcsetattr(std::io::stderr(), OptionalActions::Now, &quiet);
        }
        Self(before)
    }
}

impl Drop for QuietKeys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stderr(), OptionalActions::Now, before);
        }
    }
}
