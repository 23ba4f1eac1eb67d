//! What a library tells the operator, its panics among it.
//!
//! A shared library carries a standard library of its own, so a hook that the host installs never sees its panics, and
//! without one of its own every panic would print to standard error. A linked plugin shares the host's.

use std::sync::OnceLock;

use crate::abi::{self, Host, Sink, Slice, Status};

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Something is broken.
    Error = 1,
    /// Something is odd.
    Warn = 2,
    /// Something is worth knowing.
    Info = 3,
}

struct HostRef(&'static Host);

// SAFETY: the host promises that `log` may be called from any thread with its context.
unsafe impl Send for HostRef {}
// SAFETY: as above.
unsafe impl Sync for HostRef {}

static HOST: OnceLock<HostRef> = OnceLock::new();

/// Tells the operator something. For defects and set-up, not for every device. Without a host it says nothing.
pub fn log(level: Level, message: &str) {
    if let Some(HostRef(host)) = HOST.get()
        && let Some(log) = host.log
    {
        // SAFETY: the host and its context live as long as the process; the slice lives during the call.
        unsafe { log(host.ctx, level as u32, Slice::of(message.as_bytes())) };
    }
}

/// Meets the host.
pub(crate) unsafe extern "C" fn init(host: *const Host, error: Sink) -> Status {
    super::caught(|| {
        // The part of `fs_host` that version 1.0 has.
        const NEEDED: u32 = size_of::<Host>() as u32;
        // SAFETY: the host passes NULL or a structure that begins with its size.
        let size = if host.is_null() { 0 } else { unsafe { (*host).size } };
        if size < NEEDED {
            super::write(error, b"the host offers less than version 1.0 of the plugin interface");
            return abi::REFUSED;
        }
        // SAFETY: the structure is as large as the one read here and lives as long as the process.
        let host: &'static Host = unsafe { &*host };
        if HOST.set(HostRef(host)).is_ok() && host.flags & abi::HOST_LINKED == 0 {
            std::panic::set_hook(Box::new(|panic| log(Level::Error, &format!("panicked: {panic}"))));
        }
        abi::OK
    })
}
