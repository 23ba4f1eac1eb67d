//! Who may use the enrollment API: shared access policies (`dps` 6.5).

use fleetstorm_protocol::enrollment::SymmetricKey;

/// The policy that every instance of the real service is made with.
pub const OWNER: &str = "provisioningserviceowner";

/// What a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Changing the instance itself.
    ServiceConfig,
    /// Reading enrollments and groups.
    EnrollmentRead,
    /// Writing enrollments and groups.
    EnrollmentWrite,
    /// Reading registrations.
    RegistrationStatusRead,
    /// Deleting registrations.
    RegistrationStatusWrite,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 5] = [
        Self::ServiceConfig,
        Self::EnrollmentRead,
        Self::EnrollmentWrite,
        Self::RegistrationStatusRead,
        Self::RegistrationStatusWrite,
    ];
}

/// A shared access policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPolicy {
    /// Its name, which a token gives as `skn`.
    pub name: String,
    /// Its primary key.
    pub primary: SymmetricKey,
    /// Its secondary key.
    pub secondary: Option<SymmetricKey>,
    /// What it allows.
    pub permissions: Vec<Permission>,
}
