//! `fleetstorm mock` as a process.

use serde_json::json;

use crate::harness::{Bench, Mock};

#[test]
fn a_mock_without_a_file_plays_the_documented_demo() {
    let bench = Bench::new();
    let mock = Mock::start(&bench, "");
    assert_eq!(mock.ready["event"], "ready");
    assert_eq!(mock.ready["id_scope"], "0ne00F1EE75");
    assert_eq!(mock.ready["mqtt-ws"], mock.ready["https"], "a WebSocket is an upgrade");
    assert_ne!(mock.mqtt(), mock.address());
    assert!(std::fs::read_to_string(mock.ca()).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let (stopped, code) = mock.interrupt();
    assert_eq!((code, &stopped["requests"]), (130, &serde_json::json!(0)));
}

#[test]
fn an_address_that_is_none_is_named_with_its_door() {
    let bench = Bench::new();
    let ended =
        bench.fleetstorm(&["mock", "--set", "listen.https=127.0.0.1:0", "--set", "listen.mqtt=nonsense"]);
    ended.refused(2, &["listen.mqtt", "nonsense"]);
}

#[test]
fn a_certificate_of_the_users_own_is_served() {
    let bench = Bench::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let params =
        rcgen::CertificateParams::new(vec!["global.azure-devices-provisioning.net".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    bench.file("server.pem", &certificate.pem());
    bench.file("server.key", &key.serialize_pem());
    let mut mock = Mock::start(&bench, "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"");
    assert_eq!(mock.ca(), "");
    mock.ready["ca"] = bench.path("server.pem").to_str().unwrap().into();
    let mut wire = crate::harness::Wire::open(&mock);
    assert_eq!(wire.ask("GET", "/", None, "").status, 404);
}

/// A firmware test wants the next two registrations of its device refused in an exact way, and nobody else's.
#[test]
fn one_device_is_told_to_come_back_twice() {
    let bench = Bench::new();
    let mock = Mock::start(
        &bench,
        "[[chaos]]\nfault = { kind = \"service.throttle\", retry_after = [\"1\"] }\n\
         select = { device = \"DEV-000001\", operation = \"register\" }\ncount = { per = \"device\", first = 2 }\n",
    );
    let scenario =
        "horizon = \"2m\"\nobjectives = [\"assigned == 3\", \"count(429) == 2\"]\n[fleet]\ndevices = 3\n";
    bench.run(scenario, &["--target", &mock.url(), "--ca", mock.ca()]).passed();
    let record = bench.record();
    assert_eq!((record.totals.throttled, record.totals.assigned), (2, 3));
    assert_eq!(record.retry_after.given, 2, "each refusal names its wait");
    let (stopped, _) = mock.interrupt();
    assert_eq!(stopped["requests"], json!(record.totals.requests));
}

#[test]
fn faults_that_a_mock_alone_cannot_make_are_refused() {
    let bench = Bench::new();
    for (line, words) in [
        ("any @0s -> refused", ["net.refused", "happens to devices"]),
        ("any @0s -> equal-seeds", ["fleet.equal-seeds", "happens to devices"]),
        ("register for @0s -> 429", ["--chaos", "a registration id"]),
    ] {
        bench.fleetstorm(&["mock", "--set", "listen.https=127.0.0.1:0", "--chaos", line]).refused(2, &words);
    }
    let file = bench.file(
        "m.toml",
        "[[chaos]]\nfault = { kind = \"service.disabled\" }\nselect = { cohort = \"all\" }\n",
    );
    bench
        .fleetstorm(&["mock", "--config", file.to_str().unwrap()])
        .refused(2, &["m.toml:", "knows no cohorts"]);
}
