//! Watching and stopping a run from another thread.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::gauges::{Gauges, Snapshot};
use crate::governor::{Allowance, Brake, Halt};

/// Watches and stops a run from another thread. Clones are of the same run; each run needs its own, and those of one command
/// are [made of each other](Control::another).
#[derive(Clone)]
pub struct Control {
    pub(crate) brake: Brake,
    gauges: Arc<OnceLock<Vec<Arc<Gauges>>>>,
    stages: Arc<Mutex<Stages>>,
    /// What the command's runs may send, and have sent, under a consent.
    pub(crate) allowance: Allowance,
}

/// What belongs to a run and ends by itself: the look before it and the one after it.
#[derive(Default)]
struct Stages {
    interrupted: bool,
    brakes: Vec<Brake>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            brake: Brake::new(),
            gauges: Arc::default(),
            stages: Arc::default(),
            allowance: Allowance::new(),
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
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.interrupted = true;
        for brake in stages.brakes.drain(..) {
            brake.pull(Halt::Interrupted);
        }
    }

    /// A control for a part of the run that ends by itself, and at once when the run is interrupted.
    pub(crate) fn stage(&self) -> Self {
        let stage = self.another();
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if stages.interrupted {
            stage.brake.pull(Halt::Interrupted);
        } else {
            stages.brakes.push(stage.brake.clone());
        }
        stage
    }

    /// Whether [`Control::interrupt`] was called before the run had ended by itself.
    pub fn is_interrupted(&self) -> bool {
        self.brake.held() == Some(Halt::Interrupted)
    }

    /// The live numbers; `None` before the first device can boot.
    pub fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot::of(self.gauges.get()?.iter().map(|gauges| &**gauges)))
    }

    /// Makes the numbers of these shards the ones that are watched.
    pub(crate) fn show(&self, gauges: Vec<Arc<Gauges>>) {
        // A control serves one run: a second one would keep showing the first.
        let _ = self.gauges.set(gauges);
    }
}
