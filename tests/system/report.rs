//! `fleetstorm report`, and the record's schema.

use crate::harness::{Bench, scenarios};

const SCENARIO: &str =
    "objectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 40\n[mock]\nretry_after_s = 1\n";

#[test]
fn a_record_fits_its_published_schema() {
    let bench = Bench::new();
    bench.run(SCENARIO, &["--clock", "wired"]);
    let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reports/run.schema.json");
    let schema = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bench.path("out/run.json")).unwrap()).unwrap();
    if let Err(error) = validator.validate(&record) {
        panic!("{error} at {}", error.instance_path());
    }
    record["totals"]["assigned"] = "many".into();
    assert!(!validator.is_valid(&record), "the schema can fail");
}

#[test]
fn a_record_is_rendered_again_in_every_form() {
    let bench = Bench::new();
    bench.run(SCENARIO, &["--clock", "wired"]);
    let ended = bench.fleetstorm(&["report", "out/run.json"]);
    assert!(ended.code == 0 && ended.stdout.starts_with("PASSED"), "{ended:?}");
    for (file, words) in [("again.html", "<!DOCTYPE html>"), ("again.md", "40"), ("again.txt", "PASSED")] {
        let ended = bench.fleetstorm(&["report", "out/run.json", "--out", file]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(std::fs::read_to_string(bench.path(file)).unwrap().contains(words), "{file}");
    }
    for (file, words) in [
        ("again.csv", "fleet,assigned,40,"),
        ("again.xml", "<testsuite name=\"best-practices\""),
        ("again.prom", "fleetstorm_devices{cohort="),
    ] {
        let ended = bench.fleetstorm(&["report", "out/run.json", "--out", file]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(std::fs::read_to_string(bench.path(file)).unwrap().contains(words), "{file}");
    }
    let json = bench.fleetstorm(&["report", "out/run.json", "--format", "json"]);
    assert!(json.stdout.as_bytes() == std::fs::read(bench.path("out/run.json")).unwrap(), "byte for byte");
    let again = std::fs::read(bench.path("again.html")).unwrap();
    assert!(again == std::fs::read(bench.path("out/report.html")).unwrap(), "the same record, the same page");
}

#[test]
fn what_is_no_record_is_refused() {
    let bench = Bench::new();
    bench.fleetstorm(&["report", "nowhere.json"]).refused(2, &["nowhere.json"]);
    bench.file("a.json", "{}");
    bench.fleetstorm(&["report", "a.json"]).refused(2, &["a.json", "this is no run.json"]);
    bench.file("b.json", "{\"version\": 99}");
    bench.fleetstorm(&["report", "b.json"]).refused(2, &["version 99", "use a newer one"]);
    bench.run(SCENARIO, &["--clock", "wired"]);
    bench.fleetstorm(&["report", "out/run.json", "--out", "x.png"]).refused(2, &[".html, .md", "--format"]);
}

#[test]
fn a_later_run_that_is_worse_is_a_regression() {
    let bench = Bench::new();
    let throttled = |rate: &str, out: &str| {
        bench.file(
            "s.toml",
            &format!("objectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 300\n[mock]\nretry_after_s = 1\n[mock.throttle]\nrate = \"{rate}\"\nburst = 20\n"),
        );
        let ended =
            bench.fleetstorm(&["run", "s.toml", "--clock", "virtual", "--out", out, "--progress", "none"]);
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    throttled("50/s", "fast");
    throttled("10/s", "slow");
    let diff =
        |base: &str, new: &str, more: &[&str]| bench.fleetstorm(&[&["diff", base, new], more].concat());
    let same = diff("fast/run.json", "fast/run.json", &["--fail-on-regression"]);
    assert!(same.code == 0 && same.stdout.contains("nothing: the same scenario"), "{same:?}");
    let worse = diff("fast/run.json", "slow/run.json", &["--fail-on-regression"]);
    assert_eq!(worse.code, 13, "{worse:?}");
    for words in ["rate = \"50", "99 % online after", "worse"] {
        assert!(worse.stdout.contains(words), "{words}: {}", worse.stdout);
    }
    assert!(worse.stdout.lines().all(|line| line.chars().count() <= 82), "{}", worse.stdout);
    assert_eq!(diff("slow/run.json", "fast/run.json", &["--fail-on-regression"]).code, 0);
    let json = diff("fast/run.json", "slow/run.json", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["margin"], 0.05);
    let page = diff("fast/run.json", "slow/run.json", &["--format", "html", "--out", "diff.html"]);
    assert_eq!(page.code, 0, "{page:?}");
    assert!(std::fs::read_to_string(bench.path("diff.html")).unwrap().contains("The later run is worse."));
}

#[test]
fn a_code_and_a_life_are_explained() {
    let bench = Bench::new();
    let code = bench.fleetstorm(&["explain", "401002"]);
    assert!(code.code == 0 && code.stdout.contains("Invalid certificate"), "{code:?}");
    bench.fleetstorm(&["explain", "4711"]).refused(2, &["no code that is known"]);
    let scenario = "objectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 120\n[mock]\nretry_after_s = 1\n[mock.throttle]\nrate = \"20/s\"\nburst = 5\n";
    for clock in ["wired", "virtual"] {
        bench.run(scenario, &["--clock", clock]);
        let record = bench.record();
        for journey in &record.journeys {
            let life = bench.fleetstorm(&["explain", "out/run.json", &journey.name]);
            assert_eq!(life.code, 0, "{life:?}");
            // What the life tells is what the record counted, on its own way.
            let attempts = life.stdout.lines().filter(|line| line.contains(" sends ")).count();
            assert_eq!(attempts, journey.attempts as usize, "{}", life.stdout);
            assert!(life.stdout.contains("has its hub"), "{}", life.stdout);
        }
    }
    bench
        .fleetstorm(&["explain", "out/run.json", "dev-000120"])
        .refused(2, &["there is no device", "dev-000119"]);
    let told = bench.fleetstorm(&["explain", "out/run.json"]);
    told.passed();
    assert!(told.stdout.contains("DEVICE"), "{}", told.stdout);
}

/// Every request ends in one of the ways that the record tells, whichever driver ran it.
#[track_caller]
fn flow_adds_up(record: &fleetstorm_reports::Record) {
    let times = |from: &str, to: &str| -> u64 {
        let ways = record.flow.iter().filter(|way| way.from == from && (to.is_empty() || way.to == to));
        ways.map(|way| way.times).sum()
    };
    let totals = &record.totals;
    assert_eq!(times("register", "") + times("lookup", ""), totals.registers, "{:?}", record.flow);
    assert_eq!(times("poll", ""), totals.requests - totals.registers, "{:?}", record.flow);
    assert_eq!(times("failure", "back-off"), totals.back_offs, "{:?}", record.flow);
    let throttled =
        times("register", "throttled") + times("lookup", "throttled") + times("poll", "throttled");
    assert!(throttled == totals.throttled && throttled > 0, "{:?}", record.flow);
    let assigned = record.flow.iter().filter(|way| way.to == "assigned").map(|way| way.devices).sum::<u64>();
    assert_eq!(assigned, totals.assigned, "{:?}", record.flow);
}

#[test]
fn lives_of_a_run_by_the_wall_clock_are_told_from_its_trace() {
    let bench = Bench::new();
    let scenario = "objectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 40\n[mock]\nretry_after_s = 1\n[mock.throttle]\nrate = \"20/s\"\nburst = 5\n";
    bench.run(scenario, &[]).passed();
    let first = bench.record().journeys[0].name.clone();
    bench
        .fleetstorm(&["explain", "out/run.json", &first])
        .refused(2, &["cannot be had again", "--trace trace.jsonl", "--clock wired"]);

    bench.run(scenario, &["--trace", "out/trace.jsonl"]).passed();
    let record = bench.record();
    flow_adds_up(&record);
    let trace = record.trace.as_ref().unwrap();
    assert_eq!((trace.dropped, &*trace.error), (0, ""));
    let lines = std::fs::read_to_string(bench.path("out/trace.jsonl")).unwrap().lines().count();
    assert_eq!(lines as u64, trace.written + 1);
    std::fs::rename(bench.path("out"), bench.path("moved")).unwrap();
    for journey in &record.journeys {
        let life = bench.fleetstorm(&["explain", "moved/run.json", &journey.name]);
        assert_eq!(life.code, 0, "{life:?}");
        let attempts = life.stdout.lines().filter(|line| line.contains(" sends ")).count();
        assert_eq!(attempts, journey.attempts as usize, "{}", life.stdout);
        assert!(
            life.stdout.contains("is given power") && life.stdout.contains("has its hub"),
            "{}",
            life.stdout
        );
    }

    bench
        .run(scenario, &["--trace", "some.jsonl", "--trace-device", "7", "--trace-device", "dev-000003"])
        .passed();
    let told = |device: &str| bench.fleetstorm(&["explain", "out/run.json", device, "--trace", "some.jsonl"]);
    assert_eq!((told("dev-000007").code, told("3").code), (0, 0));
    told("8").refused(2, &["no line of dev-000008", "--trace-device dev-000008"]);
    bench
        .fleetstorm(&["explain", "out/run.json", "7", "--trace", "moved/trace.jsonl"])
        .refused(2, &["another run"]);
    bench.file("broken.jsonl", "{}\n");
    let broken = bench.fleetstorm(&["explain", "out/run.json", "7", "--trace", "broken.jsonl"]);
    broken.refused(2, &["broken.jsonl:1", "no line of a trace"]);
    bench.run(scenario, &["--trace", "nowhere/at/all"]).refused(2, &["nowhere/at/all"]);
}

#[test]
fn a_trace_tells_what_running_again_tells_and_changes_no_record() {
    let bench = Bench::new();
    let scenario = "objectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 60\n[mock]\nretry_after_s = 1\n[mock.throttle]\nrate = \"20/s\"\nburst = 5\n";
    for clock in ["wired", "virtual"] {
        bench.run(scenario, &["--clock", clock]);
        let plain = bench.record();
        flow_adds_up(&plain);
        let again = bench.fleetstorm(&["explain", "out/run.json", "9"]);
        bench.run(scenario, &["--clock", clock, "--trace", "trace.jsonl"]);
        let mut traced = bench.record();
        let told = bench.fleetstorm(&["explain", "out/run.json", "9", "--trace", "trace.jsonl"]);
        assert_eq!((told.code, &told.stdout), (0, &again.stdout), "{told:?}");
        assert!(traced.trace.take().is_some_and(|trace| trace.written > 60 && trace.dropped == 0));
        assert_eq!(traced, plain);
    }
}

#[test]
fn a_trace_is_a_timeline_of_its_devices_below_the_faults() {
    let bench = Bench::new();
    let scenario = scenarios().join("no-cache-devices.toml");
    let ended = bench.fleetstorm(&[
        "run",
        scenario.to_str().unwrap(),
        "--set",
        "fleet.devices=60",
        "--clock",
        "virtual",
        "--chaos",
        "any @1m..2m -> service.error(503)",
        "--trace",
        "trace.jsonl",
        "--out",
        "out",
    ]);
    assert!([0, 10].contains(&ended.code), "{ended:?}");
    let record = bench.record();
    let made = bench.fleetstorm(&["report", "out/run.json", "--format", "perfetto"]);
    assert_eq!(made.code, 0, "{made:?}");
    let timeline: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let events = timeline["traceEvents"].as_array().unwrap();
    let mut tracks = std::collections::BTreeMap::<u64, Vec<(f64, f64, &str)>>::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let [begin, length] = ["ts", "dur"].map(|key| event[key].as_f64().unwrap());
        let name = event["name"].as_str().unwrap();
        tracks.entry(event["tid"].as_u64().unwrap()).or_default().push((begin, begin + length, name));
    }
    for slices in tracks.values_mut() {
        slices.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in slices.windows(2) {
            assert!(pair[0].1 <= pair[1].0 + 0.01, "slices lie beside each other: {pair:?}");
        }
    }
    let named =
        |prefix: &str| tracks.values().flatten().filter(|slice| slice.2.starts_with(prefix)).count() as u64;
    assert_eq!(named("register: "), record.totals.registers);
    assert_eq!(named("connect"), record.totals.connections);
    assert!(named("online") >= 60 && named("back-off") > 0, "{tracks:?}");
    let fault =
        events.iter().find(|event| event["name"] == record.chaos.faults[0].name && event["ph"] == "X");
    assert_eq!((fault.unwrap()["ts"].as_f64(), fault.unwrap()["pid"].as_u64()), (Some(60e6), Some(1)));

    let without = bench.run(SCENARIO, &["--clock", "virtual"]);
    assert_eq!(without.code, 0, "{without:?}");
    bench
        .fleetstorm(&["report", "out/run.json", "--format", "perfetto"])
        .refused(2, &["--trace trace.jsonl"]);
    bench
        .fleetstorm(&["report", "out/run.json", "--format", "hgrm", "--phase", "nap"])
        .refused(2, &["nap", "register"]);
    assert_eq!(
        bench.fleetstorm(&["report", "out/run.json", "--out", "register.hgrm", "--phase", "register"]).code,
        0
    );
    let phase = std::fs::read_to_string(bench.path("register.hgrm")).unwrap();
    let record = bench.record();
    let register =
        record.phases.iter().find(|phase| phase.phase == "register" && phase.outcome == "ok").unwrap();
    assert!(phase.contains(&format!("Total count    = {:12}]", register.intended.count)), "{phase}");
}
