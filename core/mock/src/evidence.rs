//! What a request proves, judged with real cryptography.
//!
//! Tokens are verified over their literal text; chains are judged as RFC 5280 says (`path`). All input is hostile:
//! nothing here may panic or take long.

mod path;
mod request;

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use aws_lc_rs::{digest, hmac};
use fleetstorm_model::service::{Certificate, CertificateRequest, Evidence, Resource, Token, TrustedCas};
use fleetstorm_protocol::certificate::{CertificateInfo, Certificates};
use fleetstorm_protocol::enrollment::{CaCertificate, SymmetricKey};
use fleetstorm_protocol::http::read_tpm;
use fleetstorm_protocol::sas::SasToken;
use fleetstorm_protocol::{Guid, TpmKeys, Transport};
use path::Ways;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::porch::{Place, Stage};

/// Who is at the other end of a connection. Kept for as long as the connection is, so that a device's polls do not
/// repeat the work of its registration.
#[derive(Debug, Default)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    address: Option<IpAddr>,
    /// Whether the IP filter refuses its address.
    is_filtered: bool,
    /// Its place in the house, where there are places.
    place: Option<Rc<Place>>,
    /// What the connection speaks by now: an HTTPS one may be upgraded.
    transport: Cell<Transport>,
    leaf: OnceCell<Option<Certificate>>,
    /// The last verdict on the chain.
    judged: RefCell<Option<Ways>>,
    /// The last token whose signature was good, with the key it was good for.
    verified: RefCell<Option<(String, Vec<u8>)>>,
    checks: Cell<u64>,
}

impl Peer {
    /// The peer that proved possession of the first certificate's key in its handshake; empty for one without.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, ..Self::default() }
    }

    /// The same peer, at an address that is known.
    pub fn at(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// The same peer, at an address that the IP filter refuses.
    pub fn filtered(self) -> Self {
        Self { is_filtered: true, ..self }
    }

    /// The same peer, with its place in the house.
    pub fn with_place(self, place: Rc<Place>) -> Self {
        Self { place: Some(place), ..self }
    }

    /// It has asked for something.
    pub fn heard(&self) {
        if let Some(place) = &self.place {
            place.rise(Stage::Heard);
        }
    }

    /// It has proved who it is.
    pub fn proved(&self) {
        if let Some(place) = &self.place {
            place.rise(Stage::Proven);
        }
    }

    /// Says what the connection speaks from now on.
    pub fn speaks(&self, transport: Transport) {
        self.transport.set(transport);
    }

    /// Its address, where it has one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn leaf(&self) -> Option<&Certificate> {
        self.leaf.get_or_init(|| facts(self.chain.first()?)).as_ref()
    }
}

fn facts(leaf: &CertificateDer<'_>) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let common_name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, leaf).as_ref());
    Some(Certificate {
        common_name,
        sha256,
        not_before_unix_secs: certificate.validity().not_before.timestamp(),
        not_after_unix_secs: certificate.validity().not_after.timestamp(),
        device_uid: device_uid(&certificate),
    })
}

/// The id of its device in a certificate that the mock has issued.
fn device_uid(certificate: &X509Certificate<'_>) -> Option<u128> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Guid::read(uri.strip_prefix("urn:uuid:")?).map(|guid| guid.0),
        _ => None,
    })
}

/// Whether a certificate is that of a key.
pub(crate) fn is_of_key(der: &[u8], key: &rcgen::KeyPair) -> bool {
    use rcgen::PublicKeyData as _;
    let certificate = X509Certificate::from_der(der);
    certificate.is_ok_and(|(_, certificate)| certificate.public_key().raw == key.subject_public_key_info())
}

/// What a request for a certificate in DER asks for.
pub(crate) fn certificate_request(der: &[u8]) -> Option<CertificateRequest> {
    request::read(der)
}

/// Reads a certificate for those who ask what it is.
pub fn certificate_info(der: &[u8]) -> Option<CertificateInfo> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let (mut sha1, mut sha256) = ([0; 20], [0; 32]);
    sha1.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref());
    sha256.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    Some(CertificateInfo {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        sha1,
        sha256,
        not_before_unix_secs: certificate.validity().not_before.timestamp(),
        not_after_unix_secs: certificate.validity().not_after.timestamp(),
        serial: certificate.raw_serial_as_string().replace(':', "").to_ascii_uppercase(),
        version: certificate.version().0 + 1,
    })
}

/// Certificates and keys of TPMs by real cryptography.
pub struct RealCertificates;

impl Certificates for RealCertificates {
    fn read(&self, der: &[u8]) -> Option<CertificateInfo> {
        certificate_info(der)
    }

    fn is_tpm_key(&self, public: &[u8]) -> bool {
        fleetstorm_tpm::check(public).is_ok()
    }
}

/// What one request presents: its connection's peer and its own token.
pub struct Presented<'a> {
    peer: &'a Peer,
    token: Option<Result<SasToken<'a>, ()>>,
    text: &'a str,
    /// The body of the request, which may name a TPM.
    body: &'a [u8],
    /// Nothing of the connection and the body counts either.
    is_void: bool,
}

impl<'a> Presented<'a> {
    /// `authorization` is the header's value, if there is one.
    pub fn new(peer: &'a Peer, authorization: Option<&'a str>) -> Self {
        let token = authorization.map(|text| SasToken::read(text).map_err(|_| ()));
        Self { peer, token, text: authorization.unwrap_or(""), body: &[], is_void: false }
    }

