//! The service machine: the order of its checks is that of `dps` 17.1.

use std::collections::VecDeque;

use fleetstorm_protocol::{ApiVersion, OperationId, RegistrationId, Submission, code};
use fleetstorm_units::time::{Calendar, Moment, Span};

use super::access::AccessPolicy;
use super::admission::Claim;
use super::answer::{Answer, Answered, Handled, Query, Refusal};
use super::chaos::Disturbance;
use super::config::{Config, ConfigError, Overlap};
use super::counters::{Counters, Numbers};
use super::enrollments::Enrollments;
use super::hub::Hubs;
use super::issuer::{Applicant, Issuer};
use super::metrics::{MetricStatus, Metrics};
use super::outage::Outages;
use super::placement::{Candidate, Choice, Chosen, Placement};
use super::quota::Quotas;
use super::record::{Caller, EnrollmentRef};
use super::registrations::Registrations;
use super::renewal::Renewals;
use super::throttle::Verdict;
use super::tpm::Use;
use super::webhook::WebhookAsk;
use super::{Call, Evidence, Request, Token};
use crate::chaos::{Naming, Rules, Serving};

/// What a request says beside what it asks for.
struct Form<'a> {
    api_version: ApiVersion,
    /// The payload for a webhook, as its JSON text.
    payload: Option<&'a str>,
    /// The request for a certificate, as its JSON text, in a version that has it.
    csr: Option<&'a str>,
}

/// A request that is understood, with who sends it.
struct Asked<'a, E> {
    now: Moment,
    caller: Caller<'a>,
    query: Query<'a>,
    /// A mistake in the body is named after the quota.
    form: Result<Form<'a>, Refusal>,
    evidence: &'a E,
}

/// What comes of a request.
struct Judged {
    answer: Result<Answer, Refusal>,
    /// How long it is held.
    delay: Span,
}

impl Judged {
    const fn at_once(answer: Result<Answer, Refusal>) -> Self {
        Self { answer, delay: Span::ZERO }
    }
}

static UNDISTURBED: Serving = Serving::USUAL;

/// A mock DPS instance: its parts own their state, and it keeps the order in which they are asked.
#[derive(Debug)]
pub struct Service {
    id_scope: String,
    /// Who may use the enrollment API.
    pub(super) access: Vec<AccessPolicy>,
    overlap: Overlap,
    /// `Retry-After` of a 202.
    pub(super) retry_after_secs: Option<u32>,
    pub(super) calendar: Calendar,
    pub(super) enrollments: Enrollments,
    pub(super) registrations: Registrations,
    quotas: Quotas,
    outages: Outages,
    pub(super) hubs: Hubs,
    pub(super) placement: Placement,
    /// Webhooks that are to be asked.
    pub(super) webhooks: VecDeque<WebhookAsk>,
    pub(super) issuer: Issuer,
    pub(super) renewals: Renewals,
    /// Faults, if there are any.
    pub(super) disturbance: Option<Box<Disturbance>>,
    pub(super) numbers: Numbers,
    pub(super) counters: Counters,
    pub(super) metrics: Metrics,
}

