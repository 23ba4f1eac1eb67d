//! `fleetstorm report`, and the record's schema.

use crate::harness::Bench;

const SCENARIO: &str = "[fleet]\ndevices = 40\n[mock]\nretry_after_s = 1\n";

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
            &format!("[fleet]\ndevices = 300\n[mock]\nretry_after_s = 1\n[mock.throttle]\nrate = \"{rate}\"\nburst = 20\n"),
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
    let scenario =
        "[fleet]\ndevices = 120\n[mock]\nretry_after_s = 1\n[mock.throttle]\nrate = \"20/s\"\nburst = 5\n";
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
    bench.fleetstorm(&["explain", "out/run.json"]).refused(2, &["which device"]);
}
