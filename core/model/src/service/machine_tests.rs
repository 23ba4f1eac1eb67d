//! Conversations with the service; the evidence is faked by someone who knows the truth.
//!
//! Names with a number are the acceptance tests of `dps` 17.4.

use std::cell::Cell;

use fleetstorm_protocol::certificate::CertificateInfo;
use fleetstorm_protocol::enrollment::{
    AllocationPolicy, Attestation, CaCertificate, Enrollment, Group, Individual, SymmetricKey,
};
use fleetstorm_protocol::{
    Body, Enrolment, Malformed, Registration, RegistrationState, Reply, RetryAfter, Status,
};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::Calendar;
use proptest::prelude::*;

use super::*;
use crate::service::throttle::{RetryAfterMode, profile};
use crate::service::{
    Assignment, Certificate, Hub, Issuance, NamedCertificate, Resource, Ticket, TrustedCas,
};

const SCOPE: &str = "0ne00ABCDEF";

/// Evidence of one device.
#[derive(Default)]
struct Truth {
    /// The name of the key that really signed, and whether a key derived from it did.
    key: Option<(&'static [u8], bool)>,
    resource: String,
    expires: u64,
    certificate: Option<Certificate>,
    /// CA and depth.
    signers: Vec<(Vec<u8>, u8)>,
    asked: Cell<u32>,
}

impl Evidence for Truth {
    fn token(&self) -> Token<'_> {
        match self.key {
            Some(_) => {
                Token::Claims { resource: Resource::Spelled(&self.resource), expires_unix_secs: self.expires }
            }
            None => Token::Absent,
        }
    }

    fn signed_with(&self, key: &SymmetricKey, derived_for: Option<&str>) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.key == Some((key.expose(), derived_for.is_some())).map(|(k, d)| (unleak(k), d))
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    fn signed_by(&self, ca: &CaCertificate, trusted: &TrustedCas, _: u64) -> Option<u8> {
        let named =
            |der: &[u8]| self.signers.iter().find(|(signer, _)| signer == der).map(|(_, depth)| *depth);
        let depth = named(&ca.der)?;
        let mut anchors = trusted.certificates.iter().filter_map(|anchor| named(anchor));
        anchors.any(|anchor| anchor >= depth).then_some(depth)
    }
}

/// The static key with these bytes, so that they can be compared with what a test names.
fn unleak(key: &[u8]) -> &'static [u8] {
    [PRIMARY, SECONDARY, OWN].into_iter().find(|known| *known == key).unwrap_or(b"unknown")
}

const PRIMARY: &[u8] = b"group primary";
const SECONDARY: &[u8] = b"group secondary";
const OWN: &[u8] = b"individual";

struct Talk {
    service: Service,
    now: Moment,
}

fn enrollment(attestation: Attestation) -> Enrollment {
    Enrollment::new(attestation)
}

fn keys(primary: &[u8], secondary: Option<&[u8]>) -> Attestation {
    Attestation::SymmetricKey {
        primary: SymmetricKey::new(primary.to_vec()),
        secondary: secondary.map(|key| SymmetricKey::new(key.to_vec())),
    }
}

fn signer(ca: &[u8]) -> Attestation {
    Attestation::Signer { primary: CaCertificate::verified(ca), secondary: None }
}

fn config() -> Config {
    let group = |id: &str, attestation| Group { id: id.into(), enrollment: enrollment(attestation) };
    Config {
        id_scope: SCOPE.into(),
        hubs: vec![Hub::new("hub-1.azure-devices.net", 1), Hub::new("hub-2.azure-devices.net", 1)],
        individuals: Vec::new(),
        groups: vec![
            group("keys", keys(PRIMARY, Some(SECONDARY))),
            group("root", signer(b"root")),
            group("intermediate", signer(b"intermediate")),
        ],
        allocation: AllocationPolicy::Hashed,
        certificates: Vec::new(),
        regions: Vec::new(),
        access: Vec::new(),
        throttle: profile("dps-doc").unwrap(),
        assignment: Assignment::Constant(Span::from_secs(2)),
        overlap: Overlap::Conflict,
        outages: Vec::new(),
        issuance: Issuance::default(),
        retry_after_secs: Some(3),
        seed: Seed(1),
        calendar: Calendar::VIRTUAL,
    }
}

