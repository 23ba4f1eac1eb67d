//! Retry strategies.

use std::any::Any;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::{self, Result};

/// Decides what a device does after a failure, and when it makes its first attempt.
///
/// An author writes [`RetryStrategy::wait`]; the other methods have defaults that follow the reference client.
pub trait RetryStrategy: Sized + Send + Sync + 'static {
    /// Its name in scenarios.
    const ID: &'static str;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// Whether the host applies [`Guard`] to its waits. Models of clients that ignore `Retry-After` say no.
    const GUARDED: bool = true;
    /// Its parameters. Their documentation becomes the schema's.
    type Config: DeserializeOwned + JsonSchema;
    /// What it remembers of a device: plain data that the host keeps, and loses when a device reboots without its
    /// memory.
    type Session: Copy + Default + Send + 'static;

    /// Checks the parameters.
    ///
    /// # Errors
    /// Says which parameter is wrong and what it may be.
    fn new(config: Self::Config) -> Result<Self>;

    /// How long to wait after a failure that waiting can cure, in nanoseconds; `None` to give up.
    fn wait(&self, session: &mut Self::Session, attempt: &Attempt) -> Option<u64>;

    /// What to do after any failure. By default: what the reference client does, with the waits of
    /// [`RetryStrategy::wait`].
    fn on_failure(&self, session: &mut Self::Session, attempt: &Attempt) -> Decision {
        match attempt.advice {
            Advice::Retry => {
                self.wait(session, attempt).map_or(Decision::GiveUp { rearm_ns: 0 }, Decision::Wait)
            }
            Advice::Restart => {
                self.wait(session, attempt).map_or(Decision::GiveUp { rearm_ns: 0 }, Decision::Restart)
            }
            Advice::Renew => Decision::Restart(0),
            Advice::Park => Decision::GiveUp { rearm_ns: attempt.park_ns },
        }
    }

    /// How long after its boot a device makes its first attempt, in nanoseconds.
    fn before_first_attempt(&self, _session: &mut Self::Session, _attempt: &Attempt) -> u64 {
        0
    }

    /// The device has its hub.
    fn on_success(&self, _session: &mut Self::Session, _attempt: &Attempt) {}
}

/// What was being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Registering, connecting for it included.
    Register,
    /// Asking how the assignment goes.
    Poll,
    /// Asking for the last known assignment.
    Lookup,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the model's error classes")]
pub enum Class {
    Throttled,
    ServerError,
    Unreachable,
    Tls,
    OutcomeUnknown,
    Protocol,
    Unauthorized,
    Forbidden,
    NotFound,
    Conflict,
    ClientBug,
    AssignmentFailed,
    Disabled,
    AssignmentTimeout,
}

/// What the reference client would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Back off, then the same step again.
    Retry,
    /// Back off, then register from the start.
    Restart,
    /// Renew the token and register once more.
    Renew,
    /// Stop for a long time and report.
    Park,
}

/// `Retry-After` as the service gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// None.
    Absent,
    /// Seconds.
    Seconds(u32),
    /// An HTTP date, in seconds since the Unix epoch.
    Date(i64),
    /// Something that is neither.
    Malformed,
}

/// One failed attempt, by value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempt {
    /// What was being tried.
    pub operation: Operation,
    /// What the failure means.
    pub class: Class,
    /// What the reference client would do about it.
    pub advice: Advice,
    /// HTTP status; 0 where no answer came.
    pub status: u16,
    /// Six-digit service code; 0 where there was none.
    pub code: u32,
    /// Failures in a row, this one included: 1 for the first. 0 before the first attempt.
    pub failures: u32,
    /// Attempts since boot.
    pub attempts: u32,
    /// Failures of this operation in a row.
    pub operation_failures: u32,
    /// `Retry-After` as it was given.
    pub given: Given,
    /// `Retry-After` as a wait from now on, if it was valid.
    pub retry_after_ns: Option<u64>,
    /// The least that the reference client would wait.
    pub floor_ns: u64,
    /// How long the reference client parks.
    pub park_ns: u64,
    /// The wait chosen last.
    pub previous_wait_ns: u64,
    /// Time since the start of the run.
    pub now_ns: u64,
    /// Time since the device booted.
    pub since_boot_ns: u64,
    /// How long the attempt took.
    pub elapsed_ns: u64,
    /// Whether an operation is under way that can be polled.
    pub operation_known: bool,
    /// The credential in use.
    pub credential: u8,
    /// How many there are.
    pub credentials: u8,
    /// A number that stays with the device.
    pub device_hash: u64,
    /// Devices in the fleet; 0 if the scenario does not tell its devices.
    pub fleet_size: u64,
    /// Registrations a minute that the service allows; 0 if the scenario does not tell its devices.
    pub quota_per_minute: f64,
    /// 128 bits of chance for this decision.
    pub random: [u64; 2],
}

impl Attempt {
    /// A uniform draw in [0, limit) from the first random number.
    pub fn uniform(&self, limit_ns: u64) -> u64 {
        below(self.random[0], limit_ns)
    }

