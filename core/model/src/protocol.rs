//! What devices and the service say to each other, and how each transport spells it.
//!
//! The messages are values without a transport. `http`, `mqtt` and `amqp` turn them into bytes and back; the machines in
//! [`crate::device`] and [`crate::service`] only ever see the values.

pub mod amqp;
pub mod code;
pub mod credentials;
pub mod http;
pub mod hub;
mod id;
mod message;
pub mod mqtt;
pub mod policy_name;
mod retry_after;
pub mod sas;
mod transport;
mod version;

pub use id::{Guid, InvalidRegistrationId, OperationId, RegistrationId};
pub use message::{
    Body, Enrolment, ErrorBody, Operation, Registration, RegistrationState, Reply, Status, Substatus,
};
pub use retry_after::{Malformed, RetryAfter};
pub use transport::Transport;
pub use version::{ApiVersion, DeviceApi, PolicySpelling, ServiceApi};
