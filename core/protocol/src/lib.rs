//! What devices and the service say to each other, and how each transport spells it.
//!
//! The messages are values without a transport; [`http`], [`mqtt`] and [`amqp`] turn them into bytes and back, and read
//! whatever a stranger sends without panic. There is no I/O here, no time and no cryptography: who writes a client or a
//! service brings sockets and keys of their own.

#![forbid(unsafe_code)]

pub mod amqp;
pub mod certificate;
pub mod code;
pub mod enrollment;
pub mod enrollment_api;
pub mod http;
pub mod hub;
mod id;
mod message;
pub mod mqtt;
pub mod outcome;
mod retry_after;
pub mod sas;
mod submission;
mod transport;
pub mod webhook;

pub use id::{Guid, InvalidRegistrationId, OperationId, RegistrationId};
pub use message::{
    Body, Enrolment, ErrorBody, Operation, Registration, RegistrationState, Reply, Status, Substatus,
};
pub use retry_after::{Malformed, RetryAfter};
pub use submission::{Submission, TpmKeys};
pub use transport::Transport;
