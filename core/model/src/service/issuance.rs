//! Operational certificates: by which policy a device gets one, what the issuer is asked, and what a hub makes of one that
//! a device shows (`dps` 18.3 to 18.5).
//!
//! Nothing is kept of a certificate that was issued. The id of its device in it, and whether its issuer stands, follow from
//! the seed, the plan and the time; so a service that was started again knows its certificates.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_protocol::code;
use fleetstorm_protocol::credentials::CSR_MAX_BYTES;
use fleetstorm_protocol::enrollment::CaCertificate;
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::{Moment, Span};

use super::allocation;
use super::answer::{Refusal, Ticket};
use super::machine::Service;
use super::record::EnrollmentRef;
use super::renewal::Renewal;
use super::{Certificate, Evidence, TrustedCas};

/// What an instance issues, and how its hubs treat it.
#[derive(Clone, Debug)]
pub struct Issuance {
    /// The certificate authorities, which all hubs trust.
    pub authorities: Vec<Authority>,
    /// What becomes of a registration that asks for a certificate where no policy says how to issue it.
    pub without_policy: WithoutPolicy,
    /// Devices whose certificates are revoked, and when.
    pub revocations: Vec<(String, Moment)>,
    /// What a hub says to a certificate that it does not take; `None` closes the connection.
    pub refusal: Option<Connack>,
    /// How hubs renew certificates.
    pub renewal: Renewal,
}

impl Default for Issuance {
    fn default() -> Self {
        Self {
            authorities: Vec::new(),
            without_policy: WithoutPolicy::default(),
            revocations: Vec::new(),
            refusal: Some(Connack::NotAuthorized),
            renewal: Renewal::default(),
        }
    }
}

/// Certificates in DER, each issued by the one after it.
pub type Chain = Arc<[Arc<[u8]>]>;

/// An authority that issues devices' certificates.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The namespace of the device registry that it belongs to.
    pub namespace: String,
    /// Its name in the namespace.
    pub name: String,
    /// How it issues.
    pub policies: Vec<IssuancePolicy>,
    /// Its own certificates in DER, the issuing one first and the root last, each with when they come into force, in order.
    /// Hubs take the newest only.
    pub generations: Vec<(Moment, Chain)>,
}

/// How an authority issues.
#[derive(Clone, Debug)]
pub struct IssuancePolicy {
    /// Its name at its authority.
    pub name: String,
    /// How long a certificate is valid.
    pub validity: Span,
    /// The keys that it takes.
    pub keys: Vec<KeyKind>,
    /// When it is deleted, if it is. Certificates stay good.
    pub until: Option<Moment>,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits and more.
    Rsa,
}

/// What becomes of a registration that asks for a certificate where no policy says how to issue it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutPolicy {
    /// The device is assigned and gets no certificate.
    #[default]
    Ignore,
    /// 400.
    Refuse,
}

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

/// A question for the issuer. The answer goes to [`Service::certificate_issued`].
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

impl Authority {
    /// Its certificates at a time, and which of its generations they are.
    fn generation(&self, now: Moment) -> Option<(usize, &Chain)> {
        let generations = self.generations.iter().enumerate().rev();
        generations
            .map(|(at, (from, chain))| (at, from, chain))
            .find(|(_, from, _)| **from <= now)
            .map(|(at, _, chain)| (at, chain))
    }
}

impl Issuance {
    /// The policy of this name as of now, with the place of its authority.
    fn policy(&self, now: Moment, name: &PolicyName) -> Option<(usize, &IssuancePolicy)> {
        self.authorities.iter().enumerate().find_map(|(at, authority)| {
            let mut policies = authority.policies.iter();
            policies
                .find(|policy| name.means(&authority.namespace, &authority.name, &policy.name))
                .filter(|policy| policy.until.is_none_or(|until| now < until))
                .map(|policy| (at, policy))
        })
    }

