//! What a Fleetstorm plugin is.
//!
//! A plugin brings a retry strategy or an attestation: it implements [`RetryStrategy`] or [`Attestation`] and names
//! the implementation in [`export!`]. Underneath lies the C interface of `include/fleetstorm_plugin.h`, which is the
//! contract; [`abi`] mirrors it, and the traits are one way to fulfil it. The built-in plugins enter the host by the
//! same descriptor that a shared library exports.
//!
//! Plugins are pure and synchronous. Time and chance come in by value, nothing is waited for, and what a strategy
//! remembers is plain data that the host keeps: so a decision can be replayed, a reboot that loses the memory can be
//! simulated, and the same plugin serves the wall clock and a million devices in virtual time.
//!
//! Unsafe code is confined to `shim`, where the traits meet the C interface, and to the markers of `abi` that tables of
//! constants may be shared between threads.

#![deny(unsafe_code)]

#[allow(
    unsafe_code,
    reason = "tables of constants hold pointers, and are shared between threads all the same"
)]
pub mod abi;
mod attempt;
mod attestation;
mod config;
mod decision;
mod export;
mod retry;
mod sas;
#[allow(unsafe_code, reason = "the one place where the traits meet C")]
mod shim;
pub mod testing;

pub use attempt::{Advice, Attempt, Class, Given, Operation};
pub use attestation::Attestation;
pub use bytemuck;
pub use config::{Error, Result};
pub use decision::{Answered, Decision};
pub use retry::{Kept, Memory, Needs, RetryStrategy, Scope};
pub use sas::write_sas_token;
pub use shim::log::{Level, log};

#[doc(hidden)]
pub use export::{attestation, entry, library_name, retry};
