//! What a device should do, and what a fleet may cost: a policy profile.
//!
//! Microsoft's pages contradict each other, so none of this is code. A [`Profile`] is read from a TOML file; the one
//! that is built in is `ms-2025`, and a file of one's own says only what differs from it.

use std::sync::LazyLock;

use fleetstorm_units::{Duration, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::{HubReactions, Reactions};

/// The name of the built-in profile.
pub const MS_2025: &str = "ms-2025";

const MS_2025_TEXT: &str = include_str!("profile/ms-2025.toml");

/// A policy profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name in reports.
    pub name: String,
    /// Whose guidance it is, in one line.
    pub summary: String,
    /// What a device does when the provisioning service answers or fails.
    pub dps: Reactions,
    /// What a device that has an assignment does when its hub answers or fails.
    pub hub: HubReactions,
    /// What the documentation lets a fleet do.
    pub expected: Expected,
    /// Bounds of this project's own for what the documentation only names.
    pub bounds: Bounds,
    /// Where two pages contradict each other.
    #[serde(rename = "contradiction")]
    pub contradictions: Vec<Contradiction>,
}

/// What the documentation lets a fleet do (`dps` 11 and 13.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Registrations and status lookups of one service.
    pub registrations: Rate,
    /// Operations on the service API of one service.
    pub operations: Rate,
    /// Polls of one device within `poll_window`.
    pub polls: u32,
    /// See `polls`.
    pub poll_window: Duration,
    /// The least wait before the first retry at a hub that failed.
    pub hub_first_wait: Duration,
    /// Devices of one hub.
    pub devices_per_hub: u64,
    /// Hubs linked to one service.
    pub linked_hubs: u32,
    /// First attempts within this time stay below the quota for it.
    pub stagger_window: Duration,
    /// Whether no device comes back before its Retry-After is over.
    pub retry_after_kept: bool,
    /// Whether devices that were throttled together must not come back together.
    pub jitter_after_throttle: bool,
    /// Whether a device that has an assignment registers when it boots.
    pub register_on_boot: bool,
    /// Whether the direct method `Reprovision` is answered.
    pub reprovision_on_command: bool,
}

/// Bounds of this project's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// How far before its Retry-After a request still counts as on time.
    pub retry_after_tolerance: Duration,
    /// A longer Retry-After is a matter of policy.
    pub retry_after_max: Duration,
    /// Planned waits that fall into one slot of this length are a herd.
    pub herd_slot: Duration,
    /// Largest share of the devices in one slot; of few devices, chance may put more there.
    pub herd_share: f64,
    /// Largest Rayleigh statistic of planned waits: 0 random, 1 lockstep; of few, chance may make it larger.
    pub synchrony: f64,
    /// Attempts per provisioned device of a strategy that knows nothing of the fleet.
    pub amplification_local: f64,
    /// Attempts per provisioned device of a strategy that knows the fleet's size and the quota.
    pub amplification_informed: f64,
    /// Attempts after an error that no retry mends.
    pub terminal_retries: u32,
    /// Least time between them.
    pub terminal_interval: Duration,
    /// Share of the quota that is used again once a fault is over.
    pub recovery_share: f64,
    /// For how long it must be.
    pub recovery_hold: Duration,
    /// Share of the quota below which a service with work left and no fault has locked up.
    pub lockup_share: f64,
    /// For how long it must be.
    pub lockup_hold: Duration,
}

/// Where two pages contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contradiction {
    /// Its name in reports.
    pub name: String,
    /// The value of the profile that decides, as a dotted path.
    pub key: String,
    /// What the pages disagree about.
    pub question: String,
    /// What each says.
    #[serde(rename = "reading")]
    pub readings: Vec<Reading>,
}

/// One side of a contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The value of [`Contradiction::key`] that follows it.
    pub value: String,
    /// What the page says.
    pub says: String,
    /// Which page.
    pub source: String,
}

impl Default for Profile {
    fn default() -> Self {
        Self::ms_2025().clone()
    }
}

impl Profile {
    /// The built-in profile.
    pub fn ms_2025() -> &'static Self {
        static BUILT_IN: LazyLock<Profile> = LazyLock::new(|| {
            toml::from_str(MS_2025_TEXT).expect("the embedded profile is read by a test of this module")
        });
        &BUILT_IN
    }

    /// Whether `name` is that of a built-in profile; anything else is a file's.
    pub fn is_built_in(name: &str) -> bool {
        name == MS_2025
    }

    /// The text of the built-in profile: a start for one of one's own.
    pub const fn ms_2025_text() -> &'static str {
        MS_2025_TEXT
    }

    /// The value that stands at a dotted path, as text.
    pub fn value(&self, key: &str) -> Option<String> {
        let whole = toml::Value::try_from(self).ok()?;
        let value = key.split('.').try_fold(&whole, |value, segment| value.get(segment))?;
        Some(match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Table(_) | toml::Value::Array(_) => return None,
            other => other.to_string(),
        })
    }
}
