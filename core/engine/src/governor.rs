//! Ceilings below every strategy.
//!
//! A target that is not our own mock is only touched within the bounds that the scenario's consent names. Whatever
//! a plugin decides, nothing leaves the machine past them: the first request that would stops the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fleetstorm_model::protocol::Operation;
use fleetstorm_model::service::throttle::{Meter, Model, Verdict};
use fleetstorm_model::time::Moment;
use tokio::sync::watch;

/// What a consent allows.
#[derive(Clone, Debug)]
pub(crate) struct Ceilings {
    /// Register and lookup requests in all.
    pub(crate) registrations: u64,
    /// Register and lookup requests per second, over the whole run.
    pub(crate) rate_per_s: f64,
    /// How many may come at once.
    pub(crate) burst: f64,
}

/// Why a run is stopped early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Every device is at rest.
    Settled,
    /// A ceiling was reached.
    Ceiling(String),
    /// A guardrail was breached for too long.
    Guardrail(String),
    /// The user asked.
    Interrupted,
    /// The horizon came.
    Horizon,
    /// The tool itself failed: it panicked, and this is what it said.
    Broken(String),
}

impl Halt {
    /// What a panic leaves.
    pub(crate) fn broken(panic: &(dyn std::any::Any + Send)) -> Self {
        let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Broken(said.unwrap_or_else(|| "it did not say why".to_owned()))
    }
}

/// Stops a run from anywhere; the first reason stays.
#[derive(Clone, Debug)]
pub(crate) struct Brake(watch::Sender<Option<Halt>>);

impl Brake {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn pull(&self, halt: Halt) {
        self.0.send_if_modified(|held| {
            let first = held.is_none();
            if first {
                *held = Some(halt);
            }
            first
        });
    }

    pub(crate) fn held(&self) -> Option<Halt> {
        self.0.borrow().clone()
    }

    /// Whether nobody else holds this brake.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.sender_count() == 1
    }

    /// Returns once the brake is pulled.
    pub(crate) async fn pulled(&self) {
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}

/// Counts what leaves this shard against the ceilings of the whole run.
pub(crate) struct Governor {
    limits: Option<Limits>,
    brake: Brake,
}

struct Limits {
    ceilings: Ceilings,
    /// Shared by all shards: with a ceiling there is a real target, and caution beats speed.
    sent: Arc<AtomicU64>,
    /// This shard's share of the rate.
    meter: std::cell::RefCell<Meter>,
}

impl Governor {
    /// Without ceilings everything passes.
    pub(crate) fn new(ceilings: Option<&Ceilings>, sent: &Arc<AtomicU64>, shards: u32, brake: Brake) -> Self {
        let limits = ceilings.map(|ceilings| {
            let share = 1.0 / f64::from(shards.max(1));
            let model = Model::TokenBucket {
                rate_per_s: ceilings.rate_per_s * share,
                burst: (ceilings.burst * share).max(1.0),
            };
            Limits { ceilings: ceilings.clone(), sent: Arc::clone(sent), meter: Meter::new(model).into() }
        });
        Self { limits, brake }
    }

    /// Whether a request may leave. If not, the run is being stopped.
    pub(crate) fn permit(&self, now: Moment, operation: Operation) -> bool {
        let Some(limits) = &self.limits else { return true };
        if self.brake.held().is_some() {
            return false;
        }
        if operation == Operation::Poll {
            return true;
        }
        let reached = if limits.sent.fetch_add(1, Relaxed) >= limits.ceilings.registrations {
            format!("max_registrations = {}", limits.ceilings.registrations)
        } else if matches!(limits.meter.borrow_mut().admit(now), Verdict::Reject { .. }) {
            format!("max_rate = {}/min", (limits.ceilings.rate_per_s * 60.0).round())
        } else {
            return true;
        };
        self.brake.pull(Halt::Ceiling(reached));
        false
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_model::time::Span;

    use super::*;

    fn governor(registrations: u64, rate_per_s: f64, burst: f64) -> (Governor, Brake) {
        let brake = Brake::new();
        let ceilings = Ceilings { registrations, rate_per_s, burst };
        (Governor::new(Some(&ceilings), &Arc::default(), 1, brake.clone()), brake)
    }

    #[test]
    fn the_request_past_the_ceiling_does_not_leave() {
        let (governor, brake) = governor(3, 100.0, 100.0);
        for _ in 0..3 {
            assert!(governor.permit(Moment::START, Operation::Register));
            assert!(governor.permit(Moment::START, Operation::Poll));
        }
        assert!(!governor.permit(Moment::START, Operation::Lookup));
        assert_eq!(brake.held(), Some(Halt::Ceiling("max_registrations = 3".into())));
        assert!(!governor.permit(Moment::START, Operation::Poll), "nothing leaves after the brake");
    }

    #[test]
    fn a_rate_above_the_ceiling_stops_the_run() {
        let (governor, brake) = governor(1_000, 1.0, 2.0);
        let mut now = Moment::START;
        for _ in 0..10 {
            assert!(governor.permit(now, Operation::Register));
            now += Span::from_secs(1);
        }
        assert_eq!(brake.held(), None);
        while governor.permit(now, Operation::Register) {}
        assert_eq!(brake.held(), Some(Halt::Ceiling("max_rate = 60/min".into())));
    }

    #[test]
    fn the_first_reason_stays() {
        let brake = Brake::new();
        brake.pull(Halt::Interrupted);
        brake.pull(Halt::Horizon);
        assert_eq!(brake.held(), Some(Halt::Interrupted));
    }
}
