//! Plugins as the engine holds them.
//!
//! Whatever a plugin does, a call comes back: a panic is caught here and becomes [`Decision::Faulted`] or an error,
//! so that a broken strategy ends its devices and never the run, and never looks like a failing service.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fleetstorm_model::device::{Advice, Attempt, Decision};
use fleetstorm_model::outcome::{ErrorClass, Outcome};
use fleetstorm_model::protocol::{Operation, RetryAfter};
use fleetstorm_model::time::Span;
use fleetstorm_plugin as sdk;
use fleetstorm_plugin::{Entry, ErasedAttestation, ErasedDevice, ErasedRetry, Part, PartKind};

pub(crate) use fleetstorm_plugin::Session;

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Nothing of this kind has this id.
    #[error("there is no {kind} `{id}`{hint}; there are: {known}")]
    Unknown {
        /// `retry strategy` or `attestation`.
        kind: &'static str,
        /// The id that was asked for.
        id: String,
        /// The nearest id, as a question.
        hint: String,
        /// The ids there are.
        known: String,
    },
    /// The plugin refuses its parameters.
    #[error("the {kind} `{id}` refuses its parameters: {reason}")]
    Refused {
        /// `retry strategy` or `attestation`.
        kind: &'static str,
        /// Its id.
        id: String,
        /// Why.
        reason: sdk::Error,
    },
    /// The plugin panicked.
    #[error("the {kind} `{id}` panicked")]
    Panicked {
        /// `retry strategy` or `attestation`.
        kind: &'static str,
        /// Its id.
        id: String,
    },
}

/// The plugins that a process knows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: Vec<&'static Entry>,
}

const RETRY: &str = "retry strategy";
const ATTESTATION: &str = "attestation";

impl Registry {
    /// A registry of these libraries. Where two offer the same id, the first one has it.
    pub fn new(entries: &[&'static Entry]) -> Self {
        Self { entries: entries.to_vec() }
    }

    /// Every part, with the library that offers it.
    pub fn parts(&self) -> impl Iterator<Item = (&'static Entry, &'static Part)> {
        self.entries.iter().flat_map(|entry| entry.parts.iter().map(move |part| (*entry, part)))
    }

    /// Makes a retry strategy from its parameters.
    ///
    /// # Errors
    /// There is none of this id, or it refuses the parameters.
    pub fn retry(&self, id: &str, config: &str, knowledge: Knowledge) -> Result<Retry, PluginError> {
        let is_retry = |part: &Part| matches!(part.kind, PartKind::Retry(_));
        let (entry, part) = self.find(RETRY, id, is_retry)?;
        let PartKind::Retry(create) = part.kind else { unreachable!("just filtered") };
        let strategy = make(RETRY, id, || create(config))?;
        Ok(Retry { strategy: strategy.into(), knowledge, used: used("retry", entry, part) })
    }

    /// Makes an attestation from its parameters.
    ///
    /// # Errors
    /// There is none of this id, or it refuses the parameters.
    pub fn attestation(&self, id: &str, config: &str) -> Result<Attestation, PluginError> {
        let is_attestation = |part: &Part| matches!(part.kind, PartKind::Attestation(_));
        let (entry, part) = self.find(ATTESTATION, id, is_attestation)?;
        let PartKind::Attestation(create) = part.kind else { unreachable!("just filtered") };
        let attestation = make(ATTESTATION, id, || create(config))?;
        Ok(Attestation { attestation, used: used("attestation", entry, part) })
    }

    fn find(
        &self,
        kind: &'static str,
        id: &str,
        wanted: impl Fn(&Part) -> bool,
    ) -> Result<(&'static Entry, &'static Part), PluginError> {
        let parts: Vec<_> = self.parts().filter(|(_, part)| wanted(part)).collect();
        parts.iter().find(|(_, part)| part.id == id).copied().ok_or_else(|| {
            let ids: Vec<&str> = parts.iter().map(|(_, part)| part.id).collect();
            PluginError::Unknown {
                kind,
                id: id.to_owned(),
                hint: fleetstorm_model::scenario::nearest(id, ids.iter().copied())
                    .map(|near| format!(", did you mean `{near}`?"))
                    .unwrap_or_default(),
                known: ids.join(", "),
            }
        })
    }
}

fn make<T>(kind: &'static str, id: &str, create: impl FnOnce() -> sdk::Result<T>) -> Result<T, PluginError> {
    match catch_unwind(AssertUnwindSafe(create)) {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(reason)) => Err(PluginError::Refused { kind, id: id.to_owned(), reason }),
        Err(_) => Err(PluginError::Panicked { kind, id: id.to_owned() }),
    }
}

