//! The registration machine.
//!
//! One step handles one input and returns one action: the machine never loops on its own. A driver that feeds it
//! garbage (an answer nobody asked for, an alarm that was overtaken) gets [`Action::Ignore`].

use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_protocol::{
    Body, Operation, OperationId, Registration, RegistrationState, Reply, RetryAfter, Status,
};
use fleetstorm_units::random::span_below;
use fleetstorm_units::time::{Moment, Span};

use super::{
    Action, Advice, Answered, Attempt, ConnectionUse, Credential, Decision, Host, Input, Observation, Policy,
    reaction,
};

/// One device.
///
/// A million of them are simulated at once, so what needs no precision is kept short: see `Short`.
#[derive(Clone, Debug)]
pub struct Device {
    /// The assignment that is under way.
    operation: Option<OperationId>,
    /// The deadline or the end of the wait that `state` names.
    until: Moment,
    /// When the device should have booted.
    booted: Moment,
    /// When the connection attempt or request in hand began.
    started: Moment,
    /// When the service accepted the registration.
    assigning_since: Moment,
    /// How late the driver woke the device for it: latency counts from `started - lag`.
    lag: Short,
    previous_wait: Short,
    /// 0 while the device has no token.
    token_expires_unix_secs: u32,
    failures: u32,
    attempts: u32,
    registers: u32,
    /// 65,535 stands for more.
    operation_failures: u16,
    state: State,
    /// What to do once the wait is over or the connection stands.
    next: Operation,
    slot: u8,
    connection: Connection,
    /// A token was renewed because the service refused the one before: the next refusal parks.
    renewed: bool,
    /// A challenge has been answered since boot.
    challenged: bool,
}

/// A span in four bytes, to 24 bits: exact below 16 ms, to a microsecond below 16 s.
#[derive(Clone, Copy, Debug)]
struct Short(f32);

impl Short {
    const ZERO: Self = Self(0.0);

    const fn of(span: Span) -> Self {
        Self(span.as_nanos() as f32)
    }

