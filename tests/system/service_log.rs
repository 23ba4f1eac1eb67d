//! The mock's resource log, and what can be learnt from it.

use std::io::Write as _;

use crate::harness::Bench;

const SCENARIO: &str = r#"
    horizon = "5m"
    objectives = ["assigned == 100% for \"good\""]
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
        let words: Vec<&str> = offset.split_whitespace().collect();
        let apart: fleetstorm_units::time::Span = words[4..6].join(" ").parse().unwrap();
        assert!(apart.as_millis() < 500, "one clock drove both: {offset}");
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

/// What a mock's log says of a fleet that was told to wait: requests that came back too early, at least and at most, since
/// a request is answered a few milliseconds after it was logged; answers that nothing followed; and all answers.
fn undercut(log: &str, due_ns: impl Fn(u64) -> u64) -> (u64, u64, u64, u64) {
    const NEAR_NS: u64 = 20_000_000;
    let mut lives: std::collections::BTreeMap<String, Vec<(u64, bool)>> = std::collections::BTreeMap::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let at = line["TimeGenerated"].as_str().unwrap().parse::<fleetstorm_units::UtcTime>().unwrap();
        let about: serde_json::Value = serde_json::from_str(line["properties_s"].as_str().unwrap()).unwrap();
        let told = line["ResultSignature"] == "429";
        lives.entry(about["id"].as_str().unwrap().to_owned()).or_default().push((at.unix_ns, told));
    }
    let (mut least, mut most, mut open, mut all) = (0, 0, 0, 0);
    for life in lives.values() {
        for (place, (at, _)) in life.iter().enumerate().filter(|(_, (_, told))| *told) {
            all += 1;
            let Some((next, _)) = life.get(place + 1) else {
                open += 1;
                continue;
            };
            least += u64::from(next + NEAR_NS < due_ns(*at));
            most += u64::from(*next < due_ns(*at) + NEAR_NS);
        }
    }
    (least, most, open, all)
}

#[test]
fn a_retry_after_is_undercut_as_often_as_the_log_says() {
    const S: u64 = 1_000_000_000;
    let seconds = |at: u64| at + 5 * S;
    let date = |at: u64| (at / S + 5) * S;
    for (told, horizon) in [("5", "60s"), ("date+5", "60s"), ("5", "9s"), ("date+5", "9s")] {
        let bench = Bench::new();
        let scenario = format!(
            "horizon = \"{horizon}\"\nobjectives = [\"count(429) >= 1\"]\n[fleet]\ndevices = 120\n\
                 arrival = {{ kind = \"all-at-once\", spread = \"3s\" }}\n[[cohort]]\n\
                 retry = {{ kind = \"full-jitter\", base_ms = 4000, cap_ms = 12000, retry_after = \"ignore\" }}\n\
                 [mock]\nlog = {{ file = \"dps.jsonl\" }}\n[mock.throttle]\nprofile = \"unlimited\"\n[[chaos]]\nname = \"storm\"\n\
                 fault = {{ kind = \"service.throttle\", retry_after = [\"{told}\"] }}\nduration = \"20s\"\n\
                 select = {{ operation = \"register\" }}\nprobability = 0.8\nunit = \"request\"\n"
        );
        bench.run(&scenario, &["--clock", "wired"]);
        let log = std::fs::read_to_string(bench.path("dps.jsonl")).unwrap();
        let (least, most, open, all) =
            if told == "5" { undercut(&log, seconds) } else { undercut(&log, date) };
        let record = bench.record();
        let used = &record.retry_after;
        let what = format!("{told} {horizon}: {used:?}, log {least} to {most}, {open} open of {all}");
        assert!((least..=most).contains(&used.violated) && used.given == all && all > 50, "{what}");
        assert!(used.open() <= open && (horizon == "60s" || open > 0), "{what}");
        let check = record.practice.checks.iter().find(|check| check.id == "retry-after-floor").unwrap();
        assert_eq!(check.broken, used.violated, "{what}");
    }
}

#[test]
fn an_export_as_azure_writes_it_tells_the_same_story() {
    let bench = Bench::new();
    assert_eq!(bench.run(SCENARIO, &["--clock", "wired"]).code, 0);
    let lines = std::fs::read_to_string(bench.path("dps.jsonl")).unwrap();
    // A success names no status, nobody but the mock names codes, and lines lie in a wrapper.
    let real: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            if line["ResultType"] == "Success" {
                line["ResultSignature"] = "".into();
            }
            let mut about: serde_json::Value =
                serde_json::from_str(line["properties_s"].as_str().unwrap()).unwrap();
            about.as_object_mut().unwrap().remove("errorCode");
            line["properties_s"] = about.to_string().into();
            line
        })
        .collect();
    let names = [
        "TimeGenerated",
        "OperationName",
        "ResultType",
        "ResultSignature",
        "ResultDescription",
        "properties_s",
    ];
    let columns: Vec<serde_json::Value> =
        names.iter().map(|name| serde_json::json!({ "name": name })).collect();
    let rows: Vec<Vec<&serde_json::Value>> =
        real.iter().map(|line| names.iter().map(|name| &line[name]).collect()).collect();
    let portal: String = real
        .iter()
        .map(|line| {
            let at = line["TimeGenerated"].as_str().unwrap();
            let (date, time) = at.trim_end_matches('Z').split_once('T').unwrap();
            let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else { panic!("{at}") };
            let cells = [&line["OperationName"], &line["ResultType"], &line["ResultSignature"]];
            let cells: Vec<&str> = cells.iter().map(|cell| cell.as_str().unwrap()).collect();
            format!("\"{day}.{month}.{year}, {time}\";{}\n", cells.join(";"))
        })
        .collect();
    for (name, text) in [
        ("records.json", serde_json::json!({ "records": real }).to_string()),
        (
            "tables.json",
            serde_json::json!({ "tables": [{ "name": "PrimaryResult", "columns": columns, "rows": rows }] })
                .to_string(),
        ),
        ("portal.csv", format!("TimeGenerated [UTC];OperationName;ResultType;ResultSignature\n{portal}")),
    ] {
        bench.file(name, &text);
        let same = bench.fleetstorm(&["reconcile", "out/run.json", "--azure-logs", name]);
        assert_eq!(same.code, 0, "{name}: {same:?}");
        assert!(
            same.stdout.contains("no difference") && same.stdout.contains("clock is"),
            "{name}: {same:?}"
        );
    }
    bench.file(
        "local.csv",
        &format!("TimeGenerated [Local Time];OperationName;ResultType;ResultSignature\n{portal}"),
    );
    let local = bench.fleetstorm(&["reconcile", "out/run.json", "--azure-logs", "local.csv"]);
    assert!(local.code == 0 && local.stdout.contains("--time-zone"), "{local:?}");
    let east = bench.fleetstorm(&[
        "reconcile",
        "out/run.json",
        "--azure-logs",
        "local.csv",
        "--time-zone",
        "+01:00",
    ]);
    assert!(east.stdout.contains("1 h behind"), "{east:?}");
}
