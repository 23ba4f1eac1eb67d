//! The service machine: the order of its checks is that of `dps-protocol` 17.1.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::allocation;
use super::config::{Assignment, Config, ConfigError, Overlap};
use super::enrollment::{Attestation, Enrollment};
use super::record::{EnrollmentRef, Records};
use super::throttle::{Meter, RetryAfterMode, Verdict};
use super::{Call, Evidence, Request, Submission, Token};
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

/// A mock DPS instance.
#[derive(Debug)]
pub struct Service {
    config: Config,
    /// By registration id, lower case.
    individuals: BTreeMap<String, u32>,
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

    /// Answers a request.
    pub fn handle(&mut self, now: Moment, request: &Request<'_>, evidence: &impl Evidence) -> Handled {
        self.answers = self.answers.wrapping_add(1);
        self.counters.requests += 1;
        let request_id = self.request_id();
        let mut delay = Span::ZERO;
        let reply = self
            .judge(now, request, evidence, &mut delay)
            .unwrap_or_else(|refusal| self.refuse(now, request_id, &refusal));
        Handled { reply, delay, request_id }
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
                let (request_id, refusal) = (self.request_id(), self.throttled(now, until_token));
                let reply = self.refuse(now, request_id, &refusal);
                Err(Box::new(Handled { reply, delay: Span::ZERO, request_id }))
            }
        }
    }

    fn request_id(&self) -> u128 {
        let draw = |half| self.config.seed.draw(Purpose::Tracking, u32::MAX - half, self.answers);
        u128::from(draw(0)) << 64 | u128::from(draw(1))
    }

    fn judge(
        &mut self,
        now: Moment,
        request: &Request<'_>,
        evidence: &impl Evidence,
        delay: &mut Span,
    ) -> Result<Reply, Refusal> {
        match request.call {
            Call::NoSuchPath => return Err(Refusal::new(code::NOT_FOUND)),
            Call::WrongMethod => return Err(Refusal::new(code::METHOD_NOT_ALLOWED)),
            Call::Register(_) | Call::Poll(_) | Call::Lookup(_) => {}
        }
        if !request.api_version.is_some_and(|version| http::API_VERSIONS.contains(&version)) {
            return Err(Refusal::new(code::BAD_REQUEST));
        }
        if !request.id_scope.eq_ignore_ascii_case(&self.config.id_scope) {
            return Err(Refusal::new(code::NOT_FOUND));
        }
        match &request.call {
            Call::Register(submission) => {
                *delay = self.meter(now)?;
                check(submission, request.registration_id, false)?;
                self.register(now, request.registration_id, evidence)
            }
            Call::Lookup(submission) => {
                *delay = self.meter(now)?;
                check(submission, request.registration_id, true)?;
                self.lookup(now, request.registration_id, evidence)
            }
            Call::Poll(id) => self.poll(now, request.registration_id, id, evidence),
            Call::NoSuchPath | Call::WrongMethod => Err(Refusal::new(code::NOT_FOUND)),
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

    fn register(&mut self, now: Moment, id: &str, evidence: &impl Evidence) -> Result<Reply, Refusal> {
        let enrollment = self.admit(now, id, evidence)?;
        if !self.enrollment(enrollment).enabled {
            let body = Body::Operation { id: None, state: RegistrationState::Disabled, registration: None };
            return Ok(Reply { status: Status::OK, retry_after: RetryAfter::Absent, body });
        }
        let at = self.records.entry(id, now, enrollment);
        let running = self.records.get_mut(at);
        if running.registrations > 0 && now < running.ready_at {
            match self.config.overlap {
                Overlap::Conflict => return Err(Refusal::new(code::REGISTRATION_CONFLICT)),
                Overlap::Reuse => return Ok(self.assigning(at)),
            }
        }
        let key = allocation::hash(id);
        let hub = match &self.enrollment(enrollment).static_hub {
            Some(host) => {
                self.config.hubs.iter().position(|hub| hub.host.eq_ignore_ascii_case(host)).unwrap_or(0)
                    as u16
            }
            None => allocation::hashed(&self.config.hubs, key),
        };
        let count = self.records.get_mut(at).registrations;
        let took = self.assignment(key, count);
        let record = self.records.get_mut(at);
        record.registrations += 1;
        record.enrollment = enrollment;
        record.updated = now;
        record.ready_at = took.map_or(Moment::FAR, |took| now + took);
        record.hub = hub;
        self.counters.accepted += 1;
        Ok(self.assigning(at))
    }

    fn poll(
        &mut self,
        now: Moment,
        id: &str,
        operation: &OperationId,
        evidence: &impl Evidence,
    ) -> Result<Reply, Refusal> {
        let at = self.records.find(id).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        if let Some(limit) = self.config.throttle.polls_per_window {
            let window = self.config.throttle.poll_window;
            if let Err(wait) = self.records.get_mut(at).admit_poll(now, limit, window) {
                return Err(self.throttled(now, wait));
            }
        }
        self.admit(now, id, evidence)?;
        if self.operation_id(at) != *operation {
            return Err(Refusal::new(code::REGISTRATION_NOT_FOUND));
        }
        if now < self.records.get_mut(at).ready_at {
            return Ok(self.assigning(at));
        }
        self.counters.assigned += 1;
        let registration = Some(Box::new(self.registration(at)));
        let body =
            Body::Operation { id: Some(operation.clone()), state: RegistrationState::Assigned, registration };
        Ok(Reply { status: Status::OK, retry_after: RetryAfter::Absent, body })
    }

    fn lookup(&mut self, now: Moment, id: &str, evidence: &impl Evidence) -> Result<Reply, Refusal> {
        self.admit(now, id, evidence)?;
        let at = self.records.find(id).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        let mut registration = self.registration(at);
        if now < self.records.get_mut(at).ready_at {
            registration.state = Some(RegistrationState::Assigning);
            (registration.assigned_hub, registration.device_id) = (None, None);
        }
        let body = Body::Registration(Box::new(registration));
        Ok(Reply { status: Status::OK, retry_after: RetryAfter::Absent, body })
    }

    /// Finds the enrollment that answers for a device and checks the evidence against it.
    ///
    /// An individual enrollment goes first and is final: a device that fails it does not fall through to a group
    /// (`dps-protocol` 9.2, 14.3).
    fn admit(&self, now: Moment, id: &str, evidence: &impl Evidence) -> Result<EnrollmentRef, Refusal> {
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
                let requested = format!("{}/registrations/{id}", self.config.id_scope);
                if expires_unix_secs < unix_secs || !sas::covers(resource, &requested) {
                    return Err(unauthorized);
                }
                self.by_key(id, evidence).ok_or(unauthorized)
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
                    Some(EnrollmentRef::Individual(at))
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
        (0..).zip(&self.config.groups).filter_map(nearest).min().map(|(_, at)| EnrollmentRef::Group(at))
    }

    fn by_key(&self, id: &str, evidence: &impl Evidence) -> Option<EnrollmentRef> {
        let signed = |attestation: &Attestation, derived_for: Option<&str>| match attestation {
            Attestation::SymmetricKey { primary, secondary } => [Some(primary), secondary.as_ref()]
                .into_iter()
                .flatten()
                .any(|key| evidence.signed_with(key, derived_for)),
            Attestation::Leaf { .. } | Attestation::Signer { .. } => false,
        };
        if let Some(&at) = self.individuals.get(&id.to_ascii_lowercase()) {
            let attestation = &self.config.individuals[at as usize].enrollment.attestation;
            return signed(attestation, None).then_some(EnrollmentRef::Individual(at));
        }
        // The group that admitted the device last time very likely does again.
        let last = self.records.find(id).map(|at| self.records.enrollment(at));
        if let Some(EnrollmentRef::Group(at)) = last
            && signed(&self.config.groups[usize::from(at)].enrollment.attestation, Some(id))
        {
            return last;
        }
        let mut groups = (0..).zip(&self.config.groups);
        groups
            .find(|(_, group)| signed(&group.enrollment.attestation, Some(id)))
            .map(|(at, _)| EnrollmentRef::Group(at))
    }

    fn enrollment(&self, of: EnrollmentRef) -> &Enrollment {
        match of {
            EnrollmentRef::Individual(at) => &self.config.individuals[at as usize].enrollment,
            EnrollmentRef::Group(at) => &self.config.groups[usize::from(at)].enrollment,
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

    /// The id of a device's running or last operation. It is derived, not stored, and cannot be guessed.
    fn operation_id(&self, at: usize) -> OperationId {
        let count = self.records.registrations(at);
        let draw = |more| {
            self.config.seed.draw(Purpose::Tracking, at as u32, count.wrapping_mul(4).wrapping_add(more))
        };
        OperationId::usual(5, draw(0), u128::from(draw(1)) << 64 | u128::from(draw(2)))
    }

    fn assigning(&self, at: usize) -> Reply {
        let retry_after = self.config.retry_after_secs.map_or(RetryAfter::Absent, RetryAfter::Seconds);
        let id = Some(self.operation_id(at));
        let body = Body::Operation { id, state: RegistrationState::Assigning, registration: None };
        Reply { status: Status::ACCEPTED, retry_after, body }
    }

    fn registration(&mut self, at: usize) -> Registration {
        let calendar = self.config.calendar;
        let record = self.records.get_mut(at).clone();
        let id = record.registration_id.to_string();
        let (device_id, group, attestation) = match record.enrollment {
            EnrollmentRef::Individual(at) => {
                let individual = &self.config.individuals[at as usize];
                (individual.device_id.clone(), None, &individual.enrollment.attestation)
            }
            EnrollmentRef::Group(at) => {
                let group = &self.config.groups[usize::from(at)];
                (None, Some(group.id.clone()), &group.enrollment.attestation)
            }
        };
        let enrolment = match attestation {
            Attestation::SymmetricKey { .. } => Enrolment::SymmetricKey { group },
            Attestation::Leaf { .. } | Attestation::Signer { .. } => Enrolment::X509 { group },
        };
        let tag = self.config.seed.draw(
            Purpose::Tracking,
            at as u32,
            record.registrations.wrapping_mul(4).wrapping_add(3),
        );
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
            updated_unix_ns: Some(calendar.unix_nanos(record.updated.max(record.ready_at))),
            etag: Some(BASE64_STANDARD.encode(etag)),
            enrolment: Some(enrolment),
            payload: None,
        }
    }

    fn refuse(&mut self, now: Moment, request_id: u128, refusal: &Refusal) -> Reply {
        *self.counters.errors.entry(refusal.code).or_default() += 1;
        let error = ErrorBody {
            code: refusal.code,
            message: http::text_of(refusal.code).into(),
            tracking: request_id,
            unix_ns: self.config.calendar.unix_nanos(now),
        };
        // The first three digits of a code are its status (`dps-protocol` 5.1).
        let status = Status(u16::try_from(refusal.code / 1_000).unwrap_or(Status::INTERNAL_ERROR.0));
        Reply { status, retry_after: refusal.retry_after, body: Body::Error(error) }
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