fn individual(id: &str, attestation: Attestation) -> Individual {
    Individual {
        registration_id: id.into(),
        device_id: None,
        information: None,
        enrollment: enrollment(attestation),
    }
}

impl Talk {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        Self { service: Service::new(config).unwrap(), now: Moment::START + Span::from_secs(100) }
    }

    fn pass(&mut self, secs: u64) {
        self.now += Span::from_secs(secs);
    }

    fn unix(&self) -> u64 {
        Calendar::VIRTUAL.unix_secs(self.now)
    }

    /// Evidence of a device whose token is signed with the key derived from `key`.
    fn derived(&self, id: &str, key: &'static [u8]) -> Truth {
        let resource = format!("{SCOPE}/registrations/{id}");
        Truth { key: Some((key, true)), resource, expires: self.unix() + 3_600, ..Truth::default() }
    }

    fn certified(&self, common_name: &str, signers: &[(&[u8], u8)]) -> Truth {
        let now = i64::try_from(self.unix()).unwrap();
        let certificate = Certificate {
            common_name: common_name.into(),
            sha256: [7; 32],
            not_before_unix_secs: now - 10,
            not_after_unix_secs: now + 1_000,
            device_uid: None,
        };
        let signers = signers.iter().map(|(ca, depth)| (ca.to_vec(), *depth)).collect();
        Truth { certificate: Some(certificate), signers, ..Truth::default() }
    }

    fn ask(&mut self, id: &str, call: Call<'_>, truth: &Truth) -> Reply {
        let request = Request { api_version: Some("2019-03-31"), id_scope: SCOPE, registration_id: id, call };
        self.service.handle(self.now, &request, truth).reply
    }

    fn register(&mut self, id: &str, truth: &Truth) -> Reply {
        self.ask(
            id,
            Call::Register(Submission::Read { registration_id: Some(id.into()), csr: None, payload: None }),
            truth,
        )
    }

    fn poll(&mut self, id: &str, operation: &OperationId, truth: &Truth) -> Reply {
        self.ask(id, Call::Poll(operation.clone()), truth)
    }

    /// Registers and returns the operation.
    fn start(&mut self, id: &str, truth: &Truth) -> OperationId {
        let reply = self.register(id, truth);
        assert_eq!(
            (reply.status, reply.retry_after),
            (Status::ACCEPTED, RetryAfter::Seconds(3)),
            "{reply:?}"
        );
        let Body::Operation { id: Some(id), state: RegistrationState::Assigning, .. } = reply.body else {
            panic!()
        };
        id
    }

    fn assigned(&mut self, id: &str, truth: &Truth) -> Registration {
        let operation = self.start(id, truth);
        self.pass(3);
        let reply = self.poll(id, &operation, truth);
        let Body::Operation { state: RegistrationState::Assigned, registration: Some(registration), .. } =
            reply.body
        else {
            panic!("{reply:?}")
        };
        *registration
    }
}

fn refusal(reply: &Reply) -> (u16, u32) {
    let Body::Error(error) = &reply.body else { panic!("{reply:?}") };
    (reply.status.0, error.code)
}

#[test]
fn a_device_is_assigned_after_its_delay() {
    let mut talk = Talk::new();
    let truth = talk.derived("dev-1", PRIMARY);
    let operation = talk.start("dev-1", &truth);
    talk.pass(1);
    assert_eq!(talk.poll("dev-1", &operation, &truth).status, Status::ACCEPTED);
    talk.pass(1);
    let reply = talk.poll("dev-1", &operation, &truth);
    let Body::Operation { registration: Some(registration), .. } = &reply.body else { panic!("{reply:?}") };
    assert_eq!(registration.device_id.as_deref(), Some("dev-1"));
    assert!(registration.assigned_hub.as_deref().unwrap().starts_with("hub-"));
    assert_eq!(registration.enrolment, Some(Enrolment::SymmetricKey { group: Some("keys".into()) }));
    assert_eq!(talk.poll("dev-1", &operation, &truth).status, Status::OK, "an answer can be asked for again");
}

