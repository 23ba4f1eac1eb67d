//! `tests/advisories` with a tool that says what we want: what is found fails, and what was not looked up says so.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{Bench, Ended};

const FOUND: &str = r#"{"fields":{"advisory":{"id":"RUSTSEC-2026-0001"},"code":"vulnerability","message":"It is broken","severity":"error"},"type":"diagnostic"}"#;
const WARNED: &str = r#"{"fields":{"code":"advisory-not-detected","message":"nothing to see","severity":"warning"},"type":"diagnostic"}"#;
const LOOKED: &str =
    r#"{"fields":{"advisories":{"errors":0,"helps":0,"notes":0,"warnings":0}},"type":"summary"}"#;
const UNREACHED: &str = r#"{"fields":{"level":"ERROR","message":"failed to fetch advisory database","timestamp":"x"},"type":"log"}"#;

/// Runs the check with a tool that says this and ends so, online and offline.
fn checked(online: (&[&str], u8), offline: (&[&str], u8)) -> Ended {
    let bench = Bench::new();
    let says = |(lines, code): (&[&str], u8)| {
        let lines: String = lines.iter().map(|line| format!("echo '{line}' >&2\n")).collect();
        format!("{lines}exit {code}\n")
    };
    let tool = format!("#!/bin/sh\ncase \"$*\" in *--offline*)\n{};;\nesac\n{}", says(offline), says(online));
    let cargo = bench.file("cargo", &tool);
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/advisories");
    let path = format!("{}:{path}", bench.directory.path().display());
    Ended::of(&Command::new("bash").arg(script).env("PATH", path).output().unwrap())
}

#[test]
fn found_and_not_looked_are_different_endings() {
    let unreached = (&[UNREACHED][..], 1);
    let ended = checked((&[WARNED, LOOKED], 0), unreached);
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (0, "", ""));
    checked((&[FOUND, LOOKED], 1), unreached).refused(1, &["RUSTSEC-2026-0001", "It is broken"]);
    checked(unreached, (&[FOUND, LOOKED], 1)).refused(1, &["RUSTSEC-2026-0001"]);
    let ended = checked(unreached, (&[LOOKED], 0));
    assert_eq!((ended.code, &*ended.stdout), (0, ""), "an earlier copy was looked at: {ended:?}");
    for nothing in [unreached, (&["what is this"][..], 101), (&[][..], 0)] {
        let ended = checked(nothing, nothing);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains("not checked"), "{ended:?}");
    }
    // It looked and is not content, whatever it is about.
    assert_eq!(checked((&[LOOKED], 1), unreached).code, 1);
}
