//! The Azure IoT C# SDK. Everything here is read, nothing measured.

use fleetstorm_plugin::{Attempt, Decision, Error, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Application, Carried, Transport, delta_backoff, error, is_poll, is_transient};
use crate::{S, ns};

/// Version 1 (snapshot 6097889): a failed registration is thrown at the application. HTTPS and AMQP swallow 429 and 5xx
/// of a poll and poll again after 2 s and `U(0, 5 s)`: the Retry-After of the failed answer is overwritten before it is
/// used. MQTT throws there too.
pub(crate) struct Dps(Carried);

impl RetryStrategy for Dps {
    const ID: &'static str = "sdk-csharp-dps";
    const SUMMARY: &'static str =
        "A model of the Azure C# SDK registering: throws; polls go on over HTTPS and AMQP.";
    const MODEL: bool = true;
    type Config = Carried;
    type Session = ();
    type Shared = ();

    fn new(config: Carried) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(2 * S + attempt.uniform(5 * S))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        if !is_transient(attempt) || !is_poll(attempt) || self.0.transport == Transport::Mqtt {
            return error(self.0.restart_ms);
        }
        self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Wait)
    }
}

/// `ExponentialBackoffRetryStrategy.cs` (snapshot 6097889) with its defaults: the first retry at once, then
/// `min(10 s, (2^(n-1) - 1) * U{80..119 ms} + 100 ms)`. From about the eighth retry everybody waits exactly 10 s.
pub(crate) struct Hub;

impl RetryStrategy for Hub {
    const ID: &'static str = "sdk-csharp-v1-hub";
    const SUMMARY: &'static str = "A model of the Azure C# SDK's hub retries: doubling to exactly 10 s.";
    const MODEL: bool = true;
    type Config = Application;
    type Session = ();
    type Shared = ();

    fn new(_: Application) -> Result<Self> {
        Ok(Self)
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(delta_backoff(10, attempt))
    }
}

/// The retry policy of the version 2 preview: `min(cap, 2^(n+6) ms)` times 0.95 to 1.05 in whole percents, so eleven
/// values for a whole fleet. It is not given Retry-After.
pub(crate) struct V2(V2Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct V2Config {
    /// No wait before jitter is longer than this many milliseconds; the SDK has no default.
    cap_ms: u64,
    /// Retries after which it throws; 0 for never.
    max_retries: u32,
    /// Milliseconds until the application calls the SDK again after an error; 0 for never.
    restart_ms: u64,
}

impl Default for V2Config {
    fn default() -> Self {
        Self { cap_ms: 60_000, max_retries: 0, restart_ms: 0 }
    }
}

impl RetryStrategy for V2 {
    const ID: &'static str = "sdk-csharp-v2";
    const SUMMARY: &'static str =
        "A model of the Azure C# SDK's version 2 policy: doubling with eleven jitter values.";
    const MODEL: bool = true;
    type Config = V2Config;
    type Session = ();
    type Shared = ();

    fn new(config: V2Config) -> Result<Self> {
        if config.cap_ms == 0 {
            return Err(Error::new("cap_ms: must be above 0"));
        }
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        if self.0.max_retries > 0 && attempt.failures > self.0.max_retries {
            return None;
        }
        let bare =
            1u64.checked_shl(attempt.failures.saturating_add(6)).unwrap_or(u64::MAX).min(self.0.cap_ms);
        Some((ns(bare) / 100).saturating_mul(95 + attempt.uniform(11)))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        use fleetstorm_plugin::Class;
        let connection = matches!(attempt.class, Class::Unreachable | Class::OutcomeUnknown);
        if !is_transient(attempt) && !connection {
            return error(self.0.restart_ms);
        }
        self.wait(kept, attempt).map_or(error(self.0.restart_ms), Decision::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;
    use fleetstorm_plugin::Operation;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn polls_go_on_and_registrations_do_not() {
        let poll = Attempt { operation: Operation::Poll, ..Attempt::throttled(1) };
        let mut https = Trial::<Dps>::new(r#"{"transport": "https", "restart_ms": 1}"#).unwrap();
        assert_eq!(https.fail(&poll), Decision::Wait(2 * S + 5 * S / 2));
        assert_eq!(https.fail(&Attempt::throttled(1)), Decision::Restart(1_000_000));
        assert_eq!(Trial::<Dps>::new("{}").unwrap().fail(&poll), Decision::NEVER, "MQTT");
    }

    #[test]
    fn the_hubs_waits_double_to_ten_seconds() {
        // (2^(n-1) - 1) * 100 ms + 100 ms: the draw is the middle of 80 to 119.
        assert_eq!(
            waits_ms::<Hub>("{}", [1, 2, 3, 4, 7, 8, 64, u32::MAX]),
            [0, 200, 400, 800, 6_400, 10_000, 10_000, 10_000]
        );
    }

    #[test]
    fn version_two_has_eleven_waits() {
        assert_eq!(waits_ms::<V2>("{}", [1, 2, 9, 10, u32::MAX]), [128, 256, 32_768, 60_000, 60_000]);
        let all: std::collections::BTreeSet<u64> = (0..1_000u64)
            .map(|device| {
                let random = [(u64::MAX / 1_000) * device, 0];
                let attempt = Attempt { random, ..Attempt::throttled(30) };
                Trial::<V2>::new("{}").unwrap().fail(&attempt).wait_ns().unwrap() / S
            })
            .collect();
        assert_eq!(all, (57..=63).collect(), "95 % to 105 % of 60 s, in steps of 0.6 s");
        let mut limited = Trial::<V2>::new(r#"{"max_retries": 2}"#).unwrap();
        assert_eq!(limited.fail(&Attempt::throttled(3)), Decision::NEVER);
    }
}