#[test]
fn acceptance_01_and_04_a_key_that_did_not_sign_is_refused() {
    let mut talk = Talk::new();
    let mut truth = talk.derived("dev-1", OWN);
    assert_eq!(refusal(&talk.register("dev-1", &truth)), (401, 401_000));
    truth.key = Some((PRIMARY, false));
    assert_eq!(
        refusal(&talk.register("dev-1", &truth)),
        (401, 401_000),
        "the group key itself is no device key"
    );
    assert_eq!(refusal(&talk.register("dev-1", &Truth::default())), (401, 401_000), "nothing was presented");
}

#[test]
fn acceptance_02_an_expired_token_is_refused_at_register_and_at_poll() {
    let mut talk = Talk::new();
    let mut truth = talk.derived("dev-1", PRIMARY);
    truth.expires = talk.unix() - 1;
    assert_eq!(refusal(&talk.register("dev-1", &truth)), (401, 401_000));
    truth.expires = talk.unix() + 2;
    let operation = talk.start("dev-1", &truth);
    talk.pass(3);
    assert_eq!(refusal(&talk.poll("dev-1", &operation, &truth)), (401, 401_000));
}

#[test]
fn acceptance_03_keys_derived_from_primary_and_secondary_are_accepted() {
    let mut talk = Talk::new();
    for (id, key) in [("dev-1", PRIMARY), ("dev-2", SECONDARY)] {
        let truth = talk.derived(id, key);
        talk.start(id, &truth);
    }
}

#[test]
fn acceptance_05_chains_are_judged_by_the_nearest_signer() {
    let mut talk = Talk::new();
    let truth = talk.certified("x-1", &[(b"root", 0)]);
    let Some(Enrolment::X509 { group }) = talk.assigned("x-1", &truth).enrolment else { panic!() };
    assert_eq!(group.as_deref(), Some("root"));
    let truth = talk.certified("x-2", &[(b"root", 1), (b"intermediate", 0)]);
    let Some(Enrolment::X509 { group }) = talk.assigned("x-2", &truth).enrolment else { panic!() };
    assert_eq!(group.as_deref(), Some("intermediate"));
    let truth = talk.certified("x-3", &[(b"somebody else", 0)]);
    assert_eq!(refusal(&talk.register("x-3", &truth)), (401, 401_002));
}

#[test]
fn a_certificate_counts_once_the_way_to_a_verified_one_is_shown() {
    let with = |root: bool, intermediate: bool, held: Option<bool>| {
        let ca = |name: &[u8], verified| CaCertificate { der: name.into(), verified };
        let group = |id: &str, ca| Group {
            id: id.into(),
            enrollment: enrollment(Attestation::Signer { primary: ca, secondary: None }),
        };
        let mut config = config();
        config.groups = vec![group("intermediate", ca(b"intermediate", intermediate))];
        if root {
            config.groups.push(group("root", ca(b"root", true)));
        }
        config.certificates = held
            .map(|verified| NamedCertificate { name: "held".into(), certificate: ca(b"root", verified) })
            .into_iter()
            .collect();
        Talk::with(config)
    };
    let whole = [(&b"intermediate"[..], 0), (&b"root"[..], 1)];
    let leaf_alone = [(&b"intermediate"[..], 0)];
    for (mut talk, shown, admitted) in [
        (with(false, false, None), &whole[..], false),
        (with(false, false, Some(false)), &whole, false),
        (with(false, false, Some(true)), &whole, true),
        (with(false, false, Some(true)), &leaf_alone, false),
        (with(true, false, None), &whole, true),
        (with(true, false, None), &leaf_alone, false),
        (with(false, true, None), &leaf_alone, true),
    ] {
        let truth = talk.certified("x-1", shown);
        if admitted {
            let enrolment = talk.assigned("x-1", &truth).enrolment;
            assert_eq!(enrolment, Some(Enrolment::X509 { group: Some("intermediate".into()) }));
        } else {
            assert_eq!(refusal(&talk.register("x-1", &truth)), (401, 401_002));
        }
    }
}

#[test]
fn a_stranger_does_not_use_up_the_polls_of_a_device() {
    let mut talk = Talk::new();
    let truth = talk.derived("dev-1", PRIMARY);
    let operation = talk.start("dev-1", &truth);
    let stranger = talk.derived("dev-1", b"another key");
    for _ in 0..20 {
        assert_eq!(refusal(&talk.poll("dev-1", &operation, &stranger)), (401, 401_000));
    }
    for _ in 0..5 {
        assert_eq!(talk.poll("dev-1", &operation, &truth).status.0, 202);
    }
    assert_eq!(refusal(&talk.poll("dev-1", &operation, &truth)).0, 429);
}

