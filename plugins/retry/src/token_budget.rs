//! A retry budget for the whole fleet, after Finagle's `RetryBudget`: first attempts deposit `ratio` tokens each, time
//! deposits `reserve` a second, a retry takes one; tokens older than `ttl` are gone.
//!
//! Finagle drops a request that finds no token. A device must register some day, so here it is told when the reserve
//! will have earned its token: the budget becomes a queue, and retries of the fleet never exceed
//! `reserve + ratio * first attempts` a second.

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_backoff, check_range, full_jitter, secs};

/// Retries as far as the fleet's budget goes.
pub(crate) struct TokenBudget(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Tokens that a first attempt deposits, 0 to 10.
    ratio: f64,
    /// Tokens that every second deposits, above 0.
    reserve_per_s: f64,
    /// How long a token lives, in seconds.
    ttl_s: f64,
    /// Half the upper bound of the first wait, in milliseconds.
    base_ms: u64,
    /// No wait for the device's own sake is longer than this many milliseconds.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { ratio: 0.2, reserve_per_s: 10.0, ttl_s: 10.0, base_ms: 1_000, cap_ms: 120_000 }
    }
}

/// The fleet's account.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Account {
    /// Tokens; negative for those promised to devices that wait.
    tokens: f64,
    /// When the reserve was last added, in ns.
    at_ns: u64,
    /// 0 until the account is opened.
    opened: u64,
}

impl TokenBudget {
    fn earn(&self, account: &mut Account, now_ns: u64) {
        let most = self.0.reserve_per_s * self.0.ttl_s;
        if account.opened == 0 {
            *account = Account { tokens: most, at_ns: now_ns, opened: 1 };
        }
        let passed = now_ns.saturating_sub(account.at_ns) as f64 / 1e9;
        account.tokens = (account.tokens + passed * self.0.reserve_per_s).min(most);
        account.at_ns = account.at_ns.max(now_ns);
    }
}

impl RetryStrategy for TokenBudget {
    const ID: &'static str = "token-budget";
    const SUMMARY: &'static str = "Full jitter within a budget of retries that the whole fleet shares.";
    const GUARDED: bool = true;
    const SCOPE: Scope = Scope::Fleet;
    type Config = Config;
    type Session = ();
    type Shared = Account;

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        check_range("ratio", config.ratio, 0.0..=10.0)?;
        check_range("reserve_per_s", config.reserve_per_s, 0.001..=1e6)?;
        check_range("ttl_s", config.ttl_s, 0.1..=3_600.0)?;
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        self.earn(kept.shared, attempt.now_ns);
        kept.shared.tokens -= 1.0;
        let own = full_jitter(self.0.base_ms, self.0.cap_ms, attempt);
        let earned = secs((-kept.shared.tokens).max(0.0) / self.0.reserve_per_s);
        Some(own.max(earned))
    }

    fn before_first_attempt(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> u64 {
        self.earn(kept.shared, attempt.now_ns);
        kept.shared.tokens = (kept.shared.tokens + self.0.ratio).min(self.0.reserve_per_s * self.0.ttl_s);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn beyond_the_budget_devices_queue_at_the_rate_of_the_reserve() {
        let mut fleet =
            Trial::<TokenBudget>::new(r#"{"reserve_per_s": 2, "ttl_s": 5, "cap_ms": 1000}"#).unwrap();
        let failure = Attempt { random: [0, 0], ..Attempt::throttled(1) };
        let waits: Vec<u64> = (0..14).map(|_| fleet.fail(&failure).wait_ns().unwrap() / (S / 10)).collect();
        // Ten tokens to begin with; then one every half second.
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 10, 15, 20]);
        let later = Attempt { now_ns: 4 * S, ..failure };
        assert_eq!(fleet.fail(&later).wait_ns(), Some(0), "four owed, eight earned, one taken");
        for _ in 0..5 {
            fleet.boot(&later);
        }
        // 3 left, 5 * 0.2 deposited, 4 taken: the fifth waits.
        let after: Vec<u64> = (0..5).map(|_| fleet.fail(&later).wait_ns().unwrap()).collect();
        assert_eq!(after[..4], [0; 4]);
        assert!(after[4].abs_diff(S / 2) < 1_000, "{after:?}");
    }
}
