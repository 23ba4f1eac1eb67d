//! Where faults act.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a fault acts; who may be hit by it follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The devices' own network.
    Network,
    /// The service machine: only our own mock has one.
    Service,
    /// The doors of the service: only our own mock has such.
    Protocol,
    /// The devices themselves.
    Fleet,
}

impl Layer {
    /// As a scenario spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Service => "service",
            Self::Protocol => "protocol",
            Self::Fleet => "fleet",
        }
    }
}
