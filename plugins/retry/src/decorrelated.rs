//! `s(0) = base, s(n) = min(cap, U(base, 3 * s(n-1)))`, decorrelated jitter after Marc Brooker ("Exponential Backoff
//! and Jitter", AWS Architecture Blog, 2015). The minimum comes after the draw, so waits pile up on the cap once
//! `3 * s > cap`: that is the published algorithm, not a slip of ours.

use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};

use crate::backoff::Config;

/// Draws each wait from the one before it.
pub(crate) struct Decorrelated(Config);

impl RetryStrategy for Decorrelated {
    const ID: &'static str = "decorrelated";
    const SUMMARY: &'static str = "Draws each wait between a base and three times the wait before it.";
    const GUARDED: bool = true;
    type Config = Config;
    /// The wait before, in nanoseconds; 0 before the first.
    type Session = u64;
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        config.check().map(Self)
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let previous = kept.session;
        let base = self.0.base();
        if attempt.failures <= 1 {
            *previous = base;
        }
        let upper = previous.saturating_mul(3).max(base);
        *previous = (base + attempt.uniform(upper - base)).min(self.0.cap());
        Some(*previous)
    }
}
