//! The service machine: the order of its checks is that of `dps` 17.1.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fleetstorm_protocol::enrollment::{Attestation, Enrollment, Group, Individual};
use fleetstorm_protocol::{OperationId, RegistrationId, Submission, code, http};
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::{Moment, Span};
use serde_json::Value;

use super::answer::{Answer, Answered, Handled, Query, Refusal, Ticket};
use super::chaos::Disturbance;
use super::config::{Config, ConfigError, Overlap};
use super::hub::Hubs;
use super::metrics::{MetricStatus, Metrics};
use super::placement::{Choice, Left, Special, WebhookAsk};
use super::record::{Caller, EnrollmentPlace, EnrollmentRef, Records};
use super::store::Book;
use super::throttle::Meter;
use super::tpm::Use;
use super::{Call, Evidence, Request, Token, TrustedCas};
use crate::chaos::Serving;

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

impl Counters {
    fn erred(&mut self, code: u32) {
        match self.errors.get_mut(&code) {
            Some(count) => *count += 1,
            None => drop(self.errors.insert(code, 1)),
        }
    }
}

/// What a request says beside what it asks for.
struct Form<'a> {
    api_version: &'a str,
    /// The payload for a webhook, as its JSON text.
    payload: Option<&'a str>,
}

static UNDISTURBED: Serving = Serving::USUAL;

/// A mock DPS instance.
#[derive(Debug)]
pub struct Service {
    pub(super) config: Config,
    pub(super) individuals: Book<Individual>,
    pub(super) groups: Book<Group>,
    /// What certificates must chain to, of groups and of the instance.
    pub(super) trusted: TrustedCas,
    /// What the names of the roster's devices begin with.
    roster_prefix: String,
    pub(super) records: Records,
    pub(super) hubs: Hubs,
    pub(super) registrations: Meter,
    pub(super) operations: Meter,
    /// What few devices have, by the place of their record.
    pub(super) special: BTreeMap<u32, Special>,
    /// What devices have as their twins at their hubs, by the place of their records; those without one are not here.
    pub(super) twins: BTreeMap<u32, Arc<Value>>,
    /// What devices left behind at their hubs when their registrations were deleted, by their names in lower case.
    pub(super) left: BTreeMap<Box<str>, Left>,
    /// Webhooks that are to be asked.
    pub(super) calls: VecDeque<WebhookAsk>,
    pub(super) counters: Counters,
    pub(super) metrics: Metrics,
    /// Counts answers; keys tracking ids and jitter.
    pub(super) answers: u32,
    /// Faults, if there are any.
    pub(super) disturbance: Option<Box<Disturbance>>,
}

impl Service {
    /// Starts an instance without registrations.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(mut config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let mut individuals = Book::new();
        for individual in std::mem::take(&mut config.individuals) {
            if individuals.find(&individual.registration_id).is_some() {
                return Err(ConfigError::Duplicate(individual.registration_id));
            }
            individuals.put(individual, Moment::START);
        }
        let mut groups = Book::new();
        for group in std::mem::take(&mut config.groups) {
            if groups.find(&group.id).is_some() {
                return Err(ConfigError::DuplicateGroup(group.id));
            }
            groups.put(group, Moment::START);
        }
        let mut service = Self {
            registrations: Meter::new(config.throttle.registrations),
            operations: Meter::new(config.throttle.operations),
            individuals,
            groups,
            trusted: TrustedCas::default(),
            roster_prefix: String::new(),
            records: Records::default(),
            hubs: Hubs::new(&config.hubs),
            special: BTreeMap::new(),
            twins: BTreeMap::new(),
            left: BTreeMap::new(),
            calls: VecDeque::new(),
            counters: Counters::default(),
            metrics: Metrics::default(),
            answers: 0,
            disturbance: None,
            config,
        };
        service.trust();
        Ok(service)
    }

    /// Looks up what certificates must chain to.
    pub(super) fn trust(&mut self) {
        let groups = self.groups.iter().flat_map(|(_, group)| match &group.enrollment.attestation {
            Attestation::Signer { primary, secondary } => [Some(primary), secondary.as_ref()],
            _ => [None, None],
        });
        let held = self.config.certificates.iter().map(|held| &held.certificate);
        self.trusted.replace(groups.flatten().chain(held));
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

    /// Whether device number `device` of the roster has registered.
    pub fn is_registered(&self, device: u32) -> bool {
        self.records.find(Caller::Numbered(device)).is_some()
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
            self.counters.erred(code);
            Answer::Refused { code, retry_after }
        });
        Answered { answer, delay }
    }

    /// Counts a refusal and puts it into words.
    pub(super) fn refused(&mut self, now: Moment, Refusal { code, retry_after }: Refusal) -> Handled {
        self.counters.erred(code);
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
        let [high, low] = self.config.seed.pair(Purpose::Tracking, 0, self.answers);
        u128::from(high) << 64 | u128::from(low)
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
            return self.judge(now, caller, query, form, evidence, (delay, &UNDISTURBED));
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
            Caller::Numbered(number) => roster_name(&self.roster_prefix, number).into(),
        }
    }

    /// How the device of a record is called.
    pub(super) fn name_at(&self, at: usize) -> Cow<'_, str> {
        // A record's place came from 32 bits.
        self.name(self.records.name(at).map_or(Caller::Numbered(at as u32), Caller::Named))
    }

    /// Whether evidence proves a device of this name. Nothing is asked for and nothing is counted.
    pub fn proves(&self, now: Moment, registration_id: &str, evidence: &impl Evidence) -> bool {
        self.admit(now, self.caller(registration_id), Use::Registration, evidence, &UNDISTURBED).is_ok()
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
        let admitted = self.admit(now, caller, Use::Registration, evidence, serving);
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
            Choice::Hub(hub) => self.assign(now, at, &name, hub, None),
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
        // Only its own polls use up a device's.
        self.admit(now, caller, Use::Registration, evidence, serving)?;
        if let Some(limit) = self.config.throttle.polls_per_window {
            let window = self.config.throttle.poll_window;
            if let Err(wait) = self.records.get_mut(at).admit_poll(now, limit, window) {
                return Err(self.throttled(now, wait));
            }
        }
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
        self.admit(now, caller, Use::Registration, evidence, serving)?;
        let at = self.records.find(caller).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        Ok(Answer::Known(self.ticket(at), now < self.records.get(at).ready_at))
    }

    /// The last registration of a device that has registered.
    pub(super) fn ticket(&self, at: usize) -> Ticket {
        // A record's place came from 32 bits.
        Ticket { record: at as u32, registration: self.records.get(at).registrations }
    }

    /// The enrollment, unless it has been deleted.
    pub(super) fn enrollment(&self, of: EnrollmentRef) -> Option<&Enrollment> {
        match of.place() {
            EnrollmentPlace::Individual(at) => self.individuals.get(at).map(|kept| &kept.value.enrollment),
            EnrollmentPlace::Group(at) => self.groups.get(at).map(|kept| &kept.value.enrollment),
        }
    }
}

/// A prefix and a number in six digits or more. It is spelled twice a registration, which `format!` is too slow for.
fn roster_name(prefix: &str, number: u32) -> String {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number);
    let mut name = String::with_capacity(prefix.len() + digits.len().max(6));
    name.push_str(prefix);
    name.push_str(&"000000"[..6usize.saturating_sub(digits.len())]);
    name.push_str(digits);
    name
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
