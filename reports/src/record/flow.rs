//! How attempts went through registration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way from one step of registration to the next: how often it was taken, and by how many devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Passage {
    /// What had been tried: `connect`, `register`, `lookup` or `poll`; `failure` for what came after any of them.
    pub from: String,
    /// What came of it: `assigning` (accepted, the service is choosing a hub), `assigned`, `throttled`, `challenged` (the
    /// 401 that a TPM takes up) or `failed`. After a failure: `back-off`, or `stopped` (for good, or for a long time).
    pub to: String,
    /// How often.
    pub times: u64,
    /// Devices that took it at least once.
    pub devices: u64,
}
