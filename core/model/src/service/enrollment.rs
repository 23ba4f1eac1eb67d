//! Enrollments: who may register, and how each proves who it is.

use std::fmt;

use zeroize::Zeroizing;

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

/// A certificate authority or intermediate that an enrollment group trusts, as DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificate(pub Vec<u8>);

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
    /// Individual enrollment: the SHA-256 thumbprint of the primary or secondary leaf.
    Leaf {
        /// SHA-256 of the primary certificate's DER.
        primary: [u8; 32],
        /// SHA-256 of the secondary certificate's DER.
        secondary: Option<[u8; 32]>,
    },
    /// Enrollment group: leaves that chain to the primary or secondary certificate.
    Signer {
        /// The primary CA or intermediate.
        primary: CaCertificate,
        /// The secondary CA or intermediate.
        secondary: Option<CaCertificate>,
    },
}

/// What every enrollment says, whether individual or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrollment {
    /// How its devices attest.
    pub attestation: Attestation,
    /// Whether its devices may register.
    pub enabled: bool,
    /// The hub that its devices get; `None` for the instance's weighted hash.
    pub static_hub: Option<String>,
}

/// An enrollment of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Individual {
    /// Whose enrollment it is.
    pub registration_id: String,
    /// The device id that the hub shall know it by, if not the registration id.
    pub device_id: Option<String>,
    /// The rest.
    pub enrollment: Enrollment,
}

/// An enrollment of many devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `enrollmentGroupId`.
    pub id: String,
    /// The rest.
    pub enrollment: Enrollment,
}
