//! Watching and stopping a run from another thread.

use std::sync::{Arc, OnceLock};

use crate::gauges::{Gauges, Snapshot};
use crate::governor::{Brake, Halt};

/// Watches and stops a run from another thread. Clones are of the same run; each run needs its own.
#[derive(Clone)]
pub struct Control {
    pub(crate) brake: Brake,
    gauges: Arc<OnceLock<Vec<Arc<Gauges>>>>,
}

impl Default for Control {
    fn default() -> Self {
        Self { brake: Brake::new(), gauges: Arc::default() }
    }
}

impl Control {
    /// Stops the run; it ends with a record of what happened until now.
    pub fn interrupt(&self) {
        self.brake.pull(Halt::Interrupted);
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
