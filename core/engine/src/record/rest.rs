//! When a run is over: all its shards share one counter, which a device touches when it comes to rest and when it wakes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fleetstorm_net::governor::{Brake, Halt};
use fleetstorm_units::time::Moment;

use crate::sync::AtomicU64;

/// Counts the devices of a run that are not at rest, and ends the run with the last one.
///
/// A device is at rest when it has nothing left to do in this run: it has its hub and does not live on, has given up for
/// good, or sleeps until after the end.
#[derive(Clone)]
pub(crate) struct Rest {
    restless: Arc<AtomicU64>,
    brake: Brake,
    /// When the run ends at the latest.
    pub(super) end: Moment,
}

impl Rest {
    /// A run of `devices`, none of which has booted, that ends at `end` at the latest.
    pub(crate) fn new(devices: u64, brake: Brake, end: Moment) -> Self {
        Self { restless: Arc::new(AtomicU64::new(devices)), brake, end }
    }

    /// Whether every device is at rest.
    pub(crate) fn is_still(&self) -> bool {
        self.restless.load(Relaxed) == 0
    }

    /// Keeps the run from ending although every device is at rest.
    pub(crate) fn hold(&self) {
        self.woke();
    }

    /// Lets it end again.
    pub(crate) fn release(&self) {
        self.settled();
    }

    /// As [`Self::hold`], until what is returned is dropped.
    pub(crate) fn held(&self) -> Held {
        self.hold();
        Held(self.clone())
    }

    /// Ends the run now.
    pub(crate) fn abort(&self, why: Halt) {
        self.brake.pull(why);
    }

    pub(super) fn settled(&self) {
        if self.restless.fetch_sub(1, Relaxed) == 1 {
            self.brake.pull(Halt::Settled);
        }
    }

    pub(super) fn woke(&self) {
        self.restless.fetch_add(1, Relaxed);
    }
}

/// Keeps a run from ending.
pub(crate) struct Held(Rest);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release();
    }
}
