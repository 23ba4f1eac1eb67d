//! The desk that serves operators: who may do what, ETags, pages.

mod completion;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use completion::KeySource;
use fleetstorm_protocol::certificate::{CertificateInfo, Certificates};
use fleetstorm_protocol::enrollment::{Attestation, Group, Individual};
use fleetstorm_protocol::enrollment_api::{
    Administered, BULK_MAX, Bulk, BulkError, BulkMode, Call, Content, Document, Draft, Enrolled, Kind, Page,
    Request, Resource,
};
use fleetstorm_protocol::{ApiVersion, Body, Enrolment, Registration, RetryAfter, ServiceApi, Status, code};
use fleetstorm_units::time::{Moment, Span};

use crate::service::access::Permission;
use crate::service::answer::Refusal;
use crate::service::machine::Service;
use crate::service::record::{EnrollmentPlace, EnrollmentRef};
use crate::service::{Evidence, Resource as TokenResource, Token};

/// Items of a page whose request names no number, and the most that a page has.
const PAGE_USUAL: usize = 100;
const PAGE_MAX: usize = 1_000;

impl Service {
    /// Answers a request to the enrollment API. It counts against the quota of operations.
    pub fn administer(
        &mut self,
        now: Moment,
        request: &Request<'_>,
        evidence: &impl Evidence,
        certificates: &impl Certificates,
    ) -> Administered {
        let mut delay = Span::ZERO;
        let refused = match self.authorize(now, request, evidence) {
            Err(refusal) => {
                self.numbers.next();
                self.counters.requests += 1;
                refusal
            }
            Ok(policy) => match self.admit_operation(now) {
                Err(handled) => return (*handled).into(),
                Ok(held) => {
                    delay = held;
                    let api = ServiceApi::of(request.api_version);
                    let served = self
                        .permit(policy, &request.call)
                        .and_then(|()| Desk { service: self, now, certificates, api }.serve(request));
                    match served {
                        Ok((status, content)) => {
                            let request_id = self.numbers.request_id();
                            let retry_after = RetryAfter::Absent;
                            return Administered { status, retry_after, content, delay, request_id };
                        }
                        Err(refusal) => refusal,
                    }
                }
            },
        };
        Administered { delay, ..self.refused(now, refused).into() }
    }

    /// The policy that the request's token is of, once everything about the request line and the token holds.
    fn authorize(
        &self,
        now: Moment,
        request: &Request<'_>,
        evidence: &impl Evidence,
    ) -> Result<usize, Refusal> {
        match request.call {
            Call::NoSuchPath => return Err(Refusal::new(code::NOT_FOUND)),
            Call::WrongMethod => return Err(Refusal::new(code::METHOD_NOT_ALLOWED)),
            _ => {}
        }
        if request.api_version.and_then(ApiVersion::of).and_then(ApiVersion::service).is_none() {
            return Err(Refusal::new(code::BAD_REQUEST));
        }
        let unauthorized = || Refusal::new(code::UNAUTHORIZED);
        let Token::Claims { resource: TokenResource::Spelled(resource), expires_unix_secs } =
            evidence.token()
        else {
            return Err(unauthorized());
        };
        let expired = expires_unix_secs < self.calendar.unix_secs(now);
        if expired || !resource.eq_ignore_ascii_case(request.host) {
            return Err(unauthorized());
        }
        let named = evidence.policy();
        let policy = self.access.iter().position(|policy| policy.name.eq_ignore_ascii_case(named));
        policy
            .filter(|&at| {
                let policy = &self.access[at];
                let mut keys = std::iter::once(&policy.primary).chain(&policy.secondary);
                keys.any(|key| evidence.signed_with(key, None))
            })
            .ok_or_else(unauthorized)
    }

    /// Whether the policy allows the call; a policy that lacks a permission is a 401 too (`dps` 16.4).
    fn permit(&self, policy: usize, call: &Call<'_>) -> Result<(), Refusal> {
        let needed = match call {
            Call::Get(..) | Call::Mechanism(..) | Call::Query(..) => Permission::EnrollmentRead,
            Call::Put(..) | Call::Delete(..) | Call::Bulk(..) => Permission::EnrollmentWrite,
            Call::GetRegistration(_) | Call::QueryRegistrations(..) => Permission::RegistrationStatusRead,
            Call::DeleteRegistration(_) => Permission::RegistrationStatusWrite,
            Call::WrongMethod | Call::NoSuchPath => return Ok(()),
        };
        match self.access[policy].permissions.contains(&needed) {
            true => Ok(()),
            false => Err(Refusal::new(code::UNAUTHORIZED)),
        }
    }
}

