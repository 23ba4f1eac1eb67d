//! A retry strategy in use, linked or loaded.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fleetstorm_model::device::{Answered, Attempt, Decision, HubAttempt};
use fleetstorm_plugin as sdk;
use fleetstorm_plugin::abi::{self, Slice};
use fleetstorm_units::time::Span;

use super::breaker::Breaker;
use super::calls::Watched;
use super::guard::{Guard, split};
use super::kind::Kind;
use super::knowledge::Knowledge;
use super::library::{Library, Part, session_layout, shared_layout};
use super::memory::{Bytes, Layout, Session, fits};
use super::problem::PluginError;
use super::sink::collect;
use super::translate;

/// Why a call of a strategy gave nothing usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It panicked, now or before: it is not asked again.
    #[error("it panicked")]
    Panicked,
    /// It said that it failed.
    #[error("it returned status {0}")]
    Failed(i32),
    /// It decided something that is no decision.
    #[error("it decided nonsense: action {action}, wait {wait_ns} ns")]
    Nonsense {
        /// The action.
        action: u32,
        /// The wait.
        wait_ns: i64,
    },
    /// The caller's session is not the strategy's.
    #[error("the session is not of the strategy's size and alignment")]
    WrongSession,
}

/// A retry strategy in use; clones share it, and what its devices remember together.
#[derive(Clone)]
pub struct Retry {
    strategy: Arc<Strategy>,
    shared: Option<Arc<Mutex<Bytes>>>,
    guard: Guard,
    breaker: Option<Arc<Mutex<Breaker>>>,
    knowledge: Knowledge,
    /// What tells strategies of a fleet apart: library, part and parameters.
    key: String,
    /// What a record says of it.
    pub used: fleetstorm_reports::record::Plugin,
}

struct Strategy {
    table: abi::Retry,
    on_failure: abi::OnFailure,
    this: *mut c_void,
    watched: Watched,
    broken: AtomicBool,
    fault: OnceLock<Fault>,
}

// SAFETY: by the interface, what `create` made may be used from any thread.
unsafe impl Send for Strategy {}
// SAFETY: as above.
unsafe impl Sync for Strategy {}

impl Drop for Strategy {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.destroy {
            // SAFETY: `this` is what `create` made, and this happens once.
            self.watched.call(|| unsafe { destroy(self.this) });
        }
    }
}

/// What the devices of a fleet remember together, by strategy. One for every run.
#[derive(Default)]
pub struct Scopes {
    shared: BTreeMap<String, Arc<Mutex<Bytes>>>,
    breakers: BTreeMap<String, Arc<Mutex<Breaker>>>,
}

impl Retry {
    pub(super) fn new(
        library: &Library,
        part: &Part,
        table: abi::Retry,
        config: &str,
        knowledge: Knowledge,
    ) -> Result<Self, PluginError> {
        let (kind, id) = (Kind::Retry, &part.id);
        let refused =
            |reason: String| PluginError::Refused { kind, id: id.clone(), reason, parameters: Vec::new() };
        let (guard, own) =
            split(config, &part.own, table.flags & abi::RETRY_GUARDED != 0).map_err(refused)?;
        let (Some(create), Some(on_failure)) = (table.create, table.on_failure) else {
            return Err(refused("it cannot be made".to_owned()));
        };
        let mut this = std::ptr::null_mut();
        // SAFETY: the interface's `create`, with a slice, a place and a sink that outlive the call.
        let (status, error) = part
            .watched
            .call(|| collect(|sink| unsafe { create(Slice::of(own.as_bytes()), &raw mut this, sink) }));
        match status {
            abi::OK => {}
            abi::PANICKED => return Err(PluginError::Panicked { kind, id: id.clone() }),
            _ => return Err(refused(error.reason())),
        }
        let shared = shared_layout(&table);
        Ok(Self {
            strategy: Arc::new(Strategy {
                table,
                on_failure,
                this,
                watched: part.watched,
                broken: AtomicBool::new(false),
                fault: OnceLock::new(),
            }),
            shared: (shared.size > 0).then(|| Arc::new(Mutex::new(Bytes::zeroed(shared)))),
            breaker: guard.breaker().map(|breaker| Arc::new(Mutex::new(breaker))),
            guard,
            knowledge: knowledge.only(table.flags),
            key: format!("{} {id} {config}", library.name),
            used: library.used(part),
        })
    }

