//! X.509 attestation.
//!
//! Every device has a leaf certificate whose common name is its registration id, issued by the CA of its enrollment
//! group (Microsoft, "X.509 certificate attestation"). Keys come from a pool: what a service checks is the chain and
//! the proof of possession, and neither knows that two devices share a key. That makes ten thousand identities a
//! matter of a second.

#![deny(unsafe_code)]

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use fleetstorm_plugin::{Attestation, Error, Result};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SerialNumber,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use schemars::JsonSchema;
use serde::Deserialize;
use time::OffsetDateTime;
use zeroize::Zeroizing;

fleetstorm_plugin::export! { fleetstorm_plugin_x509; attestation: [X509] }

/// `ecdsa_secp256r1_sha256` in the IANA registry of TLS signature schemes.
const ECDSA_P256_SHA256: u16 = 0x0403;

/// The attestation.
pub struct X509 {
    issuer: Issuer<'static, KeyPair>,
    keys: Vec<Arc<Pair>>,
    chain: Vec<Vec<u8>>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// The same key for certificates and for TLS.
struct Pair {
    certified: KeyPair,
    signing: EcdsaKeyPair,
}

/// Who issues, and for how long. Fleetstorm fills in the CA, the keys and the time; a scenario may choose the rest.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The issuing CA's certificate, PEM.
    ca_certificate_pem: String,
    /// The issuing CA's P-256 key, PKCS#8 PEM.
    #[schemars(with = "String")]
    ca_key_pem: Zeroizing<String>,
    /// Certificates between the CA and the root that devices present too, PEM, issuer of the CA first.
    #[serde(default)]
    chain_pem: Vec<String>,
    /// The pool of device keys, PKCS#8 PEM.
    #[schemars(with = "Vec<String>")]
    keys_pem: Vec<Zeroizing<String>>,
    /// What the time is, in seconds since the Unix epoch.
    now_unix_secs: i64,
    /// When the certificates began to be valid, in seconds before now.
    #[serde(default = "a_day")]
    valid_since_s: i64,
    /// When they end, in seconds from now; negative for certificates that have expired.
    #[serde(default = "a_year")]
    valid_for_s: i64,
    /// Whether devices present the CA's own certificate after their leaf.
    #[serde(default)]
    send_ca: bool,
}

const fn a_day() -> i64 {
    86_400
}

const fn a_year() -> i64 {
    365 * 86_400
}

/// One device: its chain, leaf first, and its key.
pub struct Device {
    leaf: Vec<u8>,
    key: Arc<Pair>,
}

impl Attestation for X509 {
    const ID: &'static str = "x509";
    const SUMMARY: &'static str = "Leaf certificates issued by the enrollment group's CA, presented at TLS.";
    const CERTIFICATES: bool = true;
    type Config = Config;
    type Device = Device;

    fn new(config: Config) -> Result<Self> {
        let certificate = |name: &'static str, pem: &str| {
            CertificateDer::from_pem_slice(pem.as_bytes())
                .map_err(|_| Error::new(format!("{name}: this is no certificate in PEM")))
        };
        let ca = certificate("ca_certificate_pem", &config.ca_certificate_pem)?;
        let ca_key = KeyPair::from_pem(&config.ca_key_pem)
            .map_err(|_| Error::new("ca_key_pem: this is no key in PEM"))?;
        let issuer = Issuer::from_ca_cert_der(&ca, ca_key)
            .map_err(|_| Error::new("ca_certificate_pem: this is no CA"))?;
        if config.keys_pem.is_empty() {
            return Err(Error::new("keys_pem: the pool of device keys is empty"));
        }
        let pair = |pem: &Zeroizing<String>| -> Result<Arc<Pair>> {
            let refuse = || Error::new("keys_pem: a device key must be P-256 in PKCS#8 PEM");
            let certified = KeyPair::from_pem(pem).map_err(|_| refuse())?;
            let der = Zeroizing::new(certified.serialize_der());
            let signing =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).map_err(|_| refuse())?;
            Ok(Arc::new(Pair { certified, signing }))
        };
        let mut chain = Vec::new();
        if config.send_ca {
            chain.push(ca.to_vec());
        }
        for pem in &config.chain_pem {
            chain.push(certificate("chain_pem", pem)?.to_vec());
        }
        let at = |secs: i64| {
            OffsetDateTime::from_unix_timestamp(secs)
                .map_err(|_| Error::new("the certificates' dates are out of range"))
        };
        Ok(Self {
            issuer,
            keys: config.keys_pem.iter().map(pair).collect::<Result<_>>()?,
            chain,
            not_before: at(config.now_unix_secs.saturating_sub(config.valid_since_s))?,
            not_after: at(config.now_unix_secs.saturating_add(config.valid_for_s))?,
        })
    }

    fn device(&self, registration_id: &str, random: [u64; 4]) -> Result<Device> {
        let key = Arc::clone(&self.keys[(random[0] % self.keys.len() as u64) as usize]);
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, registration_id);
        params.distinguished_name = name;
        params.not_before = self.not_before;
        params.not_after = self.not_after;
        // The first bit is cleared: a serial number is positive.
        params.serial_number = Some(SerialNumber::from((random[1] >> 1) | 1));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key.certified, &self.issuer).map_err(|error| {
            Error::new(format!("the certificate of `{registration_id}` cannot be made: {error}"))
        })?;
        Ok(Device { leaf: leaf.der().to_vec(), key })
    }

    fn certificates(&self, device: &Device) -> Vec<Vec<u8>> {
        std::iter::once(device.leaf.clone()).chain(self.chain.iter().cloned()).collect()
    }

    fn schemes(&self) -> &[u16] {
        &[ECDSA_P256_SHA256]
    }

    fn sign(&self, device: &Device, scheme: u16, message: &[u8]) -> Result<Vec<u8>> {
        if scheme != ECDSA_P256_SHA256 {
            return Err(Error::new("P-256 keys sign with ecdsa_secp256r1_sha256 only"));
        }
        let signature = device.key.signing.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| Error::new("the device's key could not sign"))?.as_ref().to_vec())
    }
}
