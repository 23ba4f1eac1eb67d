//! Certificates from the mock to a device made of others' tools: OpenSSL makes the key and the request, and verifies what
//! comes back; the hub is opened with it.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::harness::{Bench, Mock, Wire};
use crate::mqtt_wire::{MqttWire, Way, connect, publish, subscribe};

/// Bytes 00 to 3F, the device's key, and a token that is signed with it until 2030.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const DEVICE: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                      &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";
const REGISTRATION: &str = "/0ne00ABCDEF/registrations/dev-0001";
const HUB: &str = "hub-1.azure-devices.net";

const FILE: &str = r#"
id_scope = "0ne00ABCDEF"
assignment = { kind = "constant", delay = "0s" }
throttle = { polls_per_10s = 0 }
hub = [{ host = "hub-1.azure-devices.net", connection_profile = "classic" }]
[issuance]
renewal = { delay = "0s" }
[[certificate_authority]]
namespace = "ns-1"
name = "ca-1"
[[certificate_authority.policy]]
name = "p30"
validity_days = 30
[[enrollment]]
registration_id = "dev-0001"
primary_key = { file = "key" }
certificate_policy = { namespace = "ns-1", authority = "ca-1", policy = "p30" }
"#;

fn start(bench: &Bench, file: &str) -> Mock {
    bench.file("key", KEY);
    Mock::start(bench, file)
}

