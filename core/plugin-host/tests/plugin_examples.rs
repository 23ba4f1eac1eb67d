//! The examples under `plugins/examples` and what `plugin new` writes: they build outside the workspace, load, pass the
//! examiner and decide what their formulas say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::{Path, PathBuf};
use std::process::Command;

use fleetstorm_plugin::{Attempt, Decision};
use fleetstorm_plugin_host::{
    Admission, Kind, Knowledge, Library, PluginError, Registry, Sealed, Verdict, examine, scaffold,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const MS: u64 = 1_000_000;

fn load(path: &Path) -> Registry {
    let sealed = Sealed::read(path).unwrap();
    let mut admission = Admission::default();
    admission.allow(sealed.sha256()).unwrap();
    let mut registry = Registry::default();
    registry.add(Library::load(&sealed, &admission, None).unwrap()).unwrap();
    registry
}

/// Builds a crate that is its own workspace, with the versions that this workspace is locked to, and returns its library.
fn build(folder: &Path, symbol: &str) -> PathBuf {
    std::fs::copy(format!("{ROOT}/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("examples");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join(format!("debug/lib{symbol}.so"))
}

fn waits_ms(registry: &Registry, id: &str, config: &str, failures: u32) -> Vec<u64> {
    let retry = registry.retry(id, config, Knowledge::default()).unwrap();
    let mut session = retry.session();
    (1..=failures)
        .map(|n| match retry.on_failure(&mut session, &Attempt::throttled(n).to_abi()) {
            Ok(Decision::Wait(ns)) => ns / MS,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_example_in_c_builds_loads_and_follows_its_formula() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libdoubling.so");
    let status = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-shared", "-fPIC"])
        .arg("-fvisibility=hidden")
        .args(["-I", &format!("{ROOT}/plugins/sdk/include"), "-o"])
        .arg(&library)
        .arg(format!("{ROOT}/plugins/examples/c/doubling.c"))
        .status()
        .unwrap();
    assert!(status.success());
    let registry = load(&library);
    // Three quarters of 1, 2, 4, 8, 10, 10 s: half of it, and half of the other half.
    let waits = waits_ms(&registry, "doubling", r#"{"cap_ms": 10000}"#, 6);
    assert_eq!(waits, [750, 1_500, 3_000, 6_000, 7_500, 7_500]);
    for (config, words) in [
        (r#"{"base_ms": "soon"}"#, "whole numbers"),
        (r#"{"patience": 1}"#, "only the parameters"),
        (r#"{"base_ms": 0}"#, "above 0"),
        (r#"{"base_ms": 9999999999999}"#, "30 years"),
    ] {
        let error = registry.retry("doubling", config, Knowledge::default()).err().unwrap();
        assert!(matches!(&error, PluginError::Refused { reason, .. } if reason.contains(words)), "{error}");
    }
    let found = examine(&registry, "doubling", "{}").unwrap();
    assert!(found.passed(), "{found}");
    // Its jitter is U(0, 2 s) at the third retry, twenty slots, a shade over the 5 % that the examiner likes.
    assert_eq!(found.check("herd").unwrap().verdict, Verdict::Warn, "{found}");
}

#[test]
fn the_example_in_rust_builds_outside_the_workspace_and_follows_its_formula() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(ROOT).join("plugins/examples/rust");
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::copy(example.join("src/lib.rs"), folder.path().join("src/lib.rs")).unwrap();
    let sdk = Path::new(ROOT).join("plugins/sdk").canonicalize().unwrap();
    let manifest = std::fs::read_to_string(example.join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("../../sdk", sdk.to_str().unwrap());
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    let registry = load(&build(folder.path(), "fleetstorm_plugin_fibonacci"));
    // Half of 1, 2, 3, 5, 8 and then 10 s.
    let waits = waits_ms(&registry, "fibonacci", r#"{"cap_ms": 10000}"#, 7);
    assert_eq!(waits, [500, 1_000, 1_500, 2_500, 4_000, 5_000, 5_000]);
    assert!(examine(&registry, "fibonacci", "{}").unwrap().passed());
}

#[test]
fn what_plugin_new_writes_builds_and_loads() {
    let sdk = Path::new(ROOT).join("plugins/sdk").canonicalize().unwrap();
    for (name, kind) in [("fresh-strategy", Kind::Retry), ("fresh-proof", Kind::Attestation)] {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in scaffold(name, kind, &sdk).unwrap() {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let symbol = format!("fleetstorm_plugin_{}", name.replace('-', "_"));
        let registry = load(&build(folder.path(), &symbol));
        assert!(registry.get(kind, name).is_some());
        match kind {
            Kind::Retry => assert!(examine(&registry, name, "{}").unwrap().passed()),
            Kind::Attestation => assert!(registry.attestation(name, r#"{"token": "t"}"#).is_ok()),
        }
    }
}
