//! Many runs of one scenario, on either clock: what a comparison and a search for the capacity have in common.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use fleetstorm_engine::virtual_time::Herd;
use fleetstorm_engine::{Control, Plan, RunError, virtual_time, wall};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_reports::analysis::Outcome;
use fleetstorm_reports::record::End;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

/// Which clock drives the runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// Virtual time, as many runs at once as there are cores.
    #[default]
    Virtual,
    /// The wall clock and real sockets, one run after the other, so that they do not disturb each other.
    Wall,
}

/// Why a job of a study leaves no result.
#[derive(Debug)]
pub(crate) enum Left {
    /// It cannot be done.
    Error(RunError),
    /// It was ended from outside, and with it the study.
    Stopped(Stop),
}

impl From<RunError> for Left {
    fn from(error: RunError) -> Self {
        match error {
            // What was cut off says nothing about the target, and no other run may follow.
            RunError::Ceiling { ceiling } => Self::Stopped(Stop::Ceiling(ceiling)),
            error => Self::Error(error),
        }
    }
}

/// What ended a study before all of it was done. What it had found until then is its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody.
    Interrupted,
    /// A safety ceiling, as it is written.
    Ceiling(String),
}

impl Stop {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Interrupted => Outcome::Interrupted,
            Self::Ceiling(_) => Outcome::Ceiling,
        }
    }

    /// Why, and what that leaves.
    pub(crate) fn told(&self, left: &str) -> String {
        match self {
            Self::Interrupted => left.to_owned(),
            Self::Ceiling(ceiling) => format!(
                "The consent's ceiling {ceiling} holds for all runs of a command together: ask for more, or for less. {left}"
            ),
        }
    }
}

/// One run, for its verdict.
pub(crate) fn run(
    scenario: Scenario,
    registry: &Registry,
    timing: Timing,
    control: &Control,
) -> Result<Record, Left> {
    let control = &control.stage();
    let record = match timing {
        Timing::Virtual => {
            virtual_time::run_for_verdict(planned(scenario, registry, Calendar::VIRTUAL, control)?, control)?
        }
        Timing::Wall => wall(scenario, registry, control)?,
    };
    whole(record)
}

/// One run, and its devices one by one where the clock lets them be kept.
pub(crate) fn run_in_detail(
    scenario: Scenario,
    registry: &Registry,
    timing: Timing,
    control: &Control,
) -> Result<(Record, Option<Herd>), Left> {
    let control = &control.stage();
    match timing {
        Timing::Virtual => {
            let plan = planned(scenario, registry, Calendar::VIRTUAL, control)?;
            let (record, herd) = virtual_time::run_in_detail(plan, control)?;
            Ok((whole(record)?, Some(herd)))
        }
        Timing::Wall => Ok((whole(wall(scenario, registry, control)?)?, None)),
    }
}

fn wall(scenario: Scenario, registry: &Registry, control: &Control) -> Result<Record, Left> {
    let plan = planned(scenario, registry, wall::calendar(), control)?;
    Ok(wall::run(plan, wall::Machine { shards: None }, control)?)
}

fn planned(
    scenario: Scenario,
    registry: &Registry,
    calendar: Calendar,
    control: &Control,
) -> Result<Plan, Left> {
    let plan = Plan::new(scenario, registry, calendar)?;
    // A plan of a million devices takes its time.
    if control.is_interrupted() { Err(Left::Stopped(Stop::Interrupted)) } else { Ok(plan) }
}

/// A record that says what it was asked: neither cut short, nor of a tool or a plugin that failed.
fn whole(record: Record) -> Result<Record, Left> {
    tracing::debug!(name = record.name, seed = record.seed, verdict = record.verdict.sentence, "a run ended");
    match &record.end {
        End::Interrupted => Err(Left::Stopped(Stop::Interrupted)),
        End::Ceiling { ceiling } => Err(RunError::Ceiling { ceiling: ceiling.clone() }.into()),
        End::Broken { what } => {
            let seed = record.seed;
            Err(RunError::driver(format!("the run with seed {seed} of `{}` broke: {what}", record.name))
                .into())
        }
        _ if record.totals.plugin_faults > 0 => {
            let (seed, why) = (record.seed, &record.verdict.sentence);
            Err(RunError::driver(format!("a plugin failed in the run with seed {seed}: {why}")).into())
        }
        _ => Ok(record),
    }
}

/// What came of jobs, in their order.
pub(crate) struct Done<R> {
    /// Absent for jobs that were not done.
    pub results: Vec<Option<R>>,
    /// What ended the study, if it did not come to its end.
    pub stopped: Option<Stop>,
}

/// Does jobs until they are done or the study is ended from outside, as many at once as the clock lets it.
pub(crate) fn run_jobs<J: Copy + Sync, R: Send>(
    jobs: &[J],
    timing: Timing,
    control: &Control,
    run: impl Fn(J) -> Result<R, Left> + Sync,
) -> Result<Done<R>, RunError> {
    let results: Mutex<Vec<Option<R>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let left: Mutex<Option<Left>> = Mutex::new(None);
    let leave = |why: Left| {
        over.store(true, Relaxed);
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        // An error goes before the interruption that may come of it.
        if left.is_none() || matches!((&*left, &why), (Some(Left::Stopped(_)), Left::Error(_))) {
            *left = Some(why);
        }
    };
    let worker = || {
        while !over.load(Relaxed) {
            if control.is_interrupted() {
                return leave(Left::Stopped(Stop::Interrupted));
            }
            let index = next.fetch_add(1, Relaxed);
            let Some(&job) = jobs.get(index) else { break };
            match run(job) {
                Ok(result) => {
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                    control.tell(|progress| progress.done += 1);
                }
                Err(why) => leave(why),
            }
        }
    };
    let helpers = match timing {
        Timing::Virtual => (fleetstorm_engine::cpus() as usize).min(jobs.len()).saturating_sub(1),
        Timing::Wall => 0,
    };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(worker);
        }
        worker();
    });
    let stopped = match left.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(Left::Error(error)) => return Err(error),
        Some(Left::Stopped(stop)) => Some(stop),
        None => None,
    };
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Done { results, stopped })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_end_with_what_ended_them() {
        let jobs: Vec<u32> = (0..50).collect();
        let control = Control::default();
        let run = |job: u32| match job {
            7 => Err(RunError::Ceiling { ceiling: "max_devices = 7".to_owned() }.into()),
            other => Ok(other),
        };
        let done = run_jobs(&jobs, Timing::Wall, &control, run).unwrap();
        assert_eq!(done.stopped, Some(Stop::Ceiling("max_devices = 7".to_owned())));
        assert_eq!(done.results.iter().flatten().count(), 7);
        assert_eq!(control.progress().unwrap().done, 7);

        let interrupting = |job: u32| {
            if job == 3 {
                control.interrupt();
            }
            Ok(job)
        };
        let done = run_jobs(&jobs, Timing::Wall, &control, interrupting).unwrap();
        assert_eq!((done.stopped, done.results.iter().flatten().count()), (Some(Stop::Interrupted), 4));
        let done = run_jobs(&jobs, Timing::Virtual, &control, Ok).unwrap();
        assert_eq!(done.results.iter().flatten().count(), 0, "it was interrupted before");
    }
}