/// What serves a request.
struct Desk<'a, C> {
    service: &'a mut Service,
    now: Moment,
    certificates: &'a C,
    /// What the version of the request has.
    api: ServiceApi,
}

impl<C: Certificates> Desk<'_, C> {
    fn serve(&mut self, request: &Request<'_>) -> Result<(Status, Content), Refusal> {
        let content = match &request.call {
            Call::Get(kind, id) => Content::Resource(Box::new(self.show(*kind, id)?)),
            Call::Put(kind, id, document) => {
                let draft = read(document)?;
                if !draft.id.eq_ignore_ascii_case(id) {
                    return Err(Refusal::new(code::BAD_FORMAT));
                }
                let exists = match request.if_match {
                    Some(_) => Precondition::of(request.if_match),
                    None => Precondition::Absent,
                };
                self.put(*kind, draft, exists)?;
                Content::Resource(Box::new(self.show(*kind, id)?))
            }
            Call::Delete(kind, id) => {
                self.delete(*kind, id, Precondition::of(request.if_match))?;
                return Ok((Status::NO_CONTENT, Content::Empty));
            }
            Call::Mechanism(kind, id) => {
                let resource = self.show(*kind, id)?;
                let attestation = match resource.value {
                    Enrolled::Individual(individual) => individual.enrollment.attestation,
                    Enrolled::Group(group) => group.enrollment.attestation,
                };
                Content::Mechanism(Box::new((attestation, resource.certificates)))
            }
            Call::Bulk(kind, document) => Content::Bulk(*kind, self.bulk(*kind, read(document)?)?),
            Call::Query(kind, query, page) => {
                read(query)?;
                let (resources, next) = self.page(*kind, page)?;
                Content::Resources(*kind, resources, next)
            }
            Call::GetRegistration(id) => {
                let at = self.find_registration(id)?;
                Content::Registration(Box::new(self.registration(at)))
            }
            Call::DeleteRegistration(id) => {
                self.delete_registration(id, Precondition::of(request.if_match))?;
                return Ok((Status::NO_CONTENT, Content::Empty));
            }
            Call::QueryRegistrations(group, query, page) => {
                read(query)?;
                let (registrations, next) = self.registrations_page(group, page)?;
                Content::Registrations(registrations, next)
            }
            Call::WrongMethod | Call::NoSuchPath => return Err(Refusal::new(code::NOT_FOUND)),
        };
        Ok((Status::OK, content))
    }

    fn show(&self, kind: Kind, id: &str) -> Result<Resource, Refusal> {
        let Service { enrollments, registrations, .. } = &*self.service;
        let at = enrollments.find(kind, id).ok_or(not_found(kind))?;
        let place = match kind {
            Kind::Individual => EnrollmentPlace::Individual(at),
            Kind::Group => EnrollmentPlace::Group(at),
        };
        let mut resource = enrollments.resource(place).ok_or(not_found(kind))?;
        if let Kind::Individual = kind {
            let registration = registrations.find(registrations.caller(id));
            resource.registration = registration.map(|at| self.registration(at));
        }
        Ok(self.certified(resource))
    }

    fn put(&mut self, kind: Kind, draft: &Draft, precondition: Precondition<'_>) -> Result<(), Refusal> {
        let Service { enrollments, hubs, numbers, .. } = &mut *self.service;
        precondition.check(enrollments.tag(kind, &draft.id).as_deref(), kind)?;
        let keys = KeySource { seed: enrollments.seed(), number: numbers.next() };
        let before = enrollments.named(kind, &draft.id);
        let enrollment = completion::complete(draft, kind, before, self.certificates, keys)
            .filter(|made| hubs.unlinked(made).is_none() && enrollments.unknown_ca(made).is_none())
            .ok_or(Refusal::new(code::BAD_FORMAT))?;
        match kind {
            Kind::Individual => {
                let (registration_id, device_id) = (draft.id.clone(), draft.device_id.clone());
                let information = draft.information.clone();
                let individual = Individual { registration_id, device_id, information, enrollment };
                enrollments.put_individual(individual, self.now);
            }
            Kind::Group => enrollments.put_group(Group { id: draft.id.clone(), enrollment }, self.now),
        }
        Ok(())
    }

    fn delete(&mut self, kind: Kind, id: &str, precondition: Precondition<'_>) -> Result<(), Refusal> {
        let enrollments = &mut self.service.enrollments;
        let tag = enrollments.tag(kind, id).ok_or(not_found(kind))?;
        precondition.check(Some(&tag), kind)?;
        enrollments.remove(kind, id);
        Ok(())
    }

    /// Does what it can, item by item, and tells what failed.
    fn bulk(&mut self, kind: Kind, bulk: &Bulk) -> Result<Vec<BulkError>, Refusal> {
        if bulk.items.is_empty() || bulk.items.len() > BULK_MAX {
            return Err(Refusal::new(code::BAD_FORMAT));
        }
        let mut errors = Vec::new();
        for (id, draft) in &bulk.items {
            let etag = draft.as_ref().and_then(|draft| draft.etag.as_deref());
            let precondition = match bulk.mode {
                BulkMode::Create => Precondition::Absent,
                BulkMode::Update => Precondition::Present,
                BulkMode::UpdateIfMatchEtag => Precondition::Matching(etag.unwrap_or("")),
                BulkMode::Delete => Precondition::None,
            };
            let done = match (bulk.mode, draft) {
                (BulkMode::Delete, _) => self.delete(kind, id, precondition),
                (_, Some(draft)) => self.put(kind, draft, precondition),
                (_, None) => Err(Refusal::new(code::BAD_FORMAT)),
            };
            if let Err(refusal) = done {
                errors.push(BulkError { id: id.clone(), code: refusal.code });
            }
        }
        Ok(errors)
    }

    fn page(&self, kind: Kind, page: &Page<'_>) -> Result<(Vec<Resource>, Option<String>), Refusal> {
        let (most, after) = (most(page)?, after(page)?);
        // One more than the page holds says that there is another page.
        let ids = self.service.enrollments.ids(kind, after.as_deref(), most + 1);
        let more = ids.len() > most;
        let shown = &ids[..most.min(ids.len())];
        let next = shown.last().filter(|_| more).map(|id| continuation(id));
        let resources: Result<Vec<_>, _> = shown.iter().map(|id| self.show(kind, id)).collect();
        Ok((resources?, next))
    }

    fn registrations_page(
        &self,
        group: &str,
        page: &Page<'_>,
    ) -> Result<(Vec<Registration>, Option<String>), Refusal> {
        let of = self.service.enrollments.find(Kind::Group, group).map(EnrollmentRef::group);
        let of = of.ok_or(not_found(Kind::Group))?;
        let (most, after) = (most(page)?, after(page)?);
        let from: usize = match after {
            Some(after) => after.parse().map_err(|_| Refusal::new(code::BAD_FORMAT))?,
            None => 0,
        };
        let mut places = self.service.registrations.admitted_by(of, from);
        let registrations = places.by_ref().take(most).map(|at| self.registration(at)).collect();
        Ok((registrations, places.next().map(|at| continuation(&at.to_string()))))
    }

    fn find_registration(&self, id: &str) -> Result<usize, Refusal> {
        let registrations = &self.service.registrations;
        registrations.find(registrations.caller(id)).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))
    }

    fn registration_tag(&self, at: usize) -> String {
        let registrations = &self.service.registrations;
        registrations.tag(registrations.ticket(at))
    }

    fn delete_registration(&mut self, id: &str, precondition: Precondition<'_>) -> Result<(), Refusal> {
        let at = self.find_registration(id)?;
        precondition.check(Some(&self.registration_tag(at)), Kind::Individual)?;
        self.service.registrations.forget(self.now, at);
        Ok(())
    }

    /// A registration as the service plane shows it: with the tag that `If-Match` takes, without the attestation and the
    /// certificates.
    fn registration(&self, at: usize) -> Registration {
        let tag = self.registration_tag(at);
        let known = self.service.registration(at, self.now);
        let connection_profile = known
            .assigned_hub
            .as_ref()
            .filter(|_| self.api.profiles)
            .and_then(|_| self.service.hub_profile(at));
        Registration { etag: Some(tag), enrolment: None::<Enrolment>, connection_profile, ..known }
    }

    /// Adds the facts of the certificates.
    fn certified(&self, mut resource: Resource) -> Resource {
        let attestation = match &resource.value {
            Enrolled::Individual(individual) => &individual.enrollment.attestation,
            Enrolled::Group(group) => &group.enrollment.attestation,
        };
        resource.certificates = match attestation {
            Attestation::Leaf { primary, secondary } => {
                [Some(CertificateInfo::clone(primary)), secondary.as_deref().cloned()]
            }
            Attestation::Signer { primary, secondary } => [
                self.certificates.read(&primary.der),
                secondary.as_ref().and_then(|ca| self.certificates.read(&ca.der)),
            ],
            Attestation::SymmetricKey { .. } | Attestation::CaReference { .. } | Attestation::Tpm { .. } => {
                [None, None]
            }
        };
        resource
    }
}

