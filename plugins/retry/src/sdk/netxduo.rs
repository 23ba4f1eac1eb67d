//! The Azure IoT middleware of Eclipse ThreadX NetX Duo with its sample. Everything here is read, nothing measured
//! (`strategies` 2.10).

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Answered, Attempt, Class, Decision, Kept, Operation, Result, RetryStrategy};

use super::{Application, seconds};
use crate::S;

/// `sample_azure_iot_embedded_sdk_connect.c` and `nx_azure_iot_provisioning_client.c`.
///
/// One ladder for everything: `trunc(b * (1 + U(0, 0.6)))` seconds with `b = min(600, 3 * 2^c)`; `c` goes up until `b` is
/// cut, and back to 0 only when the hub has let the device in. A name that does not resolve and a refused identity begin at
/// DPS again; everything else tries the hub again. DPS is polled after its Retry-After, also after an error; without one,
/// an answer that does not assign is a failure.
pub(crate) struct NetXDuo;

/// The first wait, and the longest one before jitter, in seconds.
const INITIAL_S: u64 = 3;
const MOST_S: u64 = 600;

/// What the sample remembers of a device.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Session {
    /// How far the ladder was climbed.
    count: u32,
}

fn back_off(session: &mut Session, attempt: &Attempt) -> u64 {
    let doubled = INITIAL_S << session.count.min(31);
    let base = if doubled > MOST_S {
        MOST_S
    } else {
        session.count += 1;
        doubled
    };
    // Both ends of the draw are possible.
    let drawn = attempt.random[0] as f64 / u64::MAX as f64;
    // The cast cuts to whole seconds, as the original's does.
    (base as f64 * (1.0 + 0.6 * drawn)) as u64 * S
}

impl RetryStrategy for NetXDuo {
    const ID: &'static str = "sdk-netxduo";
    const SUMMARY: &'static str =
        "A model of NetX Duo's Azure IoT sample: doubling from 3 s to 10 min, up to 60 % longer.";
    const MODEL: bool = true;
    const PACES_POLLS: bool = true;
    const DECIDES_AT_HUB: bool = true;
    type Config = Application;
    type Session = Session;
    type Shared = ();

    fn new(_: Application) -> Result<Self> {
        Ok(Self)
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        Some(back_off(kept.session, attempt))
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        match seconds(attempt) {
            Some(told) if told > 0 => Decision::Wait(told * S),
            _ => Decision::Restart(back_off(kept.session, attempt)),
        }
    }

    fn on_answer(&self, _: Kept<'_, Self>, answer: &Attempt) -> Answered {
        match seconds(answer) {
            _ if answer.assigned => Answered::AsUsual,
            Some(told) if told > 0 => Answered::PollAfter(told * S),
            _ => Answered::Unusable,
        }
    }

    fn on_hub_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        let wait = back_off(kept.session, attempt);
        if attempt.unresolved || attempt.class == Class::Unauthorized {
            Decision::Restart(wait)
        } else {
            Decision::UseCachedHub(wait)
        }
    }

    fn on_success(&self, kept: Kept<'_, Self>, attempt: &Attempt) {
        if attempt.operation == Operation::Hub {
            kept.session.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_plugin::Given;
    use fleetstorm_plugin::testing::Trial;

    use super::*;

    fn at_hub(class: Class, random: u64) -> Attempt {
        let broken =
            Attempt { operation: Operation::Hub, class, status: 0, code: 0, ..Attempt::throttled(1) };
        Attempt { random: [random, 0], ..broken }
    }

    #[test]
    fn one_ladder_with_jitter_upwards() {
        let ends = [0, u64::MAX].map(|random| {
            let mut device = Trial::<NetXDuo>::new("{}").unwrap();
            let waits = (0..10).map(|_| match device.fail_at_hub(&at_hub(Class::Unreachable, random)) {
                Decision::UseCachedHub(wait) => wait / S,
                other => panic!("{other:?}"),
            });
            waits.collect::<Vec<_>>()
        });
        assert_eq!(ends[0], [3, 6, 12, 24, 48, 96, 192, 384, 600, 600]);
        assert_eq!(ends[1], [4, 9, 19, 38, 76, 153, 307, 614, 960, 960]);
    }

    #[test]
    fn a_refused_identity_and_a_lost_name_begin_at_dps() {
        let mut device = Trial::<NetXDuo>::new("{}").unwrap();
        assert_eq!(device.fail_at_hub(&at_hub(Class::Unauthorized, 0)), Decision::Restart(3 * S));
        let nameless = Attempt { unresolved: true, ..at_hub(Class::Unreachable, 0) };
        assert_eq!(device.fail_at_hub(&nameless), Decision::Restart(6 * S));
        device.succeed(&Attempt::throttled(0));
        assert_eq!(
            device.fail_at_hub(&at_hub(Class::Tls, 0)),
            Decision::UseCachedHub(12 * S),
            "DPS resets nothing"
        );
        device.succeed(&at_hub(Class::Other, 0));
        assert_eq!(device.fail_at_hub(&at_hub(Class::Tls, 0)), Decision::UseCachedHub(3 * S));
    }

    #[test]
    fn dps_is_polled_as_it_says_or_not_at_all() {
        let mut device = Trial::<NetXDuo>::new("{}").unwrap();
        let assigning = Attempt { class: Class::Other, status: 202, random: [0, 0], ..Attempt::throttled(0) };
        let told = |given, attempt: Attempt| Attempt { given, ..attempt };
        assert_eq!(device.answer(&told(Given::Seconds(3), assigning)), Answered::PollAfter(3 * S));
        assert_eq!(device.answer(&told(Given::Seconds(0), assigning)), Answered::Unusable);
        assert_eq!(device.answer(&assigning), Answered::Unusable);
        assert_eq!(device.answer(&Attempt { assigned: true, ..assigning }), Answered::AsUsual);
        let throttled = Attempt { random: [0, 0], ..Attempt::throttled(1) };
        assert_eq!(device.fail(&told(Given::Seconds(5), throttled)), Decision::Wait(5 * S), "an error, too");
        assert_eq!(device.fail(&told(Given::Seconds(0), throttled)), Decision::Restart(3 * S));
        assert_eq!(device.fail(&throttled), Decision::Restart(6 * S));
    }
}
