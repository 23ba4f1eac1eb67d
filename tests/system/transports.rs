//! The fleet over MQTT and AMQP, each over TLS and over WebSocket: everything that holds over HTTPS.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleetstorm_reports::Record;
use fleetstorm_reports::record::End;

use crate::harness::{Bench, Mock};

const TRANSPORTS: [&str; 4] = ["mqtt", "mqtt-ws", "amqp", "amqp-ws"];

fn scenario(transport: &str) -> String {
    format!(
        r#"
        horizon = "60s"
        objectives = ["assigned == 100% within 30s", "count(401) == 0"]
        [fleet]
        devices = 100
        arrival = {{ kind = "all-at-once", spread = "500ms" }}
        [[cohort]]
        name = "keys"
        share = 0.6
        transport = "{transport}"
        retry = {{ kind = "full-jitter", base_ms = 200, cap_ms = 1000, retry_after = "ignore" }}
        [[cohort]]
        name = "certificates"
        share = 0.4
        transport = "{transport}"
        attestation = "x509"
        retry = {{ kind = "equal-jitter", base_ms = 200, cap_ms = 1000, retry_after = "ignore" }}
        [mock]
        retry_after_s = 1
        [mock.throttle]
        rate = "40/s"
        burst = 20
        [mock.assignment]
        kind = "constant"
        delay = "200ms"
        "#
    )
}

fn count(record: &Record, what: &str) -> u64 {
    let named =
        |code: &&fleetstorm_reports::record::Code| code.fault == what || code.code.to_string() == what;
    record.codes.iter().filter(named).map(|code| code.count).sum()
}

#[test]
fn a_fleet_is_throttled_and_then_gets_its_hubs() {
    for transport in TRANSPORTS {
        let bench = Bench::new();
        bench.run(&scenario("https"), &["--transport", transport]).passed();
        let record = bench.record();
        assert_eq!(record.end, End::Settled);
        assert_eq!((record.totals.assigned, record.totals.stopped), (100, 0), "{transport}");
        assert!(record.totals.throttled > 10, "{transport}: {}", record.totals.throttled);
        assert_eq!(record.totals.registers, 100 + record.totals.throttled);
        assert_eq!(record.totals.connections, 100, "one connection a device");
        let names: Vec<&str> = record.phases.iter().map(|phase| &*phase.phase).collect();
        let greetings =
            if transport.starts_with("mqtt") { ["connack", "subscribe"] } else { ["sasl", "attach"] };
        for phase in
            ["tcp", "tls", "connect", "register", "poll", "time-to-assigned"].iter().chain(&greetings)
        {
            assert!(names.contains(phase), "{phase} is missing in {names:?}");
        }
        assert_eq!(names.contains(&"websocket"), transport.ends_with("-ws"));
    }
}

#[test]
fn a_wired_run_leaves_the_same_bytes_and_the_hubs_of_every_transport_agree() {
    let hubs = ["https", "mqtt", "mqtt-ws", "amqp", "amqp-ws"].map(|transport| {
        let bench = Bench::new();
        let run = || {
            let ended = bench.run(&scenario(transport), &["--clock", "wired", "--seed", "7"]);
            assert_eq!(ended.code, 0, "{ended:?}");
            std::fs::read(bench.path("out/run.json")).unwrap()
        };
        assert!(run() == run(), "{transport}: the same seed gives the same record, byte for byte");
        bench.record().totals.hubs
    });
    assert!(hubs.windows(2).all(|pair| pair[0] == pair[1]), "{hubs:?}");
}

#[test]
fn a_transport_that_there_is_not_is_named_with_those_that_there_are() {
    let bench = Bench::new();
    let ended = bench.run("", &["--transport", "coap"]);
    ended.refused(2, &["--transport", "unknown value `coap`", "amqp-ws"]);
    let ended = bench.run(
        "horizon = \"60s\"\nobjectives = [\"assigned == 100%\"]",
        &["--transport", "amqp", "--clock", "wired"],
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        bench.record().phases.iter().any(|phase| phase.phase == "sasl"),
        "the cohort that goes without saying"
    );
}

