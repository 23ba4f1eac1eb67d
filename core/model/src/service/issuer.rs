//! Operational certificates: by which policy a device gets one, what the issuer is asked, and what a hub makes of one that
//! a device shows (`dps` 18.3 to 18.5).
//!
//! Nothing is kept of a certificate that was issued. The id of its device in it, and whether its issuer stands, follow from
//! the seed, the plan and the time; so a service that was started again knows its certificates.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_protocol::code;
use fleetstorm_protocol::credentials::CSR_MAX_BYTES;
use fleetstorm_protocol::enrollment::CaCertificate;
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Calendar, Moment, Span};

use super::allocation;
use super::answer::{Refusal, Ticket};
use super::counters::Numbers;
use super::issuance::{Chain, Issuance, IssuancePolicy, KeyKind, WithoutPolicy};
use super::{Certificate, Evidence};

/// A request for a certificate, PKCS#10, that is signed with the key that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The common name in its subject.
    pub common_name: String,
    /// The kind of its key.
    pub key: KeyKind,
    /// The key, a SubjectPublicKeyInfo in DER.
    pub public_key: Box<[u8]>,
}

/// A question for the issuer. The answer goes to [`super::Service::certificate_issued`].
#[derive(Clone, Debug)]
pub struct IssuanceCall {
    /// Gives the answer back.
    pub ticket: IssuanceTicket,
    /// The place of the authority.
    pub authority: usize,
    /// Which of its generations signs.
    pub generation: usize,
    /// That generation's certificates, the issuing one first.
    pub above: Chain,
    /// The common name.
    pub common_name: String,
    /// The device's id, which tells a hub whether the certificate is revoked.
    pub device_uid: u128,
    /// The serial number, 16 bytes.
    pub serial: u128,
    /// The key, a SubjectPublicKeyInfo in DER.
    pub public_key: Box<[u8]>,
    /// Start of its validity, seconds since the Unix epoch.
    pub not_before_unix_secs: u64,
    /// End of its validity, seconds since the Unix epoch.
    pub not_after_unix_secs: u64,
}

/// Says for whom a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuanceTicket(pub(super) For);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A device that registers.
    Registration(Ticket),
    /// A device that renews at its hub, and which of the service's renewals it is.
    Renewal(Box<str>, u32),
}

/// How far the certificate of a registration is.
#[derive(Clone, Debug, Default)]
pub(super) enum Requested {
    /// None was asked for.
    #[default]
    No,
    /// It waits for the hub.
    Wanted(Wanted),
    /// The issuer has been asked.
    Asked,
    /// Here it is, the device's first and the root last.
    Issued(Chain),
}

/// A certificate that may be issued.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    authority: usize,
    validity: Span,
    public_key: Box<[u8]>,
}

/// A device that wants a certificate.
pub(super) struct Applicant<'a, E> {
    pub(super) name: &'a str,
    /// The policy that its enrollment names.
    pub(super) policy: Option<&'a PolicyName>,
    pub(super) evidence: &'a E,
}

/// A certificate that the issuer is to be asked for.
pub(super) struct Order {
    pub(super) whom: For,
    pub(super) name: String,
    pub(super) wanted: Wanted,
}

/// What issues certificates, and knows them again.
#[derive(Debug)]
pub(super) struct Issuer {
    rules: Issuance,
    /// Certificates that are to be issued.
    calls: VecDeque<IssuanceCall>,
    seed: Seed,
    calendar: Calendar,
}

impl Issuer {
    pub(super) const fn new(rules: Issuance, seed: Seed, calendar: Calendar) -> Self {
        Self { rules, calls: VecDeque::new(), seed, calendar }
    }

    /// The next question.
    pub(super) fn next_call(&mut self) -> Option<IssuanceCall> {
        self.calls.pop_front()
    }

    /// What a hub says to a certificate that it does not take; `None` closes the connection.
    pub(super) const fn refusal(&self) -> Option<Connack> {
        self.rules.refusal
    }

    /// Revokes the certificates that a device has.
    pub(super) fn revoke(&mut self, now: Moment, name: &str) {
        self.rules.revocations.push((name.to_owned(), now));
    }

