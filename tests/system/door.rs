//! The HTTPS door, byte for byte: what real clients send, what they expect, and what hostile ones try.

use std::time::Duration;

use crate::harness::{Bench, Mock, Response, Wire};

/// The vectors of the protocol reference: bytes 00 to 3F as a key, scope `0ne00ABCDEF`, device `dev-0001`.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";

const FILE: &str = r#"
    id_scope = "0ne00ABCDEF"
    hub = [{ host = "hub-1.azure-devices.net" }]
    [[enrollment]]
    registration_id = "dev-0001"
    primary_key = { file = "key" }
    [[enrollment]]
    registration_id = "dev-0002"
    enabled = false
    primary_key = { file = "key" }
    [assignment]
    kind = "constant"
    delay = "300ms"
"#;

fn token(resource: &str, signature: &str) -> String {
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se=1900000000&skn=registration")
}

fn genuine() -> String {
    token("0ne00ABCDEF%2Fregistrations%2Fdev-0001", "J/iyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE=")
}

fn mock(bench: &Bench) -> Mock {
    bench.file("key", KEY);
    Mock::start(bench, FILE)
}

const REGISTER: &str = "/0ne00ABCDEF/registrations/dev-0001/register?api-version=2019-03-31";
const BODY: &str = r#"{"registrationId":"dev-0001"}"#;

#[track_caller]
fn is_error(response: &Response, status: u16, code: u32) {
    assert_eq!(response.status, status, "{response:?}");
    let body = response.json();
    assert_eq!(body["errorCode"], code);
    assert_eq!(body["trackingId"].as_str().unwrap().len(), 36);
    assert!(body["timestampUtc"].as_str().unwrap().ends_with('Z'));
    assert!(body["message"].is_string());
    assert_eq!(response.header("x-ms-request-id"), body["trackingId"].as_str());
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
}

#[test]
fn a_registration_reads_as_the_real_one() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let mut wire = Wire::open(&mock);

    let accepted = wire.ask("PUT", REGISTER, Some(&genuine()), BODY);
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.header("retry-after"), Some("3"));
    assert_eq!(accepted.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(
        accepted.header("location"),
        Some("https://global.azure-devices-provisioning.net/0ne00ABCDEF/registrations/dev-0001/register")
    );
    assert!(accepted.header("x-ms-request-id").is_some(), "every answer has one: {accepted:?}");
    let body = accepted.json();
    assert_eq!((&body["status"], body.as_object().unwrap().len()), (&"assigning".into(), 2));
    let operation = body["operationId"].as_str().unwrap().to_owned();
    assert_eq!(operation.len(), 55, "4 or 5, a stamp and a GUID: {operation}");

    let poll = format!("/0ne00ABCDEF/registrations/dev-0001/operations/{operation}?api-version=2019-03-31");
    // Node sends a body with its GET.
    let assigning = wire.ask("GET", &poll, Some(&genuine()), "{}");
    assert_eq!((assigning.status, assigning.header("retry-after")), (202, Some("3")));
    assert_eq!(assigning.json()["registrationState"]["registrationId"], "dev-0001");

    std::thread::park_timeout(Duration::from_millis(500));
    let assigned = wire.ask("GET", &poll, Some(&genuine()), "");
    assert_eq!((assigned.status, assigned.header("retry-after")), (200, None));
    let body = assigned.json();
    assert_eq!((&body["status"], &body["operationId"]), (&"assigned".into(), &operation.into()));
    let state = &body["registrationState"];
    assert_eq!(state["assignedHub"], "hub-1.azure-devices.net");
    assert_eq!((&state["deviceId"], &state["registrationId"]), (&"dev-0001".into(), &"dev-0001".into()));
    assert_eq!(
        (&state["substatus"], &state["symmetricKey"]),
        (&"initialAssignment".into(), &serde_json::json!({}))
    );
    assert!(state["etag"].is_string() && state["createdDateTimeUtc"].is_string());

    let lookup = "/0ne00ABCDEF/registrations/dev-0001?api-version=2019-03-31";
    let known = wire.ask("POST", lookup, Some(&genuine()), BODY);
    assert_eq!((known.status, &known.json()["assignedHub"]), (200, &"hub-1.azure-devices.net".into()));
}

#[test]
fn every_spelling_of_a_token_is_verified_over_its_own_text() {
    let bench = Bench::new();
    let mock = mock(&bench);
    for (resource, signature) in [
        ("0ne00ABCDEF%2Fregistrations%2Fdev-0001", "J/iyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE="),
        ("0ne00ABCDEF%2fregistrations%2fdev-0001", "TXPORMfyPYh171BmtjzcfUDGk5TOp1XYPTSy0P/puXk="),
        ("0ne00ABCDEF/registrations/dev-0001", "5ox+TTabRxk1KVdE/JiWhQB/89mEr186fqSqEllE7cU="),
        ("0ne00abcdef%2fregistrations%2fdev-0001", "MjUGJBx8+71aAIh2n3WFiOrFL2N4aI5xryMDkfXdbkA="),
    ] {
        let status = |signature: &str| {
            Wire::open(&mock).ask("PUT", REGISTER, Some(&token(resource, signature)), BODY).status
        };
        // A registration of the same device may still be running: that is no question of the token.
        assert!([202, 409].contains(&status(signature)), "{resource}");
        let forged =
            signature.replacen(&signature[..1], if signature.starts_with('A') { "B" } else { "A" }, 1);
        assert_eq!(status(&forged), 401, "{resource}");
    }
}

