//! What devices are told.

use fleetstorm_plugin::abi;

/// What a scenario tells its devices about the fleet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knowledge {
    /// Devices in the fleet; 0 if they are not told.
    pub fleet_size: u64,
    /// Registrations a minute that the service allows; 0 if they are not told.
    pub quota_per_minute: f64,
}

impl Knowledge {
    /// What a strategy of these flags asked to know.
    pub(super) fn only(self, flags: u32) -> Self {
        Self {
            fleet_size: if flags & abi::RETRY_NEEDS_FLEET_SIZE != 0 { self.fleet_size } else { 0 },
            quota_per_minute: if flags & abi::RETRY_NEEDS_QUOTA != 0 { self.quota_per_minute } else { 0.0 },
        }
    }
}