    /// The certificate that a registration asks for and may have. `csr` is JSON text.
    ///
    /// # Errors
    /// It may have none, and is told so.
    pub(super) fn want(
        &self,
        now: Moment,
        applicant: &Applicant<'_, impl Evidence>,
        csr: &str,
    ) -> Result<Option<Wanted>, Refusal> {
        let bad = || Refusal::new(code::BAD_FORMAT);
        let policy = applicant.policy.and_then(|name| self.rules.policy(now, name));
        let Some((authority, policy)) = policy else {
            return match self.rules.without_policy {
                WithoutPolicy::Ignore => Ok(None),
                WithoutPolicy::Refuse => Err(bad()),
            };
        };
        let csr: Cow<'_, str> =
            serde_json::from_str::<Text<'_>>(csr).map(|text| text.0).map_err(|_| bad())?;
        read_request(applicant, &csr, policy)
            .map(|public_key| Some(Wanted { authority, validity: policy.validity, public_key }))
            .ok_or_else(bad)
    }

    /// The certificate that a device may renew by, from what it sends to its hub.
    pub(super) fn want_renewal(
        &self,
        now: Moment,
        applicant: &Applicant<'_, impl Evidence>,
        csr: &str,
    ) -> Option<Wanted> {
        let (authority, policy) = self.rules.policy(now, applicant.policy?)?;
        let public_key = read_request(applicant, csr, policy)?;
        Some(Wanted { authority, validity: policy.validity, public_key })
    }

    /// Queues a question.
    pub(super) fn ask(&mut self, now: Moment, order: Order, numbers: &mut Numbers) {
        let Order { whom, name, wanted } = order;
        let authority = &self.rules.authorities[wanted.authority];
        let Some((generation, above)) = authority.generation(now) else { return };
        let unix_ns = self.calendar.unix_nanos(now);
        let number = numbers.next();
        let [draw, _] = self.seed.pair(Purpose::CertificateSerial, allocation::hash(&name), number);
        self.calls.push_back(IssuanceCall {
            ticket: IssuanceTicket(whom),
            authority: wanted.authority,
            generation,
            above: Arc::clone(above),
            device_uid: self.device_uid(now, &name),
            common_name: name,
            // The time keeps a service that was started again from giving a number twice.
            serial: u128::from(unix_ns) << 64 | u128::from(draw),
            public_key: wanted.public_key,
            not_before_unix_secs: unix_ns / 1_000_000_000,
            not_after_unix_secs: unix_ns / 1_000_000_000 + wanted.validity.as_secs(),
        });
    }

    /// The id that certificates of a device bear at a time: another one after each revocation.
    fn device_uid(&self, now: Moment, name: &str) -> u128 {
        let revoked = self.rules.revocations.iter();
        let revoked = revoked.filter(|(id, at)| *at <= now && id.eq_ignore_ascii_case(name)).count();
        let [high, low] = self.seed.pair(Purpose::DeviceUid, allocation::hash(name), revoked as u32);
        u128::from(high) << 64 | u128::from(low)
    }

    /// Whether a hub takes the operational certificate that a device of this name shows.
    pub(super) fn operates(
        &self,
        now: Moment,
        name: &str,
        leaf: &Certificate,
        evidence: &impl Evidence,
    ) -> bool {
        let unix_secs = self.calendar.unix_secs(now);
        if !leaf.is_dated(unix_secs)
            || !leaf.common_name.eq_ignore_ascii_case(name)
            || leaf.device_uid != Some(self.device_uid(now, name))
        {
            return false;
        }
        let trusted = self.rules.in_force(now);
        trusted.certificates.iter().any(|der| {
            let issuing = CaCertificate { der: Arc::clone(der), verified: true };
            evidence.signed_by(&issuing, &trusted, unix_secs) == Some(0)
        })
    }
}

/// The key that a request is for, if it is in order: not too long, base64 of a PKCS#10, signed with its own key, of a
/// kind that the policy takes, and in the device's name.
fn read_request(
    applicant: &Applicant<'_, impl Evidence>,
    csr: &str,
    policy: &IssuancePolicy,
) -> Option<Box<[u8]>> {
    if csr.is_empty() || csr.len() > CSR_MAX_BYTES {
        return None;
    }
    let request = applicant.evidence.certificate_request(&BASE64_STANDARD.decode(csr).ok()?)?;
    (request.common_name.eq_ignore_ascii_case(applicant.name) && policy.keys.contains(&request.key))
        .then_some(request.public_key)
}

/// A string of JSON, borrowed where it can be.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
