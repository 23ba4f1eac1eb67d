//! The structures of a TPM that take part in a challenge (Trusted Platform Module Library, part 2): big-endian, byte
//! strings with their length in two bytes before them.

use crate::hash::sha256;

const ALG_RSA: u16 = 0x0001;
const ALG_HMAC: u16 = 0x0005;
const ALG_AES: u16 = 0x0006;
const ALG_KEYEDHASH: u16 = 0x0008;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_CFB: u16 = 0x0043;

/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt: the endorsement key's template (TCG
/// EK Credential Profile).
const ENDORSEMENT_ATTRIBUTES: u32 = 0x0003_00b2;

/// The same profile's policy: authorisation with the endorsement hierarchy.
const ENDORSEMENT_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt: the storage root key's.
const STORAGE_ATTRIBUTES: u32 = 0x0003_0472;

/// userWithAuth and sign: a key that can be imported.
const HMAC_KEY_ATTRIBUTES: u32 = 0x0004_0040;

/// Reads structures from the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// A byte string with its length before it.
    pub(crate) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.number()?);
        self.take(length)
    }
}

/// Appends a byte string with its length before it.
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    // Everything here is far below 64 KiB; what is not would be cut, and the other side would refuse it.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(&bytes[..usize::from(length)]);
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    put_sized(&mut out, bytes);
    out
}

/// An RSA-2048 public area.
pub(crate) struct Public<'a> {
    pub(crate) modulus: &'a [u8],
}

impl<'a> Public<'a> {
    /// Reads a TPMT_PUBLIC that is an RSA-2048 key for decryption with AES-128-CFB beneath it, named with SHA-256.
    pub(crate) fn read(area: &'a [u8]) -> Option<Self> {
        let mut area = Reader(area);
        let is_rsa = area.number()? == ALG_RSA && area.number()? == ALG_SHA256;
        area.take(4)?;
        area.sized()?;
        let symmetric = [area.number()?, area.number()?, area.number()?] == [ALG_AES, 128, ALG_CFB];
        let rest = area.number()? == ALG_NULL && area.number()? == 2_048;
        // 0 stands for 65537.
        let exponent = matches!(area.take(4)?, [0, 0, 0, 0] | [0, 1, 0, 1]);
        let modulus = area.sized()?;
        let whole = area.0.is_empty() && modulus.len() == 256;
        (is_rsa && symmetric && rest && exponent && whole).then_some(Self { modulus })
    }
}

fn rsa(attributes: u32, policy: &[u8], modulus: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    out.extend(ALG_RSA.to_be_bytes());
    out.extend(ALG_SHA256.to_be_bytes());
    out.extend(attributes.to_be_bytes());
    put_sized(&mut out, policy);
    for number in [ALG_AES, 128, ALG_CFB, ALG_NULL, 2_048, 0, 0] {
        out.extend(number.to_be_bytes());
    }
    put_sized(&mut out, modulus);
    sized(&out)
}

/// The TPM2B_PUBLIC of an endorsement key.
pub(crate) fn endorsement(modulus: &[u8]) -> Vec<u8> {
    rsa(ENDORSEMENT_ATTRIBUTES, &ENDORSEMENT_POLICY, modulus)
}

/// The TPM2B_PUBLIC of a storage root key.
pub(crate) fn storage_root(modulus: &[u8]) -> Vec<u8> {
    rsa(STORAGE_ATTRIBUTES, &[], modulus)
}

/// The TPMT_PUBLIC of an HMAC-SHA256 key whose `unique` this is.
pub(crate) fn hmac_key(unique: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend(ALG_KEYEDHASH.to_be_bytes());
    out.extend(ALG_SHA256.to_be_bytes());
    out.extend(HMAC_KEY_ATTRIBUTES.to_be_bytes());
    put_sized(&mut out, &[]);
    out.extend(ALG_HMAC.to_be_bytes());
    out.extend(ALG_SHA256.to_be_bytes());
    put_sized(&mut out, unique);
    out
}

/// The `unique` of a TPMT_PUBLIC that is an HMAC-SHA256 key.
pub(crate) fn read_hmac_key(area: &[u8]) -> Option<&[u8]> {
    let mut area = Reader(area);
    let is_hash = area.number()? == ALG_KEYEDHASH && area.number()? == ALG_SHA256;
    area.take(4)?;
    area.sized()?;
    let is_hmac = area.number()? == ALG_HMAC && area.number()? == ALG_SHA256;
    let unique = area.sized()?;
    (is_hash && is_hmac && area.0.is_empty()).then_some(unique)
}

/// The TPMT_SENSITIVE of an HMAC key.
pub(crate) fn sensitive(seed: &[u8], key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    out.extend(ALG_KEYEDHASH.to_be_bytes());
    put_sized(&mut out, &[]);
    put_sized(&mut out, seed);
    put_sized(&mut out, key);
    out
}

/// The seed and the key of a TPMT_SENSITIVE.
pub(crate) fn read_sensitive(area: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut area = Reader(area);
    let is_hash = area.number()? == ALG_KEYEDHASH;
    area.sized()?;
    let (seed, key) = (area.sized()?, area.sized()?);
    (is_hash && area.0.is_empty()).then_some((seed, key))
}

/// The name of a TPMT_PUBLIC: its algorithm and its digest.
pub(crate) fn name(area: &[u8]) -> Vec<u8> {
    [&ALG_SHA256.to_be_bytes()[..], &sha256(&[area])].concat()
}
