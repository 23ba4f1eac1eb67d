//! A challenge for one endorsement and one storage root key.
//!
//! It holds, one after the other, TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET (a credential: the key of the inner wrapper,
//! sealed to both keys), TPM2B_PRIVATE, TPM2B_ENCRYPTED_SECRET and TPM2B_PUBLIC (an HMAC key, wrapped for import beneath
//! the storage root key), and a sized field of enciphered data, which may be empty (`dps` 10.2).

use aws_lc_rs::rand;
use zeroize::{Zeroize as _, Zeroizing};

use crate::key::{self, KeyError, PrivateKey};
use crate::{hash, seal, structure};

/// The labels of the two OAEP encryptions (Trusted Platform Module Library, part 1, B.10.4).
const IDENTITY: &[u8] = b"IDENTITY\0";
const DUPLICATE: &[u8] = b"DUPLICATE\0";

/// Everything in a challenge that is drawn. It is wiped when dropped.
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

impl Draws {
    /// Draws from the system's source; `None` if that has nothing to give.
    pub fn fresh() -> Option<Self> {
        let mut draws =
            Self { inner_key: [0; 16], credential_seed: [0; 32], wrap_seed: [0; 32], object_seed: [0; 32] };
        rand::fill(&mut draws.inner_key).ok()?;
        for seed in [&mut draws.credential_seed, &mut draws.wrap_seed, &mut draws.object_seed] {
            rand::fill(seed).ok()?;
        }
        Some(draws)
    }
}

impl Drop for Draws {
    fn drop(&mut self) {
        self.inner_key.zeroize();
        self.credential_seed.zeroize();
        self.wrap_seed.zeroize();
        self.object_seed.zeroize();
    }
}

/// Makes the challenge that hands `key` to the TPM of these public areas, each a TPM2B_PUBLIC.
///
/// # Errors
/// A key is none that a challenge can be made for.
pub fn make(endorsement: &[u8], storage_root: &[u8], key: &[u8], draws: &Draws) -> Result<Vec<u8>, KeyError> {
    build(endorsement, storage_root, key, draws).ok_or(KeyError)
}

fn build(endorsement: &[u8], storage_root: &[u8], key: &[u8], draws: &Draws) -> Option<Vec<u8>> {
    let [ek, srk] = [key::modulus(endorsement)?, key::modulus(storage_root)?];
    let srk_name = structure::name(structure::Reader(storage_root).sized()?);

    let mut credential = Zeroizing::new(Vec::new());
    structure::put_sized(&mut credential, &draws.inner_key);
    let identity = seal::wrap(&credential, &draws.credential_seed, &srk_name)?;

    let public = structure::hmac_key(&hash::sha256(&[&draws.object_seed, key]));
    let name = structure::name(&public);
    let mut sensitive = Zeroizing::new(Vec::with_capacity(128));
    structure::put_sized(&mut sensitive, &Zeroizing::new(structure::sensitive(&draws.object_seed, key)));
    let mut inner = Zeroizing::new(Vec::with_capacity(160));
    structure::put_sized(&mut inner, &hash::sha256(&[&sensitive, &name]));
    inner.extend(&sensitive[..]);
    let inner = seal::cfb(&draws.inner_key, &inner, seal::Way::Seal)?;
    let duplicate = seal::wrap(&inner, &draws.wrap_seed, &name)?;

    let mut out = Vec::with_capacity(1_024);
    structure::put_sized(&mut out, &identity);
    structure::put_sized(&mut out, &key::encrypt(ek, &draws.credential_seed, IDENTITY)?);
    structure::put_sized(&mut out, &duplicate);
    structure::put_sized(&mut out, &key::encrypt(srk, &draws.wrap_seed, DUPLICATE)?);
    structure::put_sized(&mut out, &public);
    structure::put_sized(&mut out, &[]);
    Some(out)
}

