//! A device's life, line by line.
//!
//! A run in virtual time is a function of its scenario, so the life of any of its devices is told by running it again
//! with an eye on that device. A run by the wall clock leaves a trace of the devices that are watched, if it is asked to.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use fleetstorm_model::device::Observation;
use fleetstorm_model::outcome::Outcome;
use fleetstorm_model::protocol::code;
use fleetstorm_model::time::{Moment, Span};

use crate::control::Control;
use crate::plan::Plan;
use crate::{RunError, simulate, wired};

/// Lines that are kept: a strategy that never waits makes a long life.
const LINES_MAX: usize = 10_000;

/// One thing that a device did or met.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    at: Moment,
    what: String,
}

/// Hears what one device does.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    device: u32,
    lines: Arc<Mutex<Vec<Line>>>,
    /// Stands for whatever can panic while a device is driven.
    #[cfg(test)]
    collapses: bool,
}

impl Listener {
    fn to(device: u32) -> Self {
        Self {
            device,
            lines: Arc::default(),
            #[cfg(test)]
            collapses: false,
        }
    }

    /// Panics at the first thing that the device does.
    #[cfg(test)]
    pub(crate) fn collapsing(device: u32) -> Self {
        Self { collapses: true, ..Self::to(device) }
    }

    /// Whose life it hears.
    pub(crate) const fn device(&self) -> u32 {
        self.device
    }

    pub(crate) fn hear(&self, now: Moment, event: &Observation<'_>) {
        #[cfg(test)]
        assert!(!self.collapses, "the listener collapsed");
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push(Line { at: now, what: told(now, event) });
        }
    }
}

/// Runs a plan of virtual time again, as real bytes or by direct calls, and tells what device number `device` did.
///
/// # Errors
/// As of the run itself.
pub fn tell(plan: Plan, as_wired: bool, device: u32, control: &Control) -> Result<String, RunError> {
    let listener = Listener::to(device);
    let name = plan.scenario.registration_id(device);
    let cohort =
        plan.membership.get(device as usize).and_then(|at| plan.scenario.cohorts.get(usize::from(*at)));
    let cohort = cohort.map(|cohort| cohort.name.clone()).unwrap_or_default();
    let arrival = plan.arrivals.get(device as usize).copied().unwrap_or_default();
    let plan = plan.listening(listener.clone());
    let record = if as_wired { wired::run(plan, control)? } else { simulate::run(plan, control)? };
    let mut out = format!("{name}, cohort {}\n", printable(&cohort));
    let _ = writeln!(out, "{} is given power", at(arrival));
    let lines = listener.lines.lock().unwrap_or_else(PoisonError::into_inner);
    for line in lines.iter() {
        let _ = writeln!(out, "{} {}", at(line.at), printable(&line.what));
    }
    if lines.len() == LINES_MAX {
        let _ = writeln!(out, "... and so on: {LINES_MAX} lines are kept");
    }
    let _ = writeln!(out, "{} the run ends", at(Moment::from_nanos(record.duration_ns)));
    Ok(out)
}

fn at(moment: Moment) -> String {
    format!("{:>12.3} s ", moment.as_secs_f64())
}

/// Names of hubs come from a service, and those of cohorts from a file.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn told(now: Moment, event: &Observation<'_>) -> String {
    match event {
        Observation::Connected { started, fault: None, .. } => format!("connects in {}", now.since(*started)),
        Observation::Connected { started, fault: Some(fault), .. } => {
            format!("cannot connect: {} after {}", fault.name(), now.since(*started))
        }
        Observation::Sent { operation, intended } => {
            let late = now.since(*intended);
            let late = if late > Span::from_millis(1) { format!(", {late} late") } else { String::new() };
            format!("sends {}{late}", operation.name())
        }
        Observation::Ended { operation, started, outcome, .. } => {
            format!("{} ended after {}: {}", operation.name(), now.since(*started), ending(*outcome))
        }
        Observation::BackedOff { wait, retry_after, .. } => {
            let floor = retry_after.map_or(String::new(), |floor| format!(" (Retry-After {floor})"));
            format!("waits {wait}{floor}")
        }
        Observation::TokenRenewed => "renews its token".to_owned(),
        Observation::Assigned { booted, attempts, registration, .. } => format!(
            "has its hub {} after {} and {attempts} attempts",
            registration.assigned_hub.as_deref().unwrap_or("-"),
            now.since(*booted)
        ),
        Observation::Stopped { class, rearm_after, .. } => {
            let again =
                rearm_after.map_or("for good".to_owned(), |wait| format!("and tries again in {wait}"));
            format!("stops because of {class:?} {again}")
        }
    }
}

fn ending(outcome: Outcome) -> String {
    match outcome {
        Outcome::Broke(fault) => fault.name().to_owned(),
        Outcome::Challenged => "401, with a challenge for its TPM".to_owned(),
        Outcome::Answered { status, code } => {
            let title = code::lookup(status.0, code).map_or("", |entry| entry.title);
            if code == 0 { format!("{} {title}", status.0) } else { format!("{} ({code}) {title}", status.0) }
        }
    }
}
