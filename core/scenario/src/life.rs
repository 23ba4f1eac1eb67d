//! What a scenario says about the life after provisioning.

use fleetstorm_model::device::{LifePolicy, PowerCut};
use fleetstorm_model::profile::Profile;
use fleetstorm_units::Duration;
use fleetstorm_units::time::{Moment, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How devices live on once they have a hub. They connect to it over MQTT, whatever they register over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifeFile {
    /// Whether a device keeps its assignment over a loss of power. One that cannot registers at every boot.
    pub cache: bool,
    /// How often a device sends a message to its hub; 0s for never.
    pub heartbeat: Duration,
    /// Longest time to a connection with the hub. A hub that shapes its traffic answers late.
    pub connect_timeout: Duration,
    /// Whether a device connects anew before its token expires. One that does not is disconnected by the hub then.
    pub renew_token: bool,
    /// Losses of power of the whole cohort, in order of time.
    pub power_cuts: Vec<PowerCutFile>,
}

impl Default for LifeFile {
    fn default() -> Self {
        Self {
            cache: true,
            heartbeat: Duration(Span::from_secs(300)),
            connect_timeout: Duration(Span::from_secs(60)),
            renew_token: true,
            power_cuts: Vec::new(),
        }
    }
}

/// A loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerCutFile {
    /// When it begins, from the start.
    pub at: Duration,
    /// How long it lasts.
    pub off: Duration,
    /// Devices come back evenly over this time after it.
    #[serde(default = "nothing")]
    pub spread: Duration,
}

const fn nothing() -> Duration {
    Duration(Span::ZERO)
}

impl LifeFile {
    /// The behaviour that the devices follow under a policy profile. `tokens` are the lifetime of theirs and what is left of
    /// it when they are renewed; `None` for devices without tokens.
    pub fn policy(&self, profile: &Profile, tokens: Option<(Span, Span)>) -> LifePolicy {
        // With a margin that leaves nothing of the lifetime a device would do nothing else.
        let renew_after =
            |(lifetime, margin): (Span, Span)| lifetime.saturating_sub(margin).max(lifetime.scale(0.5));
        let cut = |cut: &PowerCutFile| PowerCut {
            at: Moment::START + cut.at.0,
            off: cut.off.0,
            spread: cut.spread.0,
        };
        LifePolicy {
            cache: self.cache,
            register_on_boot: profile.expected.register_on_boot,
            heartbeat: self.heartbeat.0,
            connect_timeout: self.connect_timeout.0,
            power_cuts: self.power_cuts.iter().map(cut).collect(),
            renew_after: tokens.filter(|_| self.renew_token).map(renew_after),
            reactions: profile.hub.clone(),
        }
    }

    /// What is wrong with it: the key and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if self.connect_timeout.0 == Span::ZERO {
            return Err((
                "connect_timeout",
                "no hub answers in no time".to_owned(),
                "write one such as \"60s\"",
            ));
        }
        let over = |cut: &PowerCutFile| cut.at.0 + cut.off.0 + cut.spread.0;
        if self.power_cuts.windows(2).any(|pair| over(&pair[0]) >= pair[1].at.0) {
            let help = "each begins when every device is back from the one before it";
            return Err(("power_cuts", "the losses of power overlap".to_owned(), help));
        }
        Ok(())
    }
}
