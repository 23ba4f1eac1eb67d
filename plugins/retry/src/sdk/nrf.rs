//! The Azure IoT Hub library of Nordic's nRF Connect SDK. Everything here is read, nothing measured (`strategies` 2.11).

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Answered, Attempt, Decision, Kept, Result, RetryStrategy};

use super::{Application, error, error_at_hub, seconds};
use crate::S;

/// `azure_iot_hub_dps.c`: polls after Retry-After, or after 20 s without one, ten times at most; every failure is the
/// application's.
///
/// Not said by this model: its buffers. An answer above 2,304 bytes, such as one with a certificate chain, is a failed
/// registration there, and a strategy is not told how long an answer is.
pub(crate) struct Nrf(Application);

/// The wait before a poll where the service names none, in seconds.
const POLL_S: u64 = 20;

/// Polls after which a registration has failed.
const POLLS_MOST: u32 = 10;

/// What the library remembers of a device.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Session {
    /// Polls of this registration.
    polls: u32,
}

impl RetryStrategy for Nrf {
    const ID: &'static str = "sdk-nrf";
    const SUMMARY: &'static str =
        "A model of nRF Connect SDK's Azure library: ten polls; every failure is the application's.";
    const MODEL: bool = true;
    const PACES_POLLS: bool = true;
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

    fn on_failure(&self, kept: Kept<'_, Self>, _: &Attempt) -> Decision {
        kept.session.polls = 0;
        error(self.0.restart_ms)
    }

    fn on_answer(&self, kept: Kept<'_, Self>, answer: &Attempt) -> Answered {
        if answer.assigned {
            kept.session.polls = 0;
            return Answered::AsUsual;
        }
        if kept.session.polls >= POLLS_MOST {
            return Answered::Unusable;
        }
        kept.session.polls += 1;
        Answered::PollAfter(seconds(answer).filter(|told| *told > 0).unwrap_or(POLL_S) * S)
    }

    fn on_hub_failure(&self, _: Kept<'_, Self>, _: &Attempt) -> Decision {
        error_at_hub(self.0.restart_ms)
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_plugin::testing::Trial;
    use fleetstorm_plugin::{Class, Given};

    use super::*;

    #[test]
    fn ten_polls_and_an_error() {
        let mut device = Trial::<Nrf>::new("{}").unwrap();
        let assigning = Attempt { class: Class::Other, status: 202, ..Attempt::throttled(0) };
        assert_eq!(device.answer(&assigning), Answered::PollAfter(20 * S));
        assert_eq!(
            device.answer(&Attempt { given: Given::Seconds(0), ..assigning }),
            Answered::PollAfter(20 * S)
        );
        for _ in 0..8 {
            let told = Attempt { given: Given::Seconds(3), ..assigning };
            assert_eq!(device.answer(&told), Answered::PollAfter(3 * S));
        }
        assert_eq!(device.answer(&assigning), Answered::Unusable, "the eleventh poll");
        let unusable = Attempt { class: Class::Protocol, status: 202, ..Attempt::throttled(1) };
        assert_eq!(device.fail(&unusable), Decision::NEVER);
        assert_eq!(device.answer(&assigning), Answered::PollAfter(20 * S), "a registration that begins anew");
    }

    #[test]
    fn failures_are_the_applications() {
        let mut device = Trial::<Nrf>::new(r#"{"restart_ms": 9000}"#).unwrap();
        assert_eq!(device.fail(&Attempt::throttled(1)), Decision::Restart(9 * S));
        assert_eq!(device.fail_at_hub(&Attempt::throttled(1)), Decision::UseCachedHub(9 * S));
    }
}
