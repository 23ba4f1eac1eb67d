//! The IoT Identity Service of IoT Edge (version 1.6). Everything here is read, nothing measured.

use fleetstorm_plugin::{Attempt, Class, Decision, Kept, Result, RetryStrategy};

use super::Application;
use crate::S;

/// After 429 it waits `60 + U(0, 10)`, `120 + U(0, 20)`, `180 + U(0, 30)` and `300 + U(0, 30)` seconds and then fails; a
/// broken connection gets one more try after 3 s; everything else fails.
pub(crate) struct Dps(Application);

const WAITS_S: [(u64, u64); 4] = [(60, 10), (120, 20), (180, 30), (300, 30)];

impl RetryStrategy for Dps {
    const ID: &'static str = "sdk-identity-service";
    const SUMMARY: &'static str =
        "A model of the IoT Identity Service: four growing waits after 429, then an error.";
    const MODEL: bool = true;
    type Config = Application;
    type Session = ();
    type Shared = ();

    fn new(config: Application) -> Result<Self> {
        Ok(Self(config))
    }

    fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let turn = usize::try_from(attempt.failures.max(1) - 1).unwrap_or(usize::MAX);
        match attempt.class {
            Class::Throttled => {
                WAITS_S.get(turn).map(|(base, spread)| base * S + attempt.uniform(spread * S))
            }
            Class::Unreachable | Class::OutcomeUnknown if turn == 0 => Some(3 * S),
            _ => None,
        }
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        self.wait(kept, attempt).map_or(self.0.error(), Decision::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::waits_ms;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn four_waits_and_an_error() {
        assert_eq!(waits_ms::<Dps>("{}", 1..=4), [65_000, 130_000, 195_000, 315_000]);
        let mut device = Trial::<Dps>::new("{}").unwrap();
        assert_eq!(device.fail(&Attempt::throttled(5)), Decision::NEVER);
        let lost = |n| Attempt { class: Class::Unreachable, ..Attempt::throttled(n) };
        assert_eq!(device.fail(&lost(1)), Decision::Wait(3 * S));
        assert_eq!(device.fail(&lost(2)), Decision::NEVER);
    }
}
