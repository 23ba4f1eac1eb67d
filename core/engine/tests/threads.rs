//! What the threads of a run share, in every order in which they can meet and with every value that a processor may show them.
//!
//! loom runs the code of these files of `src` itself: they are compiled here once more, with loom's atomics and lock in the
//! place of the standard ones. A harness of its own keeps their unit tests out, which run without loom.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "files of the crate are compiled here for the parts that threads meet in"
)]

use std::sync::Arc;

use fleetstorm_net::governor::{Brake, Halt};
use fleetstorm_protocol::outcome::{Fault, Outcome};
use fleetstorm_units::time::Moment;
use libtest_mimic::{Arguments, Trial};
use loom::thread;

#[path = "../src/control.rs"]
mod control;
#[path = "../src/gauges.rs"]
mod gauges;
#[path = "../src/record/rest.rs"]
mod rest;

mod sync {
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::AtomicU64;
}

use control::Control;
use gauges::{Gauges, Snapshot};
use rest::Rest;

fn main() {
    let trial = |name: &str, model: fn()| {
        Trial::test(name, move || {
            let mut builder = loom::model::Builder::new();
            // A snapshot reads fifty atomics: beyond two interruptions of a thread their orders take minutes.
            builder.preemption_bound = Some(2);
            builder.check(model);
            Ok(())
        })
    };
    let trials = vec![
        trial("the_last_device_at_rest_ends_the_run_and_none_before", last_at_rest),
        trial("a_run_that_is_held_does_not_end", held),
        trial("an_interruption_reaches_a_part_that_begins_meanwhile", interrupted_while_it_begins),
        trial("a_snapshot_shows_nothing_that_did_not_happen", snapshot),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Two shards bring their last device to rest at the same time: one of them ends the run.
fn last_at_rest() {
    let brake = Brake::default();
    let rest = Rest::new(3, brake.clone(), Moment::FAR);
    let shards = [0, 1].map(|_| {
        let rest = rest.clone();
        thread::spawn(move || rest.settled())
    });
    shards.into_iter().for_each(|shard| shard.join().expect("a shard"));
    assert!(brake.held().is_none() && !rest.is_still());
    rest.settled();
    assert!(rest.is_still());
    assert_eq!(brake.held(), Some(Halt::Settled));
}

/// What is held from before the last device rests keeps the run going until it is released.
fn held() {
    let brake = Brake::default();
    let rest = Rest::new(1, brake.clone(), Moment::FAR);
    let held = rest.held();
    let shard = {
        let rest = rest.clone();
        thread::spawn(move || {
            rest.woke();
            rest.settled();
            rest.settled();
        })
    };
    assert!(brake.held().is_none());
    let guard = thread::spawn(move || drop(held));
    shard.join().expect("a shard");
    guard.join().expect("a guard");
    assert_eq!((brake.held(), rest.is_still()), (Some(Halt::Settled), true));
}

/// A study begins a run, and the run a look, while the user interrupts the study.
fn interrupted_while_it_begins() {
    let study = Control::default();
    let worker = {
        let study = study.clone();
        thread::spawn(move || {
            let run = study.stage();
            let look = run.stage();
            (run, look)
        })
    };
    study.interrupt();
    let (run, look) = worker.join().expect("a worker");
    assert!(run.is_interrupted() && look.is_interrupted() && study.is_interrupted());
}

/// A display looks while a shard counts. Both are threads of their own: loom tries no orders around the one that waits.
fn snapshot() {
    const LOST: Outcome = Outcome::Broke(Fault::Lost);
    let gauges = Arc::new(Gauges::default());
    let look = |gauges: &Gauges| Snapshot::of([gauges].into_iter());
    let display = {
        let gauges = Arc::clone(&gauges);
        thread::spawn(move || look(&gauges))
    };
    let shard = {
        let gauges = Arc::clone(&gauges);
        thread::spawn(move || {
            gauges.entered();
            gauges.failed(LOST);
            gauges.assigned(0);
            gauges.settled();
        })
    };
    let seen = display.join().expect("a display");
    shard.join().expect("a shard");
    let end = look(&gauges);
    assert!(seen.in_flight <= 1 && seen.assigned <= 1 && seen.stopped <= 1 && seen.failed <= 1, "{seen:?}");
    assert!(seen.top.iter().flatten().all(|(how, count)| *how == LOST && *count <= 1), "{seen:?}");
    assert_eq!((end.in_flight, end.assigned, end.stopped, end.failed), (0, 1, 0, 1));
    assert_eq!(end.top[0], Some((LOST, 1)));
}
