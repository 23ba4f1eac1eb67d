//! A device: boot, admission, connect, register, wait, poll, and the end.
//!
//! [`Device::step`] takes an [`Input`] and the time and returns an [`Action`]. Every action carries at most one
//! deadline, so a device has at most one alarm pending ([`Device::alarm`]): that is what lets a million of them
//! share one timer wheel. What a device cannot know by itself (its retry strategy, chance) it asks of its
//! [`Host`]; what it notices it tells the same host.
//!
//! The flow is the reference client of `dps` 13.2.

mod hub_reaction;
mod life;
mod machine;
mod reaction;
#[cfg(test)]
mod tests;

use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_protocol::{Operation, OperationId, Registration, Reply, RetryAfter};
use fleetstorm_units::time::{Calendar, Moment, Span};
pub use hub_reaction::{HubBackOff, HubReaction, HubReactions, ReturnRule, ReturnToDps};
pub use life::{HubAttempt, Life, LifeAction, LifeEvent, LifeHost, LifeInput, LifePolicy, PowerCut, Return};
pub use machine::Device;
pub use reaction::Reactions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened to a device.
#[derive(Debug)]
pub enum Input<'a> {
    /// Power came on. `intended` is the moment the plan named; the driver may be late.
    Boot {
        /// When the device should have booted.
        intended: Moment,
    },
    /// A device that has come to its end goes to the service once more, as for a hub that no longer knows it.
    Again {
        /// With what: a registration, or a status lookup where the transport has one.
        operation: Operation,
    },
    /// The connection that [`Action::Connect`] asked for stands.
    Connected,
    /// The answer to [`Action::Send`].
    Reply(&'a Reply),
    /// The connection, the request or the attestation failed.
    Broke(Fault),
    /// The challenge of [`Action::Answer`] has been taken up by the attestation.
    Answered,
    /// The moment of [`Device::alarm`] has come.
    Alarm,
    /// The alarm of a parked device has come before, and it was held back until `intended`: it goes on now.
    Resume {
        /// When it could have gone on; the driver may be late.
        intended: Moment,
    },
}

/// What a device wants next. The driver does it and reports back with an [`Input`].
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a connection, and present `credential` where the transport authenticates by connection.
    Connect {
        /// The credential to present.
        credential: Credential,
    },
    /// Send a request on the open connection.
    Send {
        /// Which call.
        operation: Operation,
        /// The operation to poll; `Some` for [`Operation::Poll`] only.
        operation_id: Option<OperationId>,
        /// The credential to present with the request.
        credential: Credential,
    },
    /// Hand a TPM challenge (the body of the reply just given) to the attestation.
    Answer,
    /// Do nothing until the alarm. Close the connection first unless `keep_connection`.
    Wait {
        /// Whether the open connection, if any, is kept meanwhile.
        keep_connection: bool,
    },
    /// The device has no business left: close everything.
    Finish,
    /// The input was for a past that no longer matters (an alarm that was overtaken, say). Carry on.
    Ignore,
}

/// Which credential to present, and until when it must be valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// 0 for the primary key or certificate, 1 for the secondary.
    pub slot: u8,
    /// Expiry of the SAS token in seconds since the Unix epoch; 0 where the device has no token.
    pub expires_unix_secs: u64,
}

/// How a device uses connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionUse {
    /// One connection for the whole registration, kept over waits up to [`Policy::idle_close`].
    #[default]
    PerDevice,
    /// One for each attempt to register and the polls that follow it; closed over a back-off.
    PerOperation,
    /// One for each request.
    PerRequest,
}

