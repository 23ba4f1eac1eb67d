//! What a consent allows, it allows a command and not each of its runs: counted by a mock in another process, and by whoever
//! stands before its door.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleetstorm_reports::record::End;

use crate::harness::{Bench, Ended, Mock};

const FLEET: &str = r#"
    horizon = "20s"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 6
    [[cohort]]
    poll_interval = "100ms"
    [compare]
    strategies = ["immediate", "full-jitter"]
    seeds = 3
"#;

const QUICK: &str = "retry_after_s = 0\nassignment = { kind = \"constant\", delay = \"50ms\" }\n\
                     throttle = { profile = \"unlimited\", polls_per_10s = 0 }\n";

/// The command at the mock, with a consent for this machine that allows so much.
fn consented(
    bench: &Bench,
    mock: &Mock,
    command: &[&str],
    (devices, registrations, rate): (u32, u64, &str),
) -> Ended {
    bench.file("scenario.toml", FLEET);
    let consent = format!(
        "target.consent={{ host = \"127.0.0.1\", max_devices = {devices}, max_registrations = {registrations}, \
         max_rate = \"{rate}\" }}"
    );
    let target = [
        "target.kind=endpoint".to_owned(),
        format!("target.address={}", mock.url()),
        format!("target.ca_file={}", mock.ca()),
        consent,
    ];
    let mut arguments = command.to_vec();
    arguments.extend(target.iter().flat_map(|change| ["--set", change]));
    bench.fleetstorm(&arguments)
}

/// How many registrations and requests came to the mock.
fn came(mock: Mock) -> (u64, u64) {
    let (stopped, _) = mock.interrupt();
    let count = |name: &str| stopped[name].as_u64().unwrap();
    (count("accepted"), count("requests"))
}

#[test]
fn registrations_of_a_comparison_are_counted_together() {
    let (far, bench) = (Bench::new(), Bench::new());
    let mock = Mock::start(&far, QUICK);
    let compare = ["compare", "scenario.toml", "--clock", "wall"];
    let ended = consented(&bench, &mock, &compare, (6, 10, "100000/s"));
    // Two runs of six are one too many, so no seed is whole.
    assert_eq!(ended.code, 15, "{ended:?}");
    let partial = "PARTIAL: ceiling after 1 of at most 6 runs. The consent's ceiling max_registrations = 10";
    assert!(ended.stdout.contains(partial), "{}", ended.stdout);
    assert!(ended.stdout.contains("No seed was done with all strategies"), "{}", ended.stdout);
    // Of those that had left, the end of the run may have cut some off on their way.
    let accepted = came(mock).0;
    assert!((6..=10).contains(&accepted), "{accepted}: {ended:?}");
}

#[test]
fn devices_of_a_search_are_counted_together() {
    let (far, bench) = (Bench::new(), Bench::new());
    let mock = Mock::start(&far, QUICK);
    let capacity =
        ["capacity", "scenario.toml", "--clock", "wall", "--low", "2", "--high", "60", "--repeats", "3"];
    let capacity = [&capacity[..], &["--json", "found.json"]].concat();
    let ended = consented(&bench, &mock, &capacity, (20, 100_000, "100000/s"));
    assert_eq!(ended.code, 15, "{ended:?}");
    let partial = "PARTIAL: ceiling after 3 of at most";
    assert!(ended.stdout.contains(partial) && ended.stdout.contains("max_devices = 20"), "{}", ended.stdout);
    let found: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bench.path("found.json")).unwrap()).unwrap();
    assert_eq!((&found["partial"], &found["holds"]), (&true.into(), &2.0.into()), "{found}");
    assert_eq!(found["conclusion"]["outcome"], "ceiling", "{found}");
    // The lower end of the search, and nothing of a fleet that is too large.
    assert_eq!(came(mock).0, 2 * 3, "{ended:?}");
}

#[test]
fn the_look_before_the_run_spends_from_the_same_consent() {
    let (far, bench) = (Bench::new(), Bench::new());
    let mock = Mock::start(&far, QUICK);
    let steady = "steady_state={ devices = 3, within = \"10s\", expect = [\"assigned == 100%\"] }";
    let run = ["run", "scenario.toml", "--out", "out", "--progress", "none", "--set", steady];
    let ended = consented(&bench, &mock, &run, (6, 5, "100000/s"));
    assert_eq!(ended.code, 15, "{ended:?}");
    assert_eq!(bench.record().end, End::Ceiling { ceiling: "max_registrations = 5".into() });
    assert_eq!(bench.record().totals.registers, 2, "three were spent before the run");
    let accepted = came(mock).0;
    assert!((3..=5).contains(&accepted), "{accepted}");
}

#[test]
fn polls_stand_under_the_rate() {
    let (far, bench) = (Bench::new(), Bench::new());
    let mock = Mock::start(&far, &QUICK.replace("50ms", "10m"));
    let run = ["run", "scenario.toml", "--out", "out", "--progress", "none"];
    let ended = consented(&bench, &mock, &run, (6, 100, "25/h"));
    assert_eq!(ended.code, 15, "{ended:?}");
    assert!(ended.stdout.contains("max_rate = 25/h"), "{}", ended.stdout);
    let (accepted, requests) = came(mock);
    // One of the 25 was the look whether somebody is there; what was on its way at the end may have been cut off.
    assert!(accepted <= 6 && (7..=24).contains(&requests), "{accepted} registrations, {requests} requests");
}

/// Stands before a door and counts who comes.
fn turnstile(door: SocketAddr) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for outer in listener.incoming() {
            let (outer, inner) = (outer.unwrap(), TcpStream::connect(door).unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
            for (from, to) in [(&outer, &inner), (&inner, &outer)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    (port, count)
}

#[test]
fn connections_over_mqtt_and_amqp_stand_under_the_rate() {
    for transport in ["mqtt", "amqp"] {
        let (far, bench) = (Bench::new(), Bench::new());
        let mock = Mock::start(&far, QUICK);
        let (port, count) = turnstile(if transport == "mqtt" { mock.mqtt() } else { mock.amqp() });
        let port = format!("target.{transport}_port={port}");
        let run = ["run", "scenario.toml", "--out", "out", "--progress", "none", "--transport", transport];
        let run = [&run[..], &["--set", "fleet.devices=40", "--set", &port]].concat();
        let ended = consented(&bench, &mock, &run, (40, 1_000, "12/h"));
        assert_eq!(ended.code, 15, "{transport}: {ended:?}");
        assert!(ended.stdout.contains("max_rate = 12/h"), "{}", ended.stdout);
        let (came, requests) = (count.load(Ordering::SeqCst) as u64, came(mock).1);
        assert!(came > 1 && came + requests <= 12, "{transport}: {came} connections, {requests} requests");
    }
}

#[test]
fn what_is_dialled_is_the_target_and_no_proxy() {
    let (far, bench) = (Bench::new(), Bench::new());
    let mock = Mock::start(&far, QUICK);
    let (port, count) = turnstile(mock.address());
    bench.file("scenario.toml", FLEET);
    let mut command = bench.command();
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
        command.env(name, format!("http://127.0.0.1:{port}"));
    }
    let run = ["run", "scenario.toml", "--out", "out", "--target", &mock.url(), "--ca", mock.ca()];
    Ended::of(&command.args(run).output().unwrap()).passed();
    assert_eq!((bench.record().totals.assigned, count.load(Ordering::SeqCst)), (6, 0));
}
