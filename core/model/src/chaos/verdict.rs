//! What to do about an occasion. Faults compose in the order of the scenario: the first one that produces an answer or
//! an end wins, and delays add up.

use std::sync::Arc;

use fleetstorm_protocol::{RetryAfter, outcome};
use fleetstorm_units::time::Span;

/// How something ends that a fault has cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In this way.
    Broke(outcome::Fault),
    /// Not at all: whoever waits has to run out of patience.
    Silence,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connecting {
    /// How much longer it takes.
    pub delay: Span,
    /// How it ends, unless the connection stands.
    pub cut: Option<Cut>,
    /// The device that it is opened in the name of, if not its own.
    pub in_the_name_of: Option<u32>,
}

/// How a request and its answer travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// How much longer it takes.
    pub delay: Span,
    /// Bytes a second, each way.
    pub bytes_per_s: Option<u32>,
    /// Bytes of the answer that come at a time, and the time between them.
    pub drip: Option<(u32, Span)>,
    /// Bytes of a piece, each way.
    pub slice: Option<u32>,
    /// Bytes of answers after which the connection ends.
    pub limit: Option<u32>,
    /// How much later the end of the connection is noticed.
    pub close_delay: Span,
}

/// Whether a request and its answer arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanging {
    /// How it ends for the device, unless with the answer.
    pub cut: Option<Cut>,
    /// Whether the service sees the request all the same.
    pub reaches_service: bool,
    /// Whether a part of the answer arrives first.
    pub torn: bool,
}

impl Default for Exchanging {
    fn default() -> Self {
        Self { cut: None, reaches_service: true, torn: false }
    }
}

/// What the service does with a request beside what it would do anyway.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    /// The answer, before any work is done: a six-digit code and when to come back.
    pub refuse: Option<(u32, RetryAfter)>,
    /// The enrollment counts as disabled.
    pub disabled: bool,
    /// The operation that is polled is forgotten.
    pub forgotten: bool,
    /// How much longer the answer takes.
    pub delay: Span,
    /// The work is done and the answer never leaves.
    pub lost: bool,
    /// How much longer the assignment takes; [`Span::MAX`] for ever.
    pub held: Span,
    /// The assignment fails with this code.
    pub failed: Option<u32>,
    /// Another device has registered under the same id just before.
    pub raced: bool,
    /// No assignment to the hub that the device had.
    pub flipped: bool,
    /// No assignment to this hub.
    pub without_hub: Option<Arc<str>>,
    /// The quota, as a share of the usual one.
    pub quota: f64,
    /// How far the service's clock is ahead of the truth, in nanoseconds.
    pub clock_offset_ns: i64,
    /// The primary credential is not accepted.
    pub primary_refused: bool,
}

impl Serving {
    /// Nothing but what it would do anyway.
    pub const USUAL: Self = Self {
        refuse: None,
        disabled: false,
        forgotten: false,
        delay: Span::ZERO,
        lost: false,
        held: Span::ZERO,
        failed: None,
        raced: false,
        flipped: false,
        without_hub: None,
        quota: 1.0,
        clock_offset_ns: 0,
        primary_refused: false,
    };
}

impl Default for Serving {
    fn default() -> Self {
        Self::USUAL
    }
}

/// What a device does about a failure instead of what its strategy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deciding {
    /// It waits so long, whatever was answered.
    pub wait: Option<Span>,
    /// So many failures are added to those that the strategy is told of.
    pub failures: u32,
    /// It draws the numbers of device 0.
    pub equal_seeds: bool,
}
