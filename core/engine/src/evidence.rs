//! What a request proves, judged with real cryptography.
//!
//! Tokens are verified over their literal text; chains are walked from the leaf to a certificate that an enrollment
//! trusts, every signature and every date on the way. All input is hostile: nothing here may panic or take long.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;

use aws_lc_rs::{digest, hmac};
use fleetstorm_model::protocol::Transport;
use fleetstorm_model::protocol::http::read_tpm;
use fleetstorm_model::protocol::sas::SasToken;
use fleetstorm_model::service::certificate::{CertificateInfo, Certificates};
use fleetstorm_model::service::enrollment::{CaCertificate, SymmetricKey};
use fleetstorm_model::service::{Certificate, Evidence, Resource, Token, TpmKeys};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest chain that is walked; devices present a leaf and an intermediate or two.
const CHAIN_MAX: usize = 8;

/// Who is at the other end of a connection. Kept for as long as the connection is, so that a device's polls do not
/// repeat the work of its registration.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    chain: Vec<CertificateDer<'static>>,
    address: Option<IpAddr>,
    /// What the connection speaks by now: an HTTPS one may be upgraded.
    transport: Cell<Transport>,
    leaf: OnceCell<Option<Certificate>>,
    /// The last verdict on a chain: the CA's digest and how deep the leaf lies beneath it.
    judged: RefCell<Option<(Vec<u8>, Option<u8>)>>,
    /// The last token whose signature was good, with the key it was good for.
    verified: RefCell<Option<(String, Vec<u8>)>>,
    checks: Cell<u64>,
}

impl Peer {
    /// The peer that proved possession of the first certificate's key in its handshake; empty for one without.
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, ..Self::default() }
    }

    /// The same peer, at an address that is known.
    pub(crate) fn at(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Says what the connection speaks from now on.
    pub(crate) fn speaks(&self, transport: Transport) {
        self.transport.set(transport);
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn leaf(&self) -> Option<&Certificate> {
        self.leaf.get_or_init(|| facts(self.chain.first()?)).as_ref()
    }

    /// How many certificates lie between the leaf and `ca`.
    fn depth(&self, ca: &CaCertificate, unix_secs: u64) -> Option<u8> {
        let (_, ca) = X509Certificate::from_der(&ca.0).ok()?;
        let now = x509_parser::time::ASN1Time::from_timestamp(i64::try_from(unix_secs).ok()?).ok()?;
        if !ca.validity().is_valid_at(now) {
            return None;
        }
        let mut held = X509Certificate::from_der(self.chain.first()?).ok()?.1;
        for depth in 0..CHAIN_MAX {
            if !held.validity().is_valid_at(now) {
                return None;
            }
            if held.issuer() == ca.subject() && held.verify_signature(Some(ca.public_key())).is_ok() {
                return u8::try_from(depth).ok();
            }
            let next = X509Certificate::from_der(self.chain.get(depth + 1)?).ok()?.1;
            let linked = held.issuer() == next.subject()
                && next.is_ca()
                && held.verify_signature(Some(next.public_key())).is_ok();
            // The trusted certificate itself may end the presented chain.
            if !linked {
                return None;
            }
            held = next;
        }
        None
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
    })
}

/// Reads a certificate for those who ask what it is.
pub(crate) fn certificate_info(der: &[u8]) -> Option<CertificateInfo> {
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

/// Certificates by real cryptography.
pub(crate) struct RealCertificates;

impl Certificates for RealCertificates {
    fn read(&self, der: &[u8]) -> Option<CertificateInfo> {
        certificate_info(der)
    }
}

/// What one request presents: its connection's peer and its own token.
pub(crate) struct Presented<'a> {
    peer: &'a Peer,
    token: Option<Result<SasToken<'a>, ()>>,
    text: &'a str,
    /// The body of the request, which may name a TPM.
    body: &'a [u8],
}

