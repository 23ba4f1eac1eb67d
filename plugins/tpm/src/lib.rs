//! TPM attestation.
//!
//! A device has an endorsement key and a storage root key. It sends their public parts; the service answers 401 with a
//! challenge that only this pair of keys can take up, and in it comes the key that signs the device's tokens from then on
//! (Microsoft, "TPM attestation"; Trusted Platform Module Library, part 1, chapters 23 and 24).
//!
//! The keys here are software: RSA-2048 from a pool in this crate, so a thousand devices start at once. They protect
//! nothing, and a service cannot tell. [`challenge`] is the service's side, for a mock and for tests; a test proves it
//! with the TPM emulator swtpm.

#![deny(unsafe_code)]

pub mod challenge;
mod crypto;
mod structure;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPair, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_plugin::{Attestation, Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::structure::Public;

fleetstorm_plugin::export! { fleetstorm_plugin_tpm; attestation: [Tpm] }

/// What `encodeURIComponent` leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The pool: PKCS#8, made once with `openssl genpkey`.
const POOL: [&[u8]; 8] = [
    include_bytes!("pool/0.der"),
    include_bytes!("pool/1.der"),
    include_bytes!("pool/2.der"),
    include_bytes!("pool/3.der"),
    include_bytes!("pool/4.der"),
    include_bytes!("pool/5.der"),
    include_bytes!("pool/6.der"),
    include_bytes!("pool/7.der"),
];

/// One key of the pool.
struct Rsa {
    private: OaepPrivateDecryptingKey,
    modulus: Vec<u8>,
}

/// The attestation.
pub struct Tpm {
    pool: Arc<Vec<Rsa>>,
}

/// There is nothing to choose.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// One device: its two keys, and the key that its last challenge carried.
pub struct Device {
    endorsement: usize,
    storage: usize,
    signing: Mutex<Option<hmac::Key>>,
}

impl Tpm {
    /// The public part of a device's endorsement key, a TPM2B_PUBLIC.
    pub fn endorsement_key(&self, device: &Device) -> Vec<u8> {
        structure::endorsement(&self.pool[device.endorsement].modulus)
    }

    /// The public part of a device's storage root key, a TPM2B_PUBLIC.
    pub fn storage_root_key(&self, device: &Device) -> Vec<u8> {
        structure::storage_root(&self.pool[device.storage].modulus)
    }

    /// The key that a challenge carries, for the device that it is meant for.
    fn open(&self, device: &Device, challenge: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut blob = structure::Reader(challenge);
        let (identity, secret) = (blob.sized()?, blob.sized()?);
        let (duplicate, seed, public) = (blob.sized()?, blob.sized()?, blob.sized()?);

        // ActivateCredential: the credential is sealed to the endorsement key and to the name of the storage root key.
        let srk_name = structure::name(&structure::storage_root(&self.pool[device.storage].modulus)[2..]);
        let credential_seed = self.pool[device.endorsement].decrypt(secret, b"IDENTITY\0")?;
        let opened = crypto::unwrap(identity, &credential_seed, &srk_name)?;
        let inner_key = Zeroizing::new(structure::Reader(&opened).sized()?.to_vec());

        // Import: the signing key is sealed to the storage root key, and inside once more with the credential.
        let name = structure::name(public);
        let outer_seed = self.pool[device.storage].decrypt(seed, b"DUPLICATE\0")?;
        let wrapped = crypto::unwrap(duplicate, &outer_seed, &name)?;
        let sealed = crypto::cfb(&inner_key, &wrapped, crypto::Way::Open)?;
        let mut sealed = structure::Reader(&sealed);
        let integrity = sealed.sized()?;
        if integrity != crypto::sha256(&[sealed.0, &name]) {
            return None;
        }
        let (seed_value, key) = structure::read_sensitive(sealed.sized()?)?;
        let unique = crypto::sha256(&[seed_value, key]);
        (structure::read_hmac_key(public)? == unique).then(|| Zeroizing::new(key.to_vec()))
    }
}

impl Rsa {
    fn read(pkcs8: &[u8]) -> Option<Self> {
        let private = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(pkcs8).ok()?).ok()?;
        let pair = KeyPair::from_pkcs8(pkcs8).ok()?;
        // RSAPublicKey of PKCS#1 in DER: for 2048 bits, what stands before the modulus is always the same.
        const BEFORE: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
        let modulus = pair.public_key().as_ref().strip_prefix(&BEFORE)?.first_chunk::<256>()?;
        Some(Self { private, modulus: modulus.to_vec() })
    }

