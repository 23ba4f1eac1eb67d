//! Prints what the plugin border costs, beside the targets, and ends with 1 if one is missed.
//!
//! `cargo run --release -p fleetstorm-perf-plugins`; needs `openssl` in the path for the signing rates.

#![allow(clippy::disallowed_methods, reason = "measuring is what this program is for")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_mock::identity::FleetIdentity;
use fleetstorm_perf_plugins::Measured;
use fleetstorm_plugin::testing::Trial;
use fleetstorm_plugin::{Attempt, Attestation, Decision, abi};
use fleetstorm_plugin_host::{Admission, Knowledge, Library, Probe, Registry, Retry, Sealed, serve_probe};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PARAMETERS: &str = r#"{"base_ms": 1000}"#;
const PROBE: &str = "--probe";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == PROBE) {
        return serve_probe(&arguments[1..]);
    }
    match figures() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn figures() -> Result<bool> {
    let mut met = true;
    let mut row = |what: &str, measured: String, target: String, holds: bool| {
        println!("{what:<44} {measured:>16}   {target:<28} {}", if holds { "met" } else { "MISSED" });
        met &= holds;
    };

    let library = beside()?;
    let linked = Registry::new(&[&fleetstorm_perf_plugins::ENTRY]);
    let mut loaded = Registry::default();
    loaded.add(load(&library, None)?)?;
    let [linked, loaded] =
        [&linked, &loaded].map(|registry| registry.retry("perf.measured", PARAMETERS, Knowledge::default()));
    let (linked, loaded) = (linked?, loaded?);
    let (plain, linked, loaded) = decisions(&linked, &loaded)?;
    row("a decision by a plain call", format!("{plain:.1} ns"), "-".to_owned(), true);
    row(
        "linked, beyond the plain call",
        format!("{:.1} ns", linked - plain),
        "at most 15 ns".to_owned(),
        linked - plain <= 15.0,
    );
    row(
        "loaded, beyond the linked one",
        format!("{:.1} ns", loaded - linked),
        "at most 10 ns".to_owned(),
        loaded - linked <= 10.0,
    );

    let took = load_many(&shipped()?, 50)?;
    row(
        "loading and checking 50 plugins",
        format!("{} ms", took.as_millis()),
        "under 1000 ms".to_owned(),
        took < Duration::from_secs(1),
    );

    for Signing { what, ours, theirs } in signing()? {
        let share = ours / theirs * 100.0;
        let target = format!("80 % of {theirs:.0}: {share:.0} %");
        row(&format!("{what} a second"), format!("{ours:.0}"), target, share >= 80.0);
    }
    Ok(met)
}

/// The shared library of the shipped strategies, which cargo built because this package depends on it.
fn shipped() -> Result<PathBuf> {
    let _ = &fleetstorm_plugin_retry::ENTRY;
    Ok(beside()?.with_file_name("deps").join("libfleetstorm_plugin_retry.so"))
}

/// The shared library that cargo built of this package, beside the program.
fn beside() -> Result<PathBuf> {
    let folder = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    Ok(folder.join("libfleetstorm_perf_plugins.so"))
}

fn load(path: &Path, probe: Option<&Probe>) -> Result<Library> {
    let sealed = Sealed::read(path)?;
    let mut admission = Admission::default();
    admission.allow(sealed.sha256())?;
    Ok(Library::load(&sealed, &admission, probe)?)
}

/// Loads as many libraries of different files, each tried in a child first. They are stripped: this workspace builds with
/// line tables, which a plugin's own crate does not in its release.
fn load_many(library: &Path, count: usize) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let mut paths = Vec::new();
    for number in 0..count {
        let own = folder.path().join(number.to_string());
        std::fs::create_dir(&own)?;
        let path = own.join("libfleetstorm_plugin_retry.so");
        let stripped = Command::new("strip").arg("-o").arg(&path).arg(library).status()?;
        if !stripped.success() {
            return Err("`strip` failed".into());
        }
        paths.push(path);
    }
    let probe = Probe {
        program: std::env::current_exe()?,
        arguments: vec![PROBE.into()],
        limit: Duration::from_secs(5),
    };
    let start = Instant::now();
    for path in &paths {
        load(path, Some(&probe))?;
    }
    Ok(start.elapsed())
}

/// Nanoseconds of a plain, a linked and a loaded decision: the best of interleaved rounds, pinned by nothing but luck.
fn decisions(linked: &Retry, loaded: &Retry) -> Result<(f64, f64, f64)> {
    const ROUNDS: usize = 60;
    let attempts: Vec<Attempt> = (0..64u64)
        .map(|n| Attempt { random: [n << 57, n << 56], ..Attempt::throttled(1 + n as u32) })
        .collect();
    let raw: Vec<abi::Attempt> = attempts.iter().map(Attempt::to_abi).collect();
    let mut trial = Trial::<Measured>::new(PARAMETERS)?;
    let (mut here, mut there) = (linked.session(), loaded.session());
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        best[0] = best[0].min(time(|at| plain(&mut trial, black_box(&attempts[at]))));
        best[1] = best[1].min(time(|at| linked.on_failure(&mut here, black_box(&raw[at])).is_ok()));
        best[2] = best[2].min(time(|at| loaded.on_failure(&mut there, black_box(&raw[at])).is_ok()));
    }
    Ok((best[0], best[1], best[2]))
}