    /// The issuing certificates that hubs take now. Their version is none that devices' authorities have.
    fn in_force(&self, now: Moment) -> TrustedCas {
        let generations = self.authorities.iter().filter_map(|authority| authority.generation(now));
        let (mut version, mut certificates) = (1 << 63, Vec::new());
        for (at, chain) in generations {
            version += at as u64;
            certificates.extend(chain.first().cloned());
        }
        TrustedCas { version, certificates }
    }
}

impl Service {
    /// The next question for the issuer.
    pub fn next_issuance(&mut self) -> Option<IssuanceCall> {
        self.issuances.pop_front()
    }

    /// Takes the issuer's answer: the device's certificate in DER, or `None` if it could not make one.
    pub fn certificate_issued(&mut self, call: &IssuanceCall, leaf: Option<&[u8]>) {
        let chain = leaf.map(|leaf| -> Chain {
            std::iter::once(Arc::from(leaf)).chain(call.above.iter().cloned()).collect()
        });
        let ticket = match &call.ticket.0 {
            For::Renewal(device, number) => return self.renewed(device, *number, chain),
            For::Registration(ticket) => *ticket,
        };
        let at = ticket.record as usize;
        // Deleted, or registered anew, in the meantime.
        if self.ticket(at) != ticket {
            return;
        }
        match chain {
            Some(chain) => {
                self.special.entry(ticket.record).or_default().certificate = Requested::Issued(chain);
            }
            None => {
                self.special.entry(ticket.record).or_default().certificate = Requested::No;
                self.fail_assignment(at, code::INTERNAL_ERROR);
            }
        }
    }

    /// Revokes the certificates that a device has: hubs refuse them from now on. It may ask for another one.
    pub fn revoke_certificates(&mut self, now: Moment, registration_id: &str) {
        self.config.issuance.revocations.push((registration_id.to_owned(), now));
    }

    /// The certificate that a registration asks for and may have. `csr` is JSON text.
    ///
    /// # Errors
    /// It may have none, and is told so.
    pub(super) fn want_certificate(
        &self,
        now: Moment,
        name: &str,
        of: EnrollmentRef,
        csr: &str,
        evidence: &impl Evidence,
    ) -> Result<Option<Wanted>, Refusal> {
        let bad = || Refusal::new(code::BAD_FORMAT);
        let named = self.enrollment(of).and_then(|enrollment| enrollment.policy.as_ref());
        let Some((authority, policy)) = named.and_then(|name| self.config.issuance.policy(now, name)) else {
            return match self.config.issuance.without_policy {
                WithoutPolicy::Ignore => Ok(None),
                WithoutPolicy::Refuse => Err(bad()),
            };
        };
        let csr: Cow<'_, str> =
            serde_json::from_str::<Text<'_>>(csr).map(|text| text.0).map_err(|_| bad())?;
        self.read_request(name, &csr, policy, evidence)
            .map(|public_key| Some(Wanted { authority, validity: policy.validity, public_key }))
            .ok_or_else(bad)
    }

    /// The key that a request is for, if it is in order: not too long, base64 of a PKCS#10, signed with its own key, of a
    /// kind that the policy takes, and in the device's name.
    fn read_request(
        &self,
        name: &str,
        csr: &str,
        policy: &IssuancePolicy,
        evidence: &impl Evidence,
    ) -> Option<Box<[u8]>> {
        if csr.is_empty() || csr.len() > CSR_MAX_BYTES {
            return None;
        }
        let request = evidence.certificate_request(&BASE64_STANDARD.decode(csr).ok()?)?;
        (request.common_name.eq_ignore_ascii_case(name) && policy.keys.contains(&request.key))
            .then_some(request.public_key)
    }

    /// The certificate that a device of this name may renew by, from what it sends to its hub.
    pub(super) fn want_renewal(
        &self,
        now: Moment,
        name: &str,
        csr: &str,
        evidence: &impl Evidence,
    ) -> Option<Wanted> {
        let at = self.records.find(self.caller(name))?;
        let named = self.enrollment(self.records.get(at).enrollment)?.policy.as_ref()?;
        let (authority, policy) = self.config.issuance.policy(now, named)?;
        let public_key = self.read_request(name, csr, policy, evidence)?;
        Some(Wanted { authority, validity: policy.validity, public_key })
    }

