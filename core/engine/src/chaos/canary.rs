//! The residue check: after the last fault has been healed, clean devices must come online as they would at a service that
//! met no fault.
//!
//! A few devices of each cohort that the service knows, with numbers after the fleet's last, register twice: at a twin of
//! the service that nothing has happened to, and at the service of the run once its quota can have come back. Every fault
//! that was not healed can hit them. Whether they do as well is judged by what went wrong rather than by time alone,
//! because a busy machine makes everything slower.

use fleetstorm_model::service::throttle::Model;
use fleetstorm_net::governor::Halt;
use fleetstorm_reports::record::Residue;
use fleetstorm_units::time::{Moment, Span};

use crate::RunError;
use crate::record::Findings;

/// What a machine that plays a fleet may be late by.
const LATE: Span = Span::from_secs(1);

/// Whether a run that ended like this is worth a look: one that somebody stopped is to end now.
pub(crate) const fn may_look(halt: &Halt) -> bool {
    matches!(halt, Halt::Settled | Halt::Horizon | Halt::Guardrail(_))
}

/// How long a service takes until a fleet that it has served no longer shows in its quota: the debt and the queue of the
/// model are paid off, and so many registrations and challenges fit.
pub(crate) fn rest(model: Model, devices: u32) -> Span {
    let wanted = f64::from(2 * devices);
    let seconds = match model {
        Model::Unlimited => 0.0,
        Model::TokenBucket { rate_per_s, .. } | Model::Gcra { rate_per_s, .. } => wanted / rate_per_s,
        Model::Penalising { rate_per_s, burst, .. } => (burst + wanted) / rate_per_s,
        Model::Shaped { rate_per_s, burst, depth } => (burst + depth + wanted) / rate_per_s,
        Model::FixedWindow { window, .. } | Model::SlidingWindow { window, .. } => window.as_secs_f64(),
    };
    // The books of the run are closed by the second.
    Span::from_secs((seconds.clamp(0.0, 3_600.0)).ceil() as u64 + 1)
}

/// What is to be said where a look could not be had; the record of the run is worth more than the look.
pub(crate) fn or_unknown(looked: Result<Option<Residue>, RunError>) -> Option<Residue> {
    let unknown = |error: RunError| Residue { clean: false, unknown: true, note: error.to_string() };
    looked.unwrap_or_else(|error| Some(unknown(error)))
}

/// What canaries met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) devices: u64,
    pub(crate) registered: u64,
    /// Attempts that were throttled or failed.
    pub(crate) wrong: u64,
    /// From their boot until the last one came to rest.
    pub(crate) took: Span,
}

impl Met {
    /// What canaries met that booted at this moment.
    pub(crate) fn of(findings: &Findings, booted: Moment) -> Self {
        Self {
            devices: findings.totals.devices,
            registered: findings.totals.assigned,
            wrong: findings.totals.throttled + findings.totals.failed,
            took: findings.last_settled.since(booted),
        }
    }

    /// How long they may take after the last fault if they took so long at the twin.
    pub(crate) fn limit(&self) -> Span {
        self.took.times(2) + LATE
    }

    /// What is to be said of canaries that met this at the twin, and `after` at the service of the run; nothing where
    /// they can register nowhere.
    pub(crate) fn residue(&self, after: &Self) -> Option<Residue> {
        if self.registered == 0 {
            return None;
        }
        let clean =
            after.registered >= self.registered && after.wrong <= self.wrong && after.took <= self.limit();
        let told = |met: &Self| {
            format!(
                "{} of {} registered in {}, {} attempts wrong",
                met.registered, met.devices, met.took, met.wrong
            )
        };
        let note = format!(
            "clean devices after the last fault: {}; at a service that met no fault: {}",
            told(after),
            told(self)
        );
        Some(Residue { clean, unknown: false, note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_worse_than_at_a_clean_service_is_residue() {
        let took = Span::from_secs(4);
        let before = Met { devices: 3, registered: 3, wrong: 0, took };
        let clean = |after: Met| before.residue(&after).map(|residue| residue.clean);
        assert_eq!(clean(before), Some(true));
        assert_eq!(clean(Met { took: Span::from_secs(9), ..before }), Some(true), "a busy machine");
        assert_eq!(clean(Met { took: Span::from_secs(10), ..before }), Some(false));
        assert_eq!(clean(Met { wrong: 1, ..before }), Some(false));
        assert_eq!(clean(Met { registered: 2, ..before }), Some(false));
        assert_eq!(
            Met { registered: 0, ..before }.residue(&before),
            None,
            "there is nothing to compare with"
        );
    }

    #[test]
    fn a_quota_is_given_the_time_to_come_back() {
        let rate_per_s = 2.0;
        assert_eq!(rest(Model::Unlimited, 3), Span::from_secs(1));
        assert_eq!(rest(Model::TokenBucket { rate_per_s, burst: 99.0 }, 3), Span::from_secs(4));
        assert_eq!(rest(Model::Penalising { rate_per_s, burst: 10.0, rho: 1.0 }, 3), Span::from_secs(9));
        let window = Span::from_secs(60);
        assert_eq!(rest(Model::FixedWindow { limit: 1, window }, 3), Span::from_secs(61));
    }
}
