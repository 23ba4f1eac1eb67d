//! The keys and certificates of a fleet, from a seed.
//!
//! The same seed gives the same keys in every process, so a fleet and a mock that were started apart know each
//! other. They protect nothing: whoever has the seed has the keys.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_protocol::enrollment::SymmetricKey;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The id scope of the demo that a mock without a configuration plays.
pub const DEMO_SCOPE: &str = "0ne00F1EE75";
/// The demo's symmetric-key enrollment group.
pub const DEMO_KEY_GROUP: &str = "demo-keys";
/// The demo's X.509 enrollment group.
pub const DEMO_CERTIFICATE_GROUP: &str = "demo-certificates";

/// A key or certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {what}: {why}")]
pub struct IdentityError {
    what: &'static str,
    why: String,
}

fn failed(what: &'static str) -> impl Fn(String) -> IdentityError {
    move |why| IdentityError { what, why }
}

/// The keys of a fleet: its symmetric-key group and the CA of its X.509 group.
pub struct FleetIdentity {
    seed: u64,
    ca: Authority,
}

struct Authority {
    certificate: Certificate,
    key: KeyPair,
    params: CertificateParams,
}

impl FleetIdentity {
    /// The identity of this seed; 0 is the demo's.
    ///
    /// # Errors
    /// The cryptographic library refuses, which it does not on a sound machine.
    pub fn from_seed(seed: u64) -> Result<Self, IdentityError> {
        Ok(Self { seed, ca: authority("Fleetstorm fleet CA", key_pair(seed, "fleet CA", 0)?)? })
    }

    /// What all of it is made from.
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// The group keys in base64, primary first.
    pub fn group_keys_base64(&self) -> [Zeroizing<String>; 2] {
        [0, 1].map(|which| Zeroizing::new(BASE64_STANDARD.encode(&*self.group_key(which))))
    }

    /// The group keys as an enrollment holds them, primary first.
    pub fn group_keys(&self) -> [SymmetricKey; 2] {
        [0, 1].map(|which| SymmetricKey::new(self.group_key(which).to_vec()))
    }

    /// The keys of the access policy that owns a mock of this fleet, primary first.
    pub fn owner_keys(&self) -> [SymmetricKey; 2] {
        [0, 1].map(|which| SymmetricKey::new(bytes(self.seed, "owner key", which).to_vec()))
    }

    fn group_key(&self, which: u32) -> Zeroizing<Vec<u8>> {
        let halves = [bytes(self.seed, "group key", 2 * which), bytes(self.seed, "group key", 2 * which + 1)];
        Zeroizing::new(halves.iter().flat_map(|half| half.iter().copied()).collect())
    }

    /// The fleet CA's certificate, PEM.
    pub fn ca_pem(&self) -> String {
        self.ca.certificate.pem()
    }

    /// The fleet CA's certificate, DER.
    pub fn ca_der(&self) -> &[u8] {
        self.ca.certificate.der()
    }

    /// The fleet CA's key, PKCS#8 PEM.
    pub fn ca_key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.ca.key.serialize_pem())
    }

    /// A pool of device keys, PKCS#8 PEM.
    ///
    /// # Errors
    /// As [`FleetIdentity::from_seed`].
    pub fn device_keys_pem(&self, count: u32) -> Result<Vec<Zeroizing<String>>, IdentityError> {
        (0..count).map(|n| Ok(Zeroizing::new(key_pair(self.seed, "device", n)?.serialize_pem()))).collect()
    }
}

/// What a server's throw-away certificate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKeys {
    /// ECDSA, and RSA for clients that have no suites with ECDSA. Their CA is of ECDSA.
    Both,
    /// ECDSA, the CA as well.
    Ecdsa,
    /// RSA, the CA as well: for clients that know nothing else.
    Rsa,
}

/// A server's certificate and key, and the CA that vouches for it.
pub struct ServerIdentity {
    /// The CA's certificate, PEM.
    pub ca_pem: String,
    /// The server's chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The server's key.
    pub key: PrivateKeyDer<'static>,
    /// The other one for clients that this one is not for.
    pub rsa: Option<Arc<LateRsa>>,
}