#[test]
fn individual_certificates_are_matched_by_thumbprint() {
    let mut config = config();
    let known = |sha256| Box::new(CertificateInfo { sha256, ..CertificateInfo::default() });
    let leaf = Attestation::Leaf { primary: known([1; 32]), secondary: Some(known([7; 32])) };
    config.individuals = vec![
        individual("x-1", leaf),
        individual("x-2", Attestation::Leaf { primary: known([1; 32]), secondary: None }),
    ];
    let mut talk = Talk::with(config);
    let truth = talk.certified("x-1", &[]);
    talk.start("x-1", &truth);
    let truth = talk.certified("x-2", &[(b"root", 0)]);
    assert_eq!(refusal(&talk.register("x-2", &truth)), (401, 401_002), "no falling through to the group");
}

#[test]
fn a_reference_is_the_ca_that_the_instance_holds_under_that_name() {
    let refers = |primary: &str, secondary: Option<&str>| Attestation::CaReference {
        primary: primary.into(),
        secondary: secondary.map(Into::into),
    };
    let with = |attestation: Attestation| {
        let mut config = config();
        let held = |name: &str| NamedCertificate {
            name: name.into(),
            certificate: CaCertificate::verified(format!("{name} CA").into_bytes()),
        };
        config.certificates = vec![held("factory"), held("lab")];
        config.individuals.push(individual("x-1", attestation.clone()));
        config.groups = vec![Group { id: "line".into(), enrollment: enrollment(attestation) }];
        Service::new(config)
    };
    for (attestation, signer, admitted) in [
        (refers("FACTORY", None), &b"factory CA"[..], true),
        (refers("lab", Some("factory")), b"factory CA", true),
        (refers("lab", None), b"factory CA", false),
        (refers("factory", None), b"factory", false),
    ] {
        let mut talk = Talk { service: with(attestation).unwrap(), ..Talk::new() };
        for (id, group) in [("x-1", None), ("x-2", Some("line"))] {
            let truth = talk.certified(id, &[(signer, 0)]);
            if admitted {
                let enrolment = talk.assigned(id, &truth).enrolment;
                assert_eq!(enrolment, Some(Enrolment::X509 { group: group.map(Into::into) }));
            } else {
                assert_eq!(refusal(&talk.register(id, &truth)), (401, 401_002));
            }
        }
    }
    let unknown = with(refers("factory", Some("attic"))).unwrap_err();
    assert_eq!(unknown, ConfigError::UnknownCa { enrollment: "x-1".into(), ca: "attic".into() });
}

#[test]
fn expired_and_future_leaves_are_refused() {
    let mut talk = Talk::new();
    let mut truth = talk.certified("x-1", &[(b"root", 0)]);
    truth.certificate.as_mut().unwrap().not_after_unix_secs = 5;
    assert_eq!(refusal(&talk.register("x-1", &truth)), (401, 401_002));
    truth.certificate.as_mut().unwrap().not_after_unix_secs = i64::MAX;
    truth.certificate.as_mut().unwrap().not_before_unix_secs = i64::MAX;
    assert_eq!(refusal(&talk.register("x-1", &truth)), (401, 401_002));
}

#[test]
fn acceptance_06_the_common_name_is_the_registration_id() {
    let mut talk = Talk::new();
    let truth = talk.certified("X-1", &[(b"root", 0)]);
    assert_eq!(refusal(&talk.register("other", &truth)).0, 401);
    talk.start("x-1", &truth);
}

#[test]
fn acceptance_07_case_does_not_matter() {
    let mut talk = Talk::new();
    let mut truth = talk.derived("dev-1", PRIMARY);
    talk.assigned("dev-1", &truth);
    truth.resource = "0NE00abcdef/REGISTRATIONS/Dev-1".into();
    talk.assigned("DEV-1", &truth);
    assert_eq!(talk.service.registrations(), 1);
}

