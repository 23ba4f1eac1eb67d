//! TPM attestation with evidence that is what it says: a challenge is the key that it carries, and whom it is for.

use fleetstorm_protocol::enrollment::{CaCertificate, Individual, SymmetricKey};
use fleetstorm_protocol::{OperationId, Reply, Status, Submission, TpmKeys};

use super::super::testing::{SCOPE, Talk, config};
use super::super::{Call, Certificate, Evidence, Request, Resource, Token};
use super::*;
use crate::service::TrustedCas;
use crate::service::tpm::TpmKey;

const EK: &[u8] = b"the endorsement key";
const SRK: &[u8] = b"the storage root key";

/// What a device with a TPM presents: the keys it names, and the key that its token is signed with.
struct Presents {
    id: &'static str,
    names: Option<(&'static [u8], Option<&'static [u8]>)>,
    key: Option<Vec<u8>>,
    resource: String,
}

impl Presents {
    fn new(id: &'static str) -> Self {
        let resource = format!("{SCOPE}/registrations/{id}");
        Self { id, names: Some((EK, Some(SRK))), key: None, resource }
    }
}

impl Evidence for Presents {
    fn token(&self) -> Token<'_> {
        match self.key {
            Some(_) => {
                Token::Claims { resource: Resource::Spelled(&self.resource), expires_unix_secs: u64::MAX }
            }
            None => Token::Absent,
        }
    }

    fn signed_with(&self, key: &SymmetricKey, derived_for: Option<&str>) -> bool {
        derived_for.is_none() && self.key.as_deref() == Some(key.expose())
    }

    fn certificate(&self) -> Option<&Certificate> {
        None
    }

    fn signed_by(&self, _: &CaCertificate, _: &TrustedCas, _: u64) -> Option<u8> {
        None
    }

    fn tpm(&self) -> Option<TpmKeys> {
        let (ek, srk) = self.names?;
        Some(TpmKeys { endorsement_key: ek.into(), storage_root_key: srk.map(Into::into) })
    }

    fn challenge(&self, ek: &[u8], srk: &[u8], key: &SymmetricKey) -> Option<Box<[u8]>> {
        (srk != b"no key").then(|| [ek, b"|", srk, b"|", key.expose()].concat().into())
    }
}

/// A service that knows the TPM of `dev-1`.
fn talk() -> Talk {
    let mut config = config();
    config.individuals.push(Individual::of_tpm("dev-1".to_owned(), EK.into()));
    Talk::with(config)
}

fn ask(talk: &mut Talk, presents: &Presents, call: Call<'_>) -> Reply {
    let request =
        Request { api_version: Some("2019-03-31"), id_scope: SCOPE, registration_id: presents.id, call };
    talk.service.handle(talk.now, &request, presents).reply
}

fn register(talk: &mut Talk, presents: &Presents) -> Reply {
    let submission = Submission::Read { registration_id: None, csr: None, payload: None };
    ask(talk, presents, Call::Register(submission))
}

/// The key in a challenge that was made for the TPM of `dev-1`.
#[track_caller]
fn key_in(blob: &[u8]) -> Vec<u8> {
    let head = [EK, b"|", SRK, b"|"].concat();
    blob.strip_prefix(&head[..]).unwrap().to_vec()
}

#[track_caller]
fn challenged(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.status, Status::UNAUTHORIZED);
    let Body::Challenge(blob) = &reply.body else { panic!("{reply:?}") };
    key_in(blob)
}

#[track_caller]
fn refused(reply: &Reply) -> u32 {
    let Body::Error(error) = &reply.body else { panic!("{reply:?}") };
    error.code
}

/// Registers with a token of this key to the end; returns the key for the hub.
fn assigned(talk: &mut Talk, key: Vec<u8>) -> Vec<u8> {
    let with_token = Presents { key: Some(key), ..Presents::new("dev-1") };
    let reply = register(talk, &with_token);
    let Body::Operation { id: Some(id), .. } = reply.body else { panic!("{reply:?}") };
    talk.pass(5);
    // A poll has no body that names a TPM.
    let polling = Presents { names: None, ..with_token };
    let reply = ask(talk, &polling, Call::Poll(OperationId::clone(&id)));
    let Body::Operation { registration: Some(registration), .. } = reply.body else { panic!("{reply:?}") };
    let Some(Enrolment::Tpm { authentication_key }) = registration.enrolment else { panic!() };
    key_in(&authentication_key)
}

