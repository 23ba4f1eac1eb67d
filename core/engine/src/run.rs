//! The life of a run, the same on every clock: a look at the steady state, the devices, the end of all faults, the books,
//! the canaries, the record. A [`Driver`] says how time passes and how devices reach the service, and nothing else.

use std::sync::Arc;

use fleetstorm_model::chaos::Timeline;
use fleetstorm_model::service::metrics::Metrics;
use fleetstorm_net::governor::Halt;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{Audit, Clock, Machine, Residue, ServiceLog, Target};
use fleetstorm_scenario::TargetKind;
use fleetstorm_units::time::{Moment, Span};

use crate::chaos::canary::{self, Met};
use crate::chaos::steady;
use crate::control::Control;
use crate::plan::Plan;
use crate::record::{Findings, Recorder};
use crate::{RunError, judge};

/// One of the ways to run a plan.
pub(crate) trait Driver: Sized {
    const CLOCK: Clock;
    type Stage: Stage;

    /// The driver of the look at the steady state: the same clock, without what only the run itself needs.
    fn before_faults(&self) -> Self;

    /// Refuses what it cannot run, before anything is done.
    fn preflight(&self, plan: &Plan) -> Result<(), RunError>;

    /// Makes everything ready but the clock.
    fn open(self, plan: &Plan, control: &Control) -> Result<Self::Stage, RunError>;
}

/// The service of a run, and the devices in front of it.
pub(crate) trait Stage {
    /// Where the service is.
    fn address(&self, plan: &Plan) -> String;

    /// Lets the plan's devices live until the run ends; what is kept of each may be taken out of the plan.
    fn drive(&mut self, plan: &mut Plan, control: &Control) -> Result<Driven, RunError>;

    /// How well the generator did, where it can do badly. Asked for as soon as the run has ended.
    fn audit(&mut self, _: &Plan, _: &Findings) -> Option<(Audit, Machine)> {
        None
    }

    /// What the service has counted in the run, if it is ours.
    fn close_books(&mut self) -> Option<Books>;

    /// What the clock of the run says.
    fn now(&self) -> Moment;

    /// Lets the canaries come to a twin of the service that nothing has happened to; from this moment on, if it shares
    /// the clock of the run.
    fn visit_twin(&mut self, canaries: &Plan, from: Moment, control: &Control) -> Result<Met, RunError>;

    /// Lets the canaries come to the service under the faults of this timeline, from a moment on for so long at most.
    fn visit(
        &mut self,
        canaries: &Plan,
        timeline: Option<&Arc<Timeline>>,
        when: (Moment, Span),
        control: &Control,
    ) -> Result<Met, RunError>;
}

/// What is left of devices that were driven.
pub(crate) struct Driven {
    /// At least one.
    pub(crate) recorders: Vec<Recorder>,
    /// When the run ended.
    pub(crate) now: Moment,
}

/// What a service of ours counted in a run.
pub(crate) struct Books {
    /// On the run's clock.
    pub(crate) metrics: Metrics,
    /// Devices that it holds registrations of.
    pub(crate) registrations: u64,
    pub(crate) log: Option<ServiceLog>,
}

/// Runs a plan; leaves its record, and the stage for a driver that keeps more.
pub(crate) fn run<D: Driver>(
    mut plan: Plan,
    driver: D,
    control: &Control,
) -> Result<(Record, D::Stage), RunError> {
    driver.preflight(&plan)?;
    steady::check(&mut plan, control, |small, control| Ok(run(small, driver.before_faults(), control)?.0))?;
    let mut stage = driver.open(&plan, control)?;
    let driven = stage.drive(&mut plan, control);
    if let Some(timeline) = &plan.chaos {
        timeline.heal();
    }
    let Driven { recorders, now } = driven?;
    let halt = control.brake.held().unwrap_or(Halt::Settled);
    let findings = Findings::of(recorders, now);
    let (audit, machine) = stage.audit(&plan, &findings).unzip();
    let books = stage.close_books();
    let residue = match &plan.canaries {
        Some(canaries) if books.is_some() && canary::may_look(&halt) => {
            canary::or_unknown(residue(canaries, plan.chaos.as_ref(), &mut stage, control))
        }
        _ => None,
    };
    let registrations = books.as_ref().map(|books| books.registrations);
    let (metrics, service_log) = books.map(|books| (books.metrics, books.log)).unwrap_or_default();
    let outcome = judge::Outcome {
        clock: D::CLOCK,
        target: target(&plan, stage.address(&plan)),
        halt,
        now,
        audit,
        machine,
        metrics,
        service_log,
        registrations,
        residue,
    };
    Ok((judge::record(&plan, findings, outcome), stage))
}

fn target(plan: &Plan, address: String) -> Target {
    let kind = match plan.scenario.target.kind {
        TargetKind::Mock => "mock",
        TargetKind::Endpoint => "endpoint",
        TargetKind::Dps => "dps",
    };
    let throttle = &plan.scenario.mock.throttle.profile;
    Target {
        kind: kind.to_owned(),
        address,
        id_scope: plan.id_scope.to_string(),
        throttle: (plan.scenario.target.kind == TargetKind::Mock).then(|| throttle.clone()),
    }
}

/// What the run has left behind at its service, as canaries see it. They come to the twin first, which is a part of the
/// time that the quota needs to come back.
pub(crate) fn residue(
    canaries: &Plan,
    timeline: Option<&Arc<Timeline>>,
    stage: &mut impl Stage,
    control: &Control,
) -> Result<Option<Residue>, RunError> {
    // The run itself has ended by now: an interruption is one of this look.
    let control = control.stage();
    let from = stage.now() + canary::rest(canaries.quota(), canaries.scenario.fleet.devices);
    let before = stage.visit_twin(canaries, from, &control)?;
    let from = from.max(stage.now());
    let after = stage.visit(canaries, timeline, (from, before.limit()), &control)?;
    Ok(before.residue(&after).filter(|_| !control.is_interrupted()))
}
