//! Plugins as their host holds them.
//!
//! A [`Registry`] knows libraries; a library, linked or loaded, offers parts; a part makes a [`Retry`] or an
//! [`Attestation`]. Linked and loaded libraries differ in how their descriptor is found and in nothing else.
//!
//! A plugin's panics are caught at its own side, its answers are checked here, and a broken strategy ends its devices and
//! never the run, nor looks like a failing service. A loaded one can do more: end the process, or not come back. The
//! command holds it in a process apart ([`Ward`]) and has its calls watched ([`watch_calls`]).
//!
//! Unsafe code is confined to `library`, `retry` and `attestation`, which call through the C interface, to `sink` and
//! `host`, which it calls back, and to `open`, which opens libraries.

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "Fleetstorm needs Linux (it opens libraries from sealed memory, in a process that it holds by pidfd): build it there, or in a container"
);

mod admission;
#[allow(unsafe_code, reason = "calls an attestation through the C interface")]
mod attestation;
mod breaker;
mod calls;
mod examine;
mod file;
mod guard;
#[allow(unsafe_code, reason = "offers the host's side of the C interface")]
mod host;
mod kind;
mod knowledge;
#[allow(unsafe_code, reason = "reads descriptors of the C interface")]
mod library;
mod load;
mod memory;
mod needs;
#[allow(unsafe_code, reason = "opens libraries")]
mod open;
mod probe;
mod problem;
mod registry;
#[allow(unsafe_code, reason = "calls a strategy through the C interface")]
mod retry;
mod scaffold;
#[allow(unsafe_code, reason = "is called back through the C interface")]
mod sink;
mod translate;
mod ward;

pub use admission::{Admission, AdmissionError, Locked, lock_text};
pub use attestation::{Attestation, AttestationFailed, DeviceIdentity};
pub use calls::watch_calls;
pub use examine::{Check, Examination, HerdRow, Repeats, RetryAfterRow, Terminal, Verdict, examine};
pub use file::{SEARCH_VARIABLE, Sealed, find};
pub use host::{Message, messages};
pub use kind::Kind;
pub use knowledge::Knowledge;
pub use library::{Library, Part};
pub use memory::{Layout, Session, Sessions};
pub use needs::Needs;
pub use probe::{Found, Probe, serve_probe};
pub use problem::{LoadError, PluginError, Problem};
pub use registry::Registry;
pub use retry::{Fault, Retry, Scopes};
pub use scaffold::{Files, NameError, scaffold};
pub use ward::{Deed, Ward, adopt_orphans, end_orphans, end_with_parent, say};
