//! Strategies of one's own, through the command.

use std::io::Write as _;
use std::process::Command;

use fleetstorm_reports::Record;

use crate::harness::Bench;

const SCENARIO: &str = r#"
    horizon = "5m"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 300
    [[cohort]]
    retry = "linear-c"
    [mock.throttle]
    rate = "20/s"
    burst = 20
"#;

/// The example in C, built as its reader would.
fn built(bench: &Bench) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let source = std::fs::read_dir(root.join("plugins/examples/c"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "c"))
        .unwrap();
    let name = source.file_stem().unwrap().to_str().unwrap().replace('-', "_");
    let library = bench.path(&format!("libfleetstorm_plugin_{name}.so"));
    let include = root.join("plugins/sdk/include");
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-I"])
        .arg(&include)
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    library.to_str().unwrap().to_owned()
}

#[test]
fn what_there_is_is_listed_and_described() {
    let bench = Bench::new();
    let ended = bench.fleetstorm(&["plugin", "list"]);
    for id in ["full-jitter", "sdk-embedded-c", "bad.overflow", "symmetric-key", "x509"] {
        assert!(ended.stdout.contains(id), "{id}");
    }
    let list = bench.fleetstorm(&["plugin", "list", "--json"]).stdout;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert!(list.len() > 30 && list.iter().all(|part| part["schema"].is_object()));
    let ended = bench.fleetstorm(&["plugin", "describe", "full-jitter"]);
    assert!(ended.stdout.contains("cap_ms (default 120000)"), "{}", ended.stdout);
    bench.fleetstorm(&["plugin", "describe", "ful-jitter"]).refused(2, &["did you mean `full-jitter`?"]);
}

#[test]
fn the_examiner_tells_sound_strategies_from_broken_ones() {
    let bench = Bench::new();
    assert_eq!(bench.fleetstorm(&["plugin", "check", "full-jitter"]).code, 0);
    for (id, finding) in
        [("bad.overflow", "wraps"), ("sdk-embedded-c", "jitter is lost"), ("bad.hot-loop", "FAIL")]
    {
        let ended = bench.fleetstorm(&["plugin", "check", id]);
        assert_eq!(ended.code, 10, "{id}: {ended:?}");
        assert!(ended.stdout.contains(finding), "{id}: {}", ended.stdout);
    }
}

#[test]
fn a_library_runs_only_if_it_is_allowed() {
    let bench = Bench::new();
    let library = built(&bench);
    let ended = bench.fleetstorm(&["plugin", "check", &library]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let hash =
        ended.stdout.split("--allow-plugin ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let lock = ended.stdout[ended.stdout.find("[[plugin]]").unwrap()..].to_owned();

    let listed =
        bench.fleetstorm(&["plugin", "list", "--json", "--plugin", &library, "--allow-plugin", &hash]);
    let parts: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).unwrap();
    let part = parts.iter().find(|part| part["sha256"] == *hash).unwrap();
    let retry = format!("cohort.0.retry={}", part["id"].as_str().unwrap());

    let run = |more: &[&str]| {
        let all = [&["--clock", "wired", "--plugin", &*library, "--set", &*retry], more].concat();
        bench.run(SCENARIO, &all)
    };
    run(&[]).refused(2, &["--allow-plugin"]);
    assert_eq!(run(&["--allow-plugin", &hash]).code, 0);
    let used = bench.record().plugins.into_iter().find(|plugin| plugin.kind == "retry").unwrap();
    assert_eq!(used.sha256.as_deref(), Some(&*hash), "the record names the code that ran");
    bench.file("plugins.lock", &lock);
    assert_eq!(run(&[]).code, 0, "the lock file allows it too");

    // The process that opens the library cannot read a pipe once more.
    let mut piped = bench.command();
    piped.args(["run", "/dev/stdin", "--out", "piped", "--progress", "none", "--clock", "wired"]);
    piped.args(["--plugin", &library, "--set", &retry]).stdin(std::process::Stdio::piped());
    let mut piped = piped.stdout(std::process::Stdio::null()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(SCENARIO.as_bytes()).unwrap();
    assert_eq!(piped.wait().unwrap().code(), Some(0));
    let totals = |out: &str| Record::read(&std::fs::read(bench.path(out)).unwrap()).unwrap().totals;
    assert_eq!(totals("piped/run.json"), totals("out/run.json"));

    run(&["--allow-plugin", "abc"]).refused(2, &["no SHA-256"]);
}

#[test]
fn files_that_are_no_plugins_are_refused() {
    let bench = Bench::new();
    bench.file("text.so", "no library");
    bench.fleetstorm(&["plugin", "check", "./text.so"]).refused(2, &["text.so"]);
    bench.fleetstorm(&["plugin", "check", "./nowhere.so"]).refused(2, &["nowhere.so"]);
    bench.fleetstorm(&["plugin", "check", "nothing-of-that-name"]).refused(2, &["nothing-of-that-name"]);
}

#[test]
fn a_new_plugin_is_written_once() {
    let bench = Bench::new();
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/sdk");
    let new = || {
        bench.fleetstorm(&[
            "plugin",
            "new",
            "acme-backoff",
            "--kind",
            "retry",
            "--sdk",
            sdk.to_str().unwrap(),
        ])
    };
    assert_eq!(new().code, 0);
    assert!(bench.path("acme-backoff/Cargo.toml").exists() && bench.path("acme-backoff/src/lib.rs").exists());
    new().refused(2, &["is there already"]);
    bench
        .fleetstorm(&["plugin", "new", "Acme!", "--kind", "retry", "--sdk", sdk.to_str().unwrap()])
        .refused(2, &["Acme!"]);
    bench
        .fleetstorm(&["plugin", "new", "x", "--kind", "retry", "--sdk", "nowhere"])
        .refused(2, &["plugins/sdk"]);
}