#[test]
fn mistakes_are_answered_with_their_code() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let token = genuine();
    let ask = |method: &str, target: &str, token: Option<&str>, body: &str| {
        Wire::open(&mock).ask(method, target, token, body)
    };
    let scope = "/0ne00ABCDEF/registrations/dev-0001";
    is_error(&ask("PUT", REGISTER, None, BODY), 401, 401_000);
    is_error(&ask("PUT", REGISTER, Some("Bearer x"), BODY), 401, 401_000);
    is_error(&ask("PUT", REGISTER, Some(&token), "{"), 400, 400_004);
    is_error(&ask("PUT", REGISTER, Some(&token), r#"{"registrationId":"other"}"#), 400, 400_004);
    is_error(&ask("PUT", &format!("{scope}/register"), Some(&token), BODY), 400, 400_000);
    is_error(
        &ask("PUT", &format!("{scope}/register?api-version=1999-01-01"), Some(&token), BODY),
        400,
        400_000,
    );
    is_error(&ask("POST", REGISTER, Some(&token), BODY), 405, 405_000);
    is_error(&ask("PUT", &REGISTER.replace("0ne00ABCDEF", "0ne00000000"), Some(&token), BODY), 404, 404_000);
    is_error(&ask("GET", "/", None, ""), 404, 404_000);
    let unknown = format!("{scope}/operations/5.71cf7e385566aa10.4469ed4c-dc19-4af8-8b36-9ef6396ac1b3");
    is_error(&ask("GET", &format!("{unknown}?api-version=2019-03-31"), Some(&token), ""), 404, 404_202);
    let huge = format!(r#"{{"registrationId":"dev-0001","payload":"{}"}}"#, "x".repeat(100_000));
    is_error(&ask("PUT", REGISTER, Some(&token), &huge), 400, 400_004);

    let mut wire = Wire::open(&mock);
    wire.send(
        format!("PUT {REGISTER} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}")
            .as_bytes(),
    );
    is_error(&wire.response(), 415, 415_000);

    let disabled = REGISTER.replace("dev-0001", "dev-0002");
    let other = self::token("0ne00ABCDEF%2Fregistrations%2Fdev-0002", "AAAA");
    is_error(&ask("PUT", &disabled, Some(&other), r#"{"registrationId":"dev-0002"}"#), 401, 401_000);
}

#[test]
fn a_quota_that_is_used_up_says_when_to_come_back() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let mock = Mock::start(
        &bench,
        &format!("{FILE}\n[throttle]\nprofile = \"dps-doc\"\nrate = \"6/min\"\nburst = 1\n"),
    );
    let mut wire = Wire::open(&mock);
    assert_eq!(wire.ask("PUT", REGISTER, Some(&genuine()), BODY).status, 202);
    let refused = wire.ask("PUT", REGISTER, Some(&genuine()), BODY);
    is_error(&refused, 429, 429_001);
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((9..=10).contains(&wait), "one token in ten seconds: {wait}");
}

#[test]
fn odd_but_legal_requests_are_served() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let token = genuine();
    // As azure-iot-sdk-c spells its headers, in mixed case and with a chunked body.
    let mut wire = Wire::open(&mock);
    wire.send(
        format!(
            "PUT {} HTTP/1.1\r\nhOsT: x\r\nUserAgent: prov_device_client/1.0\r\nAUTHORIZATION: {token}\r\n\
             Content-Encoding: utf-8\r\ncontent-TYPE: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\n{{\"reg\r\n18\r\nistrationId\":\"DEV-0001\"}}\r\n0\r\n\r\n",
            REGISTER.replace("dev-0001", "Dev-0001")
        )
        .as_bytes(),
    );
    let accepted = wire.response();
    assert_eq!(accepted.status, 202, "{accepted:?}");
    // Two requests in one packet are answered in order.
    let poll = "GET /0ne00ABCDEF/registrations/dev-0001/operations/x?api-version=2019-03-31 HTTP/1.1\r\nHost: x\r\n\r\n";
    wire.send(format!("{poll}GET / HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!((wire.response().status, wire.response().status), (401, 404));
}

#[test]
fn hostile_clients_end_their_own_connection_only() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let mut patient = Wire::open(&mock);
    for bytes in [
        b"\x00\x01\x02\x03\x04\x05\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        [b"GET / HTTP/1.1\r\n".to_vec(), format!("X: {}\r\n", "y".repeat(40_000)).into_bytes()].concat(),
        [
            b"GET / HTTP/1.1\r\n".to_vec(),
            (0..500).flat_map(|n| format!("X{n}: y\r\n").into_bytes()).collect(),
        ]
        .concat(),
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_vec(),
    ] {
        let mut wire = Wire::open(&mock);
        wire.send(&bytes);
        if wire.response_or_end().is_some() {
            assert!(wire.is_closed(), "{:?}", String::from_utf8_lossy(&bytes[..20.min(bytes.len())]));
        }
    }
    // Many half-open handshakes do not stop the others.
    let idle: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(mock.address()).unwrap()).collect();
    assert_eq!(patient.ask("PUT", REGISTER, Some(&genuine()), BODY).status, 202);
    drop(idle);
}

#[test]
fn who_says_nothing_is_sent_away_before_there_is_tls_to_keep() {
    use std::io::Read as _;

    let bench = Bench::new();
    let limits = "[limits]\nfirst_byte = \"500ms\"\nhandshake = \"10m\"\n";
    let mock = Mock::start(&bench, limits);
    for door in [mock.address(), mock.mqtt(), mock.amqp()] {
        let mut silent = std::net::TcpStream::connect(door).unwrap();
        silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "{door} waits for a handshake that has not begun");
    }
}
