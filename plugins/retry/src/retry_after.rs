//! Does what the service says, spread out.
//!
//! `w = RA + U(0, J)`. A service that tells a thousand devices the same moment meets them all again at that moment
//! (IETF draft ratelimit-headers, "Resource exhaustion"), so the spread `J` is the point of this strategy. It is
//! never subtracted: nobody comes earlier than told.

use fleetstorm_plugin::{Attempt, Error, Kept, Needs, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ns;

/// Waits for `Retry-After` plus a spread.
pub(crate) struct RetryAfter(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// How devices that were told the same are spread.
    spread: Spread,
    /// The spread in milliseconds for `constant`.
    spread_ms: u64,
    /// The spread as a share of Retry-After for `proportional`.
    spread_share: f64,
    /// A Retry-After beyond this many milliseconds counts as this long.
    max_honoured_ms: u64,
    /// The wait without a valid Retry-After: drawn below this bound, which doubles with every failure...
    fallback_base_ms: u64,
    /// ...up to this one.
    fallback_cap_ms: u64,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Spread {
    /// None: exactly Retry-After.
    None,
    /// A constant.
    Constant,
    /// A share of Retry-After.
    Proportional,
    /// The time the quota needs for the whole fleet; needs a scenario that tells devices both.
    QuotaWindow,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            spread: Spread::Proportional,
            spread_ms: 5_000,
            spread_share: 1.0,
            max_honoured_ms: 600_000,
            fallback_base_ms: 1_000,
            fallback_cap_ms: 120_000,
        }
    }
}

impl RetryStrategy for RetryAfter {
    const ID: &'static str = "retry-after";
    const SUMMARY: &'static str = "Waits for Retry-After plus a spread; full jitter without one.";
    const NEEDS: Needs = Needs::ALL;
    type Config = Config;
    type Session = ();
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        if !(0.0..=100.0).contains(&config.spread_share) {
            return Err(Error::new(format!(
                "spread_share: {} is not between 0 and 100",
                config.spread_share
            )));
        }
        if config.fallback_base_ms == 0 {
            return Err(Error::new("fallback_base_ms: 0 would never wait"));
        }
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let config = &self.0;
        let Some(told) = attempt.retry_after_ns else {
            let wait = crate::full_jitter(config.fallback_base_ms, config.fallback_cap_ms, attempt);
            return Some(wait.max(attempt.floor_ns));
        };
        let told = told.min(ns(config.max_honoured_ms));
        let spread = match config.spread {
            Spread::None => 0,
            Spread::Constant => ns(config.spread_ms),
            Spread::Proportional => (told as f64 * config.spread_share) as u64,
            Spread::QuotaWindow if attempt.quota_per_minute > 0.0 => {
                (attempt.fleet_size as f64 / attempt.quota_per_minute * 60e9) as u64
            }
            Spread::QuotaWindow => ns(config.spread_ms),
        };
        Some(told.saturating_add(attempt.uniform(spread)))
    }
}