impl<'a> Presented<'a> {
    /// `authorization` is the header's value, if there is one.
    pub(crate) fn new(peer: &'a Peer, authorization: Option<&'a str>) -> Self {
        let token = authorization.map(|text| SasToken::read(text).map_err(|_| ()));
        Self { peer, token, text: authorization.unwrap_or(""), body: &[] }
    }

    /// The same, with the body of a registration.
    pub(crate) fn with_body(self, body: &'a [u8]) -> Self {
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
            // Devices of a group hold base64(HMAC(group key, registration id)) (`dps-protocol` 6.3).
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
        self.peer.leaf()
    }

    fn signed_by(&self, ca: &CaCertificate, unix_secs: u64) -> Option<u8> {
        let id = digest::digest(&digest::SHA256, &ca.0);
        if let Some((judged, depth)) = &*self.peer.judged.borrow()
            && judged == id.as_ref()
        {
            return *depth;
        }
        let depth = self.peer.depth(ca, unix_secs);
        *self.peer.judged.borrow_mut() = Some((id.as_ref().to_vec(), depth));
        depth
    }

    fn tpm(&self) -> Option<TpmKeys> {
        read_tpm(self.body)
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
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// A certificate named `name`, issued by `issuer` or by itself.
    fn certificate(name: &str, ca: bool, issuer: Option<&Made>) -> Made {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let der = match issuer {
            Some(made) => {
                params.signed_by(&key, &Issuer::from_params(&made.params, &made.key)).unwrap().der().clone()
            }
            None => params.self_signed(&key).unwrap().der().clone(),
        };
        Made { params, key, der }
    }

    struct Made {
        params: CertificateParams,
        key: KeyPair,
        der: CertificateDer<'static>,
    }

    const NOW: u64 = 1_767_225_600;

    fn depth(chain: &[&Made], ca: &Made) -> Option<u8> {
        let peer = Peer::new(chain.iter().map(|made| made.der.clone()).collect());
        Presented::new(&peer, None).signed_by(&CaCertificate(ca.der.to_vec()), NOW)
    }

    #[test]
    fn chains_are_walked_to_the_trusted_certificate() {
        let root = certificate("root", true, None);
        let intermediate = certificate("intermediate", true, Some(&root));
        let leaf = certificate("dev-1", false, Some(&intermediate));
        let direct = certificate("dev-2", false, Some(&root));
        assert_eq!(depth(&[&direct], &root), Some(0));
        assert_eq!(depth(&[&leaf, &intermediate], &root), Some(1));
        assert_eq!(depth(&[&leaf, &intermediate], &intermediate), Some(0), "the nearest signer");
        assert_eq!(depth(&[&leaf], &root), None, "a gap");
        let stranger = certificate("root", true, None);
        assert_eq!(depth(&[&direct], &stranger), None, "the same name with another key");
        let no_ca = certificate("impostor", false, Some(&root));
        let issued_by_it = certificate("dev-3", false, Some(&no_ca));
        assert_eq!(depth(&[&issued_by_it, &no_ca], &root), None, "a leaf that issues");
    }

    #[test]
    fn dates_hold_for_the_whole_way() {
        let root = certificate("root", true, None);
        let leaf = certificate("dev-1", false, Some(&root));
        let peer = Peer::new(vec![leaf.der.clone()]);
        let ca = CaCertificate(root.der.to_vec());
        assert_eq!(peer.depth(&ca, NOW), Some(0));
        assert_eq!(peer.depth(&ca, 1_900_000_000), None);
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
            let root = certificate("root", true, None);
            let mut der = certificate("dev", false, Some(&root)).der.to_vec();
            let length = der.len();
            der[at % length] = byte;
            der.truncate(cut.max(1));
            for der in [der, noise] {
                let peer = Peer::new(vec![CertificateDer::from(der)]);
                let presented = Presented::new(&peer, None);
                presented.certificate();
                presented.signed_by(&CaCertificate(root.der.to_vec()), NOW);
            }
        }
    }
}
