//! Certificates that come with registrations, and hubs that look at them.
//!
//! Here a request for a certificate is the words `request KEY NAME`, and a certificate is what the issuer was asked for.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_protocol::credentials::CSR_MAX_BYTES;
use fleetstorm_protocol::enrollment::{CaCertificate, SymmetricKey};
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_protocol::{
    Body, OperationId, Registration, RegistrationState, Reply, Status, Submission, TpmKeys,
};
use fleetstorm_units::time::{Calendar, Span};

use super::super::testing::{SCOPE, config};
use super::super::{
    Authority, Call, Certificate, CertificateRequest, Config, IssuancePolicy, KeyKind, Request, Resource,
    Token, TrustedCas, Welcome, WithoutPolicy,
};
use super::*;

const DAY: Span = Span::from_secs(86_400);

/// A device of the group with its key, or with a certificate.
#[derive(Default)]
pub(in crate::service) struct Holder {
    certificate: Option<Certificate>,
    /// Who signed it.
    issuing: Option<Arc<[u8]>>,
}

impl Evidence for Holder {
    fn token(&self) -> Token<'_> {
        match self.certificate {
            Some(_) => Token::Absent,
            None => Token::Claims { resource: Resource::Own, expires_unix_secs: u64::MAX },
        }
    }

    fn signed_with(&self, key: &SymmetricKey, _: Option<&str>) -> bool {
        key.expose() == b"group"
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    fn signed_by(&self, ca: &CaCertificate, trusted: &TrustedCas, _: u64) -> Option<u8> {
        let trusts = trusted.certificates.contains(&ca.der);
        (trusts && self.issuing.as_ref() == Some(&ca.der)).then_some(0)
    }

    fn certificate_request(&self, der: &[u8]) -> Option<CertificateRequest> {
        let mut words = std::str::from_utf8(der).ok()?.strip_prefix("request ")?.split(' ');
        let key = match words.next()? {
            "p256" => KeyKind::P256,
            "p384" => KeyKind::P384,
            "rsa" => KeyKind::Rsa,
            _ => return None,
        };
        Some(CertificateRequest { common_name: words.next()?.to_owned(), key, public_key: der.into() })
    }

    fn tpm(&self) -> Option<TpmKeys> {
        None
    }
}