impl ServerIdentity {
    /// A throw-away CA and a certificate for the usual names of a mock and for `more`.
    ///
    /// # Errors
    /// A name is no DNS name.
    pub fn throw_away(more: &[String], keys: ServerKeys) -> Result<Self, IdentityError> {
        Self::with_validity(more, keys, -1, 3_650)
    }

    /// The same, valid from and for so many days from now.
    ///
    /// # Errors
    /// A name is no DNS name.
    pub fn with_validity(
        more: &[String],
        keys: ServerKeys,
        from_days: i64,
        to_days: i64,
    ) -> Result<Self, IdentityError> {
        let failed = failed("the mock's server certificate");
        let make = || match keys {
            ServerKeys::Both | ServerKeys::Ecdsa => {
                KeyPair::generate().map_err(|error| failed(error.to_string()))
            }
            ServerKeys::Rsa => rsa_key(),
        };
        let ca = authority("Fleetstorm throw-away CA", make()?)?;
        let mut names: Vec<String> =
            ["localhost", "127.0.0.1", "::1", "global.azure-devices-provisioning.net"]
                .map(String::from)
                .to_vec();
        for name in more {
            if !names.contains(name) && name.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified())
                || name.parse::<IpAddr>().is_err() && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        let mut params = CertificateParams::new(names).map_err(|error| failed(error.to_string()))?;
        params.distinguished_name = common_name("Fleetstorm mock");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = now();
        params.not_before = now + time::Duration::days(from_days);
        params.not_after = now + time::Duration::days(to_days);
        let key = make()?;
        let leaf = ca.issue(&params, &key)?;
        let ca_pem = ca.certificate.pem();
        let rsa = (keys == ServerKeys::Both).then(|| Arc::new(LateRsa { ca, params, made: OnceLock::new() }));
        Ok(Self { ca_pem, chain: vec![leaf], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(), rsa })
    }

    /// Begins to make, beside everything else, what would otherwise be made when the first client needs it.
    pub fn make_ready(&self) {
        if let Some(rsa) = self.rsa.clone() {
            // Without the thread it is made when it is needed.
            let _ = std::thread::Builder::new().name("rsa".to_owned()).spawn(move || rsa.get());
        }
    }

    /// A certificate and key of the user's own, PEM. `ca_pem` is what clients shall trust.
    ///
    /// # Errors
    /// One of them is not PEM.
    pub fn from_pem(certificate_pem: &[u8], key_pem: &[u8], ca_pem: String) -> Result<Self, IdentityError> {
        use rustls::pki_types::pem::PemObject;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem).collect();
        let chain = chain.map_err(|error| failed("sense of the server's certificate")(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|_| failed("sense of the server's key")("it is no private key in PEM".into()))?;
        Ok(Self { ca_pem, chain, key, rsa: None })
    }
}

impl Authority {
    fn issue(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let leaf = params.signed_by(key, &Issuer::from_params(&self.params, &self.key));
        let leaf = leaf.map_err(|error| failed("the mock's server certificate")(error.to_string()))?;
        Ok(leaf.der().clone())
    }
}

/// A certificate of RSA that is made once somebody needs it: a key takes some hundred milliseconds, and few do.
pub struct LateRsa {
    ca: Authority,
    params: CertificateParams,
    made: OnceLock<Option<Arc<CertifiedKey>>>,
}

impl LateRsa {
    /// The certificate and its key.
    pub fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.made.get_or_init(|| self.make().ok()).clone()
    }

    fn make(&self) -> Result<Arc<CertifiedKey>, IdentityError> {
        let key = rsa_key()?;
        let leaf = self.ca.issue(&self.params, &key)?;
        let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)
            .map_err(|error| failed("the mock's server key")(error.to_string()))?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf], signing)))
    }
}

fn rsa_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        .map_err(|error| failed("an RSA key")(error.to_string()))
}

#[allow(
    clippy::disallowed_methods,
    reason = "a throw-away certificate is valid from now on, whatever the run's calendar"
)]
fn now() -> OffsetDateTime {
    OffsetDateTime::from(std::time::SystemTime::now())
}