    /// Shares what the whole fleet remembers with the strategies that joined before.
    pub fn join(&mut self, scopes: &mut Scopes) {
        if let Some(shared) = &mut self.shared
            && self.strategy.table.scope == abi::SCOPE_FLEET
        {
            *shared = Arc::clone(scopes.shared.entry(self.key.clone()).or_insert_with(|| Arc::clone(shared)));
        }
        if let Some(breaker) = &mut self.breaker
            && self.guard.breaker_is_fleets()
        {
            *breaker =
                Arc::clone(scopes.breakers.entry(self.key.clone()).or_insert_with(|| Arc::clone(breaker)));
        }
    }

    /// Whether devices decide together, so that the order in which they are asked matters.
    pub fn is_coordinated(&self) -> bool {
        self.shared.is_some() || self.breaker.is_some()
    }

    /// The memory that [`Retry::on_failure`] needs for each device: zeroed at boot.
    pub fn session_layout(&self) -> Layout {
        session_layout(&self.strategy.table)
    }

    /// The memory of a device that has just booted, in a place of its own.
    pub fn session(&self) -> Session {
        Session::new(self.session_layout())
    }

    /// The first fault of this strategy, if there was one.
    pub fn fault(&self) -> Option<Fault> {
        self.strategy.fault.get().copied()
    }

    /// When a device makes its first attempt.
    pub fn admit(&self, session: &mut [u8], hash: u64, random: [u64; 2], attempt: &Attempt) -> Decision {
        let attempt = translate::unfailed(attempt, hash, random, self.knowledge);
        match self.before_first_attempt(session, &attempt) {
            Ok(ns) => Decision::Wait(Span::from_nanos(ns)),
            Err(_) => Decision::Faulted,
        }
    }

    /// What a device does after a failure.
    pub fn decide(&self, session: &mut [u8], hash: u64, random: [u64; 2], attempt: &Attempt) -> Decision {
        let attempt = translate::failed(attempt, hash, random, self.knowledge);
        self.on_failure(session, &attempt).map_or(Decision::Faulted, translate::decided)
    }

    /// Whether it is asked about answers that are no failures.
    #[inline]
    pub fn paces_polls(&self) -> bool {
        self.strategy.table.on_answer.is_some()
    }

    /// Whether it decides about failures at the hub.
    pub fn decides_at_hub(&self) -> bool {
        self.strategy.table.on_hub_failure.is_some()
    }

    /// What a device makes of an answer that is no failure.
    pub fn answered(
        &self,
        session: &mut [u8],
        hash: u64,
        random: [u64; 2],
        (attempt, assigned): (&Attempt, bool),
    ) -> Answered {
        let attempt = translate::answered(attempt, assigned, hash, random, self.knowledge);
        match self.on_answer(session, &attempt) {
            Ok(answered) => translate::made_of(answered),
            Err(_) => {
                // The device asks about an unusable answer next, and stops there because of this.
                self.strategy.broken.store(true, Ordering::Relaxed);
                Answered::Unusable
            }
        }
    }

    /// What a device does after a failure at its hub.
    pub fn decide_at_hub(
        &self,
        session: &mut [u8],
        hash: u64,
        random: [u64; 2],
        attempt: &HubAttempt,
    ) -> Decision {
        let attempt = translate::at_hub(attempt, hash, random, self.knowledge);
        self.on_hub_failure(session, &attempt).map_or(Decision::Faulted, translate::decided)
    }

