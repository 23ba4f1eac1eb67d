//! What is only told ends nothing: every subcommand with a disk that is full and with readers that have gone, at either of
//! its outputs.

use std::fs::OpenOptions;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::harness::{Bench, signal};

const SMALL: &str = r#"
    horizon = "2m"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 4
    [mock]
    log = { file = "dps.jsonl" }
    [compare]
    strategies = ["immediate", "full-jitter"]
    seeds = 2
"#;

/// Each with arguments that let it do something; a path below `new` is made by it.
const COMMANDS: [&str; 23] = [
    "run wired.toml --clock wired --out new/run",
    "forecast small.toml --out new/forecast",
    "compare small.toml --json new/compare.json",
    "capacity small.toml --low 1 --high 4 --repeats 3 --json new/capacity.json",
    "plan --devices 40 --within 1h --json new/plan.json",
    "fidelity small.toml --measured out/run.json --seeds 2 --json new/fidelity.json",
    "calibrate out/run.json",
    "report out/run.json",
    "report out/run.json --format json",
    "diff out/run.json out/run.json --format json",
    "explain 429",
    "explain out/run.json dev-000002",
    "logs dps.jsonl --result Success",
    "reconcile out/run.json --azure-logs dps.jsonl",
    "enroll small.toml --target https://127.0.0.1:1 --dry-run",
    "clean ledger.jsonl --dry-run",
    "import dps.json",
    "plugin list",
    "plugin describe full-jitter",
    "plugin check full-jitter --json",
    "chaos plan small.toml",
    "chaos shrink out/run.json",
    "scenario check small.toml",
];

/// More words of subcommands above.
const MORE: [&str; 4] = ["scenario explain small.toml", "scenario schema", "--help", "run --help"];

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("wired.toml", SMALL);
    bench.file("small.toml", &SMALL.replace("log = { file = \"dps.jsonl\" }", ""));
    bench.file(
        "dps.json",
        r#"{"name": "dps-a", "type": "Microsoft.Devices/provisioningServices", "properties": {"idScope": "0ne00ABCDEF"}}"#,
    );
    bench.file("ledger.jsonl", "{\"service\":\"https://127.0.0.1:1\"}\n");
    let ended = bench.fleetstorm(&["run", "wired.toml", "--clock", "wired", "--out", "out"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    bench
}

/// The exit code, and the files that are left below `new`.
fn ended(bench: &Bench, line: &str, out: Stdio, err: Stdio) -> (i32, Vec<String>, String) {
    let new = bench.path("new");
    let _ = std::fs::remove_dir_all(&new);
    let child = bench.command().args(line.split(' ')).stdout(out).stderr(err).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let mut files = Vec::new();
    let mut folders = vec![new];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => files.push(entry.display().to_string()),
            }
        }
    }
    files.sort();
    (output.status.code().unwrap_or(-1), files, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_subcommand_outlives_a_full_disk_and_readers_that_have_gone() {
    let bench = bench();
    for line in COMMANDS.into_iter().chain(MORE) {
        let (code, files, said) = ended(&bench, line, Stdio::null(), Stdio::piped());
        assert!(![1, 101, -1].contains(&code), "{line}: {code}, {said}");
        let refused = if code == 0 { 1 } else { code };
        for (what, out, err, wanted) in [
            ("a full standard error", Stdio::null(), full(), code),
            ("nobody at standard error", Stdio::null(), nobody(), code),
            ("nobody at standard output", nobody(), Stdio::piped(), code),
            ("nobody at either", nobody(), nobody(), code),
            ("a full standard output", full(), Stdio::piped(), refused),
            ("both full", full(), full(), refused),
        ] {
            let (got, left, said) = ended(&bench, line, out, err);
            // What was to be said on standard error only is not lost with standard output.
            assert!(got == wanted || got == code && line.contains("shrink"), "{line}, {what}: {got}, {said}");
            assert_eq!(left, files, "{line}, {what}: {said}");
            assert!(!said.contains("panicked"), "{line}, {what}: {said}");
            assert!(got != 1 || said.is_empty() || said.contains("No space left"), "{line}, {what}: {said}");
        }
    }
}

#[test]
fn no_subcommand_is_left_out() {
    let help = Bench::new().fleetstorm(&["--help"]).stdout;
    let list = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let tried = COMMANDS.iter().any(|line| line.split(' ').next() == Some(name));
        assert!(tried || ["mock", "help"].contains(&name), "{name} is tried nowhere here");
    }
}

#[test]
fn a_mock_that_cannot_say_that_it_is_ready_serves_until_it_is_interrupted() {
    for out in [full(), nobody()] {
        let bench = Bench::new();
        let listen = |door: &str| ["--set".to_owned(), format!("listen.{door}=127.0.0.1:0")];
        let doors = ["https", "mqtt", "amqp"].map(listen).concat();
        let mut child: Child =
            bench.command().arg("mock").args(doors).stdout(out).stderr(nobody()).spawn().unwrap();
        // Its CA is the last thing that it makes before it would say that it is ready.
        while !bench.path("fleetstorm-mock-ca.pem").exists() {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        signal(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}
