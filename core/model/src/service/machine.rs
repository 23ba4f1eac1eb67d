//! The service machine: the order of its checks is that of `dps-protocol` 17.1.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::allocation;
use super::config::{Assignment, Config, ConfigError, Overlap};
use super::enrollment::{Attestation, Enrollment};
use super::record::{Caller, EnrollmentPlace, EnrollmentRef, Records};
use super::throttle::{Meter, RetryAfterMode, Verdict};
use super::{Call, Evidence, Request, Resource, Submission, Token};
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
    /// To a lookup: the last known assignment, and whether it is still under way.
    Known(Ticket, bool),
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
    config: Config,
    /// By registration id, lower case.
    individuals: BTreeMap<String, u32>,
    /// What the names of the roster's devices begin with.
    roster_prefix: String,
    records: Records,
    registrations: Meter,
    operations: Meter,
    counters: Counters,
    /// Counts answers; keys tracking ids and jitter.
    answers: u32,
}

/// Why a request is refused: the six-digit code, and a wait where the refusal names one.
struct Refusal {
    code: u32,
    retry_after: RetryAfter,
}

impl Refusal {
    const fn new(code: u32) -> Self {
        Self { code, retry_after: RetryAfter::Absent }
    }
}

impl Service {
    /// Starts an instance without registrations.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        if config.hubs.is_empty() {
            return Err(ConfigError::NoHub);
        }
        if let Some(hub) = config.hubs.iter().find(|hub| !(1..=1_000).contains(&hub.weight)) {
            return Err(ConfigError::Weight(hub.host.clone()));
        }
        let mut individuals = BTreeMap::new();
        for (at, individual) in (0..).zip(&config.individuals) {
            check_hub(&config, &individual.registration_id, &individual.enrollment)?;
            if individuals.insert(individual.registration_id.to_ascii_lowercase(), at).is_some() {
                return Err(ConfigError::Duplicate(individual.registration_id.clone()));
            }
        }
        for group in &config.groups {
            check_hub(&config, &group.id, &group.enrollment)?;
        }
        Ok(Self {
            registrations: Meter::new(config.throttle.registrations),
            operations: Meter::new(config.throttle.operations),
            individuals,
            roster_prefix: String::new(),
            records: Records::default(),
            counters: Counters::default(),
            answers: 0,
            config,
        })
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many registration records there are.
    pub fn registrations(&self) -> usize {
        self.records.len()
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
        let name = request.registration_id;
        let caller = self.numbered(name).map_or(Caller::Named(name), Caller::Numbered);
        let Answered { answer, delay } = self.answer(|service, delay| {
            let (query, form) = service.understand(request)?;
            service.judge(now, caller, query, form, evidence, delay)
        });
        Handled { reply: self.reply(now, &answer), delay, request_id: self.request_id() }
    }

    /// Answers device number `device` of the roster, whose request is well formed and names this instance. A device
    /// beyond the roster is unknown.
    pub fn ask(&mut self, now: Moment, device: u32, query: Query<'_>, evidence: &impl Evidence) -> Answered {
        let caller = Caller::Numbered(device);
        let known = (device as usize) < self.records.roster();
        self.answer(|service, delay| {
            if !known {
                return Err(Refusal::new(code::UNAUTHORIZED));
            }
            service.judge(now, caller, query, Ok(()), evidence, delay)
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
        match self.operations.admit(now) {
            Verdict::Admit { delay } => Ok(delay),
            Verdict::Reject { until_token } => {
                let Refusal { code, retry_after } = self.throttled(now, until_token);
                *self.counters.errors.entry(code).or_default() += 1;
                let reply = self.refuse(now, code, retry_after);
                Err(Box::new(Handled { reply, delay: Span::ZERO, request_id: self.request_id() }))
            }
        }
    }

    /// The id of the request that is being answered.
    fn request_id(&self) -> u128 {
        let draw = |half| self.config.seed.draw(Purpose::Tracking, u32::MAX - half, self.answers);
        u128::from(draw(0)) << 64 | u128::from(draw(1))
    }

    /// What a request asks for, and whether its body is in order: a mistake in the body is named after the quota.
    fn understand<'r>(&self, request: &'r Request<'_>) -> Result<(Query<'r>, Result<(), Refusal>), Refusal> {
        let (query, form) = match &request.call {
            Call::NoSuchPath => return Err(Refusal::new(code::NOT_FOUND)),
            Call::WrongMethod => return Err(Refusal::new(code::METHOD_NOT_ALLOWED)),
            Call::Register(submission) => {
                (Query::Register, check(submission, request.registration_id, false))
            }
            Call::Lookup(submission) => (Query::Lookup, check(submission, request.registration_id, true)),
            Call::Poll(id) => (Query::Poll(id), Ok(())),
        };
        if !request.api_version.is_some_and(|version| http::API_VERSIONS.contains(&version)) {
            return Err(Refusal::new(code::BAD_REQUEST));
        }
        if !request.id_scope.eq_ignore_ascii_case(&self.config.id_scope) {
            return Err(Refusal::new(code::NOT_FOUND));
        }
        Ok((query, form))
    }

    fn judge(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        query: Query<'_>,
        form: Result<(), Refusal>,
        evidence: &impl Evidence,
        delay: &mut Span,
    ) -> Result<Answer, Refusal> {
        if let Query::Poll(id) = query {
            return self.poll(now, caller, id, evidence);
        }
        *delay = self.meter(now)?;
        form?;
        match query {
            Query::Register => self.register(now, caller, evidence),
            Query::Lookup | Query::Poll(_) => self.lookup(now, caller, evidence),
        }
    }

    /// Puts an answer into words.
    pub fn reply(&self, now: Moment, answer: &Answer) -> Reply {
        match *answer {
            Answer::Refused { code, retry_after } => self.refuse(now, code, retry_after),
            Answer::Disabled => {
                let body =
                    Body::Operation { id: None, state: RegistrationState::Disabled, registration: None };
                Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
            }
            Answer::Assigning(ticket) => self.assigning(ticket),
            Answer::Assigned(ticket) => {
                let body = Body::Operation {
                    id: Some(self.operation_id(ticket)),
                    state: RegistrationState::Assigned,
                    registration: Some(Box::new(self.registration(ticket))),
                };
                Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
            }
            Answer::Known(ticket, assigning) => {
                let mut registration = self.registration(ticket);
                if assigning {
                    registration.state = Some(RegistrationState::Assigning);
                    (registration.assigned_hub, registration.device_id) = (None, None);
                }
                let body = Body::Registration(Box::new(registration));
                Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
            }
        }
    }

    /// The number of the roster's device of this name.
    fn numbered(&self, name: &str) -> Option<u32> {
        let digits = name.get(self.roster_prefix.len()..)?;
        let number: u32 = digits.parse().ok().filter(|&number| (number as usize) < self.records.roster())?;
        name.eq_ignore_ascii_case(&self.name(Caller::Numbered(number))).then_some(number)
    }

    /// How a device is called.
    fn name<'a>(&self, caller: Caller<'a>) -> Cow<'a, str> {
        match caller {
            Caller::Named(name) => name.into(),
            Caller::Numbered(number) => format!("{}{number:06}", self.roster_prefix).into(),
        }
    }

    /// The registration quota: registrations and status lookups count (`dps-protocol` 11.1).
    fn meter(&mut self, now: Moment) -> Result<Span, Refusal> {
        match self.registrations.admit(now) {
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
        evidence: &impl Evidence,
    ) -> Result<Answer, Refusal> {
        let enrollment = self.admit(now, caller, evidence)?;
        if !self.enrollment(enrollment).enabled {
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
        let key = allocation::hash(&self.name(caller));
        let hub = match &self.enrollment(enrollment).static_hub {
            Some(host) => {
                self.config.hubs.iter().position(|hub| hub.host.eq_ignore_ascii_case(host)).unwrap_or(0)
                    as u16
            }
            None => allocation::hashed(&self.config.hubs, key),
        };
        let took = self.assignment(key, self.records.get(at).registrations);
        let record = self.records.get_mut(at);
        record.registrations += 1;
        record.enrollment = enrollment;
        record.ready_at = took.map_or(Moment::FAR, |took| now + took);
        record.hub = hub;
        self.counters.accepted += 1;
        Ok(Answer::Assigning(self.ticket(at)))
    }

    fn poll(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        operation: &OperationId,
        evidence: &impl Evidence,
    ) -> Result<Answer, Refusal> {
        let at = self.records.find(caller).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        if let Some(limit) = self.config.throttle.polls_per_window {
            let window = self.config.throttle.poll_window;
            if let Err(wait) = self.records.get_mut(at).admit_poll(now, limit, window) {
                return Err(self.throttled(now, wait));
            }
        }
        self.admit(now, caller, evidence)?;
        let ticket = self.ticket(at);
        if self.operation_id(ticket) != *operation {
            return Err(Refusal::new(code::REGISTRATION_NOT_FOUND));
        }
        if now < self.records.get(at).ready_at {
            return Ok(Answer::Assigning(ticket));
        }
        self.counters.assigned += 1;
        Ok(Answer::Assigned(ticket))
    }

    fn lookup(
        &mut self,
        now: Moment,
        caller: Caller<'_>,
        evidence: &impl Evidence,
    ) -> Result<Answer, Refusal> {
        self.admit(now, caller, evidence)?;
        let at = self.records.find(caller).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        Ok(Answer::Known(self.ticket(at), now < self.records.get(at).ready_at))
    }

    /// The last registration of a device that has registered.
    fn ticket(&self, at: usize) -> Ticket {
        // A record's place came from 32 bits.
        Ticket { record: at as u32, registration: self.records.get(at).registrations }
    }

    /// Finds the enrollment that answers for a device and checks the evidence against it.
    ///
    /// An individual enrollment goes first and is final: a device that fails it does not fall through to a group
    /// (`dps-protocol` 9.2, 14.3).
    fn admit(
        &self,
        now: Moment,
        caller: Caller<'_>,
        evidence: &impl Evidence,
    ) -> Result<EnrollmentRef, Refusal> {
        let id = &*self.name(caller);
        let unix_secs = self.config.calendar.unix_secs(now);
        if let Some(leaf) = evidence.certificate() {
            let invalid = Refusal::new(code::INVALID_CERTIFICATE);
            let dated = i64::try_from(unix_secs)
                .is_ok_and(|now| (leaf.not_before_unix_secs..=leaf.not_after_unix_secs).contains(&now));
            if !leaf.common_name.eq_ignore_ascii_case(id) || !dated {
                return Err(invalid);
            }
            return self.by_certificate(id, leaf.sha256, unix_secs, evidence).ok_or(invalid);
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
                self.by_key(caller, id, evidence).ok_or(unauthorized)
            }
        }
    }

    fn by_certificate(
        &self,
        id: &str,
        sha256: [u8; 32],
        unix_secs: u64,
        evidence: &impl Evidence,
    ) -> Option<EnrollmentRef> {
        if let Some(&at) = self.individuals.get(&id.to_ascii_lowercase()) {
            return match &self.config.individuals[at as usize].enrollment.attestation {
                Attestation::Leaf { primary, secondary }
                    if *primary == sha256 || *secondary == Some(sha256) =>
                {
                    Some(EnrollmentRef::individual(at))
                }
                _ => None,
            };
        }
        let nearest = |(at, group): (u16, &super::enrollment::Group)| match &group.enrollment.attestation {
            Attestation::Signer { primary, secondary } => {
                let depth = [Some(primary), secondary.as_ref()]
                    .into_iter()
                    .flatten()
                    .filter_map(|ca| evidence.signed_by(ca, unix_secs))
                    .min()?;
                Some((depth, at))
            }
            Attestation::Leaf { .. } | Attestation::SymmetricKey { .. } => None,
        };
        (0..).zip(&self.config.groups).filter_map(nearest).min().map(|(_, at)| EnrollmentRef::group(at))
    }

    fn by_key(&self, caller: Caller<'_>, id: &str, evidence: &impl Evidence) -> Option<EnrollmentRef> {
        let signed = |attestation: &Attestation, derived_for: Option<&str>| match attestation {
            Attestation::SymmetricKey { primary, secondary } => [Some(primary), secondary.as_ref()]
                .into_iter()
                .flatten()
                .any(|key| evidence.signed_with(key, derived_for)),
            Attestation::Leaf { .. } | Attestation::Signer { .. } => false,
        };
        if let Some(&at) = self.individuals.get(&id.to_ascii_lowercase()) {
            let attestation = &self.config.individuals[at as usize].enrollment.attestation;
            return signed(attestation, None).then_some(EnrollmentRef::individual(at));
        }
        // The group that admitted the device last time very likely does again.
        let last = self.records.find(caller).map(|at| self.records.get(at).enrollment);
        if let Some(EnrollmentPlace::Group(at)) = last.map(EnrollmentRef::place)
            && signed(&self.config.groups[at].enrollment.attestation, Some(id))
        {
            return last;
        }
        let mut groups = (0..).zip(&self.config.groups);
        groups
            .find(|(_, group)| signed(&group.enrollment.attestation, Some(id)))
            .map(|(at, _)| EnrollmentRef::group(at))
    }

    fn enrollment(&self, of: EnrollmentRef) -> &Enrollment {
        match of.place() {
            EnrollmentPlace::Individual(at) => &self.config.individuals[at].enrollment,
            EnrollmentPlace::Group(at) => &self.config.groups[at].enrollment,
        }
    }

    /// How long an assignment takes; `None` for never.
    fn assignment(&self, device: u64, count: u32) -> Option<Span> {
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

    fn registration(&self, ticket: Ticket) -> Registration {
        let calendar = self.config.calendar;
        let at = ticket.record as usize;
        let record = self.records.get(at);
        let id = self.records.name(at).map_or(Caller::Numbered(ticket.record), Caller::Named);
        let id = self.name(id).into_owned();
        let (device_id, group, attestation) = match record.enrollment.place() {
            EnrollmentPlace::Individual(at) => {
                let individual = &self.config.individuals[at];
                (individual.device_id.clone(), None, &individual.enrollment.attestation)
            }
            EnrollmentPlace::Group(at) => {
                let group = &self.config.groups[at];
                (None, Some(group.id.clone()), &group.enrollment.attestation)
            }
        };
        let enrolment = match attestation {
            Attestation::SymmetricKey { .. } => Enrolment::SymmetricKey { group },
            Attestation::Leaf { .. } | Attestation::Signer { .. } => Enrolment::X509 { group },
        };
        let tag = self.tracking(ticket, 3);
        let etag = format!("\"{:08x}-0000-0300-0000-{:012x}\"", tag >> 32, tag & 0xffff_ffff);
        Registration {
            device_id: Some(device_id.unwrap_or_else(|| id.clone())),
            registration_id: id,
            state: Some(RegistrationState::Assigned),
            substatus: Some(record.substatus),
            assigned_hub: Some(self.config.hubs[usize::from(record.hub)].host.clone()),
            error_code: None,
            error_message: None,
            created_unix_ns: Some(calendar.unix_nanos(record.created)),
            updated_unix_ns: Some(calendar.unix_nanos(record.ready_at)),
            etag: Some(BASE64_STANDARD.encode(etag)),
            enrolment: Some(enrolment),
            payload: None,
        }
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

fn check_hub(config: &Config, name: &str, enrollment: &Enrollment) -> Result<(), ConfigError> {
    match &enrollment.static_hub {
        Some(host) if !config.hubs.iter().any(|hub| hub.host.eq_ignore_ascii_case(host)) => {
            Err(ConfigError::UnknownHub { enrollment: name.to_owned(), hub: host.clone() })
        }
        _ => Ok(()),
    }
}

/// Media type, JSON and ids (17.1, check 5).
fn check(submission: &Submission<'_>, path_id: &str, lookup: bool) -> Result<(), Refusal> {
    match submission {
        Submission::WrongMediaType => Err(Refusal::new(code::UNSUPPORTED_MEDIA_TYPE)),
        Submission::Unreadable => Err(Refusal::new(code::BAD_FORMAT)),
        Submission::Read { registration_id, csr } => {
            let same = registration_id.as_deref().is_none_or(|id| id.eq_ignore_ascii_case(path_id));
            if same && !(lookup && *csr) && RegistrationId::new(path_id).is_ok() {
                Ok(())
            } else {
                Err(Refusal::new(code::BAD_FORMAT))
            }
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
