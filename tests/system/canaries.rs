//! A secret whose value is known is put wherever a secret can be put, and looked for in everything that any command
//! leaves: standard output and error, and every file.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::harness::{Bench, Mock};

/// Keys of 64 bytes, each of which says what it is.
fn canary(name: &str) -> String {
    BASE64_STANDARD.encode(format!("{:canary$}", format!("canary of {name} "), canary = 64).replace(' ', "~"))
}

const NAMES: [&str; 7] =
    ["group", "group-2", "enrollment", "enrollment-2", "policy", "policy-2", "malformed"];

/// How a secret may be written: as it stands, without its padding, decoded, in hex, escaped.
fn spellings(name: &str) -> Vec<Vec<u8>> {
    let text = canary(name);
    let bytes = BASE64_STANDARD.decode(&text).unwrap();
    let hex: String = bytes[..24].iter().map(|byte| format!("{byte:02x}")).collect();
    // The first bytes are those of the word that all have in common: what follows them tells.
    vec![text.as_bytes()[..40].to_vec(), bytes[..24].to_vec(), hex.to_uppercase().into(), hex.into()]
}

/// What else never stands in an output: a token, and a private key.
const NEVER: [&[u8]; 3] = [b"SharedAccessSignature sr=", b"&sig=", b"PRIVATE KEY"];

const MOCK: &str = r#"
retry_after_s = 1
assignment = { kind = "constant", delay = "100ms" }
log = { file = "dps.jsonl" }
[[enrollment_group]]
id = "g"
primary_key = { file = "group" }
secondary_key = { file = "group-2" }
[[enrollment]]
registration_id = "alone"
primary_key = { file = "enrollment" }
secondary_key = { file = "enrollment-2" }
[[access_policy]]
name = "operator"
primary_key = { file = "policy" }
secondary_key = { file = "policy-2" }
"#;

const FLEET: &str = r#"
horizon = "10s"
objectives = ["assigned == 100%"]
[fleet]
devices = 6
[target]
group_key = { env = "CANARY" }
"#;

/// The same, whose mock holds secrets too.
const HOUSE: &str = r#"
horizon = "60s"
objectives = ["assigned == 100%"]
[fleet]
devices = 6
[compare]
strategies = ["full-jitter", "none"]
seeds = 2
[[mock.enrollment]]
registration_id = "alone"
primary_key = { env = "CANARY" }
secondary_key = { file = "enrollment-2" }
[[mock.access_policy]]
name = "operator"
primary_key = { file = "policy" }
"#;

fn found(name: &str, bytes: &[u8]) -> Option<String> {
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let secret = NAMES.iter().find(|secret| spellings(secret).iter().any(|spelling| holds(spelling)));
    let never = NEVER.iter().find(|never| holds(never));
    let what = secret.map(|secret| (*secret).to_owned());
    let what = what.or_else(|| never.map(|never| String::from_utf8_lossy(never).into_owned()))?;
    Some(format!("{what} in {name}"))
}

/// Every file below a directory that this test has not written itself.
fn search(directory: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            search(&path, all);
        } else if !NAMES.contains(&&*name) {
            all.extend(found(&path.display().to_string(), &std::fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn no_secret_stands_in_anything_that_a_command_leaves() {
    let bench = Bench::new();
    for name in NAMES {
        bench.file(name, &canary(name));
    }
    bench.file("malformed", &format!("{}!", canary("malformed")));
    let mock = Mock::start(&bench, MOCK);
    bench.file("fleet.toml", FLEET);
    bench.file("house.toml", HOUSE);
    bench.file("wrong.toml", &FLEET.replace("{ env = \"CANARY\" }", "{ file = \"malformed\" }"));
    let (url, ca) = (mock.url(), mock.ca().to_owned());
    let mut leaks = Vec::new();
    let mut codes = Vec::new();
    let mut does = |line: &str| {
        let line = line.replace("$URL", &url).replace("$CA", &ca);
        let output = bench.command().env("CANARY", canary("group")).args(line.split(' ')).output().unwrap();
        leaks.extend(found(&format!("standard output of {line}"), &output.stdout));
        leaks.extend(found(&format!("standard error of {line}"), &output.stderr));
        assert_ne!(output.status.code(), Some(101), "{line}: {output:?}");
        codes.push((line, output.status.code().unwrap_or(-1)));
    };
    for transport in ["https", "mqtt", "amqp", "mqtt-ws", "amqp-ws"] {
        let ports = format!(
            "--set target.mqtt_port={} --set target.amqp_port={}",
            mock.mqtt().port(),
            mock.amqp().port()
        );
        does(&format!(
            "run fleet.toml --target $URL --ca $CA --transport {transport} --out {transport} --progress plain \
             --trace {transport}/trace.jsonl {ports}"
        ));
    }
    for line in [
        "scenario check fleet.toml",
        "scenario explain fleet.toml",
        "scenario check house.toml",
        "scenario check wrong.toml",
        "run wrong.toml --target $URL --ca $CA --out wrong",
        "run house.toml --clock virtual --out virtual",
        "run house.toml --clock wired --out wired --trace wired/trace.jsonl",
        "forecast house.toml --out forecast",
        "compare house.toml --json compare.json",
        "capacity house.toml --vary devices --high 40 --json capacity.json",
        "chaos plan house.toml",
        "explain https/run.json dev-000000",
        "explain wired/run.json dev-000000",
        "diff https/run.json mqtt/run.json --out diff.html",
        "logs dps.jsonl",
        "reconcile https/run.json --azure-logs dps.jsonl",
        "enroll fleet.toml --target $URL --ca $CA --ledger ledger.jsonl --policy operator --key-env CANARY --dry-run",
        "enroll fleet.toml --target $URL --ca $CA --ledger ledger.jsonl --policy operator --key-file policy",
        "clean ledger.jsonl --ca $CA --policy operator --key-file policy",
        "report compare.json --out compare.html",
    ] {
        does(line);
    }
    for form in ["html", "md", "json", "csv", "xml", "prom", "txt"] {
        does(&format!("report https/run.json --out report.{form}"));
        does(&format!("report virtual/run.json --out virtual.{form}"));
    }
    let ran =
        |name: &str| codes.iter().any(|(line, code)| line.contains(name) && [0, 10, 11, 12].contains(code));
    for name in [
        "--transport https",
        "--transport mqtt ",
        "--transport amqp ",
        "clock virtual",
        "clock wired",
        "report.html",
    ] {
        assert!(ran(name), "nothing was looked at where nothing was done: {name}: {codes:?}");
    }
    drop(mock);
    search(bench.directory.path(), &mut leaks);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_canary_that_sings_is_heard() {
    for name in NAMES {
        assert!(
            found("here", format!("key={}", canary(name)).as_bytes())
                .is_some_and(|what| what.starts_with(name))
        );
    }
    assert!(found("here", b"nothing").is_none());
}