/// Runs OpenSSL in the bench's directory; what it says.
fn openssl(bench: &Bench, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(bench.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    said
}

/// A new key and a request of OpenSSL's, in base64.
fn csr(bench: &Bench, kind: &[&str], name: &str) -> String {
    let subject = format!("/CN={name}");
    let end = ["-nodes", "-subj", &subject, "-keyout", "device.key", "-outform", "DER", "-out", "device.csr"];
    openssl(bench, &[&["req", "-new"], kind, &end].concat());
    BASE64_STANDARD.encode(std::fs::read(bench.path("device.csr")).unwrap())
}

const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// Registers over HTTPS and polls until the answer is final.
fn registered(wire: &mut Wire, version: &str, csr: Option<&str>) -> Value {
    let body = csr.map_or(json!({}), |csr| json!({ "csr": csr }));
    let target = format!("{REGISTRATION}/register?api-version={version}");
    let accepted = wire.ask("PUT", &target, Some(DEVICE), &body.to_string());
    assert_eq!(accepted.status, 202, "{}", accepted.json());
    assert!(accepted.header("location").is_some());
    assert!(accepted.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
    let accepted = accepted.json();
    assert_eq!(accepted["registrationState"], Value::Null, "no chain before the assignment");
    let operation = accepted["operationId"].as_str().unwrap();
    let poll = format!("{REGISTRATION}/operations/{operation}?api-version={version}");
    for _ in 0..400 {
        let answer = wire.ask("GET", &poll, Some(DEVICE), "");
        if answer.status == 200 {
            return answer.json()["registrationState"].clone();
        }
        assert_eq!(answer.status, 202);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("still assigning")
}

/// The DER of a list of base64 strings, and its PEM in the bench: `leaf.pem`, `between.pem`, `root.pem`.
fn chain(bench: &Bench, list: &Value) -> Vec<Vec<u8>> {
    let texts: Vec<&str> = list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let pem = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    // OpenSSL wants lines.
    let lines = |text: &str| {
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        pem(&lines.join("\n"))
    };
    let (leaf, above) = texts.split_first().unwrap();
    let (root, between) = above.split_last().unwrap();
    bench.file("leaf.pem", &lines(leaf));
    bench.file("between.pem", &between.iter().map(|text| lines(text)).collect::<String>());
    bench.file("root.pem", &lines(root));
    texts.iter().map(|text| BASE64_STANDARD.decode(text).unwrap()).collect()
}

fn verified(bench: &Bench) {
    let said = openssl(
        bench,
        &[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslclient",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "between.pem",
            "leaf.pem",
        ],
    );
    assert!(said.contains("leaf.pem: OK"), "{said}");
}

/// Acceptance rows 1, 2, 3 and 5, with OpenSSL on the device's side.
#[test]
fn openssl_verifies_the_chain_of_every_kind_of_key() {
    let bench = Bench::new();
    let mock = start(&bench, FILE);
    let mut wire = Wire::open(&mock);
    let p384 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
    for kind in [&P256[..], &p384[..], &["-newkey", "rsa:2048"][..]] {
        let request = csr(&bench, kind, "dev-0001");
        let state = registered(&mut wire, "2026-11-01", Some(&request));
        assert_eq!((&state["status"], &state["assignedHub"]), (&"assigned".into(), &HUB.into()));
        assert_eq!(chain(&bench, &state["issuedCertificateChain"]).len(), 3);
        verified(&bench);
        let shown = openssl(&bench, &["x509", "-in", "leaf.pem", "-noout", "-subject", "-pubkey"]);
        assert!(shown.contains("CN = dev-0001"), "{shown}");
        let own = openssl(&bench, &["pkey", "-in", "device.key", "-pubout"]);
        assert!(shown.contains(own.trim()), "the certificate is for the key of the request");
    }
    let lookup = format!("{REGISTRATION}?api-version=2026-11-01");
    let found = wire.ask("POST", &lookup, Some(DEVICE), "{}").json();
    assert_eq!((&found["status"], &found["issuedCertificateChain"]), (&"assigned".into(), &Value::Null));
    let request = csr(&bench, &P256, "dev-0001");
    assert_eq!(registered(&mut wire, "2026-11-01", None).get("issuedCertificateChain"), None);
    assert_eq!(registered(&mut wire, "2021-10-01", Some(&request)).get("issuedCertificateChain"), None);
}

/// Acceptance rows 4, 7 and 8 over HTTPS, and a request that is too long.
#[test]
fn a_bad_request_for_a_certificate_is_told_with_a_code_and_leaves_nothing() {
    let bench = Bench::new();
    let mock = start(&bench, FILE);
    let of_another = csr(&bench, &P256, "dev-0002");
    let short = csr(&bench, &["-newkey", "rsa:1024"], "dev-0001");
    let good = csr(&bench, &P256, "dev-0001");
    let register = format!("{REGISTRATION}/register?api-version=2026-11-01");
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{good}\n-----END CERTIFICATE REQUEST-----");
    let urls = good.replace('+', "-").replace('/', "_").replace('=', "");
    let signed = format!("{}AAAA", &good[..good.len() - 4]);
    for (what, bad) in [
        ("another device's", &*of_another),
        ("a short key", &*short),
        ("PEM", &*pem),
        ("base64url", &*urls),
        ("cut off", &good[..good.len() / 8 * 4]),
        ("another signature", &*signed),
        ("nothing", ""),
        ("more than 8 KB", &*"A".repeat(90_000)),
    ] {
        let mut wire = Wire::open(&mock);
        let answer = wire.ask("PUT", &register, Some(DEVICE), &json!({ "csr": bad }).to_string());
        assert_eq!((answer.status, answer.header("x-ms-error-code")), (400, Some("400004")), "{what}");
    }
    let mut wire = Wire::open(&mock);
    let lookup = format!("{REGISTRATION}?api-version=2026-11-01");
    let body = json!({ "csr": good }).to_string();
    let answer = wire.ask("POST", &lookup, Some(DEVICE), &body);
    assert_eq!((answer.status, answer.header("x-ms-error-code")), (400, Some("400004")));
    let answer = wire.ask("POST", &lookup, Some(DEVICE), "{}");
    assert_eq!(answer.json()["errorCode"], 404_202, "nothing was recorded");
}

/// The same over MQTT: the version of the user name rules the members. Then the hub: opened with the certificate, which is
/// renewed there, and opened with the new one.
#[test]
fn a_device_gets_its_certificate_over_mqtt_opens_its_hub_and_renews_it() {
    let bench = Bench::new();
    let mock = start(&bench, FILE);
    let request = csr(&bench, &P256, "dev-0001");
    let mut profiles = Vec::new();
    let mut issued = Value::Null;
    for (version, has_chain) in [("2021-10-01", false), ("2026-11-02-preview", true), ("2026-11-01", true)] {
        let mut wire = MqttWire::open(&mock, Way::Tls);
        let user = format!("0ne00ABCDEF/registrations/dev-0001/api-version={version}");
        wire.send(&connect(true, 0, "dev-0001", &user, Some(DEVICE)));
        wire.expect(0x20, &[0, 0]);
        wire.send(&subscribe(1, "$dps/registrations/res/#", 1));
        wire.expect(0x90, &[0, 1, 1]);
        let body = json!({ "csr": request }).to_string();
        wire.send(&publish(None, "$dps/registrations/PUT/iotdps-register/?$rid=1", &body));
        let (topic, accepted) = wire.answer(0x32);
        assert!(topic.starts_with("$dps/registrations/res/202/"), "{topic}");
        let operation = accepted["operationId"].as_str().unwrap().to_owned();
        let poll =
            format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}");
        wire.send(&publish(None, &poll, " "));
        let (topic, answer) = wire.answer(0x32);
        assert!(topic.starts_with("$dps/registrations/res/200/"), "{topic}");
        let state = &answer["registrationState"];
        assert_eq!(state["issuedCertificateChain"].is_array(), has_chain, "{version}");
        profiles.push(state["connectionProfile"].clone());
        issued = state["issuedCertificateChain"].clone();
    }
    assert_eq!(profiles, [Value::Null, "classic".into(), Value::Null]);
    let mut shown = chain(&bench, &issued);
    verified(&bench);
    for rid in ["1001", "1002"] {
        let mut hub = at_hub(&bench, &mock, &shown);
        hub.expect(0x20, &[0, 0]);
        hub.send(&subscribe(1, "$iothub/credentials/res/#", 1));
        hub.expect(0x90, &[0, 1, 1]);
        let next = csr(&bench, &P256, "dev-0001");
        let body = json!({ "id": "dev-0001", "csr": next }).to_string();
        hub.send(&publish(None, &format!("$iothub/credentials/POST/issueCertificate/?$rid={rid}"), &body));
        for status in [202, 200] {
            let (topic, answer) = hub.answer(0x32);
            assert_eq!(topic, format!("$iothub/credentials/res/{status}/?$rid={rid}"));
            if status == 200 {
                shown = chain(&bench, &answer["certificates"]);
                verified(&bench);
            }
        }
    }
}

/// A connection with the hub that shows these certificates, whose CONNACK is still to come.
fn at_hub(bench: &Bench, mock: &Mock, shown: &[Vec<u8>]) -> MqttWire {
    let key = PrivateKeyDer::from_pem_file(bench.path("device.key")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(mock.ca()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(shown.iter().map(|der| CertificateDer::from(der.clone())).collect(), key)
        .unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = std::net::TcpStream::connect(mock.mqtt()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut wire = MqttWire::over(rustls::StreamOwned::new(connection, socket), None);
    let user = format!("{HUB}/dev-0001/?api-version=2025-08-01-preview");
    wire.send(&connect(true, 0, "dev-0001", &user, None));
    wire
}

#[test]
fn a_file_with_impossible_policies_names_the_place_and_the_fix() {
    for (from, to, words) in [
        ("validity_days = 30", "validity_days = 0", &["0 days", "write 1 to 90"][..]),
        ("validity_days = 30", "validity_days = 10_000", &["10000 days", "write 1 to 90"]),
        ("namespace = \"ns-1\"\nname", "namespace = \"Ns\"\nname", &["`Ns`", "lower-case"]),
        ("policy = \"p30\"", "policy = \"p90\"", &["no policy `p90`", "[[certificate_authority]]"]),
        (
            "validity_days = 30",
            "validity_days = 30\nalgorithms = [\"dsa\"]",
            &["`dsa`", "did you mean `rsa`"],
        ),
        ("renewal = { delay = \"0s\" }", "hub_refusal = 7", &["this code does not fit", "2 to 5"]),
    ] {
        let bench = Bench::new();
        bench.file("key", KEY);
        assert!(FILE.contains(from), "{from}");
        bench.file("mock.toml", &FILE.replacen(from, to, 1));
        bench.fleetstorm(&["mock", "--config", "mock.toml"]).refused(2, &[&["mock.toml"], words].concat());
    }
}
