//! The RSA keys of a TPM: public areas as they travel, and private keys in software.

use aws_lc_rs::rsa::{
    KeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::KeyPair as _;
use zeroize::Zeroizing;

use crate::structure::{self, Public, Reader};

/// A key that no challenge can be made for, or no RSA-2048 key at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError;

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "this is no TPM2B_PUBLIC of an RSA-2048 key with AES-128-CFB and SHA-256, as endorsement and storage root \
             keys are",
        )
    }
}

impl std::error::Error for KeyError {}

/// Checks that a challenge can be made for the key of this public area, a TPM2B_PUBLIC.
///
/// # Errors
/// It is of another kind, or none at all.
pub fn check(public: &[u8]) -> Result<(), KeyError> {
    modulus(public).map(drop).ok_or(KeyError)
}

/// The modulus in a TPM2B_PUBLIC that nothing follows.
pub(crate) fn modulus(public: &[u8]) -> Option<&[u8]> {
    let mut public = Reader(public);
    let area = Public::read(public.sized()?)?;
    public.0.is_empty().then_some(area.modulus)
}

/// Encrypts for the key of this modulus with OAEP and SHA-256, as TPMs do.
pub(crate) fn encrypt(modulus: &[u8], seed: &[u8], label: &[u8]) -> Option<Vec<u8>> {
    let key: PublicEncryptingKey =
        PublicKeyComponents { n: modulus, e: [1u8, 0, 1].as_slice() }.try_into().ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA256_MGF1SHA256, seed, &mut out, Some(label)).ok()?.len();
    out.truncate(length);
    Some(out)
}

/// An RSA-2048 key in software, which can play either part.
pub struct PrivateKey {
    private: OaepPrivateDecryptingKey,
    modulus: Vec<u8>,
}

impl PrivateKey {
    /// Reads a key in PKCS#8. Checking it takes some hundred microseconds.
    ///
    /// # Errors
    /// It is no RSA-2048 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        Self::read(der).ok_or(KeyError)
    }

    fn read(der: &[u8]) -> Option<Self> {
        let private = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(der).ok()?).ok()?;
        let pair = KeyPair::from_pkcs8(der).ok()?;
        // RSAPublicKey of PKCS#1 in DER: for 2048 bits, what stands before the modulus is always the same.
        const BEFORE: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
        let modulus = pair.public_key().as_ref().strip_prefix(&BEFORE)?.first_chunk::<256>()?;
        Some(Self { private, modulus: modulus.to_vec() })
    }

    /// Its TPM2B_PUBLIC as an endorsement key.
    pub fn endorsement(&self) -> Vec<u8> {
        structure::endorsement(&self.modulus)
    }

    /// Its TPM2B_PUBLIC as a storage root key.
    pub fn storage_root(&self) -> Vec<u8> {
        structure::storage_root(&self.modulus)
    }

    pub(crate) fn decrypt(&self, secret: &[u8], label: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let length = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut out, Some(label)).ok()?.len();
        out.truncate(length);
        Some(out)
    }
}
