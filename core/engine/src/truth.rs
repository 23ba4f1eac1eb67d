//! Evidence by knowing the truth: what a device's credential would prove, without making or checking one.

use std::cell::OnceCell;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_model::service::{Certificate, Evidence, Resource, Token, TrustedCas};
use fleetstorm_protocol::enrollment::{CaCertificate, SymmetricKey};
use fleetstorm_protocol::{TpmKeys, Transport};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

/// What the devices of a cohort can prove.
pub(crate) enum Proof {
    /// That their keys were derived from these group keys, by credential slot.
    Derived(Vec<SymmetricKey>),
    /// That this CA signed their certificates.
    Signed(Vec<u8>),
    /// That they hold the TPM that was enrolled for them, and what it was challenged with.
    Tpm,
    /// An attestation of which only its own code knows what it proves.
    Unknown,
}

impl Proof {
    /// What a shipped attestation with these parameters proves.
    pub(crate) fn of(attestation: &str, parameters: &str) -> Self {
        let parameters: Value = serde_json::from_str(parameters).unwrap_or_default();
        match attestation {
            "symmetric-key" => {
                let keys = parameters["group_keys"].as_array().into_iter().flatten();
                let key = |key: &Value| BASE64_STANDARD.decode(key.as_str()?.trim()).ok();
                Self::Derived(keys.filter_map(key).map(SymmetricKey::new).collect())
            }
            "x509" => {
                let pem = parameters["ca_certificate_pem"].as_str().unwrap_or_default();
                match CertificateDer::from_pem_slice(pem.as_bytes()) {
                    Ok(der) => Self::Signed(der.to_vec()),
                    Err(_) => Self::Unknown,
                }
            }
            "tpm" => Self::Tpm,
            _ => Self::Unknown,
        }
    }
}

/// What stands for a device's endorsement key where nobody looks into it.
pub(crate) fn endorsement_key(device: u32) -> Box<[u8]> {
    device.to_be_bytes().into()
}

/// The evidence that comes with one request.
pub(crate) struct Truth<'a> {
    pub(crate) transport: Transport,
    pub(crate) proof: &'a Proof,
    pub(crate) slot: u8,
    pub(crate) expires_unix_secs: u64,
    /// The prefix and number that make up the registration id.
    pub(crate) name: (&'a str, u32),
    pub(crate) certificate: OnceCell<Certificate>,
}

impl Evidence for Truth<'_> {
    fn transport(&self) -> Transport {
        self.transport
    }

    fn token(&self) -> Token<'_> {
        match self.proof {
            Proof::Derived(_) => {
                Token::Claims { resource: Resource::Own, expires_unix_secs: self.expires_unix_secs }
            }
            Proof::Tpm if self.expires_unix_secs > 0 => {
                Token::Claims { resource: Resource::Own, expires_unix_secs: self.expires_unix_secs }
            }
            Proof::Tpm | Proof::Signed(_) | Proof::Unknown => Token::Absent,
        }
    }

    fn signed_with(&self, key: &SymmetricKey, derived_for: Option<&str>) -> bool {
        match self.proof {
            // A device of a group with one key presents it in every slot.
            Proof::Derived(keys) => {
                let own = keys.get(usize::from(self.slot)).or(keys.first());
                derived_for.is_some() && own == Some(key)
            }
            // It has a token only once it was handed the key, and nobody else was.
            Proof::Tpm => derived_for.is_none(),
            Proof::Signed(_) | Proof::Unknown => false,
        }
    }

    fn certificate(&self) -> Option<&Certificate> {
        let Proof::Signed(_) = self.proof else { return None };
        Some(self.certificate.get_or_init(|| Certificate {
            common_name: format!("{}{:06}", self.name.0, self.name.1),
            sha256: [0; 32],
            not_before_unix_secs: i64::MIN,
            not_after_unix_secs: i64::MAX,
        }))
    }

    /// A device presents its own certificate and nothing above it, so it is its CA that must be trusted.
    fn signed_by(&self, ca: &CaCertificate, trusted: &TrustedCas, _: u64) -> Option<u8> {
        let is_own = |der: &[u8]| matches!(self.proof, Proof::Signed(own) if own == der);
        (is_own(&ca.der) && trusted.certificates.iter().any(|ca| is_own(ca))).then_some(0)
    }

    fn tpm(&self) -> Option<TpmKeys> {
        let Proof::Tpm = self.proof else { return None };
        let endorsement_key = endorsement_key(self.name.1);
        Some(TpmKeys { storage_root_key: Some(Box::default()), endorsement_key })
    }
}
