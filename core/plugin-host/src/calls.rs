//! Calls of loaded libraries that do not come back.
//!
//! Nothing can take a call back from a thread, so all that can be done is to tell which one it is: whoever watches ends
//! the process and says why. A call costs two stores to memory of its thread.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Looks that a call may last. Counted and not timed, so that a machine that was suspended has not used them up.
const LOOKS_MOST: u32 = 20;

/// How often longer than others a call may take that waits for hardware, beside the event loop.
const PATIENCE: u32 = 12;

static KNOWN: Mutex<Known> = Mutex::new(Known { names: Vec::new(), threads: Vec::new() });

struct Known {
    /// What can be called, and how many looks it may last.
    names: Vec<(String, u32)>,
    threads: Vec<Arc<Thread>>,
}

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one thread does, written by it alone.
#[derive(Default)]
struct Thread {
    /// Odd while a call is under way.
    turn: AtomicU64,
    whose: AtomicU32,
}

impl Thread {
    fn turn(&self) {
        self.turn.store(self.turn.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

thread_local! {
    static HERE: Arc<Thread> = {
        let thread = Arc::<Thread>::default();
        known().threads.push(Arc::clone(&thread));
        thread
    };
}

/// Whose calls are watched; nobody's of a linked library.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched(Option<u32>);

impl Watched {
    /// Watches the calls of this name, which may wait for hardware or not.
    pub(super) fn new(name: String, may_block: bool) -> Self {
        let looks = if may_block { LOOKS_MOST * PATIENCE } else { LOOKS_MOST };
        let mut known = known();
        let at = known.names.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
            known.names.push((name, looks));
            known.names.len() - 1
        });
        Self(u32::try_from(at).ok())
    }

    /// Makes a call.
    #[inline]
    pub(super) fn call<T>(self, call: impl FnOnce() -> T) -> T {
        match self.0 {
            None => call(),
            Some(whose) => {
                // Where a thread ends, its memory is gone, and so is whoever would wait for the call.
                let _ = HERE.try_with(|thread| {
                    thread.whose.store(whose, Ordering::Relaxed);
                    thread.turn();
                });
                let done = call();
                let _ = HERE.try_with(|thread| thread.turn());
                done
            }
        }
    }
}

/// Looks at the calls of loaded libraries from now on, and tells the name of the first that has lasted for `most`.
///
/// # Errors
/// No thread can be started.
pub fn watch_calls(most: Duration, tell: impl FnOnce(String) + Send + 'static) -> std::io::Result<()> {
    let watch = move || {
        let mut seen: Vec<(Arc<Thread>, u64, u32)> = Vec::new();
        loop {
            std::thread::park_timeout(most / LOOKS_MOST);
            if let Some(name) = look(&mut seen) {
                return tell(name);
            }
        }
    };
    std::thread::Builder::new().name("plugin calls".to_owned()).spawn(watch).map(drop)
}

/// The name of a call that has been seen under way too often.
fn look(seen: &mut Vec<(Arc<Thread>, u64, u32)>) -> Option<String> {
    let mut known = known();
    // One count is ours here, one is the thread's own, and one is that of what was seen.
    seen.retain(|(thread, ..)| Arc::strong_count(thread) > 2);
    known.threads.retain(|thread| Arc::strong_count(thread) > 1);
    for thread in &known.threads {
        let turn = thread.turn.load(Ordering::Relaxed);
        let at = seen.iter().position(|(other, ..)| Arc::ptr_eq(other, thread)).unwrap_or_else(|| {
            seen.push((Arc::clone(thread), turn, 0));
            seen.len() - 1
        });
        let (_, before, looks) = &mut seen[at];
        if turn % 2 == 0 || turn != *before {
            (*before, *looks) = (turn, 0);
            continue;
        }
        *looks += 1;
        let name = known.names.get(thread.whose.load(Ordering::Relaxed) as usize);
        if let Some((name, most)) = name
            && *looks >= *most
        {
            return Some(name.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_that_lasts_is_named_and_one_that_comes_back_is_not() {
        let mine = Watched::new("`mine` of test".to_owned(), false);
        let (release, wait) = mpsc::channel::<()>();
        let (entered, has_entered) = mpsc::channel();
        let lasting = std::thread::spawn(move || {
            for _ in 0..3 {
                mine.call(|| ());
            }
            mine.call(|| {
                entered.send(()).unwrap();
                let _ = wait.recv();
            });
        });
        has_entered.recv().unwrap();
        let mut seen = Vec::new();
        let mut looks = 0;
        let name = loop {
            looks += 1;
            if let Some(name) = look(&mut seen) {
                break name;
            }
        };
        assert_eq!((&*name, looks), ("`mine` of test", LOOKS_MOST));
        drop(release);
        lasting.join().unwrap();
        for _ in 0..3 * LOOKS_MOST {
            assert_eq!(look(&mut seen), None);
        }
    }
}