/// The base64 of a request.
pub(in crate::service) fn csr(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// Group `keys` has a policy of 30 days that takes keys of elliptic curves, at an authority that is rotated at day 50.
pub(in crate::service) fn issuing_config() -> Config {
    let mut config = config();
    config.hubs.truncate(1);
    config.calendar = Calendar::VIRTUAL;
    config.throttle = crate::service::throttle::profile("unlimited").unwrap();
    config.groups[0].enrollment.policy = Some(PolicyName::new("ns-1", "ca-1", "p30"));
    let chain = |name: &str| -> Chain {
        ["issuing", "root"].map(|kind| Arc::from(format!("{kind} {name}").into_bytes())).into()
    };
    config.issuance.authorities = vec![Authority {
        namespace: "ns-1".into(),
        name: "ca-1".into(),
        policies: vec![IssuancePolicy {
            name: "p30".into(),
            validity: DAY.times(30),
            keys: vec![KeyKind::P256, KeyKind::P384],
            until: None,
        }],
        generations: vec![(Moment::START, chain("one")), (Moment::START + DAY.times(50), chain("two"))],
    }];
    config
}

pub(in crate::service) struct Talk {
    pub(in crate::service) service: Service,
    pub(in crate::service) now: Moment,
    version: &'static str,
}

impl Talk {
    pub(in crate::service) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = issuing_config();
        change(&mut config);
        let now = Moment::START + Span::from_secs(100);
        Self { service: Service::new(config).unwrap(), now, version: "2026-11-01" }
    }

    fn ask(&mut self, id: &str, call: Call<'_>) -> Reply {
        let request = Request { api_version: Some(self.version), id_scope: SCOPE, registration_id: id, call };
        self.service.handle(self.now, &request, &Holder::default()).reply
    }

    fn submit(&mut self, id: &str, csr: Option<&str>) -> Reply {
        let text = csr.map(|csr| format!("\"{csr}\""));
        let submission = Submission::Read { registration_id: None, csr: text.as_deref(), payload: None };
        self.ask(id, Call::Register(submission))
    }

    /// Answers what the service asks the issuer. The last question, with its certificate.
    pub(in crate::service) fn issue(&mut self) -> Option<(IssuanceCall, Vec<u8>)> {
        let mut last = None;
        while let Some(call) = self.service.next_issuance() {
            let leaf = format!("leaf {:x}", call.serial).into_bytes();
            self.service.certificate_issued(&call, Some(&leaf));
            last = Some((call, leaf));
        }
        last
    }

    fn started(&mut self, id: &str, csr: Option<&str>) -> OperationId {
        let reply = self.submit(id, csr);
        match reply.body {
            Body::Operation { id: Some(operation), registration: None, .. } => operation,
            _ => panic!("{reply:?}"),
        }
    }

    fn poll(&mut self, id: &str, operation: &OperationId) -> (RegistrationState, Option<Box<Registration>>) {
        let reply = self.ask(id, Call::Poll(operation.clone()));
        match reply.body {
            Body::Operation { state, registration, .. } => (state, registration),
            _ => panic!("{reply:?}"),
        }
    }

    /// Registers to the end with a request for a certificate; what the issuer was asked, and what the device was told.
    pub(in crate::service) fn registered(&mut self, id: &str) -> (IssuanceCall, Registration) {
        let operation = self.started(id, Some(&csr(&format!("request p256 {id}"))));
        let (call, _) = self.issue().unwrap();
        self.now += Span::from_secs(5);
        (call, *self.poll(id, &operation).1.unwrap())
    }

    pub(in crate::service) fn connect(&mut self, id: &str, call: &IssuanceCall) -> Welcome {
        self.service.connect_hub(self.now, 0, id, &holder(call))
    }
}

/// A device with the certificate that an issuer made.
pub(in crate::service) fn holder(call: &IssuanceCall) -> Holder {
    let secs = |unix_secs: u64| i64::try_from(unix_secs).unwrap();
    Holder {
        issuing: call.above.first().cloned(),
        certificate: Some(Certificate {
            common_name: call.common_name.clone(),
            sha256: [0; 32],
            not_before_unix_secs: secs(call.not_before_unix_secs),
            not_after_unix_secs: secs(call.not_after_unix_secs),
            device_uid: Some(call.device_uid),
        }),
    }
}

const ACCEPTED: Welcome = Welcome::Accepted { delay: Span::ZERO };
const REFUSED: Welcome = Welcome::Refused(Connack::NotAuthorized);

fn code_of(reply: &Reply) -> (u16, u32) {
    let Body::Error(error) = &reply.body else { panic!("{reply:?}") };
    (reply.status.0, error.code)
}

/// Acceptance rows 1 and 5.
#[test]
fn a_registration_with_a_request_ends_with_a_chain_that_only_its_poll_tells() {
    let mut talk = Talk::with(|_| {});
    let operation = talk.started("dev-1", Some(&csr("request p384 DEV-1")));
    talk.now += Span::from_secs(5);
    assert_eq!(talk.poll("dev-1", &operation).0, RegistrationState::Assigning, "the issuer has not answered");
    let (call, leaf) = talk.issue().unwrap();
    assert_eq!((&*call.common_name, call.authority, call.generation), ("dev-1", 0, 0));
    assert_eq!(call.not_after_unix_secs - call.not_before_unix_secs, 30 * 86_400);
    let (state, registration) = talk.poll("dev-1", &operation);
    assert_eq!(state, RegistrationState::Assigned);
    let chain = registration.unwrap().issued_chain;
    let told: Vec<&[u8]> = chain.iter().map(|der| &**der).collect();
    assert_eq!(told, [&leaf[..], b"issuing one", b"root one"]);
    let lookup = Call::Lookup(Submission::Read { registration_id: None, csr: None, payload: None });
    let Body::Registration(found) = talk.ask("dev-1", lookup).body else { panic!("a registration") };
    assert_eq!((found.state, found.issued_chain.len()), (Some(RegistrationState::Assigned), 0));
}

