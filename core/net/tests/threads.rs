//! Shards that spend from one allowance, in every order in which their threads can meet.
//!
//! loom runs the code of `src/governor.rs` itself: it is compiled here once more, with loom's lock in the place of the
//! standard one. A harness of its own keeps that file's unit tests out, which run without loom.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "a file of the crate is compiled here for the part that threads meet in"
)]

use libtest_mimic::{Arguments, Trial};

#[path = "../src/governor.rs"]
mod governor;

mod clock {
    pub(crate) use fleetstorm_net::clock::Clock;
}

mod sync {
    pub(crate) use loom::sync::Mutex;
}

use clock::Clock;
use fleetstorm_protocol::Operation;
use fleetstorm_units::time::Moment;
use governor::{Allowance, Brake, Ceilings, Halt, Leaving};

fn main() {
    let trial = |name: &str, model: fn()| {
        Trial::test(name, move || {
            loom::model(model);
            Ok(())
        })
    };
    let trials = vec![
        trial("shards_spend_no_more_than_there_is_and_not_less", spend_what_there_is),
        trial("two_shards_are_not_let_in_with_one_place_left", one_place_for_two_devices),
        trial("a_run_that_is_stopped_leaves_the_allowance_whole", stopped_in_the_middle),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn ceilings(devices: u32, registrations: u64) -> Ceilings {
    Ceilings { devices, registrations, rate: "1000/s".parse().expect("a rate") }
}

/// What two shards, each with a device of its own, are permitted of these.
fn permitted(ceilings: &Ceilings, brake: &Brake, each: &'static [Leaving]) -> usize {
    let (allowance, clock) = (Allowance::default(), Clock::start());
    let shards = [0, 1].map(|device| {
        let governor = allowance.governor(Some(ceilings), clock, brake.clone());
        loom::thread::spawn(move || {
            each.iter().filter(|leaving| governor.permit(Moment::START, device, **leaving)).count()
        })
    });
    shards.into_iter().map(|shard| shard.join().expect("a shard")).sum()
}

/// Three of four registrations may leave: exactly three do, and the fourth stops the run.
fn spend_what_there_is() {
    const REGISTER: Leaving = Leaving::Request(Operation::Register);
    let brake = Brake::default();
    assert_eq!(permitted(&ceilings(9, 3), &brake, &[REGISTER, REGISTER]), 3);
    assert_eq!(brake.held(), Some(Halt::Ceiling("max_registrations = 3".to_owned())));
}

/// One device may connect: whichever comes first does, and as often as it likes before the other one stops the run.
fn one_place_for_two_devices() {
    let brake = Brake::default();
    let connected = permitted(&ceilings(1, 9), &brake, &[Leaving::Connection, Leaving::Connection]);
    assert!((1..=2).contains(&connected), "{connected}");
    assert_eq!(brake.held(), Some(Halt::Ceiling("max_devices = 1".to_owned())));
}

/// A run is stopped while its shard spends, and the next one spends too: together they have what there is, and no more.
fn stopped_in_the_middle() {
    const REGISTER: Leaving = Leaving::Request(Operation::Register);
    let (allowance, clock, brake) = (Allowance::default(), Clock::start(), Brake::default());
    let spends = |governor: governor::Governor, stops: Option<Brake>| {
        loom::thread::spawn(move || {
            if let Some(brake) = stops {
                brake.pull(Halt::Interrupted);
            }
            (0..2).filter(|_| governor.permit(Moment::START, 0, REGISTER)).count()
        })
    };
    let stopped = spends(allowance.governor(Some(&ceilings(9, 2)), clock, brake.clone()), None);
    let next = allowance.governor(Some(&ceilings(9, 2)), clock, Brake::default());
    let next = spends(next, Some(brake.clone())).join().expect("a shard");
    assert_eq!(stopped.join().expect("a shard") + next, 2);
    assert_eq!(brake.held(), Some(Halt::Interrupted));
}