/// The key that a challenge carries, if it was made for these two keys; `None` for every other one, and for bytes that
/// are no challenge.
pub fn open(
    endorsement: &PrivateKey,
    storage_root: &PrivateKey,
    challenge: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut blob = structure::Reader(challenge);
    let (identity, secret) = (blob.sized()?, blob.sized()?);
    let (duplicate, seed, public) = (blob.sized()?, blob.sized()?, blob.sized()?);

    // ActivateCredential: the credential is sealed to the endorsement key and to the name of the storage root key.
    let srk_name = structure::name(structure::Reader(&storage_root.storage_root()).sized()?);
    let credential_seed = endorsement.decrypt(secret, IDENTITY)?;
    let opened = seal::unwrap(identity, &credential_seed, &srk_name)?;
    let inner_key = structure::Reader(&opened).sized()?;

    // Import: the signing key is sealed to the storage root key, and inside once more with the credential.
    let name = structure::name(public);
    let outer_seed = storage_root.decrypt(seed, DUPLICATE)?;
    let wrapped = seal::unwrap(duplicate, &outer_seed, &name)?;
    let sealed = seal::cfb(inner_key, &wrapped, seal::Way::Open)?;
    let mut sealed = structure::Reader(&sealed);
    let integrity = sealed.sized()?;
    if integrity != hash::sha256(&[sealed.0, &name]) {
        return None;
    }
    let (seed_value, key) = structure::read_sensitive(sealed.sized()?)?;
    let unique = hash::sha256(&[seed_value, key]);
    (structure::read_hmac_key(public)? == unique).then(|| Zeroizing::new(key.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// Two keys of the shipped attestation's pool.
    static KEYS: LazyLock<[PrivateKey; 3]> = LazyLock::new(|| {
        [
            &include_bytes!("../../../plugins/tpm/src/pool/0.der")[..],
            include_bytes!("../../../plugins/tpm/src/pool/1.der"),
            include_bytes!("../../../plugins/tpm/src/pool/2.der"),
        ]
        .map(|der| PrivateKey::from_pkcs8(der).unwrap())
    });

    fn challenge(key: &[u8]) -> Vec<u8> {
        let [ek, srk, _] = &*KEYS;
        make(&ek.endorsement(), &srk.storage_root(), key, &Draws::fresh().unwrap()).unwrap()
    }

    #[test]
    fn a_challenge_opens_for_the_two_keys_that_it_was_made_for_and_no_others() {
        let [ek, srk, other] = &*KEYS;
        let challenge = challenge(b"the key that is handed over");
        assert_eq!(open(ek, srk, &challenge).unwrap().as_slice(), b"the key that is handed over");
        for (ek, srk) in [(other, srk), (ek, other), (srk, ek)] {
            assert!(open(ek, srk, &challenge).is_none());
        }
    }

    #[test]
    fn no_two_challenges_are_alike() {
        assert_ne!(challenge(&[1; 32]), challenge(&[1; 32]));
    }

    #[test]
    fn a_challenge_with_any_byte_changed_or_cut_off_is_refused() {
        let [ek, srk, _] = &*KEYS;
        let whole = challenge(&[9; 32]);
        // The last two bytes are the size of the data that nobody reads.
        for at in (0..whole.len() - 2).step_by(7) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(open(ek, srk, &changed).is_none(), "byte {at}");
        }
        for length in [0, 1, 2, 80, whole.len() / 2, whole.len() - 3] {
            assert!(open(ek, srk, &whole[..length]).is_none(), "{length} bytes");
        }
    }

    #[test]
    fn keys_of_another_template_get_no_challenge() {
        let [ek, srk, _] = &*KEYS;
        let (ek, srk) = (ek.endorsement(), srk.storage_root());
        // 316 bytes were seen on the wire (`dps` 10.1).
        assert_eq!((ek.len(), key::check(&ek), key::check(&srk)), (316, Ok(()), Ok(())));
        let draws = Draws::fresh().unwrap();
        for at in [0, 2, 4, 45, 48, 50] {
            let mut changed = ek.clone();
            changed[at] ^= 0x40;
            assert_eq!(make(&changed, &srk, &[7; 32], &draws), Err(KeyError), "byte {at}");
        }
        for wrong in [vec![], ek[1..].to_vec(), [&ek[..], b"more"].concat()] {
            assert_eq!(key::check(&wrong), Err(KeyError));
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_without_a_panic(noise: Vec<u8>, at in 0..1_000usize, byte: u8) {
            let [ek, srk, _] = &*KEYS;
            prop_assert!(open(ek, srk, &noise).is_none());
            prop_assert!(key::check(&noise).is_err());
            let mut public = ek.endorsement();
            let length = public.len();
            public[at % length] = byte;
            // Whatever it has become, it is judged and not believed.
            let _ = make(&public, &srk.storage_root(), &[1; 32], &Draws::fresh().unwrap());
        }
    }
}
