//! Libraries that end the process, hang in it, or leave something behind: the command says so, and leaves a record.

use std::path::Path;
use std::process::Command;

use fleetstorm_reports::record::{End, VerdictResult};

use crate::harness::{Bench, Ended};

const SCENARIO: &str = r#"
    horizon = "1h"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 20
    [[cohort]]
    retry = "test.hostile"
    [mock.throttle]
    rate = "1/s"
    burst = 1
    [compare]
    strategies = ["full-jitter", "test.hostile"]
    seeds = 2
"#;

/// Seconds that a child of a library sleeps: what it is known by.
fn nap(fault: &str) -> String {
    let seed =
        fault.bytes().fold(std::process::id(), |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{}.25", 100_000 + seed % 900_000)
}

struct Hostile {
    bench: Bench,
    library: String,
    hash: String,
}

impl Hostile {
    fn new(fault: &str) -> Self {
        let bench = Bench::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let library = bench.path("libhostile.so");
        let built = Command::new("cc")
            .args(["-std=c11", "-O1", "-shared", "-fPIC", "-I"])
            .arg(root.join("plugins/sdk/include"))
            .arg(format!("-DFAULT={fault}"))
            .arg(format!("-DCHILDREN=\"{}\"", nap(fault)))
            .arg("-o")
            .args([&library, &root.join("core/plugin-host/tests/plugins/hostile.c")])
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        bench.file("scenario.toml", SCENARIO);
        let digest = Command::new("sha256sum").arg(&library).output().unwrap().stdout;
        let hash = String::from_utf8(digest).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { library: library.to_str().unwrap().to_owned(), bench, hash }
    }

    fn does(&self, arguments: &[&str]) -> Ended {
        let plugin = ["--plugin", &self.library, "--allow-plugin", &self.hash];
        self.bench.fleetstorm(&[arguments, &plugin].concat())
    }

    fn runs(&self, clock: &str) -> Ended {
        self.does(&["run", "scenario.toml", "--out", "out", "--progress", "none", "--clock", clock])
    }

    /// Checks that a run left a record of how it broke.
    fn broke(&self, ended: &Ended, words: &str) {
        ended.refused(1, &[words]);
        let record = self.bench.record();
        assert!(matches!(&record.end, End::Broken { what } if what.contains(words)), "{:?}", record.end);
        assert_eq!((record.verdict.result, record.verdict.exit_code), (VerdictResult::Failed, 1));
        assert_eq!(record.devices, 20);
        assert!(self.bench.path("out/report.html").exists());
    }
}

/// Whether a process is left whose command line holds these words.
fn is_left(words: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| line.split(|byte| *byte == 0).any(|word| word == words.as_bytes()))
}

#[test]
fn a_library_that_ends_the_process_ends_the_run_with_a_record_on_every_clock() {
    let hostile = Hostile::new("QUICK_EXIT_IN_CALL");
    for clock in ["virtual", "wired", "wall"] {
        let ended = hostile.runs(clock);
        hostile.broke(&ended, "libhostile.so");
        std::fs::remove_dir_all(hostile.bench.path("out")).unwrap();
    }
    for fault in ["EXIT_IN_CALL", "CRASH_IN_CALL", "EXEC_IN_CALL", "EXIT_IN_CREATE", "EXIT_IN_DESTROY"] {
        let hostile = Hostile::new(fault);
        hostile.broke(&hostile.runs("virtual"), "ended before its work was done");
    }
}

#[test]
fn a_library_that_closes_what_is_open_ends_the_run_with_a_record() {
    let hostile = Hostile::new("CLOSES_EVERYTHING");
    let ended = hostile.runs("virtual");
    // What the process said while it went is the libraries that it stood on.
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(matches!(hostile.bench.record().end, End::Broken { .. }));
}