#[test]
fn a_known_tpm_is_challenged_and_registers_with_the_key_it_was_given() {
    let mut talk = talk();
    let key = challenged(&register(&mut talk, &Presents::new("dev-1")));
    assert_eq!(key.len(), 32);
    let for_hub = assigned(&mut talk, key.clone());
    assert_eq!(for_hub.len(), 32);
    assert_ne!(for_hub, key, "the hub has a key of its own");
    // A device that lost its key, after a reboot say, gets it again.
    assert_eq!(challenged(&register(&mut talk, &Presents::new("DEV-1"))), key);
    talk.pass(5);
    assert_eq!(assigned(&mut talk, key), for_hub, "and a second registration ends like the first");
}

#[test]
fn each_of_a_tpms_two_keys_opens_its_own_door() {
    let mut talk = talk();
    let key = challenged(&register(&mut talk, &Presents::new("dev-1")));
    let for_hub = assigned(&mut talk, key.clone());
    let at = talk.service.registrations.find(talk.service.registrations.caller("dev-1")).unwrap();
    let to = talk.service.registrations.get(at).hub;
    let host = talk.service.hub_hosts().nth(usize::from(to)).unwrap().to_owned();
    let mut knock = |key: Option<Vec<u8>>, resource: String| {
        let presents = Presents { names: None, key, resource, ..Presents::new("dev-1") };
        matches!(
            talk.service.connect_hub(talk.now, to, "dev-1", &presents),
            crate::service::Welcome::Accepted { .. }
        )
    };
    let own = format!("{host}/devices/dev-1");
    assert!(knock(Some(for_hub.clone()), own.clone()));
    assert!(!knock(Some(key), own.clone()), "the service's key is not the hub's");
    assert!(!knock(Some(for_hub.clone()), format!("{SCOPE}/registrations/dev-1")), "for another audience");
    assert!(!knock(None, own), "no token");
    let with_hubs_key = Presents { key: Some(for_hub), ..Presents::new("dev-1") };
    assert_eq!(refused(&register(&mut talk, &with_hubs_key)), 401_000);
}

#[test]
fn what_a_tpm_cannot_prove_is_refused() {
    let mut talk = talk();
    let key = challenged(&register(&mut talk, &Presents::new("dev-1")));
    let other: Option<(&[u8], Option<&[u8]>)> = Some((b"another one", Some(SRK)));
    for (presents, code) in [
        (Presents { names: other, ..Presents::new("dev-1") }, 401_000),
        (Presents { names: other, key: Some(key.clone()), ..Presents::new("dev-1") }, 401_000),
        (Presents { key: Some(vec![0; 32]), ..Presents::new("dev-1") }, 401_000),
        (Presents { names: None, ..Presents::new("dev-1") }, 401_000),
        (Presents::new("dev-2"), 404_201),
        (Presents { key: Some(key.clone()), ..Presents::new("dev-2") }, 401_000),
        (Presents { names: Some((EK, None)), ..Presents::new("dev-1") }, 400_004),
        (Presents { names: Some((EK, Some(b"no key"))), ..Presents::new("dev-1") }, 401_000),
    ] {
        let reply = register(&mut talk, &presents);
        assert_eq!(refused(&reply), code, "{:?} {:?}", presents.names, presents.key);
        assert_eq!(u32::from(reply.status.0), code / 1_000);
    }
    assert_eq!(talk.service.registrations(), 0);
    assert_eq!(talk.service.counters().errors.values().sum::<u64>(), 8);
}

#[test]
fn the_storage_root_key_of_the_enrollment_stands_in_for_one_that_is_not_named() {
    let mut config = config();
    let mut individual = Individual::of_tpm("dev-1".to_owned(), EK.into());
    individual.enrollment.attestation =
        Attestation::Tpm { endorsement_key: EK.into(), storage_root_key: Some(SRK.into()) };
    config.individuals.push(individual);
    let mut talk = Talk::with(config);
    let key =
        challenged(&register(&mut talk, &Presents { names: Some((EK, None)), ..Presents::new("dev-1") }));
    assigned(&mut talk, key);
}

#[test]
fn another_tpm_under_the_same_id_gets_another_key() {
    let mut talk = talk();
    let before = challenged(&register(&mut talk, &Presents::new("dev-1")));
    let keys: Vec<_> = [EK, b"another one"]
        .map(|endorsement_key| TpmKey { individual: 0, endorsement_key, what: Use::Registration })
        .map(|key| key.derive(talk.service.enrollments.seed()).expose().to_vec())
        .into();
    assert_eq!(keys[0], before);
    assert_ne!(keys[1], before);
}

#[test]
fn a_challenge_is_no_attempt_at_attestation_and_a_refused_one_is() {
    let mut talk = talk();
    let counted = |talk: &Talk| talk.service.metrics().series().count();
    register(&mut talk, &Presents::new("dev-1"));
    assert_eq!(counted(&talk), 0);
    register(&mut talk, &Presents::new("dev-2"));
    assert_eq!(counted(&talk), 1);
}
