//! The Azure IoT .NET SDK of 2026 (`Azure/azure-iot-sdk`, `dotnet/`). Everything here is read, nothing measured
//! (`strategies` 2.8).

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Answered, Attempt, Class, Decision, Error, Kept, Operation, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{error, error_at_hub, seconds};
use crate::{S, ns};

/// `AbstractConnectionClient.cs`, `MqttConnectionManager.cs` and `ExponentialBackoffRetryPolicy.cs`.
///
/// The policy waits `min(cap, 2^(n+6) ms)` times 0.95 to 1.05 in whole percents. A first connection that fails is tried
/// again from n = 2 on, because it counts tries; one that ended, from n = 1 on. Retry-After is a floor. The first answer
/// to a registration must be `assigning`: an `assigned` there is an error.
///
/// Not said by this model: the advice of later versions to go back to DPS after a number of failures at the hub, and
/// reasons of MQTT 5 that are terminal.
pub(crate) struct CSharp2026(Config);

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// No wait before jitter is longer than this many milliseconds. The constructor without parameters has 1,800,000.
    cap_ms: u64,
    /// What the application does when its first registration throws, or its first connection to the hub is refused. Once
    /// a connection stood, the SDK goes back to DPS by itself for as long as it takes.
    application: Application,
    /// Milliseconds until the application starts over after an error that the SDK calls terminal; 0 for never.
    restart_ms: u64,
}

/// What an application does about an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Application {
    /// It calls again, with the waits of the SDK's policy.
    Repeats,
    /// It has not been written for this: the device is silent.
    Stops,
}

impl Default for Config {
    fn default() -> Self {
        Self { cap_ms: 60_000, application: Application::Repeats, restart_ms: 0 }
    }
}

/// What the SDK remembers of a device.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Session {
    /// Registrations in a row that failed, or led to a hub that did not let the device in.
    registrations: u32,
    /// Connections to DPS in a row that failed.
    connections: u32,
    /// Whether the connection to the hub stood since the device registered.
    stood: u32,
    /// Whether the SDK is on its way back to DPS by itself.
    going_back: u32,
}

impl CSharp2026 {
    fn policy(&self, n: u32, attempt: &Attempt) -> u64 {
        let bare = 1u64.checked_shl(n.saturating_add(6).min(32)).unwrap_or(u64::MAX).min(self.0.cap_ms);
        if bare < 50 {
            return ns(bare);
        }
        (ns(bare) / 100).saturating_mul(95 + attempt.uniform(11))
    }

    /// The wait after the `n`-th failure of a connection, the end of one that stood included.
    fn reconnection(&self, n: u32, stood: bool, attempt: &Attempt) -> u64 {
        self.policy(n.saturating_add(u32::from(!stood)), attempt)
    }

    /// Another registration, by the SDK on its way back or by the application.
    fn registers(&self, session: &mut Session, attempt: &Attempt) -> Decision {
        if session.going_back == 0 && self.0.application == Application::Stops {
            return Decision::NEVER;
        }
        session.registrations = session.registrations.saturating_add(1);
        let told = seconds(attempt).unwrap_or(0) * S;
        Decision::Restart(self.policy(session.registrations, attempt).max(told))
    }
}