/// The behaviour that all devices of a cohort share.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How the cohort uses connections.
    pub connection: ConnectionUse,
    /// Longest time for name resolution, TCP, TLS and the transport's greeting together.
    pub connect_timeout: Span,
    /// Longest time from sending a request to its answer.
    pub request_timeout: Span,
    /// An open connection is closed when the next request is further away than this.
    pub idle_close: Span,
    /// Poll interval where the service names none (13.2: 2 s).
    pub poll_interval: Span,
    /// Upper bound of the uniform jitter added to a poll interval (13.2: 0 to 1 s, upward only).
    pub poll_jitter: Span,
    /// How long a device polls before it registers anew (13.2: for example 10 min).
    pub assign_patience: Span,
    /// Poll failures in a row after which a device registers anew.
    pub poll_failures: u32,
    /// How long a parked device sleeps before it tries again (13.2: for example 1 h).
    pub park: Span,
    /// Lifetime of a SAS token; `None` for cohorts without tokens.
    pub token_lifetime: Option<Span>,
    /// A token is renewed when less than this is left of it.
    pub token_margin: Span,
    /// What the device believes the time to be, in nanoseconds ahead of the truth (negative: behind).
    pub clock_offset_ns: i64,
    /// Number of credentials, at least 1: a strategy can switch between them.
    pub credentials: u8,
    /// Whether a token exists only once a challenge has been answered (TPM).
    pub challenged: bool,
    /// Whether the transport presents credentials when it connects (MQTT) and not with each request: a new token then
    /// needs a new connection.
    pub credential_by_connection: bool,
    /// Whether the transport can carry a status lookup. MQTT cannot: such a device registers instead.
    pub lookups: bool,
    /// What a failure at the provisioning service asks for.
    pub reactions: Reactions,
    /// What a refused connection means.
    pub refusals: Refusals,
    /// The calendar of the run.
    pub calendar: Calendar,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            connection: ConnectionUse::PerDevice,
            connect_timeout: Span::from_secs(30),
            request_timeout: Span::from_secs(30),
            idle_close: Span::from_secs(60),
            poll_interval: Span::from_secs(2),
            poll_jitter: Span::from_secs(1),
            assign_patience: Span::from_secs(600),
            poll_failures: 5,
            park: Span::from_secs(3_600),
            token_lifetime: Some(Span::from_secs(3_600)),
            token_margin: Span::from_secs(60),
            clock_offset_ns: 0,
            credentials: 1,
            challenged: false,
            credential_by_connection: false,
            lookups: true,
            reactions: Reactions::default(),
            refusals: Refusals::default(),
            calendar: Calendar::VIRTUAL,
        }
    }
}

/// What the device does about a connection that the service refused (MQTT return codes 3, 4 and 5).
///
/// Clients differ (`dps` 7.2): C# takes a 3 for transient and hammers, Python gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// About [`Fault::Unavailable`].
    pub unavailable: Advice,
    /// About [`Fault::BadCredentials`].
    pub bad_credentials: Advice,
    /// About [`Fault::NotAuthorized`].
    pub not_authorized: Advice,
}

impl Default for Refusals {
    /// As for the statuses that say the same over HTTPS: 503, 401 and 401.
    fn default() -> Self {
        Self { unavailable: Advice::Retry, bad_credentials: Advice::Renew, not_authorized: Advice::Renew }
    }
}

/// What a device asks of its surroundings, and tells them.
pub trait Host {
    /// When may this device make its first attempt? Asked once a boot.
    fn admit(&mut self, attempt: &Attempt) -> Decision;

    /// An attempt failed: what now?
    fn decide(&mut self, attempt: &Attempt) -> Decision;

    /// The service has answered and nothing failed: it is still assigning, or the device is `assigned`. What does the
    /// strategy make of it? Most make nothing of it, so the answer is only put together for those that do.
    fn answered(&mut self, _answer: impl FnOnce() -> Attempt, _assigned: bool) -> Answered {
        Answered::AsUsual
    }

    /// The device has its hub; the strategy may want to know.
    fn settled(&mut self, attempt: &Attempt);

    /// 64 bits of chance for the jitter of the poll that follows this device's attempt number `attempt`.
    fn poll_jitter(&mut self, attempt: u32) -> u64;

    /// Whether a request may leave at all: a ceiling below every strategy can say no. A device that is refused goes
    /// quiet, and the run is being stopped.
    fn permit(&mut self, _now: Moment, _operation: Operation) -> bool {
        true
    }

