//! What comes of a request, before it is put into words.

use fleetstorm_protocol::{OperationId, Reply, RetryAfter};
use fleetstorm_units::time::Span;

/// What comes of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Handled {
    /// The answer.
    pub reply: Reply,
    /// How long a shaping queue held the request: the door answers that much later.
    pub delay: Span,
    /// The request's id (`x-ms-request-id`); an error body repeats it as its tracking id.
    pub request_id: u128,
}

/// What a device of the roster asks for.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// To be assigned.
    Register,
    /// How this assignment is going.
    Poll(&'a OperationId),
    /// For its last known assignment.
    Lookup,
}

/// What the service decided, before it is put into words: [`super::Service::reply`] does that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// An error.
    Refused {
        /// The six-digit code.
        code: u32,
        /// When to come back.
        retry_after: RetryAfter,
    },
    /// The enrollment is disabled.
    Disabled,
    /// The assignment is under way.
    Assigning(Ticket),
    /// The device has a hub.
    Assigned(Ticket),
    /// The assignment came to nothing.
    Failed(Ticket),
    /// To a lookup: the last known assignment, and whether it is still under way.
    Known(Ticket, bool),
    /// A TPM is to prove itself.
    Challenged {
        /// The place of its enrollment.
        individual: u32,
    },
}

/// One registration of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The device's record; its number if it is in the roster.
    pub record: u32,
    /// Which registration of the device it is, from 1.
    pub registration: u32,
}

/// An answer and when it leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// How long a shaping queue held the request.
    pub delay: Span,
}

/// Why a request is refused: the six-digit code, and a wait where the refusal names one.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) retry_after: RetryAfter,
}

impl Refusal {
    pub(super) const fn new(code: u32) -> Self {
        Self { code, retry_after: RetryAfter::Absent }
    }
}
