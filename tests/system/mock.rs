//! `fleetstorm mock` as a process.

use serde_json::json;

use crate::enrollment_api::{DEVICE, KEY, OWNER};
use crate::harness::{Bench, Mock, Wire};
use crate::mqtt_wire::{MqttWire, Way, connect, publish, subscribe};

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

/// Acceptance row 45: the answer is that to a wrong key, to the word.
#[test]
fn an_address_that_the_filter_refuses_gets_a_401_that_does_not_say_why() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let file = "id_scope = \"0ne00ABCDEF\"\n[[enrollment]]\nregistration_id = \"dev-0001\"\nprimary_key = { file = \"key\" }\n\
                [[access_policy]]\nname = \"provisioningserviceowner\"\nprimary_key = { file = \"key\" }\n[[ip_filter]]\n";
    let register = "/0ne00ABCDEF/registrations/dev-0001/register?api-version=2021-10-01";
    let enrollment = "/enrollments/dev-0001?api-version=2021-10-01";
    let message = |token: &str, mock: &Mock| {
        let answer = Wire::open(mock).ask("PUT", register, Some(token), "{}");
        (answer.status, answer.json()["message"].clone())
    };
    for (rule, refused) in [
        ("action = \"accept\"\nmask = \"10.0.0.0/8\"", true),
        ("action = \"accept\"\nmask = \"127.0.0.1\"", false),
    ] {
        let mock = Mock::start(&bench, &format!("{file}{rule}\n"));
        let told = message(DEVICE, &mock);
        let wrong = message(&DEVICE.replace("Fiyrcr", "Fiyrcs"), &mock);
        assert_eq!((told.0, told == wrong), if refused { (401, true) } else { (202, false) });
        let status = Wire::open(&mock).ask("GET", enrollment, Some(OWNER), "").status;
        assert_eq!(status, if refused { 401 } else { 200 });
        let mut wire = MqttWire::open(&mock, Way::Tls);
        let user = "0ne00ABCDEF/registrations/dev-0001/api-version=2021-10-01";
        wire.send(&connect(true, 0, "dev-0001", user, Some(DEVICE)));
        wire.expect(0x20, &[0, 0]);
        wire.send(&subscribe(1, "$dps/registrations/res/#", 1));
        wire.expect(0x90, &[0, 1, 1]);
        wire.send(&publish(None, "$dps/registrations/PUT/iotdps-register/?$rid=1", "{}"));
        let (topic, _) = wire.answer(0x32);
        assert_eq!(topic.contains("/401/"), refused, "{topic}");
    }
    bench.file("mock.toml", &format!("{file}action = \"accept\"\nmask = \"10.0.0.0/40\"\n"));
    bench
        .fleetstorm(&["mock", "--config", "mock.toml"])
        .refused(2, &["`10.0.0.0/40` covers no addresses", "10.0.0.0/8"]);
}