    /// Something worth recording happened.
    fn observe(&mut self, now: Moment, observation: Observation<'_>);
}

/// Everything a retry strategy may look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempt {
    /// What was being tried.
    pub operation: Operation,
    /// What the failure means. Before the first attempt and after success this says nothing.
    pub class: ErrorClass,
    /// What the reference client would do about it (13.2).
    pub advice: Advice,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Failures in a row, this one included; 0 before the first attempt.
    pub failures: u32,
    /// Attempts since boot, this one included.
    pub attempts: u32,
    /// Failures of the current operation kind in a row.
    pub operation_failures: u32,
    /// `Retry-After` as it was given.
    pub retry_after: RetryAfter,
    /// `Retry-After` as a wait from now on; `None` where there is no valid one.
    pub retry_after_wait: Option<Span>,
    /// The least the reference client would wait: 5 s after the first server error, time-out or lost connection.
    pub floor: Span,
    /// How long the reference client stops when it parks ([`Policy::park`]).
    pub park: Span,
    /// The wait that the strategy chose last.
    pub previous_wait: Span,
    /// Now.
    pub now: Moment,
    /// Time since boot.
    pub since_boot: Span,
    /// Time from the start of the attempt to its end.
    pub elapsed: Span,
    /// Whether an operation id is known, so that polling can go on.
    pub operation_known: bool,
    /// The credential in use, and how many there are.
    pub credential: u8,
    /// How many credentials there are.
    pub credentials: u8,
}

/// What the reference client does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// Back off, then the same step again.
    Retry,
    /// Back off, then register from the start.
    Restart,
    /// Renew the token and register once more.
    Renew,
    /// Stop for a long time ([`Policy::park`]) and report.
    Park,
}

/// What a retry strategy wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Wait, then the same step again.
    Wait(Span),
    /// Wait, then register from the start with a fresh token.
    Restart(Span),
    /// Wait, then register with the next credential.
    SwitchCredential(Span),
    /// Wait, then go to the hub of the cached assignment.
    UseCachedHub(Span),
    /// Wait, then ask for the registration's status.
    LookupStatus(Span),
    /// Stop; `rearm_after` names when to try again, if ever.
    GiveUp {
        /// How long to sleep before trying again.
        rearm_after: Option<Span>,
    },
    /// The strategy itself failed; the device stops and the run says so.
    Faulted,
}

/// What a strategy makes of an answer that is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing: polls and patience are the cohort's.
    AsUsual,
    /// Poll after this, without the cohort's interval, jitter and patience.
    PollAfter(Span),
    /// The client cannot use it: the attempt has failed.
    Unusable,
}

/// What a device notices. The driver adds what only it can see (name resolution, TCP and TLS times).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation<'a> {
    /// A connection attempt ended: `fault` is `None` when it stands.
    Connected {
        /// When the device should have started it.
        intended: Moment,
        /// When it started.
        started: Moment,
        /// Why it failed.
        fault: Option<Fault>,
    },
    /// A request is about to be sent.
    Sent {
        /// Which call.
        operation: Operation,
        /// When the device should have sent it.
        intended: Moment,
    },
    /// The peer had closed the idle connection before the request could leave: it is sent again on a new one, and nothing
    /// has failed.
    Unsent {
        /// Which call.
        operation: Operation,
    },
    /// The device fails by itself, without an attempt that did: the service has kept assigning past its patience, its
    /// attestation does not answer a challenge, or its strategy does not let it begin.
    Faltered,
    /// A request ended.
    Ended {
        /// Which call.
        operation: Operation,
        /// When the device should have sent it.
        intended: Moment,
        /// When it was sent.
        started: Moment,
        /// How it ended.
        outcome: Outcome,
        /// Whether it brings the device its hub.
        assigned: bool,
        /// `Retry-After` as the answer had it.
        retry_after: RetryAfter,
    },
    /// The strategy chose a wait after a failure.
    BackedOff {
        /// What failed.
        operation: Operation,
        /// How long it will wait.
        wait: Span,
        /// How long the failure's valid `Retry-After` asked it to wait, if there was one.
        retry_after: Option<Span>,
    },
    /// A SAS token was renewed: it came too close to its end, or the service refused it.
    TokenRenewed,
    /// The device has a hub.
    Assigned {
        /// When the device should have booted.
        booted: Moment,
        /// Attempts since boot: connections that failed, and requests.
        attempts: u32,
        /// Register and lookup requests among them.
        registers: u32,
        /// What the service said.
        registration: &'a Registration,
    },
    /// The device stopped without a hub; `rearm_after` says when it tries again, if ever.
    Stopped {
        /// When the device should have booted.
        booted: Moment,
        /// Attempts since boot.
        attempts: u32,
        /// Register and lookup requests among them.
        registers: u32,
        /// What the last failure meant.
        class: ErrorClass,
        /// How the last attempt ended.
        outcome: Outcome,
        /// How long it sleeps before it tries again.
        rearm_after: Option<Span>,
        /// Whether the strategy itself failed.
        faulted: bool,
    },
}
