//! Who is admitted: the enrollment that answers for a device, and whether the evidence satisfies it.

use fleetstorm_protocol::enrollment::{Attestation, Group, SymmetricKey};
use fleetstorm_protocol::{code, sas};
use fleetstorm_units::time::Moment;

use super::answer::Refusal;
use super::machine::Service;
use super::record::{Caller, EnrollmentPlace, EnrollmentRef};
use super::tpm::Use;
use super::{Evidence, Resource, Token};
use crate::chaos::Serving;

impl Service {
    /// Finds the enrollment that answers for a device and checks the evidence against it.
    ///
    /// An individual enrollment goes first and is final: a device that fails it does not fall through to a group
    /// (`dps` 9.2, 14.3). `what` the device wants makes a difference to a TPM only, which has a key for each.
    pub(super) fn admit(
        &self,
        now: Moment,
        caller: Caller<'_>,
        what: Use,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Result<EnrollmentRef, Refusal> {
        let id = &*self.name(caller);
        let unix_ns = self.config.calendar.unix_nanos(now).saturating_add_signed(serving.clock_offset_ns);
        let unix_secs = unix_ns / 1_000_000_000;
        if let Some(leaf) = evidence.certificate() {
            let invalid = Refusal::new(code::INVALID_CERTIFICATE);
            let dated = i64::try_from(unix_secs)
                .is_ok_and(|now| (leaf.not_before_unix_secs..=leaf.not_after_unix_secs).contains(&now));
            if !leaf.common_name.eq_ignore_ascii_case(id) || !dated {
                return Err(invalid);
            }
            return self.by_certificate(id, leaf.sha256, unix_secs, evidence, serving).ok_or(invalid);
        }
        let unauthorized = Refusal::new(code::UNAUTHORIZED);
        match evidence.token() {
            Token::Absent | Token::Unreadable => Err(unauthorized),
            Token::Claims { resource, expires_unix_secs } => {
                let covered = || match resource {
                    Resource::Own => true,
                    Resource::Spelled(resource) => {
                        sas::covers(resource, &format!("{}/registrations/{id}", self.config.id_scope))
                    }
                };
                if expires_unix_secs < unix_secs || !covered() {
                    return Err(unauthorized);
                }
                self.by_key(caller, id, what, evidence, serving).ok_or(unauthorized)
            }
        }
    }

    fn by_certificate(
        &self,
        id: &str,
        sha256: [u8; 32],
        unix_secs: u64,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Option<EnrollmentRef> {
        let primary_stands = !serving.primary_refused;
        // How far the leaf lies beneath a CA of this attestation.
        let depth = |attestation: &Attestation| {
            let [primary, secondary] = match attestation {
                Attestation::Signer { primary, secondary } => [Some(primary), secondary.as_ref()],
                Attestation::CaReference { primary, secondary } => {
                    let ca = |name: &String| self.config.ca(name);
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
                .filter_map(|ca| evidence.signed_by(ca, &self.trusted, unix_secs))
                .min()
        };
        if let Some(at) = self.individuals.find(id) {
            let genuine = match &self.individuals.get(at)?.value.enrollment.attestation {
                Attestation::Leaf { primary, secondary } => {
                    (primary_stands && primary.sha256 == sha256)
                        || secondary.as_ref().is_some_and(|other| other.sha256 == sha256)
                }
                attestation => depth(attestation).is_some(),
            };
            return genuine.then_some(EnrollmentRef::individual(at));
        }
        let nearest = |(at, group): (u32, &Group)| Some((depth(&group.enrollment.attestation)?, at));
        self.groups.iter().filter_map(nearest).min().map(|(_, at)| EnrollmentRef::group(at))
    }

    fn by_key(
        &self,
        caller: Caller<'_>,
        id: &str,
        what: Use,
        evidence: &impl Evidence,
        serving: &Serving,
    ) -> Option<EnrollmentRef> {
        let stands = |_: &&SymmetricKey| !serving.primary_refused;
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
        if let Some(at) = self.individuals.find(id) {
            let genuine = match &self.individuals.get(at)?.value.enrollment.attestation {
                Attestation::Tpm { endorsement_key, .. } => {
                    self.is_signed_by_tpm(at, endorsement_key, what, evidence)
                }
                attestation => signed(attestation, None),
            };
            return genuine.then_some(EnrollmentRef::individual(at));
        }
        // The group that admitted the device last time very likely does again.
        let last = self.records.find(caller).map(|at| self.records.get(at).enrollment);
        if let Some(EnrollmentPlace::Group(at)) = last.map(EnrollmentRef::place)
            && let Some(group) = self.groups.get(at)
            && signed(&group.value.enrollment.attestation, Some(id))
        {
            return last;
        }
        let mut groups = self.groups.iter();
        groups
            .find(|(_, group)| signed(&group.enrollment.attestation, Some(id)))
            .map(|(at, _)| EnrollmentRef::group(at))
    }
}
