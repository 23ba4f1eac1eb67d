//! A house for the tests of the doors.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use fleetstorm_model::chaos::Layer;
use fleetstorm_model::service::{
    Call, Certificate, CertificateRequest, Evidence, Request, Resource, Service, Token, TrustedCas,
};
use fleetstorm_net::clock::Clock;
use fleetstorm_protocol::enrollment::{CaCertificate, SymmetricKey};
use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_protocol::{Body, Registration, Submission};
use fleetstorm_scenario::{MockFile, Scenario, read_mock};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::Calendar;

use super::{Errands, House, Limits};
use crate::identity::FleetIdentity;
use crate::issuer::Issuer;

/// The demo's house, without a log and without webhooks.
pub fn house() -> Rc<House> {
    house_with(|_| ())
}

/// The same with other limits.
pub fn house_with(change: impl FnOnce(&mut Limits)) -> Rc<House> {
    built(&MockFile::default(), change)
}

/// A house of a mock's file, whose paths begin in `directory`.
pub fn house_of(directory: &Path, text: &str) -> Rc<House> {
    let file = read_mock(directory, text, "mock.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    built(&file, |_| ())
}

fn built(file: &MockFile, change: impl FnOnce(&mut Limits)) -> Rc<House> {
    let mut limits = Limits::from(file.limits);
    change(&mut limits);
    let fleet = FleetIdentity::from_seed(0).unwrap();
    let mut config = crate::resolve(file, &fleet, Calendar::VIRTUAL).unwrap();
    config.seed = Seed(1);
    let errands = Errands { webhooks: None, issuer: Issuer::new(file, &fleet).unwrap() };
    House::new(
        Service::new(config).unwrap(),
        Clock::start(),
        Duration::ZERO,
        (file.mqtt, limits),
        errands,
        None,
    )
}

/// An authority with a policy of 30 days, for [`issuing`].
pub(crate) const AUTHORITY: &str = "[[certificate_authority]]\nnamespace = \"ns-1\"\nname = \"ca-1\"\n\
    [[certificate_authority.policy]]\nname = \"p30\"\nvalidity_days = 30\n";

/// The demo's house with one hub, whose devices with keys get certificates as a mock's file says.
pub(crate) fn issuing(text: &str) -> Rc<House> {
    issuing_by(text, 0)
}

/// The same, with authorities whose keys are made from this seed.
pub(crate) fn issuing_by(text: &str, seed: u64) -> Rc<House> {
    let file = fleetstorm_scenario::read_mock(Path::new(""), text, "mock.toml", &[]);
    let file = file.unwrap_or_else(|problems| panic!("{problems}"));
    let fleet = FleetIdentity::from_seed(seed).unwrap();
    let mut config = crate::resolve(&file, &fleet, Calendar::VIRTUAL).unwrap();
    config.hubs.truncate(1);
    config.groups[0].enrollment.policy = Some(PolicyName::new("ns-1", "ca-1", "p30"));
    let errands = Errands { webhooks: None, issuer: Issuer::new(&file, &fleet).unwrap() };
    let limits = Limits::from(file.limits);
    let service = Service::new(config).unwrap();
    House::new(service, Clock::start(), Duration::ZERO, (file.mqtt, limits), errands, None)
}

/// Whoever shows this is admitted by the first group, as any device of it.
pub(crate) struct Admitted;

impl Evidence for Admitted {
    fn token(&self) -> Token<'_> {
        Token::Claims { resource: Resource::Own, expires_unix_secs: u64::MAX }
    }

    fn signed_with(&self, _: &SymmetricKey, _: Option<&str>) -> bool {
        true
    }

    fn certificate(&self) -> Option<&Certificate> {
        None
    }

    fn signed_by(&self, _: &CaCertificate, _: &TrustedCas, _: u64) -> Option<u8> {
        None
    }

    fn certificate_request(&self, der: &[u8]) -> Option<CertificateRequest> {
        crate::evidence::certificate_request(der)
    }
}

/// The base64 of a request for a certificate.
pub(crate) fn csr(id: &str, key: &rcgen::KeyPair) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, id);
    base64::prelude::BASE64_STANDARD.encode(params.serialize_request(key).unwrap().der())
}

/// Registers a device to the end, with a request for a certificate. What it is told.
pub(crate) async fn registered(house: &Rc<House>, id: &str, key: &rcgen::KeyPair) -> Registration {
    let json = format!("\"{}\"", csr(id, key));
    let ask = |call| {
        let id_scope = house.service.borrow().id_scope().to_owned();
        let request =
            Request { api_version: Some("2026-11-01"), id_scope: &id_scope, registration_id: id, call };
        let reply = house.service.borrow_mut().handle(house.clock.now(), &request, &Admitted).reply;
        super::webhooks::run_errands(house);
        reply
    };
    let submission = Submission::Read { registration_id: None, csr: Some(&json), payload: None };
    let reply = ask(Call::Register(submission));
    let Body::Operation { id: Some(operation), .. } = reply.body else { panic!("{reply:?}") };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let reply = ask(Call::Poll(operation));
    match reply.body {
        Body::Operation { registration: Some(registration), .. } => *registration,
        _ => panic!("{reply:?}"),
    }
}

/// The demo's house whose service gives everybody the same answer, and which is under a fault of the protocol, both in the
/// words of a scenario: `"mqtt.duplicate"`.
pub fn house_under(answer: &str, fault: &str) -> Rc<House> {
    let entry = |kind: &str| format!("[[chaos]]\nfault = {{ kind = {kind} }}\n");
    let text = format!("[fleet]\ndevices = 10\n{}{}", entry(answer), entry(fault));
    let scenario = Scenario::read(&text, "t.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let timeline = scenario.timeline(&[0; 10]).unwrap();
    let house = house();
    house.service.borrow_mut().disturb(
        timeline.rules(&[Layer::Service]),
        fleetstorm_model::chaos::Naming::Fleet("dev-".to_owned()),
    );
    house.arm(&timeline, fleetstorm_model::chaos::Naming::Fleet("dev-".to_owned()));
    house
}