#[test]
fn acceptance_08_a_disabled_individual_blocks_although_its_group_is_enabled() {
    let mut config = config();
    let mut blocked = individual("dev-1", keys(OWN, None));
    blocked.enrollment.enabled = false;
    config.individuals = vec![blocked];
    let mut talk = Talk::with(config);
    let mut truth = talk.derived("dev-1", OWN);
    truth.key = Some((OWN, false));
    let reply = talk.register("dev-1", &truth);
    assert_eq!(reply.status, Status::OK);
    assert!(matches!(reply.body, Body::Operation { id: None, state: RegistrationState::Disabled, .. }));
    let truth = talk.derived("dev-1", PRIMARY);
    assert_eq!(refusal(&talk.register("dev-1", &truth)), (401, 401_000));
    let truth = talk.derived("dev-2", PRIMARY);
    talk.start("dev-2", &truth);
}

#[test]
fn acceptance_09_the_1001st_registration_in_a_minute_is_throttled() {
    for name in ["dps-doc", "dps-window"] {
        let mut config = config();
        config.throttle = profile(name).unwrap();
        let mut talk = Talk::with(config);
        // The start of a minute, so that the aligned window is a whole one.
        talk.now = Moment::START + Span::from_secs(120);
        for device in 0..1_000 {
            let id = format!("dev-{device}");
            let truth = talk.derived(&id, PRIMARY);
            talk.start(&id, &truth);
        }
        let truth = talk.derived("dev-x", PRIMARY);
        let reply = talk.register("dev-x", &truth);
        assert_eq!(refusal(&reply), (429, 429_001), "{name}");
        assert!(matches!(reply.retry_after, RetryAfter::Seconds(1..=60)));
        assert_eq!(truth.asked.get(), 0, "a throttled request costs no signature check");
        talk.pass(60);
        talk.start("dev-x", &truth);
        assert_eq!(talk.service.counters().throttled, 1);
    }
}

#[test]
fn operations_and_registrations_have_quotas_of_their_own() {
    let mut config = config();
    config.throttle = profile("dps-doc").unwrap();
    let mut talk = Talk::with(config);
    for _ in 0..1_000 {
        assert_eq!(talk.service.admit_operation(talk.now), Ok(Span::ZERO));
    }
    let refused = talk.service.admit_operation(talk.now).unwrap_err();
    assert_eq!(refusal(&refused.reply), (429, 429_001));
    let truth = talk.derived("dev-x", PRIMARY);
    talk.start("dev-x", &truth);
    talk.pass(60);
    assert_eq!(talk.service.admit_operation(talk.now), Ok(Span::ZERO), "and it refills");
}

#[test]
fn acceptance_10_the_sixth_poll_in_ten_seconds_is_throttled_for_that_device_only() {
    let mut config = config();
    config.assignment = Assignment::Never;
    let mut talk = Talk::with(config);
    let (one, two) = (talk.derived("dev-1", PRIMARY), talk.derived("dev-2", PRIMARY));
    let operation = talk.start("dev-1", &one);
    let other = talk.start("dev-2", &two);
    for _ in 0..5 {
        assert_eq!(talk.poll("dev-1", &operation, &one).status, Status::ACCEPTED);
    }
    assert_eq!(refusal(&talk.poll("dev-1", &operation, &one)).0, 429);
    assert_eq!(talk.poll("dev-2", &other, &two).status, Status::ACCEPTED);
    talk.pass(10);
    assert_eq!(talk.poll("dev-1", &operation, &one).status, Status::ACCEPTED);
}

#[test]
fn acceptance_11_an_unknown_operation_is_not_found() {
    let mut talk = Talk::new();
    let (one, two) = (talk.derived("dev-1", PRIMARY), talk.derived("dev-2", PRIMARY));
    let operation = talk.start("dev-1", &one);
    talk.start("dev-2", &two);
    assert_eq!(refusal(&talk.poll("dev-2", &operation, &two)).0, 404, "another device's");
    assert_eq!(refusal(&talk.poll("dev-1", &OperationId::usual(5, 0, 0), &one)).0, 404);
    let three = talk.derived("dev-3", PRIMARY);
    assert_eq!(refusal(&talk.poll("dev-3", &operation, &three)).0, 404, "never registered");
}

