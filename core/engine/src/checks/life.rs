//! What is remembered of a watched device between two of its events.

use fleetstorm_model::device::Observation;
use fleetstorm_protocol::outcome::Outcome;
use fleetstorm_protocol::{Operation, RetryAfter, Status};
use fleetstorm_units::time::{Moment, Span};

/// Poll instants that are kept: no profile can allow more in its window.
const POLLS: usize = 8;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) at: Moment,
    /// `None` for a connection that could not be made.
    pub(crate) operation: Option<Operation>,
    pub(crate) outcome: Outcome,
    /// Whether the answer had a `Retry-After` that cannot be read.
    pub(crate) odd_retry_after: bool,
}

impl Ended {
    /// The HTTP status; `None` where no answer came, and for the challenge of a TPM, which says nothing about how it went.
    pub(crate) const fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Answered { status: Status(status), .. } => Some(status),
            Outcome::Challenged | Outcome::Unmet { .. } | Outcome::Broke(_) => None,
        }
    }

    /// Whether the request may have been acted on although no answer came.
    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Broke(fault) if fault.outcome_unknown())
    }
}

/// A failure that the device will try to mend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) ended: Ended,
    pub(crate) retry_after: Option<Span>,
}

/// A watched device. A rule sees it as it was before the event.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// The last attempt that ended.
    pub(crate) last: Option<Ended>,
    /// The failure after which nothing has been tried yet.
    pub(crate) before_attempt: Option<Failure>,
    /// The failure after which no request has been sent yet.
    pub(crate) before_request: Option<Failure>,
    /// Failures since the last success.
    pub(crate) failures: u16,
    /// Answers with 401 in a row.
    pub(crate) refusals: u16,
    /// When it polled last, the oldest at `polled % POLLS`.
    polls: [Moment; POLLS],
    polled: u32,
    /// The service has accepted its registration, and nothing has failed since.
    pub(crate) accepted: bool,
    /// A register request ended without an answer, and no answer has cleared that up.
    pub(crate) unknown: bool,
    /// One bit a rule that it has broken.
    pub(super) broken: u64,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self {
            last: None,
            before_attempt: None,
            before_request: None,
            failures: 0,
            refusals: 0,
            polls: [Moment::START; POLLS],
            polled: 0,
            accepted: false,
            unknown: false,
            broken: 0,
        }
    }

    /// The device has lost its power: it owes nothing for what it did before.
    pub(crate) fn power_off(&mut self) {
        *self = Self { broken: self.broken, ..Self::new() };
    }

    /// When the device starts an attempt by this event, if it does: a connection, or a request on an open one.
    pub(crate) fn starts(now: Moment, event: &Observation<'_>) -> Option<Moment> {
        match event {
            Observation::Connected { started, .. } => Some(*started),
            Observation::Sent { .. } => Some(now),
            _ => None,
        }
    }

    /// The failure that an attempt starting now follows, and how long after it.
    pub(crate) fn came_back(&self, now: Moment, event: &Observation<'_>) -> Option<(Failure, Span)> {
        let start = Self::starts(now, event)?;
        self.before_attempt.map(|failure| (failure, start.since(failure.ended.at)))
    }

    /// When the device sent the `count`-th poll before now; `None` if it has not sent so many.
    pub(crate) fn poll_before(&self, count: u32) -> Option<Moment> {
        let count = count.clamp(1, POLLS as u32);
        let at = self.polled.checked_sub(count)?;
        Some(self.polls[at as usize % POLLS])
    }

    /// Takes note of an event.
    pub(super) fn take(&mut self, now: Moment, event: &Observation<'_>) {
        match *event {
            Observation::Connected { fault, .. } => {
                self.before_attempt = None;
                if let Some(fault) = fault {
                    let outcome = Outcome::Broke(fault);
                    self.last = Some(Ended { at: now, operation: None, outcome, odd_retry_after: false });
                }
            }
            Observation::Sent { operation, .. } => {
                self.before_attempt = None;
                self.before_request = None;
                if operation == Operation::Poll {
                    self.polls[self.polled as usize % POLLS] = now;
                    self.polled = self.polled.wrapping_add(1);
                }
            }
            Observation::Ended { operation, outcome, retry_after, .. } => {
                let odd_retry_after = matches!(retry_after, RetryAfter::Malformed(_));
                self.ended(
                    Ended { at: now, operation: Some(operation), outcome, odd_retry_after },
                    operation,
                );
            }
            Observation::BackedOff { retry_after, .. } => {
                let Some(ended) = self.last else { return };
                self.failures = self.failures.saturating_add(1);
                self.accepted = false;
                let failure = Failure { ended, retry_after };
                (self.before_attempt, self.before_request) = (Some(failure), Some(failure));
            }
            Observation::Assigned { .. } => {
                *self = Self { broken: self.broken, ..Self::new() };
            }
            Observation::Stopped { .. } => {
                self.accepted = false;
                (self.before_attempt, self.before_request) = (None, None);
            }
            _ => {}
        }
    }

    fn ended(&mut self, ended: Ended, operation: Operation) {
        self.last = Some(ended);
        if ended.is_unknown() {
            self.unknown |= operation == Operation::Register;
        }
        match ended.status() {
            Some(401) => self.refusals = self.refusals.saturating_add(1),
            Some(200..=299) => {
                (self.failures, self.refusals) = (0, 0);
                self.accepted |= operation == Operation::Register;
            }
            _ => {}
        }
    }
}
