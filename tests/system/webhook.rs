//! A custom allocation over real sockets: the mock asks a webhook that may do anything.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;

use crate::harness::{Bench, Mock, Wire};
use crate::mqtt_wire::{MqttWire, WAYS, connect, publish, subscribe};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const DEVICE: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                      &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";
const REGISTRATION: &str = "/0ne00ABCDEF/registrations/dev-0001";

/// Stands for no answer at all.
const HANGS: &str = "";

/// Answers every request with the next of its answers, and hands on what it was asked.
struct Webhook {
    port: u16,
    asked: mpsc::Receiver<Value>,
    answers: Arc<Mutex<Vec<String>>>,
}

impl Webhook {
    /// Serves with a certificate that it writes to the bench.
    fn start(bench: &Bench) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        bench.file("webhook.pem", &certificate.pem());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Arc<Mutex<Vec<String>>> = Arc::default();
        let (tell, asked) = mpsc::channel();
        let queue = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
                let Some(question) = question(&mut stream) else { continue };
                let answer = queue.lock().unwrap().remove(0);
                if answer == HANGS {
                    // Longer than the mock waits; the connection ends with it.
                    std::thread::park_timeout(Duration::from_millis(1_500));
                }
                // Nobody may be listening any more.
                let _ = tell.send(question);
                let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { port, asked, answers }
    }

    fn will_say(&self, status: &str, body: &str) {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.answers.lock().unwrap().push(answer);
    }
}

fn question(stream: &mut impl std::io::Read) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let read = stream.read(&mut chunk).ok().filter(|&read| read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            assert!(head.starts_with("POST /hook?code=x HTTP/1.1"), "{head}");
            let length: usize =
                head.to_ascii_lowercase().split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
            if body.len() >= length {
                return serde_json::from_str(body).ok();
            }
        }
    }
}

fn file(port: u16) -> String {
    format!(
        r#"
        id_scope = "0ne00ABCDEF"
        assignment = {{ kind = "constant", delay = "0s" }}
        throttle = {{ polls_per_10s = 0 }}
        hub = [{{ host = "hub-1.azure-devices.net" }}, {{ host = "hub-2.azure-devices.net" }}]
        webhook = {{ ca_file = "webhook.pem", timeout = "1s" }}
        [[enrollment]]
        registration_id = "dev-0001"
        primary_key = {{ file = "key" }}
        allocation = "custom"
        webhook_url = "https://localhost:{port}/hook?code=x"
        "#
    )
}