#[test]
fn acceptance_14_overlapping_registrations_conflict_or_share_the_operation() {
    let mut talk = Talk::new();
    let truth = talk.derived("dev-1", PRIMARY);
    let first = talk.start("dev-1", &truth);
    assert_eq!(refusal(&talk.register("dev-1", &truth)), (409, 409_203));
    talk.pass(2);
    assert_eq!(talk.poll("dev-1", &first, &truth).status, Status::OK, "the first one is not harmed");

    let mut talk = Talk::with(Config { overlap: Overlap::Reuse, ..config() });
    let first = talk.start("dev-1", &truth);
    assert_eq!(talk.start("dev-1", &truth), first);
}

#[test]
fn a_record_survives_re_registration() {
    let mut talk = Talk::new();
    let truth = talk.derived("dev-1", PRIMARY);
    let first = talk.assigned("dev-1", &truth);
    talk.pass(60);
    let second = talk.assigned("dev-1", &truth);
    assert_eq!(first.created_unix_ns, second.created_unix_ns);
    assert!(second.updated_unix_ns > first.updated_unix_ns);
    assert_ne!(first.etag, second.etag);
    assert_eq!(first.assigned_hub, second.assigned_hub);
    assert_eq!(talk.service.registrations(), 1);
}

#[test]
fn malformed_requests_are_named_in_order() {
    let mut talk = Talk::new();
    let truth = talk.derived("dev-1", PRIMARY);
    let named =
        |id: &'static str| Submission::Read { registration_id: Some(id.into()), csr: None, payload: None };
    for (call, expected) in [
        (Call::NoSuchPath, (404, 404_000)),
        (Call::WrongMethod, (405, 405_000)),
        (Call::Register(Submission::WrongMediaType), (415, 415_000)),
        (Call::Register(Submission::Unreadable), (400, 400_004)),
        (Call::Register(named("other")), (400, 400_004)),
        (Call::Lookup(named("dev-1")), (404, 404_202)),
    ] {
        assert_eq!(refusal(&talk.ask("dev-1", call.clone(), &truth)), expected, "{call:?}");
    }
    let submission = || Call::Register(Submission::Read { registration_id: None, csr: None, payload: None });
    for (version, scope, expected) in
        [(None, SCOPE, 400), (Some("2015-01-01"), SCOPE, 400), (Some("2019-03-31"), "0neWRONG", 404)]
    {
        let request =
            Request { api_version: version, id_scope: scope, registration_id: "dev-1", call: submission() };
        assert_eq!(talk.service.handle(talk.now, &request, &truth).reply.status.0, expected);
    }
    assert_eq!(refusal(&talk.ask("a b", submission(), &truth)), (400, 400_004));
}

#[test]
fn a_lookup_tells_the_last_assignment_and_counts_as_a_registration() {
    let mut talk = Talk::new();
    let truth = talk.derived("dev-1", PRIMARY);
    let assigned = talk.assigned("dev-1", &truth);
    let lookup = || Call::Lookup(Submission::Read { registration_id: None, csr: None, payload: None });
    let reply = talk.ask("dev-1", lookup(), &truth);
    let Body::Registration(found) = &reply.body else { panic!("{reply:?}") };
    assert_eq!(found.assigned_hub, assigned.assigned_hub);
    let mut used = 0;
    while talk.ask("dev-1", lookup(), &truth).status != Status::TOO_MANY_REQUESTS {
        used += 1;
    }
    assert!((990..1_001).contains(&used), "{used}");
}

#[test]
fn a_static_enrollment_gets_its_hub() {
    let mut config = config();
    config.groups[0].enrollment.static_hub = Some("HUB-2.azure-devices.net".into());
    let mut talk = Talk::with(config);
    for device in 0..20 {
        let id = format!("dev-{device}");
        let truth = talk.derived(&id, PRIMARY);
        assert_eq!(talk.assigned(&id, &truth).assigned_hub.as_deref(), Some("hub-2.azure-devices.net"));
    }
}

