//! `fleetstorm enroll` and `fleetstorm clean` against a mock in another process: what is made admits the fleet, what is
//! cut off goes on, and what is removed is exactly what was made.

use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Bench, Ended, Mock, signal};

/// A mock that knows one device and no fleet.
const STRANGE: &str = r#"
retry_after_s = 1
assignment = { kind = "constant", delay = "200ms" }
[[enrollment]]
registration_id = "dev-000005"
primary_key = { file = "key" }
[throttle]
profile = "unlimited"
"#;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";

const FLEET: &str = r#"
horizon = "10s"
objectives = ["assigned == 100%"]
[fleet]
devices = 30
id_prefix = "unit-"
identity_seed = 77
[[cohort]]
name = "keys"
[[cohort]]
name = "certificates"
attestation = "x509"
"#;

fn mock(bench: &Bench) -> Mock {
    bench.file("key", KEY);
    Mock::start(bench, STRANGE)
}

/// `enroll` or `clean` at the mock.
fn at(bench: &Bench, mock: &Mock, arguments: &[&str]) -> Ended {
    let mut all = arguments.to_vec();
    all.extend(["--ca", mock.ca()]);
    bench.fleetstorm(&all)
}

fn fleet(bench: &Bench, mock: &Mock) -> u64 {
    bench.run(FLEET, &["--target", &mock.url(), "--ca", mock.ca()]);
    bench.record().totals.assigned
}

#[test]
fn what_is_enrolled_admits_the_fleet_and_what_is_cleaned_does_not() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let url = mock.url();
    assert_eq!(fleet(&bench, &mock), 0, "nobody knows it");

    let enroll = ["enroll", "scenario.toml", "--target", &url, "--ledger", "ledger.jsonl"];
    let dry = at(&bench, &mock, &[&enroll[..], &["--dry-run"]].concat());
    for words in ["would make 2 enrollments", "/enrollmentGroups/fleetstorm-77-keys", "x509, 15 devices"] {
        assert!(dry.stdout.contains(words), "{words}: {dry:?}");
    }
    assert!(!bench.path("ledger.jsonl").exists(), "a dry run leaves nothing behind");
    assert_eq!(fleet(&bench, &mock), 0, "and makes nothing");

    let made = at(&bench, &mock, &enroll);
    assert_eq!((made.code, made.stdout.starts_with("made 2, had 0 already")), (0, true), "{made:?}");
    assert_eq!(fleet(&bench, &mock), 30);
    let again = at(&bench, &mock, &enroll);
    assert!(again.stdout.starts_with("made 0, had 2 already"), "{again:?}");
    let ledger = std::fs::read_to_string(bench.path("ledger.jsonl")).unwrap();
    assert!(!ledger.contains("Key") && ledger.contains(&url), "it lists names and no secrets: {ledger}");

    let dry = at(&bench, &mock, &["clean", "ledger.jsonl", "--dry-run"]);
    assert!(dry.stdout.contains("would remove 2 enrollments"), "{dry:?}");
    let cleaned = at(&bench, &mock, &["clean", "ledger.jsonl"]);
    assert_eq!(cleaned.stdout, "removed 2 enrollments and 30 registrations\n", "{cleaned:?}");
    assert_eq!(fleet(&bench, &mock), 0);
    let nothing = at(&bench, &mock, &["clean", "ledger.jsonl"]);
    assert_eq!(nothing.stdout, "removed 0 enrollments and 0 registrations\n", "{nothing:?}");
}

/// No group can hold a TPM: an enrollment each.
#[test]
fn tpms_are_enrolled_one_by_one_come_to_their_hubs_and_are_removed_again() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let url = mock.url();
    let scenario = format!(
        "horizon = \"8s\"\nobjectives = [\"assigned == 100%\", \"online == 100%\"]\n[target]\nmqtt_port = {}\n[fleet]\ndevices = 5\n\
         id_prefix = \"tpm-\"\n[[cohort]]\nattestation = \"tpm\"\nlife = {{}}\n",
        mock.mqtt().port()
    );
    let run = || {
        bench.run(&scenario, &["--target", &url, "--ca", mock.ca()]);
        let record = bench.record();
        (record.totals.assigned, record.life.map_or(0, |life| life.online_at_end))
    };
    assert_eq!(run(), (0, 0), "nobody knows them");
    let made = at(&bench, &mock, &["enroll", "scenario.toml", "--target", &url, "--ledger", "l.jsonl"]);
    assert!(made.stdout.starts_with("made 5, had 0 already"), "{made:?}");
    let ledger = std::fs::read_to_string(bench.path("l.jsonl")).unwrap();
    assert!(ledger.contains("tpm-000004") && !ledger.contains("ndorsement"), "{ledger}");
    assert_eq!(run(), (5, 5));
    let cleaned = at(&bench, &mock, &["clean", "l.jsonl"]);
    assert_eq!(cleaned.stdout, "removed 5 enrollments and 5 registrations\n", "{cleaned:?}");
    assert_eq!(run(), (0, 0));
}

