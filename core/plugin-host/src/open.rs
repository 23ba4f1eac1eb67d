//! Handing a sealed library to the system's loader. It is never closed.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::PathBuf;

use fleetstorm_plugin::abi::Entry;
use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};

use super::library::Library;
use super::problem::Problem;

/// Opens and starts the library in sealed memory.
///
/// The system's loader takes two libraries of the same path for one. The path here is that of a descriptor, so the
/// descriptor is kept for as long as the library is: for ever.
pub(super) fn open(memory: impl AsFd, symbol: &str, sha256: &str) -> Result<Library, Problem> {
    let kept = File::from(memory.as_fd().try_clone_to_owned().map_err(Problem::NotSealed)?);
    let path = PathBuf::from(format!("/proc/self/fd/{}", kept.as_raw_fd()));
    // SAFETY: opening runs the library's constructors. That is what its operator allowed; there is no way to make it
    // safe, only to make sure that it is the file that was meant.
    let opened = unsafe { Opened::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| Problem::NotOpened(reason(&error, &path)))?;
    std::mem::forget(kept);
    // SAFETY: the symbol is used as an address only; what lies there is checked before it is believed.
    let entry = unsafe { opened.get::<*const Entry>(symbol.as_bytes()) }.map(|entry| *entry);
    std::mem::forget(opened);
    let entry = entry.map_err(|_| Problem::NoEntry { symbol: symbol.to_owned() })?;
    // SAFETY: the library stays open, and the symbol is the one that the interface names.
    unsafe { Library::loaded(entry, sha256.to_owned()) }
}

/// What the system's loader says, without our name for the copy.
fn reason(error: &libloading::Error, path: &std::path::Path) -> String {
    let source = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let text = source.replace(&format!("{}: ", path.display()), "");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
