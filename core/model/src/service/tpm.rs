//! TPM attestation, the service's side: who is challenged, and which keys challenges carry (`dps` 10).

use fleetstorm_protocol::enrollment::{Attestation, SymmetricKey};
use fleetstorm_protocol::{Body, Enrolment, code};
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::Moment;

use super::Evidence;
use super::answer::{Answer, Handled, Refusal};
use super::machine::Service;
use super::record::{Caller, EnrollmentPlace};

/// What a key is for that a challenge hands to a TPM.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// Tokens for this service.
    Registration,
    /// Tokens for the hub.
    Hub,
}

impl Service {
    /// Judges a registration that shows neither certificate nor token and names a TPM: a known TPM is challenged. `None`
    /// if it names none.
    pub(super) fn challenge(
        &self,
        caller: Caller<'_>,
        evidence: &impl Evidence,
    ) -> Result<Option<Answer>, Refusal> {
        let Some(keys) = evidence.tpm() else { return Ok(None) };
        let at = self.individuals.find(&self.name(caller));
        // An endorsement key is public, so it is no secret whether the service knows it (`dps` 17.1).
        let at = at.ok_or(Refusal::new(code::ENROLLMENT_NOT_FOUND))?;
        match self.individuals.get(at).map(|kept| &kept.value.enrollment.attestation) {
            Some(Attestation::Tpm { endorsement_key, storage_root_key })
                if *endorsement_key == keys.endorsement_key =>
            {
                if keys.storage_root_key.is_none() && storage_root_key.is_none() {
                    return Err(Refusal::new(code::BAD_FORMAT));
                }
                Ok(Some(Answer::Challenged { individual: at }))
            }
            _ => Err(Refusal::new(code::UNAUTHORIZED)),
        }
    }

    /// Whether a token comes from the TPM of this enrollment: it is signed with the key that the TPM was given for this
    /// use, and if the request names a TPM, it is that one.
    pub(super) fn is_signed_by_tpm(
        &self,
        at: u32,
        endorsement_key: &[u8],
        what: Use,
        evidence: &impl Evidence,
    ) -> bool {
        evidence.signed_with(&self.tpm_key(at, endorsement_key, what), None)
            && evidence.tpm().is_none_or(|keys| *keys.endorsement_key == *endorsement_key)
    }

    /// The key that an enrollment's TPM is given. It is derived, not stored; another TPM has another one.
    fn tpm_key(&self, at: u32, endorsement_key: &[u8], what: Use) -> SymmetricKey {
        let seed = self.config.seed.named(endorsement_key);
        let from = 2 * u32::from(matches!(what, Use::Hub));
        let draw = |n| seed.pair(Purpose::TpmKey, u64::from(at), from + n);
        SymmetricKey::new((0..2).flat_map(draw).flat_map(u64::to_be_bytes).collect())
    }

    /// Remembers beneath which key the hub's will be imported.
    pub(super) fn keep_storage_root(&mut self, at: usize, evidence: &impl Evidence) {
        let EnrollmentPlace::Individual(individual) = self.records.get(at).enrollment.place() else { return };
        let Some(kept) = self.individuals.get(individual) else { return };
        if let Attestation::Tpm { .. } = kept.value.enrollment.attestation
            && let Some(key) = evidence.tpm().and_then(|keys| keys.storage_root_key)
        {
            self.special.entry(at as u32).or_default().storage_root_key = Some(key);
        }
    }

    /// Fills in what takes evidence to make: the challenge, or the key for the hub that comes with an assignment.
    pub(super) fn seal(
        &mut self,
        now: Moment,
        answer: &Answer,
        handled: Handled,
        evidence: &impl Evidence,
    ) -> Handled {
        match *answer {
            Answer::Challenged { individual } => self.seal_challenge(now, individual, handled, evidence),
            Answer::Assigned(ticket) | Answer::Known(ticket, false) => {
                self.seal_assignment(ticket.record as usize, handled, evidence)
            }
            _ => handled,
        }
    }

    fn seal_challenge(
        &mut self,
        now: Moment,
        at: u32,
        mut handled: Handled,
        evidence: &impl Evidence,
    ) -> Handled {
        let named = evidence.tpm().and_then(|keys| keys.storage_root_key);
        let challenge = self.tpm(at).and_then(|(endorsement_key, enrolled)| {
            let key = self.tpm_key(at, endorsement_key, Use::Registration);
            evidence.challenge(endorsement_key, named.as_deref().or(enrolled)?, &key)
        });
        match challenge {
            Some(challenge) => {
                handled.reply.body = Body::Challenge(challenge);
                handled
            }
            // A storage root key that is none.
            None => Handled { delay: handled.delay, ..self.refused(now, Refusal::new(code::UNAUTHORIZED)) },
        }
    }

    fn seal_assignment(&self, at: usize, mut handled: Handled, evidence: &impl Evidence) -> Handled {
        if let Body::Operation { registration: Some(registration), .. } | Body::Registration(registration) =
            &mut handled.reply.body
            && let Some(Enrolment::Tpm { authentication_key }) = &mut registration.enrolment
        {
            *authentication_key = self.key_for_hub(at, evidence).unwrap_or_default();
        }
        handled
    }

    fn key_for_hub(&self, at: usize, evidence: &impl Evidence) -> Option<Box<[u8]>> {
        let EnrollmentPlace::Individual(individual) = self.records.get(at).enrollment.place() else {
            return None;
        };
        let (endorsement_key, enrolled) = self.tpm(individual)?;
        let kept = self.special.get(&(at as u32)).and_then(|special| special.storage_root_key.as_deref());
        let key = self.tpm_key(individual, endorsement_key, Use::Hub);
        evidence.challenge(endorsement_key, kept.or(enrolled)?, &key)
    }

    /// The endorsement key and the storage root key of an enrollment's TPM.
    fn tpm(&self, at: u32) -> Option<(&[u8], Option<&[u8]>)> {
        match &self.individuals.get(at)?.value.enrollment.attestation {
            Attestation::Tpm { endorsement_key, storage_root_key } => {
                Some((endorsement_key, storage_root_key.as_deref()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "tpm_tests.rs"]
mod tests;
