//! Opening a library.
//!
//! Order matters: copy and seal, look at the file from outside, ask whether its hash is allowed, try it in a process of
//! its own, and only then open it in this one. It is never closed: threads, thread-locals and tables of a library cannot
//! be taken back safely.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::PathBuf;

use fleetstorm_plugin::abi::Entry;
use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};

use super::admission::Admission;
use super::calls::Watched;
use super::file::Sealed;
use super::library::Library;
use super::probe::Probe;
use super::problem::{LoadError, Problem};

impl Library {
    /// Opens a library that `admission` allows, after `probe` has tried it in a process of its own. Without a probe, a
    /// library that crashes or hangs when it starts takes this process with it.
    ///
    /// # Errors
    /// It is not allowed, or anything is wrong with it.
    pub fn load(sealed: &Sealed, admission: &Admission, probe: Option<&Probe>) -> Result<Self, LoadError> {
        let named = |problem| LoadError { library: sealed.path.display().to_string(), problem };
        admission.permit(&sealed.sha256).map_err(named)?;
        if let Some(probe) = probe {
            let found = probe.run(sealed)?;
            admission.confirm(&sealed.sha256, &found.name, &found.version).map_err(named)?;
        }
        let watched = Watched::new(format!("the library {} that starts", sealed.path.display()), false);
        let opened = watched.call(|| open(sealed.memory.as_fd(), &sealed.symbol(), &sealed.sha256));
        let library = opened.map_err(named)?;
        admission.confirm(&sealed.sha256, &library.name, &library.version).map_err(named)?;
        Ok(library)
    }
}

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
