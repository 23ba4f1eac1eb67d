//! Quotas: what the meters say to a request, and when they tell it to come back.

use fleetstorm_protocol::{Malformed, RetryAfter, code};
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::{Moment, Span};

use super::answer::{Handled, Refusal};
use super::machine::Service;
use super::throttle::{RetryAfterMode, Verdict};

impl Service {
    /// The registration quota: registrations and status lookups count (`dps` 11.1).
    pub(super) fn meter(&mut self, now: Moment, share: f64) -> Result<Span, Refusal> {
        match self.registrations.admit_share(now, share) {
            Verdict::Admit { delay } => Ok(delay),
            Verdict::Reject { until_token } => Err(self.throttled(now, until_token)),
        }
    }

    /// Counts one operation of the service API against its own quota (`dps` 11.1): how long a shaping queue
    /// holds it, or the answer that refuses it.
    ///
    /// # Errors
    /// The quota is used up.
    pub fn admit_operation(&mut self, now: Moment) -> Result<Span, Box<Handled>> {
        self.answers = self.answers.wrapping_add(1);
        self.counters.requests += 1;
        if let Some(code) = self.struck(now) {
            return Err(Box::new(self.refused(now, Refusal::new(code))));
        }
        match self.operations.admit(now) {
            Verdict::Admit { delay } => Ok(delay),
            Verdict::Reject { until_token } => {
                let refusal = self.throttled(now, until_token);
                Err(Box::new(self.refused(now, refusal)))
            }
        }
    }

    pub(super) fn throttled(&mut self, now: Moment, until_token: Span) -> Refusal {
        self.counters.throttled += 1;
        let up = |span: Span| u32::try_from(span.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
        let unix_ns = self.config.calendar.unix_nanos(now);
        let retry_after = match self.config.throttle.retry_after {
            RetryAfterMode::None => RetryAfter::Absent,
            RetryAfterMode::Constant(secs) => RetryAfter::Seconds(secs),
            RetryAfterMode::UntilToken => RetryAfter::Seconds(up(until_token).max(1)),
            RetryAfterMode::UntilMinute => {
                let minute_ns = 60_000_000_000;
                RetryAfter::Seconds(up(Span::from_nanos(minute_ns - unix_ns % minute_ns)).max(1))
            }
            RetryAfterMode::Jittered(from, to) => {
                let draw = self.config.seed.fraction(Purpose::RetryAfter, 0, self.answers);
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