fn used(kind: &str, entry: &Entry, part: &Part) -> fleetstorm_reports::record::Plugin {
    fleetstorm_reports::record::Plugin {
        kind: kind.to_owned(),
        id: part.id.to_owned(),
        version: entry.version.to_owned(),
        sha256: None,
    }
}

/// What a scenario tells its devices about the fleet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knowledge {
    /// Devices in the fleet; 0 if they are not told.
    pub fleet_size: u64,
    /// Registrations a minute that the service allows; 0 if they are not told.
    pub quota_per_minute: f64,
}

/// A retry strategy in use; clones share it.
#[derive(Clone)]
pub struct Retry {
    strategy: Arc<dyn ErasedRetry>,
    knowledge: Knowledge,
    pub(crate) used: fleetstorm_reports::record::Plugin,
}

impl Retry {
    /// The memory of a device that has just booted.
    pub(crate) fn session(&self) -> Session {
        self.strategy.session()
    }

    /// When a device makes its first attempt.
    pub(crate) fn admit(
        &self,
        session: &mut Session,
        hash: u64,
        random: [u64; 2],
        attempt: &Attempt,
    ) -> Decision {
        let attempt = self.translate(attempt, hash, random);
        guarded(|| self.strategy.before_first_attempt(session, &attempt))
            .map_or(Decision::Faulted, |ns| Decision::Wait(Span::from_nanos(ns)))
    }

    /// What a device does after a failure.
    pub(crate) fn decide(
        &self,
        session: &mut Session,
        hash: u64,
        random: [u64; 2],
        attempt: &Attempt,
    ) -> Decision {
        let attempt = self.translate(attempt, hash, random);
        let Some(decision) = guarded(|| self.strategy.on_failure(session, &attempt)) else {
            return Decision::Faulted;
        };
        let span = Span::from_nanos;
        match decision {
            sdk::Decision::Wait(ns) => Decision::Wait(span(ns)),
            sdk::Decision::Restart(ns) => Decision::Restart(span(ns)),
            sdk::Decision::SwitchCredential(ns) => Decision::SwitchCredential(span(ns)),
            sdk::Decision::UseCachedHub(ns) => Decision::UseCachedHub(span(ns)),
            sdk::Decision::LookupStatus(ns) => Decision::LookupStatus(span(ns)),
            sdk::Decision::GiveUp { rearm_ns } => {
                Decision::GiveUp { rearm_after: (rearm_ns > 0).then(|| span(rearm_ns)) }
            }
        }
    }

    /// A device has its hub.
    pub(crate) fn settled(&self, session: &mut Session, hash: u64, random: [u64; 2], attempt: &Attempt) {
        let attempt = self.translate(attempt, hash, random);
        // The device is done: a strategy that panics now has nothing left to break.
        let _ = guarded(|| self.strategy.on_success(session, &attempt));
    }

