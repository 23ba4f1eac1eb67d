//! Requests of every kind that is taken, and of every kind that must not be.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SignatureAlgorithm};

use super::*;

fn named(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in names {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    params
}

fn request(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.serialize_request(key).unwrap().der().to_vec()
}

fn of_kind(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
    request(&named(&["dev-1"]), &KeyPair::generate_for(algorithm).unwrap())
}

fn good() -> Vec<u8> {
    of_kind(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// Made by `openssl req -new -newkey rsa:512 -nodes -sha256 -subj /CN=dev-1` and `openssl req` with two common names.
const RSA_512: &str = "MIHJMHUCAQAwEDEOMAwGA1UEAwwFZGV2LTEwXDANBgkqhkiG9w0BAQEFAANLADBIAkEAu4xHMfab8/QOJxE/h9xuEXOMpUc/3Kbf\
    +z0B5y0cZz8IFpzjBPQcP8m+HAoPQ7+eWOFBiPz3E4qIbWCrFQXbMQIDAQABoAAwDQYJKoZIhvcNAQELBQADQQC6BWgs0RP0PU45\
    5ddzfrjBM+H/SGyqzi4iqbq5lgjHH545a1WVc4ESb8wpD6b3UWRDxkDilcjqds82fVzyiM3p";
const TWO_NAMES: &str = "MIHaMIGCAgEAMCAxDjAMBgNVBAMMBWRldi0xMQ4wDAYDVQQDDAVkZXYtMjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAU9DW78\
    PMjGwiqm3TRjc20KYIh9hWu1QrbGXpoLzjSTZgOGQdJ2yGU6LXDKGcY4dG819Ff8fiAUwV45eXgyMg6gADAKBggqhkjOPQQDAgNH\
    ADBEAiAjlUwF0P58v/PSA/rrd15fz9HQvvF4LTvJqntYyj6fUgIgA17qvrPf99lVoGfBMY9BHTMfnZapWOi9m3CsCe3o1Ig=";

#[test]
fn keys_of_three_kinds_are_taken() {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    for (der, kind) in [
        (good(), KeyKind::P256),
        (of_kind(&rcgen::PKCS_ECDSA_P384_SHA384), KeyKind::P384),
        (request(&named(&["dev-1"]), &rsa), KeyKind::Rsa),
    ] {
        let read = read(&der).unwrap();
        assert_eq!((&*read.common_name, read.key), ("dev-1", kind));
        let (_, key) = SubjectPublicKeyInfo::from_der(&read.public_key).unwrap();
        assert_eq!(key.raw, &*read.public_key);
    }
}

#[test]
fn other_keys_are_not_taken() {
    assert_eq!(read(&of_kind(&rcgen::PKCS_ED25519)), None);
    assert_eq!(read(&of_kind(&rcgen::PKCS_ECDSA_P521_SHA512)), None);
    let short = BASE64_STANDARD.decode(RSA_512).unwrap();
    assert!(X509CertificationRequest::from_der(&short).is_ok(), "it is a request");
    assert_eq!(read(&short), None);
}

#[test]
fn a_request_proves_that_its_maker_holds_the_key() {
    let mut der = good();
    let last = der.len() - 1;
    der[last] ^= 1;
    assert_eq!(read(&der), None, "another signature");
    let der = good();
    // The name is part of what is signed.
    let at = der.windows(5).position(|part| part == b"dev-1").unwrap();
    let mut renamed = der.clone();
    renamed[at + 4] = b'2';
    assert_eq!(read(&renamed), None, "another name");
    assert!(read(&der).is_some());
}

#[test]
fn what_is_cut_off_or_followed_by_more_is_no_request() {
    let der = good();
    for length in 0..der.len() {
        assert_eq!(read(&der[..length]), None, "{length} bytes of it");
    }
    assert_eq!(read(&[&der[..], &[0]].concat()), None);
    assert_eq!(read(&vec![0x30; 1 << 20]), None, "a megabyte");
    // Lengths that promise more than there is.
    assert_eq!(read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
}

#[test]
fn nothing_may_be_said_twice() {
    let key = KeyPair::generate().unwrap();
    let mut params = named(&["dev-1"]);
    let extension = || CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    params.custom_extensions = vec![extension()];
    assert!(read(&request(&params, &key)).is_some());
    params.custom_extensions = vec![extension(), extension()];
    assert_eq!(read(&request(&params, &key)), None, "an extension");
    let two = BASE64_STANDARD.decode(TWO_NAMES).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(&two).unwrap();
    assert_eq!(parsed.certification_request_info.subject.iter_common_name().count(), 2);
    assert_eq!(read(&two), None, "a name");
    assert_eq!(read(&request(&named(&[]), &key)), None, "no name at all");
}

#[test]
fn hostile_names_are_names_and_no_more() {
    let key = KeyPair::generate().unwrap();
    for name in
        ["dev-1\0.evil", "../../etc/passwd", "dev-1,CN=root", "\u{202e}1-ved", "<script>", "{}", "%00"]
    {
        let read = read(&request(&named(&[name]), &key)).unwrap();
        assert_eq!(read.common_name, name, "it equals no device's name but its own");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_without_a_panic(at in 0..300usize, byte: u8, cut in 0..400usize, noise: Vec<u8>) {
        let mut der = good();
        let before = read(&der);
        let length = der.len();
        der[at % length] = byte;
        der.truncate(cut);
        let taken = read(&der);
        prop_assert!(taken.is_none() || taken == before, "another name or key is taken");
        read(&noise);
    }
}
