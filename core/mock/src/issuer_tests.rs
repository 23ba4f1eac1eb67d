//! What the issuer signs, judged by a parser and verifier that are not its own.

use std::path::Path;

use fleetstorm_scenario::read_mock;
use rcgen::PublicKeyData as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;
use crate::serve::testing::{AUTHORITY, issuing, registered};

fn on_paused_time<T>(work: impl AsyncFnOnce() -> T) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work())
}

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

#[test]
fn a_chain_leads_from_the_devices_key_to_a_root() {
    for (intermediates, length) in [(0, 2), (1, 3), (2, 4), (3, 5)] {
        let text = AUTHORITY.replacen(
            "name = \"ca-1\"",
            &format!("name = \"ca-1\"\nintermediates = {intermediates}"),
            1,
        );
        on_paused_time(async || {
            let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
            let chain = registered(&issuing(&text), "dev-1", &key).await.issued_chain;
            assert_eq!(chain.len(), length);
            let certificates: Vec<_> = chain.iter().map(|der| parsed(der)).collect();
            assert_eq!(certificates[0].public_key().raw, key.subject_public_key_info());
            for (at, certificate) in certificates.iter().enumerate() {
                let issuer = certificates.get(at + 1).unwrap_or(certificate);
                assert_eq!(certificate.issuer(), issuer.subject(), "certificate {at}");
                certificate.verify_signature(Some(issuer.public_key())).unwrap();
                assert_eq!(certificate.is_ca(), at > 0);
            }
        });
    }
}

#[test]
fn a_devices_certificate_says_what_the_service_decided_and_nothing_that_the_device_asked_for() {
    on_paused_time(async || {
        let house = issuing(AUTHORITY);
        let began = house.service.borrow().unix_nanos(house.clock.now()) / 1_000_000_000;
        let key = KeyPair::generate().unwrap();
        let chain = registered(&house, "dev-1", &key).await.issued_chain;
        let leaf = parsed(&chain[0]);
        assert_eq!(leaf.subject().to_string(), "CN=dev-1");
        let validity = leaf.validity();
        assert_eq!(validity.not_before.timestamp(), began as i64);
        assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 30 * 86_400);
        let uses = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(uses.client_auth && !uses.server_auth && !leaf.is_ca());
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert!(matches!(names[..], [GeneralName::URI(uri)] if uri.starts_with("urn:uuid:")), "{names:?}");
        // Authority information access is written by hand here: the parser reads it back.
        let shown = leaf.extensions().iter().map(|extension| format!("{:?}", extension.parsed_extension()));
        let shown: Vec<String> = shown.collect();
        for place in ["issuing.crl", "issuing.cer"] {
            assert!(shown.iter().any(|extension| extension.contains(place)), "{place}: {shown:?}");
        }
        assert!(leaf.raw_serial().len() <= 20 && leaf.raw_serial()[0] & 0x80 == 0);
        let again = registered(&house, "dev-1", &key).await.issued_chain;
        assert_ne!(parsed(&again[0]).raw_serial(), leaf.raw_serial());
    });
}

#[test]
fn an_authority_of_ones_own_signs_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (root_key, own_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root_params = ca_params("root of ours", 1);
    let root = root_params.self_signed(&root_key).unwrap();
    let own = ca_params("issuer of ours", 2)
        .signed_by(&own_key, &Signer::from_params(&root_params, &root_key))
        .unwrap();
    std::fs::write(at("chain.pem"), own.pem() + &root.pem()).unwrap();
    std::fs::write(at("reversed.pem"), root.pem() + &own.pem()).unwrap();
    std::fs::write(at("alone.pem"), own.pem()).unwrap();
    std::fs::write(at("own.key"), own_key.serialize_pem()).unwrap();
    std::fs::write(at("other.key"), root_key.serialize_pem()).unwrap();
    std::fs::write(at("no.key"), "no key").unwrap();
    let file = |chain: &str, key: &str| {
        let given = format!("certificate = \"{}\"\nprivate_key = {{ file = \"{}\" }}\n", at(chain), at(key));
        AUTHORITY.replacen(
            "[[certificate_authority.policy]]",
            &format!("{given}[[certificate_authority.policy]]"),
            1,
        )
    };
    on_paused_time(async || {
        let chain =
            registered(&issuing(&file("chain.pem", "own.key")), "dev-1", &KeyPair::generate().unwrap()).await;
        let issued = chain.issued_chain;
        assert_eq!((issued.len(), &*issued[1], &*issued[2]), (3, &**own.der(), &**root.der()));
        parsed(&issued[0]).verify_signature(Some(parsed(own.der()).public_key())).unwrap();
    });
    for (chain, key, word) in [
        ("reversed.pem", "own.key", "do not lead to a root"),
        ("alone.pem", "own.key", "do not lead to a root"),
        ("chain.pem", "other.key", "not that of private_key"),
        ("chain.pem", "no.key", "no PKCS#8 key"),
        ("own.key", "own.key", "no certificate"),
        ("missing.pem", "own.key", "cannot be read"),
    ] {
        let mock = read_mock(Path::new(""), &file(chain, key), "mock.toml", &[]).unwrap();
        let error = authorities(&mock, &FleetIdentity::from_seed(0).unwrap()).unwrap_err().to_string();
        assert!(error.contains(word), "{chain} with {key}: {error}");
        assert!(!error.contains("PRIVATE KEY"), "{error}");
    }
}

/// A mock and a fleet that were started apart, and a mock that was started again, have the same keys.
#[test]
fn a_seed_makes_the_same_authority_every_time() {
    let mock = read_mock(Path::new(""), AUTHORITY, "mock.toml", &[]).unwrap();
    let keys = |seed| {
        let made = authorities(&mock, &FleetIdentity::from_seed(seed).unwrap()).unwrap();
        let chain = &made[0].generations[0].1;
        chain.iter().map(|der| parsed(der).public_key().raw.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(keys(1), keys(1));
    assert_ne!(keys(1)[0], keys(2)[0]);
    assert_ne!(keys(1)[0], keys(1)[1]);
}
