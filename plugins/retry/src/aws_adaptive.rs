//! The adaptive retry mode of the AWS SDKs (botocore `retries/adaptive.py`, `throttling.py`, `bucket.py`): the standard
//! mode behind a client-side rate limit that follows a cubic curve (as in TCP CUBIC).
//!
//! - measured: requests a second in buckets of 0.5 s, smoothed with 0.8;
//! - throttled: `rate = 0.7 * min(measured, rate)`, `w_max` is the rate before;
//! - otherwise: `rate = 0.4 * (dt - K)^3 + w_max` with `K = cbrt(w_max * 0.3 / 0.4)`, never above twice what is measured;
//! - the bucket fills at `rate`, at least 0.5 a second, and holds at least one token.
//!
//! The limit is off until the first throttled attempt. It may hold up first attempts too. In a client it is a process's;
//! here a cohort shares it, as a coordinator would.

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Attempt, Class, Decision, Kept, Result, RetryStrategy, Scope};

use crate::aws::{Config, Quota, backoff, cost, rearmed};
use crate::secs;

const BETA: f64 = 0.7;
const SCALE: f64 = 0.4;
const SMOOTH: f64 = 0.8;
const RATE_LEAST: f64 = 0.5;

/// The adaptive mode.
pub(crate) struct Adaptive(Config);

/// What the cohort shares.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Limiter {
    quota: Quota,
    /// Whether anything has been throttled yet.
    on: u64,
    /// Tokens of the bucket, and when they were counted, in s; negative tokens are promised.
    tokens: f64,
    counted_s: f64,
    rate: f64,
    w_max: f64,
    throttled_s: f64,
    measured: f64,
    bucket_s: f64,
    requests: f64,
}

impl Limiter {
    /// Counts a response and adjusts the rate.
    fn heard(&mut self, now_s: f64, throttled: bool) {
        self.measure(now_s);
        let rate = if throttled {
            let before = if self.on == 0 { self.measured } else { self.measured.min(self.rate) };
            self.w_max = before;
            self.throttled_s = now_s;
            if self.on == 0 {
                (self.on, self.tokens, self.counted_s) = (1, 0.0, now_s);
            }
            before * BETA
        } else {
            let k = (self.w_max * (1.0 - BETA) / SCALE).cbrt();
            SCALE * (now_s - self.throttled_s - k).powi(3) + self.w_max
        };
        self.refill(now_s);
        self.rate = rate.min(2.0 * self.measured).max(RATE_LEAST);
    }

    fn measure(&mut self, now_s: f64) {
        self.requests += 1.0;
        let bucket_s = (now_s * 2.0).floor() / 2.0;
        if bucket_s > self.bucket_s {
            let rate = self.requests / (bucket_s - self.bucket_s);
            self.measured = rate * SMOOTH + self.measured * (1.0 - SMOOTH);
            (self.requests, self.bucket_s) = (0.0, bucket_s);
        }
    }

    fn refill(&mut self, now_s: f64) {
        let passed = (now_s - self.counted_s).max(0.0);
        self.tokens = (self.tokens + passed * self.rate).min(self.rate.max(1.0));
        self.counted_s = self.counted_s.max(now_s);
    }

    /// Takes a token and says how long until it is there, in s.
    fn acquire(&mut self, now_s: f64) -> f64 {
        if self.on == 0 {
            return 0.0;
        }
        self.refill(now_s);
        self.tokens -= 1.0;
        (-self.tokens / self.rate).max(0.0)
    }
}

fn now_s(attempt: &Attempt) -> f64 {
    attempt.now_ns as f64 / 1e9
}

impl RetryStrategy for Adaptive {
    const ID: &'static str = "aws-adaptive";
    const SUMMARY: &'static str =
        "The AWS SDKs' adaptive mode: the standard mode behind a cubic client-side rate limit.";
    const MODEL: bool = true;
    const SCOPE: Scope = Scope::Cohort;
    type Config = Config;
    /// What the last retry cost.
    type Session = u64;
    type Shared = Limiter;

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let now = now_s(attempt);
        kept.shared.heard(now, attempt.class == Class::Throttled);
        if self.0.exhausted(attempt) || !kept.shared.quota.take(cost(attempt), kept.session) {
            return None;
        }
        Some(backoff(1.0, attempt).saturating_add(secs(kept.shared.acquire(now))))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        rearmed(&self.0, attempt, self.wait(kept, attempt))
    }

    fn before_first_attempt(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> u64 {
        secs(kept.shared.acquire(now_s(attempt)))
    }

    fn on_success(&self, kept: Kept<'_, Self>, attempt: &Attempt) {
        kept.shared.heard(now_s(attempt), false);
        kept.shared.quota.give(kept.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn the_limit_comes_with_the_first_throttled_attempt() {
        let mut cohort = Trial::<Adaptive>::new(r#"{"max_attempts": 0}"#).unwrap();
        // Ten successes a second for a second: 5 in each bucket of half a second.
        for n in 1..=10u64 {
            cohort.succeed(&Attempt { now_ns: n * S / 10, ..Attempt::throttled(0) });
        }
        // The bucket that ended at 0.5 s held 5 requests in 0.5 s: 10 * 0.8 = 8. The one that ended at 1 s: 5 in 0.5 s:
        // 10 * 0.8 + 8 * 0.2 = 9.6.
        assert!((cohort.shared.measured - 9.6).abs() < 1e-9, "{}", cohort.shared.measured);
        assert_eq!(cohort.boot(&Attempt { now_ns: S, ..Attempt::throttled(0) }), 0);
        let throttled = Attempt { now_ns: S, random: [0, 0], ..Attempt::throttled(1) };
        // rate = 9.6 * 0.7 = 6.72; the bucket is empty, so the first token is 1 / 6.72 s away.
        let wait = cohort.fail(&throttled).wait_ns().unwrap();
        assert!((wait as f64 / 1e9 - 1.0 / 6.72).abs() < 1e-6, "{wait}");
        // Two seconds later: K = cbrt(9.6 * 0.3 / 0.4) = 1.93098; 0.4 * (2 - K)^3 + 9.6 = 9.60013, and the measured
        // rate, 2 requests in 2 s: 1 * 0.8 + 9.6 * 0.2 = 2.72, allows twice that.
        cohort.succeed(&Attempt { now_ns: 3 * S, ..Attempt::throttled(0) });
        assert!((cohort.shared.rate - 5.44).abs() < 1e-6, "{}", cohort.shared.rate);
    }
}
