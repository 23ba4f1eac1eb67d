//! Throttle models, each a small pure type, and the three meters of a service.

mod meter;
mod profile;

pub use meter::Meter;
pub use profile::{PROFILES, Profile, profile};

use fleetstorm_units::time::Span;

/// A verdict of a meter on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on; a shaping queue may hold the request back for a while.
    Admit {
        /// How long the request waits in the queue before it is served.
        delay: Span,
    },
    /// 429.
    Reject {
        /// When one more request would be admitted if nobody else came. For a window model that is its end.
        until_token: Span,
    },
}

/// Which model a meter uses. Rates are in requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Model {
    /// No limit.
    Unlimited,
    /// `rate` tokens a second, at most `burst` of them.
    TokenBucket {
        /// Tokens per second.
        rate_per_s: f64,
        /// Capacity.
        burst: f64,
    },
    /// The generic cell rate algorithm; equals the token bucket, with one timestamp of state.
    Gcra {
        /// Cells per second.
        rate_per_s: f64,
        /// Cells that may come at once.
        burst: f64,
    },
    /// At most `limit` in each aligned window.
    FixedWindow {
        /// Requests per window.
        limit: u32,
        /// Length of the window.
        window: Span,
    },
    /// At most `limit` in any window of this length.
    SlidingWindow {
        /// Requests per window.
        limit: u32,
        /// Length of the window.
        window: Span,
    },
    /// A queue that drains at `rate`: requests wait, and are rejected once `depth` of them do.
    Shaped {
        /// Requests served per second.
        rate_per_s: f64,
        /// Requests that pass at once before shaping begins.
        burst: f64,
        /// Requests that may wait.
        depth: f64,
    },
    /// A token bucket in which a rejected request costs `rho` tokens.
    Penalising {
        /// Tokens per second.
        rate_per_s: f64,
        /// Capacity.
        burst: f64,
        /// Tokens that a rejection costs.
        rho: f64,
    },
}

/// The three meters and what a 429 says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Registrations and status lookups, per service.
    pub registrations: Model,
    /// Service (enrollment) operations, per service.
    pub operations: Model,
    /// Polls allowed per device in `poll_window`; `None` for no limit.
    pub polls_per_window: Option<u32>,
    /// The window of `polls_per_window`.
    pub poll_window: Span,
    /// `Retry-After` of a 429.
    pub retry_after: RetryAfterMode,
}

/// What a 429 says about when to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAfterMode {
    /// Nothing.
    None,
    /// Always the same number of seconds.
    Constant(u32),
    /// Until one more request would be admitted (a token, the window's end), rounded up to seconds.
    UntilToken,
    /// Until the minute of the clock ends, rounded up to seconds.
    UntilMinute,
    /// Uniform between the two, in seconds.
    Jittered(u32, u32),
    /// As `UntilToken`, written as an HTTP date.
    HttpDate,
    /// Text that is no valid value.
    Garbage,
}
