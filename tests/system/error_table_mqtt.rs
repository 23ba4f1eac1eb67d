//! The rows of the troubleshooting table that exist over MQTT, each by a real cause, over TLS and over WebSocket.
//!
//! 405, 412 and 415 need a method, an ETag or a media type, and a publication has none of them.

use crate::harness::{Bench, Mock, Wire};
use crate::mqtt_wire::{MqttWire, WAYS, Way, connect, publish, subscribe};

/// Bytes 00 to 3F, and a token that is signed with them until 2030.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const TOKEN: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                     &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";

const USER: &str = "0ne00ABCDEF/registrations/dev-0001/api-version=2019-03-31";
const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=a";
const POLL: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=a&operationId=";
const BODY: &str = r#"{"registrationId":"dev-0001"}"#;

fn mock(bench: &Bench, more: &str) -> Mock {
    bench.file("key", KEY);
    let file = "id_scope = \"0ne00ABCDEF\"\nassignment = { kind = \"constant\", delay = \"1h\" }\n\
                [[enrollment]]\nregistration_id = \"dev-0001\"\nprimary_key = { file = \"key\" }\n\
                [[enrollment]]\nregistration_id = \"dev-0002\"\nenabled = false\nprimary_key = { file = \"key\" }\n";
    Mock::start(bench, &format!("{file}{more}"))
}

/// A device that is connected with a token and listens.
fn ready(mock: &Mock, way: Way, id: &str, token: Option<&str>) -> MqttWire {
    let mut wire = MqttWire::open(mock, way);
    wire.send(&connect(true, 60, id, &USER.replace("dev-0001", id), token));
    // What is wrong with a credential is told by the answer and never by the CONNACK.
    wire.expect(0x20, &[0, 0]);
    wire.send(&subscribe(1, "$dps/registrations/res/#", 1));
    wire.expect(0x90, &[0, 1, 1]);
    wire
}

/// Publishes and expects to be refused with a code; returns what follows the request's id in the topic.
#[track_caller]
fn refused(wire: &mut MqttWire, topic: &str, body: &str, code: u32) -> String {
    wire.send(&publish(Some(2), topic, body));
    wire.expect(0x40, &[0, 2]);
    let (topic, body) = wire.answer(0x32);
    assert_eq!(body["errorCode"], code, "{topic} {body}");
    assert!(body["trackingId"].is_string() && body["timestampUtc"].is_string(), "{body}");
    let status = code / 1_000;
    topic
        .strip_prefix(&format!("$dps/registrations/res/{status}/?$rid=a"))
        .unwrap_or_else(|| panic!("{topic}"))
        .to_owned()
}

#[test]
fn row_400_a_body_that_cannot_be_parsed_or_is_for_another_device() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    for way in WAYS {
        let mut wire = ready(&mock, way, "dev-0001", Some(TOKEN));
        refused(&mut wire, REGISTER, "[not json", 400_004);
        refused(&mut wire, REGISTER, r#"{"registrationId":"dev-0002"}"#, 400_004);
    }
}

#[test]
fn row_401_a_token_that_cannot_be_validated() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    let forged = TOKEN.replace("J%2Fiy", "K%2Fiy");
    let expired = TOKEN.replace("1900000000", "1000000000");
    for way in WAYS {
        for token in [Some(&*forged), Some(&*expired), Some("not a token"), None] {
            refused(&mut ready(&mock, way, "dev-0001", token), REGISTER, BODY, 401_000);
        }
        let mut other = ready(&mock, way, "dev-0009", Some(TOKEN));
        refused(&mut other, REGISTER, &BODY.replace("dev-0001", "dev-0009"), 401_000);
    }
}

/// No request provokes these two: the mock is told to be out of order.
#[test]
fn row_403_and_row_500() {
    for (status, code) in [(403, 403_000), (500, 500_001)] {
        let bench = Bench::new();
        let mock = mock(&bench, &format!("[[outage]]\nfor = \"1h\"\nstatus = {status}\n"));
        for way in WAYS {
            refused(&mut ready(&mock, way, "dev-0001", Some(TOKEN)), REGISTER, BODY, code);
        }
    }
}

/// An unknown id scope is refused at CONNECT.
#[test]
fn row_404_an_operation_that_does_not_exist() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    for way in WAYS {
        let mut wire = ready(&mock, way, "dev-0001", Some(TOKEN));
        refused(&mut wire, &format!("{POLL}5.71cf7e385566aa10.4469ed4c"), " ", 404_202);
    }
}

#[test]
fn row_409_a_registration_while_one_is_running() {
    for way in WAYS {
        let bench = Bench::new();
        let mock = mock(&bench, "");
        let mut wire = ready(&mock, way, "dev-0001", Some(TOKEN));
        wire.send(&publish(None, REGISTER, BODY));
        assert!(wire.answer(0x32).0.starts_with("$dps/registrations/res/202/"));
        refused(&mut wire, REGISTER, BODY, 409_203);
    }
}

#[test]
fn row_429_a_quota_that_is_used_up_says_when_to_come_back() {
    let bench = Bench::new();
    let mock = mock(&bench, "[throttle]\nprofile = \"dps-doc\"\nrate = \"6/min\"\nburst = 1\n");
    let mut wire = ready(&mock, Way::Tls, "dev-0001", Some(TOKEN));
    wire.send(&publish(None, REGISTER, BODY));
    assert!(wire.answer(0x32).0.starts_with("$dps/registrations/res/202/"));
    let rest = refused(&mut wire, REGISTER, BODY, 429_001);
    let wait = rest.strip_prefix("&retry-after=").unwrap();
    assert!((9..=10).contains(&wait.parse().unwrap()), "one token in ten seconds: {wait}");
    // One quota, whichever way a device comes.
    let path = "/0ne00ABCDEF/registrations/dev-0001/register?api-version=2019-03-31";
    assert_eq!(Wire::open(&mock).ask("PUT", path, Some(TOKEN), BODY).status, 429);
}

/// A registration that ends badly although no request was refused.
#[test]
fn a_disabled_device_is_told_so_with_an_answer() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    let token = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0002\
                 &sig=lKkBcHBLLRbqUTMRCoA8nIVMowh2VAzavjoNbl%2BJNfI%3D&se=1900000000&skn=registration";
    for way in WAYS {
        let mut wire = ready(&mock, way, "dev-0002", Some(token));
        wire.send(&publish(None, REGISTER, &BODY.replace("0001", "0002")));
        let (topic, answer) = wire.answer(0x32);
        assert_eq!((&*topic, &answer["status"]), ("$dps/registrations/res/200/?$rid=a", &"disabled".into()));
    }
}
