//! What a stream can show.

use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use fleetstorm_units::shown::is_unsettling;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use crate::exit_code::INTERNAL;

/// Whether to write colours to a stream: only to a terminal, and not if the user asks for none (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Set once standard output has refused something.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Writes a result to standard output. If it takes no more, that is told, and the command goes on.
pub(crate) fn write_out(text: std::fmt::Arguments<'_>) {
    write_out_styled(&harmless(text));
}

/// As [`write_out`], of a text that has its colours, and whose names are printable.
pub(crate) fn write_out_styled(text: &str) {
    written(std::io::stdout().write_all(text.as_bytes()));
}

/// Writes a remark to standard error. Where it takes none there is nobody to tell.
pub(crate) fn write_err(text: std::fmt::Arguments<'_>) {
    write_err_styled(&harmless(text));
}

/// As [`write_err`], of a text that has its colours, and whose names are printable.
pub(crate) fn write_err_styled(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Everything that the command writes comes by here, whoever made it up: files, devices or services.
pub(crate) fn harmless(text: std::fmt::Arguments<'_>) -> String {
    text.to_string().chars().map(|c| if is_unsettling(c) && !"\n\t".contains(c) { '?' } else { c }).collect()
}

/// Notes whether standard output took what was written to it. A reader that has seen enough (`fleetstorm run FILE | head`)
/// is nobody's failure.
pub(crate) fn written(result: std::io::Result<()>) {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe && !REFUSED.swap(true, Relaxed) => {
            eprintln!(
                "error: standard output takes no more: {error}; what goes to files is written all the same"
            );
        }
        _ => {}
    }
}

/// The exit code of a command that has come to `code`: one whose results were not taken has not succeeded.
pub(crate) fn exit_code(code: u8) -> u8 {
    written(std::io::stdout().flush());
    if code == 0 && REFUSED.load(Relaxed) { INTERNAL } else { code }
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
