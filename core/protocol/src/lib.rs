//! What devices and the service say to each other, and how each transport spells it.
//!
//! The messages are values without a transport; [`http`], [`mqtt`] and [`amqp`] turn them into bytes and back, and read
//! whatever a stranger sends without panic. There is no I/O here, no time and no cryptography: who writes a client or a
//! service brings sockets and keys of their own.
//!
//! Both ends of a registration over HTTPS:
//!
//! ```
//! use fleetstorm_protocol::http::{self, RouteCall};
//! use fleetstorm_protocol::{Body, Operation, OperationId, RegistrationState, Reply, RetryAfter, Status, Submission};
//!
//! // The device writes a request: PUT, this path, this body.
//! let mut target = String::new();
//! http::path_and_query(Operation::Register, "0ne00ABCDEF", "dev-1", None, "2021-06-01", &mut target);
//! let sent = http::body("dev-1", None);
//!
//! // The service reads it ...
//! let (path, query) = target.split_once('?').unwrap();
//! let route = http::route("PUT", path, Some(query));
//! assert_eq!((route.call, &*route.id_scope, &*route.registration_id), (RouteCall::Register, "0ne00ABCDEF", "dev-1"));
//! let submission = http::read_submission(Some("application/json"), sent.as_bytes());
//! assert!(matches!(submission, Submission::Read { registration_id: Some(id), .. } if id == "dev-1"));
//!
//! // ... and answers that it is assigning: poll again in three seconds.
//! let id = OperationId::read("4.0123456789abcdef.00000000-0000-0000-0000-000000000000").unwrap();
//! let body = Body::Operation { id: Some(id), state: RegistrationState::Assigning, registration: None };
//! let answer = Reply { status: Status::ACCEPTED, retry_after: RetryAfter::Seconds(3), body };
//! let mut bytes = Vec::new();
//! http::write_reply(&answer, "dev-1", false, &mut bytes);
//!
//! // The device reads what the service meant.
//! let read = http::read_reply(answer.status, answer.retry_after, Some("application/json; charset=utf-8"), &bytes);
//! assert_eq!(read, answer);
//! ```

#![forbid(unsafe_code)]

pub mod amqp;
pub mod certificate;
pub mod code;
pub mod credentials;
pub mod enrollment;
pub mod enrollment_api;
pub mod http;
pub mod hub;
mod id;
mod message;
pub mod mqtt;
pub mod outcome;
pub mod policy_name;
mod retry_after;
pub mod sas;
mod submission;
mod transport;
mod version;
pub mod webhook;

pub use id::{Guid, InvalidRegistrationId, OperationId, RegistrationId};
pub use message::{
    Body, Enrolment, ErrorBody, Operation, Registration, RegistrationState, Reply, Status, Substatus,
};
pub use retry_after::{Malformed, RetryAfter};
pub use submission::{Submission, TpmKeys};
pub use transport::Transport;
pub use version::{ApiVersion, DeviceApi, PolicySpelling, ServiceApi};
