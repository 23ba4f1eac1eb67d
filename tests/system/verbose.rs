//! What `-v` and `FLEETSTORM_LOG` tell, and what they keep to themselves.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Bench, Ended};

/// Three devices, each of which meets one refusal.
const REFUSED: &str = "
[fleet]
devices = 3
arrival = { kind = \"all-at-once\" }
[[cohort]]
attestation = \"symmetric-key\"
retry = { kind = \"fixed\", base_ms = 100 }
[[chaos]]
count = { per = \"device\", first = 1 }
fault = { kind = \"service.error\", status = 503 }
";

fn lines<'a>(ended: &'a Ended, words: &[&str]) -> Vec<&'a str> {
    ended.stderr.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect()
}

#[test]
fn what_is_told_grows_with_each_v() {
    let bench = Bench::new();
    let run = |more: &[&str]| bench.run(REFUSED, &[&["--clock", "wired"], more].concat());
    let [silent, steps, failures] = [run(&[]), run(&["-v"]), run(&["-vv"])];
    assert_eq!(silent.stderr, "", "nothing is told unasked");
    assert_eq!([&steps, &failures].map(|ended| &ended.stdout), [&silent.stdout; 2], "the result is the same");
    let begun = ["INFO fleetstorm::run:", "the run begins", "devices=3"];
    assert_eq!(lines(&steps, &begun).len(), 1, "{}", steps.stderr);
    assert_eq!(lines(&steps, &["DEBUG"]).len(), 0, "{}", steps.stderr);
    let failed = lines(&failures, &["DEBUG fleetstorm_engine", "503", "cause="]);
    assert_eq!(failed.len(), 3, "{}", failures.stderr);
    assert_eq!(lines(&failures, &begun).len(), 1, "{}", failures.stderr);
}

#[test]
fn the_environment_tells_it_by_part_and_a_mistake_in_it_ends_nothing() {
    let bench = Bench::new();
    bench.file("scenario.toml", REFUSED);
    let run = |level: &str| {
        let mut command = bench.command();
        command.args(["run", "scenario.toml", "--out", "out", "--progress", "none", "--clock", "wired"]);
        Ended::of(&command.env("FLEETSTORM_LOG", level).output().unwrap())
    };
    let part = run("fleetstorm_engine=debug");
    assert_eq!((lines(&part, &["DEBUG"]).len(), lines(&part, &["INFO"]).len()), (3, 0), "{}", part.stderr);
    let wrong = run("fleetstorm_engine=loud");
    assert_eq!(wrong.code, part.code);
    assert_eq!(lines(&wrong, &["warning: FLEETSTORM_LOG", "debug, trace"]).len(), 1, "{}", wrong.stderr);
}

#[test]
fn keys_and_tokens_are_not_told() {
    let bench = Bench::new();
    let key = "c2VjcmV0IG9mIHRoZSBncm91cCwgd2hpY2ggaXMgbG9uZw==";
    bench.file("key", key);
    let mock = crate::harness::Mock::start(
        &bench,
        &format!(
            "id_scope = \"0ne00000A00\"\n[[enrollment_group]]\nid = \"g\"\nprimary_key = {{ file = \"{0}\" }}\n\
             secondary_key = {{ file = \"{0}\" }}\n",
            bench.path("key").display()
        ),
    );
    let scenario = format!(
        "objectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 2\n[target]\nkind = \"endpoint\"\naddress = \
         \"https://{}\"\nca_file = {}\nid_scope = \"0ne00000A00\"\ngroup_key = {{ file = \"{}\" }}\n",
        mock.address(),
        mock.ready["ca"],
        bench.path("key").display()
    );
    let ended = bench.run(&scenario, &["-vvv"]);
    ended.passed();
    assert!(!lines(&ended, &["TRACE fleetstorm_net", "connected"]).is_empty(), "{}", ended.stderr);
    for secret in [key, "SharedAccessSignature", "sig="] {
        assert!(!ended.stderr.contains(secret), "{secret}: {}", ended.stderr);
    }
}

#[test]
fn a_mock_tells_whose_handshake_failed() {
    let bench = Bench::new();
    let mut mock = bench
        .command()
        .args(["mock", "-vv", "--set", "listen.https=127.0.0.1:0", "--set", "listen.mqtt=off"])
        .args(["--set", "listen.amqp=off"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(mock.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let mut stream = TcpStream::connect(ready["https"].as_str().unwrap()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let told = BufReader::new(mock.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find(|line| line.contains("the TLS handshake failed"))
        .unwrap();
    assert!(told.contains("DEBUG fleetstorm_mock") && told.contains("from=127.0.0.1"), "{told}");
    mock.kill().unwrap();
    mock.wait().unwrap();
}
