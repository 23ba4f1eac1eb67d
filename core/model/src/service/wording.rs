//! The service's answers in words: what [`Answer`] says as a [`Reply`], and the ids and tags in it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_protocol::enrollment::Attestation;
use fleetstorm_protocol::{
    ApiVersion, Body, Enrolment, ErrorBody, OperationId, Registration, RegistrationState, Reply, RetryAfter,
    Status, code, http,
};
use fleetstorm_units::time::{Moment, Span};

use super::Evidence;
use super::answer::{Answer, Handled, Refusal, Ticket};
use super::machine::Service;
use super::record::EnrollmentPlace;
use super::tpm::Use;

impl Service {
    /// Puts an answer into words. What is sealed to a TPM takes evidence to make, and is left empty.
    pub fn reply(&self, now: Moment, answer: &Answer) -> Reply {
        let error = |code| self.error(now, code);
        let id = |ticket| Some(self.registrations.operation_id(ticket));
        self.spell(answer, error, id, |ticket, assigning| self.known(now, ticket, assigning))
    }

    /// The same answer as far as a device acts on it: without what only people read (ids for tracking and of operations
    /// that have ended, texts, names, tags, times), which takes longer to make than the answer takes to find.
    pub fn gist(&self, answer: &Answer) -> Reply {
        let error = |code| ErrorBody { code, message: "".into(), tracking: 0, unix_ns: 0 };
        self.spell(answer, error, |_| None, |ticket, assigning| self.outline(ticket, assigning))
    }

    fn spell(
        &self,
        answer: &Answer,
        error: impl Fn(u32) -> ErrorBody,
        ended_id: impl Fn(Ticket) -> Option<OperationId>,
        told: impl Fn(Ticket, bool) -> Registration,
    ) -> Reply {
        let ended = |ticket, state| {
            let registration = Some(Box::new(told(ticket, false)));
            let body = Body::Operation { id: ended_id(ticket), state, registration };
            Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
        };
        match *answer {
            Answer::Refused { code, retry_after } => refusal(error(code), retry_after),
            Answer::Disabled => {
                let body =
                    Body::Operation { id: None, state: RegistrationState::Disabled, registration: None };
                Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
            }
            Answer::Assigning(ticket) => self.assigning(ticket),
            Answer::Assigned(ticket) => ended(ticket, RegistrationState::Assigned),
            Answer::Failed(ticket) => ended(ticket, RegistrationState::Failed),
            Answer::Known(ticket, assigning) => {
                let body = Body::Registration(Box::new(told(ticket, assigning)));
                Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
            }
            Answer::Challenged { .. } => {
                let body = Body::Challenge(Box::default());
                Reply { status: Status::UNAUTHORIZED, retry_after: RetryAfter::Absent, body }
            }
        }
    }

    /// Adds what only some versions tell (`dps` 18.1): the certificates, to the device that asked for them and is assigned,
    /// and how its hub speaks.
    pub(super) fn tell_by_version(&self, version: ApiVersion, answer: &Answer, reply: &mut Reply) {
        let device = version.device();
        let registration = match &mut reply.body {
            Body::Operation { registration: Some(registration), .. } | Body::Registration(registration) => {
                registration
            }
            _ => return,
        };
        let (Answer::Assigned(ticket) | Answer::Known(ticket, false)) = *answer else { return };
        let at = ticket.record as usize;
        if device.profiles && registration.assigned_hub.is_some() {
            registration.connection_profile = self.hub_profile(at);
        }
        if let (true, Answer::Assigned(_), Some(chain)) =
            (device.issues, answer, self.registrations.issued(at))
        {
            registration.issued_chain = chain.to_vec();
        }
    }

    /// `connectionProfile` of the hub that a registration has.
    pub(super) fn hub_profile(&self, at: usize) -> Option<String> {
        self.hubs.get(self.registrations.get(at).hub)?.profile.clone()
    }

    fn assigning(&self, ticket: Ticket) -> Reply {
        let retry_after = self.retry_after_secs.map_or(RetryAfter::Absent, RetryAfter::Seconds);
        let id = Some(self.registrations.operation_id(ticket));
        let body = Body::Operation { id, state: RegistrationState::Assigning, registration: None };
        Reply { status: Status::ACCEPTED, retry_after, body }
    }

    /// What is known of a device's registration at this time.
    pub(super) fn registration(&self, at: usize, now: Moment) -> Registration {
        self.known(now, self.registrations.ticket(at), self.registrations.is_assigning(at, now))
    }

