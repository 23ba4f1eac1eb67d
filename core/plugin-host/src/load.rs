//! Opening a library.
//!
//! Order matters: copy and seal, look at the file from outside, ask whether its hash is allowed, try it in a process of
//! its own, and only then open it in this one. It is never closed: threads, thread-locals and tables of a library cannot
//! be taken back safely.

use std::os::fd::AsFd as _;

use super::admission::Admission;
use super::calls::Watched;
use super::file::Sealed;
use super::library::Library;
use super::open::open;
use super::probe::Probe;
use super::problem::LoadError;

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
        tracing::info!(name = library.name, version = library.version, sha256 = sealed.sha256,
            path = %sealed.path.display(), "opened a plugin's library");
        Ok(library)
    }
}