impl From<crate::service::Handled> for Administered {
    fn from(handled: crate::service::Handled) -> Self {
        let content = match handled.reply.body {
            Body::Error(error) => Content::Error(error),
            _ => Content::Empty,
        };
        Self {
            status: handled.reply.status,
            retry_after: handled.reply.retry_after,
            content,
            delay: handled.delay,
            request_id: handled.request_id,
        }
    }
}

/// What must hold of the resource before it is changed (`dps` 16.3).
#[derive(Clone, Copy)]
enum Precondition<'a> {
    None,
    /// It does not exist: a PUT without `If-Match` creates.
    Absent,
    /// It exists.
    Present,
    /// It has this tag; `*` is true of every one.
    Matching(&'a str),
}

impl<'a> Precondition<'a> {
    fn of(if_match: Option<&'a str>) -> Self {
        if_match.map_or(Self::None, Self::Matching)
    }

    fn check(self, tag: Option<&str>, kind: Kind) -> Result<(), Refusal> {
        match (self, tag) {
            (Self::Absent, Some(_)) => Err(Refusal::new(code::ENROLLMENT_EXISTS)),
            (Self::Present, None) => Err(not_found(kind)),
            (Self::Matching(wanted), tag) if wanted.trim() != "*" => {
                // Clients send the tag with and without its quotes (`dps` 16.3).
                let same = tag.is_some_and(|tag| bare(tag) == bare(wanted));
                if same { Ok(()) } else { Err(Refusal::new(code::ETAG_MISMATCH)) }
            }
            _ => Ok(()),
        }
    }
}

