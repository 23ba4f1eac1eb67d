//! Where results go, where files are looked for, and what is never touched or told.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::process::Stdio;

use crate::bad_input::shell;
use crate::harness::{Bench, Mock};

const TINY: &str = r#"
    horizon = "20s"
    objectives = ["assigned == 100%"]
    [fleet]
    devices = 20
    [[cohort]]
    name = "all"
    [mock.throttle]
    profile = "unlimited"
"#;

#[test]
fn every_output_follows_links_and_writes_into_pipes_and_devices() {
    let bench = Bench::new();
    bench.run(TINY, &["--clock", "wired"]).passed();
    std::fs::create_dir(bench.path("far")).unwrap();
    symlink("far/page.html", bench.path("page.html")).unwrap();
    assert_eq!(bench.fleetstorm(&["report", "out/run.json", "--out", "page.html"]).code, 0);
    assert!(bench.path("page.html").is_symlink() && bench.path("far/page.html").is_file());
    for (command, form) in [
        ("report out/run.json --format json --out", "\"version\""),
        ("diff out/run.json out/run.json --format json --out", "\"shifts\""),
        ("plan --devices 200 --within 30m --json", "\"devices\""),
    ] {
        let line = format!(
            "mkfifo pipe; cat pipe > got & \"$FLEETSTORM\" {command} pipe; code=$?; wait; exit $code"
        );
        let ended = shell(&bench, &line);
        assert_eq!(ended.code, 0, "{command}: {ended:?}");
        assert!(bench.path("pipe").symlink_metadata().unwrap().file_type().is_fifo(), "{command}");
        assert!(std::fs::read_to_string(bench.path("got")).unwrap().contains(form), "{command}");
        std::fs::remove_file(bench.path("pipe")).unwrap();
    }
    let full = bench.fleetstorm(&["report", "out/run.json", "--format", "text", "--out", "/dev/full"]);
    full.refused(1, &["/dev/full cannot be written"]);
    assert!(std::fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}

#[test]
fn the_ending_of_a_difference_chooses_its_form() {
    let bench = Bench::new();
    bench.run(TINY, &["--clock", "wired"]).passed();
    for (name, begins) in
        [("d.html", "<!"), ("d.md", "### "), ("d.json", "{"), ("d.xml", "<?xml"), ("d.txt", "base  ")]
    {
        assert_eq!(bench.fleetstorm(&["diff", "out/run.json", "out/run.json", "--out", name]).code, 0);
        let text = std::fs::read_to_string(bench.path(name)).unwrap();
        assert!(text.trim_start().to_lowercase().starts_with(begins), "{name}: {text:.80}");
    }
    bench
        .fleetstorm(&["diff", "out/run.json", "out/run.json", "--out", "d.png"])
        .refused(2, &[".md", "--format"]);
    bench
        .fleetstorm(&["diff", "out/run.json", "out/run.json", "--out", "d.csv"])
        .refused(2, &["a difference has no csv", "junit"]);
}

#[test]
fn two_runs_do_not_share_an_output_a_trace_or_a_log() {
    let bench = Bench::new();
    let slow =
        TINY.replace("unlimited", "dps-doc\"\nrate = \"1/min\"\nburst = 1\n# \"").replace("20s", "10m");
    bench.file("slow.toml", &format!("{slow}\n[mock.log]\nfile = \"dps.jsonl\"\n"));
    let mut first = bench
        .command()
        .args(["run", "slow.toml", "--out", "out", "--progress", "json", "--trace", "trace.jsonl"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut told = std::io::BufReader::new(first.stderr.take().unwrap());
    while !line.contains("progress") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut told, &mut line).unwrap() > 0, "it never began");
    }
    bench.run(TINY, &["--clock", "wired"]).refused(14, &["another fleetstorm", "out", "--out"]);
    let other = |arguments: &[&str]| {
        let mut all =
            vec!["run", "scenario.toml", "--out", "other", "--progress", "none", "--clock", "wired"];
        all.extend_from_slice(arguments);
        bench.fleetstorm(&all)
    };
    other(&["--trace", "trace.jsonl"]).refused(2, &["trace.jsonl", "another fleetstorm"]);
    other(&["--set", "mock.log.file=dps.jsonl"]).refused(2, &["dps.jsonl", "another fleetstorm"]);
    crate::harness::signal(&first, rustix::process::Signal::KILL);
    first.wait().unwrap();
    bench
        .run(TINY, &["--clock", "wired", "--trace", "trace.jsonl", "--set", "mock.log.file=dps.jsonl"])
        .passed();
    let told = bench.fleetstorm(&["explain", "out/run.json", "dev-000003"]);
    assert!(told.stdout.contains("hub"), "{told:?}");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let bench = Bench::new();
    for (name, arguments) in
        [("notes.txt", ["--trace", "notes.txt"]), ("data.json", ["--set", "mock.log.file=data.json"])]
    {
        let text = "{\"all\": \"mine\"}\n";
        bench.file(name, text);
        bench
            .run(TINY, &[&["--clock", "wired"][..], &arguments[..]].concat())
            .refused(2, &[name, "left alone"]);
        assert_eq!(std::fs::read_to_string(bench.path(name)).unwrap(), text);
    }
    bench.file("mine.pem", "mine\n");
    bench.file(
        "mock.toml",
        "[listen]\nhttps = \"127.0.0.1:0\"\nmqtt = \"off\"\namqp = \"off\"\n[tls]\nca_out = \"mine.pem\"\n",
    );
    bench.fleetstorm(&["mock", "--config", "mock.toml"]).refused(2, &["mine.pem", "left alone"]);
}

