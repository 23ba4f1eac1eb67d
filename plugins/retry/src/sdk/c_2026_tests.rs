//! The ladders against the values of `strategies` 2.7, and what climbs and resets them.

use fleetstorm_plugin::Given;
use fleetstorm_plugin::testing::Trial;
use proptest::prelude::*;

use super::*;
use crate::MS;
use crate::tests::refusal;

const BARE: &str = r#"{"jitter_pct": 0, "identity_jitter_pct": 0}"#;

fn trial(config: &str) -> Trial<C2026> {
    Trial::new(config).unwrap()
}

fn unreachable() -> Attempt {
    Attempt {
        operation: Operation::Hub,
        class: Class::Unreachable,
        status: 0,
        code: 0,
        ..Attempt::throttled(1)
    }
}

fn refused() -> Attempt {
    Attempt { class: Class::Unauthorized, ..unreachable() }
}

fn let_in() -> Attempt {
    Attempt { class: Class::Other, ..unreachable() }
}

fn at_hub(device: &mut Trial<C2026>, attempt: &Attempt) -> Decision {
    device.fail_at_hub(attempt)
}

fn secs(decision: Decision) -> u64 {
    decision.wait_ns().unwrap_or_else(|| panic!("{decision:?}")) / S
}

/// The least and the most wait of retry `n`, in milliseconds.
fn range(ladder: Ladder, n: u32) -> (u64, u64) {
    let end = |random| ladder.wait(n, &Attempt { random: [random, 0], ..Attempt::throttled(1) }) / MS;
    (end(0), end(u64::MAX))
}

#[test]
fn the_ladders_have_the_numbers_of_the_sdk() {
    let sdk = C2026::new(Config::default()).unwrap();
    let waits: Vec<_> = (1..=8).map(|n| range(sdk.ordinary(), n)).collect();
    let expected = [
        (800, 1_200),
        (1_600, 2_400),
        (3_200, 4_800),
        (6_400, 9_600),
        (12_800, 19_200),
        (25_600, 38_400),
        (48_000, 72_000),
        (48_000, 72_000),
    ];
    assert_eq!(waits, expected);
    let waits: Vec<_> = (1..=5).map(|n| range(sdk.identity(), n)).collect();
    let expected = [
        (225_000, 375_000),
        (450_000, 750_000),
        (900_000, 1_500_000),
        (1_800_000, 3_000_000),
        (2_700_000, 4_500_000),
    ];
    assert_eq!(waits, expected);
    let bare = C2026::new(Config { identity_jitter_pct: 0, ..Config::default() }).unwrap();
    let waits: Vec<_> = (1..=8).map(|n| range(bare.identity(), n).0 / 1_000).collect();
    assert_eq!(waits, [300, 600, 1_200, 2_400, 3_600, 3_600, 3_600, 3_600]);
}