fn authority(name: &str, key: KeyPair) -> Result<Authority, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(1u64));
    // Wide enough for devices whose clocks are wrong and for virtual runs.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    let certificate = params.self_signed(&key).map_err(|error| failed("a CA")(error.to_string()))?;
    Ok(Authority { certificate, key, params })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// 32 bytes of a seed's key stream.
fn bytes(seed: u64, purpose: &str, count: u32) -> Zeroizing<[u8; 32]> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes());
    let text = format!("fleetstorm {purpose} {count}");
    let mut out = Zeroizing::new([0; 32]);
    out.copy_from_slice(hmac::sign(&key, text.as_bytes()).as_ref());
    out
}

/// A P-256 key whose scalar is drawn from the seed.
fn key_pair(seed: u64, purpose: &'static str, count: u32) -> Result<KeyPair, IdentityError> {
    let mut scalar = bytes(seed, purpose, count);
    P256.key("a key", &mut *scalar)
}

/// The key of a certificate authority of the mock: on P-384, as the service's are.
pub(crate) fn authority_key(seed: u64, name: &str) -> Result<KeyPair, IdentityError> {
    let halves = [0, 1].map(|half| bytes(seed, name, half));
    let mut scalar = Zeroizing::new([0; 48]);
    scalar[..32].copy_from_slice(&*halves[0]);
    scalar[32..].copy_from_slice(&halves[1][..16]);
    P384.key("an authority's key", &mut *scalar)
}

/// A curve that keys are on.
struct Curve {
    agreement: &'static agreement::Algorithm,
    signing: &'static EcdsaSigningAlgorithm,
    signature: &'static SignatureAlgorithm,
}

static P256: Curve = Curve {
    agreement: &agreement::ECDH_P256,
    signing: &ECDSA_P256_SHA256_ASN1_SIGNING,
    signature: &rcgen::PKCS_ECDSA_P256_SHA256,
};

static P384: Curve = Curve {
    agreement: &agreement::ECDH_P384,
    signing: &ECDSA_P384_SHA384_ASN1_SIGNING,
    signature: &rcgen::PKCS_ECDSA_P384_SHA384,
};

impl Curve {
    /// The key of a scalar that was drawn; `what` says what it is for.
    fn key(&self, what: &'static str, scalar: &mut [u8]) -> Result<KeyPair, IdentityError> {
        let failed = failed(what);
        // Below the group's order, whose first bytes are all ones.
        scalar[0] &= 0x7f;
        let public = PrivateKey::from_private_key(self.agreement, scalar)
            .ok()
            .and_then(|private| private.compute_public_key().ok())
            .ok_or_else(|| failed("the scalar has no public key".into()))?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(self.signing, scalar, public.as_ref())
            .map_err(|error| failed(error.to_string()))?;
        let document = pair.to_pkcs8v1().map_err(|error| failed(error.to_string()))?;
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(document.as_ref()), self.signature)
            .map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_keys_every_time() {
        let (one, again, other) = (
            FleetIdentity::from_seed(1).unwrap(),
            FleetIdentity::from_seed(1).unwrap(),
            FleetIdentity::from_seed(2).unwrap(),
        );
        assert_eq!(one.group_keys_base64(), again.group_keys_base64());
        assert_eq!(*one.ca_key_pem(), *again.ca_key_pem());
        assert_eq!(one.device_keys_pem(3).unwrap(), again.device_keys_pem(3).unwrap());
        assert_ne!(one.group_keys_base64(), other.group_keys_base64());
        assert_ne!(one.group_keys_base64()[0], one.group_keys_base64()[1]);
        // As the README documents it.
        let [owner, _] = FleetIdentity::from_seed(0).unwrap().owner_keys();
        let documented = "6darlZrQpKzmTig66yQGR1wYXc8PGo3BOp3RASkMypg=";
        assert_eq!(BASE64_STANDARD.encode(owner.expose()), documented);
        assert_eq!(BASE64_STANDARD.decode(&*one.group_keys_base64()[0]).unwrap().len(), 64);
    }
}