#[test]
fn a_mock_adds_to_its_log_and_says_what_it_forgets() {
    let bench = Bench::new();
    let file = "log = { file = \"dps.jsonl\" }\n";
    let lines = || std::fs::read_to_string(bench.path("dps.jsonl")).unwrap().lines().count();
    let mut before = 0;
    for round in 0..2 {
        let mock = Mock::start(&bench, file);
        assert_eq!(mock.ready["log"]["bytes_before"].as_u64().unwrap() > 0, round > 0, "{}", mock.ready);
        bench.run(TINY, &["--target", &mock.url(), "--ca", mock.ca()]).passed();
        let (stopped, code) = mock.interrupt();
        assert_eq!((code, &stopped["forgotten_registrations"]), (130, &serde_json::json!(20)), "{stopped}");
        assert!(lines() > before + 20, "{round}");
        before = lines();
    }
}

#[test]
fn paths_begin_where_the_file_is_and_on_the_command_line_where_one_stands() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("far")).unwrap();
    bench.file("far/boots.csv", "t_s\n0\n1\n");
    bench.file("far/strict.toml", "[dps]\nserver_error = \"park\"\n");
    bench.file(
        "far/a.toml",
        "profile = \"strict.toml\"\n[fleet]\ndevices = 2\narrival = { kind = \"trace\", file = \"boots.csv\" }\n\
         [mock.throttle]\nprofile = \"unlimited\"\n[mock.log]\nfile = \"dps.jsonl\"\n",
    );
    let run = |more: &[&str]| {
        let mut all = vec!["run", "far/a.toml", "--out", "out", "--progress", "none", "--clock", "wired"];
        all.extend_from_slice(more);
        bench.fleetstorm(&all)
    };
    assert!([0, 11].contains(&run(&["--set", "objectives=[\"assigned == 100%\"]"]).code));
    assert!(bench.path("far/dps.jsonl").exists() && !bench.path("dps.jsonl").exists());
    bench.file("here.csv", "t_s\n0\n5\n");
    let here = "fleet.arrival={ kind = \"trace\", file = \"here.csv\" }";
    assert!([0, 11].contains(&run(&["--set", here, "--set", "mock.log.file=here.jsonl"]).code));
    assert!(bench.path("here.jsonl").exists());
    let told = bench.fleetstorm(&["explain", "out/run.json", "dev-000001"]);
    assert_eq!(told.code, 0, "the record knows where its files are: {told:?}");
}

#[test]
fn variables_that_name_no_value_are_told_and_ignored() {
    let bench = Bench::new();
    bench.file("a.toml", TINY);
    let check = |name: &str, value: &str| {
        let output = bench.command().args(["scenario", "check", "a.toml"]).env(name, value).output().unwrap();
        crate::harness::Ended::of(&output)
    };
    for name in [
        "FLEETSTORM_PORT",
        "FLEETSTORM_SERVICE_HOST",
        "FLEETSTORM_PORT_8443_TCP_ADDR",
        "FLEETSTORM_FLEET__DEVISES",
    ] {
        let ended = check(name, "tcp://10.0.0.1:8443");
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stderr.contains(name) && ended.stderr.contains("ignored"), "{ended:?}");
        assert!(!ended.stderr.contains("10.0.0.1"), "{ended:?}");
    }
    check("FLEETSTORM_FLEET__DEVICES", "many").refused(2, &["FLEETSTORM_FLEET__DEVICES"]);
    assert!(check("FLEETSTORM_FLEET__DEVICES", "7").stdout.contains("7 devices"));
}