fn bare(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

/// How many items of a page are asked for.
fn most(page: &Page<'_>) -> Result<usize, Refusal> {
    let Some(text) = page.max_items else { return Ok(PAGE_USUAL) };
    match text.trim().parse() {
        Ok(most) if most > 0 => Ok(usize::min(most, PAGE_MAX)),
        _ => Err(Refusal::new(code::BAD_FORMAT)),
    }
}

/// After which item a page begins.
fn after(page: &Page<'_>) -> Result<Option<String>, Refusal> {
    let decode = |text: &str| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    match page.continuation.map(decode) {
        None => Ok(None),
        Some(Some(after)) => Ok(Some(after)),
        Some(None) => Err(Refusal::new(code::BAD_FORMAT)),
    }
}

fn continuation(after: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(after)
}

fn read<T>(document: &Document<T>) -> Result<&T, Refusal> {
    match document {
        Document::Read(value) => Ok(value),
        Document::WrongMediaType => Err(Refusal::new(code::UNSUPPORTED_MEDIA_TYPE)),
        Document::Unreadable => Err(Refusal::new(code::BAD_FORMAT)),
    }
}

fn not_found(kind: Kind) -> Refusal {
    Refusal::new(match kind {
        Kind::Individual => code::ENROLLMENT_NOT_FOUND,
        Kind::Group => code::GROUP_NOT_FOUND,
    })
}

#[cfg(test)]
mod tests;
