//! Every device has a slot: `first = hash * devices / (rate * share)`, with the hash as a fraction. Nobody has to be
//! asked; the fleet arrives at `share` of the quota. Failures fall back to full jitter.

use fleetstorm_plugin::{Attempt, Kept, Needs, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::deploy_at_scale::drain_ns;
use crate::{check_backoff, check_range, full_jitter};

/// Gives every device its own moment.
pub(crate) struct Slots(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Devices in the fleet; 0 for what the scenario tells.
    devices: u64,
    /// Registrations a minute; 0 for what the scenario tells.
    per_minute: f64,
    /// Share of the quota that the slots use, 0.01 to 1.
    share: f64,
    /// Half the upper bound of the first wait after a failure, in milliseconds.
    base_ms: u64,
    /// No wait after a failure is longer than this many milliseconds.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { devices: 0, per_minute: 0.0, share: 0.9, base_ms: 1_000, cap_ms: 120_000 }
    }
}

impl RetryStrategy for Slots {
    const ID: &'static str = "slots";
    const SUMMARY: &'static str =
        "A moment of its own for every device's first attempt, at a share of the quota.";
    const GUARDED: bool = true;
    const NEEDS: Needs = Needs::ALL;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        check_range("share", config.share, 0.01..=1.0)?;
        check_range("per_minute", config.per_minute, 0.0..=1e12)?;
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(full_jitter(self.0.base_ms, self.0.cap_ms, attempt))
    }

    fn before_first_attempt(&self, _: Kept<'_, Self>, attempt: &Attempt) -> u64 {
        let window = drain_ns(self.0.devices, self.0.per_minute, attempt) as f64 / self.0.share;
        ((u128::from(attempt.device_hash) * u128::from(window as u64)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn a_device_keeps_its_moment() {
        let mut trial = Trial::<Slots>::new(r#"{"share": 1.0}"#).unwrap();
        let informed = |hash| Attempt {
            device_hash: hash,
            fleet_size: 6_000,
            quota_per_minute: 1_000.0,
            random: [9, 9],
            ..Attempt::throttled(0)
        };
        // T = 360 s.
        assert_eq!(trial.boot(&informed(0)), 0);
        assert_eq!(trial.boot(&informed(1 << 63)), 180 * S);
        assert_eq!(trial.boot(&informed(1 << 62)), 90 * S);
        let mut slower = Trial::<Slots>::new(r#"{"share": 0.5}"#).unwrap();
        assert_eq!(slower.boot(&informed(1 << 63)), 360 * S);
    }
}
