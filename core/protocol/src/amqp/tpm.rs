//! SASL's mechanism `TPM` (`dps` 10.3), the service's side of it: who is there, its keys, the challenge in two
//! parts, and the token that the TPM signs with the key that was in it.

/// A TPM that wants to prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tpm {
    /// The id scope as it was spelled.
    pub id_scope: String,
    /// The registration id as it was spelled.
    pub registration_id: String,
    /// Its endorsement key, a TPM2B_PUBLIC.
    pub endorsement_key: Vec<u8>,
    /// Its storage root key, a TPM2B_PUBLIC; empty until it has come.
    pub storage_root_key: Vec<u8>,
}

/// Longest key; one of RSA-2048 has 316 bytes.
const KEY_MAX_BYTES: usize = 1024;

/// What asks for the storage root key.
pub(super) const STORAGE_KEY_PLEASE: [u8; 1] = [0];

/// The first byte of a part of the challenge, without its number: more follow, or it is the last.
const PART: u8 = 0x80;
const LAST_PART: u8 = 0xc0;

impl Tpm {
    /// Reads the initial response: a zero, the scope, a zero, the id, a zero, the endorsement key.
    pub(super) fn read(response: &[u8]) -> Option<Self> {
        let mut parts = response.splitn(4, |byte| *byte == 0);
        let text =
            |part: &[u8]| std::str::from_utf8(part).ok().filter(|text| !text.is_empty()).map(str::to_owned);
        if !parts.next()?.is_empty() {
            return None;
        }
        let (id_scope, registration_id) = (text(parts.next()?)?, text(parts.next()?)?);
        let endorsement_key = key(parts.next()?)?;
        Some(Self { id_scope, registration_id, endorsement_key, storage_root_key: Vec::new() })
    }

    /// Reads the storage root key: a zero and the key. `false` if that is none.
    pub(super) fn take_storage_root_key(&mut self, response: &[u8]) -> bool {
        let read = response.strip_prefix(&[0]).and_then(key);
        let good = read.is_some();
        self.storage_root_key = read.unwrap_or_default();
        good
    }
}

fn key(bytes: &[u8]) -> Option<Vec<u8>> {
    (1..=KEY_MAX_BYTES).contains(&bytes.len()).then(|| bytes.to_vec())
}

/// The challenge in two parts, which is how many the Java client expects, each behind its number.
pub(super) fn parts(challenge: &[u8]) -> [Vec<u8>; 2] {
    let (first, last) = challenge.split_at(challenge.len() / 2);
    [[&[PART], first].concat(), [&[LAST_PART | 1], last].concat()]
}

/// Reads the token: a zero and the text.
pub(super) fn read_token(response: &[u8]) -> Option<&str> {
    std::str::from_utf8(response.strip_prefix(&[0])?).ok().filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_may_hold_zeros() {
        let tpm = Tpm::read(b"\0scope\0dev-1\0\x01\0\0\x02").unwrap();
        assert_eq!((&*tpm.id_scope, &*tpm.registration_id), ("scope", "dev-1"));
        assert_eq!(tpm.endorsement_key, [1, 0, 0, 2]);
        for response in
            [&b""[..], b"\0", b"\0scope\0dev-1", b"\0scope\0dev-1\0", b"x\0scope\0dev-1\0k", b"\0\0dev-1\0k"]
        {
            assert_eq!(Tpm::read(response), None, "{response:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(bytes: Vec<u8>) {
            if let Some(mut tpm) = Tpm::read(&bytes) {
                tpm.take_storage_root_key(&bytes);
            }
            let _ = read_token(&bytes);
        }

        #[test]
        fn the_parts_of_a_challenge_are_all_of_it(challenge: Vec<u8>) {
            let [first, last] = parts(&challenge);
            prop_assert_eq!((first[0], last[0]), (0x80, 0xc1));
            prop_assert_eq!([&first[1..], &last[1..]].concat(), challenge);
        }
    }
}
