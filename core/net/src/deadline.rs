//! A deadline that is moved far more often than it passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// tokio's timer is touched only when it rings: moving the deadline later is a store. A device that sends a thousand
/// requests with a time-out of 30 s arms one timer in 30 s, not a thousand.
#[derive(Default)]
pub struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
}

/// A deadline that is waited for.
pub struct Until<'a> {
    sleep: &'a mut Pin<Box<Sleep>>,
    at: Instant,
}

impl Deadline {
    /// Waits for this instant. A timer that is armed for an earlier one is left armed, and looked at again when it rings.
    pub fn until(&mut self, at: Instant) -> Until<'_> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        Until { sleep, at }
    }
}

impl Until<'_> {
    /// Ready once the instant has come.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            if self.sleep.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at);
        }
    }
}
