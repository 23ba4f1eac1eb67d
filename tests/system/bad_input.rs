//! What cannot work is refused with a reason, and nothing is lost.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::harness::{Bench, Ended};

const TINY: &str = r#"
    horizon = "20s"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 60
    arrival = { kind = "all-at-once", spread = "1ms" }
    [mock]
    retry_after_s = 1
    [mock.assignment]
    kind = "constant"
    delay = "100ms"
"#;

/// Runs a shell line in the bench's directory; `$FLEETSTORM` is the command.
pub(crate) fn shell(bench: &Bench, line: &str) -> Ended {
    let mut command = Command::new("sh");
    command.arg0("sh").args(["-c", line]).current_dir(bench.directory.path());
    command.env("FLEETSTORM", env!("CARGO_BIN_EXE_fleetstorm"));
    let output = command.output().unwrap();
    Ended::of(&output)
}

#[test]
fn a_missing_scenario_says_where_to_look() {
    Bench::new().fleetstorm(&["run", "nowhere.toml"]).refused(2, &["nowhere.toml", "check the path"]);
    Bench::new().fleetstorm(&["run"]).refused(2, &["<SCENARIO>"]);
    Bench::new().fleetstorm(&["mock", "--config", "nowhere.toml"]).refused(2, &["nowhere.toml"]);
}

#[test]
fn a_missing_trace_secret_or_ca_is_named() {
    let bench = Bench::new();
    let trace = "fleet.arrival={ kind = \"trace\", file = \"boots.csv\" }";
    bench.run(TINY, &["--set", trace]).refused(2, &["boots.csv", "trace"]);
    bench.file("boots.csv", "t_s\n1\nsoon\n");
    bench.run(TINY, &["--set", trace]).refused(2, &["boots.csv", "line 3", "soon"]);
    bench.run(TINY, &["--target", "https://127.0.0.1:1", "--ca", "ca.pem"]).refused(2, &["ca.pem"]);
    bench.file("ca.pem", "no certificate");
    bench
        .run(TINY, &["--target", "https://127.0.0.1:1", "--ca", "ca.pem"])
        .refused(2, &["ca.pem", "no certificate"]);
    let key = "target.group_key={ env = \"NO_SUCH_VARIABLE\" }";
    bench.run(TINY, &["--target", "https://127.0.0.1:1", "--set", key]).refused(2, &["NO_SUCH_VARIABLE"]);
}

#[test]
fn a_real_target_needs_consent_and_a_plain_one_is_refused() {
    let bench = Bench::new();
    bench
        .run(TINY, &["--target", "https://global.azure-devices-provisioning.net"])
        .refused(2, &["is not this machine", "[target.consent]"]);
    let other = r#"target.consent={ host = "a.example", max_devices = 99, max_registrations = 99, max_rate = "9/s" }"#;
    bench
        .run(TINY, &["--target", "https://b.example", "--set", other])
        .refused(2, &["a.example", "b.example"]);
    for elsewhere in
        ["192.0.2.1", "[::ffff:192.0.2.1]", "[::127.0.0.1]", "localhost.example", "LOCALHOST.localdomain"]
    {
        let target = format!("https://{elsewhere}:1");
        bench.run(TINY, &["--target", &target]).refused(2, &["is not this machine", "[target.consent]"]);
    }
    for nobody in ["0.0.0.0", "[::]"] {
        bench
            .run(TINY, &["--target", &format!("https://{nobody}:1")])
            .refused(2, &["no machine", "127.0.0.1"]);
    }
    bench.run(TINY, &["--target", "https://LocalHost.:1"]).refused(14, &["localhost:1"]);
    bench.run(TINY, &["--target", "http://127.0.0.1:80"]).refused(2, &["https://"]);
    bench.run(TINY, &["--target", "https://127.0.0.1:99999"]).refused(2, &["https://host:port"]);
}

#[test]
fn a_ceiling_stops_the_run_below_every_strategy() {
    let far = Bench::new();
    let mock = crate::harness::Mock::start(
        &far,
        "throttle = { profile = \"dps-doc\", rate = \"1/min\", burst = 1 }",
    );
    let bench = Bench::new();
    let consent = r#"target.consent={ host = "127.0.0.1", max_devices = 60, max_registrations = 100, max_rate = "1000/s" }"#;
    let ended = bench.run(
        TINY,
        &["--target", &mock.url(), "--ca", mock.ca(), "--set", consent, "--set", "cohort.0.retry=immediate"],
    );
    assert_eq!(ended.code, 15, "{ended:?}");
    let told = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("max_registrations = 100"), "{}", ended.stdout);
    assert_eq!(bench.record().totals.registers, 100);
    let (stopped, _) = mock.interrupt();
    assert!(stopped["requests"].as_u64().unwrap() <= 100, "{stopped}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Bench::new().fleetstorm(&["mock", "--set", &format!("listen.https={address}")]);
    ended.refused(14, &[&address, "in use", "port 0"]);
}