impl RetryStrategy for CSharp2026 {
    const ID: &'static str = "sdk-csharp-2026";
    const SUMMARY: &'static str = "A model of the Azure .NET SDK of 2026: doubling from 128 ms with eleven jitter values, then DPS again.";
    const MODEL: bool = true;
    const PACES_POLLS: bool = true;
    const DECIDES_AT_HUB: bool = true;
    type Config = Config;
    type Session = Session;
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        if config.cap_ms == 0 {
            return Err(Error::new("cap_ms: must be above 0"));
        }
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(self.policy(attempt.failures, attempt))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        let session = kept.session;
        let is_answer = attempt.status != 0;
        match attempt.class {
            // Every connection to DPS begins a registration anew.
            Class::Unreachable | Class::OutcomeUnknown | Class::ServerError if !is_answer => {
                session.connections = session.connections.saturating_add(1);
                let stood = attempt.class == Class::OutcomeUnknown;
                Decision::Restart(self.reconnection(session.connections, stood, attempt))
            }
            Class::Tls if session.going_back == 0 => error(self.0.restart_ms),
            _ => {
                session.connections = 0;
                self.registers(session, attempt)
            }
        }
    }

    fn on_answer(&self, kept: Kept<'_, Self>, answer: &Attempt) -> Answered {
        kept.session.connections = 0;
        match answer.operation {
            Operation::Register if answer.assigned => Answered::Unusable,
            Operation::Register => Answered::PollAfter(0),
            Operation::Poll if !answer.assigned => Answered::PollAfter(match seconds(answer) {
                Some(told) => told.max(2) * S,
                None => 2 * S + answer.uniform(5 * S),
            }),
            Operation::Poll | Operation::Lookup | Operation::Hub => Answered::AsUsual,
        }
    }

    fn on_hub_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        let session = kept.session;
        match attempt.class {
            Class::Unauthorized if session.stood != 0 && session.going_back == 0 => {
                (session.going_back, session.registrations) = (1, 0);
                Decision::Restart(0)
            }
            Class::Unauthorized => self.registers(session, attempt),
            Class::Tls if session.going_back != 0 => self.registers(session, attempt),
            Class::Tls => error_at_hub(self.0.restart_ms),
            _ => Decision::UseCachedHub(self.reconnection(attempt.failures, session.stood != 0, attempt)),
        }
    }

    fn on_success(&self, kept: Kept<'_, Self>, attempt: &Attempt) {
        let session = kept.session;
        if attempt.operation == Operation::Hub {
            *session = Session { stood: 1, ..Session::zeroed() };
        } else {
            (session.connections, session.stood) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_plugin::Given;
    use fleetstorm_plugin::testing::Trial;

    use super::*;
    use crate::MS;
    use crate::tests::refusal;

    fn trial(config: &str) -> Trial<CSharp2026> {
        Trial::new(config).unwrap()
    }

    fn broken(class: Class, failures: u32) -> Attempt {
        Attempt { class, status: 0, code: 0, ..Attempt::throttled(failures) }
    }

    fn at_hub(class: Class, failures: u32) -> Attempt {
        Attempt { operation: Operation::Hub, ..broken(class, failures) }
    }

    fn millis(decision: Decision) -> u64 {
        decision.wait_ns().unwrap_or_else(|| panic!("{decision:?}")) / MS
    }

    #[test]
    fn the_policy_doubles_from_128_ms_to_a_minute() {
        let mut device = trial("{}");
        let waits: Vec<u64> = (1..=10).map(|n| millis(device.fail(&Attempt::throttled(n)))).collect();
        assert_eq!(waits, [128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 60_000]);
        for (random, wait) in [(0, 57_000), (u64::MAX, 63_000)] {
            let last = Attempt { random: [random, 0], ..Attempt::throttled(11) };
            assert_eq!(millis(device.fail(&last)), wait, "jitter passes the cap");
        }
        let sdk = CSharp2026::new(Config { cap_ms: 1_800_000, ..Config::default() }).unwrap();
        assert_eq!(
            sdk.policy(u32::MAX, &Attempt::throttled(1)),
            1_800 * S,
            "the constructor without parameters"
        );
        let short = CSharp2026::new(Config { cap_ms: 49, ..Config::default() }).unwrap();
        let drawn = Attempt { random: [0, 0], ..Attempt::throttled(1) };
        assert_eq!(short.policy(1, &drawn), 49 * MS, "no jitter below 50 ms");
    }

    #[test]
    fn the_first_answer_must_be_assigning() {
        let mut device = trial("{}");
        let answer = Attempt { class: Class::Other, status: 200, ..Attempt::throttled(0) };
        assert_eq!(device.answer(&Attempt { assigned: true, ..answer }), Answered::Unusable);
        let told = Attempt { status: 202, given: Given::Seconds(3), ..answer };
        assert_eq!(
            device.answer(&told),
            Answered::PollAfter(0),
            "the registration's Retry-After is not heeded"
        );
        let poll = Attempt { operation: Operation::Poll, ..told };
        assert_eq!(device.answer(&poll), Answered::PollAfter(3 * S));
        assert_eq!(device.answer(&Attempt { given: Given::Seconds(1), ..poll }), Answered::PollAfter(2 * S));
        let untold = Attempt { given: Given::Absent, ..poll };
        assert_eq!(device.answer(&untold), Answered::PollAfter(2 * S + 5 * S / 2), "2 s and half of 5 s");
        assert_eq!(device.answer(&Attempt { assigned: true, ..poll }), Answered::AsUsual);
    }

    #[test]
    fn what_dps_asks_for_is_a_floor() {
        let told = |given| Attempt { given, ..Attempt::throttled(1) };
        assert_eq!(trial("{}").fail(&told(Given::Seconds(120))), Decision::Restart(120 * S));
        assert_eq!(trial("{}").fail(&told(Given::Malformed)), Decision::Restart(128 * MS));
    }

    #[test]
    fn a_first_connection_counts_as_a_try() {
        let mut device = trial("{}");
        let waits = [1, 2, 3].map(|n| millis(device.fail(&broken(Class::Unreachable, n))));
        assert_eq!(waits, [256, 512, 1_024]);
        let mut device = trial("{}");
        assert_eq!(
            millis(device.fail(&broken(Class::OutcomeUnknown, 1))),
            128,
            "one that had stood does not"
        );
        assert_eq!(device.fail(&broken(Class::Tls, 2)), Decision::NEVER, "TLS is terminal");
    }

    #[test]
    fn the_application_decides_about_a_first_registration() {
        let mut device = trial(r#"{"application": "stops"}"#);
        assert_eq!(device.fail(&Attempt::throttled(1)), Decision::NEVER);
        assert_eq!(device.fail_at_hub(&at_hub(Class::Unauthorized, 1)), Decision::NEVER);
        // Once its connection stood, the SDK goes back by itself, whatever the error.
        device.succeed(&at_hub(Class::Other, 0));
        assert_eq!(device.fail_at_hub(&at_hub(Class::Unauthorized, 1)), Decision::Restart(0));
        assert_eq!(device.fail(&Attempt::throttled(1)), Decision::Restart(128 * MS));
        assert_eq!(device.fail(&broken(Class::Tls, 2)), Decision::Restart(256 * MS));
        device.succeed(&Attempt::throttled(0));
        assert_eq!(device.fail_at_hub(&at_hub(Class::Unauthorized, 1)), Decision::Restart(512 * MS));
    }

    #[test]
    fn a_hub_is_tried_along_the_policy() {
        let mut device = trial("{}");
        let fail = |device: &mut Trial<CSharp2026>, n| device.fail_at_hub(&at_hub(Class::Unreachable, n));
        assert_eq!(
            [1, 2].map(|n| fail(&mut device, n)),
            [256, 512].map(|ms| Decision::UseCachedHub(ms * MS))
        );
        device.succeed(&at_hub(Class::Other, 0));
        assert_eq!(
            [1, 2].map(|n| fail(&mut device, n)),
            [128, 256].map(|ms| Decision::UseCachedHub(ms * MS))
        );
        assert_eq!(device.fail_at_hub(&at_hub(Class::Tls, 3)), Decision::NEVER, "TLS is terminal");
        assert!(refusal::<CSharp2026>(r#"{"cap_ms": 0}"#).contains("cap_ms"));
    }
}
