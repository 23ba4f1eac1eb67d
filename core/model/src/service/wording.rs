//! The service's answers in words: what [`Answer`] says as a [`Reply`], and the ids and tags in it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_protocol::enrollment::Attestation;
use fleetstorm_protocol::{
    Body, Enrolment, ErrorBody, OperationId, Registration, RegistrationState, Reply, RetryAfter, Status,
    code, http,
};
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::Moment;

use super::answer::{Answer, Ticket};
use super::machine::Service;
use super::record::EnrollmentPlace;

impl Service {
    /// Puts an answer into words. What is sealed to a TPM takes evidence to make, and is left empty.
    pub fn reply(&self, now: Moment, answer: &Answer) -> Reply {
        let error = |code| self.error(now, code);
        let id = |ticket| Some(self.operation_id(ticket));
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
            etag: Some(BASE64_STANDARD.encode(self.tag(ticket))),
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
        let record = self.records.get(at);
        let mut registration = Registration {
            state: Some(RegistrationState::Assigned),
            substatus: Some(record.substatus),
            assigned_hub: Some(self.config.hubs[usize::from(record.hub)].host.clone()),
            ..Registration::default()
        };
        self.tell_special(at, &mut registration);
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

    /// The id of a registration's operation. It is derived, not stored, and cannot be guessed.
    pub(super) fn operation_id(&self, ticket: Ticket) -> OperationId {
        let draw = |more| self.tracking(ticket, more);
        OperationId::usual(5, draw(0), u128::from(draw(1)) << 64 | u128::from(draw(2)))
    }

    fn tracking(&self, ticket: Ticket, more: u32) -> u64 {
        let count = ticket.registration.wrapping_mul(4).wrapping_add(more);
        self.config.seed.draw(Purpose::Operation, ticket.record, count)
    }

    pub(super) fn refuse(&self, now: Moment, code: u32, retry_after: RetryAfter) -> Reply {
        refusal(self.error(now, code), retry_after)
    }

    fn error(&self, now: Moment, code: u32) -> ErrorBody {
        ErrorBody {
            code,
            message: http::text_of(code).into(),
            tracking: self.request_id(),
            unix_ns: self.config.calendar.unix_nanos(now),
        }
    }
}

fn refusal(error: ErrorBody, retry_after: RetryAfter) -> Reply {
    Reply { status: Status(code::status(error.code)), retry_after, body: Body::Error(error) }
}