#[test]
fn a_hub_that_cannot_be_reached_is_tried_along_its_ladder() {
    let mut device = trial(BARE);
    let waits: Vec<u64> = (0..8).map(|_| secs(at_hub(&mut device, &unreachable()))).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn jitter_passes_the_cap() {
    let waits: Vec<u64> = (0..10_000u64)
        .map(|device| {
            let random = [device * (u64::MAX / 10_000), 0];
            let attempt = Attempt { random, ..Attempt::throttled(1) };
            C2026::new(Config::default()).unwrap().ordinary().wait(7, &attempt) / MS
        })
        .collect();
    assert!(waits.iter().all(|wait| (48_000..=72_000).contains(wait)));
    let above = waits.iter().filter(|wait| **wait > 60_000).count();
    assert!((4_900..5_100).contains(&above), "half of them: {above}");
}

#[test]
fn what_dps_asks_for_is_a_floor_that_no_cap_cuts() {
    let mut device = trial(BARE);
    let fail = |device: &mut Trial<C2026>, given| device.fail(&Attempt { given, ..Attempt::throttled(1) });
    assert_eq!([1, 2].map(|_| secs(fail(&mut device, Given::Absent))), [1, 2]);
    assert_eq!(fail(&mut device, Given::Seconds(120)), Decision::Restart(120 * S), "at 4 s on the ladder");
    assert_eq!(fail(&mut device, Given::Seconds(3)), Decision::Restart(8 * S), "the ladder goes on");
}

#[test]
fn failed_and_disabled_assignments_and_nonsense_climb_the_ladder_of_dps_for_ever() {
    for class in [Class::AssignmentFailed, Class::Disabled, Class::Protocol, Class::NotFound, Class::Tls] {
        let mut device = trial(BARE);
        let attempt = Attempt { class, status: 200, code: 0, ..Attempt::throttled(1) };
        let waits: Vec<u64> = (0..100).map(|_| secs(device.fail(&attempt))).collect();
        assert_eq!((waits[0], waits[99]), (1, 60), "{class:?}");
    }
}

#[test]
fn the_fiftieth_transient_failure_registers_anew() {
    let mut device = trial("{}");
    device.succeed(&Attempt::throttled(0));
    for n in 1..50 {
        assert!(matches!(at_hub(&mut device, &unreachable()), Decision::UseCachedHub(_)), "{n}");
    }
    let fiftieth = at_hub(&mut device, &unreachable());
    assert_eq!(fiftieth, Decision::Restart(S), "the ladder of DPS begins anew");
    device.succeed(&Attempt::throttled(0));
    assert_eq!(at_hub(&mut device, &unreachable()), Decision::UseCachedHub(S), "and so does the hub's");
    let tls = Attempt { class: Class::Tls, ..unreachable() };
    for n in 2..50 {
        assert!(matches!(at_hub(&mut device, &tls), Decision::UseCachedHub(_)), "{n}");
    }
    assert!(matches!(at_hub(&mut device, &tls), Decision::Restart(_)), "refusals in TLS count");
}

#[test]
fn a_refused_identity_neither_counts_nor_completes_the_fifty_and_sets_them_back() {
    let mut device = trial(BARE);
    for _ in 0..49 {
        at_hub(&mut device, &unreachable());
    }
    assert_eq!(at_hub(&mut device, &refused()), Decision::UseCachedHub(300 * S));
    for n in 0..49 {
        assert!(matches!(at_hub(&mut device, &unreachable()), Decision::UseCachedHub(_)), "{n}");
    }
    assert!(matches!(at_hub(&mut device, &unreachable()), Decision::Restart(_)));
}

#[test]
fn by_default_a_refused_device_stays_with_its_hub() {
    let mut device = trial(BARE);
    let waits: Vec<Decision> = (0..61).map(|_| at_hub(&mut device, &refused())).collect();
    assert!(waits.iter().all(|decision| matches!(decision, Decision::UseCachedHub(_))), "never DPS");
    let first: Vec<u64> = waits.iter().take(5).map(|decision| secs(*decision)).collect();
    assert_eq!(first, [300, 600, 1_200, 2_400, 3_600]);
}

#[test]
fn only_the_hub_resets_the_ladder_of_the_refused() {
    let mut device = trial(BARE);
    assert_eq!([0; 2].map(|_| secs(at_hub(&mut device, &refused()))), [300, 600]);
    at_hub(&mut device, &unreachable());
    device.succeed(&Attempt::throttled(0));
    assert_eq!(secs(at_hub(&mut device, &refused())), 1_200, "neither a transient failure nor DPS does");
    device.succeed(&let_in());
    assert_eq!(secs(at_hub(&mut device, &refused())), 300);
}

#[test]
fn the_hub_does_not_reset_the_ladder_of_dps_and_dps_resets_both() {
    let mut device = trial(BARE);
    assert_eq!([0; 3].map(|_| secs(device.fail(&Attempt::throttled(1)))), [1, 2, 4]);
    assert_eq!([0; 2].map(|_| secs(at_hub(&mut device, &unreachable()))), [1, 2]);
    device.succeed(&let_in());
    assert_eq!(secs(at_hub(&mut device, &unreachable())), 1);
    assert_eq!(secs(device.fail(&Attempt::throttled(1))), 8);
    device.succeed(&Attempt::throttled(0));
    assert_eq!(
        (secs(at_hub(&mut device, &unreachable())), secs(device.fail(&Attempt::throttled(1)))),
        (1, 1)
    );
}

#[test]
fn the_policies_of_a_refused_identity() {
    let mut device = trial(r#"{"identity": "reprovision", "identity_jitter_pct": 0}"#);
    assert_eq!(at_hub(&mut device, &refused()), Decision::Restart(300 * S), "the wait, then DPS");
    let mut device = trial(r#"{"identity": "none"}"#);
    assert_eq!(at_hub(&mut device, &refused()), Decision::NEVER);
    let mut device = trial(r#"{"identity": "none", "restart_ms": 7000}"#);
    assert_eq!(at_hub(&mut device, &refused()), Decision::UseCachedHub(7 * S));
    let zeroed = r#"{"identity": "reprovision", "identity_initial_ms": 0}"#;
    for (random, wait_ms) in [(0, 800), (u64::MAX, 1_200)] {
        let refused = Attempt { random: [random, 0], ..refused() };
        assert_eq!(at_hub(&mut trial(zeroed), &refused), Decision::Restart(wait_ms * MS));
    }
}

#[test]
fn an_episode_of_refusals_can_have_an_end() {
    let config = r#"{"jitter_pct": 0, "identity_jitter_pct": 0, "max_duration_s": 900}"#;
    let at = |secs: u64, attempt: Attempt| Attempt { now_ns: secs * S, ..attempt };
    let mut device = trial(config);
    assert_eq!(at_hub(&mut device, &at(100, refused())), Decision::UseCachedHub(300 * S));
    assert_eq!(at_hub(&mut device, &at(399, unreachable())), Decision::UseCachedHub(S));
    // 400 + 600 s is the end itself, at which nothing starts any more.
    assert_eq!(at_hub(&mut device, &at(400, refused())), Decision::NEVER);
    assert_eq!(
        secs(at_hub(&mut device, &at(2_000, refused()))),
        300,
        "an application that opens it starts over"
    );
    // What DPS asks for is bounded as well.
    let mut device = trial(config);
    at_hub(&mut device, &at(0, refused()));
    let told = Attempt { given: Given::Seconds(600), ..Attempt::throttled(1) };
    assert_eq!(device.fail(&at(299, told)), Decision::Restart(600 * S));
    assert_eq!(device.fail(&at(300, told)), Decision::NEVER);
    // The hub ends the episode.
    let mut device = trial(config);
    at_hub(&mut device, &at(0, refused()));
    device.succeed(&at(300, let_in()));
    assert_eq!(secs(at_hub(&mut device, &at(899, unreachable()))), 1);
}

#[test]
fn a_pass_over_all_credentials_is_one_attempt() {
    let both = |attempt: Attempt, credential| Attempt { credential, credentials: 2, ..attempt };
    let unknown = Attempt { class: Class::Unauthorized, status: 401, code: 401_000, ..Attempt::throttled(1) };
    let mut device = trial(BARE);
    assert_eq!(device.fail(&both(unknown, 0)), Decision::SwitchCredential(0), "the second key, at once");
    assert_eq!(device.fail(&both(unknown, 1)), Decision::SwitchCredential(S), "one step of the ladder");
    assert_eq!(device.fail(&both(unknown, 0)), Decision::SwitchCredential(0));
    assert_eq!(device.fail(&both(unknown, 1)), Decision::SwitchCredential(2 * S));
    let connack = Attempt { status: 0, code: 0, ..unknown };
    assert_eq!(device.fail(&both(connack, 0)), Decision::SwitchCredential(0), "refused at CONNACK");
    // Another code, and another failure, stay with the source.
    let other = Attempt { code: 401_002, ..unknown };
    assert_eq!(device.fail(&both(other, 1)), Decision::Restart(4 * S));
    // The hub: the wait is that of the refused, and the pass goes round.
    assert_eq!(at_hub(&mut device, &both(refused(), 1)), Decision::SwitchCredential(0));
    assert_eq!(at_hub(&mut device, &both(refused(), 0)), Decision::SwitchCredential(300 * S));
    let mut single = trial(r#"{"sources": 1, "jitter_pct": 0}"#);
    assert_eq!(single.fail(&both(unknown, 0)), Decision::Restart(S));
}

#[test]
fn polls_wait_as_long_as_they_are_told() {
    let mut device = trial("{}");
    let assigning = Attempt { class: Class::Other, status: 202, ..Attempt::throttled(0) };
    let told = Attempt { given: Given::Seconds(7), ..assigning };
    assert_eq!(device.answer(&told), Answered::PollAfter(7 * S));
    assert_eq!(device.answer(&assigning), Answered::PollAfter(0), "at once");
    assert_eq!(device.answer(&Attempt { assigned: true, ..assigning }), Answered::AsUsual);
}

#[test]
fn wrong_parameters_are_refused_with_their_name() {
    for (config, word) in [
        (r#"{"initial_ms": 0}"#, "initial_ms"),
        (r#"{"jitter_pct": 101}"#, "jitter_pct"),
        (r#"{"identity_jitter_pct": 101}"#, "identity_jitter_pct"),
        (r#"{"identity": "perhaps"}"#, "identity"),
        (r#"{"cap": 1}"#, "cap"),
    ] {
        let error = refusal::<C2026>(config);
        assert!(error.contains(word), "{config}: {error}");
    }
}

proptest! {
    /// A wait stays within the jitter around its base, for any numbers.
    #[test]
    fn a_ladder_never_wraps(initial in 1u32.., cap: u32, jitter in 0u8..=100, n: u32, random: u64) {
        let attempt = Attempt { random: [random, 0], ..Attempt::throttled(1) };
        let wait = Ladder { initial, cap, jitter }.wait(n, &attempt) / MS;
        let most = u64::from(if cap == 0 { initial } else { cap });
        prop_assert!((1..=most * 2).contains(&wait));
    }

    /// Whatever happens at the hub, a refusal is never the reason to register, and no count passes fifty.
    #[test]
    fn fifty_in_a_row_or_none(kinds in proptest::collection::vec(0u8..4, 0..400)) {
        let mut device = trial("{}");
        let mut row = 0;
        for kind in kinds {
            match kind {
                0 => {
                    prop_assert!(!matches!(at_hub(&mut device, &refused()), Decision::Restart(_)));
                    row = 0;
                }
                1 if row > 40 => {
                    device.succeed(&let_in());
                    row = 0;
                }
                _ => {
                    row += 1;
                    let registers = matches!(at_hub(&mut device, &unreachable()), Decision::Restart(_));
                    prop_assert_eq!(registers, row == 50);
                    row %= 50;
                }
            }
        }
    }
}