    /// The hub has let a device in, whose strategy decides there.
    pub fn let_in(&self, session: &mut [u8], hash: u64, random: [u64; 2], attempt: &HubAttempt) {
        let attempt = translate::at_hub(attempt, hash, random, self.knowledge);
        // As for a device that has its hub: the fault is kept.
        let _ = self.tell_success(session, &attempt);
    }

    /// A device has its hub.
    pub fn settled(&self, session: &mut [u8], hash: u64, random: [u64; 2], attempt: &Attempt) {
        let attempt = translate::unfailed(attempt, hash, random, self.knowledge);
        // The device is done: a strategy that fails now has nothing left to break, and the fault is kept.
        let _ = self.on_success(session, &attempt);
    }

    /// The wait before a device's first attempt, in nanoseconds.
    ///
    /// # Errors
    /// The strategy gave nothing usable.
    pub fn before_first_attempt(&self, session: &mut [u8], attempt: &abi::Attempt) -> Result<u64, Fault> {
        let mut wait_ns = 0i64;
        if let Some(before) = self.strategy.table.before_first_attempt {
            // SAFETY: the interface's function; `call` has checked the session.
            self.call(session, |this, session, shared| unsafe {
                before(this, session, shared, attempt, &raw mut wait_ns)
            })?;
        }
        match u64::try_from(wait_ns) {
            Ok(wait) => Ok(self.guard.first(attempt, wait)),
            Err(_) => Err(self.fail(Fault::Nonsense { action: 0, wait_ns })),
        }
    }

    /// What a device does after a failure.
    ///
    /// # Errors
    /// The strategy gave nothing usable.
    #[inline]
    pub fn on_failure(&self, session: &mut [u8], attempt: &abi::Attempt) -> Result<sdk::Decision, Fault> {
        let decision = self.on_failure_unguarded(session, attempt)?;
        let decision = self.guard.apply(attempt, decision);
        Ok(match &self.breaker {
            None => decision,
            Some(breaker) => {
                breaker.lock().unwrap_or_else(PoisonError::into_inner).after_failure(attempt, decision)
            }
        })
    }

    /// What the strategy itself decides, before the host's guard has a say.
    ///
    /// # Errors
    /// The strategy gave nothing usable.
    #[inline]
    pub fn on_failure_unguarded(
        &self,
        session: &mut [u8],
        attempt: &abi::Attempt,
    ) -> Result<sdk::Decision, Fault> {
        self.ask(self.strategy.on_failure, session, attempt)
    }

    #[inline]
    fn ask(
        &self,
        what: abi::OnFailure,
        session: &mut [u8],
        attempt: &abi::Attempt,
    ) -> Result<sdk::Decision, Fault> {
        let mut decided = abi::Decision { action: u32::MAX, reserved: 0, wait_ns: 0 };
        // SAFETY: the interface's function; `call` has checked the session.
        self.call(session, |this, session, shared| unsafe {
            what(this, session, shared, attempt, &raw mut decided)
        })?;
        sdk::Decision::from_abi(decided)
            .ok_or_else(|| self.fail(Fault::Nonsense { action: decided.action, wait_ns: decided.wait_ns }))
    }

    /// A device has its hub.
    ///
    /// # Errors
    /// The strategy failed.
    pub fn on_success(&self, session: &mut [u8], attempt: &abi::Attempt) -> Result<(), Fault> {
        if let Some(breaker) = &self.breaker {
            breaker.lock().unwrap_or_else(PoisonError::into_inner).after_success(attempt);
        }
        self.tell_success(session, attempt)
    }