#[test]
fn every_retry_after_mode_says_what_it_promises() {
    let said = |retry_after| {
        let mut config = config();
        config.throttle.registrations =
            super::super::throttle::Model::FixedWindow { limit: 0, window: Span::from_secs(60) };
        config.throttle.retry_after = retry_after;
        let mut talk = Talk::with(config);
        let truth = talk.derived("dev-1", PRIMARY);
        talk.register("dev-1", &truth).retry_after
    };
    assert_eq!(said(RetryAfterMode::None), RetryAfter::Absent);
    assert_eq!(said(RetryAfterMode::Constant(7)), RetryAfter::Seconds(7));
    assert_eq!(
        said(RetryAfterMode::UntilToken),
        RetryAfter::Seconds(20),
        "100 s into the run a minute has 20 s left"
    );
    assert_eq!(said(RetryAfterMode::UntilMinute), RetryAfter::Seconds(20));
    assert!(matches!(said(RetryAfterMode::Jittered(5, 9)), RetryAfter::Seconds(5..=9)));
    let at = i64::try_from(Calendar::VIRTUAL.unix_secs(Moment::START) + 120).unwrap();
    assert_eq!(said(RetryAfterMode::HttpDate), RetryAfter::Date(at));
    assert_eq!(said(RetryAfterMode::Garbage), RetryAfter::Malformed(Malformed::Garbage));
}

#[test]
fn assignment_delays_follow_their_distribution() {
    let delays = |assignment| {
        let service = Service::new(Config { assignment, ..config() }).unwrap();
        let mut all: Vec<f64> = (0..4_000u64)
            .filter_map(|device| service.placement.takes(&device.to_string(), 0))
            .map(Span::as_secs_f64)
            .collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let uniform = delays(Assignment::Uniform(Span::from_secs(1), Span::from_secs(3)));
    assert!(uniform[0] >= 1.0 && uniform[3_999] <= 3.0 && (uniform[2_000] - 2.0).abs() < 0.1);
    let max = Span::from_secs(60);
    let lognormal = delays(Assignment::Lognormal { median: Span::from_secs(2), sigma: 0.5, max });
    assert!((lognormal[2_000] - 2.0).abs() < 0.1, "{}", lognormal[2_000]);
    // The 84.13th percentile of a lognormal lies one sigma up.
    assert!((lognormal[3_365] - 2.0 * 0.5f64.exp()).abs() < 0.15, "{}", lognormal[3_365]);
    assert!(delays(Assignment::Never).is_empty());
}

#[test]
fn contradictions_in_the_configuration_are_refused() {
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        Service::new(config).unwrap_err()
    };
    assert_eq!(refused(&|config| config.hubs.clear()), ConfigError::NoHub);
    assert!(matches!(refused(&|config| config.hubs[0].weight = 0), ConfigError::Weight(_)));
    assert!(matches!(
        refused(&|config| config.groups[0].enrollment.static_hub = Some("elsewhere".into())),
        ConfigError::UnknownHub { .. }
    ));
    assert!(matches!(
        refused(&|config| {
            config.individuals = vec![individual("a", keys(OWN, None)), individual("A", keys(OWN, None))];
        }),
        ConfigError::Duplicate(_)
    ));
}

proptest! {
    /// Whatever is asked in whatever order, nothing panics, records are one a device, and the counters add up.
    #[test]
    fn any_conversation_keeps_the_books(steps in proptest::collection::vec((0..6u8, 0..4u8, 0..5_000u64), 1..200)) {
        let mut talk = Talk::new();
        let ids = ["dev-0", "DEV-0", "dev-1", "dev-2"];
        let mut operations: [Option<OperationId>; 4] = Default::default();
        let (mut answers, mut accepted, mut assigned, mut refused) = (0, 0, 0, 0);
        for (kind, who, pass_ms) in steps {
            talk.now += Span::from_millis(pass_ms);
            let id = ids[usize::from(who)];
            let good = talk.derived(id, PRIMARY);
            let bad = talk.derived(id, OWN);
            let reply = match kind {
                0 | 1 => talk.register(id, &good),
                2 => talk.register(id, &bad),
                3 | 4 => {
                    let operation = operations[usize::from(who)].clone().unwrap_or(OperationId::usual(1, 2, 3));
                    talk.poll(id, &operation, &good)
                }
                _ => talk.ask(id, Call::Lookup(Submission::Unreadable), &good),
            };
            answers += 1;
            match reply.body {
                Body::Operation { id: Some(operation), state: RegistrationState::Assigning, .. } => {
                    if kind < 2 { accepted += 1; }
                    operations[usize::from(who)] = Some(operation);
                }
                Body::Operation { state: RegistrationState::Assigned, .. } => assigned += 1,
                Body::Error(_) => refused += 1,
                other => prop_assert!(false, "{other:?}"),
            }
        }
        let counters = talk.service.counters();
        prop_assert_eq!(counters.requests, answers);
        prop_assert_eq!(counters.accepted, accepted);
        prop_assert_eq!(counters.assigned, assigned);
        prop_assert_eq!(counters.errors.values().sum::<u64>(), refused);
        prop_assert!(talk.service.registrations() <= 3);
    }
}

