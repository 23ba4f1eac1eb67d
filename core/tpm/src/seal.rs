//! The cryptography of sealed structures (Trusted Platform Module Library, part 1, 11.4.10 and chapter 23).

use aws_lc_rs::cipher::{
    AES_128, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use crate::structure::{Reader, put_sized};

/// KDFa with SHA-256 and an empty second context: one block of SP800-108 in counter mode, which is all that is needed.
fn kdfa(key: &[u8], label: &str, context: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    mac.update(&1u32.to_be_bytes());
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(context);
    mac.update(&bits.to_be_bytes());
    let mut out = Zeroizing::new([0; 32]);
    out.copy_from_slice(mac.sign().as_ref());
    out
}

/// Which way a cipher goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Seal,
    Open,
}

/// AES-128-CFB with an initialisation vector of zeros, as TPMs use it with keys that are used once.
pub(crate) fn cfb(key: &[u8], bytes: &[u8], way: Way) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(bytes.to_vec());
    let key = UnboundCipherKey::new(&AES_128, key).ok()?;
    let zero = FixedLength::from([0; 16]);
    match way {
        Way::Seal => {
            EncryptingKey::cfb128(key)
                .ok()?
                .less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(zero))
                .ok()?;
        }
        Way::Open => {
            DecryptingKey::cfb128(key).ok()?.decrypt(&mut bytes, DecryptionContext::Iv128(zero)).ok()?;
        }
    }
    Some(bytes)
}

fn integrity(seed: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &*kdfa(seed, "INTEGRITY", &[], 256))
}

/// Seals bytes for whoever has the seed and an object of this name: their HMAC, and the bytes enciphered.
pub(crate) fn wrap(bytes: &[u8], seed: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let sealed = cfb(&kdfa(seed, "STORAGE", name, 128)[..16], bytes, Way::Seal)?;
    let tag = hmac::sign(&integrity(seed), &[&sealed[..], name].concat());
    let mut out = Vec::with_capacity(sealed.len() + 34);
    put_sized(&mut out, tag.as_ref());
    out.extend(&sealed[..]);
    Some(out)
}

/// Opens what [`wrap`] made.
pub(crate) fn unwrap(wrapped: &[u8], seed: &[u8], name: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut wrapped = Reader(wrapped);
    let tag = wrapped.sized()?;
    let sealed = wrapped.0;
    hmac::verify(&integrity(seed), &[sealed, name].concat(), tag).ok()?;
    cfb(&kdfa(seed, "STORAGE", name, 128)[..16], sealed, Way::Open)
}