#[test]
fn work_that_is_killed_goes_on_where_it_was_and_only_what_is_ours_is_removed() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let url = mock.url();
    bench.file("scenario.toml", "[fleet]\ndevices = 40\nidentity_seed = 77\n");
    let enroll = [
        "enroll",
        "scenario.toml",
        "--individual",
        "--target",
        &url,
        "--ca",
        mock.ca(),
        "--ledger",
        "l.jsonl",
        "--rate",
    ];
    let mut child = bench.command().args(enroll).arg("60/s").stdout(Stdio::null()).spawn().unwrap();
    let made = || {
        let ledger = std::fs::read_to_string(bench.path("l.jsonl")).unwrap_or_default();
        ledger.lines().filter(|line| line.contains("\"made\"")).count()
    };
    for _ in 0..400 {
        if made() >= 10 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    signal(&child, rustix::process::Signal::KILL);
    child.wait().unwrap();
    let before = made();
    assert!((10..39).contains(&before), "it was cut off half-way: {before}");

    let resumed = bench.fleetstorm(&[&enroll[..], &["1000/s"]].concat());
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert!(
        resumed.stdout.contains(&format!("had {before} already, found 1 that are not ours")),
        "{resumed:?}"
    );
    assert_eq!(made(), 39);

    let cleaned = at(&bench, &mock, &["clean", "l.jsonl", "--rate", "1000/s"]);
    assert!(cleaned.stdout.starts_with("removed 39 enrollments"), "{cleaned:?}");
    bench.file("again.toml", "[fleet]\ndevices = 40\nidentity_seed = 77\n");
    let mut third = enroll;
    (third[1], third[8]) = ("again.toml", "third.jsonl");
    let third = bench.fleetstorm(&[&third[..], &["1000/s"]].concat());
    assert!(
        third.stdout.starts_with("made 39, had 0 already, found 1"),
        "the one before is still there: {third:?}"
    );
}

#[test]
fn a_quota_that_is_used_up_is_waited_for() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let quota = STRANGE.replace("unlimited", "dps-doc");
    let quota = format!("{quota}operations_rate = \"60/min\"\noperations_burst = 1\n");
    let mock = Mock::start(&bench, &quota);
    bench.file("scenario.toml", FLEET);
    let url = mock.url();
    let made = at(&bench, &mock, &["enroll", "scenario.toml", "--target", &url, "--rate", "1000/s"]);
    assert!(made.stdout.starts_with("made 2"), "{made:?}");
    let (stopped, _) = mock.interrupt();
    assert!(stopped["throttled"].as_u64().unwrap() > 0, "{stopped}");
}

#[test]
fn a_wrong_key_a_missing_consent_and_a_missing_target_are_told_with_what_to_do() {
    let bench = Bench::new();
    let mock = mock(&bench);
    bench.file("scenario.toml", FLEET);
    bench.file("wrong", KEY);
    let url = mock.url();
    let enroll = ["enroll", "scenario.toml", "--target", &url, "--ledger", "l.jsonl"];
    let wrong = at(&bench, &mock, &[&enroll[..], &["--key-file", "wrong"]].concat());
    wrong.refused(14, &["looking for /enrollmentGroups/fleetstorm-77", "401", "check the policy, its key"]);
    let missing = at(&bench, &mock, &[&enroll[..], &["--key-env", "NO_SUCH_KEY"]].concat());
    missing.refused(2, &["environment variable NO_SUCH_KEY", "it is not set"]);
    bench.fleetstorm(&["enroll", "scenario.toml"]).refused(2, &["--target https://HOST:PORT"]);
    let far =
        ["enroll", "scenario.toml", "--target", "https://x.azure-devices-provisioning.net", "--dry-run"];
    bench
        .fleetstorm(&far)
        .refused(2, &["x.azure-devices-provisioning.net is not this machine", "target.consent"]);
    bench.fleetstorm(&["clean", "nothing.jsonl"]).refused(2, &["nothing.jsonl", "cannot be read"]);
    assert_eq!(fleet(&bench, &mock), 0);
}

#[test]
fn consent_for_one_host_is_none_for_another() {
    let bench = Bench::new();
    let consent = |more: &str| {
        let consent = format!(
            "host = \"a.example\"{more}\nmax_devices = 30\nmax_registrations = 30\nmax_rate = \"9/s\"\n"
        );
        bench.file(
            "scenario.toml",
            &format!("{FLEET}[target]\nkind = \"dps\"\nid_scope = \"0ne1\"\n[target.consent]\n{consent}"),
        );
    };
    let enroll = |target: &str| {
        bench.fleetstorm(&["enroll", "scenario.toml", "--target", target, "--ledger", "l.jsonl", "--dry-run"])
    };
    consent("");
    enroll("https://b.example").refused(2, &["the consent is for `a.example`", "`b.example`"]);
    enroll("https://192.0.2.7").refused(2, &["the consent is for `a.example`", "`192.0.2.7`"]);
    assert_eq!(enroll("https://A.Example.").code, 0);
    consent("\nenrollment_host = \"b.example\"");
    assert_eq!(enroll("https://b.example").code, 0);
    enroll("https://c.example").refused(2, &["`b.example`", "`c.example`"]);

    bench.file(
        "ledger.jsonl",
        "{\"service\":\"https://c.example\"}\n{\"enrollment\":{\"group\":\"g\"},\"state\":\"made\"}\n",
    );
    for dry in [&["--dry-run"][..], &[]] {
        let clean = |more: &[&str]| bench.fleetstorm(&[&["clean", "ledger.jsonl"][..], more, dry].concat());
        clean(&[]).refused(2, &["c.example is not this machine", "[target.consent]"]);
        clean(&["--consent", "scenario.toml"]).refused(2, &["`b.example`", "`c.example`"]);
    }
    consent("\nenrollment_host = \"c.example\"");
    let dry = bench.fleetstorm(&["clean", "ledger.jsonl", "--dry-run", "--consent", "scenario.toml"]);
    assert!(dry.stdout.contains("/enrollmentGroups/g"), "{dry:?}");
}