/// Acceptance row 2.
#[test]
fn a_registration_without_a_request_gets_no_chain() {
    let mut talk = Talk::with(|_| {});
    talk.registered("dev-1");
    let operation = talk.started("dev-1", None);
    assert!(talk.issue().is_none());
    talk.now += Span::from_secs(5);
    let (state, registration) = talk.poll("dev-1", &operation);
    assert_eq!((state, registration.unwrap().issued_chain.len()), (RegistrationState::Assigned, 0));
}

/// Acceptance row 3: a version that has no `csr` does not see one, however malformed.
#[test]
fn an_older_version_does_not_see_a_request() {
    let mut talk = Talk::with(|_| {});
    talk.version = "2021-10-01";
    let operation = talk.started("dev-1", Some("no base64"));
    assert!(talk.issue().is_none());
    talk.now += Span::from_secs(5);
    assert_eq!(talk.poll("dev-1", &operation).1.unwrap().issued_chain.len(), 0);
    // A chain that was issued is told to a version that has it only.
    talk.version = "2026-11-01";
    let operation = talk.started("dev-1", Some(&csr("request p256 dev-1")));
    talk.issue();
    talk.now += Span::from_secs(5);
    for (version, told) in [("2021-10-01", 0), ("2025-07-01-preview", 3), ("2026-04-01", 3)] {
        talk.version = version;
        assert_eq!(talk.poll("dev-1", &operation).1.unwrap().issued_chain.len(), told, "{version}");
    }
}

/// Acceptance row 4.
#[test]
fn a_lookup_with_a_request_is_malformed() {
    let mut talk = Talk::with(|_| {});
    let lookup =
        || Call::Lookup(Submission::Read { registration_id: None, csr: Some("\"AAAA\""), payload: None });
    assert_eq!(code_of(&talk.ask("dev-1", lookup())), (400, 400_004));
    talk.version = "2021-10-01";
    assert_eq!(code_of(&talk.ask("dev-1", lookup())), (404, 404_202));
}

/// Acceptance row 6.
#[test]
fn a_profile_is_told_where_the_version_has_it() {
    for (profile, told) in [(Some("mqttV5"), Some("mqttV5")), (Some("mqttV9"), Some("mqttV9")), (None, None)]
    {
        let mut talk = Talk::with(|config| config.hubs[0].profile = profile.map(str::to_owned));
        let operation = talk.started("dev-1", None);
        talk.version = "2026-11-02-preview";
        assert!(talk.poll("dev-1", &operation).1.is_none(), "it has no hub yet");
        talk.now += Span::from_secs(5);
        for (version, told) in [("2026-11-02-preview", told), ("2026-11-01", None)] {
            talk.version = version;
            let polled = talk.poll("dev-1", &operation).1.unwrap();
            assert_eq!(polled.connection_profile.as_deref(), told, "{version}");
            let lookup = Call::Lookup(Submission::Read { registration_id: None, csr: None, payload: None });
            let Body::Registration(found) = talk.ask("dev-1", lookup).body else { panic!("a registration") };
            assert_eq!(found.connection_profile.as_deref(), told, "{version}");
        }
    }
}

/// Acceptance rows 7 and 8, and the sizes: nothing is recorded, nothing is issued.
#[test]
fn a_request_that_is_not_in_order_leaves_nothing_behind() {
    let mut talk = Talk::with(|_| {});
    let long = csr(&format!("request p256 dev-1 {}", "x".repeat(CSR_MAX_BYTES)));
    let urls = "cmVxdWVzdCBwMjU2IGRldi0x_-8=";
    let bad = [
        csr("request p256 dev-2"),
        csr("request rsa dev-1"),
        csr("request dsa dev-1"),
        csr("anything else"),
        "-----BEGIN CERTIFICATE REQUEST-----".to_owned(),
        urls.to_owned(),
        String::new(),
        long,
    ];
    for text in &bad {
        assert_eq!(code_of(&talk.submit("dev-1", Some(text))), (400, 400_004), "{text:.40}");
    }
    for json in ["5", "[]", "{}", "true"] {
        let submission = Submission::Read { registration_id: None, csr: Some(json), payload: None };
        assert_eq!(code_of(&talk.ask("dev-1", Call::Register(submission))), (400, 400_004), "{json}");
    }
    assert!(talk.issue().is_none());
    assert_eq!((talk.service.registrations(), talk.service.counters().accepted), (0, 0));
}