    /// A second, independent draw.
    pub fn uniform_more(&self, limit_ns: u64) -> u64 {
        below(self.random[1], limit_ns)
    }
}

fn below(bits: u64, limit: u64) -> u64 {
    ((u128::from(bits) * u128::from(limit)) >> 64) as u64
}

/// What a strategy wants. Waits are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Wait, then the same step again.
    Wait(u64),
    /// Wait, then register from the start.
    Restart(u64),
    /// Wait, then register with the next credential.
    SwitchCredential(u64),
    /// Wait, then go to the cached hub.
    UseCachedHub(u64),
    /// Wait, then ask for the registration's status.
    LookupStatus(u64),
    /// Stop.
    GiveUp {
        /// When to try again; 0 for never.
        rearm_ns: u64,
    },
}

impl Decision {
    /// The same decision with its wait changed.
    fn map(self, change: impl FnOnce(u64) -> u64) -> Self {
        match self {
            Self::Wait(ns) => Self::Wait(change(ns)),
            Self::Restart(ns) => Self::Restart(change(ns)),
            Self::SwitchCredential(ns) => Self::SwitchCredential(change(ns)),
            Self::UseCachedHub(ns) => Self::UseCachedHub(change(ns)),
            Self::LookupStatus(ns) => Self::LookupStatus(change(ns)),
            Self::GiveUp { .. } => self,
        }
    }
}

/// Parameters that every guarded strategy takes beside its own.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Attempts after which a device gives up; 0 for never.
    pub max_attempts: u32,
    /// What a valid Retry-After does to the strategy's wait.
    pub retry_after: RetryAfterRule,
}

impl Default for Guard {
    fn default() -> Self {
        Self { max_attempts: 0, retry_after: RetryAfterRule::Floor }
    }
}

/// What a valid `Retry-After` does to a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfterRule {
    /// The wait is at least that long.
    #[default]
    Floor,
    /// The strategy's wait is added to it, which spreads devices that were told the same.
    Add,
    /// Nothing.
    Ignore,
}

impl Guard {
    fn apply(&self, attempt: &Attempt, decision: Decision) -> Decision {
        if self.max_attempts > 0 && attempt.attempts >= self.max_attempts {
            return Decision::GiveUp { rearm_ns: 0 };
        }
        if attempt.advice == Advice::Renew {
            return decision;
        }
        let told = attempt.retry_after_ns.unwrap_or(0);
        decision.map(|wait| {
            let wait = wait.max(attempt.floor_ns);
            match self.retry_after {
                RetryAfterRule::Floor => wait.max(told),
                RetryAfterRule::Add => wait.saturating_add(told),
                RetryAfterRule::Ignore => wait,
            }
        })
    }
}

/// What the host keeps of a device for its strategy.
pub struct Session(Box<dyn Any + Send>);

/// A strategy whose types are hidden, as the host holds it.
pub trait ErasedRetry: Send + Sync {
    /// The memory of a device that has just booted.
    fn session(&self) -> Session;
    /// How long after boot the first attempt is made, in nanoseconds.
    fn before_first_attempt(&self, session: &mut Session, attempt: &Attempt) -> u64;
    /// What to do after a failure.
    fn on_failure(&self, session: &mut Session, attempt: &Attempt) -> Decision;
    /// The device has its hub.
    fn on_success(&self, session: &mut Session, attempt: &Attempt);
}

struct Erased<S> {
    strategy: S,
    guard: Option<Guard>,
}

impl<S: RetryStrategy> Erased<S> {
    fn own(session: &mut Session) -> &mut S::Session {
        // A host that mixes up sessions gets the plugin's panic contained, not another plugin's memory.
        session.0.downcast_mut().expect("the session was made by this strategy")
    }
}

impl<S: RetryStrategy> ErasedRetry for Erased<S> {
    fn session(&self) -> Session {
        Session(Box::new(S::Session::default()))
    }

    fn before_first_attempt(&self, session: &mut Session, attempt: &Attempt) -> u64 {
        self.strategy.before_first_attempt(Self::own(session), attempt)
    }

    fn on_failure(&self, session: &mut Session, attempt: &Attempt) -> Decision {
        let decision = self.strategy.on_failure(Self::own(session), attempt);
        match &self.guard {
            Some(guard) => guard.apply(attempt, decision),
            None => decision,
        }
    }

    fn on_success(&self, session: &mut Session, attempt: &Attempt) {
        self.strategy.on_success(Self::own(session), attempt);
    }
}

pub(crate) fn create<S: RetryStrategy>(json: &str) -> Result<Box<dyn ErasedRetry>> {
    let mut members = config::members(json)?;
    let guard = if S::GUARDED {
        let mut own = serde_json::Map::new();
        for name in ["max_attempts", "retry_after"] {
            if let Some(value) = members.remove(name) {
                own.insert(name.to_owned(), value);
            }
        }
        Some(config::read::<Guard>(own)?)
    } else {
        None
    };
    Ok(Box::new(Erased { strategy: S::new(config::read(members)?)?, guard }))
}
