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
    bench.fleetstorm(&["report", "out/run.json", "--out", "x.png"]).refused(2, &[".html, .md or .txt"]);
}
