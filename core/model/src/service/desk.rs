//! The desk that serves operators: who may do what, ETags, pages.

mod completion;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fleetstorm_protocol::certificate::{CertificateInfo, Certificates};
use fleetstorm_protocol::enrollment::{Attestation, Enrollment, Group, Individual};
use fleetstorm_protocol::enrollment_api::{
    Administered, BULK_MAX, Bulk, BulkError, BulkMode, Call, Content, Document, Draft, Enrolled, Kind, Page,
    Request, Resource,
};
use fleetstorm_protocol::{Body, Enrolment, Registration, RetryAfter, Status, code, http};
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Moment, Span};

use crate::service::access::Permission;
use crate::service::answer::Refusal;
use crate::service::machine::Service;
use crate::service::record::EnrollmentRef;
use crate::service::store::{Book, Kept};
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
        let desk = Desk { now, certificates };
        let mut delay = Span::ZERO;
        let refused = match self.authorize(now, request, evidence) {
            Err(refusal) => {
                self.next_answer();
                self.counters.requests += 1;
                refusal
            }
            Ok(policy) => match self.admit_operation(now) {
                Err(handled) => return (*handled).into(),
                Ok(held) => {
                    delay = held;
                    let served = self.permit(policy, &request.call).and_then(|()| self.serve(&desk, request));
                    match served {
                        Ok((status, content)) => {
                            let request_id = self.request_id();
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
        if !request.api_version.is_some_and(|version| http::SERVICE_API_VERSIONS.contains(&version)) {
            return Err(Refusal::new(code::BAD_REQUEST));
        }
        let unauthorized = || Refusal::new(code::UNAUTHORIZED);
        let Token::Claims { resource: TokenResource::Spelled(resource), expires_unix_secs } =
            evidence.token()
        else {
            return Err(unauthorized());
        };
        let expired = expires_unix_secs < self.config.calendar.unix_secs(now);
        if expired || !resource.eq_ignore_ascii_case(request.host) {
            return Err(unauthorized());
        }
        let named = evidence.policy();
        let policy = self.config.access.iter().position(|policy| policy.name.eq_ignore_ascii_case(named));
        policy
            .filter(|&at| {
                let policy = &self.config.access[at];
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
        match self.config.access[policy].permissions.contains(&needed) {
            true => Ok(()),
            false => Err(Refusal::new(code::UNAUTHORIZED)),
        }
    }

    fn serve(
        &mut self,
        desk: &Desk<'_, impl Certificates>,
        request: &Request<'_>,
    ) -> Result<(Status, Content), Refusal> {
        let content = match &request.call {
            Call::Get(kind, id) => Content::Resource(Box::new(self.show(desk, *kind, id)?)),
            Call::Put(kind, id, document) => {
                let draft = read(document)?;
                if !draft.id.eq_ignore_ascii_case(id) {
                    return Err(Refusal::new(code::BAD_FORMAT));
                }
                let exists = match request.if_match {
                    Some(_) => Precondition::of(request.if_match),
                    None => Precondition::Absent,
                };
                self.put(desk, *kind, draft, exists)?;
                Content::Resource(Box::new(self.show(desk, *kind, id)?))
            }
            Call::Delete(kind, id) => {
                self.delete(*kind, id, Precondition::of(request.if_match))?;
                return Ok((Status::NO_CONTENT, Content::Empty));
            }
            Call::Mechanism(kind, id) => {
                let resource = self.show(desk, *kind, id)?;
                let attestation = match resource.value {
                    Enrolled::Individual(individual) => individual.enrollment.attestation,
                    Enrolled::Group(group) => group.enrollment.attestation,
                };
                Content::Mechanism(Box::new((attestation, resource.certificates)))
            }
            Call::Bulk(kind, document) => Content::Bulk(*kind, self.bulk(desk, *kind, read(document)?)?),
            Call::Query(kind, query, page) => {
                read(query)?;
                let (resources, next) = self.page(desk, *kind, page)?;
                Content::Resources(*kind, resources, next)
            }
            Call::GetRegistration(id) => {
                let at = self.find_registration(id)?;
                Content::Registration(Box::new(self.service_registration(at, desk.now)))
            }
            Call::DeleteRegistration(id) => {
                self.delete_registration(desk.now, id, Precondition::of(request.if_match))?;
                return Ok((Status::NO_CONTENT, Content::Empty));
            }
            Call::QueryRegistrations(group, query, page) => {
                read(query)?;
                let (registrations, next) = self.registrations_page(desk.now, group, page)?;
                Content::Registrations(registrations, next)
            }
            Call::WrongMethod | Call::NoSuchPath => return Err(Refusal::new(code::NOT_FOUND)),
        };
        Ok((Status::OK, content))
    }

    fn show(&self, desk: &Desk<'_, impl Certificates>, kind: Kind, id: &str) -> Result<Resource, Refusal> {
        let resource = match kind {
            Kind::Individual => self.individuals.find(id).and_then(|at| {
                let mut resource = self.individual_resource(at)?;
                let registration = self.records.find(self.caller(id));
                resource.registration = registration.map(|at| self.service_registration(at, desk.now));
                Some(resource)
            }),
            Kind::Group => self.groups.find(id).and_then(|at| self.group_resource(at)),
        };
        resource.map(|resource| desk.certified(resource)).ok_or(not_found(kind))
    }

    /// An individual enrollment as the API shows it, without what only cryptography knows.
    pub(in crate::service) fn individual_resource(&self, at: u32) -> Option<Resource> {
        let kept = self.individuals.get(at)?;
        Some(self.resource(kept, Kind::Individual, at, Enrolled::Individual(kept.value.clone())))
    }

    /// The same of a group.
    pub(in crate::service) fn group_resource(&self, at: u32) -> Option<Resource> {
        let kept = self.groups.get(at)?;
        Some(self.resource(kept, Kind::Group, at, Enrolled::Group(kept.value.clone())))
    }

    fn resource<T>(&self, kept: &Kept<T>, kind: Kind, at: u32, value: Enrolled) -> Resource {
        Resource {
            value,
            certificates: [None, None],
            created_unix_ns: self.config.calendar.unix_nanos(kept.created),
            updated_unix_ns: self.config.calendar.unix_nanos(kept.updated),
            etag: tag(self.config.seed, kind, at, kept.version),
            registration: None,
        }
    }

    /// The tag of an enrollment, if there is one.
    fn tag_of(&self, kind: Kind, id: &str) -> Option<String> {
        let (at, version) = match kind {
            Kind::Individual => {
                let at = self.individuals.find(id)?;
                (at, self.individuals.get(at)?.version)
            }
            Kind::Group => {
                let at = self.groups.find(id)?;
                (at, self.groups.get(at)?.version)
            }
        };
        Some(tag(self.config.seed, kind, at, version))
    }

    fn put(
        &mut self,
        desk: &Desk<'_, impl Certificates>,
        kind: Kind,
        draft: &Draft,
        precondition: Precondition<'_>,
    ) -> Result<(), Refusal> {
        precondition.check(self.tag_of(kind, &draft.id).as_deref(), kind)?;
        let random = (self.config.seed, self.next_answer());
        let bad = || Refusal::new(code::BAD_FORMAT);
        let before = match kind {
            Kind::Individual => kept(&self.individuals, &draft.id),
            Kind::Group => kept(&self.groups, &draft.id),
        };
        let mut enrollment =
            completion::complete(draft, kind, before, desk.certificates, random).ok_or_else(bad)?;
        if self.config.unlinked(&enrollment).is_some() || self.config.unknown_ca(&enrollment).is_some() {
            return Err(bad());
        }
        self.keep_verified(kind, &draft.id, &mut enrollment);
        match kind {
            Kind::Individual => {
                let (registration_id, device_id) = (draft.id.clone(), draft.device_id.clone());
                let information = draft.information.clone();
                let individual = Individual { registration_id, device_id, information, enrollment };
                self.individuals.put(individual, desk.now);
            }
            Kind::Group => {
                self.groups.put(Group { id: draft.id.clone(), enrollment }, desk.now);
                self.trust();
            }
        }
        Ok(())
    }

    /// What the instance knows of a group's certificates already stays true: whether one that it holds is verified, or one
    /// that the group had before.
    fn keep_verified(&self, kind: Kind, id: &str, enrollment: &mut Enrollment) {
        let before = match kind {
            Kind::Group => kept(&self.groups, id).map(|before| &before.attestation),
            Kind::Individual => None,
        };
        let before = match before {
            Some(Attestation::Signer { primary, secondary }) => [Some(primary), secondary.as_ref()],
            _ => [None, None],
        };
        let Attestation::Signer { primary, secondary } = &mut enrollment.attestation else { return };
        for ca in std::iter::once(primary).chain(secondary) {
            let mut known = self.config.certificates.iter().map(|held| &held.certificate);
            let known = known.find(|known| known.der == ca.der);
            let known = known.or_else(|| before.into_iter().flatten().find(|known| known.der == ca.der));
            ca.verified = known.map_or(ca.verified, |known| known.verified);
        }
    }

    fn delete(&mut self, kind: Kind, id: &str, precondition: Precondition<'_>) -> Result<(), Refusal> {
        let tag = self.tag_of(kind, id).ok_or(not_found(kind))?;
        precondition.check(Some(&tag), kind)?;
        match kind {
            Kind::Individual => self.individuals.remove(id),
            Kind::Group => {
                let removed = self.groups.remove(id);
                self.trust();
                removed
            }
        };
        Ok(())
    }

    /// Does what it can, item by item, and tells what failed.
    fn bulk(
        &mut self,
        desk: &Desk<'_, impl Certificates>,
        kind: Kind,
        bulk: &Bulk,
    ) -> Result<Vec<BulkError>, Refusal> {
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
                (_, Some(draft)) => self.put(desk, kind, draft, precondition),
                (_, None) => Err(Refusal::new(code::BAD_FORMAT)),
            };
            if let Err(refusal) = done {
                errors.push(BulkError { id: id.clone(), code: refusal.code });
            }
        }
        Ok(errors)
    }

    fn page(
        &self,
        desk: &Desk<'_, impl Certificates>,
        kind: Kind,
        page: &Page<'_>,
    ) -> Result<(Vec<Resource>, Option<String>), Refusal> {
        let (most, after) = (most(page)?, after(page)?);
        let ids: Vec<String> = match kind {
            Kind::Individual => ids(&self.individuals, after.as_deref(), most),
            Kind::Group => ids(&self.groups, after.as_deref(), most),
        };
        // One more than the page holds says that there is another page.
        let more = ids.len() > most;
        let shown = &ids[..most.min(ids.len())];
        let next = shown.last().filter(|_| more).map(|id| continuation(id));
        let resources: Result<Vec<_>, _> = shown.iter().map(|id| self.show(desk, kind, id)).collect();
        Ok((resources?, next))
    }

    fn registrations_page(
        &self,
        now: Moment,
        group: &str,
        page: &Page<'_>,
    ) -> Result<(Vec<Registration>, Option<String>), Refusal> {
        let of = self.groups.find(group).map(EnrollmentRef::group);
        let of = of.ok_or(not_found(Kind::Group))?;
        let (most, after) = (most(page)?, after(page)?);
        let from: usize = match after {
            Some(after) => after.parse().map_err(|_| Refusal::new(code::BAD_FORMAT))?,
            None => 0,
        };
        let mut places = self.records.admitted_by(of, from);
        let registrations = places.by_ref().take(most).map(|at| self.service_registration(at, now)).collect();
        Ok((registrations, places.next().map(|at| continuation(&at.to_string()))))
    }

    fn find_registration(&self, id: &str) -> Result<usize, Refusal> {
        self.records.find(self.caller(id)).ok_or(Refusal::new(code::REGISTRATION_NOT_FOUND))
    }

    fn delete_registration(
        &mut self,
        now: Moment,
        id: &str,
        precondition: Precondition<'_>,
    ) -> Result<(), Refusal> {
        let at = self.find_registration(id)?;
        precondition.check(Some(&self.registration_tag(at)), Kind::Individual)?;
        self.forget(now, at);
        Ok(())
    }

    /// A registration as the service plane shows it: with the tag that `If-Match` takes, without the attestation.
    fn service_registration(&self, at: usize, now: Moment) -> Registration {
        let tag = self.registration_tag(at);
        Registration { etag: Some(tag), enrolment: None::<Enrolment>, ..self.registration(at, now) }
    }
}

/// What serving a request takes beside the request.
struct Desk<'a, C> {
    now: Moment,
    certificates: &'a C,
}

impl<C: Certificates> Desk<'_, C> {
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

fn kept<'a, T: crate::service::store::Enrolled>(book: &'a Book<T>, id: &str) -> Option<&'a Enrollment> {
    Some(book.get(book.find(id)?)?.value.enrollment())
}

fn ids<T: crate::service::store::Enrolled>(book: &Book<T>, after: Option<&str>, most: usize) -> Vec<String> {
    book.after(after).take(most + 1).map(|kept| kept.value.id().to_owned()).collect()
}

/// An ETag of the form that the service has (`dps` 2.3), different for every state of every enrollment.
fn tag(seed: Seed, kind: Kind, at: u32, version: u32) -> String {
    let book = match kind {
        Kind::Individual => 0,
        Kind::Group => 1 << 32,
    };
    let [draw, _] = seed.pair(Purpose::EnrollmentTag, book | u64::from(at), version);
    format!("\"{:08x}-0000-0300-0000-{:08x}0000\"", draw >> 32, draw & 0xffff_ffff)
}

#[cfg(test)]
mod tests;
