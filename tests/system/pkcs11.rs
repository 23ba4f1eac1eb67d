//! A key that never leaves its token attests a device: the example in `plugins/examples/pkcs11` with SoftHSM.
//!
//! Needs the Debian package `softhsm2`; cargo fetches the crate `cryptoki` for the example.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    SubjectPublicKeyInfo,
};

use crate::harness::{Bench, Ended};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "271828";

/// A token of its own in a test's directory.
struct Token {
    bench: Bench,
    built: PathBuf,
}

impl Token {
    fn new() -> Self {
        let token = Self { bench: Bench::new(), built: build() };
        std::fs::create_dir(token.bench.path("tokens")).unwrap();
        let folder = token.bench.path("tokens");
        token.bench.file("softhsm2.conf", &format!("directories.tokendir = {}\n", folder.display()));
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "fleet", "--so-pin", "31415926", "--pin", PIN])
            .env("SOFTHSM2_CONF", token.bench.path("softhsm2.conf"))
            .output()
            .expect("SoftHSM is installed (Debian package `softhsm2`)");
        assert!(made.status.success(), "{made:?}");
        token
    }

    /// Makes a key with the example's program.
    fn key(&self, what: &str, label: &str, input: &str) -> String {
        let mut child = Command::new(self.built.join("token-key"))
            .args([MODULE, "fleet", what, label])
            .env("SOFTHSM2_CONF", self.bench.path("softhsm2.conf"))
            .env("PKCS11_PIN", PIN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs one device against the embedded mock, with the example as its attestation.
    fn run(&self, attestation: &str, enrollment: &str, pin: &str) -> Ended {
        let library = self.built.join("libfleetstorm_plugin_pkcs11.so");
        let library = library.to_str().unwrap();
        let checked = self.bench.fleetstorm(&["plugin", "check", library]);
        let hash = checked.stdout.split("--allow-plugin ").nth(1).unwrap().split_whitespace().next().unwrap();
        self.bench.file(
            "scenario.toml",
            &format!(
                "horizon = \"10s\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 1\n[[cohort]]\nattestation = {{ {attestation}, \
                 module = \"{MODULE}\", token = \"fleet\", pin_env = \"PIN\" }}\n[[mock.enrollment]]\n\
                 registration_id = \"dev-000000\"\n{enrollment}\n"
            ),
        );
        let output = self
            .bench
            .command()
            .args(["run", "scenario.toml", "--out", "out", "--progress", "none"])
            .args(["--plugin", library, "--allow-plugin", hash])
            .env("SOFTHSM2_CONF", self.bench.path("softhsm2.conf"))
            .env("PIN", pin)
            .env("ENROLLMENT_KEY", BASE64_STANDARD.encode([7; 32]))
            .output()
            .unwrap();
        Ended::of(&output)
    }

    #[track_caller]
    fn assigned(&self, ended: &Ended, attestation: &str) {
        ended.passed();
        let record = self.bench.record();
        assert_eq!((record.totals.assigned, record.totals.failed), (1, 0), "{:?}", record.codes);
        let used = record.plugins.iter().find(|plugin| plugin.kind == "attestation").unwrap();
        assert_eq!((&*used.id, used.sha256.is_some()), (attestation, true));
    }
}

/// Builds the example as its reader would; returns the folder with its library and its program.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("plugins/examples/pkcs11");
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("examples");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug")
}

/// A certificate for a public key, as an operator's CA would issue it.
fn issue(public_pem: &str, name: &str) -> String {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(ca, KeyPair::generate().unwrap());
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, name);
    leaf.signed_by(&SubjectPublicKeyInfo::from_pem(public_pem).unwrap(), &issuer).unwrap().pem()
}

#[test]
fn a_key_in_a_real_token_signs_the_handshake_of_its_device() {
    let token = Token::new();
    let public = token.key("pair", "dev-000000", "");
    token.bench.file("dev-000000.pem", &issue(&public, "dev-000000"));
    let attestation = "kind = \"pkcs11-certificate\", certificate = \"{id}.pem\"";
    let enrollment = "primary_certificate = \"dev-000000.pem\"";
    let ended = token.run(attestation, enrollment, PIN);
    token.assigned(&ended, "pkcs11-certificate");

    // The same certificate over another key proves nothing.
    token.key("pair", "another", "");
    let ended = token.run(&format!("{attestation}, key = \"another\""), enrollment, PIN);
    assert_eq!(ended.code, 10, "{ended:?}");
    assert_eq!(token.bench.record().totals.assigned, 0);
}

#[test]
fn a_key_in_a_real_token_signs_the_tokens_of_its_device() {
    let token = Token::new();
    token.key("secret", "dev-000000", &BASE64_STANDARD.encode([7; 32]));
    let (attestation, enrollment) = ("kind = \"pkcs11-key\"", "primary_key = { env = \"ENROLLMENT_KEY\" }");
    let ended = token.run(attestation, enrollment, PIN);
    token.assigned(&ended, "pkcs11-key");

    let ended = token.run(attestation, enrollment, "000000");
    ended.refused(2, &["the token refuses its user"]);
    assert!(!ended.stderr.contains("000000"), "{}", ended.stderr);
    token
        .run("kind = \"pkcs11-key\", key = \"nobody\"", enrollment, PIN)
        .refused(2, &["key: 0 keys are labelled"]);
    token.run("kind = \"pkcs11-key\", kye = \"nobody\"", enrollment, PIN).refused(2, &["kye"]);
}
