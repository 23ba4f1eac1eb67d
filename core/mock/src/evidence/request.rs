//! Requests for certificates (PKCS#10, RFC 2986): what one asks for, if it proves that its maker holds the key.
//!
//! Only the key and the common name are taken over: what else a device would like in its certificate is not its to say.

use fleetstorm_model::service::{CertificateRequest, KeyKind};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The shortest RSA key that certificates are issued for, and the longest whose signature is verified.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Reads a request; `None` if it is none, if something follows it, if it says anything twice, if its key is of no kind that
/// is taken, or if it is not signed with that key.
pub(super) fn read(der: &[u8]) -> Option<CertificateRequest> {
    let (rest, request) = X509CertificationRequest::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let info = &request.certification_request_info;
    let mut names = info.subject.iter_common_name();
    let common_name = names.next()?.as_str().ok()?.to_owned();
    if names.next().is_some() || repeats(&request) {
        return None;
    }
    let key = kind(&info.subject_pki)?;
    request.verify_signature().ok()?;
    Some(CertificateRequest { common_name, key, public_key: info.subject_pki.raw.into() })
}

/// Whether an attribute or an extension stands there more than once (RFC 5280, 4.2; RFC 2986, 4.1).
fn repeats(request: &X509CertificationRequest<'_>) -> bool {
    let attributes = request.certification_request_info.attributes();
    let twice = attributes
        .iter()
        .enumerate()
        .any(|(at, one)| attributes[..at].iter().any(|other| other.oid == one.oid));
    twice
        || attributes.iter().any(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => {
                let extensions = &requested.extensions;
                extensions
                    .iter()
                    .enumerate()
                    .any(|(at, one)| extensions[..at].iter().any(|other| other.oid == one.oid))
            }
            _ => false,
        })
}

fn kind(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyKind> {
    if key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        let Ok(PublicKey::RSA(rsa)) = key.parsed() else { return None };
        return RSA_BITS.contains(&rsa.key_size()).then_some(KeyKind::Rsa);
    }
    if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return None;
    }
    let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
    match () {
        () if curve == OID_EC_P256 => Some(KeyKind::P256),
        () if curve == OID_NIST_EC_P384 => Some(KeyKind::P384),
        () => None,
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