#[test]
fn secrets_written_in_place_are_never_echoed() {
    const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ5";
    let bench = Bench::new();
    for text in [
        format!("[target]\ngroup_key = \"{KEY}\""),
        format!("[target]\ngroup_key = {KEY}"),
        format!("[[mock.enrollment_group]]\nid = \"g\"\nprimary_key = \"{KEY}\""),
        format!("[[cohort]]\nattestation = {{ kind = \"symmetric-key\", group_keys = \"{KEY}\" }}"),
    ] {
        bench.file("a.toml", &text);
        let ended = bench.fleetstorm(&["run", "a.toml"]);
        ended.refused(2, &["a.toml"]);
        assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
        if text.contains("= \"c2") && !text.contains("group_keys") {
            ended.refused(2, &["{ env = \"NAME\" }", "{ file = "]);
        }
    }
    bench.file("a.toml", "");
    let ended = bench.fleetstorm(&["run", "a.toml", "--set", &format!("target.group_key={KEY}")]);
    ended.refused(2, &["--set target.group_key=", "{ env = \"NAME\" }"]);
    assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
    let output =
        bench.command().args(["run", "a.toml"]).env("FLEETSTORM_TARGET__GROUP_KEY", KEY).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("FLEETSTORM_TARGET__GROUP_KEY") && !told.contains(KEY), "{told}");
    bench.file("mock.toml", &format!("[[access_policy]]\nname = \"p\"\nprimary_key = \"{KEY}\""));
    let ended = bench.fleetstorm(&["mock", "--config", "mock.toml"]);
    ended.refused(2, &["{ env = \"NAME\" }"]);
    assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
}

#[test]
fn texts_of_strangers_reach_no_terminal_as_they_are() {
    let bench = Bench::new();
    let evil = "\\u001b[31m\\u202evil\\u009b2J";
    bench.file(
        "a.toml",
        &format!(
            "name = \"n{evil}\"\nquestion = \"q{evil}\"\nhorizon = \"1m\"\nobjectives = [\"assigned == 100%\"]\n[[cohort]]\nname = \"c{evil}\"\n\
             [[chaos]]\nname = \"f{evil}\"\nfault = {{ kind = \"net.refused\" }}\nstart = \"5s\"\nduration = \"3s\"\nmin_fired = 1\n"
        ),
    );
    bench.file(
        "bad.toml",
        &format!("objectives = [\"assigned == 1% for \\\"x{}\\\"\"]\n# {}\n", evil, "\u{1b}[31m\u{202e}"),
    );
    bench.file(
        "dps.jsonl",
        &format!(
            "{{\"OperationName\":\"o{evil}\",\"ResultType\":\"ClientError\",\"ResultSignature\":\"401\",\
             \"ResultDescription\":\"d\\n{evil}\",\"properties_s\":\"{{\\\"id\\\":\\\"i\\u001b[2J\\\"}}\"}}\n"
        ),
    );
    let out = ["--out", "out", "--clock", "virtual"];
    for arguments in [
        &["scenario", "explain", "a.toml"][..],
        &["scenario", "check", "a.toml"],
        &["scenario", "check", "bad.toml"],
        &["chaos", "plan", "a.toml"],
        &["chaos", "plan", "a.toml", "--json"],
        &["logs", "dps.jsonl"],
        &[&["run", "a.toml"], &out[..]].concat(),
        &["explain", "out/run.json", "dev-000001"],
        &["report", "out/run.json"],
        &["report", "out/run.json", "--format", "json"],
        &["report", "out/run.json", "--format", "csv"],
        &["report", "out/run.json", "--format", "junit"],
        &["report", "out/run.json", "--format", "prometheus"],
        &["report", "out/run.json", "--format", "markdown"],
        &["report", "out/run.json", "--format", "html"],
        &["diff", "out/run.json", "out/run.json"],
        &["diff", "out/run.json", "out/run.json", "--format", "json"],
        &["diff", "out/run.json", "out/run.json", "--format", "markdown"],
        &["diff", "out/run.json", "out/run.json", "--format", "junit"],
    ] {
        let ended = bench.fleetstorm(arguments);
        let told = [ended.stdout.as_str(), &ended.stderr].concat();
        assert!(told.len() > 20 && !told.contains("panicked"), "{arguments:?}: {ended:?}");
        let raw = |c: char| (c.is_control() && !"\n\t".contains(c)) || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!told.contains(raw), "{arguments:?}: {told:?}");
    }
    for file in ["out/run.json", "out/report.html"] {
        let text = std::fs::read_to_string(bench.path(file)).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{file}");
    }
}

#[test]
fn errors_name_the_place_and_what_to_type() {
    let bench = Bench::new();
    bench.file("a.toml", "seed = 1\n[cohort]\nname = \"x\"\n");
    bench.fleetstorm(&["run", "a.toml"]).refused(2, &["a.toml:2", "[[cohort]]"]);
    bench.file("b.toml", "[[cohort]]\nname = \"x\"\nretry = { kind = \"fixed\", wait = 5 }\n");
    for command in [&["scenario", "check"][..], &["run"], &["compare"], &["chaos", "plan"]] {
        let ended = bench.fleetstorm(&[command, &["b.toml"]].concat());
        if command != ["compare"] {
            ended.refused(2, &["b.toml:3", "wait", "base_ms"]);
        }
    }
    bench
        .fleetstorm(&["run", "a.toml", "--devices", "5"])
        .refused(2, &["--devices", "--set fleet.devices=5"]);
}