    /// What is known of a registration, of which an answer has said whether it is still under way.
    fn known(&self, now: Moment, ticket: Ticket, assigning: bool) -> Registration {
        let calendar = self.calendar;
        let at = ticket.record as usize;
        let record = self.registrations.get(at);
        let id = self.registrations.name_at(at).into_owned();
        let (device_id, group, attestation) = match record.enrollment.place() {
            EnrollmentPlace::Individual(at) => match self.enrollments.individual(at) {
                Some(known) => (known.device_id.clone(), None, Some(&known.enrollment.attestation)),
                None => (None, None, None),
            },
            EnrollmentPlace::Group(at) => match self.enrollments.group(at) {
                Some(group) => (None, Some(group.id.clone()), Some(&group.enrollment.attestation)),
                None => (None, None, None),
            },
        };
        let enrolment = attestation.map(|attestation| match attestation {
            Attestation::SymmetricKey { .. } => Enrolment::SymmetricKey { group },
            Attestation::Leaf { .. } | Attestation::Signer { .. } | Attestation::CaReference { .. } => {
                Enrolment::X509 { group }
            }
            Attestation::Tpm { .. } => Enrolment::Tpm { authentication_key: Box::default() },
        });
        let outline = self.outline(ticket, assigning);
        Registration {
            // A device is known to the hub that it has.
            device_id: outline.assigned_hub.is_some().then(|| device_id.unwrap_or_else(|| id.clone())),
            registration_id: id,
            created_unix_ns: Some(calendar.unix_nanos(record.created)),
            updated_unix_ns: Some(calendar.unix_nanos(record.ready_at.min(now))),
            etag: Some(BASE64_STANDARD.encode(self.registrations.tag(ticket))),
            enrolment,
            ..outline
        }
    }

    /// What a device acts on of what is known of a registration.
    fn outline(&self, ticket: Ticket, assigning: bool) -> Registration {
        if assigning {
            return Registration { state: Some(RegistrationState::Assigning), ..Registration::default() };
        }
        let at = ticket.record as usize;
        let record = self.registrations.get(at);
        let mut registration = Registration {
            state: Some(RegistrationState::Assigned),
            substatus: Some(record.substatus),
            assigned_hub: Some(self.hubs.host(record.hub).to_owned()),
            ..Registration::default()
        };
        registration.payload = self.registrations.payload(at).cloned();
        if let Some(failure) = self.registrations.failure(at) {
            registration.state = Some(RegistrationState::Failed);
            registration.error_code = Some(failure.code);
            registration.error_message = Some(failure.message.clone());
            registration.substatus = None;
            registration.assigned_hub = None;
        }
        registration
    }

    /// Counts a refusal and puts it into words.
    pub(super) fn refused(&mut self, now: Moment, Refusal { code, retry_after }: Refusal) -> Handled {
        self.counters.erred(code);
        let reply = self.refuse(now, code, retry_after);
        Handled { reply, delay: Span::ZERO, request_id: self.numbers.request_id() }
    }

    /// Fills in what takes evidence to make: the challenge, or the key for the hub that comes with an assignment.
    pub(super) fn seal(
        &mut self,
        now: Moment,
        answer: &Answer,
        mut handled: Handled,
        evidence: &impl Evidence,
    ) -> Handled {
        match *answer {
            Answer::Challenged { individual } => {
                let named = evidence.tpm().and_then(|keys| keys.storage_root_key);
                match self.enrollments.seal(individual, Use::Registration, named.as_deref(), evidence) {
                    Some(challenge) => handled.reply.body = Body::Challenge(challenge),
                    // A storage root key that is none.
                    None => {
                        let refused = self.refused(now, Refusal::new(code::UNAUTHORIZED));
                        return Handled { delay: handled.delay, ..refused };
                    }
                }
            }
            Answer::Assigned(ticket) | Answer::Known(ticket, false) => {
                if let Body::Operation { registration: Some(registration), .. }
                | Body::Registration(registration) = &mut handled.reply.body
                    && let Some(Enrolment::Tpm { authentication_key }) = &mut registration.enrolment
                {
                    *authentication_key =
                        self.key_for_hub(ticket.record as usize, evidence).unwrap_or_default();
                }
            }
            _ => {}
        }
        handled
    }

    fn key_for_hub(&self, at: usize, evidence: &impl Evidence) -> Option<Box<[u8]>> {
        let EnrollmentPlace::Individual(individual) = self.registrations.get(at).enrollment.place() else {
            return None;
        };
        self.enrollments.seal(individual, Use::Hub, self.registrations.storage_root_key(at), evidence)
    }

    fn refuse(&self, now: Moment, code: u32, retry_after: RetryAfter) -> Reply {
        refusal(self.error(now, code), retry_after)
    }

    fn error(&self, now: Moment, code: u32) -> ErrorBody {
        ErrorBody {
            code,
            message: http::text_of(code).into(),
            tracking: self.numbers.request_id(),
            unix_ns: self.calendar.unix_nanos(now),
        }
    }
}

fn refusal(error: ErrorBody, retry_after: RetryAfter) -> Reply {
    Reply { status: Status(code::status(error.code)), retry_after, body: Body::Error(error) }
}

#[cfg(test)]
#[path = "tpm_tests.rs"]
mod tests;
