//! The IoT Identity Service of IoT Edge (version 1.6). Everything here is read, nothing measured.

use fleetstorm_plugin::{Attempt, Class, Decision, Error, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

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

/// `cert-renewal/src/{policy,engine}.rs` (`strategies` 2.13): a certificate is renewed at a share of its life, and if that
/// fails again and again after a share of it. There is no jitter: a fleet whose certificates were issued together renews
/// together, and does so for ever.
///
/// A device of this strategy boots when its certificate is issued, and its first attempt is the first renewal: there, the
/// identity service registers the new certificate with DPS. No failure of a service is fatal to it.
///
/// Not said by this model: what is fatal (a certificate on the device's disk that nobody can read, or that somebody else has
/// changed), after which it never renews again.
pub(crate) struct Renewal {
    first_ns: u64,
    retry_ns: u64,
}

/// When a certificate is renewed.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RenewalConfig {
    /// Life of a certificate in days.
    lifetime_days: u32,
    /// When it is renewed: a share of its life that has passed, such as \"80%\", or a time before its end, such as \"10day\" or
    /// \"90min\".
    threshold: String,
    /// After what a renewal that failed is tried again, in the same words.
    retry: String,
}

impl Default for RenewalConfig {
    fn default() -> Self {
        Self { lifetime_days: 30, threshold: "80%".to_owned(), retry: "4%".to_owned() }
    }
}

/// Longest life of a certificate, in days: a hundred years.
const LIFETIME_MOST: u32 = 36_500;

/// A share of a certificate's life, or a time.
enum Policy {
    Percent(u64),
    Seconds(u64),
}

impl Policy {
    fn read(name: &str, text: &str) -> Result<Self> {
        let units = [("%", 0), ("min", 60), ("day", 86_400)];
        let found = units.iter().find_map(|(unit, secs)| Some((text.strip_suffix(unit)?, *secs)));
        let number = found.and_then(|(number, secs)| Some((number.parse::<u32>().ok()?, secs)));
        match number {
            Some((percent @ 1..=99, 0)) => Ok(Self::Percent(percent.into())),
            Some((count @ 1.., secs)) if secs > 0 => Ok(Self::Seconds(u64::from(count) * secs)),
            _ => Err(Error::new(format!(
                "{name}: `{text}` is neither a share such as \"80%\" (1 to 99) nor a time such as \"10day\" or \"90min\""
            ))),
        }
    }
}

impl RetryStrategy for Renewal {
    const ID: &'static str = "sdk-identity-service-renewal";
    const SUMMARY: &'static str =
        "A model of the IoT Identity Service renewing certificates: at 80 % of their life, no jitter.";
    const MODEL: bool = true;
    type Config = RenewalConfig;
    type Session = ();
    type Shared = ();

    fn new(config: RenewalConfig) -> Result<Self> {
        if !(1..=LIFETIME_MOST).contains(&config.lifetime_days) {
            let days = config.lifetime_days;
            return Err(Error::new(format!("lifetime_days: {days} is not between 1 and {LIFETIME_MOST}")));
        }
        let lifetime = u64::from(config.lifetime_days) * 86_400;
        let first = match Policy::read("threshold", &config.threshold)? {
            Policy::Percent(percent) => lifetime * percent / 100,
            // One that is never further from its end is renewed at once.
            Policy::Seconds(before) => lifetime.saturating_sub(before),
        };
        let retry = match Policy::read("retry", &config.retry)? {
            Policy::Percent(percent) => lifetime * percent / 100,
            Policy::Seconds(secs) => secs,
        };
        Ok(Self { first_ns: first * S, retry_ns: retry * S })
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        Some(self.retry_ns)
    }

    fn on_failure(&self, _: Kept<'_, Self>, _: &Attempt) -> Decision {
        Decision::Restart(self.retry_ns)
    }

    fn before_first_attempt(&self, _: Kept<'_, Self>, _: &Attempt) -> u64 {
        self.first_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{refusal, waits_ms};
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

    #[test]
    fn a_certificate_of_30_days_is_renewed_on_day_24_and_every_28_8_hours_from_there() {
        let mut device = Trial::<Renewal>::new("{}").unwrap();
        assert_eq!(device.boot(&Attempt::throttled(0)), 24 * 86_400 * S);
        let wait = 103_680 * S;
        assert_eq!(wait, 288 * 360 * S, "28.8 h");
        for class in [Class::Throttled, Class::Unreachable, Class::Unauthorized, Class::ClientBug] {
            let attempt = Attempt { class, ..Attempt::throttled(1) };
            assert_eq!(device.fail(&attempt), Decision::Restart(wait), "{class:?}");
        }
        // 24 d + 5 * 28.8 h = 30 d: the first renewal and four retries lie before the end.
        assert_eq!((24 * 24 * 10 + 5 * 288) / 10, 30 * 24);
    }

    #[test]
    fn thresholds_are_shares_or_times() {
        let day = |config: &str| Trial::<Renewal>::new(config).unwrap().boot(&Attempt::throttled(0)) / S;
        assert_eq!(day(r#"{"threshold": "10day"}"#), 20 * 86_400);
        assert_eq!(day(r#"{"threshold": "90min", "lifetime_days": 1}"#), 86_400 - 5_400);
        assert_eq!(day(r#"{"threshold": "40day"}"#), 0, "it is due at once");
        let mut device = Trial::<Renewal>::new(r#"{"retry": "30min"}"#).unwrap();
        assert_eq!(device.fail(&Attempt::throttled(1)), Decision::Restart(1_800 * S));
        for (config, word) in [
            (r#"{"threshold": "100%"}"#, "threshold"),
            (r#"{"threshold": "0%"}"#, "threshold"),
            (r#"{"threshold": "80"}"#, "threshold"),
            (r#"{"retry": "-4%"}"#, "retry"),
            (r#"{"retry": "4hour"}"#, "retry"),
            (r#"{"lifetime_days": 0}"#, "lifetime_days"),
            (r#"{"lifetime_days": 40000}"#, "lifetime_days"),
        ] {
            let error = refusal::<Renewal>(config);
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
