use std::sync::Arc;

use fleetstorm_model::chaos::{PacketCounts, Packets, Timeline};
use fleetstorm_units::time::{Moment, Span};

use crate::Scenario;

fn read(chaos: &str) -> Result<Scenario, String> {
    Scenario::read(&format!("horizon = \"10m\"\n{chaos}"), "t.toml", &[])
        .map_err(|problems| problems.to_string())
}

fn timeline(chaos: &str) -> Arc<Timeline> {
    let scenario = read(chaos).unwrap_or_else(|problems| panic!("{problems}"));
    scenario.timeline(&[0]).unwrap()
}

fn at(millis: u64) -> Moment {
    Moment::START + Span::from_millis(millis)
}

const LOSS: &str = "[[chaos]]\nfault = { kind = \"netem.loss\" }\nprobability = 0.02\nunit = \"packet\"\n";
const DELAY: &str = "[[chaos]]\nfault = { kind = \"netem.delay\", delay = \"50ms\", jitter = \"10ms\" }\n";
const REORDER: &str = "[[chaos]]\nfault = { kind = \"netem.reorder\", delay = \"5ms\" }\nprobability = 0.25\n\
                       unit = \"packet\"\n";

#[test]
fn faults_of_packets_are_one_setting_of_the_kernel() {
    let timeline = timeline(&format!(
        "{LOSS}start = \"10s\"\nduration = \"20s\"\n{DELAY}start = \"20s\"\nduration = \"20s\"\n\
         {REORDER}start = \"25s\"\nduration = \"1s\"\nrepeat = {{ every = \"20s\", times = 2 }}\n"
    ));
    let dials = |millis| {
        let Packets { delay, jitter, lost, burst, overtaking, .. } = timeline.packets(at(millis));
        assert_eq!(burst, None);
        (delay.as_millis(), jitter.as_millis(), lost, overtaking)
    };
    assert_eq!(timeline.packets(at(0)), Packets::default());
    assert_eq!(dials(10_000), (0, 0, 0.02, 0.0));
    assert_eq!(dials(20_000), (50, 10, 0.02, 0.0));
    assert_eq!(dials(25_500), (55, 10, 0.02, 0.25));
    assert_eq!(dials(26_000), (50, 10, 0.02, 0.0));
    assert_eq!(dials(30_000), (50, 10, 0.0, 0.0));
    assert_eq!(dials(45_000), (5, 0, 0.0, 0.25));
    assert_eq!(timeline.packets(at(46_000)), Packets::default());
}

#[test]
fn a_ramp_climbs_in_steps_that_a_kernel_can_be_told() {
    let timeline = timeline(&format!("{DELAY}start = \"10s\"\nramp = {{ up = \"20s\" }}\n"));
    let mut delays: Vec<u64> =
        (0..60_000).step_by(10).map(|millis| timeline.packets(at(millis)).delay.as_micros()).collect();
    assert!(delays.is_sorted());
    delays.dedup();
    assert_eq!(delays, (0..=20).map(|step| step * 2_500).collect::<Vec<_>>());
}

#[test]
fn counts_belong_to_the_faults_that_were_on() {
    let timeline =
        timeline(&format!("{LOSS}duration = \"20s\"\n{DELAY}start = \"20s\"\n{REORDER}start = \"10s\"\n"));
    let counts = PacketCounts { passed: 90, lost: 10, overtook: 30 };
    for now in [5_000, 15_000, 25_000] {
        timeline.count_packets(&timeline.packets(at(now)), at(now + 1_000), counts);
    }
    let tally = |place: usize| {
        let tally = timeline.faults()[place].tally.snapshot();
        (tally.eligible, tally.fired, tally.first.unwrap(), tally.last.unwrap(), tally.devices)
    };
    assert_eq!(tally(0), (200, 20, at(6_000), at(16_000), 0));
    assert_eq!(tally(1), (100, 60, at(26_000), at(26_000), 0));
    assert_eq!(tally(2), (200, 60, at(16_000), at(26_000), 0));
}