#[inline(never)]
fn plain(trial: &mut Trial<Measured>, attempt: &Attempt) -> Decision {
    trial.fail(attempt)
}

fn time<T>(mut call: impl FnMut(usize) -> T) -> f64 {
    const CALLS: usize = 200_000;
    let start = Instant::now();
    for n in 0..CALLS {
        black_box(call(n % 64));
    }
    start.elapsed().as_nanos() as f64 / CALLS as f64
}

/// A rate of one core beside what `openssl speed` gives for the primitive in it.
struct Signing {
    what: &'static str,
    ours: f64,
    theirs: f64,
}

fn signing() -> Result<Vec<Signing>> {
    let fleet = FleetIdentity::from_seed(1)?;
    let x509: fleetstorm_plugin_x509::Config = serde_json::from_value(json!({
        "ca_certificate_pem": fleet.ca_pem(),
        "ca_key_pem": fleet.ca_key_pem().to_string(),
        "keys_pem": fleet.device_keys_pem(1)?.iter().map(|key| key.to_string()).collect::<Vec<_>>(),
        "now_unix_secs": 1_767_225_600,
    }))?;
    let x509 = fleetstorm_plugin_x509::X509::new(x509)?;
    let device = x509.device("dev-1", [1; 4])?;
    let message = [7u8; 130];
    let ecdsa = rate(|| x509.sign(&device, 0x0403, &message).is_ok());

    let key = BASE64_STANDARD.encode([7u8; 64]);
    let symmetric = serde_json::from_value(json!({ "group_keys": [key] }))?;
    let symmetric = fleetstorm_plugin_symmetric_key::SymmetricKey::new(symmetric)?;
    let device = symmetric.device("dev-1", [1; 4])?;
    let mut token = String::new();
    let hmac = rate(|| {
        token.clear();
        symmetric.authorize(&device, 0, "0ne00ABCDEF/registrations/dev-1", 1_900_000_000, &mut token).is_ok()
    });
    let primitive = openssl(&["-hmac", "sha256", "-bytes", "64"], "hmac")?;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    let bare = rate(|| black_box(aws_lc_rs::hmac::sign(&key, black_box(&[7; 64]))).as_ref().len() == 32);
    let tpm: fleetstorm_plugin_tpm::Config = serde_json::from_value(json!({}))?;
    let tpm = fleetstorm_plugin_tpm::Tpm::new(tpm)?;
    let device = tpm.device("dev-1", [1; 4])?;
    let draws = fleetstorm_tpm::Draws::fresh().ok_or("the system has no randomness")?;
    let (ek, srk) = (tpm.endorsement_key(&device), tpm.storage_root_key(&device));
    let challenge = fleetstorm_tpm::make(&ek, &srk, &[7; 32], &draws)?;
    // Taking up a challenge is two decryptions.
    let decryptions = 2.0 * rate(|| tpm.answer(&device, &challenge).is_ok());
    let signing = |what, ours, theirs| Signing { what, ours, theirs };
    Ok(vec![
        signing("x509: P-256 signatures", ecdsa, openssl(&["ecdsap256"], "ecdsa")?),
        signing("symmetric-key: its HMAC", bare, primitive),
        signing("symmetric-key: whole tokens", hmac, primitive),
        signing("tpm: RSA-2048 decryptions", decryptions, openssl(&["rsa2048"], "rsa")?),
    ])
}

/// Calls for each second of processor time, which is what `openssl speed` counts as well.
fn rate(mut call: impl FnMut() -> bool) -> f64 {
    let start = processor_s();
    let mut calls = 0u64;
    while processor_s() - start < 2.0 {
        for _ in 0..64 {
            assert!(black_box(call()), "a signature that fails measures nothing");
        }
        calls += 64;
    }
    calls as f64 / (processor_s() - start)
}

fn processor_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Operations a second as `openssl speed -mr` gives them.
fn openssl(arguments: &[&str], kind: &str) -> Result<f64> {
    let output = Command::new("openssl").args(["speed", "-mr", "-seconds", "2"]).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match (kind, fields.first()?) {
            // +F4:number:bits:seconds a signature:seconds a verification
            ("ecdsa", &"+F4") => {
                fields.get(3)?.parse::<f64>().ok().map(|rate| if rate < 1.0 { 1.0 / rate } else { rate })
            }
            // +F2:number:bits:signatures a second:verifications a second, or seconds for each
            ("rsa", &"+F2") => {
                fields.get(3)?.parse::<f64>().ok().map(|rate| if rate < 1.0 { 1.0 / rate } else { rate })
            }
            // +F:number:name:bytes a second
            ("hmac", &"+F") => fields.get(3)?.parse::<f64>().ok().map(|bytes| bytes / 64.0),
            _ => None,
        }
    });
    number.ok_or_else(|| format!("`openssl speed` said nothing of {kind}:\n{text}").into())
}
