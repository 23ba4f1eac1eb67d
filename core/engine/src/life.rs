//! A device's life, line by line.
//!
//! A run in virtual time is a function of its scenario, so the life of any of its devices is told by running it again
//! with an eye on that device ([`tell`]). A run by the wall clock cannot be had again: it leaves a [`Trace`] of the
//! devices that are watched, if it is asked to, and their lives are told from that ([`tell_trace`]).

mod perfetto;
mod trace;

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError};

use fleetstorm_reports::Record;
use fleetstorm_units::shown::printable;
use fleetstorm_units::time::Moment;

use crate::control::Control;
use crate::event::Event;
use crate::listen::{Ear, LINES_MAX, Listener};
use crate::plan::Plan;
use crate::{RunError, virtual_time, wired};
pub use perfetto::perfetto;
pub use trace::{Trace, TraceError, tell as tell_trace};

/// Runs a plan of virtual time again, as real bytes or by direct calls, and tells what device number `device` did.
///
/// # Errors
/// As of the run itself.
pub fn tell(plan: Plan, as_wired: bool, device: u32, control: &Control) -> Result<String, RunError> {
    let story = Arc::default();
    let listener = Listener { devices: Some([device].into()), ear: Ear::Story(Arc::clone(&story)) };
    let name = plan.scenario.registration_id(device);
    let plan = plan.listening(listener);
    let record = if as_wired { wired::run(plan, control)? } else { virtual_time::run(plan, control)? };
    let story = std::mem::take(&mut *story.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(told(&name, &record, story.iter().map(|line| (line.at, &line.event))))
}

/// Characters of an event that are told: the name of a hub can be of any length.
const TOLD_MAX: usize = 600;

/// A life in lines that a person reads.
fn told<'a>(name: &str, record: &Record, life: impl Iterator<Item = (Moment, &'a Event)>) -> String {
    let mut out = format!("{}\n", printable(name));
    let mut lines = 0;
    for (moment, event) in life {
        lines += 1;
        let told = event.told();
        let shown: String = told.chars().take(TOLD_MAX).collect();
        let rest = if shown.len() < told.len() { "…" } else { "" };
        let _ = writeln!(out, "{} {}{rest}", at(moment), printable(&shown));
    }
    if lines == 0 {
        out.push_str("it was never given power\n");
    }
    if lines >= LINES_MAX {
        let _ = writeln!(out, "... and so on: {LINES_MAX} lines are kept");
    }
    let _ = writeln!(out, "{} the run ends", at(Moment::from_nanos(record.duration_ns)));
    out
}

fn at(moment: Moment) -> String {
    format!("{:>12.3} s ", moment.as_secs_f64())
}
