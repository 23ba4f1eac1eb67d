//! The service machine: the order of its checks is that of `dps-protocol` 17.1.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::chaos::Disturbance;
use super::config::{Assignment, Config, ConfigError, Overlap};
use super::enrollment::{AllocationPolicy, Attestation, Enrollment, Group, Individual, SymmetricKey};
use super::hub::Hubs;
use super::metrics::{MetricStatus, Metrics};
use super::placement::{Choice, Special, WebhookCall};
use super::record::{Caller, EnrollmentPlace, EnrollmentRef, Records};
use super::store::Book;
use super::throttle::{Meter, RetryAfterMode, Verdict};
use super::{Call, Evidence, Request, Resource, Submission, Token};
use crate::chaos::Serving;
use crate::protocol::{
    Body, Enrolment, ErrorBody, Malformed, OperationId, Registration, RegistrationId, RegistrationState,
    Reply, RetryAfter, Status, code, http, sas,
};
use crate::random::Purpose;
use crate::time::{Moment, Span};

/// What a service has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of any kind.
    pub requests: u64,
    /// Registrations accepted.
    pub accepted: u64,
    /// Requests refused by a quota or by the poll limit.
    pub throttled: u64,
    /// Answers with `assigned`.
    pub assigned: u64,
    /// Answers with `failed`.
    pub failed: u64,
    /// Errors by six-digit code, throttling included.
    pub errors: BTreeMap<u32, u64>,
}

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

/// What the service decided, before it is put into words: [`Service::reply`] does that.
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

/// What a request says beside what it asks for.
struct Form<'a> {
    api_version: &'a str,
    /// The payload for a webhook, as its JSON text.
    payload: Option<&'a str>,
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

/// A mock DPS instance.
#[derive(Debug)]
pub struct Service {
    pub(super) config: Config,
    pub(super) individuals: Book<Individual>,
    pub(super) groups: Book<Group>,
    /// What the names of the roster's devices begin with.
    roster_prefix: String,
    pub(super) records: Records,
    pub(super) hubs: Hubs,
    registrations: Meter,
    operations: Meter,
    /// What few devices have, by the place of their record.
    pub(super) special: BTreeMap<u32, Special>,
    /// Webhooks that are to be asked.
    pub(super) calls: VecDeque<WebhookCall>,
    pub(super) counters: Counters,
    pub(super) metrics: Metrics,
    /// Counts answers; keys tracking ids and jitter.
    answers: u32,
    /// Faults, if there are any.
    pub(super) disturbance: Option<Box<Disturbance>>,
}

/// Why a request is refused: the six-digit code, and a wait where the refusal names one.
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) retry_after: RetryAfter,
}

impl Refusal {
    pub(super) const fn new(code: u32) -> Self {
        Self { code, retry_after: RetryAfter::Absent }
    }
}

impl Service {
    /// Starts an instance without registrations.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(mut config: Config) -> Result<Self, ConfigError> {
        if config.hubs.is_empty() {
            return Err(ConfigError::NoHub);
        }
        if let Some(hub) = config.hubs.iter().find(|hub| !(1..=1_000).contains(&hub.weight)) {
            return Err(ConfigError::Weight(hub.host.clone()));
        }
        if matches!(config.allocation, AllocationPolicy::Static | AllocationPolicy::Custom) {
            return Err(ConfigError::InstancePolicy);
        }
        let mut individuals = Book::new();
        for individual in std::mem::take(&mut config.individuals) {
            check_hubs(&config, &individual.registration_id, &individual.enrollment)?;
            if individuals.find(&individual.registration_id).is_some() {
                return Err(ConfigError::Duplicate(individual.registration_id));
            }
            individuals.put(individual, Moment::START);
        }
        let mut groups = Book::new();
        for group in std::mem::take(&mut config.groups) {
            check_hubs(&config, &group.id, &group.enrollment)?;
            if groups.find(&group.id).is_some() {
                return Err(ConfigError::DuplicateGroup(group.id));
            }
            groups.put(group, Moment::START);
        }
        Ok(Self {
            registrations: Meter::new(config.throttle.registrations),
            operations: Meter::new(config.throttle.operations),
            individuals,
            groups,
            roster_prefix: String::new(),
            records: Records::default(),
            hubs: Hubs::new(&config.hubs),
            special: BTreeMap::new(),
            calls: VecDeque::new(),
            counters: Counters::default(),
            metrics: Metrics::default(),
            answers: 0,
            disturbance: None,
            config,
        })
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What Azure Monitor would have counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many registration records there are.
    pub fn registrations(&self) -> usize {
        self.records.len()
    }

