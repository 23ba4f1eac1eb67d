//! What a device that has an assignment does when its hub answers or fails.

use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a device does after a failure at its hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubReactions {
    /// To 429, or a connection that the hub held back until it closed it.
    pub throttled: HubReaction,
    /// To 5xx.
    pub server_error: HubReaction,
    /// To no connection, or none in time.
    pub unreachable: HubReaction,
    /// To the end of a connection that stood.
    pub disconnected: HubReaction,
    /// To 401.
    pub unauthorized: HubReaction,
    /// To 403.
    pub forbidden: HubReaction,
    /// To 404.
    pub not_found: HubReaction,
    /// To any other 4xx.
    pub client_bug: HubReaction,
    /// How long it waits between tries.
    pub back_off: HubBackOff,
    /// When it goes back to DPS although its hub would be tried again.
    pub return_to_dps: ReturnToDps,
}

/// What a device with an assignment does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HubReaction {
    /// Back off, then the same hub again.
    Cache,
    /// Back off, then ask DPS for the registration's status.
    Lookup,
    /// Back off, then register with DPS from the start.
    Register,
    /// Stop for a long time, and report.
    Park,
}

/// Exponential back-off at a hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubBackOff {
    /// Before the first retry; it doubles from there.
    pub first_wait: Duration,
    /// The longest wait, before jitter.
    pub wait_max: Duration,
    /// Each wait is lengthened by up to this share of itself.
    pub jitter: f64,
}

/// When a device whose hub stays away goes back to DPS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnToDps {
    /// What decides.
    pub rule: ReturnRule,
    /// Least time that a device keeps trying.
    pub after_min: Duration,
    /// Most time: each device draws its own between the two.
    pub after_max: Duration,
    /// Failures in a row.
    pub failures: u32,
}

/// What sends a device back to DPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReturnRule {
    /// Time alone.
    After,
    /// Failures in a row alone.
    Failures,
    /// Whichever comes first.
    Either,
    /// Whichever comes last.
    Both,
    /// Nothing.
    Never,
}

impl ReturnToDps {
    /// Whether a device goes back that has failed `failures` times in a row over `silent` and drew `patience`.
    pub fn is_due(&self, failures: u32, silent: Span, patience: Span) -> bool {
        let (failed, waited) = (failures >= self.failures, silent >= patience);
        match self.rule {
            ReturnRule::After => waited,
            ReturnRule::Failures => failed,
            ReturnRule::Either => failed || waited,
            ReturnRule::Both => failed && waited,
            ReturnRule::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn the_rules_of_return_decide_by_time_and_failures() {
        let mut back = Profile::ms_2025().hub.return_to_dps.clone();
        let (short, long) = (Span::from_secs(60), Span::from_secs(1_200));
        let patience = Span::from_secs(900);
        for (rule, due) in [
            (ReturnRule::After, [false, false, true, true]),
            (ReturnRule::Failures, [false, true, false, true]),
            (ReturnRule::Either, [false, true, true, true]),
            (ReturnRule::Both, [false, false, false, true]),
            (ReturnRule::Never, [false, false, false, false]),
        ] {
            back.rule = rule;
            let cases = [(9, short), (10, short), (9, long), (10, long)];
            assert_eq!(cases.map(|(failures, silent)| back.is_due(failures, silent, patience)), due);
        }
    }
}