#[test]
fn a_device_of_the_roster_is_the_same_by_number_and_by_name() {
    let mut talk = Talk::new();
    talk.service = Service::with_roster(config(), "dev-", 3).unwrap();
    let evidence = talk.derived("dev-000001", PRIMARY);
    let asked = talk.service.ask(talk.now, 1, ApiVersion::USUAL, Query::Register, &evidence).answer;
    assert_eq!(asked, Answer::Assigning(Ticket { record: 1, registration: 1 }));
    let Body::Operation { id: Some(id), .. } = talk.service.reply(talk.now, &asked).body else { panic!() };
    talk.pass(5);
    let spelled = Request {
        api_version: Some("2021-06-01"),
        id_scope: SCOPE,
        registration_id: "DEV-000001",
        call: Call::Poll(id.clone()),
    };
    let by_name = talk.service.handle(talk.now, &spelled, &evidence).reply;
    let by_number = talk.service.ask(talk.now, 1, ApiVersion::USUAL, Query::Poll(&id), &evidence).answer;
    assert_eq!(by_name, talk.service.reply(talk.now, &by_number));
    assert!(talk.service.is_registered(1) && !talk.service.is_registered(2));
    let Body::Operation { registration: Some(registration), .. } = by_name.body else { panic!() };
    assert_eq!(registration.registration_id, "dev-000001");
    let stranger = talk.service.ask(talk.now, 3, ApiVersion::USUAL, Query::Register, &evidence).answer;
    assert!(matches!(stranger, Answer::Refused { code: 401_000, .. }), "{stranger:?}");
}

/// What a device acts on.
fn acted_on(reply: &Reply) -> impl PartialEq + std::fmt::Debug + use<> {
    let of = |registration: &Registration| {
        (
            registration.state,
            registration.substatus,
            registration.assigned_hub.clone(),
            registration.error_code,
        )
    };
    let (code, id, state, registration) = match &reply.body {
        Body::Error(error) => (error.code, None, None, None),
        Body::Operation { id, state, registration } => {
            // A device asks again by its operation's id until the operation has ended.
            let id = id.clone().filter(|_| *state == RegistrationState::Assigning);
            (0, id, Some(*state), registration.as_deref().map(of))
        }
        Body::Registration(registration) => (0, None, None, Some(of(registration))),
        Body::Empty | Body::Challenge(_) | Body::Unreadable(_) => (0, None, None, None),
    };
    (reply.status, reply.retry_after, code, id, state, registration)
}

#[test]
fn a_gist_says_what_a_device_acts_on() {
    let mut talk = Talk::new();
    talk.service = Service::with_roster(config(), "dev-", 3).unwrap();
    let evidence = talk.derived("dev-000001", PRIMARY);
    let unknown = OperationId::usual(5, 1, 1);
    let first = talk.service.ask(talk.now, 1, ApiVersion::USUAL, Query::Register, &evidence).answer;
    let Body::Operation { id: Some(id), .. } = talk.service.reply(talk.now, &first).body else { panic!() };
    let mut seen = std::collections::BTreeSet::new();
    for (device, query, wait_secs) in [
        (1, Query::Poll(&id), 0),
        (1, Query::Lookup, 0),
        (1, Query::Poll(&unknown), 5),
        (1, Query::Poll(&id), 0),
        (1, Query::Lookup, 0),
        (3, Query::Register, 0),
        (1, Query::Register, 0),
    ] {
        let answer = talk.service.ask(talk.now, device, ApiVersion::USUAL, query, &evidence).answer;
        let (reply, gist) = (talk.service.reply(talk.now, &answer), talk.service.gist(&answer));
        assert_eq!(acted_on(&reply), acted_on(&gist), "{answer:?}");
        seen.insert(format!("{answer:?}").split(['(', ' ']).next().unwrap().to_owned());
        talk.pass(wait_secs);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["Assigned", "Assigning", "Known", "Refused"]);
}
