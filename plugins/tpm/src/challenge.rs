//! The service's side: a challenge for one endorsement and one storage root key.
//!
//! It holds, one after the other, TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET (a credential: the key of the inner wrapper,
//! sealed to both keys), TPM2B_PRIVATE, TPM2B_ENCRYPTED_SECRET and TPM2B_PUBLIC (an HMAC key, wrapped for import beneath
//! the storage root key), and a sized field of enciphered data, which may be empty (`dps-protocol` 10.2).

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents,
};

use crate::{crypto, rsa_of, structure};

/// A key that is no RSA-2048 key of the usual template, or cryptography that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeError;

impl std::fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a challenge needs two RSA-2048 keys with AES-128-CFB and SHA-256, each a TPM2B_PUBLIC")
    }
}

impl std::error::Error for ChallengeError {}

/// Everything in a challenge that is drawn.
#[derive(Clone, Copy)]
pub struct Draws {
    /// The key of the inner wrapper.
    pub inner_key: [u8; 16],
    /// The seed that the credential is sealed with.
    pub credential_seed: [u8; 32],
    /// The seed that the HMAC key is wrapped with.
    pub wrap_seed: [u8; 32],
    /// The seed of the HMAC key's object.
    pub object_seed: [u8; 32],
}

/// Makes the challenge that hands `key` to the TPM of these public areas, each a TPM2B_PUBLIC.
///
/// # Errors
/// A key is none that a challenge can be made for.
pub fn make(
    endorsement: &[u8],
    storage_root: &[u8],
    key: &[u8],
    draws: &Draws,
) -> Result<Vec<u8>, ChallengeError> {
    build(endorsement, storage_root, key, draws).ok_or(ChallengeError)
}

fn build(endorsement: &[u8], storage_root: &[u8], key: &[u8], draws: &Draws) -> Option<Vec<u8>> {
    let ek = rsa_of(endorsement)?;
    let srk = rsa_of(storage_root)?;
    let srk_name = structure::name(structure::Reader(storage_root).sized()?);

    let mut credential = Vec::new();
    structure::put_sized(&mut credential, &draws.inner_key);
    let identity = crypto::wrap(&credential, &draws.credential_seed, &srk_name)?;

    let public = structure::hmac_key(&crypto::sha256(&[&draws.object_seed, key]));
    let name = structure::name(&public);
    let mut sensitive = Vec::new();
    structure::put_sized(&mut sensitive, &structure::sensitive(&draws.object_seed, key));
    let mut inner = Vec::new();
    structure::put_sized(&mut inner, &crypto::sha256(&[&sensitive, &name]));
    inner.extend(&sensitive);
    let inner = crypto::cfb(&draws.inner_key, &inner, crypto::Way::Seal)?;
    let duplicate = crypto::wrap(&inner, &draws.wrap_seed, &name)?;

    let mut out = Vec::with_capacity(1_024);
    structure::put_sized(&mut out, &identity);
    structure::put_sized(&mut out, &encrypt(ek.modulus, &draws.credential_seed, b"IDENTITY\0")?);
    structure::put_sized(&mut out, &duplicate);
    structure::put_sized(&mut out, &encrypt(srk.modulus, &draws.wrap_seed, b"DUPLICATE\0")?);
    structure::put_sized(&mut out, &public);
    structure::put_sized(&mut out, &[]);
    Some(out)
}

fn encrypt(modulus: &[u8], seed: &[u8], label: &[u8]) -> Option<Vec<u8>> {
    let key: PublicEncryptingKey =
        PublicKeyComponents { n: modulus, e: [1u8, 0, 1].as_slice() }.try_into().ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA256_MGF1SHA256, seed, &mut out, Some(label)).ok()?.len();
    out.truncate(length);
    Some(out)
}
