//! What devices make of being refused.

use fleetstorm_model::device::{Advice, Refusals};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a device does about a connection that the service refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// Back off and connect again.
    Retry,
    /// Once with a new token, then stop as with `park`.
    Renew,
    /// Stop for the cohort's `park`.
    Park,
}

impl From<RefusalKind> for Advice {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Retry => Self::Retry,
            RefusalKind::Renew => Self::Renew,
            RefusalKind::Park => Self::Park,
        }
    }
}

/// What a device does about each way in which DPS refuses connections, by the return codes of MQTT; AMQP has a condition
/// for each. Strategies that follow the reference client's advice do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefusalsFile {
    /// 3, server unavailable: what DPS says to an unknown id scope. AMQP: a link that is not found.
    pub unavailable: RefusalKind,
    /// 4, bad user name or password. AMQP: SASL fails.
    pub bad_credentials: RefusalKind,
    /// 5, not authorized. AMQP: a link with unauthorized access.
    pub not_authorized: RefusalKind,
}

impl Default for RefusalsFile {
    fn default() -> Self {
        Self {
            unavailable: RefusalKind::Retry,
            bad_credentials: RefusalKind::Renew,
            not_authorized: RefusalKind::Renew,
        }
    }
}

impl From<RefusalsFile> for Refusals {
    fn from(file: RefusalsFile) -> Self {
        Self {
            unavailable: file.unavailable.into(),
            bad_credentials: file.bad_credentials.into(),
            not_authorized: file.not_authorized.into(),
        }
    }
}
