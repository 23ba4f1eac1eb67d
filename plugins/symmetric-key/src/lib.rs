//! Symmetric key attestation.
//!
//! A device of an enrollment group has the key `HMAC-SHA256(group key, registration id)`; it signs SAS tokens of the
//! form `SharedAccessSignature sr=…&sig=…&se=…&skn=registration` with it (Microsoft, "Symmetric key attestation" and
//! "Control access to DPS"). The service derives the same key, so it needs no list of devices.

#![deny(unsafe_code)]

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_plugin::{Attestation, Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

fleetstorm_plugin::export! { fleetstorm_plugin_symmetric_key; attestation: [SymmetricKey] }

/// What `encodeURIComponent` leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
        write_token(key, audience, expires, out).map_err(|_| Error::new("the token could not be written"))?;
        Ok(true)
    }
}

/// Appends the token. A fleet signs one for every registration, so nothing is put together twice: what is signed stands
/// in `out` already, apart from a line break.
fn write_token(key: &hmac::Key, audience: &str, expires: u64, out: &mut String) -> std::fmt::Result {
    out.push_str("SharedAccessSignature sr=");
    let resource = out.len();
    write!(out, "{}", utf8_percent_encode(audience, COMPONENT))?;
    let mut context = hmac::Context::with_key(key);
    context.update(&out.as_bytes()[resource..]);
    out.push_str("&sig=");
    let mut digits = [0; 20];
    let digits = decimal(expires, &mut digits);
    context.update(b"\n");
    context.update(digits.as_bytes());
    let mut base64 = [0; 44];
    let length = BASE64_STANDARD.encode_slice(context.sign(), &mut base64).map_err(|_| std::fmt::Error)?;
    for byte in &base64[..length] {
        match byte {
            b'+' => out.push_str("%2B"),
            b'/' => out.push_str("%2F"),
            b'=' => out.push_str("%3D"),
            _ => out.push(char::from(*byte)),
        }
    }
    for piece in ["&se=", digits, "&skn=registration"] {
        out.push_str(piece);
    }
    Ok(())
}

/// The decimal digits of a number.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    // Digits are ASCII, so this never takes the other branch.
    std::str::from_utf8(&digits[at..]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attestation() -> SymmetricKey {
        let key = BASE64_STANDARD.encode((0..64).collect::<Vec<u8>>());
        SymmetricKey::new(Config { group_keys: vec![Zeroizing::new(key)] }).unwrap()
    }

    /// The vector of the derived key (`dps-protocol` 6.4).
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
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1_900_000_000, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string());
        }
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