    /// Keeps what a registration wants until it has its hub.
    pub(super) fn keep_wanted(&mut self, at: usize, wanted: Option<Wanted>) {
        let requested = wanted.map_or(Requested::No, Requested::Wanted);
        match (&requested, self.special.get_mut(&(at as u32))) {
            (_, Some(special)) => special.certificate = requested,
            (Requested::No, None) => {}
            (_, None) => self.special.entry(at as u32).or_default().certificate = requested,
        }
    }

    /// Asks the issuer for what a registration wants, now that it has a hub.
    pub(super) fn request_certificate(&mut self, now: Moment, at: usize) {
        let Some(special) = self.special.get_mut(&(at as u32)) else { return };
        let Requested::Wanted(_) = special.certificate else { return };
        if let Requested::Wanted(wanted) = std::mem::replace(&mut special.certificate, Requested::Asked) {
            let name = self.name_at(at).into_owned();
            self.ask_issuer(now, For::Registration(self.ticket(at)), name, wanted);
        }
    }

    /// Queues the question for the issuer.
    pub(super) fn ask_issuer(&mut self, now: Moment, ticket: For, name: String, wanted: Wanted) {
        let authority = &self.config.issuance.authorities[wanted.authority];
        let Some((generation, above)) = authority.generation(now) else { return };
        let above = Arc::clone(above);
        let unix_ns = self.config.calendar.unix_nanos(now);
        let number = self.next_answer();
        let [draw, _] = self.config.seed.pair(Purpose::CertificateSerial, allocation::hash(&name), number);
        self.issuances.push_back(IssuanceCall {
            ticket: IssuanceTicket(ticket),
            authority: wanted.authority,
            generation,
            above,
            device_uid: self.device_uid(now, &name),
            common_name: name,
            // The time keeps a service that was started again from giving a number twice.
            serial: u128::from(unix_ns) << 64 | u128::from(draw),
            public_key: wanted.public_key,
            not_before_unix_secs: unix_ns / 1_000_000_000,
            not_after_unix_secs: unix_ns / 1_000_000_000 + wanted.validity.as_secs(),
        });
    }

    /// Whether a registration whose time is over waits for its certificate still.
    pub(super) fn awaits_certificate(&self, at: usize) -> bool {
        self.special.get(&(at as u32)).is_some_and(|special| matches!(special.certificate, Requested::Asked))
    }

    /// The certificates that a registration has got.
    pub(super) fn issued(&self, at: usize) -> Option<&Chain> {
        match &self.special.get(&(at as u32))?.certificate {
            Requested::Issued(chain) => Some(chain),
            Requested::No | Requested::Wanted(_) | Requested::Asked => None,
        }
    }

    /// The id that certificates of a device bear at a time: another one after each revocation.
    fn device_uid(&self, now: Moment, name: &str) -> u128 {
        let revoked = self.config.issuance.revocations.iter();
        let revoked = revoked.filter(|(id, at)| *at <= now && id.eq_ignore_ascii_case(name)).count();
        let [high, low] = self.config.seed.pair(Purpose::DeviceUid, allocation::hash(name), revoked as u32);
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
        let unix_secs = self.config.calendar.unix_secs(now);
        let dated = i64::try_from(unix_secs)
            .is_ok_and(|now| (leaf.not_before_unix_secs..=leaf.not_after_unix_secs).contains(&now));
        if !dated
            || !leaf.common_name.eq_ignore_ascii_case(name)
            || leaf.device_uid != Some(self.device_uid(now, name))
        {
            return false;
        }
        let trusted = self.config.issuance.in_force(now);
        trusted.certificates.iter().any(|der| {
            let issuing = CaCertificate { der: Arc::clone(der), verified: true };
            evidence.signed_by(&issuing, &trusted, unix_secs) == Some(0)
        })
    }
}

/// A string of JSON, borrowed where it can be.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
#[path = "issuance_tests.rs"]
pub(super) mod tests;
