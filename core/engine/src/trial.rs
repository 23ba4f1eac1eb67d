//! Many runs of one scenario, on either clock: what a comparison and a search for the capacity have in common.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use fleetstorm_model::scenario::Scenario;
use fleetstorm_model::time::Calendar;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::End;

use crate::control::Control;
use crate::simulate::Herd;
use crate::{Plan, Registry, RunError, live, simulate};

/// Which clock drives the runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// Virtual time, as many runs at once as there are cores.
    #[default]
    Virtual,
    /// The wall clock and real sockets, one run after the other, so that they do not disturb each other.
    Wall,
}

/// One run, for its verdict.
pub(crate) fn run(
    scenario: Scenario,
    registry: &Registry,
    timing: Timing,
    control: &Control,
) -> Result<Record, RunError> {
    match timing {
        Timing::Virtual => simulate::run_for_verdict(simulated(scenario, registry)?, &Control::default()),
        Timing::Wall => live(scenario, registry, control),
    }
}

/// One run, and its devices one by one where the clock lets them be kept.
pub(crate) fn run_in_detail(
    scenario: Scenario,
    registry: &Registry,
    timing: Timing,
    control: &Control,
) -> Result<(Record, Option<Herd>), RunError> {
    match timing {
        Timing::Virtual => {
            let (record, herd) =
                simulate::run_in_detail(simulated(scenario, registry)?, &Control::default())?;
            Ok((record, Some(herd)))
        }
        Timing::Wall => Ok((live(scenario, registry, control)?, None)),
    }
}

fn simulated(scenario: Scenario, registry: &Registry) -> Result<Plan, RunError> {
    Plan::new(scenario, registry, Calendar::VIRTUAL)
}

fn live(scenario: Scenario, registry: &Registry, control: &Control) -> Result<Record, RunError> {
    let plan = Plan::new(scenario, registry, live::calendar())?;
    let record = interruptible(control, |own| live::run(plan, live::Machine { shards: None }, own))?;
    match &record.end {
        // What was cut off says nothing about the target, and no other run may follow.
        End::Ceiling { ceiling } => Err(RunError::Ceiling { ceiling: ceiling.clone() }),
        _ => Ok(record),
    }
}

/// Makes a run with a control of its own, since a run that ends pulls its brake, and hands an interruption on to it.
pub(crate) fn interruptible<T>(control: &Control, run: impl FnOnce(&Control) -> T) -> T {
    let own = control.another();
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watched = own.clone();
        scope.spawn(move || {
            while ended.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout) {
                if control.brake.held().is_some() {
                    return watched.interrupt();
                }
            }
        });
        let result = run(&own);
        drop(done);
        result
    })
}

/// Does jobs until they are done or the brake is pulled; results are in the order of the jobs.
pub(crate) fn run_jobs<J: Copy + Sync, R: Send>(
    jobs: &[J],
    timing: Timing,
    control: &Control,
    run: impl Fn(J) -> Result<R, RunError> + Sync,
) -> Result<Vec<Option<R>>, RunError> {
    let results: Mutex<Vec<Option<R>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let worker = || {
        while control.brake.held().is_none() {
            let index = next.fetch_add(1, Relaxed);
            let Some(&job) = jobs.get(index) else { break };
            match run(job) {
                // A run that was interrupted is no result.
                Ok(_) if timing == Timing::Wall && control.brake.held().is_some() => break,
                Ok(result) => {
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                }
                Err(error) => {
                    next.store(jobs.len(), Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    let helpers = match timing {
        Timing::Virtual => crate::audit::cpus().saturating_sub(1),
        Timing::Wall => 0,
    };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(worker);
        }
        worker();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}
