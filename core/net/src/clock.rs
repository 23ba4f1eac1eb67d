//! The clock of a driver, and alarms that ring on time.
//!
//! Both are built on tokio's clock, which is the wall clock in a live run and virtual in a wired one: the code that
//! drives devices cannot tell the difference.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use fleetstorm_units::time::{Moment, Span};
use tokio::time::Instant;

/// Reads the time since the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[allow(clippy::disallowed_methods, reason = "this is where drivers read their clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// A clock that starts `span` later than this one.
    pub fn later(self, span: Span) -> Self {
        Self { start: self.start + span.into() }
    }

    /// The time since the start.
    #[allow(clippy::disallowed_methods, reason = "this is where drivers read their clock")]
    pub fn now(&self) -> Moment {
        Moment::START + Instant::now().saturating_duration_since(self.start).into()
    }

    /// The instant of a moment; some 30 years from the start for moments that never come.
    pub fn instant(&self, moment: Moment) -> Instant {
        const FAR_SECS: u64 = 30 * 365 * 86_400;
        self.start + std::time::Duration::from_nanos(moment.as_nanos().min(FAR_SECS * 1_000_000_000))
    }
}

/// Wakes tasks at moments.
///
/// tokio rounds timers up to the next millisecond, which would make a device late by half a millisecond on average
/// and hide what a generator's lag is for. In a live run on Linux one timer descriptor per shard wakes them within
/// microseconds. Under virtual time tokio's timers are the clock, so they are used.
#[derive(Clone)]
pub struct Alarms {
    precise: Option<Rc<Precise>>,
    clock: Clock,
}

impl Alarms {
    /// Alarms on tokio's own timers.
    pub fn of_tokio(clock: Clock) -> Self {
        Self { precise: None, clock }
    }

    /// Alarms on a timer descriptor; the returned future rings them and must be polled as a task of its own.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    #[cfg(target_os = "linux")]
    pub fn precise(clock: Clock) -> std::io::Result<(Self, impl Future<Output = ()> + 'static)> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let descriptor =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, for owners whose descriptor may change; an OwnedFd's cannot"
        )]
        let descriptor = tokio::io::unix::AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE)?;
        let precise = Rc::new(Precise { descriptor, pending: RefCell::default() });
        Ok((Self { precise: Some(Rc::clone(&precise)), clock }, precise.ring(clock)))
    }

    /// Sleeps until `moment`; returns at once if it has passed.
    pub async fn at(&self, moment: Moment) {
        match &self.precise {
            Some(precise) => Ring { precise, clock: self.clock, at: moment, queued: false }.await,
            None => tokio::time::sleep_until(self.clock.instant(moment)).await,
        }
    }
}

struct Precise {
    descriptor: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
    pending: RefCell<BinaryHeap<Reverse<Sleeper>>>,
}

struct Sleeper {
    at: Moment,
    waker: Waker,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Sleeper {}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Precise {
    /// Wakes sleepers as their moments come, for as long as it is polled.
    async fn ring(self: Rc<Self>, clock: Clock) {
        loop {
            let Ok(mut ready) = self.descriptor.readable().await else { return };
            let mut expirations = [0; 8];
            // Reading resets the timer; that it had nothing to read is no news.
            let _ = rustix::io::read(self.descriptor.get_ref(), &mut expirations);
            ready.clear_ready();
            drop(ready);
            let now = clock.now();
            let mut pending = self.pending.borrow_mut();
            while pending.peek().is_some_and(|Reverse(sleeper)| sleeper.at <= now) {
                if let Some(Reverse(sleeper)) = pending.pop() {
                    sleeper.waker.wake();
                }
            }
            if let Some(Reverse(next)) = pending.peek() {
                self.arm(next.at.since(now));
            }
        }
    }

    fn arm(&self, wait: Span) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        // A timer of zero would be off.
        let wait_ns = wait.as_nanos().max(1);
        let value = Timespec {
            tv_sec: i64::try_from(wait_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (wait_ns % 1_000_000_000) as _,
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::empty(), &spec)
            .expect("the descriptor is a timer and the time is in range");
    }
}

struct Ring<'a> {
    precise: &'a Precise,
    clock: Clock,
    at: Moment,
    queued: bool,
}

impl Future for Ring<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.now();
        if now >= self.at {
            return Poll::Ready(());
        }
        if !self.queued {
            self.queued = true;
            let mut pending = self.precise.pending.borrow_mut();
            let first = pending.peek().is_none_or(|Reverse(sleeper)| self.at < sleeper.at);
            pending.push(Reverse(Sleeper { at: self.at, waker: context.waker().clone() }));
            if first {
                self.precise.arm(self.at.since(now));
            }
        }
        Poll::Pending
    }
}
