//! The standard retry mode of the AWS SDKs (botocore `retries/standard.py` and `quota.py`).
//!
//! - standard 2.0: `w = U(0, 1) * min(2^(n-1), 20 s)`, three attempts, and a quota of 500 tokens: a retry costs 5, after
//!   a time-out 10; a success gives back what its last retry cost, one without retries 1.
//! - standard 2.1 (2026, opt-in): base 0.05 s, after throttling 1 s; a retry costs 14, after throttling 5; Retry-After
//!   counts within `[w, w + 5 s]`.
//!
//! In a client the quota is a process's. Devices are one process each and would never use it up; here a cohort shares
//! it, as a coordinator would.

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Attempt, Class, Kept, Result, RetryStrategy, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{S, secs};

/// Tokens of the quota (botocore `quota.py`).
const QUOTA: u64 = 500;

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Attempts after which a device gives up; 0 for never.
    max_attempts: u32,
    /// Milliseconds until a device that gave up tries again from the start; 0 for never.
    rearm_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_attempts: 3, rearm_ms: 0 }
    }
}

impl Config {
    pub(crate) fn exhausted(&self, attempt: &Attempt) -> bool {
        self.max_attempts > 0 && attempt.attempts >= self.max_attempts
    }
}

/// The cohort's quota, as what has been taken from it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Quota {
    taken: u64,
}

impl Quota {
    /// Takes the price of a retry; false if there is not enough.
    pub(crate) fn take(&mut self, cost: u64, last: &mut u64) -> bool {
        if self.taken + cost > QUOTA {
            return false;
        }
        self.taken += cost;
        *last = cost;
        true
    }

    /// Gives back after a success.
    pub(crate) fn give(&mut self, last: &mut u64) {
        self.taken = self.taken.saturating_sub((*last).max(1));
        *last = 0;
    }
}

/// The price of a retry in version 2.0.
pub(crate) fn cost(attempt: &Attempt) -> u64 {
    if attempt.class == Class::OutcomeUnknown { 10 } else { 5 }
}

/// `U(0, 1) * min(base * 2^(n-1), 20 s)`.
pub(crate) fn backoff(base_s: f64, attempt: &Attempt) -> u64 {
    let exponent = i32::try_from(attempt.failures.saturating_sub(1)).unwrap_or(i32::MAX);
    secs(attempt.fraction() * (base_s * 2f64.powi(exponent)).min(20.0))
}

/// Version 2.0.
pub(crate) struct Standard(Config);

impl RetryStrategy for Standard {
    const ID: &'static str = "aws-standard";
    const SUMMARY: &'static str =
        "The AWS SDKs' standard mode: full jitter up to 20 s, three attempts, a retry quota.";
    const MODEL: bool = true;
    const SCOPE: Scope = Scope::Cohort;
    type Config = Config;
    /// What the last retry cost.
    type Session = u64;
    type Shared = Quota;

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        if self.0.exhausted(attempt) || !kept.shared.take(cost(attempt), kept.session) {
            return None;
        }
        Some(backoff(1.0, attempt))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> fleetstorm_plugin::Decision {
        rearmed(&self.0, attempt, self.wait(kept, attempt))
    }

    fn on_success(&self, kept: Kept<'_, Self>, _: &Attempt) {
        kept.shared.give(kept.session);
    }
}

/// Version 2.1.
pub(crate) struct Standard2026(Config);

impl RetryStrategy for Standard2026 {
    const ID: &'static str = "aws-standard-2026";
    const SUMMARY: &'static str =
        "The AWS SDKs' standard mode of 2026: short waits unless throttled, Retry-After within limits.";
    const MODEL: bool = true;
    const SCOPE: Scope = Scope::Cohort;
    type Config = Config;
    /// What the last retry cost.
    type Session = u64;
    type Shared = Quota;

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let throttled = attempt.class == Class::Throttled;
        let price = if throttled { 5 } else { 14 };
        if self.0.exhausted(attempt) || !kept.shared.take(price, kept.session) {
            return None;
        }
        let own = backoff(if throttled { 1.0 } else { 0.05 }, attempt);
        Some(attempt.retry_after_ns.map_or(own, |told| told.clamp(own, own.saturating_add(5 * S))))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> fleetstorm_plugin::Decision {
        rearmed(&self.0, attempt, self.wait(kept, attempt))
    }

    fn on_success(&self, kept: Kept<'_, Self>, _: &Attempt) {
        kept.shared.give(kept.session);
    }
}

/// The SDKs retry throttling, server errors and broken connections and nothing else.
pub(crate) fn rearmed(config: &Config, attempt: &Attempt, wait: Option<u64>) -> fleetstorm_plugin::Decision {
    use fleetstorm_plugin::{Advice, Decision};
    match (attempt.advice, wait) {
        (Advice::Retry, Some(wait)) => Decision::Wait(wait),
        (Advice::Restart, Some(wait)) => Decision::Restart(wait),
        _ => Decision::GiveUp { rearm_ns: crate::ns(config.rearm_ms) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetstorm_plugin::Decision;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn three_attempts_with_waits_up_to_twenty_seconds() {
        let mut device = Trial::<Standard>::new("{}").unwrap();
        // Half of 1 and 2 s; the third failure is the end.
        assert_eq!(device.fail(&Attempt::throttled(1)), Decision::Wait(S / 2));
        assert_eq!(device.fail(&Attempt::throttled(2)), Decision::Wait(S));
        assert_eq!(device.fail(&Attempt::throttled(3)), Decision::NEVER);
        let mut patient = Trial::<Standard>::new(r#"{"max_attempts": 0}"#).unwrap();
        assert_eq!(patient.fail(&Attempt::throttled(40)), Decision::Wait(10 * S));
    }

    #[test]
    fn the_quota_is_spent_and_given_back() {
        let mut cohort = Trial::<Standard>::new(r#"{"rearm_ms": 60000}"#).unwrap();
        let spent =
            (0..).take_while(|_| matches!(cohort.fail(&Attempt::throttled(1)), Decision::Wait(_))).count();
        assert_eq!(spent, 100, "500 tokens at 5 each");
        assert_eq!(cohort.fail(&Attempt::throttled(1)), Decision::GiveUp { rearm_ns: 60 * S });
        cohort.succeed(&Attempt::throttled(1));
        assert_eq!(cohort.shared.taken, 495, "what its last retry cost");
        cohort.succeed(&Attempt::throttled(1));
        assert_eq!(cohort.shared.taken, 494, "a success without retries");
        let timeout = Attempt { class: Class::OutcomeUnknown, ..Attempt::throttled(1) };
        assert!(matches!(cohort.fail(&timeout), Decision::GiveUp { .. }), "a time-out costs 10, there are 6");
    }

    #[test]
    fn the_newer_mode_heeds_retry_after_within_limits() {
        let wait = |class, told: Option<u64>| {
            let attempt = Attempt { class, retry_after_ns: told.map(|s| s * S), ..Attempt::throttled(1) };
            Trial::<Standard2026>::new("{}").unwrap().fail(&attempt).wait_ns().unwrap()
        };
        assert_eq!(wait(Class::Throttled, None), S / 2);
        assert_eq!(wait(Class::ServerError, None), S / 40);
        assert_eq!(wait(Class::Throttled, Some(0)), S / 2);
        assert_eq!(wait(Class::Throttled, Some(3)), 3 * S);
        assert_eq!(wait(Class::Throttled, Some(60)), S / 2 + 5 * S);
    }
}
