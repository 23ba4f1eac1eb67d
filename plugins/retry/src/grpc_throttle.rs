//! gRPC's retries with throttling (proposal A6): `w = U(0, min(cap, base * factor^(n-1)))`, and a counter of tokens that
//! starts at `max`: a failure takes one, a success gives `ratio`, and while there are no more than `max / 2` nobody
//! retries.
//!
//! A6 then fails the call. A device's application calls again some day: here after `pause` to twice `pause`.

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_backoff, check_range, ns};

/// Stops retrying while failures outweigh successes.
pub(crate) struct GrpcThrottle(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Tokens to begin with, 1 to 1000.
    max_tokens: f64,
    /// Tokens that a success gives, above 0.
    token_ratio: f64,
    /// Upper bound of the first wait, in milliseconds.
    base_ms: u64,
    /// What a failure multiplies the bound with, 1 to 10.
    factor: f64,
    /// No wait is longer than this many milliseconds.
    cap_ms: u64,
    /// Least wait while there are no tokens, in milliseconds.
    pause_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_tokens: 10.0,
            token_ratio: 0.1,
            base_ms: 1_000,
            factor: 2.0,
            cap_ms: 120_000,
            pause_ms: 60_000,
        }
    }
}

/// The cohort's counter.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Tokens {
    /// Tokens taken from the maximum.
    missing: f64,
}

impl RetryStrategy for GrpcThrottle {
    const ID: &'static str = "grpc-throttle";
    const SUMMARY: &'static str =
        "gRPC's jittered back-off, paused while the cohort's failures outweigh its successes.";
    const GUARDED: bool = true;
    const SCOPE: Scope = Scope::Cohort;
    type Config = Config;
    type Session = ();
    type Shared = Tokens;

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        check_range("max_tokens", config.max_tokens, 1.0..=1_000.0)?;
        check_range("token_ratio", config.token_ratio, 0.001..=1_000.0)?;
        check_range("factor", config.factor, 1.0..=10.0)?;
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let config = &self.0;
        let tokens = kept.shared;
        tokens.missing = (tokens.missing + 1.0).min(config.max_tokens);
        if config.max_tokens - tokens.missing <= config.max_tokens / 2.0 {
            let pause = ns(config.pause_ms);
            return Some(pause.saturating_add(attempt.uniform(pause)));
        }
        let exponent = i32::try_from(attempt.failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let bound = ns(config.base_ms) as f64 * config.factor.powi(exponent);
        Some(attempt.uniform((bound as u64).min(ns(config.cap_ms))))
    }

    fn on_success(&self, kept: Kept<'_, Self>, _: &Attempt) {
        kept.shared.missing = (kept.shared.missing - self.0.token_ratio).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn half_of_the_tokens_are_for_retries() {
        let mut cohort = Trial::<GrpcThrottle>::new("{}").unwrap();
        let failure = Attempt { random: [1 << 63, 0], ..Attempt::throttled(2) };
        // 10 tokens: 9, 8, 7, 6 allow a retry, half of 2 s away; at 5 there is none, and the pause is 60 s and half.
        let waits: Vec<u64> = (0..5).map(|_| cohort.fail(&failure).wait_ns().unwrap() / S).collect();
        assert_eq!(waits, [1, 1, 1, 1, 90]);
        // Eleven successes give back 1.1: the next failure leaves 5.1.
        for _ in 0..11 {
            cohort.succeed(&Attempt::throttled(0));
        }
        assert_eq!(cohort.fail(&failure).wait_ns(), Some(S));
    }
}
