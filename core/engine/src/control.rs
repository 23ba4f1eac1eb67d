//! Watching and stopping a run from another thread.

use std::sync::{Arc, OnceLock, PoisonError, Weak};

use fleetstorm_net::governor::{Allowance, Brake, Halt};

use crate::gauges::{Gauges, Snapshot};
use crate::sync::Mutex;

/// Watches and stops a run, or a study of many runs, from another thread. Clones are of the same one; each needs its own,
/// and those of one command are [made of each other](Control::another).
#[derive(Clone, Default)]
pub struct Control {
    pub(crate) brake: Brake,
    gauges: Arc<OnceLock<Vec<Arc<Gauges>>>>,
    stages: Arc<Mutex<Stages>>,
    progress: Arc<Mutex<Option<Progress>>>,
    /// What the command's runs may send, and have sent, under a consent.
    pub(crate) allowance: Allowance,
}

/// How far a study is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Runs that were made.
    pub done: u64,
    /// Runs that it takes at most.
    pub of: u64,
    /// What is known so far, in words; empty for nothing.
    pub known: String,
}

/// What belongs to a run and ends by itself: the looks before and after it; the runs of a study.
#[derive(Default)]
struct Stages {
    interrupted: bool,
    parts: Vec<(Brake, Weak<Mutex<Stages>>)>,
}

impl Stages {
    fn interrupt(stages: &Mutex<Self>) {
        let mut stages = stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.interrupted = true;
        for (brake, parts) in stages.parts.drain(..) {
            brake.pull(Halt::Interrupted);
            if let Some(parts) = parts.upgrade() {
                Self::interrupt(&parts);
            }
        }
    }
}

impl Control {
    /// A control for another run of the same command: what a consent allows, it allows all of them together.
    pub fn another(&self) -> Self {
        Self { allowance: self.allowance.clone(), ..Self::default() }
    }

    /// Stops the run; it ends with a record of what happened until now.
    pub fn interrupt(&self) {
        self.brake.pull(Halt::Interrupted);
        Stages::interrupt(&self.stages);
    }

    /// A control for a part of the run that ends by itself, and at once when the run is interrupted.
    pub fn stage(&self) -> Self {
        let stage = self.another();
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if stages.interrupted {
            stage.interrupt();
        } else {
            // A study has thousands of parts; those that nobody holds any more are over.
            stages.parts.retain(|(brake, _)| !brake.is_alone());
            stages.parts.push((stage.brake.clone(), Arc::downgrade(&stage.stages)));
        }
        stage
    }

    /// How far a study is; `None` for a run, and before a study has begun.
    pub fn progress(&self) -> Option<Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is told of a study.
    pub fn tell(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        change(progress.get_or_insert_default());
    }

    /// Whether [`Control::interrupt`] was called before the run had ended by itself.
    pub fn is_interrupted(&self) -> bool {
        self.brake.held() == Some(Halt::Interrupted)
    }

    /// The live numbers; `None` before the first device can boot.
    pub fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot::of(self.gauges.get()?.iter().map(|gauges| &**gauges)))
    }

    /// Makes gauges for so many shards, and their numbers the ones that are watched.
    pub(crate) fn show(&self, shards: u32) -> Vec<Arc<Gauges>> {
        let gauges: Vec<Arc<Gauges>> = (0..shards).map(|_| Arc::default()).collect();
        // A control serves one run: a second one would keep showing the first.
        let _ = self.gauges.set(gauges.clone());
        gauges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_reaches_the_parts_of_parts_and_those_that_are_over_are_forgotten() {
        let study = Control::default();
        for _ in 0..100 {
            drop(study.stage());
        }
        let run = study.stage();
        let look = run.stage();
        // Whoever only holds the brake of a part is still a part of it.
        let brake = study.stage().brake;
        assert_eq!(study.stages.lock().unwrap().parts.len(), 2);
        study.interrupt();
        assert!(run.is_interrupted() && look.is_interrupted());
        assert_eq!(brake.held(), Some(Halt::Interrupted));
        assert!(study.stage().stage().is_interrupted(), "what begins later does not begin");
    }

    #[test]
    fn a_part_that_ended_by_itself_stays_ended_so() {
        let study = Control::default();
        let run = study.stage();
        run.brake.pull(Halt::Settled);
        study.interrupt();
        assert_eq!(run.brake.held(), Some(Halt::Settled));
    }
}
