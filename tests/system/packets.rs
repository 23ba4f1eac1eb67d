//! Faults of packets, as far as any kernel goes; `tests/netem` has one that goes all the way.

use fleetstorm_reports::record::FaultStatus;

use crate::harness::Bench;

const FLEET: &str = r#"
    horizon = "1m"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 10
    [[chaos]]
    fault = { kind = "netem.delay", delay = "20ms" }
"#;

#[test]
fn packets_are_told_where_there_are_none() {
    let bench = Bench::new();
    for clock in ["virtual", "wired"] {
        let words = ["netem.delay is done by this machine's kernel", "--clock wall", "net.*"];
        bench.run(FLEET, &["--clock", clock]).refused(14, &words);
    }
    let words = ["netem.delay needs the embedded mock", "take faults of net.*"];
    bench.run(FLEET, &["--target", "https://127.0.0.1:1"]).refused(2, &words);
    assert!(!bench.path("out/run.json").exists());
}

#[test]
fn a_plan_tells_the_share_of_the_packets() {
    let bench = Bench::new();
    bench.file("a.toml", FLEET);
    let ended = bench.fleetstorm(&[
        "chaos",
        "plan",
        "a.toml",
        "--chaos",
        "any @5s..9s 2%/packet -> netem.loss(burst=4)",
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in ["netem.delay", "every packet", "netem.loss", "2 % of the packets"] {
        assert!(ended.stdout.contains(words), "`{words}` is not in {}", ended.stdout);
    }
}

#[test]
fn packets_are_hit_or_it_is_told_what_the_machine_lacks() {
    let bench = Bench::new();
    let ended = bench.run(FLEET, &[]);
    if ended.code == 14 {
        let advice = ["install iproute2", "modprobe sch_netem", "run as root"];
        assert!(advice.iter().any(|words| ended.stderr.contains(words)), "{ended:?}");
        return;
    }
    ended.passed();
    let record = bench.record();
    let [fault] = &record.chaos.faults[..] else { panic!("{:?}", record.chaos) };
    assert!(fault.fired > 100 && fault.status == FaultStatus::Passed, "{fault:?}");
    let fast = record.phases.iter().find(|phase| phase.phase == "tcp").unwrap().service.min_us;
    assert!(fast >= 40_000, "{fast} us for a packet each way");
}