/// Acceptance row 9.
#[test]
fn each_registration_issues_another_certificate_and_the_earlier_ones_stay_good() {
    let mut talk = Talk::with(|_| {});
    let (first, _) = talk.registered("dev-1");
    let (second, _) = talk.registered("dev-1");
    assert_ne!(first.serial, second.serial);
    assert_eq!([talk.connect("dev-1", &first), talk.connect("dev-1", &second)], [ACCEPTED; 2]);
}

/// Acceptance rows 10 and 13: no policy, one that nobody has, and one that was deleted.
#[test]
fn without_a_policy_a_request_is_ignored_or_refused() {
    for named in
        [None, Some(PolicyName::new("ns-1", "ca-1", "p90")), Some(PolicyName::new("ns-2", "ca-1", "p30"))]
    {
        for without_policy in [WithoutPolicy::Ignore, WithoutPolicy::Refuse] {
            let mut talk = Talk::with(|config| {
                config.groups[0].enrollment.policy = named.clone();
                config.issuance.without_policy = without_policy;
            });
            let reply = talk.submit("dev-1", Some(&csr("request p256 dev-1")));
            assert!(talk.issue().is_none());
            match without_policy {
                WithoutPolicy::Ignore => assert_eq!(reply.status, Status::ACCEPTED),
                WithoutPolicy::Refuse => assert_eq!(code_of(&reply), (400, 400_004)),
            }
        }
    }
    let mut talk = Talk::with(|config| {
        config.issuance.authorities[0].policies[0].until = Some(Moment::START + DAY);
    });
    let (call, _) = talk.registered("dev-1");
    talk.now = Moment::START + DAY.times(2);
    talk.started("dev-1", Some(&csr("request p256 dev-1")));
    assert!(talk.issue().is_none());
    talk.now += Span::from_secs(5);
    assert_eq!(talk.connect("dev-1", &call), ACCEPTED, "what was issued stays good");
}

/// Acceptance row 11.
#[test]
fn a_revocation_ends_every_certificate_that_a_device_has() {
    let mut talk = Talk::with(|_| {});
    let (first, _) = talk.registered("dev-1");
    let (second, _) = talk.registered("dev-1");
    let (other, _) = talk.registered("dev-2");
    talk.service.revoke_certificates(talk.now, "DEV-1");
    assert_eq!([talk.connect("dev-1", &first), talk.connect("dev-1", &second)], [REFUSED; 2]);
    assert_eq!(talk.connect("dev-2", &other), ACCEPTED);
    let (third, _) = talk.registered("dev-1");
    assert_eq!(talk.connect("dev-1", &third), ACCEPTED);
    assert_eq!(talk.connect("dev-1", &first), REFUSED);
}

/// Acceptance row 12.
#[test]
fn a_disabled_device_gets_no_certificate_and_keeps_the_one_it_has() {
    let mut talk = Talk::with(|_| {});
    let (call, _) = talk.registered("dev-1");
    let mut config = issuing_config();
    config.groups[0].enrollment.enabled = false;
    let group = config.groups.remove(0);
    talk.service.enrollments.put_group(group, talk.now);
    let reply = talk.submit("dev-1", Some(&csr("request p256 dev-1")));
    assert!(matches!(reply.body, Body::Operation { state: RegistrationState::Disabled, .. }), "{reply:?}");
    assert!(talk.issue().is_none());
    assert_eq!(talk.connect("dev-1", &call), ACCEPTED);
}

