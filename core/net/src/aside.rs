//! Where attestations work that may wait for hardware: beside a shard's event loop, so that the other devices of the
//! shard are not held up. The live driver only: where time is virtual, nobody is.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

/// How many calls a shard has under way at once. Every device has hardware of its own, and this machine plays all of
/// them: it takes many threads, which sleep most of the time.
const PLACES: usize = 64;

/// Threads that a shard's runtime may have: those places, and some for name resolution.
pub const THREADS_MAX: usize = PLACES + 8;

/// A bounded pool of threads beside a shard. Calls beyond its places wait for one in the order in which they came.
#[derive(Clone)]
pub struct Aside {
    places: Arc<Semaphore>,
}

impl Default for Aside {
    /// A pool with all its places free.
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl Aside {
    /// Runs a call on the pool. One that nobody waits for any longer runs to its end all the same, and holds its place
    /// until then. `None` if it panicked or the runtime is going.
    pub async fn call<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        done.await.ok()
    }

    /// Polls a future on the pool, for work that turns up in the middle of an exchange. When nobody waits for it any
    /// longer it is dropped at its next pause.
    pub async fn drive<F>(&self, future: impl FnOnce() -> F + Send + 'static) -> Option<F::Output>
    where
        F: Future,
        F::Output: Send + 'static,
    {
        let runtime = Handle::try_current().ok()?;
        let (_waiting, gone) = oneshot::channel::<()>();
        self.call(move || {
            let future = future();
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    output = future => Some(output),
                    _ = gone => None,
                }
            })
        })
        .await
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(THREADS_MAX)
            .build()
            .unwrap()
    }

    /// As a token would: it keeps its thread.
    fn wait_for_hardware(ms: u64) {
        std::thread::park_timeout(Duration::from_millis(ms));
    }

    #[test]
    fn the_loop_goes_on_while_calls_wait_and_no_more_than_the_places_are_under_way() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let ticks = runtime().block_on(async {
            let aside = Aside::default();
            let calls = (0..3 * PLACES).map(|_| {
                let (aside, now, most) = (aside.clone(), Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(async move {
                    aside
                        .call(move || {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            wait_for_hardware(30);
                            now.fetch_sub(1, Ordering::SeqCst);
                        })
                        .await
                })
            });
            let calls: Vec<_> = calls.collect();
            let mut ticks = 0;
            while calls.iter().any(|call| !call.is_finished()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
            ticks
        });
        assert!((2..=PLACES).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        assert!(ticks > 10, "{ticks}");
    }

    #[test]
    fn a_call_that_panics_gives_its_place_back() {
        runtime().block_on(async {
            let aside = Aside::default();
            for _ in 0..2 * PLACES {
                assert_eq!(aside.call(|| -> u8 { panic!("as it was told to") }).await, None);
            }
            assert_eq!(aside.call(|| 7).await, Some(7));
        });
    }

    #[test]
    fn a_future_that_nobody_waits_for_ends() {
        runtime().block_on(async {
            let aside = Aside::default();
            let forever = aside.drive(std::future::pending::<()>);
            assert!(tokio::time::timeout(Duration::from_millis(20), forever).await.is_err());
            while aside.places.available_permits() < PLACES {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(aside.drive(|| std::future::ready(5)).await, Some(5));
        });
    }
}