#[test]
fn a_library_that_ends_the_process_ends_every_command_that_asks_it() {
    let hostile = Hostile::new("EXIT_IN_CALL");
    for arguments in [
        &["compare", "scenario.toml"][..],
        &["capacity", "scenario.toml", "--vary", "devices", "--slo", "assigned >= 99%"],
        &["forecast", "scenario.toml", "--out", "forecast"],
        &["fidelity", "scenario.toml"],
    ] {
        hostile.does(arguments).refused(1, &["libhostile.so", "ended before its work was done"]);
    }
    let check = ["plugin", "check", &hostile.library, "--allow-plugin", &hostile.hash];
    hostile.bench.fleetstorm(&check).refused(1, &["libhostile.so", "ended before its work was done"]);
    // Nobody calls it here.
    for arguments in [&["plugin", "list"][..], &["scenario", "check", "scenario.toml"]] {
        assert_eq!(hostile.does(arguments).code, 0);
    }
}

#[test]
fn a_call_that_does_not_come_back_ends_the_run_with_a_record() {
    for (fault, clock) in
        [("HANG_IN_CALL", "virtual"), ("SLEEP_IN_CALL", "wall"), ("HANG_IN_CREATE", "wired")]
    {
        let hostile = Hostile::new(fault);
        hostile
            .broke(&hostile.runs(clock), "the retry strategy `test.hostile` of `hostile` did not come back");
    }
    let hostile = Hostile::new("SLEEP_IN_CALL");
    let check = ["plugin", "check", &hostile.library, "--allow-plugin", &hostile.hash];
    hostile.bench.fleetstorm(&check).refused(1, &["`test.hostile`", "did not come back"]);
}

#[test]
fn what_a_library_does_at_the_end_changes_no_exit_code() {
    for fault in ["EXIT_AT_THE_END", "HANG_AT_THE_END"] {
        let hostile = Hostile::new(fault);
        let ended = hostile.does(&["plugin", "describe", "ful-jitter"]);
        if fault == "EXIT_AT_THE_END" {
            ended.refused(2, &["did you mean `full-jitter`?"]);
        } else {
            // The look before it is opened finds this already.
            ended.refused(2, &["did not start within"]);
        }
    }
}

#[test]
fn processes_of_a_library_do_not_outlive_the_command() {
    for fault in ["CHILDREN_IN_INIT", "CHILDREN_IN_CALL"] {
        let hostile = Hostile::new(fault);
        let nap = nap(fault);
        hostile.bench.fleetstorm(&["plugin", "check", &hostile.library]);
        assert!(!is_left(&nap), "{fault}: after a look");
        hostile.runs("virtual");
        assert!(!is_left(&nap), "{fault}: after a run");
    }
}

#[test]
fn an_answer_that_is_printed_is_not_believed() {
    let hostile = Hostile::new("FORGED_ANSWER");
    let ended = hostile.bench.fleetstorm(&["plugin", "check", &hostile.library]);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert_ne!(hostile.does(&["plugin", "list"]).code, 0);
}

#[test]
fn a_check_says_what_a_library_pulls_in() {
    let hostile = Hostile::new("EXIT_IN_CALL");
    let ended = hostile.bench.fleetstorm(&["plugin", "check", &hostile.library]);
    assert!(ended.stdout.contains("libc.so.6"), "{}", ended.stdout);
    let json = hostile.bench.fleetstorm(&["plugin", "check", &hostile.library, "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["needs"]["libraries"][0], "libc.so.6");
}

#[test]
fn a_pipe_is_not_waited_for() {
    let bench = Bench::new();
    let pipe = bench.path("libpipe.so");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    bench
        .fleetstorm(&["plugin", "check", "./libpipe.so"])
        .refused(2, &["libpipe.so", "no ELF shared library"]);
    assert!(Command::new("mkfifo").arg(bench.path("plugins.lock")).status().unwrap().success());
    bench
        .fleetstorm(&["plugin", "list", "--plugin", "./libpipe.so"])
        .refused(2, &["plugins.lock", "regular file"]);
}
