//! The Azure IoT middleware for FreeRTOS with its sample. Everything here is read, nothing measured (`strategies` 2.9).

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Attempt, Class, Decision, Kept, Result, RetryStrategy};

use super::{Application, error};
use crate::ns;

/// `sample_azure_iot.c` and its `backoff_algorithm.c`: a TCP or TLS connection that fails is tried again after
/// `U{0..m}` ms with m of 500, 1000, 2000, 4000 and 5000; after the fifth retry, and after any other failure, the sample
/// has failed. A refused CONNECT and an answer of DPS are not tried again.
///
/// Not said by this model: how the middleware polls, which differs between its versions.
pub(crate) struct FreeRtos(Application);

/// Upper bounds of the waits, in milliseconds: doubled while below half of 5,000, the longest.
const MOST_MS: [u64; 5] = [500, 1_000, 2_000, 4_000, 5_000];

/// What the sample remembers of a device.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Session {
    /// Connections in a row that failed.
    connections: u32,
}

impl FreeRtos {
    fn decide(&self, session: &mut Session, attempt: &Attempt, again: impl Fn(u64) -> Decision) -> Decision {
        let turn = session.connections as usize;
        let most = MOST_MS.get(turn).filter(|_| matches!(attempt.class, Class::Unreachable | Class::Tls));
        let Some(most) = most else {
            session.connections = 0;
            return error(self.0.restart_ms);
        };
        session.connections += 1;
        again(ns(attempt.uniform(most + 1)))
    }
}

impl RetryStrategy for FreeRtos {
    const ID: &'static str = "sdk-freertos";
    const SUMMARY: &'static str = "A model of the Azure IoT middleware for FreeRTOS: six connections with full jitter to 5 s, then an error.";
    const MODEL: bool = true;
    const DECIDES_AT_HUB: bool = true;
    type Config = Application;
    type Session = Session;
    type Shared = ();

    fn new(config: Application) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        None
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        self.decide(kept.session, attempt, Decision::Wait)
    }

    fn on_hub_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        self.decide(kept.session, attempt, Decision::UseCachedHub)
    }

    fn on_success(&self, kept: Kept<'_, Self>, _: &Attempt) {
        kept.session.connections = 0;
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_plugin::Operation;
    use fleetstorm_plugin::testing::Trial;

    use super::*;
    use crate::MS;

    fn broken(class: Class, random: u64) -> Attempt {
        Attempt { class, status: 0, code: 0, random: [random, 0], ..Attempt::throttled(1) }
    }

    #[test]
    fn six_connections_and_an_error() {
        let ends = [0, u64::MAX].map(|random| {
            let mut device = Trial::<FreeRtos>::new("{}").unwrap();
            let waits: Vec<u64> =
                (0..5).map(|_| device.fail(&broken(Class::Tls, random)).wait_ns().unwrap() / MS).collect();
            assert_eq!(device.fail(&broken(Class::Tls, random)), Decision::NEVER, "the sixth connection");
            waits
        });
        assert_eq!(ends, [vec![0; 5], vec![500, 1_000, 2_000, 4_000, 5_000]]);
    }

    #[test]
    fn a_connection_that_stands_begins_anew_and_nothing_else_is_tried_again() {
        let mut device = Trial::<FreeRtos>::new(r#"{"restart_ms": 3000}"#).unwrap();
        let most = broken(Class::Unreachable, u64::MAX);
        assert_eq!([0; 2].map(|_| device.fail(&most)), [500, 1_000].map(|ms| Decision::Wait(ms * MS)));
        device.succeed(&Attempt::throttled(0));
        let at_hub = Attempt { operation: Operation::Hub, ..most };
        assert_eq!(device.fail_at_hub(&at_hub), Decision::UseCachedHub(500 * MS));
        let refused = Attempt { class: Class::Unauthorized, ..at_hub };
        assert_eq!(device.fail_at_hub(&refused), Decision::Restart(3_000 * MS), "a refused CONNECT");
        assert_eq!(device.fail(&Attempt::throttled(1)), Decision::Restart(3_000 * MS), "429");
        assert_eq!(device.fail(&most), Decision::Wait(500 * MS));
    }
}