/// Acceptance row 14.
#[test]
fn when_the_issuing_authority_is_rotated_all_its_certificates_end() {
    let mut talk = Talk::with(|config| config.issuance.authorities[0].policies[0].validity = DAY.times(90));
    let (before, _) = talk.registered("dev-1");
    talk.now = Moment::START + DAY.times(49);
    assert_eq!(talk.connect("dev-1", &before), ACCEPTED);
    talk.now = Moment::START + DAY.times(50);
    assert_eq!(talk.connect("dev-1", &before), REFUSED);
    let (after, _) = talk.registered("dev-1");
    assert_eq!((after.generation, &*after.above[0]), (1, &b"issuing two"[..]));
    assert_eq!(talk.connect("dev-1", &after), ACCEPTED);
}

#[test]
fn a_certificate_is_good_for_its_time_its_device_and_its_issuer() {
    let mut talk = Talk::with(|_| {});
    let (call, _) = talk.registered("dev-1");
    let (of_another, _) = talk.registered("dev-2");
    let began = talk.now;
    let early = IssuanceCall { not_before_unix_secs: call.not_after_unix_secs, ..call.clone() };
    assert_eq!(talk.connect("dev-1", &early), REFUSED, "its time has not come");
    assert_eq!(talk.connect("dev-1", &of_another), REFUSED, "another device's");
    let mut foreign = holder(&call);
    foreign.issuing = Some(Arc::from(&b"issuing of somebody else"[..]));
    assert_eq!(talk.service.connect_hub(talk.now, 0, "dev-1", &foreign), REFUSED);
    let mut unknown = holder(&call);
    unknown.certificate.as_mut().unwrap().device_uid = None;
    assert_eq!(
        talk.service.connect_hub(talk.now, 0, "dev-1", &unknown),
        REFUSED,
        "none that was issued here"
    );
    for (after, welcome) in [(29, ACCEPTED), (31, REFUSED)] {
        talk.now = began + DAY.times(after);
        assert_eq!(talk.connect("dev-1", &call), welcome, "after {after} days");
    }
}

#[test]
fn what_a_hub_says_to_a_certificate_it_does_not_take_is_a_setting() {
    for (refusal, welcome) in
        [(Some(Connack::BadCredentials), Welcome::Refused(Connack::BadCredentials)), (None, Welcome::Closed)]
    {
        let mut talk = Talk::with(|config| config.issuance.refusal = refusal);
        let (call, _) = talk.registered("dev-1");
        talk.service.revoke_certificates(talk.now, "dev-1");
        assert_eq!(talk.connect("dev-1", &call), welcome);
        let counted = talk.service.hub_counters(0);
        assert_eq!((counted.refused, counted.throttled), (1, 0));
    }
}

#[test]
fn a_service_that_was_started_again_knows_its_certificates() {
    let mut talk = Talk::with(|_| {});
    let (call, _) = talk.registered("dev-1");
    let mut again = Talk::with(|_| {});
    again.registered("dev-1");
    again.now = talk.now;
    assert_eq!(again.connect("dev-1", &call), ACCEPTED);
}

#[test]
fn an_issuer_that_fails_fails_the_registration() {
    let mut talk = Talk::with(|_| {});
    let operation = talk.started("dev-1", Some(&csr("request p256 dev-1")));
    let call = talk.service.next_issuance().unwrap();
    talk.service.certificate_issued(&call, None);
    talk.now += Span::from_secs(5);
    let (state, registration) = talk.poll("dev-1", &operation);
    assert_eq!((state, registration.unwrap().error_code), (RegistrationState::Failed, Some(500_001)));
    talk.registered("dev-1");
}

#[test]
fn an_answer_of_the_issuer_to_an_earlier_registration_is_nobodys() {
    let mut talk = Talk::with(|_| {});
    talk.started("dev-1", Some(&csr("request p256 dev-1")));
    let late = talk.service.next_issuance().unwrap();
    talk.now += Span::from_secs(5);
    let operation = talk.started("dev-1", Some(&csr("request p256 dev-1")));
    talk.service.certificate_issued(&late, Some(b"late"));
    talk.now += Span::from_secs(5);
    assert_eq!(talk.poll("dev-1", &operation).0, RegistrationState::Assigning);
    let (_, leaf) = talk.issue().unwrap();
    assert_eq!(*talk.poll("dev-1", &operation).1.unwrap().issued_chain[0], leaf[..]);
}
