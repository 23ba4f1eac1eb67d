//! The mock's resource log, and what can be learnt from it.

use std::io::Write as _;

use crate::harness::Bench;

const SCENARIO: &str = r#"
    horizon = "5m"
    [fleet]
    devices = 300
    [[cohort]]
    name = "good"
    share = 0.8
    retry = { kind = "full-jitter", base_ms = 200, cap_ms = 1500 }
    [[cohort]]
    name = "unknown"
    share = 0.2
    enrolled = false
    [mock]
    log = { file = "dps.jsonl" }
    [mock.throttle]
    rate = "100/s"
    burst = 50
"#;

#[test]
fn the_mocks_log_tells_the_story_of_the_devices() {
    let bench = Bench::new();
    for clock in ["wired", "wall"] {
        let ended = bench.run(SCENARIO, &["--clock", clock]);
        ended.passed();
        let record = bench.record();
        let log = record.service_log.clone().unwrap();
        let lines = std::fs::read_to_string(bench.path("dps.jsonl")).unwrap();
        assert_eq!((log.written, log.dropped, &*log.error), (lines.lines().count() as u64, 0, ""));
        assert_eq!(log.written, record.totals.requests, "{clock}");
        let same = bench.fleetstorm(&["reconcile", "out/run.json", "--azure-logs", "dps.jsonl"]);
        assert_eq!(same.code, 0, "{clock}: {same:?}");
        assert!(same.stdout.contains("no difference"), "{same:?}");
        let offset = same.stdout.lines().find(|line| line.contains("clock is")).unwrap();
        let secs: f64 = offset.split_whitespace().nth(4).unwrap().parse().unwrap();
        assert!(secs.abs() < 0.5, "one clock drove both: {offset}");
    }
}

#[test]
fn every_door_writes_the_log() {
    for (transport, clock, protocol) in [
        ("mqtt", "wired", "Mqtt"),
        ("mqtt-ws", "wired", "Mqtt"),
        ("mqtt", "wall", "Mqtt"),
        ("amqp", "wired", "Amqp"),
        ("amqp-ws", "wired", "Amqp"),
    ] {
        let bench = Bench::new();
        let cohort = format!("[[cohort]]\n    transport = \"{transport}\"");
        bench.run(&SCENARIO.replace("[[cohort]]", &cohort), &["--clock", clock]).passed();
        let lines = std::fs::read_to_string(bench.path("dps.jsonl")).unwrap();
        let spoken = format!(r#"\"protocol\":\"{protocol}\""#);
        assert!(lines.lines().all(|line| line.contains(&spoken)), "{lines}");
        assert_eq!(lines.lines().count() as u64, bench.record().totals.requests, "{transport} {clock}");
        let same = bench.fleetstorm(&["reconcile", "out/run.json", "--azure-logs", "dps.jsonl"]);
        assert_eq!(same.code, 0, "{transport} {clock}: {same:?}");
    }
}

#[test]
fn lines_that_were_deleted_are_found() {
    let bench = Bench::new();
    assert_eq!(bench.run(SCENARIO, &["--clock", "wired"]).code, 0);
    let lines = std::fs::read_to_string(bench.path("dps.jsonl")).unwrap();
    let mut deleted = 0;
    let kept: String = lines
        .lines()
        .filter(|line| {
            let gone = line.contains("401000") && deleted < 7;
            deleted += u64::from(gone);
            !gone
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(deleted, 7);
    bench.file("cut.jsonl", &kept);
    let ended = bench.fleetstorm(&["reconcile", "out/run.json", "--azure-logs", "cut.jsonl"]);
    assert_eq!(ended.code, 10, "{ended:?}");
    let row = ended.stdout.lines().find(|line| line.contains("401000")).unwrap();
    assert_eq!(row.split_whitespace().nth(3), Some("7"), "devices only: {row}");
    assert!(ended.stdout.contains("7 answers are known to one side only"), "{ended:?}");
}

#[test]
fn a_log_answers_what_failed_how_often_and_for_whom() {
    let bench = Bench::new();
    assert_eq!(bench.run(SCENARIO, &["--clock", "wired"]).code, 0);
    let all = bench.fleetstorm(&["logs", "dps.jsonl"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(
        all.stdout.contains("AttestationAttempt ClientError 429001  Too many requests"),
        "{}",
        all.stdout
    );
    let only = bench.fleetstorm(&["logs", "dps.jsonl", "--code", "401", "--top", "1"]);
    assert!(
        only.stdout.contains("120  AttestationAttempt ClientError 401000  Unauthorized"),
        "{}",
        only.stdout
    );
    assert!(only.stdout.contains("and 57 more"), "{}", only.stdout);
    assert!(!only.stdout.contains("429001"));
    let none = bench.fleetstorm(&["logs", "dps.jsonl", "--operation", "Upsert"]);
    assert!(none.stdout.contains("nothing failed"), "{}", none.stdout);
}

#[test]
fn files_that_are_no_log_are_refused() {
    let bench = Bench::new();
    bench.file("columns.csv", "TimeGenerated,OperationName\n1,2\n");
    bench.fleetstorm(&["logs", "columns.csv"]).refused(2, &["ResultSignature", "columns.csv"]);
    bench.fleetstorm(&["logs", "absent"]).refused(2, &["absent"]);
    bench.file("text", "hello, world\n");
    bench.fleetstorm(&["logs", "text"]).refused(2, &["OperationName"]);
    bench.file("array", "[{]");
    bench.fleetstorm(&["logs", "array"]).refused(2, &["broken"]);
}

/// The file is larger than the memory that the command may have.
#[test]
fn an_export_of_a_million_lines_is_read_as_a_stream() {
    let bench = Bench::new();
    let mut export = std::io::BufWriter::new(std::fs::File::create(bench.path("export.csv")).unwrap());
    writeln!(
        export,
        "TimeGenerated,OperationName,ResultType,ResultSignature,ResultDescription,ResourceId,properties_s"
    )
    .unwrap();
    let resource = "x".repeat(200);
    for line in 0..1_000_000 {
        let (result, status) = if line % 4 == 0 { ("ClientError", 429) } else { ("Success", 202) };
        writeln!(
            export,
            "2026-01-01T00:00:00Z,Upsert,{result},{status},,{resource},\"{{\"\"id\"\":\"\"dev-{:03}\"\"}}\"",
            line % 1_000
        )
        .unwrap();
    }
    drop(export);
    assert!(std::fs::metadata(bench.path("export.csv")).unwrap().len() > 250_000_000);
    let ended = crate::bad_input::shell(&bench, "ulimit -v 200000; exec $FLEETSTORM logs export.csv --top 3");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.contains("250000  Upsert") || ended.stdout.contains("250,000  Upsert"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("and 247 more"), "{}", ended.stdout);
}

#[test]
fn a_log_that_cannot_be_written_is_told_before_the_run() {
    let bench = Bench::new();
    let elsewhere = SCENARIO.replace("dps.jsonl", "/nowhere/dps.jsonl");
    for clock in ["wired", "wall"] {
        bench.run(&elsewhere, &["--clock", clock]).refused(2, &["/nowhere/dps.jsonl", "log"]);
    }
    let full = SCENARIO.replace("dps.jsonl", "/dev/full");
    let ended = bench.run(&full, &["--clock", "wired"]);
    assert_eq!(ended.code, 0, "a log is no reason to fail: {ended:?}");
    let log = bench.record().service_log.unwrap();
    assert_eq!((log.written, log.dropped), (0, bench.record().totals.requests));
    assert!(log.error.contains("No space left"), "{log:?}");
}
