//! Quotas: what the meters say to a request, and when they tell it to come back.

use fleetstorm_protocol::{Malformed, RetryAfter, code};
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Calendar, Moment, Span};

use super::answer::Refusal;
use super::throttle::{Config, Meter, RetryAfterMode};

/// The quotas of an instance while it runs. A device's own limit of polls is kept with its record.
#[derive(Debug)]
pub(super) struct Quotas {
    /// Registrations and status lookups count (`dps` 11.1).
    pub(super) registrations: Meter,
    /// Operations of the service API count.
    pub(super) operations: Meter,
    pub(super) polls: PollLimit,
    retry_after: RetryAfterMode,
    seed: Seed,
    calendar: Calendar,
}

/// How often a device may poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct PollLimit {
    /// `None` for no limit.
    pub(super) polls: Option<u32>,
    pub(super) window: Span,
}

impl Quotas {
    pub(super) fn new(config: &Config, seed: Seed, calendar: Calendar) -> Self {
        Self {
            registrations: Meter::new(config.registrations),
            operations: Meter::new(config.operations),
            polls: PollLimit { polls: config.polls_per_window, window: config.poll_window },
            retry_after: config.retry_after,
            seed,
            calendar,
        }
    }

    /// The refusal of the request of this number, which would be admitted after `until_token`.
    pub(super) fn refusal(&self, now: Moment, until_token: Span, number: u32) -> Refusal {
        let up = |span: Span| u32::try_from(span.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
        let unix_ns = self.calendar.unix_nanos(now);
        let retry_after = match self.retry_after {
            RetryAfterMode::None => RetryAfter::Absent,
            RetryAfterMode::Constant(secs) => RetryAfter::Seconds(secs),
            RetryAfterMode::UntilToken => RetryAfter::Seconds(up(until_token).max(1)),
            RetryAfterMode::UntilMinute => {
                let minute_ns = 60_000_000_000;
                RetryAfter::Seconds(up(Span::from_nanos(minute_ns - unix_ns % minute_ns)).max(1))
            }
            RetryAfterMode::Jittered(from, to) => {
                let draw = self.seed.fraction(Purpose::RetryAfter, 0, number);
                RetryAfter::Seconds(from + (draw * f64::from(to.saturating_sub(from) + 1)) as u32)
            }
            RetryAfterMode::HttpDate => {
                let at = unix_ns.saturating_add(until_token.as_nanos()).div_ceil(1_000_000_000);
                RetryAfter::Date(i64::try_from(at).unwrap_or(i64::MAX))
            }
            RetryAfterMode::Garbage => RetryAfter::Malformed(Malformed::Garbage),
        };
        Refusal { code: code::THROTTLED, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::throttle::{Verdict, profile};

    #[test]
    fn a_refusal_says_when_there_is_a_token_again() {
        let at = |secs| Moment::START + Span::from_secs(secs);
        let mut config = profile("dps-doc").unwrap();
        config.retry_after = RetryAfterMode::UntilToken;
        let mut quotas = Quotas::new(&config, Seed(1), Calendar::VIRTUAL);
        let until_token = loop {
            if let Verdict::Reject { until_token } = quotas.registrations.admit(at(5)) {
                break until_token;
            }
        };
        let RetryAfter::Seconds(wait) = quotas.refusal(at(5), until_token, 1).retry_after else { panic!() };
        assert!(matches!(quotas.registrations.admit(at(5 + u64::from(wait))), Verdict::Admit { .. }));
        assert!(matches!(quotas.operations.admit(at(5)), Verdict::Admit { .. }), "a quota of its own");
    }
}