    fn translate(&self, attempt: &Attempt, device_hash: u64, random: [u64; 2]) -> sdk::Attempt {
        let (status, code) = match attempt.outcome {
            Outcome::Answered { status, code } => (status.0, code),
            Outcome::Broke(_) => (0, 0),
        };
        sdk::Attempt {
            operation: match attempt.operation {
                Operation::Register => sdk::Operation::Register,
                Operation::Poll => sdk::Operation::Poll,
                Operation::Lookup => sdk::Operation::Lookup,
            },
            class: match attempt.class {
                ErrorClass::Throttled => sdk::Class::Throttled,
                ErrorClass::ServerError => sdk::Class::ServerError,
                ErrorClass::Unreachable => sdk::Class::Unreachable,
                ErrorClass::Tls => sdk::Class::Tls,
                ErrorClass::OutcomeUnknown => sdk::Class::OutcomeUnknown,
                ErrorClass::Protocol => sdk::Class::Protocol,
                ErrorClass::Unauthorized => sdk::Class::Unauthorized,
                ErrorClass::Forbidden => sdk::Class::Forbidden,
                ErrorClass::NotFound => sdk::Class::NotFound,
                ErrorClass::Conflict => sdk::Class::Conflict,
                ErrorClass::ClientBug => sdk::Class::ClientBug,
                ErrorClass::AssignmentFailed => sdk::Class::AssignmentFailed,
                ErrorClass::Disabled => sdk::Class::Disabled,
                ErrorClass::AssignmentTimeout => sdk::Class::AssignmentTimeout,
            },
            advice: match attempt.advice {
                Advice::Retry => sdk::Advice::Retry,
                Advice::Restart => sdk::Advice::Restart,
                Advice::Renew => sdk::Advice::Renew,
                Advice::Park => sdk::Advice::Park,
            },
            status,
            code,
            failures: attempt.failures,
            attempts: attempt.attempts,
            operation_failures: attempt.operation_failures,
            given: match attempt.retry_after {
                RetryAfter::Absent => sdk::Given::Absent,
                RetryAfter::Seconds(secs) => sdk::Given::Seconds(secs),
                RetryAfter::Date(unix) => sdk::Given::Date(unix),
                RetryAfter::Malformed(_) => sdk::Given::Malformed,
            },
            retry_after_ns: attempt.retry_after_wait.map(Span::as_nanos),
            floor_ns: attempt.floor.as_nanos(),
            park_ns: attempt.park.as_nanos(),
            previous_wait_ns: attempt.previous_wait.as_nanos(),
            now_ns: attempt.now.as_nanos(),
            since_boot_ns: attempt.since_boot.as_nanos(),
            elapsed_ns: attempt.elapsed.as_nanos(),
            operation_known: attempt.operation_known,
            credential: attempt.credential,
            credentials: attempt.credentials,
            device_hash,
            fleet_size: self.knowledge.fleet_size,
            quota_per_minute: self.knowledge.quota_per_minute,
            random,
        }
    }
}

/// An attestation in use.
pub struct Attestation {
    attestation: Box<dyn ErasedAttestation>,
    pub(crate) used: fleetstorm_reports::record::Plugin,
}

impl Attestation {
    /// Makes the identity of a device.
    ///
    /// # Errors
    /// The plugin cannot make it.
    pub(crate) fn device(
        &self,
        registration_id: &str,
        random: [u64; 4],
    ) -> Result<DeviceIdentity, PluginError> {
        let device = make(ATTESTATION, &self.used.id, || self.attestation.device(registration_id, random))?;
        Ok(DeviceIdentity(device))
    }
}

/// Who one device is.
pub(crate) struct DeviceIdentity(Box<dyn ErasedDevice>);

/// The attestation plugin failed; what it said may hold a secret and is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attestation failed")]
pub(crate) struct AttestationFailed;

impl DeviceIdentity {
    /// The chain to present at TLS, leaf first.
    pub(crate) fn certificates(&self) -> Vec<Vec<u8>> {
        guarded(|| self.0.certificates()).unwrap_or_default()
    }

    /// Signs a TLS handshake.
    pub(crate) fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, AttestationFailed> {
        guarded(|| self.0.sign(scheme, message)).and_then(Result::ok).ok_or(AttestationFailed)
    }

    /// The TLS schemes it can sign with.
    pub(crate) fn schemes(&self) -> &'static [u16] {
        guarded(|| self.0.schemes()).unwrap_or_default()
    }

    /// Members to add to the body of a registration.
    pub(crate) fn enrol(&self) -> Option<String> {
        guarded(|| self.0.enrol()).flatten()
    }

    /// Appends a token; returns whether there is one.
    pub(crate) fn authorize(
        &self,
        slot: u8,
        audience: &str,
        expires_unix_secs: u64,
        out: &mut String,
    ) -> Result<bool, AttestationFailed> {
        guarded(|| self.0.authorize(slot, audience, expires_unix_secs, out))
            .and_then(Result::ok)
            .ok_or(AttestationFailed)
    }

    /// Takes up a challenge.
    pub(crate) fn answer(&self, challenge: &[u8]) -> Result<(), AttestationFailed> {
        guarded(|| self.0.answer(challenge)).and_then(Result::ok).ok_or(AttestationFailed)
    }
}

fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}