#[test]
fn one_service_stands_behind_all_doors() {
    let bench = Bench::new();
    let first = scenario("amqp").replacen("transport = \"amqp\"", "transport = \"mqtt\"", 1);
    for mixed in [first, scenario("https").replacen("transport = \"https\"", "transport = \"mqtt\"", 1)] {
        bench.run(&mixed, &[]).passed();
        let record = bench.record();
        assert_eq!(record.totals.assigned, 100);
        assert!(record.totals.throttled > 10, "the quota is shared: {}", record.totals.throttled);
    }
}

/// Settings that name the ports of a mock's doors.
fn ports(mock: &Mock) -> [String; 2] {
    [format!("target.mqtt_port={}", mock.mqtt().port()), format!("target.amqp_port={}", mock.amqp().port())]
}

#[test]
fn connections_are_used_as_the_cohort_says() {
    let far = Bench::new();
    let mock =
        Mock::start(&far, "retry_after_s = 1\nassignment = { kind = \"constant\", delay = \"200ms\" }");
    for transport in TRANSPORTS {
        for connection in ["per-device", "per-operation", "per-request"] {
            let bench = Bench::new();
            let setting = format!("cohort.0.connection={connection}");
            let [mqtt, amqp] = ports(&mock);
            let more = ["--target", &mock.url(), "--ca", mock.ca(), "--set", &setting];
            let ports = ["--set", &mqtt, "--set", &amqp];
            bench.run(&scenario(transport), &[&more[..], &ports].concat()).passed();
            let record = bench.record();
            let keys = &record.cohorts[0].totals;
            let expected = if connection == "per-request" { keys.requests } else { 60 };
            assert_eq!(
                (keys.connections, record.totals.assigned),
                (expected, 100),
                "{transport} {connection}"
            );
        }
    }
}

#[test]
fn an_unknown_scope_is_treated_as_the_cohort_says() {
    let far = Bench::new();
    let mock = Mock::start(&far, "id_scope = \"0ne00ABCDEF\"");
    for (transport, treatment, connections) in [
        ("mqtt", "park", 100..=100),
        ("mqtt", "retry", 101..=100_000),
        ("amqp", "park", 100..=100),
        ("amqp", "retry", 101..=100_000),
    ] {
        let bench = Bench::new();
        let [mqtt, amqp] = ports(&mock);
        let refusal =
            format!("cohort.0.refusals={{ unavailable = \"{treatment}\", bad_credentials = \"park\" }}");
        let certificates = "cohort.1.refusals={ unavailable = \"park\" }";
        let ended = bench.run(
            &scenario(transport),
            &[
                "--target",
                &mock.url(),
                "--ca",
                mock.ca(),
                "--set",
                &mqtt,
                "--set",
                &amqp,
                "--set",
                &refusal,
                "--set",
                certificates,
                "--set",
                "horizon=8s",
                "--set",
                "objectives=[\"count(unavailable) >= 100\"]",
                "--set",
                "cohort.0.park=1h",
                "--set",
                "fleet.identity_seed=0",
            ],
        );
        ended.passed();
        let record = bench.record();
        assert_eq!((record.totals.assigned, record.totals.requests), (0, 0), "no request left");
        assert!(
            connections.contains(&record.totals.connections),
            "{transport} {treatment}: {}",
            record.totals.connections
        );
        assert_eq!(count(&record, "unavailable"), record.totals.connections);
    }
}

#[test]
fn devices_that_nobody_enrolled_and_devices_whose_clock_is_late_are_refused() {
    for transport in TRANSPORTS {
        let bench = Bench::new();
        let ended = bench.run(
            &scenario(transport),
            &[
                "--clock",
                "wired",
                "--set",
                "cohort.0.clock_offset=-2h",
                "--set",
                "cohort.1.enrolled=false",
                "--set",
                "objectives=[\"stopped == 100%\"]",
            ],
        );
        assert_eq!(ended.code, 0, "{ended:?}");
        let record = bench.record();
        // Each device with a token tries once more with a new one, which is a new connection here.
        assert_eq!(record.cohorts[0].totals.tokens_renewed, 60);
        assert_eq!(record.cohorts[0].totals.connections, 120, "{transport}");
        assert_eq!(count(&record, "401000"), 120);
        assert!(record.totals.assigned == 0 && count(&record, "401002") > 0, "{:?}", record.codes);
    }
}

