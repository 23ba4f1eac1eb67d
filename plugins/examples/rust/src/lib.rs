//! Waits the Fibonacci numbers: slower than doubling, faster than linear, with jitter on the whole wait.
//!
//! It remembers two numbers of every device, so it also shows what a session is.

use fleetstorm_plugin::{Attempt, Error, Kept, Result, RetryStrategy};

fleetstorm_plugin::export! { fleetstorm_plugin_fibonacci; retry: [Fibonacci] }

struct Fibonacci(Config);

/// The parameters.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// What the Fibonacci numbers are multiplied with, in milliseconds.
    unit_ms: u64,
    /// No wait is longer than this many milliseconds.
    cap_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { unit_ms: 1_000, cap_ms: 60_000 }
    }
}

impl RetryStrategy for Fibonacci {
    const ID: &'static str = "fibonacci";
    const SUMMARY: &'static str = "Draws its wait below the Fibonacci numbers.";
    type Config = Config;
    /// The last two numbers.
    type Session = [u64; 2];
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        if config.unit_ms == 0 {
            return Err(Error::new("unit_ms: must be above 0"));
        }
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let [a, b] = *kept.session;
        // A device that has just booted has zeros.
        let next = if attempt.failures <= 1 || b == 0 { [1, 1] } else { [b, a.saturating_add(b)] };
        *kept.session = next;
        let bound_ms = self.0.unit_ms.saturating_mul(next[1]).min(self.0.cap_ms);
        let wait = attempt.uniform(bound_ms.saturating_mul(1_000_000));
        Some(wait.max(attempt.retry_after_ns.unwrap_or(0)))
    }
}
