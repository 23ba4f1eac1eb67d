//! Who is admitted: the enrollment that answers for a device, and whether the evidence satisfies it.

use fleetstorm_protocol::enrollment::{Attestation, Group, SymmetricKey};
use fleetstorm_protocol::enrollment_api::Kind;
use fleetstorm_protocol::{code, sas};

use super::answer::Refusal;
use super::enrollments::Enrollments;
use super::record::{Caller, EnrollmentPlace, EnrollmentRef};
use super::registrations::Registrations;
use super::tpm::{TpmKey, Use};
use super::{Certificate, Evidence, Resource, Token};

/// What a device says of itself, and how it proves it.
pub(super) struct Claim<'a, E> {
    pub(super) caller: Caller<'a>,
    /// How it is called.
    pub(super) id: &'a str,
    /// What it wants makes a difference to a TPM only, which has a key for each.
    pub(super) what: Use,
    pub(super) evidence: &'a E,
    /// The instance's id scope.
    pub(super) id_scope: &'a str,
    /// The time by the service's clock.
    pub(super) unix_secs: u64,
    /// A fault lets the primary credential count for nothing.
    pub(super) primary_refused: bool,
}

impl Certificate {
    /// Whether it is valid at this time.
    pub(super) fn is_dated(&self, unix_secs: u64) -> bool {
        let valid = self.not_before_unix_secs..=self.not_after_unix_secs;
        i64::try_from(unix_secs).is_ok_and(|now| valid.contains(&now))
    }
}

impl Enrollments {
    /// Finds the enrollment that answers for a device and checks the evidence against it.
    ///
    /// An individual enrollment goes first and is final: a device that fails it does not fall through to a group
    /// (`dps` 9.2, 14.3).
    pub(super) fn admit(
        &self,
        claim: &Claim<'_, impl Evidence>,
        registrations: &Registrations,
    ) -> Result<EnrollmentRef, Refusal> {
        let id = claim.id;
        if let Some(leaf) = claim.evidence.certificate() {
            let invalid = Refusal::new(code::INVALID_CERTIFICATE);
            if !leaf.common_name.eq_ignore_ascii_case(id) || !leaf.is_dated(claim.unix_secs) {
                return Err(invalid);
            }
            return self.by_certificate(claim, leaf.sha256).ok_or(invalid);
        }
        let unauthorized = Refusal::new(code::UNAUTHORIZED);
        match claim.evidence.token() {
            Token::Absent | Token::Unreadable => Err(unauthorized),
            Token::Claims { resource, expires_unix_secs } => {
                let covered = || match resource {
                    Resource::Own => true,
                    Resource::Spelled(resource) => {
                        sas::covers(resource, &format!("{}/registrations/{id}", claim.id_scope))
                    }
                };
                if expires_unix_secs < claim.unix_secs || !covered() {
                    return Err(unauthorized);
                }
                self.by_key(claim, registrations).ok_or(unauthorized)
            }
        }
    }

    fn by_certificate(&self, claim: &Claim<'_, impl Evidence>, sha256: [u8; 32]) -> Option<EnrollmentRef> {
        let primary_stands = !claim.primary_refused;
        // How far the leaf lies beneath a CA of this attestation.
        let depth = |attestation: &Attestation| {
            let [primary, secondary] = match attestation {
                Attestation::Signer { primary, secondary } => [Some(primary), secondary.as_ref()],
                Attestation::CaReference { primary, secondary } => {
                    let ca = |name: &String| self.ca(name);
                    [ca(primary), secondary.as_ref().and_then(ca)]
                }
                Attestation::Leaf { .. } | Attestation::SymmetricKey { .. } | Attestation::Tpm { .. } => {
                    return None;
                }
            };
            let trusted = [primary.filter(|_| primary_stands), secondary];
            trusted
                .into_iter()
                .flatten()
                .filter_map(|ca| claim.evidence.signed_by(ca, self.trusted(), claim.unix_secs))
                .min()
        };
        if let Some(at) = self.find(Kind::Individual, claim.id) {
            let genuine = match &self.individual(at)?.enrollment.attestation {
                Attestation::Leaf { primary, secondary } => {
                    (primary_stands && primary.sha256 == sha256)
                        || secondary.as_ref().is_some_and(|other| other.sha256 == sha256)
                }
                attestation => depth(attestation).is_some(),
            };
            return genuine.then_some(EnrollmentRef::individual(at));
        }
        let nearest = |(at, group): (u32, &Group)| Some((depth(&group.enrollment.attestation)?, at));
        self.groups().filter_map(nearest).min().map(|(_, at)| EnrollmentRef::group(at))
    }

    fn by_key(
        &self,
        claim: &Claim<'_, impl Evidence>,
        registrations: &Registrations,
    ) -> Option<EnrollmentRef> {
        let Claim { id, evidence, .. } = *claim;
        let stands = |_: &&SymmetricKey| !claim.primary_refused;
        let signed = |attestation: &Attestation, derived_for: Option<&str>| match attestation {
            Attestation::SymmetricKey { primary, secondary } => {
                [Some(primary).filter(stands), secondary.as_ref()]
                    .into_iter()
                    .flatten()
                    .any(|key| evidence.signed_with(key, derived_for))
            }
            Attestation::Leaf { .. }
            | Attestation::Signer { .. }
            | Attestation::CaReference { .. }
            | Attestation::Tpm { .. } => false,
        };
        if let Some(at) = self.find(Kind::Individual, id) {
            let genuine = match &self.individual(at)?.enrollment.attestation {
                Attestation::Tpm { endorsement_key, .. } => self
                    .is_signed_by_tpm(TpmKey { individual: at, endorsement_key, what: claim.what }, evidence),
                attestation => signed(attestation, None),
            };
            return genuine.then_some(EnrollmentRef::individual(at));
        }
        // The group that admitted the device last time very likely does again.
        let last = registrations.find(claim.caller).map(|at| registrations.get(at).enrollment);
        if let Some(EnrollmentPlace::Group(at)) = last.map(EnrollmentRef::place)
            && let Some(group) = self.group(at)
            && signed(&group.enrollment.attestation, Some(id))
        {
            return last;
        }
        self.groups()
            .find(|(_, group)| signed(&group.enrollment.attestation, Some(id)))
            .map(|(at, _)| EnrollmentRef::group(at))
    }
}
