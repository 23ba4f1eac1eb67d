//! Guardrails: a run that goes too far for too long is aborted.

use std::sync::Arc;

use fleetstorm_net::governor::{Brake, Halt};
use fleetstorm_scenario::{GuardrailFile, Measure};
use fleetstorm_units::time::{Moment, Span};

use crate::gauges::{Gauges, Snapshot};

/// How often a run is looked at.
const SECOND: Span = Span::from_secs(1);

/// The guardrails of a run.
pub(crate) struct Guards {
    rules: Vec<GuardrailFile>,
    /// Since when each has been breached without a pause.
    breached: Vec<Option<Moment>>,
    /// Of all shards.
    gauges: Vec<Arc<Gauges>>,
    last: Snapshot,
    looked: Moment,
}

impl Guards {
    /// `None` where there are none.
    pub(crate) fn new(rules: &[GuardrailFile], gauges: &[Arc<Gauges>]) -> Option<Self> {
        (!rules.is_empty()).then(|| Self {
            rules: rules.to_vec(),
            breached: vec![None; rules.len()],
            gauges: gauges.to_vec(),
            last: Snapshot::default(),
            looked: Moment::START,
        })
    }

    /// When they have to be looked at next.
    pub(crate) fn next(&self) -> Moment {
        self.looked + SECOND
    }

    /// Looks at the counts of a run; pulls its brake if one was breached for too long. Too early a look sees nothing.
    pub(crate) fn look(&mut self, now: Moment, brake: &Brake) {
        if now >= self.next() {
            self.judge(now, Snapshot::of(self.gauges.iter().map(|gauges| &**gauges)), brake);
        }
    }

    fn judge(&mut self, now: Moment, counts: Snapshot, brake: &Brake) {
        let span_s = now.since(self.looked).as_secs_f64();
        let sent = counts.sent.saturating_sub(self.last.sent) as f64;
        let wrong = |counts: &Snapshot| counts.throttled + counts.failed;
        let went_wrong = wrong(&counts).saturating_sub(wrong(&self.last)) as f64;
        for (rule, breached) in self.rules.iter().zip(&mut self.breached) {
            let value = match rule.measure {
                Measure::Requests => counts.sent as f64,
                Measure::RequestsPerSecond => sent / span_s,
                Measure::WrongShare => went_wrong / sent.max(1.0),
            };
            if value <= rule.max {
                *breached = None;
                continue;
            }
            let since = *breached.get_or_insert(self.looked);
            if now.since(since) >= rule.lasting.0 {
                brake.pull(Halt::Guardrail(rule.to_string()));
            }
        }
        (self.last, self.looked) = (counts, now);
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_units::Duration;

    use super::*;

    fn guards(measure: Measure, max: f64, secs: u64) -> Guards {
        Guards::new(&[GuardrailFile { measure, max, lasting: Duration(Span::from_secs(secs)) }], &[]).unwrap()
    }

    /// Looks once a second at these counts of sent and failed; the second in which the brake was pulled.
    fn aborted(mut guards: Guards, counts: &[(u64, u64)]) -> Option<usize> {
        let brake = Brake::default();
        for (second, &(sent, failed)) in counts.iter().enumerate() {
            let now = Moment::START + Span::from_secs(second as u64 + 1);
            guards.judge(now, Snapshot { sent, failed, ..Snapshot::default() }, &brake);
            if brake.held().is_some() {
                return Some(second);
            }
        }
        None
    }

    #[test]
    fn one_bad_second_is_forgiven_and_a_row_of_them_is_not() {
        let counts = [(10, 0), (20, 9), (30, 10), (40, 19), (50, 28), (60, 37), (70, 46)];
        assert_eq!(aborted(guards(Measure::WrongShare, 0.5, 3), &counts), Some(5));
        assert_eq!(aborted(guards(Measure::WrongShare, 0.5, 1), &counts), Some(1));
        assert_eq!(aborted(guards(Measure::WrongShare, 0.95, 1), &counts), None);
    }

    #[test]
    fn totals_and_rates_are_told_apart() {
        let counts = [(10, 0), (30, 0), (31, 0)];
        assert_eq!(aborted(guards(Measure::Requests, 29.0, 1), &counts), Some(1));
        assert_eq!(aborted(guards(Measure::RequestsPerSecond, 15.0, 1), &counts), Some(1));
        assert_eq!(aborted(guards(Measure::RequestsPerSecond, 25.0, 1), &counts), None);
    }
}
