//! Clients that others wrote, unmodified, against the mock.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::harness::{Bench, Ended, Mock};

/// Microsoft's Node client of the enrollment API (npm `azure-iot-provisioning-service`).
#[test]
fn the_node_client_of_the_enrollment_api_finds_what_it_expects() {
    let bench = Bench::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/enrollment-api");
    for name in ["package.json", "package-lock.json", "client.js"] {
        std::fs::copy(source.join(name), bench.path(name)).unwrap();
    }
    let installed = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"])
        .current_dir(bench.directory.path())
        .output()
        .expect("this test needs npm");
    assert!(installed.status.success(), "{:?}", Ended::of(&installed));

    let key = |byte: u8| BASE64_STANDARD.encode([byte; 64]);
    let owner = bench.file("owner", &key(4));
    bench.file("reader", &key(5));
    let certified = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "node-x509");
    let certificate = bench.file("device.pem", &params.self_signed(&certified).unwrap().pem());
    let mock = Mock::start(
        &bench,
        r#"
        [[access_policy]]
        name = "provisioningserviceowner"
        primary_key = { file = "owner" }
        [[access_policy]]
        name = "reader"
        primary_key = { file = "reader" }
        permissions = ["enrollment-read"]
        [[certificate]]
        name = "held"
        file = "device.pem"
        "#,
    );
    let run = Command::new("node")
        .arg("client.js")
        .arg(mock.address().port().to_string())
        .args([&owner, &certificate])
        .arg("0ne00F1EE75")
        .env("NODE_EXTRA_CA_CERTS", mock.ca())
        .current_dir(bench.directory.path())
        .output()
        .expect("this test needs node");
    let ended = Ended::of(&run);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("ok ")).count(), 5, "{ended:?}");
}