    /// The time of day at a moment, in nanoseconds since the Unix epoch.
    pub fn unix_nanos(&self, at: Moment) -> u64 {
        self.config.calendar.unix_nanos(at)
    }

    /// The id scope, for what a door says of itself.
    pub fn id_scope(&self) -> &str {
        &self.config.id_scope
    }

    /// Starts an instance that knows `devices` devices by their number; their names are `prefix` and the number in
    /// six digits or more. It treats them as any other device, and [`Service::ask`] need not spell them.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn with_roster(config: Config, prefix: &str, devices: u32) -> Result<Self, ConfigError> {
        let records = Records::of_roster(devices);
        Ok(Self { roster_prefix: prefix.to_owned(), records, ..Self::new(config)? })
    }

    /// Answers a request.
    pub fn handle(&mut self, now: Moment, request: &Request<'_>, evidence: &impl Evidence) -> Handled {
        let caller = self.caller(request.registration_id);
        let Answered { answer, delay } = self.answer(|service, delay| {
            let (query, form) = service.understand(request)?;
            service.attend(now, caller, query, form, evidence, delay)
        });
        let handled = Handled { reply: self.reply(now, &answer), delay, request_id: self.request_id() };
        self.seal(now, &answer, handled, evidence)
    }

    /// Answers device number `device` of the roster, whose request is well formed and names this instance. A device
    /// beyond the roster is unknown.
    pub fn ask(&mut self, now: Moment, device: u32, query: Query<'_>, evidence: &impl Evidence) -> Answered {
        let known = (device as usize) < self.records.roster();
        let numbered = Caller::Numbered(device);
        let name;
        let caller = if self.records.is_numbered(device) {
            numbered
        } else {
            name = self.name(numbered);
            Caller::Named(&name)
        };
        self.answer(|service, delay| {
            if !known {
                return Err(Refusal::new(code::UNAUTHORIZED));
            }
            let form = Form { api_version: http::API_VERSION, payload: None };
            service.attend(now, caller, query, Ok(form), evidence, delay)
        })
    }

    fn answer(&mut self, judge: impl FnOnce(&mut Self, &mut Span) -> Result<Answer, Refusal>) -> Answered {
        self.answers = self.answers.wrapping_add(1);
        self.counters.requests += 1;
        let mut delay = Span::ZERO;
        let answer = judge(self, &mut delay).unwrap_or_else(|Refusal { code, retry_after }| {
            *self.counters.errors.entry(code).or_default() += 1;
            Answer::Refused { code, retry_after }
        });
        Answered { answer, delay }
    }

    /// Counts one operation of the service API against its own quota (`dps-protocol` 11.1): how long a shaping queue
    /// holds it, or the answer that refuses it.
    ///
    /// # Errors
    /// The quota is used up.
    pub fn admit_operation(&mut self, now: Moment) -> Result<Span, Box<Handled>> {
        self.answers = self.answers.wrapping_add(1);
        self.counters.requests += 1;
        if let Some(code) = self.struck(now) {
            return Err(Box::new(self.refused(now, Refusal::new(code))));
        }
        match self.operations.admit(now) {
            Verdict::Admit { delay } => Ok(delay),
            Verdict::Reject { until_token } => {
                let refusal = self.throttled(now, until_token);
                Err(Box::new(self.refused(now, refusal)))
            }
        }
    }

    /// Counts a refusal and puts it into words.
    pub(super) fn refused(&mut self, now: Moment, Refusal { code, retry_after }: Refusal) -> Handled {
        *self.counters.errors.entry(code).or_default() += 1;
        let reply = self.refuse(now, code, retry_after);
        Handled { reply, delay: Span::ZERO, request_id: self.request_id() }
    }

    /// How many requests there have been: the number of the one in hand.
    pub(super) const fn answers(&self) -> u32 {
        self.answers
    }

    /// Numbers what has no request of its own to number it.
    pub(super) fn next_answer(&mut self) -> u32 {
        self.answers = self.answers.wrapping_add(1);
        self.answers
    }

    /// The id of the request that is being answered.
    pub(super) fn request_id(&self) -> u128 {
        let draw = |half| self.config.seed.draw(Purpose::Tracking, u32::MAX - half, self.answers);
        u128::from(draw(0)) << 64 | u128::from(draw(1))
    }

    /// What a request asks for, and whether its body is in order: a mistake in the body is named after the quota.
    fn understand<'r>(
        &self,
        request: &'r Request<'_>,
    ) -> Result<(Query<'r>, Result<Form<'r>, Refusal>), Refusal> {
        let (query, payload) = match &request.call {
            Call::NoSuchPath => return Err(Refusal::new(code::NOT_FOUND)),
            Call::WrongMethod => return Err(Refusal::new(code::METHOD_NOT_ALLOWED)),
            Call::Register(submission) => {
                (Query::Register, check(submission, request.registration_id, false))
            }
            Call::Lookup(submission) => (Query::Lookup, check(submission, request.registration_id, true)),
            Call::Poll(id) => (Query::Poll(id), Ok(None)),
        };
        let known = |version: &&str| http::API_VERSIONS.contains(version);
        let api_version = request.api_version.filter(known).ok_or(Refusal::new(code::BAD_REQUEST))?;
        if !request.id_scope.eq_ignore_ascii_case(&self.config.id_scope) {
            return Err(Refusal::new(code::NOT_FOUND));
        }
        Ok((query, payload.map(|payload| Form { api_version, payload })))
    }

    /// Judges a request, as far as faults let it.
    fn attend(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        query: Query<'_>,
        form: Result<Form<'_>, Refusal>,
        evidence: &impl Evidence,
        delay: &mut Span,
    ) -> Result<Answer, Refusal> {
        if let Some(code) = self.struck(now) {
            return Err(Refusal::new(code));
        }
        let Some(serving) = self.disturbed(now, caller, query) else {
            return self.judge(now, caller, query, form, evidence, (delay, &Serving::default()));
        };
        let mut queued = Span::ZERO;
        let answer = match serving.answered(query) {
            Ok(None) => self.judge(now, caller, query, form, evidence, (&mut queued, &serving)),
            Ok(Some(answer)) => Ok(answer),
            Err(refusal) => Err(refusal),
        };
        *delay = serving.delayed(queued);
        if let (Query::Register, Ok(answer)) = (query, &answer) {
            self.hold(&serving, *answer);
        }
        answer
    }

    fn judge(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        query: Query<'_>,
        form: Result<Form<'_>, Refusal>,
        evidence: &impl Evidence,
        (delay, serving): (&mut Span, &Serving),
    ) -> Result<Answer, Refusal> {
        if let Query::Poll(id) = query {
            return self.poll(now, caller, id, evidence, serving);
        }
        *delay = self.meter(now, serving.quota)?;
        let form = form?;
        match query {
            Query::Register => self.register(now, caller, &form, evidence, serving),
            Query::Lookup | Query::Poll(_) => self.lookup(now, caller, evidence, serving),
        }
    }

    /// Puts an answer into words. What is sealed to a TPM takes evidence to make, and is left empty.
    pub fn reply(&self, now: Moment, answer: &Answer) -> Reply {
        match *answer {
            Answer::Refused { code, retry_after } => self.refuse(now, code, retry_after),
            Answer::Disabled => {
                let body =
                    Body::Operation { id: None, state: RegistrationState::Disabled, registration: None };
                Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
            }
            Answer::Assigning(ticket) => self.assigning(ticket),
            Answer::Assigned(ticket) => self.done(now, ticket, RegistrationState::Assigned),
            Answer::Failed(ticket) => self.done(now, ticket, RegistrationState::Failed),
            Answer::Known(ticket, assigning) => {
                let body = Body::Registration(Box::new(self.known(now, ticket, assigning)));
                Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
            }
            Answer::Challenged { .. } => {
                let body = Body::Challenge(Box::default());
                Reply { status: Status::UNAUTHORIZED, retry_after: RetryAfter::Absent, body }
            }
        }
    }

    fn done(&self, now: Moment, ticket: Ticket, state: RegistrationState) -> Reply {
        let id = Some(self.operation_id(ticket));
        let registration = Some(Box::new(self.known(now, ticket, false)));
        let body = Body::Operation { id, state, registration };
        Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
    }

    /// The device of this name.
    pub(super) fn caller<'a>(&self, name: &'a str) -> Caller<'a> {
        self.numbered(name).map_or(Caller::Named(name), Caller::Numbered)
    }

    /// The number of the roster's device of this name.
    fn numbered(&self, name: &str) -> Option<u32> {
        let digits = name.get(self.roster_prefix.len()..)?;
        let number: u32 = digits.parse().ok().filter(|&number| self.records.is_numbered(number))?;
        name.eq_ignore_ascii_case(&self.name(Caller::Numbered(number))).then_some(number)
    }

    /// How a device is called.
    pub(super) fn name<'a>(&self, caller: Caller<'a>) -> Cow<'a, str> {
        match caller {
            Caller::Named(name) => name.into(),
            Caller::Numbered(number) => format!("{}{number:06}", self.roster_prefix).into(),
        }
    }

    /// How the device of a record is called.
    pub(super) fn name_at(&self, at: usize) -> Cow<'_, str> {
        // A record's place came from 32 bits.
        self.name(self.records.name(at).map_or(Caller::Numbered(at as u32), Caller::Named))
    }

    /// The registration quota: registrations and status lookups count (`dps-protocol` 11.1).
    fn meter(&mut self, now: Moment, share: f64) -> Result<Span, Refusal> {
        match self.registrations.admit_share(now, share) {
            Verdict::Admit { delay } => Ok(delay),
            Verdict::Reject { until_token } => Err(self.throttled(now, until_token)),
        }
    }

    fn throttled(&mut self, now: Moment, until_token: Span) -> Refusal {
        self.counters.throttled += 1;
        let up = |span: Span| u32::try_from(span.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
        let unix_ns = self.config.calendar.unix_nanos(now);
        let retry_after = match self.config.throttle.retry_after {
            RetryAfterMode::None => RetryAfter::Absent,
            RetryAfterMode::Constant(secs) => RetryAfter::Seconds(secs),
            RetryAfterMode::UntilToken => RetryAfter::Seconds(up(until_token).max(1)),
            RetryAfterMode::UntilMinute => {
                let minute_ns = 60_000_000_000;
                RetryAfter::Seconds(up(Span::from_nanos(minute_ns - unix_ns % minute_ns)).max(1))
            }
            RetryAfterMode::Jittered(from, to) => {
                let draw = self.config.seed.fraction(Purpose::RetryAfter, 0, self.answers);
                RetryAfter::Seconds(from + (draw * f64::from(to.saturating_sub(from) + 1)) as u32)
            }
            RetryAfterMode::HttpDate => {
                let at = unix_ns.saturating_add(until_token.as_nanos()).div_ceil(1_000_000_000);
                RetryAfter::Date(i64::try_from(at).unwrap_or(i64::MAX))
            }
            RetryAfterMode::Garbage => RetryAfter::Malformed(Malformed::Garbage),
        };
        Refusal { code: code::THROTTLED, retry_after }
    }

    fn register(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        form: &Form<'_>,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Result<Answer, Refusal> {
        self.hubs.advance(now);
        if evidence.certificate().is_none()
            && evidence.token() == Token::Absent
            && let Some(challenge) = self.challenge(caller, evidence).transpose()
        {
            if challenge.is_err() {
                self.metrics.attested(now, evidence.transport(), false);
            }
            return challenge;
        }
        let admitted = self.admit(now, caller, evidence, serving);
        self.metrics.attested(now, evidence.transport(), admitted.is_ok());
        let enrollment = admitted?;
        if !self.enrollment(enrollment).is_some_and(|enrollment| enrollment.enabled) {
            self.metrics.refused(now, MetricStatus::Disabled);
            return Ok(Answer::Disabled);
        }
        let at = self.records.entry(caller, now);
        let running = self.records.get(at);
        if running.registrations > 0 && now < running.ready_at {
            match self.config.overlap {
                Overlap::Conflict => return Err(Refusal::new(code::REGISTRATION_CONFLICT)),
                Overlap::Reuse => return Ok(Answer::Assigning(self.ticket(at))),
            }
        }
        let name = self.name(caller);
        let had = (serving.flipped && running.registrations > 0)
            .then(|| self.config.hubs[usize::from(running.hub)].host.clone());
        let without_hub = serving.without_hub.as_deref().or(had.as_deref());
        // Before the record says that it was asked again: the choice depends on what it was before.
        let choice = self.choose(at, &name, enrollment, form.api_version, without_hub);
        let record = self.records.get_mut(at);
        record.registrations += 1;
        record.enrollment = enrollment;
        match choice {
            Choice::Hub(hub) => self.assign(now, at, &name, hub),
            Choice::Webhook => self.ask_webhook(at, &name, form.payload),
        }
        self.keep_storage_root(at, evidence);
        self.counters.accepted += 1;
        if serving.raced {
            // That was the other device.
            return Err(Refusal::new(code::REGISTRATION_CONFLICT));
        }
        Ok(Answer::Assigning(self.ticket(at)))
    }

    fn poll(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        operation: &OperationId,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Result<Answer, Refusal> {
        let at = self.records.find(caller).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        if let Some(limit) = self.config.throttle.polls_per_window {
            let window = self.config.throttle.poll_window;
            if let Err(wait) = self.records.get_mut(at).admit_poll(now, limit, window) {
                return Err(self.throttled(now, wait));
            }
        }
        self.admit(now, caller, evidence, serving)?;
        let ticket = self.ticket(at);
        if self.operation_id(ticket) != *operation {
            return Err(Refusal::new(code::REGISTRATION_NOT_FOUND));
        }
        if now < self.records.get(at).ready_at {
            return Ok(Answer::Assigning(ticket));
        }
        if self.failure(at).is_some() {
            self.counters.failed += 1;
            return Ok(Answer::Failed(ticket));
        }
        self.counters.assigned += 1;
        Ok(Answer::Assigned(ticket))
    }

    fn lookup(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Result<Answer, Refusal> {
        self.admit(now, caller, evidence, serving)?;
        let at = self.records.find(caller).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        Ok(Answer::Known(self.ticket(at), now < self.records.get(at).ready_at))
    }

    /// The last registration of a device that has registered.
    pub(super) fn ticket(&self, at: usize) -> Ticket {
        // A record's place came from 32 bits.
        Ticket { record: at as u32, registration: self.records.get(at).registrations }
    }

    /// Finds the enrollment that answers for a device and checks the evidence against it.
    ///
    /// An individual enrollment goes first and is final: a device that fails it does not fall through to a group
    /// (`dps-protocol` 9.2, 14.3).
    pub(super) fn admit(
        &self,
        now: Moment,
        caller: Caller<'_>,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Result<EnrollmentRef, Refusal> {
        let id = &*self.name(caller);
        let unix_ns = self.config.calendar.unix_nanos(now).saturating_add_signed(serving.clock_offset_ns);
        let unix_secs = unix_ns / 1_000_000_000;
        if let Some(leaf) = evidence.certificate() {
            let invalid = Refusal::new(code::INVALID_CERTIFICATE);
            let dated = i64::try_from(unix_secs)
                .is_ok_and(|now| (leaf.not_before_unix_secs..=leaf.not_after_unix_secs).contains(&now));
            if !leaf.common_name.eq_ignore_ascii_case(id) || !dated {
                return Err(invalid);
            }
            return self.by_certificate(id, leaf.sha256, unix_secs, evidence, serving).ok_or(invalid);
        }
        let unauthorized = Refusal::new(code::UNAUTHORIZED);
        match evidence.token() {
            Token::Absent | Token::Unreadable => Err(unauthorized),
            Token::Claims { resource, expires_unix_secs } => {
                let covered = || match resource {
                    Resource::Own => true,
                    Resource::Spelled(resource) => {
                        sas::covers(resource, &format!("{}/registrations/{id}", self.config.id_scope))
                    }
                };
                if expires_unix_secs < unix_secs || !covered() {
                    return Err(unauthorized);
                }
                self.by_key(caller, id, evidence, serving).ok_or(unauthorized)
            }
        }
    }

    fn by_certificate(
        &self,
        id: &str,
        sha256: [u8; 32],
        unix_secs: u64,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Option<EnrollmentRef> {
        let primary_stands = !serving.primary_refused;
        if let Some(at) = self.individuals.find(id) {
            return match &self.individuals.get(at)?.value.enrollment.attestation {
                Attestation::Leaf { primary, secondary }
                    if (primary_stands && primary.sha256 == sha256)
                        || secondary.as_ref().is_some_and(|other| other.sha256 == sha256) =>
                {
                    Some(EnrollmentRef::individual(at))
                }
                _ => None,
            };
        }
        let nearest = |(at, group): (u32, &Group)| match &group.enrollment.attestation {
            Attestation::Signer { primary, secondary } => {
                let depth = [Some(primary).filter(|_| primary_stands), secondary.as_ref()]
                    .into_iter()
                    .flatten()
                    .filter_map(|ca| evidence.signed_by(ca, unix_secs))
                    .min()?;
                Some((depth, at))
            }
            Attestation::Leaf { .. } | Attestation::SymmetricKey { .. } | Attestation::Tpm { .. } => None,
        };
        self.groups.iter().filter_map(nearest).min().map(|(_, at)| EnrollmentRef::group(at))
    }

    fn by_key(
        &self,
        caller: Caller<'_>,
        id: &str,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Option<EnrollmentRef> {
        let stands = |_: &&SymmetricKey| !serving.primary_refused;
        let signed = |attestation: &Attestation, derived_for: Option<&str>| match attestation {
            Attestation::SymmetricKey { primary, secondary } => {
                [Some(primary).filter(stands), secondary.as_ref()]
                    .into_iter()
                    .flatten()
                    .any(|key| evidence.signed_with(key, derived_for))
            }
            Attestation::Leaf { .. } | Attestation::Signer { .. } | Attestation::Tpm { .. } => false,
        };
        if let Some(at) = self.individuals.find(id) {
            let genuine = match &self.individuals.get(at)?.value.enrollment.attestation {
                Attestation::Tpm { endorsement_key, .. } => {
                    self.is_signed_by_tpm(at, endorsement_key, evidence)
                }
                attestation => signed(attestation, None),
            };
            return genuine.then_some(EnrollmentRef::individual(at));
        }
        // The group that admitted the device last time very likely does again.
        let last = self.records.find(caller).map(|at| self.records.get(at).enrollment);
        if let Some(EnrollmentPlace::Group(at)) = last.map(EnrollmentRef::place)
            && let Some(group) = self.groups.get(at)
            && signed(&group.value.enrollment.attestation, Some(id))
        {
            return last;
        }
        let mut groups = self.groups.iter();
        groups
            .find(|(_, group)| signed(&group.enrollment.attestation, Some(id)))
            .map(|(at, _)| EnrollmentRef::group(at))
    }

    /// The enrollment, unless it has been deleted.
    pub(super) fn enrollment(&self, of: EnrollmentRef) -> Option<&Enrollment> {
        match of.place() {
            EnrollmentPlace::Individual(at) => self.individuals.get(at).map(|kept| &kept.value.enrollment),
            EnrollmentPlace::Group(at) => self.groups.get(at).map(|kept| &kept.value.enrollment),
        }
    }

    /// How long an assignment takes; `None` for never.
    pub(super) fn assignment(&self, device: u64, count: u32) -> Option<Span> {
        let draw =
            |more: u32| self.config.seed.fraction(Purpose::Assignment, device as u32, 2 * count + more);
        Some(match self.config.assignment {
            Assignment::Never => return None,
            Assignment::Constant(span) => span,
            Assignment::Uniform(from, to) => from + to.saturating_sub(from).scale(draw(0)),
            Assignment::Lognormal { median, sigma, max } => {
                // Box and Muller (1958).
                let normal = (-2.0 * (1.0 - draw(0)).ln()).sqrt() * (std::f64::consts::TAU * draw(1)).cos();
                median.scale((sigma * normal).exp()).min(max)
            }
        })
    }

    /// The id of a registration's operation. It is derived, not stored, and cannot be guessed.
    fn operation_id(&self, ticket: Ticket) -> OperationId {
        let draw = |more| self.tracking(ticket, more);
        OperationId::usual(5, draw(0), u128::from(draw(1)) << 64 | u128::from(draw(2)))
    }

    fn tracking(&self, ticket: Ticket, more: u32) -> u64 {
        let count = ticket.registration.wrapping_mul(4).wrapping_add(more);
        self.config.seed.draw(Purpose::Tracking, ticket.record, count)
    }

    fn assigning(&self, ticket: Ticket) -> Reply {
        let retry_after = self.config.retry_after_secs.map_or(RetryAfter::Absent, RetryAfter::Seconds);
        let id = Some(self.operation_id(ticket));
        let body = Body::Operation { id, state: RegistrationState::Assigning, registration: None };
        Reply { status: Status::ACCEPTED, retry_after, body }
    }

    /// What is known of a device's registration at this time.
    pub(super) fn registration(&self, at: usize, now: Moment) -> Registration {
        self.known(now, self.ticket(at), now < self.records.get(at).ready_at)
    }

    /// What is known of a registration, of which an answer has said whether it is still under way.
    fn known(&self, now: Moment, ticket: Ticket, assigning: bool) -> Registration {
        let calendar = self.config.calendar;
        let at = ticket.record as usize;
        let record = self.records.get(at);
        let id = self.name_at(at).into_owned();
        let (device_id, group, attestation) = match record.enrollment.place() {
            EnrollmentPlace::Individual(at) => match self.individuals.get(at) {
                Some(kept) => (kept.value.device_id.clone(), None, Some(&kept.value.enrollment.attestation)),
                None => (None, None, None),
            },
            EnrollmentPlace::Group(at) => match self.groups.get(at) {
                Some(kept) => (None, Some(kept.value.id.clone()), Some(&kept.value.enrollment.attestation)),
                None => (None, None, None),
            },
        };
        let enrolment = attestation.map(|attestation| match attestation {
            Attestation::SymmetricKey { .. } => Enrolment::SymmetricKey { group },
            Attestation::Leaf { .. } | Attestation::Signer { .. } => Enrolment::X509 { group },
            Attestation::Tpm { .. } => Enrolment::Tpm { authentication_key: Box::default() },
        });
        let mut registration = Registration {
            device_id: Some(device_id.unwrap_or_else(|| id.clone())),
            registration_id: id,
            state: Some(RegistrationState::Assigned),
            substatus: Some(record.substatus),
            assigned_hub: Some(self.config.hubs[usize::from(record.hub)].host.clone()),
            error_code: None,
            error_message: None,
            created_unix_ns: Some(calendar.unix_nanos(record.created)),
            updated_unix_ns: Some(calendar.unix_nanos(record.ready_at.min(now))),
            etag: Some(BASE64_STANDARD.encode(self.tag(ticket))),
            enrolment,
            payload: None,
        };
        if assigning {
            registration.state = Some(RegistrationState::Assigning);
            (registration.assigned_hub, registration.device_id) = (None, None);
            registration.substatus = None;
        } else {
            self.tell_special(at, &mut registration);
        }
        registration
    }

    /// The tag of a registration's state, with its quotes.
    pub(super) fn registration_tag(&self, at: usize) -> String {
        self.tag(self.ticket(at))
    }

    fn tag(&self, ticket: Ticket) -> String {
        let tag = self.tracking(ticket, 3);
        format!("\"{:08x}-0000-0300-0000-{:012x}\"", tag >> 32, tag & 0xffff_ffff)
    }

    fn refuse(&self, now: Moment, code: u32, retry_after: RetryAfter) -> Reply {
        let error = ErrorBody {
            code,
            message: http::text_of(code).into(),
            tracking: self.request_id(),
            unix_ns: self.config.calendar.unix_nanos(now),
        };
        // The first three digits of a code are its status (`dps-protocol` 5.1).
        let status = Status(u16::try_from(code / 1_000).unwrap_or(Status::INTERNAL_ERROR.0));
        Reply { status, retry_after, body: Body::Error(error) }
    }
}

fn check_hubs(config: &Config, name: &str, enrollment: &Enrollment) -> Result<(), ConfigError> {
    match config.unlinked(enrollment) {
        Some(hub) => Err(ConfigError::UnknownHub { enrollment: name.to_owned(), hub: hub.to_owned() }),
        None => Ok(()),
    }
}

/// Media type, JSON and ids (17.1, check 5). Returns the payload.
fn check<'a>(submission: &Submission<'a>, path_id: &str, lookup: bool) -> Result<Option<&'a str>, Refusal> {
    match submission {
        Submission::WrongMediaType => Err(Refusal::new(code::UNSUPPORTED_MEDIA_TYPE)),
        Submission::Unreadable => Err(Refusal::new(code::BAD_FORMAT)),
        Submission::Read { registration_id, csr, payload } => {
            let same = registration_id.as_deref().is_none_or(|id| id.eq_ignore_ascii_case(path_id));
            if same && !(lookup && *csr) && RegistrationId::new(path_id).is_ok() {
                Ok(*payload)
            } else {
                Err(Refusal::new(code::BAD_FORMAT))
            }
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
