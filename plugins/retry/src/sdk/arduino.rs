//! The ESP32 sketch of the Azure SDK for C on Arduino. Everything here is read, nothing measured (`strategies` 2.12).

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Answered, Attempt, Decision, Error, Kept, Operation, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use super::seconds;
use crate::{S, ns};

/// `AzureIoT.cpp` and its sketch: polls as told, or at once. Any failure is the error state, in which the sketch drops its
/// Wi-Fi, joins it again and starts over, without a back-off: at DPS until it has been at its hub once, at the hub then.
///
/// Not said by this model: the tries of the MQTT library underneath.
pub(crate) struct Arduino(Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Milliseconds that a restart takes. The default is what the sketch itself waits when the network is there at its
    /// first look: 100 ms to leave it, 500 ms to look.
    restart_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { restart_ms: 600 }
    }
}

/// What the sketch remembers of a device.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Session {
    /// Whether it has been at its hub.
    has_been_in: u32,
}

impl RetryStrategy for Arduino {
    const ID: &'static str = "sdk-arduino";
    const SUMMARY: &'static str = "A model of the Azure SDK's Arduino sketch for the ESP32: joins its Wi-Fi again and starts over, for ever.";
    const MODEL: bool = true;
    const PACES_POLLS: bool = true;
    const DECIDES_AT_HUB: bool = true;
    type Config = Config;
    type Session = Session;
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        if config.restart_ms == 0 {
            return Err(Error::new(
                "restart_ms: 0 is no time to join a network; the sketch itself waits 600",
            ));
        }
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        Some(ns(self.0.restart_ms))
    }

    fn on_failure(&self, _: Kept<'_, Self>, _: &Attempt) -> Decision {
        Decision::Restart(ns(self.0.restart_ms))
    }

    fn on_answer(&self, _: Kept<'_, Self>, answer: &Attempt) -> Answered {
        if answer.assigned {
            Answered::AsUsual
        } else {
            Answered::PollAfter(seconds(answer).unwrap_or(0) * S)
        }
    }

    fn on_hub_failure(&self, kept: Kept<'_, Self>, _: &Attempt) -> Decision {
        let wait = ns(self.0.restart_ms);
        if kept.session.has_been_in == 0 { Decision::Restart(wait) } else { Decision::UseCachedHub(wait) }
    }

    fn on_success(&self, kept: Kept<'_, Self>, attempt: &Attempt) {
        if attempt.operation == Operation::Hub {
            kept.session.has_been_in = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_plugin::testing::Trial;
    use fleetstorm_plugin::{Class, Given};

    use super::*;
    use crate::MS;
    use crate::tests::refusal;

    #[test]
    fn it_starts_over_at_dps_until_it_has_been_at_its_hub() {
        let mut device = Trial::<Arduino>::new("{}").unwrap();
        for n in [1, 2, 60] {
            assert_eq!(device.fail(&Attempt::throttled(n)), Decision::Restart(600 * MS), "no back-off");
        }
        let broken =
            Attempt { operation: Operation::Hub, class: Class::Unreachable, ..Attempt::throttled(1) };
        assert_eq!(device.fail_at_hub(&broken), Decision::Restart(600 * MS));
        device.succeed(&Attempt { class: Class::Other, ..broken });
        assert_eq!(device.fail_at_hub(&broken), Decision::UseCachedHub(600 * MS));
        assert!(refusal::<Arduino>(r#"{"restart_ms": 0}"#).contains("restart_ms"));
    }

    #[test]
    fn it_polls_as_told_or_at_once() {
        let mut device = Trial::<Arduino>::new("{}").unwrap();
        let assigning = Attempt { class: Class::Other, status: 202, ..Attempt::throttled(0) };
        let told = Attempt { given: Given::Seconds(3), ..assigning };
        assert_eq!(device.answer(&told), Answered::PollAfter(3 * S));
        assert_eq!(device.answer(&assigning), Answered::PollAfter(0));
    }
}
