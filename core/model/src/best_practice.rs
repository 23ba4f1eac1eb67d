//! The best practices that a run is held against, by name (`strategies` 4.6).

use std::fmt;

/// One best practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BestPractice {
    /// First registrations are staggered to the quota.
    StaggeredStart,
    /// Waits grow with failures in a row.
    BackOffGrows,
    /// Waits after the same number of failures are spread.
    BackOffJittered,
    /// Retries do not come in waves.
    NoHerd,
    /// A hub costs few registrations.
    Amplification,
    /// No cohort wastes far more attempts than the others.
    CohortWaste,
    /// Devices reconnect to their hub before they provision again.
    ReconnectFirst,
    /// A hub has no more devices than it may have.
    HubSize,
    /// Retry-After is never undercut.
    RetryAfterFloor,
    /// A Retry-After that cannot be read is as good as none.
    RetryAfterUnreadable,
    /// No failure is followed by an immediate retry.
    NoImmediateRetry,
    /// Errors that no retry mends are not hammered.
    TerminalErrorsRest,
    /// 400, 405 and 415 are not retried.
    ClientErrorsStop,
    /// 401, 403 and 404 lead to a full registration.
    FullRegistration,
    /// After 5xx or a lost answer the device goes on where it was.
    ServerErrorResume,
    /// Polls keep their pace.
    PollPace,
    /// No second registration while one is accepted.
    OneRegistration,
    /// A lost answer ends in one assignment.
    UnknownOutcome,
}

impl BestPractice {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 18] = [
        Self::StaggeredStart,
        Self::BackOffGrows,
        Self::BackOffJittered,
        Self::NoHerd,
        Self::Amplification,
        Self::CohortWaste,
        Self::ReconnectFirst,
        Self::HubSize,
        Self::RetryAfterFloor,
        Self::RetryAfterUnreadable,
        Self::NoImmediateRetry,
        Self::TerminalErrorsRest,
        Self::ClientErrorsStop,
        Self::FullRegistration,
        Self::ServerErrorResume,
        Self::PollPace,
        Self::OneRegistration,
        Self::UnknownOutcome,
    ];

    /// The name in scenarios, records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::StaggeredStart => "staggered-start",
            Self::BackOffGrows => "back-off-grows",
            Self::BackOffJittered => "back-off-jittered",
            Self::NoHerd => "no-herd",
            Self::Amplification => "amplification",
            Self::CohortWaste => "cohort-waste",
            Self::ReconnectFirst => "reconnect-first",
            Self::HubSize => "hub-size",
            Self::RetryAfterFloor => "retry-after-floor",
            Self::RetryAfterUnreadable => "retry-after-unreadable",
            Self::NoImmediateRetry => "no-immediate-retry",
            Self::TerminalErrorsRest => "terminal-errors-rest",
            Self::ClientErrorsStop => "client-errors-stop",
            Self::FullRegistration => "full-registration",
            Self::ServerErrorResume => "server-error-resume",
            Self::PollPace => "poll-pace",
            Self::OneRegistration => "one-registration",
            Self::UnknownOutcome => "unknown-outcome",
        }
    }

    /// The practice of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|practice| practice.name() == name)
    }
}

impl fmt::Display for BestPractice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