    const fn span(self) -> Span {
        // Most are, and a conversion that saturates takes a dozen instructions.
        if self.0 == 0.0 { Span::ZERO } else { Span::from_nanos(self.0 as u64) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Waiting,
    Connecting,
    Asking,
    Answering,
    Parked,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Closed,
    /// Open, and no request has been sent on it.
    Fresh,
    /// Open, and used: the peer may have closed it meanwhile, which is nobody's failure.
    Used,
}

/// What an answer or a broken attempt amounts to.
struct Failure {
    operation: Operation,
    class: ErrorClass,
    advice: Advice,
    outcome: Outcome,
    retry_after: RetryAfter,
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Device {
    /// A device without power.
    pub const fn new() -> Self {
        Self {
            operation: None,
            until: Moment::FAR,
            booted: Moment::START,
            started: Moment::START,
            assigning_since: Moment::START,
            lag: Short::ZERO,
            previous_wait: Short::ZERO,
            token_expires_unix_secs: 0,
            failures: 0,
            attempts: 0,
            registers: 0,
            operation_failures: 0,
            state: State::Off,
            next: Operation::Register,
            slot: 0,
            connection: Connection::Closed,
            renewed: false,
            challenged: false,
        }
    }

    /// When the device wants to be woken; `None` if it waits for nothing.
    pub const fn alarm(&self) -> Option<Moment> {
        match self.state {
            State::Off | State::Finished => None,
            State::Waiting | State::Connecting | State::Asking | State::Answering | State::Parked => {
                Some(self.until)
            }
        }
    }

    /// How late the driver woke the device for the attempt in hand.
    pub const fn lag(&self) -> Span {
        self.lag.span()
    }

    /// The operation that is under way: what a poll asks for.
    pub const fn operation(&self) -> Option<&OperationId> {
        self.operation.as_ref()
    }

    /// Attempts since boot: connections that failed, and requests.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether the device has come to rest: it has its hub, gave up, or sleeps off a failure.
    pub const fn is_settled(&self) -> bool {
        matches!(self.state, State::Parked | State::Finished)
    }

    /// Whether the device sleeps off a failure and will try again.
    pub const fn is_parked(&self) -> bool {
        matches!(self.state, State::Parked)
    }

    /// Takes one input and says what to do next.
    #[inline]
    pub fn step(&mut self, now: Moment, input: Input<'_>, policy: &Policy, host: &mut impl Host) -> Action {
        match (self.state, input) {
            (_, Input::Boot { intended }) => self.boot(now, intended, policy, host),
            (State::Finished | State::Off, Input::Again { operation }) => {
                self.again(now, operation, policy, host)
            }
            (State::Waiting, Input::Alarm) if now >= self.until => {
                self.lag = Short::of(now.since(self.until));
                self.begin(now, policy, host)
            }
            (State::Parked, Input::Alarm) if now >= self.until => self.resume(now, self.until, policy, host),
            (State::Parked, Input::Resume { intended }) if now >= self.until => {
                self.resume(now, intended, policy, host)
            }
            (State::Connecting, Input::Connected) => self.connected(now, policy, host),
            (State::Connecting, Input::Broke(fault)) => self.not_connected(now, fault, policy, host),
            (State::Connecting, Input::Alarm) if now >= self.until => {
                self.not_connected(now, Fault::ConnectTimeout, policy, host)
            }
            (State::Asking, Input::Reply(reply)) => self.replied(now, reply, policy, host),
            (State::Asking, Input::Broke(fault)) => self.broke(now, fault, policy, host),
            (State::Asking, Input::Alarm) if now >= self.until => {
                self.broke(now, Fault::Timeout, policy, host)
            }
            (State::Answering, Input::Answered) => {
                self.challenged = true;
                self.token_expires_unix_secs = 0;
                self.begin(now, policy, host)
            }
            (State::Answering, Input::Broke(_)) => self.unanswered(now, policy, host),
            (State::Answering, Input::Alarm) if now >= self.until => self.unanswered(now, policy, host),
            (State::Waiting | State::Parked, Input::Broke(_)) => {
                self.connection = Connection::Closed;
                Action::Ignore
            }
            _ => Action::Ignore,
        }
    }

    fn boot(&mut self, now: Moment, intended: Moment, policy: &Policy, host: &mut impl Host) -> Action {
        *self = Self { booted: intended, lag: Short::of(now.since(intended)), ..Self::new() };
        let nothing_yet = success(Operation::Register, NOTHING, RetryAfter::Absent);
        let attempt = self.attempt(now, &nothing_yet, policy);
        match host.admit(&attempt) {
            Decision::Wait(wait) if wait > Span::ZERO => {
                // Counted from the intended boot, so that a late driver does not delay the fleet's schedule.
                (self.state, self.until) = (State::Waiting, intended + wait);
                Action::Wait { keep_connection: false }
            }
            Decision::GiveUp { rearm_after } => {
                host.observe(now, Observation::Faltered);
                self.stop(now, ErrorClass::Throttled, NOTHING, rearm_after, false, host)
            }
            Decision::Faulted => {
                host.observe(now, Observation::Faltered);
                self.stop(now, ErrorClass::Throttled, NOTHING, None, true, host)
            }
            _ => self.begin(now, policy, host),
        }
    }

    /// Goes on after parking.
    fn resume(&mut self, now: Moment, intended: Moment, policy: &Policy, host: &mut impl Host) -> Action {
        self.lag = Short::of(now.since(intended));
        self.renewed = false;
        self.discard_token();
        self.restart();
        self.begin(now, policy, host)
    }

    /// Attempts are counted on, so that no draw is made twice.
    fn again(&mut self, now: Moment, operation: Operation, policy: &Policy, host: &mut impl Host) -> Action {
        let next = if policy.lookups { operation } else { Operation::Register };
        *self = Self {
            booted: now,
            attempts: self.attempts,
            token_expires_unix_secs: self.token_expires_unix_secs,
            slot: self.slot,
            challenged: self.challenged,
            next,
            ..Self::new()
        };
        self.begin(now, policy, host)
    }

    /// Forgets everything but how often it has tried.
    pub(super) fn power_off(&mut self) {
        *self = Self { attempts: self.attempts, ..Self::new() };
    }

    /// Takes up the next credential.
    pub(super) fn switch_credential(&mut self, policy: &Policy) {
        self.slot = (self.slot + 1) % policy.credentials.max(1);
        self.discard_token();
    }

    /// The credential in use, from 0.
    pub(super) const fn slot(&self) -> u8 {
        self.slot
    }

    /// When it should have booted, or when it went to the service again.
    pub(super) const fn booted(&self) -> Moment {
        self.booted
    }

    /// A credential for a connection that begins now.
    pub(super) fn fresh_credential(&self, now: Moment, policy: &Policy) -> Credential {
        let expires = policy.token_lifetime.map_or(0, |lifetime| {
            self.believed_unix_secs(now, policy).saturating_add(lifetime.as_secs()).max(1)
        });
        Credential { slot: self.slot, expires_unix_secs: expires }
    }

    /// Starts the next attempt: connects if there is no connection, else sends.
    fn begin(&mut self, now: Moment, policy: &Policy, host: &mut impl Host) -> Action {
        let stale = policy.credential_by_connection && self.token_is_due(now, policy);
        if stale || self.connection == Connection::Closed {
            self.connect(now, policy, host)
        } else {
            self.send(now, policy, host)
        }
    }

    fn connect(&mut self, now: Moment, policy: &Policy, host: &mut impl Host) -> Action {
        let credential = self.credential(now, policy, host);
        self.started = now;
        (self.state, self.until) = (State::Connecting, now + policy.connect_timeout);
        Action::Connect { credential }
    }

    fn connected(&mut self, now: Moment, policy: &Policy, host: &mut impl Host) -> Action {
        let started = self.started;
        host.observe(now, Observation::Connected { intended: started - self.lag(), started, fault: None });
        self.connection = Connection::Fresh;
        self.send(now, policy, host)
    }

    fn not_connected(&mut self, now: Moment, fault: Fault, policy: &Policy, host: &mut impl Host) -> Action {
        let started = self.started;
        host.observe(
            now,
            Observation::Connected { intended: started - self.lag(), started, fault: Some(fault) },
        );
        self.attempts += 1;
        let (class, advice) = reaction::to_fault(fault, policy, self.renewed);
        let outcome = Outcome::Broke(fault);
        self.connection = Connection::Closed;
        self.fail(
            now,
            Failure { operation: self.next, class, advice, outcome, retry_after: RetryAfter::Absent },
            policy,
            host,
        )
    }

    fn send(&mut self, now: Moment, policy: &Policy, host: &mut impl Host) -> Action {
        if self.next == Operation::Poll && self.operation.is_none() {
            self.next = Operation::Register;
        }
        let operation = self.next;
        if !host.permit(now, operation) {
            self.state = State::Finished;
            return Action::Finish;
        }
        let credential = self.credential(now, policy, host);
        let operation_id = if operation == Operation::Poll { self.operation.clone() } else { None };
        self.started = now;
        self.attempts += 1;
        self.registers += u32::from(operation != Operation::Poll);
        (self.state, self.until) = (State::Asking, now + policy.request_timeout);
        host.observe(now, Observation::Sent { operation, intended: now - self.lag() });
        Action::Send { operation, operation_id, credential }
    }

    /// The credential to present now, renewed if it would not last.
    fn credential(&mut self, now: Moment, policy: &Policy, host: &mut impl Host) -> Credential {
        if let Some(lifetime) = policy.token_lifetime
            && self.token_is_due(now, policy)
        {
            let held = self.token_expires_unix_secs;
            let expires = self.believed_unix_secs(now, policy).saturating_add(lifetime.as_secs());
            // A device that lives past 2106 presents the last second that 32 bits can name.
            self.token_expires_unix_secs = u32::try_from(expires).unwrap_or(u32::MAX).max(1);
            if held != 0 && self.token_expires_unix_secs != held {
                host.observe(now, Observation::TokenRenewed);
            }
        }
        Credential { slot: self.slot, expires_unix_secs: u64::from(self.token_expires_unix_secs) }
    }

    /// Whether the device would present a new token now: it has none, or the one it has would not last.
    fn token_is_due(&self, now: Moment, policy: &Policy) -> bool {
        let held = u64::from(self.token_expires_unix_secs);
        policy.token_lifetime.is_some()
            && (self.challenged || !policy.challenged)
            && (held == 0
                || self.believed_unix_secs(now, policy).saturating_add(policy.token_margin.as_secs()) >= held)
    }

    fn believed_unix_secs(&self, now: Moment, policy: &Policy) -> u64 {
        believed_unix_ns(now, policy) / 1_000_000_000
    }

    fn replied(&mut self, now: Moment, reply: &Reply, policy: &Policy, host: &mut impl Host) -> Action {
        self.connection = match policy.connection {
            ConnectionUse::PerRequest => Connection::Closed,
            ConnectionUse::PerDevice | ConnectionUse::PerOperation => Connection::Used,
        };
        let operation = self.next;
        let is_challenge = matches!(reply.body, Body::Challenge(_))
            && reply.status == Status::UNAUTHORIZED
            && policy.challenged
            && !self.challenged;
        let failure = reaction::to_reply(operation, reply, &policy.reactions, self.renewed);
        let code = reaction::service_code(reply);
        let state = match &reply.body {
            Body::Operation { state, .. } => Some(*state),
            Body::Registration(registration) => registration.state,
            Body::Empty | Body::Error(_) | Body::Challenge(_) | Body::Unreadable => None,
        };
        let has_hub = state == Some(RegistrationState::Assigned);
        let answered = if failure.is_some() || is_challenge {
            Answered::AsUsual
        } else {
            let outcome = Outcome::Answered { status: reply.status, code };
            let answer = success(operation, outcome, reply.retry_after);
            host.answered(|| self.attempt(now, &answer, policy), has_hub)
        };
        let failure = match answered {
            Answered::Unusable => Some((ErrorClass::Protocol, policy.reactions.protocol)),
            Answered::AsUsual | Answered::PollAfter(_) => failure,
        };
        let outcome = match (is_challenge, failure, reply.status) {
            (true, ..) => Outcome::Challenged,
            (false, Some((why, _)), status @ Status(200..=299)) if code == 0 => {
                Outcome::Unmet { status, why }
            }
            (false, _, status) => Outcome::Answered { status, code },
        };
        let (intended, started) = (self.started - self.lag(), self.started);
        let retry_after = reply.retry_after;
        let assigned = failure.is_none() && has_hub;
        host.observe(
            now,
            Observation::Ended { operation, intended, started, outcome, assigned, retry_after },
        );

        if is_challenge {
            (self.state, self.until) = (State::Answering, now + policy.request_timeout);
            return Action::Answer;
        }
        match (&reply.body, failure) {
            (_, Some((class, advice))) => self.fail(
                now,
                Failure { operation, class, advice, outcome, retry_after: reply.retry_after },
                policy,
                host,
            ),
            (
                Body::Operation {
                    state: RegistrationState::Assigned, registration: Some(registration), ..
                },
                None,
            )
            | (Body::Registration(registration), None) => {
                self.assigned(now, outcome, registration, policy, host)
            }
            (Body::Operation { id, .. }, None) => {
                let paced = match answered {
                    Answered::PollAfter(wait) => Some(wait),
                    Answered::AsUsual | Answered::Unusable => None,
                };
                self.accepted(now, id.as_ref(), outcome, (reply.retry_after, paced), policy, host)
            }
            // `reaction::to_reply` names a failure for every other body.
            (_, None) => Action::Ignore,
        }
    }

    /// The service is choosing a hub: poll again later, after `paced` if the strategy has said so.
    fn accepted(
        &mut self,
        now: Moment,
        id: Option<&OperationId>,
        outcome: Outcome,
        (retry_after, paced): (RetryAfter, Option<Span>),
        policy: &Policy,
        host: &mut impl Host,
    ) -> Action {
        if self.next == Operation::Register {
            self.assigning_since = now;
            self.operation = None;
        }
        // A poll's answer may lack the id: keep the one in hand (azure-sdk-for-c, mqtt_state_machine.md).
        if let Some(id) = id {
            self.operation = Some(id.clone());
        }
        self.failures = 0;
        self.operation_failures = 0;
        if let Some(wait) = paced {
            self.next = Operation::Poll;
            if wait == Span::ZERO {
                self.lag = Short::ZERO;
                return self.begin(now, policy, host);
            }
            return self.wait(now + wait, wait <= policy.idle_close);
        }
        let interval = match retry_after.wait(believed_unix_ns(now, policy)) {
            None | Some(Span::ZERO) => policy.poll_interval,
            Some(wait) => wait,
        };
        let jitter = span_below(host.poll_jitter(self.attempts), policy.poll_jitter);
        let until = now + interval + jitter;
        if until.since(self.assigning_since) > policy.assign_patience {
            host.observe(now, Observation::Faltered);
            let failure = Failure {
                operation: Operation::Poll,
                class: ErrorClass::AssignmentTimeout,
                advice: policy.reactions.assignment_timeout,
                outcome,
                retry_after: RetryAfter::Absent,
            };
            return self.fail(now, failure, policy, host);
        }
        self.next = Operation::Poll;
        self.wait(until, until.since(now) <= policy.idle_close)
    }

    fn assigned(
        &mut self,
        now: Moment,
        outcome: Outcome,
        registration: &Registration,
        policy: &Policy,
        host: &mut impl Host,
    ) -> Action {
        self.failures = 0;
        self.operation_failures = 0;
        let success = success(self.next, outcome, RetryAfter::Absent);
        host.settled(&self.attempt(now, &success, policy));
        host.observe(
            now,
            Observation::Assigned {
                booted: self.booted,
                attempts: self.attempts,
                registers: self.registers,
                registration,
            },
        );
        self.state = State::Finished;
        self.connection = Connection::Closed;
        Action::Finish
    }

    fn broke(&mut self, now: Moment, fault: Fault, policy: &Policy, host: &mut impl Host) -> Action {
        let reused = self.connection == Connection::Used;
        self.connection = Connection::Closed;
        if reused && fault == Fault::Closed {
            // The peer closed an idle connection and the request never left: reconnecting is no failure.
            host.observe(now, Observation::Unsent { operation: self.next });
            return self.connect(now, policy, host);
        }
        let operation = self.next;
        let outcome = Outcome::Broke(fault);
        let (intended, started) = (self.started - self.lag(), self.started);
        let retry_after = RetryAfter::Absent;
        let assigned = false;
        host.observe(
            now,
            Observation::Ended { operation, intended, started, outcome, assigned, retry_after },
        );
        let (class, advice) = reaction::to_fault(fault, policy, self.renewed);
        self.fail(
            now,
            Failure { operation, class, advice, outcome, retry_after: RetryAfter::Absent },
            policy,
            host,
        )
    }

    /// The attestation could not answer the challenge.
    fn unanswered(&mut self, now: Moment, policy: &Policy, host: &mut impl Host) -> Action {
        host.observe(now, Observation::Faltered);
        let failure = Failure {
            operation: Operation::Register,
            class: ErrorClass::Unauthorized,
            advice: Advice::Park,
            outcome: Outcome::Broke(Fault::Attestation),
            retry_after: RetryAfter::Absent,
        };
        self.fail(now, failure, policy, host)
    }

    /// Asks the strategy what to do about a failure, and does it.
    fn fail(&mut self, now: Moment, mut failure: Failure, policy: &Policy, host: &mut impl Host) -> Action {
        self.failures = self.failures.saturating_add(1);
        self.operation_failures = self.operation_failures.saturating_add(1);
        if failure.operation == Operation::Poll
            && failure.advice == Advice::Retry
            && failure.class != ErrorClass::Throttled
            && u32::from(self.operation_failures) >= policy.poll_failures
        {
            failure.advice = Advice::Restart;
        }
        let attempt = self.attempt(now, &failure, policy);
        let decision = host.decide(&attempt);
        let wait = match decision {
            Decision::Wait(wait) => wait,
            // There is no cached assignment before the first one: such a device registers.
            Decision::Restart(wait) | Decision::UseCachedHub(wait) => {
                if matches!(failure.class, ErrorClass::Unauthorized | ErrorClass::Forbidden) {
                    self.renewed = true;
                    self.discard_token();
                }
                self.restart();
                wait
            }
            Decision::SwitchCredential(wait) => {
                self.switch_credential(policy);
                self.restart();
                wait
            }
            Decision::LookupStatus(wait) => {
                if policy.lookups {
                    self.go_to(Operation::Lookup);
                } else {
                    self.restart();
                }
                wait
            }
            Decision::GiveUp { rearm_after } => {
                return self.stop(now, failure.class, failure.outcome, rearm_after, false, host);
            }
            Decision::Faulted => return self.stop(now, failure.class, failure.outcome, None, true, host),
        };
        self.previous_wait = Short::of(wait);
        // By the service's time: a device whose clock is wrong undercuts a date without knowing it.
        let retry_after = failure.retry_after.wait(policy.calendar.unix_nanos(now));
        host.observe(now, Observation::BackedOff { operation: failure.operation, wait, retry_after });
        if policy.connection != ConnectionUse::PerDevice || wait > policy.idle_close {
            self.connection = Connection::Closed;
        }
        if wait == Span::ZERO {
            self.lag = Short::ZERO;
            return self.begin(now, policy, host);
        }
        self.wait(now + wait, true)
    }

    /// Forgets the assignment under way: the next attempt registers from the start.
    fn restart(&mut self) {
        self.go_to(Operation::Register);
        self.operation = None;
    }

    /// Lets the token expire in 1970 rather than never have existed, so that the next one is seen as a renewal.
    fn discard_token(&mut self) {
        self.token_expires_unix_secs = self.token_expires_unix_secs.min(1);
    }

    fn go_to(&mut self, operation: Operation) {
        if self.next != operation {
            self.operation_failures = 0;
            self.next = operation;
        }
    }

    fn wait(&mut self, until: Moment, keep_connection: bool) -> Action {
        if !keep_connection {
            self.connection = Connection::Closed;
        }
        (self.state, self.until) = (State::Waiting, until);
        Action::Wait { keep_connection: self.connection != Connection::Closed }
    }

    fn stop(
        &mut self,
        now: Moment,
        class: ErrorClass,
        outcome: Outcome,
        rearm_after: Option<Span>,
        faulted: bool,
        host: &mut impl Host,
    ) -> Action {
        let (booted, attempts, registers) = (self.booted, self.attempts, self.registers);
        host.observe(
            now,
            Observation::Stopped { booted, attempts, registers, class, outcome, rearm_after, faulted },
        );
        self.connection = Connection::Closed;
        match rearm_after {
            Some(wait) => {
                (self.state, self.until) = (State::Parked, now + wait);
                Action::Wait { keep_connection: false }
            }
            None => {
                self.state = State::Finished;
                Action::Finish
            }
        }
    }

    fn attempt(&self, now: Moment, failure: &Failure, policy: &Policy) -> Attempt {
        let unavailable = matches!(
            failure.class,
            ErrorClass::ServerError | ErrorClass::Unreachable | ErrorClass::OutcomeUnknown | ErrorClass::Tls
        );
        Attempt {
            operation: failure.operation,
            class: failure.class,
            advice: failure.advice,
            outcome: failure.outcome,
            failures: self.failures,
            attempts: self.attempts,
            operation_failures: u32::from(self.operation_failures),
            retry_after: failure.retry_after,
            retry_after_wait: failure.retry_after.wait(believed_unix_ns(now, policy)),
            floor: if unavailable { FIRST_WAIT } else { Span::ZERO },
            park: policy.park,
            previous_wait: self.previous_wait.span(),
            now,
            since_boot: now.since(self.booted),
            elapsed: now.since(self.started),
            operation_known: self.operation.is_some(),
            credential: self.slot,
            credentials: policy.credentials.max(1),
        }
    }
}

/// An attempt that did not fail: its class and its advice say nothing.
const fn success(operation: Operation, outcome: Outcome, retry_after: RetryAfter) -> Failure {
    Failure { operation, class: ErrorClass::Throttled, advice: Advice::Retry, outcome, retry_after }
}

/// What the device believes the time to be, in nanoseconds since the Unix epoch.
fn believed_unix_ns(now: Moment, policy: &Policy) -> u64 {
    policy.calendar.unix_nanos(now).saturating_add_signed(policy.clock_offset_ns)
}

/// `dps` 13.2: after 5xx, time-outs and lost connections the first wait is at least this.
const FIRST_WAIT: Span = Span::from_secs(5);

/// The outcome of an attempt that was never made.
const NOTHING: Outcome = Outcome::Answered { status: Status::OK, code: 0 };
