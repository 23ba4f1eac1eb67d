//! `w = U(0, max(floor, T * shrink^(n-1)))` with `T = devices / registrations per second`. After the deploy-at-scale
//! formula, whose tail is long because every second failure draws from the full window again; here the window shrinks.

use fleetstorm_plugin::{Attempt, Kept, Needs, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::deploy_at_scale::drain_ns;
use crate::{check_range, ns};

/// Spreads a fleet over its drain time, over less with every failure.
pub(crate) struct WindowShrink(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Devices in the fleet; 0 for what the scenario tells.
    devices: u64,
    /// Registrations a minute; 0 for what the scenario tells.
    per_minute: f64,
    /// What a failure multiplies the window with, 0.1 to 1.
    shrink: f64,
    /// The smallest window, in milliseconds.
    floor_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { devices: 0, per_minute: 0.0, shrink: 0.5, floor_ms: 30_000 }
    }
}

impl RetryStrategy for WindowShrink {
    const ID: &'static str = "window-shrink";
    const SUMMARY: &'static str =
        "An even spread over the fleet's drain time, over half of it after each failure.";
    const GUARDED: bool = true;
    const NEEDS: Needs = Needs::ALL;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_range("shrink", config.shrink, 0.1..=1.0)?;
        check_range("per_minute", config.per_minute, 0.0..=1e12)?;
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let drain = drain_ns(self.0.devices, self.0.per_minute, attempt) as f64;
        let exponent = i32::try_from(attempt.failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let window = (drain * self.0.shrink.powi(exponent)) as u64;
        Some(attempt.uniform(window.max(ns(self.0.floor_ms))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;

    #[test]
    fn waits_follow_the_formula() {
        // Half of 600, 300, 150, 75, 37.5, and then the floor of 30 s.
        let expected = [300_000, 150_000, 75_000, 37_500, 18_750, 15_000, 15_000];
        assert_eq!(waits_ms::<WindowShrink>("{}", 1..=7), expected);
        assert_eq!(waits_ms::<WindowShrink>("{}", [u32::MAX]), [15_000]);
    }
}
