//! An enrollment as a request describes it, and how it becomes one that the service keeps.

use std::sync::Arc;

use serde_json::Value;

use super::Kind;
use crate::protocol::RegistrationId;
use crate::protocol::policy_name::PolicyName;
use crate::random::{Purpose, Seed};
use crate::service::certificate::{CertificateInfo, Certificates};
use crate::service::enrollment::{
    AllocationPolicy, Attestation, CaCertificate, CustomAllocation, Enrollment, ReprovisionPolicy,
    SymmetricKey,
};

/// An enrollment or group as a request describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// `registrationId` or `enrollmentGroupId`.
    pub id: String,
    /// `deviceId`.
    pub device_id: Option<String>,
    /// `optionalDeviceInformation`.
    pub information: Option<Box<Value>>,
    /// `attestation`.
    pub attestation: DraftAttestation,
    /// `provisioningStatus`.
    pub enabled: bool,
    /// `allocationPolicy`.
    pub allocation: Option<AllocationPolicy>,
    /// `iotHubHostName`.
    pub hub: Option<String>,
    /// `iotHubs`.
    pub hubs: Vec<String>,
    /// `customAllocationDefinition`.
    pub custom: Option<CustomAllocation>,
    /// `reprovisionPolicy`.
    pub reprovision: ReprovisionPolicy,
    /// `initialTwin`.
    pub initial_twin: Option<Arc<Value>>,
    /// `capabilities.iotEdge`.
    pub edge: bool,
    /// Who issues certificates to its devices. Where the version cannot say, which is the outer `None`, what was said before
    /// stays.
    pub policy: Option<Option<PolicyName>>,
    /// `deviceTypeRefs`, where the version has them.
    pub type_refs: Option<Vec<String>>,
    /// `etag`, which only a bulk request looks at.
    pub etag: Option<String>,
}

/// An attestation as a request describes it. What it leaves out is kept from the enrollment that it replaces.
#[derive(Clone, Debug, PartialEq)]
pub enum DraftAttestation {
    /// `symmetricKey`.
    SymmetricKey(DraftKeys<SymmetricKey>),
    /// `x509.clientCertificates`, DER.
    ClientCertificates(DraftKeys<Vec<u8>>),
    /// `x509.signingCertificates`, DER.
    SigningCertificates(DraftKeys<Vec<u8>>),
    /// `x509.caReferences`: names of CA certificates of the instance.
    CaReferences {
        /// The primary one.
        primary: String,
        /// The secondary one.
        secondary: Option<String>,
    },
    /// `tpm`.
    Tpm {
        /// `endorsementKey`, decoded.
        endorsement_key: Box<[u8]>,
        /// `storageRootKey`, decoded.
        storage_root_key: Option<Box<[u8]>>,
    },
}

/// A primary and a secondary one, as far as they were given.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftKeys<T> {
    /// The primary one.
    pub primary: Option<T>,
    /// The secondary one.
    pub secondary: Option<T>,
}

impl Draft {
    /// The enrollment that the service keeps, if the draft is one of this kind. `before` is what it replaces.
    pub(super) fn enrollment(
        &self,
        kind: Kind,
        before: Option<&Enrollment>,
        certificates: &impl Certificates,
        random: (Seed, u32),
    ) -> Option<Enrollment> {
        // The rule of registration ids holds for groups too (`dps` 16.1).
        RegistrationId::new(&self.id).ok()?;
        let known = before.map(|before| &before.attestation);
        let attestation = self.attestation.complete(kind, known, certificates, random)?;
        let fits = match self.allocation {
            Some(AllocationPolicy::Custom) => self.custom.is_some(),
            Some(AllocationPolicy::Static) => self.hub.is_some() || self.hubs.len() == 1,
            Some(AllocationPolicy::Hashed | AllocationPolicy::GeoLatency) | None => true,
        };
        fits.then(|| Enrollment {
            attestation,
            enabled: self.enabled,
            allocation: self.allocation,
            static_hub: self.hub.clone(),
            hubs: self.hubs.clone(),
            custom: self.custom.clone(),
            reprovision: self.reprovision,
            initial_twin: self.initial_twin.clone(),
            edge: self.edge,
            policy: self.policy.clone().unwrap_or_else(|| before.and_then(|before| before.policy.clone())),
            type_refs: self
                .type_refs
                .clone()
                .or_else(|| before.map(|before| before.type_refs.clone()))
                .unwrap_or_default(),
        })
    }
}

impl DraftAttestation {
    fn complete(
        &self,
        kind: Kind,
        before: Option<&Attestation>,
        certificates: &impl Certificates,
        (seed, count): (Seed, u32),
    ) -> Option<Attestation> {
        match (self, kind) {
            (Self::SymmetricKey(keys), _) => {
                let (old_primary, old_secondary) = match before {
                    Some(Attestation::SymmetricKey { primary, secondary }) => {
                        (Some(primary.clone()), secondary.clone())
                    }
                    _ => (None, None),
                };
                // DPS makes the keys that nobody brings (`dps` 16.2).
                let made = |which| generated(seed, count, which);
                let primary = keys.primary.clone().or(old_primary).unwrap_or_else(|| made(0));
                let secondary = keys.secondary.clone().or(old_secondary).unwrap_or_else(|| made(1));
                Some(Attestation::SymmetricKey { primary, secondary: Some(secondary) })
            }
            (Self::ClientCertificates(given), Kind::Individual) => {
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
            (Self::SigningCertificates(given), Kind::Group) => {
                let read = |der: &Option<Vec<u8>>| -> Option<Option<CaCertificate>> {
                    let Some(der) = der else { return Some(None) };
                    let info = certificates.read(der)?;
                    // A root stands for itself, as if it had been uploaded and verified before; the service has the last word.
                    Some(Some(CaCertificate { der: der.as_slice().into(), verified: info.is_root() }))
                };
                let (primary, secondary) = (read(&given.primary)?, read(&given.secondary)?);
                match (primary, before) {
                    (Some(primary), _) => Some(Attestation::Signer { primary, secondary }),
                    (None, Some(Attestation::Signer { primary, secondary: old })) => {
                        Some(Attestation::Signer {
                            primary: primary.clone(),
                            secondary: secondary.or_else(|| old.clone()),
                        })
                    }
                    (None, _) => None,
                }
            }
            // Whether the instance holds them is for the service to say.
            (Self::CaReferences { primary, secondary }, _) => {
                Some(Attestation::CaReference { primary: primary.clone(), secondary: secondary.clone() })
            }
            // TPMs attest for themselves only (`dps` 14.2).
            (Self::Tpm { endorsement_key, storage_root_key }, Kind::Individual) => {
                let mut keys = std::iter::once(endorsement_key).chain(storage_root_key);
                keys.all(|key| certificates.is_tpm_key(key)).then(|| Attestation::Tpm {
                    endorsement_key: endorsement_key.clone(),
                    storage_root_key: storage_root_key.clone(),
                })
            }
            (Self::ClientCertificates(_) | Self::Tpm { .. }, Kind::Group)
            | (Self::SigningCertificates(_), Kind::Individual) => None,
        }
    }
}

/// A key of 64 bytes, as the service makes them.
fn generated(seed: Seed, count: u32, which: u32) -> SymmetricKey {
    let draw = |part| seed.pair(Purpose::EnrollmentKey, u64::from(which) << 32 | u64::from(count), part);
    SymmetricKey::new((0..4).flat_map(draw).flat_map(u64::to_be_bytes).collect())
}
