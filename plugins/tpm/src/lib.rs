//! TPM attestation.
//!
//! A device has an endorsement key and a storage root key. It sends their public parts; the service answers 401 with a
//! challenge that only this pair of keys can take up, and in it comes the key that signs the device's tokens from then on
//! (Microsoft, "TPM attestation"; Trusted Platform Module Library, part 1, chapters 23 and 24).
//!
//! The keys here are software: RSA-2048 from a pool in this crate, so a thousand devices start at once. They protect
//! nothing, and a service cannot tell.

#![deny(unsafe_code)]

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_plugin::{Attestation, Error, Result, write_sas_token};
use fleetstorm_tpm::PrivateKey;
use schemars::JsonSchema;
use serde::Deserialize;

fleetstorm_plugin::export! { fleetstorm_plugin_tpm; attestation: [Tpm] }

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

/// The attestation.
pub struct Tpm {
    pool: Arc<Vec<PrivateKey>>,
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
        self.pool[device.endorsement].endorsement()
    }

    /// The public part of a device's storage root key, a TPM2B_PUBLIC.
    pub fn storage_root_key(&self, device: &Device) -> Vec<u8> {
        self.pool[device.storage].storage_root()
    }
}

/// The pool, read once in a process: checking an RSA key takes a millisecond.
fn pool() -> Result<Arc<Vec<PrivateKey>>> {
    static POOL_READ: OnceLock<Option<Arc<Vec<PrivateKey>>>> = OnceLock::new();
    let read = || POOL.into_iter().map(PrivateKey::from_pkcs8).collect::<std::result::Result<_, _>>();
    let pool = POOL_READ.get_or_init(|| read().ok().map(Arc::new));
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
        let (ek, srk) = (&self.pool[device.endorsement], &self.pool[device.storage]);
        let key = fleetstorm_tpm::open(ek, srk, challenge)
            .ok_or_else(|| Error::new("the challenge is not for this device"))?;
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
        write_sas_token(audience, expires, out, |text| {
            let tag = hmac::sign(key, text);
            tag.as_ref().try_into().map_err(|_| Error::new("HMAC-SHA256 has 32 bytes"))
        })?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_tpm::Draws;

    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn challenge(tpm: &Tpm, device: &Device) -> Vec<u8> {
        let (ek, srk) = (tpm.endorsement_key(device), tpm.storage_root_key(device));
        fleetstorm_tpm::make(&ek, &srk, &KEY, &Draws::fresh().unwrap()).unwrap()
    }

    fn token(tpm: &Tpm, device: &Device) -> Option<String> {
        let mut token = String::new();
        tpm.authorize(device, 0, "0ne/registrations/d", 1_900_000_000, &mut token).unwrap().then_some(token)
    }

    #[test]
    fn tokens_are_signed_with_the_key_that_the_challenge_carried() {
        let tpm = Tpm::new(Config {}).unwrap();
        let device = tpm.device("d", [0, 0, 0, 0]).unwrap();
        assert_eq!(token(&tpm, &device), None, "no token before a challenge");
        tpm.answer(&device, &challenge(&tpm, &device)).unwrap();
        let text = b"0ne%2Fregistrations%2Fd\n1900000000";
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), text);
        let signature =
            BASE64_STANDARD.encode(signature).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let expected = format!(
            "SharedAccessSignature sr=0ne%2Fregistrations%2Fd&sig={signature}&se=1900000000&skn=registration"
        );
        assert_eq!(token(&tpm, &device), Some(expected));
    }

    #[test]
    fn a_challenge_for_another_device_is_refused() {
        let tpm = Tpm::new(Config {}).unwrap();
        let devices: Vec<Device> =
            [[0, 0], [0, 1], [1, 0]].map(|[a, b]| tpm.device("d", [a, b, 0, 0]).unwrap()).into();
        let meant = challenge(&tpm, &devices[0]);
        for other in &devices[1..] {
            assert!(tpm.answer(other, &meant).is_err());
            assert_eq!(token(&tpm, other), None);
        }
    }

    #[test]
    fn a_registration_names_both_keys() {
        let tpm = Tpm::new(Config {}).unwrap();
        let device = tpm.device("d", [5, 6, 0, 0]).unwrap();
        let members = format!("{{{}}}", tpm.enrol(&device).unwrap());
        let body: serde_json::Value = serde_json::from_str(&members).unwrap();
        let key = |name: &str| BASE64_STANDARD.decode(body["tpm"][name].as_str().unwrap()).unwrap();
        assert_eq!(key("endorsementKey"), tpm.endorsement_key(&device));
        assert_eq!(key("storageRootKey"), tpm.storage_root_key(&device));
    }
}
