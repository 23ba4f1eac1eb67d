//! The Azure IoT Python SDK.

use fleetstorm_plugin::{Attempt, Decision, Given, Kept, Result, RetryStrategy};

use super::{Application, is_transient, seconds};
use crate::S;

/// `pipeline_stages_provisioning.py` (snapshot e75d1c2; measured with version 2.14, MQTT and MQTT over WebSocket).
///
/// Measured: after 429 or 5xx the same step again after Retry-After, or after 2 s; for ever, without back-off or jitter. A
/// refused or lost connection and any other status is an error; an answer that is not JSON hangs the client, so the
/// device is silent. Read: a Retry-After that is no number raises an error.
pub(crate) struct Dps(Application);

impl RetryStrategy for Dps {
    const ID: &'static str = "sdk-python-dps";
    const SUMMARY: &'static str =
        "A model of the Azure Python SDK registering: Retry-After or else 2 s, for ever.";
    const MODEL: bool = true;
    type Config = Application;
    type Session = ();
    type Shared = ();

    fn new(config: Application) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(seconds(attempt).unwrap_or(2).saturating_mul(S))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        use fleetstorm_plugin::Class;
        match attempt.class {
            Class::Protocol => Decision::NEVER,
            _ if !is_transient(attempt) => self.0.error(),
            _ if matches!(attempt.given, Given::Date(_) | Given::Malformed) => self.0.error(),
            _ => self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Wait),
        }
    }
}

/// The hub client's reconnection, as documented: every 10 s.
pub(crate) struct Hub;

impl RetryStrategy for Hub {
    const ID: &'static str = "sdk-python-hub";
    const SUMMARY: &'static str = "A model of the Azure Python SDK's hub reconnection: every 10 s.";
    const MODEL: bool = true;
    type Config = Application;
    type Session = ();
    type Shared = ();

    fn new(_: Application) -> Result<Self> {
        Ok(Self)
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        Some(10 * S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetstorm_plugin::Class;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn it_comes_back_as_told_or_every_two_seconds() {
        let mut device = Trial::<Dps>::new("{}").unwrap();
        let fail = |device: &mut Trial<Dps>, given, class| {
            device.fail(&Attempt { given, class, ..Attempt::throttled(9) })
        };
        assert_eq!(fail(&mut device, Given::Seconds(4), Class::Throttled), Decision::Wait(4 * S));
        assert_eq!(fail(&mut device, Given::Absent, Class::ServerError), Decision::Wait(2 * S));
        assert_eq!(fail(&mut device, Given::Malformed, Class::Throttled), Decision::NEVER);
        assert_eq!(fail(&mut device, Given::Absent, Class::Unreachable), Decision::NEVER);
        let mut restarted = Trial::<Dps>::new(r#"{"restart_ms": 1000}"#).unwrap();
        assert_eq!(fail(&mut restarted, Given::Absent, Class::Unreachable), Decision::Restart(S));
        assert_eq!(fail(&mut restarted, Given::Absent, Class::Protocol), Decision::NEVER, "it hangs");
    }
}