    /// The same, to DPS rather than a hub: who comes from an address that the IP filter refuses presents nothing, so its 401
    /// is that of anybody who does.
    pub fn for_dps(self) -> Self {
        match self.peer.is_filtered {
            true => Self { token: None, is_void: true, ..self },
            false => self,
        }
    }

    /// The same, with the body of a registration.
    pub fn with_body(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }
}

impl Evidence for Presented<'_> {
    fn transport(&self) -> Transport {
        self.peer.transport.get()
    }

    fn token(&self) -> Token<'_> {
        match &self.token {
            None => Token::Absent,
            Some(Err(())) => Token::Unreadable,
            Some(Ok(token)) => Token::Claims {
                resource: Resource::Spelled(&token.resource),
                expires_unix_secs: token.expires_unix_secs,
            },
        }
    }

    fn policy(&self) -> &str {
        match &self.token {
            Some(Ok(token)) => token.policy,
            Some(Err(())) | None => "",
        }
    }

    fn signed_with(&self, key: &SymmetricKey, derived_for: Option<&str>) -> bool {
        let Some(Ok(token)) = &self.token else { return false };
        let key_id = [derived_for.unwrap_or("").as_bytes(), b"\n", key.expose()].concat();
        if let Some((text, good_for)) = &*self.peer.verified.borrow()
            && text == self.text
        {
            return *good_for == key_id;
        }
        self.peer.checks.set(self.peer.checks.get() + 1);
        let enrolled = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let signer = match derived_for {
            // Devices of a group hold base64(HMAC(group key, registration id)) (`dps` 6.3).
            Some(id) => hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&enrolled, id.as_bytes()).as_ref()),
            None => enrolled,
        };
        let good = hmac::verify(&signer, token.signed_text().as_bytes(), &token.signature).is_ok();
        if good {
            *self.peer.verified.borrow_mut() = Some((self.text.to_owned(), key_id));
        }
        good
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.peer.leaf().filter(|_| !self.is_void)
    }

    fn signed_by(&self, ca: &CaCertificate, trusted: &TrustedCas, unix_secs: u64) -> Option<u8> {
        let mut judged = self.peer.judged.borrow_mut();
        if !judged.as_ref().is_some_and(|ways| ways.stand(trusted, unix_secs)) {
            *judged = Some(Ways::of(&self.peer.chain, trusted, unix_secs));
        }
        judged.as_ref()?.depth(&ca.der)
    }

    fn certificate_request(&self, der: &[u8]) -> Option<CertificateRequest> {
        certificate_request(der)
    }

    fn tpm(&self) -> Option<TpmKeys> {
        read_tpm(self.body).filter(|_| !self.is_void)
    }

    fn challenge(
        &self,
        endorsement_key: &[u8],
        storage_root_key: &[u8],
        key: &SymmetricKey,
    ) -> Option<Box<[u8]>> {
        let draws = fleetstorm_tpm::Draws::fresh()?;
        let challenge = fleetstorm_tpm::make(endorsement_key, storage_root_key, key.expose(), &draws);
        Some(challenge.ok()?.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    use super::*;

    const NOW: u64 = 1_767_225_600;

    fn made(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_leaf_is_told_by_its_name_and_its_dates() {
        let peer = Peer::new(vec![made("dev-1")]);
        let facts = peer.leaf().unwrap();
        assert_eq!(facts.common_name, "dev-1");
        assert_eq!(facts.not_before_unix_secs, 1_735_689_600);
    }

    #[test]
    fn a_verified_token_is_not_verified_again_on_the_same_connection() {
        let group = SymmetricKey::new((0..64).collect());
        let text = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                    &sig=eg1rWF3ZMGavnJD4rHkAivFB3jPy9u6uvYJyGyKQSLI%3D&se=1900000000&skn=registration";
        let peer = Peer::default();
        for _ in 0..3 {
            let presented = Presented::new(&peer, Some(text));
            assert!(presented.signed_with(&group, Some("dev-0001")));
            assert!(!presented.signed_with(&group, None));
        }
        assert_eq!(peer.checks.get(), 1);
        let forged = text.replace("eg1r", "fg1r");
        assert!(!Presented::new(&peer, Some(&forged)).signed_with(&group, Some("dev-0001")));
    }

    proptest! {
        #[test]
        fn hostile_certificates_are_refused_without_a_panic(at in 0..300usize, byte: u8, cut in 0..400usize, noise: Vec<u8>) {
            let root = made("root");
            let mut der = made("dev").to_vec();
            let length = der.len();
            der[at % length] = byte;
            der.truncate(cut.max(1));
            for der in [der, noise] {
                let ca = CaCertificate::verified(&*root);
                // The trusted one can be as bad as the one that is judged.
                for (chain, trusted) in [(vec![der.clone()], root.to_vec()), (vec![root.to_vec()], der)] {
                    let trusted = TrustedCas { version: 1, certificates: vec![trusted.into()] };
                    let peer = Peer::new(chain.into_iter().map(CertificateDer::from).collect());
                    let presented = Presented::new(&peer, None);
                    presented.certificate();
                    presented.signed_by(&ca, &trusted, NOW);
                }
            }
        }
    }
}
