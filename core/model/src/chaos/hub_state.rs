//! What becomes of a hub, by its own plan or by a fault.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HubState {
    /// It works.
    Up,
    /// It lets nobody in; connections that stand go on.
    Throttled,
    /// It is out of order: connections are refused and those that stood are closed.
    Failing,
    /// It is no longer linked: DPS assigns nobody to it and it knows no device any more.
    Unlinked,
}

impl HubState {
    /// Whether connections that stand are closed.
    pub(crate) const fn disconnects(self) -> bool {
        matches!(self, Self::Failing | Self::Unlinked)
    }
}
