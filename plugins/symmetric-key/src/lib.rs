//! Symmetric key attestation.
//!
//! A device of an enrollment group has the key `HMAC-SHA256(group key, registration id)`; it signs SAS tokens of the
//! form `SharedAccessSignature sr=…&sig=…&se=…&skn=registration` with it (Microsoft, "Symmetric key attestation" and
//! "Control access to DPS"). The service derives the same key, so it needs no list of devices.

#![deny(unsafe_code)]

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_plugin::{Attestation, Error, Result, write_sas_token};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

fleetstorm_plugin::export! { fleetstorm_plugin_symmetric_key; attestation: [SymmetricKey] }

/// The attestation.
pub struct SymmetricKey {
    keys: Vec<Zeroizing<Vec<u8>>>,
}

/// Where the keys come from. Without any, the fleet's own group key is used.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The enrollment group's keys in base64, primary first. Fleetstorm fills them in; scenarios name files or
    /// environment variables in `[target]` instead.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    group_keys: Vec<Zeroizing<String>>,
}

/// One device: its keys, primary first.
pub struct Device {
    keys: Vec<hmac::Key>,
}

impl Attestation for SymmetricKey {
    const ID: &'static str = "symmetric-key";
    const SUMMARY: &'static str = "SAS tokens signed with a key derived from the enrollment group's.";
    type Config = Config;
    type Device = Device;

    fn new(config: Config) -> Result<Self> {
        if config.group_keys.is_empty() {
            return Err(Error::new("group_keys: there is no key to derive from"));
        }
        let decode = |key: &Zeroizing<String>| match BASE64_STANDARD.decode(key.trim()) {
            Ok(bytes) if (16..=64).contains(&bytes.len()) => Ok(Zeroizing::new(bytes)),
            Ok(bytes) => {
                Err(Error::new(format!("group_keys: a key has 16 to 64 bytes, not {}", bytes.len())))
            }
            Err(_) => Err(Error::new("group_keys: a key is not base64")),
        };
        Ok(Self { keys: config.group_keys.iter().map(decode).collect::<Result<_>>()? })
    }

    fn device(&self, registration_id: &str, _: [u64; 4]) -> Result<Device> {
        let derive = |group: &Zeroizing<Vec<u8>>| {
            let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, group), registration_id.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        };
        Ok(Device { keys: self.keys.iter().map(derive).collect() })
    }

    fn authorize(
        &self,
        device: &Device,
        slot: u32,
        audience: &str,
        expires: u64,
        out: &mut String,
    ) -> Result<bool> {
        let key =
            device.keys.get(slot as usize % device.keys.len()).ok_or_else(|| Error::new("no such key"))?;
        write_sas_token(audience, expires, out, |text| sign(key, text))?;
        Ok(true)
    }
}

/// HMAC-SHA256 over a text. The key's schedule is prepared once for a device.
fn sign(key: &hmac::Key, text: &[u8]) -> Result<[u8; 32]> {
    let tag = hmac::sign(key, text);
    tag.as_ref().try_into().map_err(|_| Error::new("HMAC-SHA256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attestation() -> SymmetricKey {
        let key = BASE64_STANDARD.encode((0..64).collect::<Vec<u8>>());
        SymmetricKey::new(Config { group_keys: vec![Zeroizing::new(key)] }).unwrap()
    }

    /// The vector of the derived key (`dps` 6.4).
    #[test]
    fn a_token_is_signed_with_the_derived_key() {
        let attestation = attestation();
        let device = attestation.device("dev-0001", [0; 4]).unwrap();
        let mut token = String::new();
        attestation
            .authorize(&device, 0, "0ne00ABCDEF/registrations/dev-0001", 1_900_000_000, &mut token)
            .unwrap();
        assert_eq!(
            token,
            "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
             &sig=eg1rWF3ZMGavnJD4rHkAivFB3jPy9u6uvYJyGyKQSLI%3D&se=1900000000&skn=registration"
        );
    }

    #[test]
    fn keys_that_cannot_be_are_refused_without_being_printed() {
        for key in ["***", "AAAA"] {
            let config = Config { group_keys: vec![Zeroizing::new(key.into())] };
            let error = SymmetricKey::new(config).err().unwrap().to_string();
            assert!(error.starts_with("group_keys") && !error.contains(key), "{error}");
        }
    }
}