    fn decrypt(&self, secret: &[u8], label: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let algorithm = &aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256;
        let length = self.private.decrypt(algorithm, secret, &mut out, Some(label)).ok()?.len();
        out.truncate(length);
        Some(out)
    }
}

/// The pool, read once in a process: checking an RSA key takes a millisecond.
fn pool() -> Result<Arc<Vec<Rsa>>> {
    static POOL_READ: OnceLock<Option<Arc<Vec<Rsa>>>> = OnceLock::new();
    let pool =
        POOL_READ.get_or_init(|| Some(Arc::new(POOL.into_iter().map(Rsa::read).collect::<Option<_>>()?)));
    pool.clone().ok_or_else(|| Error::new("the pool of RSA keys cannot be read"))
}

impl Attestation for Tpm {
    const ID: &'static str = "tpm";
    const SUMMARY: &'static str =
        "A software TPM: answers the service's challenge and signs tokens with the key it carries.";
    const CHALLENGED: bool = true;
    type Config = Config;
    type Device = Device;

    fn new(_: Config) -> Result<Self> {
        Ok(Self { pool: pool()? })
    }

    fn device(&self, _: &str, random: [u64; 4]) -> Result<Device> {
        let count = self.pool.len() as u64;
        let endorsement = random[0] % count;
        // Any other key of the pool.
        let storage = (endorsement + 1 + random[1] % (count - 1)) % count;
        Ok(Device { endorsement: endorsement as usize, storage: storage as usize, signing: Mutex::new(None) })
    }

    fn enrol(&self, device: &Device) -> Option<String> {
        let [ek, srk] = [self.endorsement_key(device), self.storage_root_key(device)];
        let [ek, srk] = [BASE64_STANDARD.encode(ek), BASE64_STANDARD.encode(srk)];
        Some(format!(r#""tpm":{{"endorsementKey":"{ek}","storageRootKey":"{srk}"}}"#))
    }

    fn answer(&self, device: &Device, challenge: &[u8]) -> Result<()> {
        let key =
            self.open(device, challenge).ok_or_else(|| Error::new("the challenge is not for this device"))?;
        let mut signing = device.signing.lock().unwrap_or_else(PoisonError::into_inner);
        *signing = Some(hmac::Key::new(hmac::HMAC_SHA256, &key));
        Ok(())
    }

    fn authorize(
        &self,
        device: &Device,
        _: u32,
        audience: &str,
        expires: u64,
        out: &mut String,
    ) -> Result<bool> {
        let signing = device.signing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = &*signing else { return Ok(false) };
        let resource = utf8_percent_encode(audience, COMPONENT).to_string();
        let signature = BASE64_STANDARD.encode(hmac::sign(key, format!("{resource}\n{expires}").as_bytes()));
        let signature = utf8_percent_encode(&signature, COMPONENT);
        write!(out, "SharedAccessSignature sr={resource}&sig={signature}&se={expires}&skn=registration")
            .map_err(|_| Error::new("the token could not be written"))?;
        Ok(true)
    }
}

/// Reads a public area that is an RSA-2048 key.
pub(crate) fn rsa_of(public: &[u8]) -> Option<Public<'_>> {
    Public::read(structure::Reader(public).sized()?)
}

#[cfg(test)]
mod tests;
