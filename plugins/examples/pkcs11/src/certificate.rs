//! X.509 attestation whose CertificateVerify is signed in the token.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cryptoki::object::ObjectClass;
use fleetstorm_plugin::{Attestation, Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::token::{Token, TokenKey};
use crate::{TokenConfig, for_device};

/// `ecdsa_secp256r1_sha256` in the IANA registry of TLS signature schemes.
const ECDSA_P256_SHA256: u16 = 0x0403;

pub(crate) struct Certificate {
    token: Token,
    config: Config,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Config {
    #[serde(flatten)]
    token: TokenConfig,
    /// The PEM file with a device's chain, leaf first; `{id}` stands for its registration id.
    certificate: String,
}

pub(crate) struct Device {
    chain: Vec<Vec<u8>>,
    key: TokenKey,
}

impl Attestation for Certificate {
    const ID: &'static str = "pkcs11-certificate";
    const SUMMARY: &'static str =
        "Certificates whose P-256 keys are in a PKCS#11 token, which signs TLS handshakes.";
    const MAY_BLOCK: bool = true;
    const CERTIFICATES: bool = true;
    type Config = Config;
    type Device = Device;

    fn new(config: Config) -> Result<Self> {
        Ok(Self { token: config.token.open()?, config })
    }

    fn device(&self, registration_id: &str, _: [u64; 4]) -> Result<Device> {
        let path = for_device(&self.config.certificate, registration_id);
        let pem = std::fs::read_to_string(&path)
            .map_err(|error| Error::new(format!("certificate: {path} cannot be read: {error}")))?;
        let chain = certificates(&pem)
            .ok_or_else(|| Error::new(format!("certificate: {path} holds no certificate in PEM")))?;
        let label = for_device(&self.config.token.key, registration_id);
        Ok(Device { chain, key: self.token.key(&label, ObjectClass::PRIVATE_KEY)? })
    }

    fn certificates(&self, device: &Device) -> Vec<Vec<u8>> {
        device.chain.clone()
    }

    fn schemes(&self) -> &[u16] {
        &[ECDSA_P256_SHA256]
    }

    fn sign(&self, device: &Device, scheme: u16, message: &[u8]) -> Result<Vec<u8>> {
        if scheme != ECDSA_P256_SHA256 {
            return Err(Error::new("P-256 keys sign with ecdsa_secp256r1_sha256 only"));
        }
        Ok(der(&device.key.ecdsa_sha256(message)?))
    }
}

/// The certificates in a PEM text; `None` if there is none, or one that cannot be read.
fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let read = |block: &str| {
        let (body, _) = block.split_once("-----END CERTIFICATE-----")?;
        BASE64_STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
    };
    let chain: Option<Vec<_>> = blocks.map(read).collect();
    chain.filter(|chain| !chain.is_empty())
}

/// A signature as TLS wants it: `SEQUENCE { r INTEGER, s INTEGER }` (RFC 3279, 2.2.3).
fn der(signature: &[u8; 64]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let body = [integer(r), integer(s)].concat();
    // Two integers of at most 35 bytes each.
    [&[0x30, body.len() as u8][..], &body].concat()
}

/// A positive number: no zeros before it, but one where it would read as negative.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let bytes = &bytes[start..];
    let sign: &[u8] = if bytes.first().is_some_and(|byte| *byte >= 0x80) { &[0] } else { &[] };
    [&[0x02, (sign.len() + bytes.len()) as u8][..], sign, bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_short_as_they_are_and_positive() {
        assert_eq!(integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(der(&[0xff; 64]).len(), 2 + 2 * 35);
    }

    #[test]
    fn a_text_without_a_certificate_is_refused() {
        assert_eq!(certificates("nothing"), None);
        assert_eq!(certificates("-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----"), None);
    }
}
