//! TPM attestation, the service's side: who is challenged, and which keys challenges carry (`dps` 10).

use fleetstorm_protocol::code;
use fleetstorm_protocol::enrollment::{Attestation, SymmetricKey};
use fleetstorm_protocol::enrollment_api::Kind;
use fleetstorm_units::random::{Purpose, Seed};

use super::Evidence;
use super::answer::{Answer, Refusal};
use super::enrollments::Enrollments;
use super::record::{Caller, EnrollmentPlace, EnrollmentRef};
use super::registrations::Registrations;

/// What a key is for that a challenge hands to a TPM.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// Tokens for this service.
    Registration,
    /// Tokens for the hub.
    Hub,
}

/// A key that an enrollment's TPM is given. It is derived, not stored; another TPM has another one.
#[derive(Clone, Copy)]
pub(super) struct TpmKey<'a> {
    /// The place of the enrollment.
    pub(super) individual: u32,
    pub(super) endorsement_key: &'a [u8],
    pub(super) what: Use,
}

impl TpmKey<'_> {
    pub(super) fn derive(self, seed: Seed) -> SymmetricKey {
        let seed = seed.named(self.endorsement_key);
        let from = 2 * u32::from(matches!(self.what, Use::Hub));
        let draw = |n| seed.pair(Purpose::TpmKey, u64::from(self.individual), from + n);
        SymmetricKey::new((0..2).flat_map(draw).flat_map(u64::to_be_bytes).collect())
    }
}

impl Enrollments {
    /// Judges a registration that shows neither certificate nor token and names a TPM: a known TPM is challenged. `None`
    /// if it names none.
    pub(super) fn challenge(
        &self,
        caller: Caller<'_>,
        registrations: &Registrations,
        evidence: &impl Evidence,
    ) -> Result<Option<Answer>, Refusal> {
        let Some(keys) = evidence.tpm() else { return Ok(None) };
        let at = self.find(Kind::Individual, &registrations.name(caller));
        // An endorsement key is public, so it is no secret whether the service knows it (`dps` 17.1).
        let individual = at.ok_or(Refusal::new(code::ENROLLMENT_NOT_FOUND))?;
        match self.tpm(individual) {
            Some((endorsement_key, enrolled)) if *endorsement_key == *keys.endorsement_key => {
                if keys.storage_root_key.is_none() && enrolled.is_none() {
                    return Err(Refusal::new(code::BAD_FORMAT));
                }
                Ok(Some(Answer::Challenged { individual }))
            }
            _ => Err(Refusal::new(code::UNAUTHORIZED)),
        }
    }

    /// Whether a token comes from the TPM of this enrollment: it is signed with the key that the TPM was given for this
    /// use, and if the request names a TPM, it is that one.
    pub(super) fn is_signed_by_tpm(&self, key: TpmKey<'_>, evidence: &impl Evidence) -> bool {
        evidence.signed_with(&key.derive(self.seed()), None)
            && evidence.tpm().is_none_or(|keys| *keys.endorsement_key == *key.endorsement_key)
    }

    /// The storage root key that a device names, if it proves itself with a TPM.
    pub(super) fn storage_root_key(&self, of: EnrollmentRef, evidence: &impl Evidence) -> Option<Box<[u8]>> {
        let EnrollmentPlace::Individual(individual) = of.place() else { return None };
        self.tpm(individual)?;
        evidence.tpm()?.storage_root_key
    }

    /// What hands the key for this use to the TPM of an enrollment, beneath the storage root key that it `named` or else
    /// beneath the enrolled one.
    pub(super) fn seal(
        &self,
        individual: u32,
        what: Use,
        named: Option<&[u8]>,
        evidence: &impl Evidence,
    ) -> Option<Box<[u8]>> {
        let (endorsement_key, enrolled) = self.tpm(individual)?;
        let key = TpmKey { individual, endorsement_key, what }.derive(self.seed());
        evidence.challenge(endorsement_key, named.or(enrolled)?, &key)
    }

    /// The endorsement key and the storage root key of an enrollment's TPM.
    fn tpm(&self, at: u32) -> Option<(&[u8], Option<&[u8]>)> {
        match &self.individual(at)?.enrollment.attestation {
            Attestation::Tpm { endorsement_key, storage_root_key } => {
                Some((endorsement_key, storage_root_key.as_deref()))
            }
            _ => None,
        }
    }
}
