//! The Azure IoT C SDK.

use fleetstorm_plugin::{Attempt, Decision, Kept, Result, RetryStrategy};

use super::{Application, Carried, Transport, error, is_transient, seconds};
use crate::{S, secs};

/// `prov_device_ll_client` (snapshot c86b2d6; measured with version 1.15).
///
/// Measured, HTTPS and MQTT: after 429 or 5xx the same step again after Retry-After, or after 1 s where there is none or 0;
/// for ever, without back-off or jitter. AMQP: an error at once. Anything else is an error. Read: Retry-After counts as
/// whole seconds from 1 to 300 only, anything else as 1 s.
pub(crate) struct Dps(Carried);

impl RetryStrategy for Dps {
    const ID: &'static str = "sdk-c-dps";
    const SUMMARY: &'static str =
        "A model of the Azure C SDK registering: Retry-After of 1 to 300 s or else 1 s, for ever.";
    const MODEL: bool = true;
    type Config = Carried;
    type Session = ();
    type Shared = ();

    fn new(config: Carried) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(seconds(attempt).filter(|secs| (1..=300).contains(secs)).unwrap_or(1) * S)
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        if !is_transient(attempt) || self.0.transport == Transport::Amqp {
            return error(self.0.restart_ms);
        }
        self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Wait)
    }
}

/// `iothub_client_retry_control.c` (snapshot c86b2d6), read: the first retry at once, then
/// `min(30 s, 2^(n-2) s) * (1 + U(0, 5 %))` in whole seconds. Up to 16 s the jitter is cut away; at the cap there are two
/// values.
pub(crate) struct Hub;

impl RetryStrategy for Hub {
    const ID: &'static str = "sdk-c-hub";
    const SUMMARY: &'static str =
        "A model of the Azure C SDK's hub retries: doubling to 30 s, jitter cut to whole seconds.";
    const MODEL: bool = true;
    type Config = Application;
    type Session = ();
    type Shared = ();

    fn new(_: Application) -> Result<Self> {
        Ok(Self)
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        if attempt.failures <= 1 {
            return Some(0);
        }
        let bare = 2f64.powi(i32::try_from(attempt.failures - 2).unwrap_or(i32::MAX)).min(30.0);
        Some(secs((bare * (1.0 + 0.05 * attempt.fraction())).floor()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetstorm_plugin::testing::Trial;
    use fleetstorm_plugin::{Class, Given};

    fn told(given: Given) -> Attempt {
        Attempt { given, ..Attempt::throttled(5) }
    }

    #[test]
    fn it_heeds_retry_after_from_one_to_three_hundred_seconds() {
        let mut device = Trial::<Dps>::new("{}").unwrap();
        for (given, wait) in [
            (Given::Absent, 1),
            (Given::Seconds(0), 1),
            (Given::Seconds(4), 4),
            (Given::Seconds(300), 300),
            (Given::Seconds(301), 1),
            (Given::Date(2_000_000_000), 1),
            (Given::Malformed, 1),
        ] {
            assert_eq!(device.fail(&told(given)), Decision::Wait(wait * S), "{given:?}");
        }
    }

    #[test]
    fn other_failures_are_the_applications_business() {
        let refused = Attempt { class: Class::Unreachable, ..Attempt::throttled(1) };
        assert_eq!(Trial::<Dps>::new("{}").unwrap().fail(&refused), Decision::NEVER);
        let mut restarted = Trial::<Dps>::new(r#"{"restart_ms": 5000, "transport": "amqp"}"#).unwrap();
        assert_eq!(restarted.fail(&refused), Decision::Restart(5 * S));
        assert_eq!(restarted.fail(&Attempt::throttled(1)), Decision::Restart(5 * S), "AMQP fails at once");
    }

    #[test]
    fn the_hubs_jitter_is_cut_to_whole_seconds() {
        let wait = |failures, random| {
            let attempt = Attempt { random: [random, 0], ..Attempt::throttled(failures) };
            Trial::<Hub>::new("{}").unwrap().fail(&attempt).wait_ns().unwrap() / S
        };
        let first: Vec<u64> = (1..=8).map(|n| wait(n, u64::MAX)).collect();
        assert_eq!(first, [0, 1, 2, 4, 8, 16, 31, 31]);
        assert_eq!((wait(7, 0), wait(u32::MAX, 0)), (30, 30));
    }
}