/// The chain of Gilbert: in the long run it is in a burst, which loses everything, for this share of the packets.
#[test]
fn bursts_lose_the_share_that_was_asked_for() {
    for (lost, burst) in [(0.02, 1.0), (0.02, 4.0), (0.3, 10.0), (0.5, 1.0)] {
        let packets = Packets { lost, burst: Some(burst), ..Packets::default() };
        let (begins, ends) = packets.bursts().unwrap();
        assert!((begins / (begins + ends) - lost).abs() < 1e-12 && begins <= 1.0);
        assert!((1.0 / ends - burst).abs() < 1e-12);
    }
    assert_eq!(Packets::default().bursts(), None);
}

#[test]
fn what_packets_cannot_do_is_told() {
    let plain = "[[chaos]]\nfault = { kind = \"netem.loss\" }\n";
    let bursts = |probability: f64, burst: f64| {
        format!(
            "[[chaos]]\nfault = {{ kind = \"netem.loss\", burst = {burst:?} }}\nprobability = {probability}\nunit = \"packet\"\n"
        )
    };
    let hook = "[[mock.enrollment]]\nregistration_id = \"a\"\nallocation = \"custom\"\nwebhook_url = \"https://localhost:1\"\n\
                primary_key = { env = \"KEY\" }\n";
    for (text, message) in [
        (plain.to_owned(), "needs the share of the packets"),
        (format!("{plain}probability = 0.1\n"), "add `unit = \"packet\"`"),
        (format!("{plain}probability = 0.1\nunit = \"device\"\n"), "netem.loss does not know devices"),
        (format!("{DELAY}probability = 0.1\nunit = \"packet\"\n"), "every packet is delayed"),
        (DELAY.replace("50ms", "0s"), "a delay of 0"),
        (DELAY.replace("50ms", "61s"), "up to 1m"),
        (DELAY.replace("10ms", "51ms"), "more than the delay"),
        (REORDER.replace("5ms", "0s"), "a delay of 0"),
        (bursts(0.1, 0.5), "a burst of 0.5 packets"),
        (bursts(0.9, 2.0), "in so short bursts"),
        (bursts(1.0, 2.0), "in so short bursts"),
        (format!("{LOSS}select = {{ share = 0.5 }}\n"), "cannot tell devices apart"),
        (format!("{LOSS}applies_to = \"new\"\n"), "does not know connections"),
        (format!("{LOSS}limits = {{ total = 5 }}\n"), "knows no ceilings"),
        (format!("{LOSS}count = {{ per = \"packet\", first = 5 }}\n"), "does not count"),
        (format!("{LOSS}name = \"a\"\n{LOSS}"), "another may be on"),
        (format!("{LOSS}{hook}"), "without the webhook"),
        (
            format!("{LOSS}[target]\nkind = \"endpoint\"\naddress = \"https://127.0.0.1:1\"\n"),
            "netem.loss needs the embedded mock",
        ),
        (
            "[[chaos]]\nfault = { kind = \"net.refused\" }\nprobability = 0.1\nunit = \"packet\"\n"
                .to_owned(),
            "only netem.loss and netem.reorder do",
        ),
    ] {
        let problems = read(&text).expect_err(&text);
        assert!(problems.contains(message), "{text}: {problems}");
    }
}

#[test]
fn one_fault_of_a_kind_may_follow_another() {
    for (first, second, meet) in [
        ("duration = \"10s\"", "start = \"10s\"", false),
        ("duration = \"10s\"", "start = \"9s\"", true),
        ("", "start = \"9s\"", true),
        ("start = \"9s\"", "duration = \"9s\"", false),
        ("duration = \"2s\"\nrepeat = { every = \"5s\", times = 3 }", "start = \"12s\"", false),
        ("duration = \"2s\"\nrepeat = { every = \"5s\", times = 3 }", "start = \"11s\"", true),
        (
            "duration = \"2s\"\nrepeat = { every = \"5s\", times = 3, jitter = \"1s\" }",
            "start = \"12s\"",
            true,
        ),
        ("duration = \"2s\"\nrepeat = { every = \"5s\" }", "start = \"500s\"", true),
        ("start = \"assigned >= 50%\"\nduration = \"2s\"", "start = \"500s\"", true),
    ] {
        let told = read(&format!("{LOSS}{first}\n{LOSS}name = \"second\"\n{second}\n"));
        assert_eq!(told.is_err(), meet, "{first} {second}: {told:?}");
    }
    read(&format!("{LOSS}{DELAY}{REORDER}")).expect("those of different kinds meet");
}
