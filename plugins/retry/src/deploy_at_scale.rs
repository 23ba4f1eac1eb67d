//! The formula of "Best practices for large-scale IoT device deployments" (Microsoft, IoT DPS): use Retry-After if there
//! is one; else `min = 1 s`, `max = T / load`, `jitter = max`, where `T = devices / registrations per second`.
//!
//! The page leaves open how the three go together, so there are two readings:
//!
//! - uniform: `U(min, max)`;
//! - helper: they are fed to the retry helper of the embedded C SDK, `e = min * 2^(n-1)`, cut to `max`, plus
//!   `U(0, jitter)` only if that stays below `max`. Then most devices lose their jitter as `n` grows.

use fleetstorm_plugin::{Attempt, Error, Kept, Needs, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{S, check_range, secs};

/// Spreads a fleet over the time that its quota needs.
pub(crate) struct DeployAtScale(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Devices in the fleet; 0 for what the scenario tells.
    devices: u64,
    /// Registrations a minute; 0 for what the scenario tells.
    per_minute: f64,
    /// Share of the quota to use, above 0.
    load: f64,
    /// Which reading of the page.
    variant: Variant,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Variant {
    /// One even draw between the least and the longest wait.
    Uniform,
    /// The embedded C SDK's helper with the page's values.
    Helper,
}

impl Default for Config {
    fn default() -> Self {
        Self { devices: 0, per_minute: 0.0, load: 1.0, variant: Variant::Uniform }
    }
}

/// The time that the quota needs for the fleet, in ns. Where nobody tells: the page's example of 10,000 devices at
/// 1,000 a minute.
pub(crate) fn drain_ns(devices: u64, per_minute: f64, attempt: &Attempt) -> u64 {
    let devices =
        [devices, attempt.fleet_size, 10_000].into_iter().find(|devices| *devices > 0).unwrap_or(10_000);
    let per_minute = [per_minute, attempt.quota_per_minute, 1_000.0]
        .into_iter()
        .find(|rate| *rate > 0.0)
        .unwrap_or(1_000.0);
    secs(devices as f64 * 60.0 / per_minute)
}

impl RetryStrategy for DeployAtScale {
    const ID: &'static str = "ms-deploy-at-scale";
    const SUMMARY: &'static str =
        "Microsoft's formula for large deployments: an even spread over the fleet's drain time.";
    const NEEDS: Needs = Needs::ALL;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        check_range("load", config.load, 0.001..=1_000.0)?;
        if !config.per_minute.is_finite() || config.per_minute < 0.0 {
            return Err(Error::new(format!("per_minute: {} is no rate", config.per_minute)));
        }
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        if let Some(told) = attempt.retry_after_ns {
            return Some(told);
        }
        let Config { devices, per_minute, load, variant } = self.0;
        let least = S;
        let longest = ((drain_ns(devices, per_minute, attempt) as f64 / load) as u64).max(least);
        Some(match variant {
            Variant::Uniform => least.saturating_add(attempt.uniform(longest - least)),
            Variant::Helper => {
                let factor = 1u64.checked_shl(attempt.failures.saturating_sub(1)).unwrap_or(u64::MAX);
                let wait = least.saturating_mul(factor).min(longest);
                let jitter = attempt.uniform(longest);
                let wait = if longest - wait > jitter { wait + jitter } else { wait };
                wait.saturating_sub(attempt.elapsed_ns)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn the_pages_example_spreads_over_ten_minutes() {
        // N = 10,000, 1,000 a minute: T = 600 s. U(1, 600) with a draw of one half.
        assert_eq!(waits_ms::<DeployAtScale>("{}", [1, 9]), [300_500, 300_500]);
        assert_eq!(waits_ms::<DeployAtScale>(r#"{"load": 0.5}"#, [1]), [600_500]);
        assert_eq!(waits_ms::<DeployAtScale>(r#"{"devices": 1000, "per_minute": 600}"#, [1]), [50_500]);
    }

    #[test]
    fn the_helper_reading_loses_its_jitter_as_the_reference_computes() {
        // Jitter is skipped where e + jitter would pass 600 s, that is for a share e / 600 of the devices: 0.2 % at
        // attempt 0, 5 % at 5, 43 % at 8, 85 % at 9, all from 10 on (e = 1, 32, 256, 512, 600 s).
        for (attempt, share) in [(0u32, 0.0017), (5, 0.053), (8, 0.427), (9, 0.853), (10, 1.0)] {
            let devices = 2_000u64;
            let without = (0..devices)
                .filter(|device| {
                    let random = [(u64::MAX / devices) * device, 0];
                    let now = Attempt { random, ..Attempt::throttled(attempt + 1) };
                    let wait = Trial::<DeployAtScale>::new(r#"{"variant": "helper"}"#).unwrap().fail(&now);
                    let bare = S.saturating_mul(1 << attempt).min(600 * S);
                    *device > 0 && wait.wait_ns() == Some(bare)
                })
                .count();
            let found = without as f64 / devices as f64;
            assert!((found - share).abs() < 0.002, "{attempt}: {found}");
        }
    }

    #[test]
    fn retry_after_is_used_as_it_is() {
        let told = Attempt { retry_after_ns: Some(7 * S), ..Attempt::throttled(1) };
        let decision = Trial::<DeployAtScale>::new("{}").unwrap().fail(&told);
        assert_eq!(decision.wait_ns(), Some(7 * S));
    }
}