#[test]
fn a_mock_that_contradicts_itself_does_not_start() {
    let bench = Bench::new();
    for (file, words) in [
        ("hub = [{ host = \"h\", weight = 0 }]", "weights are 1 to 1000"),
        ("[throttle]\nprofile = \"dps-dok\"", "dps-doc"),
        ("[listen]\nhttps = \"nonsense\"", "127.0.0.1:8443"),
        ("[tls]\ncertificate = \"a.pem\"", "tls.key"),
        ("[[enrollment]]\nregistration_id = \"x\"\nprimary_key = { file = \"none.key\" }", "none.key"),
        (
            "[[enrollment]]\nregistration_id = \"x\"\nprimary_key = { file = \"key\" }\nhub = \"elsewhere\"",
            "elsewhere",
        ),
    ] {
        bench.file("key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        bench.file("mock.toml", file);
        bench.fleetstorm(&["mock", "--config", "mock.toml"]).refused(2, &[words]);
    }
}

#[test]
fn secrets_never_reach_an_error() {
    let bench = Bench::new();
    let secret = "bm90LWEtdmFsaWQta2V5";
    bench.file("key", secret);
    bench.file("mock.toml", "[[enrollment_group]]\nid = \"g\"\nprimary_key = { file = \"key\" }");
    let ended = bench.fleetstorm(&["mock", "--config", "mock.toml"]);
    ended.refused(2, &["16"]);
    assert!(!format!("{ended:?}").contains(secret));
}

#[test]
fn a_fleet_larger_than_the_descriptors_is_told_what_to_change() {
    let bench = Bench::new();
    bench.file("scenario.toml", TINY);
    let run = |more: &str| {
        let line = format!(
            "ulimit -n 160 && exec \"$FLEETSTORM\" run scenario.toml --out out --progress none \
             --set fleet.devices=400 {more}"
        );
        shell(&bench, &line)
    };
    run("").refused(14, &["descriptors", "may open 160", "fleet.max_concurrent=48"]);
    let ended = run("--set fleet.max_concurrent=48");
    ended.passed();
    let record = bench.record();
    assert_eq!(record.totals.assigned, 400, "the advice works");
    assert!(record.held_back.devices >= 352 && record.held_back.longest_ns > 1_000_000_000);
    assert!(record.series.in_flight.iter().all(|n| *n <= 48));
}

/// Ten million virtual devices are 2 GB.
#[test]
fn a_virtual_fleet_that_does_not_fit_into_the_memory_is_refused() {
    let bench = Bench::new();
    bench.file("scenario.toml", TINY);
    let forecast = |devices: &str| {
        let line = format!(
            "ulimit -v 1500000 && exec \"$FLEETSTORM\" forecast scenario.toml --out out --progress none \
             --devices {devices}"
        );
        shell(&bench, &line)
    };
    forecast("10000000").refused(14, &["10000000 devices take 1971 MB", "simulate at most", "quota scaled"]);
    assert_eq!(forecast("60").code, 0);
}

#[test]
fn an_unwritable_directory_is_told_before_the_run() {
    let bench = Bench::new();
    bench.file("out", "this is a file");
    bench.run(TINY, &[]).refused(14, &["out", "cannot be written"]);
}

#[test]
fn a_full_disk_loses_no_earlier_record_and_is_named() {
    let bench = Bench::new();
    bench.file("scenario.toml", TINY);
    // A file system of 24 KiB where that is allowed, else a limit on the size of files.
    let line = r#"
        mkdir -p out && echo '{"version":1}' > out/run.json
        if unshare --mount --map-root-user true 2>/dev/null; then
            unshare --mount --map-root-user sh -c '
                mount -t tmpfs -o size=8k tmpfs out && echo "{\"version\":1}" > out/run.json
                "$FLEETSTORM" run scenario.toml --out out --clock wired --progress none; echo "code $?"
                cat out/run.json; ls -A out'
        else
            trap '' XFSZ; ulimit -f 4
            "$FLEETSTORM" run scenario.toml --out out --clock wired --progress none; echo "code $?"
            cat out/run.json; ls -A out
        fi"#;
    let ended = shell(&bench, line);
    assert!(ended.stdout.contains("code 1\n"), "{ended:?}");
    assert!(ended.stderr.contains("run.json cannot be written"), "{ended:?}");
    assert!(
        ended.stdout.contains("assigned   60 of 60"),
        "what was found is at least on the terminal: {ended:?}"
    );
    assert!(ended.stdout.ends_with("{\"version\":1}\nrun.json\n"), "the earlier record stands: {ended:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let bench = Bench::new();
    let mut command = bench.command();
    command
        .args(["plugin", "list"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
}
