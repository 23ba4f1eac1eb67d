//! The Azure IoT Java SDK (snapshot 8abba69). Everything here is read, nothing measured.

use fleetstorm_plugin::{Attempt, Decision, Kept, Result, RetryStrategy};

use super::{Application, delta_backoff};

/// `ProvisioningDeviceClientContract.java`: any status above 300 is thrown at the application, of a registration and of a
/// poll.
pub(crate) struct Dps(Application);

impl RetryStrategy for Dps {
    const ID: &'static str = "sdk-java-dps";
    const SUMMARY: &'static str =
        "A model of the Azure Java SDK registering: every failure is the application's.";
    const MODEL: bool = true;
    type Config = Application;
    type Session = ();
    type Shared = ();

    fn new(config: Application) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        None
    }

    fn on_failure(&self, _: Kept<'_, Self>, _: &Attempt) -> Decision {
        self.0.error()
    }
}

/// `ExponentialBackoffWithJitter.java`: the formula of the C# SDK, the first retry at once.
pub(crate) struct Hub;

impl RetryStrategy for Hub {
    const ID: &'static str = "sdk-java-hub";
    const SUMMARY: &'static str = "A model of the Azure Java SDK's hub retries: doubling to exactly 10 s.";
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S;
    use crate::tests::waits_ms;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn every_failure_goes_to_the_application() {
        assert_eq!(Trial::<Dps>::new("{}").unwrap().fail(&Attempt::throttled(1)), Decision::NEVER);
        let mut restarted = Trial::<Dps>::new(r#"{"restart_ms": 3000}"#).unwrap();
        assert_eq!(restarted.fail(&Attempt::throttled(1)), Decision::Restart(3 * S));
    }

    #[test]
    fn the_hubs_waits_are_those_of_the_csharp_sdk() {
        assert_eq!(waits_ms::<Hub>("{}", [1, 3, 9]), [0, 400, 10_000]);
    }
}
