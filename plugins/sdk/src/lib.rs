//! What a Fleetstorm plugin is.
//!
//! A plugin brings a retry strategy or an attestation: it implements [`RetryStrategy`] or [`Attestation`] and names
//! the implementation in an [`Entry`]. The built-in ones enter the host by the same descriptor.
//!
//! Plugins are pure and synchronous. Time and chance come in by value, nothing is waited for, and what a strategy
//! remembers of a device is plain data that the host keeps: so a decision can be replayed, a reboot that loses the
//! memory can be simulated, and the same plugin serves the wall clock and a million devices in virtual time.

#![forbid(unsafe_code)]

mod attestation;
mod config;
mod entry;
mod retry;

pub use attestation::{Attestation, ErasedAttestation, ErasedDevice};
pub use config::{Error, Result};
pub use entry::{Entry, Part, PartKind};
pub use retry::{
    Advice, Attempt, Class, Decision, ErasedRetry, Given, Guard, Operation, RetryAfterRule, RetryStrategy,
    Session,
};