impl Service {
    /// Starts an instance without registrations.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_roster(config, "", 0)
    }

    /// Starts an instance that knows `devices` devices by their number; their names are `prefix` and the number in
    /// six digits or more. It treats them as any other device, and [`Service::ask`] need not spell them.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn with_roster(config: Config, prefix: &str, devices: u32) -> Result<Self, ConfigError> {
        config.check()?;
        let Config { seed, calendar, .. } = config;
        Ok(Self {
            id_scope: config.id_scope,
            access: config.access,
            overlap: config.overlap,
            retry_after_secs: config.retry_after_secs,
            calendar,
            enrollments: Enrollments::new(
                config.individuals,
                config.groups,
                config.certificates,
                seed,
                calendar,
            )?,
            registrations: Registrations::of_roster(prefix, devices, seed),
            quotas: Quotas::new(&config.throttle, seed, calendar),
            outages: Outages::new(config.outages, seed),
            hubs: Hubs::new(config.hubs, seed, calendar),
            placement: Placement {
                policy: config.allocation,
                regions: config.regions,
                assignment: config.assignment,
                seed,
            },
            webhooks: VecDeque::new(),
            renewals: Renewals::new(config.issuance.renewal, seed, calendar),
            issuer: Issuer::new(config.issuance, seed, calendar),
            disturbance: None,
            numbers: Numbers::new(seed),
            counters: Counters::default(),
            metrics: Metrics::default(),
        })
    }

    /// Makes the service obey faults, which know devices by the numbers that `naming` gives them.
    pub fn disturb(&mut self, rules: Rules, naming: Naming) {
        self.disturbance = Some(Box::new(Disturbance::new(rules, naming)));
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
        self.registrations.len()
    }

    /// Whether device number `device` of the roster has registered.
    pub fn is_registered(&self, device: u32) -> bool {
        self.registrations.find(Caller::Numbered(device)).is_some()
    }

    /// The time of day at a moment, in nanoseconds since the Unix epoch.
    pub fn unix_nanos(&self, at: Moment) -> u64 {
        self.calendar.unix_nanos(at)
    }

    /// The id scope, for what a door says of itself.
    pub fn id_scope(&self) -> &str {
        &self.id_scope
    }

    /// Answers a request.
    pub fn handle(&mut self, now: Moment, request: &Request<'_>, evidence: &impl Evidence) -> Handled {
        self.begin();
        let judged = match self.understand(request) {
            Ok((query, form)) => {
                let caller = self.registrations.caller(request.registration_id);
                self.attend(Asked { now, caller, query, form, evidence })
            }
            Err(refusal) => Judged::at_once(Err(refusal)),
        };
        let Answered { answer, delay } = self.end(judged);
        let mut reply = self.reply(now, &answer);
        if let Some(version) = request.api_version.and_then(ApiVersion::of) {
            self.tell_by_version(version, &answer, &mut reply);
        }
        let handled = Handled { reply, delay, request_id: self.numbers.request_id() };
        self.seal(now, &answer, handled, evidence)
    }

    /// Answers device number `device` of the roster, whose request is well formed, of this version, and names this
    /// instance. A device beyond the roster is unknown.
    pub fn ask(
        &mut self,
        now: Moment,
        device: u32,
        api_version: ApiVersion,
        query: Query<'_>,
        evidence: &impl Evidence,
    ) -> Answered {
        self.begin();
        if device as usize >= self.registrations.roster() {
            return self.end(Judged::at_once(Err(Refusal::new(code::UNAUTHORIZED))));
        }
        let numbered = Caller::Numbered(device);
        let name;
        let caller = if self.registrations.is_numbered(device) {
            numbered
        } else {
            name = self.registrations.name(numbered);
            Caller::Named(&name)
        };
        let form = Ok(Form { api_version, payload: None, csr: None });
        let judged = self.attend(Asked { now, caller, query, form, evidence });
        self.end(judged)
    }

    /// Takes up a request.
    fn begin(&mut self) {
        self.numbers.next();
        self.counters.requests += 1;
    }

    /// Closes the request in hand.
    fn end(&mut self, Judged { answer, delay }: Judged) -> Answered {
        let answer = answer.unwrap_or_else(|Refusal { code, retry_after }| {
            self.counters.erred(code);
            Answer::Refused { code, retry_after }
        });
        Answered { answer, delay }
    }

    /// What a request asks for, and whether its body is in order: a mistake in the body is named after the quota.
    fn understand<'r>(
        &self,
        request: &'r Request<'_>,
    ) -> Result<(Query<'r>, Result<Form<'r>, Refusal>), Refusal> {
        let (query, submission) = match &request.call {
            Call::NoSuchPath => return Err(Refusal::new(code::NOT_FOUND)),
            Call::WrongMethod => return Err(Refusal::new(code::METHOD_NOT_ALLOWED)),
            Call::Register(submission) => (Query::Register, Some(submission)),
            Call::Lookup(submission) => (Query::Lookup, Some(submission)),
            Call::Poll(id) => (Query::Poll(id), None),
        };
        let api_version = request.api_version.and_then(ApiVersion::of);
        let api_version = api_version.ok_or(Refusal::new(code::BAD_REQUEST))?;
        if !request.id_scope.eq_ignore_ascii_case(&self.id_scope) {
            return Err(Refusal::new(code::NOT_FOUND));
        }
        let form = match submission {
            Some(submission) => check(api_version, submission, request.registration_id).and_then(|form| {
                // A lookup asks for what there is (`dps` 18.1).
                let is_lookup = matches!(query, Query::Lookup) && form.csr.is_some();
                if is_lookup { Err(Refusal::new(code::BAD_FORMAT)) } else { Ok(form) }
            }),
            None => Ok(Form { api_version, payload: None, csr: None }),
        };
        Ok((query, form))
    }

    /// Judges a request, as far as faults let it.
    fn attend(&mut self, asked: Asked<'_, impl Evidence>) -> Judged {
        let Asked { now, caller, query, .. } = asked;
        if let Some(code) = self.outages.struck(now, self.numbers.last()) {
            return Judged::at_once(Err(Refusal::new(code)));
        }
        let calendar = self.calendar;
        let serving = self
            .disturbance
            .as_mut()
            .and_then(|disturbance| disturbance.serve(now, caller, query, calendar.unix_secs(now)));
        let Some(serving) = serving else {
            return self.judge(asked, &UNDISTURBED);
        };
        let Judged { answer, delay } = match serving.answered(query) {
            Ok(None) => self.judge(asked, &serving),
            Ok(Some(answer)) => Judged::at_once(Ok(answer)),
            Err(refusal) => Judged::at_once(Err(refusal)),
        };
        if let (Query::Register, Ok(Answer::Assigning(ticket))) = (query, &answer) {
            self.hold(&serving, ticket.record as usize);
        }
        Judged { answer, delay: serving.delayed(delay) }
    }

    /// What a fault lets the service do with an accepted registration.
    fn hold(&mut self, serving: &Serving, at: usize) {
        if let Some(code) = serving.failed {
            self.registrations.fail(at, code);
        }
        if serving.held > Span::ZERO {
            let ready_at = self.registrations.get(at).ready_at;
            let held = if serving.held == Span::MAX { Moment::FAR } else { ready_at + serving.held };
            self.registrations.ready(at, held);
        }
    }

    fn judge(&mut self, asked: Asked<'_, impl Evidence>, serving: &Serving) -> Judged {
        if let Query::Poll(id) = asked.query {
            return Judged::at_once(self.poll(&asked, id, serving));
        }
        // Registrations and status lookups count.
        let delay = match self.quotas.registrations.admit_share(asked.now, serving.quota) {
            Verdict::Admit { delay } => delay,
            Verdict::Reject { until_token } => {
                return Judged::at_once(Err(self.throttled(asked.now, until_token)));
            }
        };
        let answer = match (&asked.form, asked.query) {
            (Ok(form), Query::Register) => self.register(&asked, form, serving),
            (Ok(_), Query::Lookup | Query::Poll(_)) => self.lookup(&asked, serving),
            (Err(refusal), _) => Err(*refusal),
        };
        Judged { answer, delay }
    }

    /// Counts one operation of the service API against its own quota (`dps` 11.1): how long a shaping queue
    /// holds it, or the answer that refuses it.
    ///
    /// # Errors
    /// The quota is used up.
    pub fn admit_operation(&mut self, now: Moment) -> Result<Span, Box<Handled>> {
        self.begin();
        if let Some(code) = self.outages.struck(now, self.numbers.last()) {
            return Err(Box::new(self.refused(now, Refusal::new(code))));
        }
        match self.quotas.operations.admit(now) {
            Verdict::Admit { delay } => Ok(delay),
            Verdict::Reject { until_token } => {
                let refusal = self.throttled(now, until_token);
                Err(Box::new(self.refused(now, refusal)))
            }
        }
    }

    fn throttled(&mut self, now: Moment, until_token: Span) -> Refusal {
        self.counters.throttled += 1;
        self.quotas.refusal(now, until_token, self.numbers.last())
    }

    /// Finds the enrollment that answers for a device, if the evidence satisfies it.
    pub(super) fn admit(
        &self,
        now: Moment,
        caller: Caller<'_>,
        what: Use,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Result<EnrollmentRef, Refusal> {
        let unix_ns = self.calendar.unix_nanos(now).saturating_add_signed(serving.clock_offset_ns);
        let claim = Claim {
            caller,
            id: &self.registrations.name(caller),
            what,
            evidence,
            id_scope: &self.id_scope,
            unix_secs: unix_ns / 1_000_000_000,
            primary_refused: serving.primary_refused,
        };
        self.enrollments.admit(&claim, &self.registrations)
    }

    /// Whether evidence proves a device of this name. Nothing is asked for and nothing is counted.
    pub fn proves(&self, now: Moment, registration_id: &str, evidence: &impl Evidence) -> bool {
        let caller = self.registrations.caller(registration_id);
        self.admit(now, caller, Use::Registration, evidence, &UNDISTURBED).is_ok()
    }

    fn register(
        &mut self,
        asked: &Asked<'_, impl Evidence>,
        form: &Form<'_>,
        serving: &Serving,
    ) -> Result<Answer, Refusal> {
        let Asked { now, caller, evidence, .. } = *asked;
        self.hubs.advance(now);
        if evidence.certificate().is_none()
            && evidence.token() == Token::Absent
            && let Some(challenge) =
                self.enrollments.challenge(caller, &self.registrations, evidence).transpose()
        {
            if challenge.is_err() {
                self.metrics.attested(now, evidence.transport(), false);
            }
            return challenge;
        }
        let admitted = self.admit(now, caller, Use::Registration, evidence, serving);
        self.metrics.attested(now, evidence.transport(), admitted.is_ok());
        let of = admitted?;
        let Some(enrollment) = self.enrollments.of(of).filter(|enrollment| enrollment.enabled) else {
            self.metrics.refused(now, MetricStatus::Disabled);
            return Ok(Answer::Disabled);
        };
        // Before there is a record: a request that is not in order leaves nothing behind.
        let wanted = match form.csr {
            Some(csr) => {
                let name = &self.registrations.name(caller);
                let policy = enrollment.policy.as_ref();
                self.issuer.want(now, &Applicant { name, policy, evidence }, csr)?
            }
            None => None,
        };
        let at = self.registrations.entry(caller, now);
        let running = self.registrations.get(at);
        if running.registrations > 0 && now < running.ready_at {
            match self.overlap {
                Overlap::Conflict => return Err(Refusal::new(code::REGISTRATION_CONFLICT)),
                Overlap::Reuse => return Ok(Answer::Assigning(self.registrations.ticket(at))),
            }
        }
        let name = self.registrations.name(caller);
        let had = (serving.flipped && running.registrations > 0).then(|| self.hubs.host(running.hub));
        // Before the record says that it was asked again: the choice depends on what it was before.
        let candidate = Candidate {
            name: &name,
            enrollment,
            current: self.registrations.current_hub(at),
            keeps_hub: form.api_version.device().keeps_hub,
            unlinked: serving.without_hub.as_deref().or(had),
        };
        let choice = self.placement.choose(&self.hubs, &candidate);
        self.registrations.begin(at, of, wanted);
        match choice {
            Choice::Hub(hub) => self.assign(now, at, &name, Chosen { hub, initial_twin: None }),
            Choice::Webhook => self.ask_webhook(at, &name, form.payload),
        }
        if let Some(key) = self.enrollments.storage_root_key(of, evidence) {
            self.registrations.keep_storage_root_key(at, key);
        }
        self.counters.accepted += 1;
        if serving.raced {
            // That was the other device.
            return Err(Refusal::new(code::REGISTRATION_CONFLICT));
        }
        Ok(Answer::Assigning(self.registrations.ticket(at)))
    }

    fn poll(
        &mut self,
        asked: &Asked<'_, impl Evidence>,
        operation: &OperationId,
        serving: &Serving,
    ) -> Result<Answer, Refusal> {
        let Asked { now, caller, evidence, .. } = *asked;
        let at = self.registrations.find(caller).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        // Only its own polls use up a device's.
        self.admit(now, caller, Use::Registration, evidence, serving)?;
        if let Err(wait) = self.registrations.admit_poll(at, now, self.quotas.polls) {
            return Err(self.throttled(now, wait));
        }
        let ticket = self.registrations.ticket(at);
        if self.registrations.operation_id(ticket) != *operation {
            return Err(Refusal::new(code::REGISTRATION_NOT_FOUND));
        }
        if self.registrations.is_assigning(at, now) {
            return Ok(Answer::Assigning(ticket));
        }
        if self.registrations.failure(at).is_some() {
            self.counters.failed += 1;
            return Ok(Answer::Failed(ticket));
        }
        self.counters.assigned += 1;
        Ok(Answer::Assigned(ticket))
    }

    fn lookup(&mut self, asked: &Asked<'_, impl Evidence>, serving: &Serving) -> Result<Answer, Refusal> {
        let Asked { now, caller, evidence, .. } = *asked;
        self.admit(now, caller, Use::Registration, evidence, serving)?;
        let at = self.registrations.find(caller).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))?;
        let ticket = self.registrations.ticket(at);
        Ok(Answer::Known(ticket, self.registrations.is_assigning(at, now)))
    }
}

/// Media type, JSON and ids (17.1, check 5). What a version does not have is not seen.
fn check<'a>(
    api_version: ApiVersion,
    submission: &Submission<'a>,
    path_id: &str,
) -> Result<Form<'a>, Refusal> {
    match submission {
        Submission::WrongMediaType => Err(Refusal::new(code::UNSUPPORTED_MEDIA_TYPE)),
        Submission::Unreadable => Err(Refusal::new(code::BAD_FORMAT)),
        Submission::Read { registration_id, csr, payload } => {
            let same = registration_id.as_deref().is_none_or(|id| id.eq_ignore_ascii_case(path_id));
            if same && RegistrationId::new(path_id).is_ok() {
                let csr = csr.filter(|_| api_version.device().issues);
                Ok(Form { api_version, payload: *payload, csr })
            } else {
                Err(Refusal::new(code::BAD_FORMAT))
            }
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