#[test]
fn long_waits_are_bridged_with_signs_of_life() {
    // The doors cut who is silent for longer than that: nobody has to connect again.
    for (transport, wait, horizon) in [("mqtt", "50", "10m"), ("amqp", "1000", "2h")] {
        let bench = Bench::new();
        let wait = format!("mock.retry_after_s={wait}");
        let horizon = format!("horizon={horizon}");
        let settings = [
            &wait,
            &horizon,
            "cohort.0.keep_alive=10s",
            "cohort.1.keep_alive=0s",
            "cohort.0.idle_close=1h",
            "cohort.1.idle_close=1h",
            "cohort.0.assign_patience=2h",
            "cohort.1.assign_patience=2h",
            "objectives=[\"assigned == 100%\"]",
        ];
        let mut arguments = vec!["--clock", "wired"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let ended = bench.run(&scenario(transport), &arguments);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(bench.record().totals.connections, 100, "{transport}");
    }
}

/// A cable that is cut: connection number n passes `n * step` bytes from the server and then ends, until enough were
/// cut. The first connection is the run's look whether anybody is there.
fn cable(to: std::net::SocketAddr, step: u64, cuts: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let number = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        for device in listener.incoming() {
            let (Ok(mut device), Ok(mut server)) = (device, TcpStream::connect(to)) else { return };
            let (mut up, mut down) = (device.try_clone().unwrap(), server.try_clone().unwrap());
            let number = number.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut up, &mut server);
                let _ = server.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || {
                let mut left = if (1..cuts).contains(&number) { number * step } else { u64::MAX };
                let mut buffer = [0; 2_048];
                while let Ok(read @ 1..) = down.read(&mut buffer) {
                    let pass = (read as u64).min(left);
                    left -= pass;
                    if device.write_all(&buffer[..pass as usize]).is_err() || left == 0 {
                        break;
                    }
                }
                let _ = device.shutdown(Shutdown::Both);
                let _ = down.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

#[test]
fn a_device_that_is_cut_off_at_any_step_comes_back_and_takes_up_its_operation() {
    let far = Bench::new();
    let mock = Mock::start(
        &far,
        "overlap = \"reuse\"\nretry_after_s = 1\nassignment = { kind = \"constant\", delay = \"500ms\" }",
    );
    for transport in TRANSPORTS {
        let bench = Bench::new();
        let door = match transport {
            "mqtt" => mock.mqtt(),
            "amqp" => mock.amqp(),
            _ => mock.address(),
        };
        // From the TLS handshake to the last poll a device receives some 2.5 KB: every step is cut somewhere.
        let port = cable(door, 40, 100);
        let target = format!("https://127.0.0.1:{port}");
        let mqtt_port = format!("target.mqtt_port={port}");
        let amqp_port = format!("target.amqp_port={port}");
        let ended = bench.run(
            &scenario(transport),
            &[
                "--target",
                &target,
                "--ca",
                mock.ca(),
                "--set",
                &mqtt_port,
                "--set",
                &amqp_port,
                "--set",
                "horizon=60s",
                "--set",
                "cohort.0.idle_close=60s",
                "--set",
                "objectives=[\"assigned == 100%\"]",
            ],
        );
        ended.passed();
        let record = bench.record();
        assert_eq!(record.totals.assigned, 100, "{transport}");
        let polls: u64 =
            record.codes.iter().filter(|code| code.operation == "poll").map(|code| code.count).sum();
        assert!(polls >= 100);
        let cut = count(&record, "closed") + count(&record, "lost") + count(&record, "tls-other");
        assert!(cut >= 30, "{transport}: only {cut} of the cuts were felt: {:?}", record.codes);
        assert!(record.totals.connections > 130, "{}", record.totals.connections);
    }
}
