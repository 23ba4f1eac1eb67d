//! How an enrollment that a request describes becomes one that the service keeps.

use fleetstorm_protocol::RegistrationId;
use fleetstorm_protocol::certificate::{CertificateInfo, Certificates};
use fleetstorm_protocol::enrollment::{
    AllocationPolicy, Attestation, CaCertificate, Enrollment, SymmetricKey,
};
use fleetstorm_protocol::enrollment_api::{Draft, DraftAttestation, Kind};
use fleetstorm_units::random::{Purpose, Seed};

/// What the keys of an enrollment are drawn from that nobody brings.
#[derive(Clone, Copy)]
pub(super) struct KeySource {
    pub(super) seed: Seed,
    /// That of the change.
    pub(super) number: u32,
}

impl KeySource {
    /// A key of 64 bytes, as the service makes them.
    fn generate(self, which: u32) -> SymmetricKey {
        let of = u64::from(which) << 32 | u64::from(self.number);
        let draw = |part| self.seed.pair(Purpose::EnrollmentKey, of, part);
        SymmetricKey::new((0..4).flat_map(draw).flat_map(u64::to_be_bytes).collect())
    }
}

/// The enrollment that the service keeps, if the draft is one of this kind. `before` is what it replaces.
pub(super) fn complete(
    draft: &Draft,
    kind: Kind,
    before: Option<&Enrollment>,
    certificates: &impl Certificates,
    keys: KeySource,
) -> Option<Enrollment> {
    // The rule of registration ids holds for groups too (`dps` 16.1).
    RegistrationId::new(&draft.id).ok()?;
    let known = before.map(|before| &before.attestation);
    let attestation = complete_attestation(&draft.attestation, kind, known, certificates, keys)?;
    let fits = match draft.allocation {
        Some(AllocationPolicy::Custom) => draft.custom.is_some(),
        Some(AllocationPolicy::Static) => draft.hub.is_some() || draft.hubs.len() == 1,
        Some(AllocationPolicy::Hashed | AllocationPolicy::GeoLatency) | None => true,
    };
    fits.then(|| Enrollment {
        attestation,
        enabled: draft.enabled,
        allocation: draft.allocation,
        static_hub: draft.hub.clone(),
        hubs: draft.hubs.clone(),
        custom: draft.custom.clone(),
        reprovision: draft.reprovision,
        initial_twin: draft.initial_twin.clone(),
        edge: draft.edge,
        policy: draft.policy.clone().unwrap_or_else(|| before.and_then(|before| before.policy.clone())),
        type_refs: draft
            .type_refs
            .clone()
            .or_else(|| before.map(|before| before.type_refs.clone()))
            .unwrap_or_default(),
    })
}

fn complete_attestation(
    draft: &DraftAttestation,
    kind: Kind,
    before: Option<&Attestation>,
    certificates: &impl Certificates,
    keys: KeySource,
) -> Option<Attestation> {
    match (draft, kind) {
        (DraftAttestation::SymmetricKey(given), _) => {
            let (old_primary, old_secondary) = match before {
                Some(Attestation::SymmetricKey { primary, secondary }) => {
                    (Some(primary.clone()), secondary.clone())
                }
                _ => (None, None),
            };
            // DPS makes the keys that nobody brings (`dps` 16.2).
            let made = |which| keys.generate(which);
            let primary = given.primary.clone().or(old_primary).unwrap_or_else(|| made(0));
            let secondary = given.secondary.clone().or(old_secondary).unwrap_or_else(|| made(1));
            Some(Attestation::SymmetricKey { primary, secondary: Some(secondary) })
        }
        (DraftAttestation::ClientCertificates(given), Kind::Individual) => {
            let read = |der: &Option<Vec<u8>>| -> Option<Option<Box<CertificateInfo>>> {
                der.as_deref()
                    .map(|der| certificates.read(der).map(Box::new))
                    .map_or(Some(None), |read| read.map(Some))
            };
            let (primary, secondary) = (read(&given.primary)?, read(&given.secondary)?);
            match (primary, before) {
                (Some(primary), _) => Some(Attestation::Leaf { primary, secondary }),
                (None, Some(Attestation::Leaf { primary, secondary: old })) => Some(Attestation::Leaf {
                    primary: primary.clone(),
                    secondary: secondary.or_else(|| old.clone()),
                }),
                (None, _) => None,
            }
        }
        (DraftAttestation::SigningCertificates(given), Kind::Group) => {
            let read = |der: &Option<Vec<u8>>| -> Option<Option<CaCertificate>> {
                let Some(der) = der else { return Some(None) };
                let info = certificates.read(der)?;
                // A root stands for itself, as if it had been uploaded and verified before; the service has the last word.
                Some(Some(CaCertificate { der: der.as_slice().into(), verified: info.is_root() }))
            };
            let (primary, secondary) = (read(&given.primary)?, read(&given.secondary)?);
            match (primary, before) {
                (Some(primary), _) => Some(Attestation::Signer { primary, secondary }),
                (None, Some(Attestation::Signer { primary, secondary: old })) => Some(Attestation::Signer {
                    primary: primary.clone(),
                    secondary: secondary.or_else(|| old.clone()),
                }),
                (None, _) => None,
            }
        }
        // Whether the instance holds them is for the service to say.
        (DraftAttestation::CaReferences { primary, secondary }, _) => {
            Some(Attestation::CaReference { primary: primary.clone(), secondary: secondary.clone() })
        }
        // TPMs attest for themselves only (`dps` 14.2).
        (DraftAttestation::Tpm { endorsement_key, storage_root_key }, Kind::Individual) => {
            let mut given = std::iter::once(endorsement_key).chain(storage_root_key);
            given.all(|key| certificates.is_tpm_key(key)).then(|| Attestation::Tpm {
                endorsement_key: endorsement_key.clone(),
                storage_root_key: storage_root_key.clone(),
            })
        }
        (DraftAttestation::ClientCertificates(_) | DraftAttestation::Tpm { .. }, Kind::Group)
        | (DraftAttestation::SigningCertificates(_), Kind::Individual) => None,
    }
}