    /// What a device makes of an answer that is no failure.
    ///
    /// # Errors
    /// The strategy gave nothing usable.
    fn on_answer(&self, session: &mut [u8], attempt: &abi::Attempt) -> Result<sdk::Answered, Fault> {
        let Some(on_answer) = self.strategy.table.on_answer else { return Ok(sdk::Answered::AsUsual) };
        let mut wait_ns = 0i64;
        // SAFETY: the interface's function; `status` has checked the session.
        let status = self.status(session, |this, session, shared| unsafe {
            on_answer(this, session, shared, attempt, &raw mut wait_ns)
        })?;
        match (status, u64::try_from(wait_ns)) {
            (abi::OK, Ok(wait)) => Ok(sdk::Answered::PollAfter(wait)),
            (abi::OK, Err(_)) => Err(self.fail(Fault::Nonsense { action: 0, wait_ns })),
            (abi::UNSUPPORTED, _) => Ok(sdk::Answered::AsUsual),
            (abi::REFUSED, _) => Ok(sdk::Answered::Unusable),
            (other, _) => Err(self.judged(other)),
        }
    }

    /// What a device does after a failure at its hub. A strategy that does not decide there is not to be asked.
    ///
    /// # Errors
    /// The strategy gave nothing usable.
    fn on_hub_failure(&self, session: &mut [u8], attempt: &abi::Attempt) -> Result<sdk::Decision, Fault> {
        let on_hub_failure = self.strategy.table.on_hub_failure.unwrap_or(self.strategy.on_failure);
        self.ask(on_hub_failure, session, attempt)
    }

    fn tell_success(&self, session: &mut [u8], attempt: &abi::Attempt) -> Result<(), Fault> {
        let Some(on_success) = self.strategy.table.on_success else { return Ok(()) };
        // SAFETY: the interface's function; `call` has checked the session.
        self.call(session, |this, session, shared| unsafe { on_success(this, session, shared, attempt) })
    }

    /// Bytes that the devices of this strategy remember together, for whoever wants to see whether they changed.
    pub(super) fn shared_bytes(&self) -> Vec<u8> {
        self.shared
            .as_ref()
            .map_or_else(Vec::new, |shared| shared.lock().unwrap_or_else(PoisonError::into_inner).to_vec())
    }

    /// Calls the strategy with a session that is checked to be of its layout, and with its shared memory locked.
    #[inline]
    fn call(
        &self,
        session: &mut [u8],
        call: impl FnOnce(*const c_void, *mut c_void, *mut c_void) -> abi::Status,
    ) -> Result<(), Fault> {
        match self.status(session, call)? {
            abi::OK => Ok(()),
            other => Err(self.judged(other)),
        }
    }

    /// As [`Self::call`], for functions whose status says more than whether they failed.
    #[inline]
    fn status(
        &self,
        session: &mut [u8],
        call: impl FnOnce(*const c_void, *mut c_void, *mut c_void) -> abi::Status,
    ) -> Result<abi::Status, Fault> {
        let strategy = &*self.strategy;
        if strategy.broken.load(Ordering::Relaxed) {
            return Err(Fault::Panicked);
        }
        if !fits(session, session_layout(&strategy.table)) {
            return Err(self.fail(Fault::WrongSession));
        }
        let session = if session.is_empty() { std::ptr::null_mut() } else { session.as_mut_ptr().cast() };
        Ok(match &self.shared {
            None => strategy.watched.call(|| call(strategy.this, session, std::ptr::null_mut())),
            Some(shared) => {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let shared = shared.as_mut_ptr().cast();
                strategy.watched.call(|| call(strategy.this, session, shared))
            }
        })
    }

    /// What a status means that is not good.
    #[cold]
    fn judged(&self, status: abi::Status) -> Fault {
        if status == abi::PANICKED {
            self.strategy.broken.store(true, Ordering::Relaxed);
            return self.fail(Fault::Panicked);
        }
        self.fail(Fault::Failed(status))
    }

    #[cold]
    fn fail(&self, fault: Fault) -> Fault {
        let _ = self.strategy.fault.set(fault);
        fault
    }
}
