//! Enrollments: who may register, how each proves who it is, and what it gets.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use super::certificate::CertificateInfo;

/// The bytes of a symmetric key. They are wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKey(Zeroizing<Vec<u8>>);

impl SymmetricKey {
    /// Takes the decoded bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the one computation that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(secret)")
    }
}

/// A certificate authority or intermediate that enrollments name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificate {
    /// The certificate, DER.
    pub der: Arc<[u8]>,
    /// Whether its owner has proved to hold its key. Devices' certificates count only if they chain to one that is
    /// verified (`dps` 9.2).
    pub verified: bool,
}

impl CaCertificate {
    /// One that is verified.
    pub fn verified(der: impl Into<Arc<[u8]>>) -> Self {
        Self { der: der.into(), verified: true }
    }

    /// One of which nobody has proved to hold its key.
    pub fn unverified(der: impl Into<Arc<[u8]>>) -> Self {
        Self { der: der.into(), verified: false }
    }
}

/// How the devices of an enrollment attest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// SAS tokens signed with the primary or the secondary key (a group: with keys derived from them).
    SymmetricKey {
        /// The primary key.
        primary: SymmetricKey,
        /// The secondary key.
        secondary: Option<SymmetricKey>,
    },
    /// Individual enrollment: the primary or secondary leaf, told by its SHA-256 thumbprint.
    Leaf {
        /// The primary certificate.
        primary: Box<CertificateInfo>,
        /// The secondary certificate.
        secondary: Option<Box<CertificateInfo>>,
    },
    /// Enrollment group: leaves that chain to the primary or secondary certificate.
    Signer {
        /// The primary CA or intermediate.
        primary: CaCertificate,
        /// The secondary CA or intermediate.
        secondary: Option<CaCertificate>,
    },
    /// Leaves that chain to a CA certificate that the instance holds under this name (`caReferences`).
    CaReference {
        /// The name of the primary CA.
        primary: String,
        /// The name of the secondary CA.
        secondary: Option<String>,
    },
    /// Individual enrollment: a TPM by its keys.
    Tpm {
        /// The endorsement key's public area.
        endorsement_key: Box<[u8]>,
        /// The storage root key's public area.
        storage_root_key: Option<Box<[u8]>>,
    },
}

/// How a hub is chosen (`dps` 14.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllocationPolicy {
    /// Evenly by weight.
    #[default]
    Hashed,
    /// The hub that is nearest to the device, by the instance's latency table.
    GeoLatency,
    /// The one hub that the enrollment names.
    Static,
    /// A webhook decides.
    Custom,
}

/// What becomes of a device that registers again (`dps` 14.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReprovisionPolicy {
    /// Whether the hub is chosen anew.
    pub update_hub_assignment: bool,
    /// Whether the device's data moves to the new hub; otherwise it starts with the initial twin.
    pub migrate_device_data: bool,
}

impl Default for ReprovisionPolicy {
    /// Re-provision and migrate data.
    fn default() -> Self {
        Self { update_hub_assignment: true, migrate_device_data: true }
    }
}

/// The webhook of [`AllocationPolicy::Custom`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomAllocation {
    /// Where the service asks.
    pub webhook_url: String,
    /// Which shape of the request the webhook expects.
    pub api_version: String,
}

/// What every enrollment says, whether individual or group.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrollment {
    /// How its devices attest.
    pub attestation: Attestation,
    /// Whether its devices may register.
    pub enabled: bool,
    /// How a hub is chosen; `None` for a static hub if there is one, else for the instance's policy.
    pub allocation: Option<AllocationPolicy>,
    /// The hub that its devices get under the static policy.
    pub static_hub: Option<String>,
    /// The hubs that come into question; empty for all that are linked.
    pub hubs: Vec<String>,
    /// The webhook of the custom policy.
    pub custom: Option<CustomAllocation>,
    /// What becomes of a device that registers again.
    pub reprovision: ReprovisionPolicy,
    /// `initialTwin`, with which a device starts at a hub.
    pub initial_twin: Option<Arc<Value>>,
    /// `capabilities.iotEdge`.
    pub edge: bool,
}

impl Enrollment {
    /// An enabled enrollment with this attestation and every default.
    pub fn new(attestation: Attestation) -> Self {
        Self {
            attestation,
            enabled: true,
            allocation: None,
            static_hub: None,
            hubs: Vec::new(),
            custom: None,
            reprovision: ReprovisionPolicy::default(),
            initial_twin: None,
            edge: false,
        }
    }
}

/// An enrollment of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Individual {
    /// Whose enrollment it is.
    pub registration_id: String,
    /// The device id that the hub shall know it by, if not the registration id.
    pub device_id: Option<String>,
    /// `optionalDeviceInformation`.
    pub information: Option<Box<Value>>,
    /// The rest.
    pub enrollment: Enrollment,
}

impl Individual {
    /// The enrollment of a TPM.
    pub fn of_tpm(registration_id: String, endorsement_key: Box<[u8]>) -> Self {
        let attestation = Attestation::Tpm { endorsement_key, storage_root_key: None };
        Self { registration_id, device_id: None, information: None, enrollment: Enrollment::new(attestation) }
    }
}

/// An enrollment of many devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `enrollmentGroupId`.
    pub id: String,
    /// The rest.
    pub enrollment: Enrollment,
}
