//! Client-side adaptive throttling of "Site Reliability Engineering", chapter 21: a request is rejected locally with
//! probability `max(0, (requests - K * accepts) / (requests + 1))` over a window of two minutes. Requests count before
//! they are sent, the locally rejected ones too.
//!
//! A device that is rejected locally waits as after another failure and draws again. An accept is a registration that
//! reached its end: it is the only success a strategy hears of.

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{check_backoff, check_range, doubling};

/// Rejects its own requests while the service rejects them.
pub(crate) struct SreThrottle(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// How many requests for each accepted one are let through, 1 to 100.
    k: f64,
    /// The window in seconds, 1 to 3600.
    window_s: f64,
    /// Half the upper bound of the first wait, in milliseconds.
    base_ms: u64,
    /// No wait for one rejection is longer than this many milliseconds.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { k: 2.0, window_s: 120.0, base_ms: 1_000, cap_ms: 120_000 }
    }
}

/// Slices of the window.
const SLICES: usize = 12;

/// Local rejections after which a request goes out whatever the draw: the device would wait for hours otherwise.
const REJECTIONS_MOST: u32 = 8;

/// What the cohort has seen.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Seen([Slice; SLICES]);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Slice {
    /// Which slice of time it holds, from 1; 0 for none.
    number: u64,
    requests: u64,
    accepts: u64,
}

impl SreThrottle {
    fn number(&self, now_ns: u64) -> u64 {
        1 + (now_ns as f64 / (self.0.window_s * 1e9) * SLICES as f64) as u64
    }

    fn slice<'a>(&self, seen: &'a mut Seen, now_ns: u64) -> &'a mut Slice {
        let number = self.number(now_ns);
        let slice = &mut seen.0[(number % SLICES as u64) as usize];
        if slice.number != number {
            *slice = Slice { number, requests: 0, accepts: 0 };
        }
        slice
    }

    fn rejection(&self, seen: &Seen, now_ns: u64) -> f64 {
        let oldest = self.number(now_ns).saturating_sub(SLICES as u64 - 1).max(1);
        let (mut requests, mut accepts) = (0.0, 0.0);
        for slice in seen.0.iter().filter(|slice| slice.number >= oldest) {
            requests += slice.requests as f64;
            accepts += slice.accepts as f64;
        }
        ((requests - self.0.k * accepts) / (requests + 1.0)).max(0.0)
    }
}

impl RetryStrategy for SreThrottle {
    const ID: &'static str = "sre-throttle";
    const SUMMARY: &'static str =
        "Full jitter, and rejects its own requests while the service accepts few (Google SRE).";
    const GUARDED: bool = true;
    const SCOPE: Scope = Scope::Cohort;
    type Config = Config;
    type Session = ();
    type Shared = Seen;

    fn new(config: Config) -> Result<Self> {
        check_backoff(config.base_ms, config.cap_ms)?;
        check_range("k", config.k, 1.0..=100.0)?;
        check_range("window_s", config.window_s, 1.0..=3_600.0)?;
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let seen = kept.shared;
        let mut more = SplitMix64(attempt.random[1]);
        let mut draws = attempt.random;
        let mut wait = 0u64;
        for rejected in 0..=REJECTIONS_MOST {
            let bound = doubling(self.0.base_ms, self.0.cap_ms, attempt.failures.saturating_add(rejected));
            let attempt = Attempt { random: draws, ..*attempt };
            wait = wait.saturating_add(attempt.uniform(bound));
            let chance = self.rejection(seen, attempt.now_ns);
            self.slice(seen, attempt.now_ns).requests += 1;
            if (draws[1] >> 11) as f64 / (1u64 << 53) as f64 >= chance {
                break;
            }
            draws = [more.next(), more.next()];
        }
        Some(wait)
    }

    fn before_first_attempt(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> u64 {
        self.slice(kept.shared, attempt.now_ns).requests += 1;
        0
    }

    fn on_success(&self, kept: Kept<'_, Self>, attempt: &Attempt) {
        self.slice(kept.shared, attempt.now_ns).accepts += 1;
    }
}

/// The draws beyond the two that a call is given (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn the_chance_of_rejection_follows_the_formula() {
        let mut cohort = Trial::<SreThrottle>::new("{}").unwrap();
        for _ in 0..100 {
            cohort.boot(&Attempt::throttled(0));
        }
        for _ in 0..20 {
            cohort.succeed(&Attempt::throttled(0));
        }
        // (100 - 2 * 20) / 101
        assert!((cohort.strategy.rejection(&cohort.shared, 0) - 60.0 / 101.0).abs() < 1e-12);
        assert!(
            cohort.strategy.rejection(&cohort.shared, 121 * S) < 1e-12,
            "two minutes later it is forgotten"
        );
    }

    /// The first numbers from the seed 1234567, as by `splitmix64.c` of Vigna (https://prng.di.unimi.it).
    #[test]
    fn more_draws_are_those_of_splitmix64() {
        let mut more = SplitMix64(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| more.next()), expected);
    }

    #[test]
    fn local_rejections_make_the_wait_longer() {
        let mut calm = Trial::<SreThrottle>::new("{}").unwrap();
        let failure = Attempt { random: [1 << 63, 1 << 60], ..Attempt::throttled(1) };
        assert_eq!(calm.fail(&failure).wait_ns(), Some(S), "half of 2 s");
        let mut storm = Trial::<SreThrottle>::new("{}").unwrap();
        for _ in 0..1_000 {
            storm.boot(&Attempt::throttled(0));
        }
        assert!(storm.fail(&failure).wait_ns().unwrap() > 10 * S);
    }
}
