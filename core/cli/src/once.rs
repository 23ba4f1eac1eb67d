//! Input that gives its text once, such as a pipe, for all who ask for it: this process, when it has to name a place in
//! the text, and the one that opens libraries, which reads everything again.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};

/// What has been read. A command reads one scenario, or one mock's file.
static KEPT: OnceLock<(PathBuf, String)> = OnceLock::new();

/// The text of a file. What is no regular file is read once and kept.
///
/// # Errors
/// It cannot be read, or is no text.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    match KEPT.get() {
        Some((kept, text)) if kept == path => return Ok(text.clone()),
        _ => {}
    }
    let text = std::fs::read_to_string(path)?;
    if !path.metadata().is_ok_and(|facts| facts.is_file()) {
        keep(path, text.clone());
    }
    Ok(text)
}

/// Gives `text` to whoever asks for `path` from now on.
pub(crate) fn keep(path: &Path, text: String) {
    // Two readers at once have read two halves, and the first one's is as good.
    let _ = KEPT.set((path.to_owned(), text));
}

/// What was kept, in a file that a child can open: the path that was asked for, the child's path, and what keeps the latter
/// open.
///
/// # Errors
/// The machine gives no memory for it.
pub(crate) fn copy() -> io::Result<Option<(PathBuf, PathBuf, File)>> {
    let Some((path, text)) = KEPT.get() else { return Ok(None) };
    let mut file = File::from(memfd_create(c"fleetstorm-input", MemfdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    let place = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(Some((path.clone(), place, file)))
}