/// Registers with a payload and polls until the answer is final.
fn registered(wire: &mut Wire) -> Value {
    let body = r#"{"registrationId":"dev-0001","payload":{"model":"thermo-3"}}"#;
    let accepted =
        wire.ask("PUT", &format!("{REGISTRATION}/register?api-version=2019-03-31"), Some(DEVICE), body);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let operation = accepted.json()["operationId"].as_str().unwrap().to_owned();
    let poll = format!("{REGISTRATION}/operations/{operation}?api-version=2019-03-31");
    for _ in 0..800 {
        let answer = wire.ask("GET", &poll, Some(DEVICE), "");
        if answer.status == 200 {
            return answer.json()["registrationState"].clone();
        }
        assert_eq!(answer.status, 202, "{answer:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("still assigning")
}

#[test]
fn a_webhook_is_told_of_the_device_and_chooses_its_hub() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let webhook = Webhook::start(&bench);
    let mock = Mock::start(&bench, &file(webhook.port));
    let mut wire = Wire::open(&mock);
    webhook.will_say("200 OK", r#"{"iotHubHostName":"hub-2.azure-devices.net","payload":{"site":17}}"#);
    let state = registered(&mut wire);
    assert_eq!(
        (&state["status"], &state["assignedHub"]),
        (&"assigned".into(), &"hub-2.azure-devices.net".into())
    );
    assert_eq!(state["payload"]["site"], 17);
    let asked = webhook.asked.recv().unwrap();
    assert_eq!(asked["deviceRuntimeContext"]["registrationId"], "dev-0001");
    assert_eq!(asked["deviceRuntimeContext"]["payload"]["model"], "thermo-3");
    assert_eq!(asked["individualEnrollment"]["registrationId"], "dev-0001");
    assert_eq!(asked["individualEnrollment"]["attestation"]["symmetricKey"], Value::Null, "no keys leave");
    assert_eq!(asked["linkedHubs"].as_array().unwrap().len(), 2);

    webhook.will_say("200 OK", r#"{"iotHubHostName":"hub-1.azure-devices.net"}"#);
    let state = registered(&mut wire);
    assert_eq!((&state["substatus"], &state["payload"]), (&"deviceDataMigrated".into(), &Value::Null));
    let context = webhook.asked.recv().unwrap()["deviceRuntimeContext"].clone();
    assert_eq!(context["currentIotHubHostName"], "hub-2.azure-devices.net");
    assert_eq!(context["currentDeviceId"], "dev-0001");
}

#[test]
fn a_registration_over_mqtt_asks_its_webhook() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let webhook = Webhook::start(&bench);
    let mock = Mock::start(&bench, &file(webhook.port));
    for way in WAYS {
        webhook.will_say("200 OK", r#"{"iotHubHostName":"hub-2.azure-devices.net","payload":{"site":17}}"#);
        let mut wire = MqttWire::open(&mock, way);
        let user = "0ne00ABCDEF/registrations/dev-0001/api-version=2019-03-31";
        wire.send(&connect(true, 0, "dev-0001", user, Some(DEVICE)));
        wire.expect(0x20, &[0, 0]);
        wire.send(&subscribe(1, "$dps/registrations/res/#", 1));
        wire.expect(0x90, &[0, 1, 1]);
        let body = r#"{"registrationId":"dev-0001","payload":{"model":"thermo-3"}}"#;
        wire.send(&publish(None, "$dps/registrations/PUT/iotdps-register/?$rid=1", body));
        let (topic, accepted) = wire.answer(0x32);
        assert!(topic.starts_with("$dps/registrations/res/202/"), "{topic} {accepted}");
        let operation = accepted["operationId"].as_str().unwrap();
        let poll =
            format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}");
        let asked = webhook.asked.recv().unwrap();
        assert_eq!(asked["deviceRuntimeContext"]["payload"]["model"], "thermo-3");
        let state = (0..800).find_map(|_| {
            wire.send(&publish(None, &poll, ""));
            let (topic, answer) = wire.answer(0x32);
            if topic.starts_with("$dps/registrations/res/200/") {
                return Some(answer["registrationState"].clone());
            }
            std::thread::park_timeout(Duration::from_millis(50));
            None
        });
        let state = state.expect("it comes to an end");
        assert_eq!(
            (&state["assignedHub"], &state["payload"]["site"]),
            (&"hub-2.azure-devices.net".into(), &17.into())
        );
    }
}

#[test]
fn a_webhook_that_misbehaves_fails_the_registration_with_its_code() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let webhook = Webhook::start(&bench);
    let mock = Mock::start(&bench, &file(webhook.port));
    let mut wire = Wire::open(&mock);
    let long = format!("{{\"iotHubHostName\":\"{}\"}}", "x".repeat(200_000));
    for (status, body, code) in [
        ("200 OK", "", 400_208),
        ("200 OK", "<html>", 400_207),
        ("200 OK", &long, 400_207),
        ("302 Found\r\nLocation: https://192.0.2.1/", "", 400_207),
        ("401 Unauthorized", "", 400_209),
        ("400 Bad Request", "{}", 400_207),
    ] {
        webhook.will_say(status, body);
        let state = registered(&mut wire);
        assert_eq!((&state["status"], &state["errorCode"]), (&"failed".into(), &code.into()), "{status}");
        assert!(!state["errorMessage"].as_str().unwrap().is_empty());
    }
    // It takes the question and says nothing for longer than it may, then it is well.
    webhook.answers.lock().unwrap().push(HANGS.to_owned());
    webhook.will_say("200 OK", r#"{"iotHubHostName":"hub-2.azure-devices.net"}"#);
    assert_eq!(registered(&mut wire)["assignedHub"], "hub-2.azure-devices.net");
    // Busy, then garbage instead of HTTP, then well: asked again after 1 and after 10 seconds.
    webhook.will_say("503 Service Unavailable", "");
    webhook.answers.lock().unwrap().push("nonsense\r\n\r\n".to_owned());
    webhook.will_say("200 OK", r#"{"iotHubHostName":"hub-1.azure-devices.net"}"#);
    assert_eq!(registered(&mut wire)["status"], "assigned");
    assert_eq!(webhook.asked.iter().take(11).count(), 11);
}
