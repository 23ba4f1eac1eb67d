//! The Azure IoT Node.js SDK.

use fleetstorm_plugin::{Attempt, Class, Decision, Given, Kept, Result, RetryStrategy};

use super::{Application, Carried, Transport, error, is_transient};
use crate::{MS, S, ns};

/// `polling_state_machine.ts` (snapshot e940876; measured).
///
/// Measured, MQTT and AMQP: after 429 or 5xx the same step again after Retry-After, or after 2 s; for ever. AMQP reads a
/// Retry-After of 0 as none. HTTPS: an error at once, one request and silence. Read: a Retry-After that is no number
/// becomes NaN, which a JavaScript timer takes for 1 ms.
pub(crate) struct Dps(Carried);

impl RetryStrategy for Dps {
    const ID: &'static str = "sdk-node-dps";
    const SUMMARY: &'static str =
        "A model of the Azure Node SDK registering: Retry-After or else 2 s for ever; HTTPS gives up.";
    const MODEL: bool = true;
    type Config = Carried;
    type Session = ();
    type Shared = ();

    fn new(config: Carried) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(match attempt.given {
            Given::Seconds(0) if self.0.transport == Transport::Amqp => 2 * S,
            Given::Seconds(secs) => u64::from(secs) * S,
            Given::Absent => 2 * S,
            Given::Date(_) | Given::Malformed => MS,
        })
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        if !is_transient(attempt) || self.0.transport == Transport::Https {
            return error(self.0.restart_ms);
        }
        self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Wait)
    }
}

/// `retry_policy.ts` (snapshot e940876), read: `min(c_max, c_min + (2^(n-1) - 1) * U(0, c * (jd - ju)))` with
/// `c / c_min / c_max` of 100 / 100 / 10,000 ms, after throttling 5,000 / 10,000 / 60,000 ms, and `jd - ju = 0.25`. The
/// documented formula draws from `c (1 - jd)` to `c (1 - ju)`; the code drops the lower bound, so the first wait is exactly
/// `c_min`.
pub(crate) struct Hub;

impl RetryStrategy for Hub {
    const ID: &'static str = "sdk-node-hub";
    const SUMMARY: &'static str =
        "A model of the Azure Node SDK's hub retries: doubling to 10 s, after throttling to 60 s.";
    const MODEL: bool = true;
    type Config = Application;
    type Session = ();
    type Shared = ();

    fn new(_: Application) -> Result<Self> {
        Ok(Self)
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let (c, least, most) = match attempt.class {
            Class::Throttled => (5_000, 10_000, 60_000),
            _ => (100, 100, 10_000),
        };
        let factor = 1u64.checked_shl(attempt.failures.saturating_sub(1)).unwrap_or(u64::MAX) - 1;
        let draw = attempt.uniform(ns(c) / 4);
        Some(ns(least).saturating_add(factor.saturating_mul(draw)).min(ns(most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn a_date_makes_a_hot_loop_and_https_gives_up() {
        let mut mqtt = Trial::<Dps>::new("{}").unwrap();
        let told = |given| Attempt { given, ..Attempt::throttled(3) };
        assert_eq!(mqtt.fail(&told(Given::Seconds(4))), Decision::Wait(4 * S));
        assert_eq!(mqtt.fail(&told(Given::Absent)), Decision::Wait(2 * S));
        assert_eq!(mqtt.fail(&told(Given::Seconds(0))), Decision::Wait(0));
        assert_eq!(mqtt.fail(&told(Given::Date(2_000_000_000))), Decision::Wait(MS));
        let mut amqp = Trial::<Dps>::new(r#"{"transport": "amqp"}"#).unwrap();
        assert_eq!(amqp.fail(&told(Given::Seconds(0))), Decision::Wait(2 * S));
        let mut https = Trial::<Dps>::new(r#"{"transport": "https"}"#).unwrap();
        assert_eq!(https.fail(&told(Given::Seconds(4))), Decision::NEVER);
    }

    #[test]
    fn the_hubs_waits_follow_the_code() {
        // Throttled: 10 s + (2^(n-1) - 1) * 0.625 s, at most 60 s; half of 1.25 s is drawn.
        assert_eq!(
            waits_ms::<Hub>("{}", [1, 2, 3, 7, 8, 40]),
            [10_000, 10_625, 11_875, 49_375, 60_000, 60_000]
        );
    }
}
