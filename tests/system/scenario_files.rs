//! `fleetstorm scenario`, and what a wrong file is told.

use crate::harness::{Bench, scenarios};

#[test]
fn shipped_scenarios_check_and_explain_themselves() {
    let bench = Bench::new();
    let path = scenarios().join("quickstart.toml");
    let ended = bench.fleetstorm(&["scenario", "check", path.to_str().unwrap()]);
    assert_eq!(
        (ended.code, ended.stdout.contains("ok (2,000 devices, 4 objectives)")),
        (0, true),
        "{ended:?}"
    );
    let ended = bench.fleetstorm(&["scenario", "explain", path.to_str().unwrap()]);
    for words in ["2,000 devices", "sensors", "x509", "at least 8 s", "assigned == 100% within 20s"] {
        assert!(ended.stdout.contains(words), "`{words}` is not in {}", ended.stdout);
    }
}

#[test]
fn every_shipped_scenario_fits_the_published_schema() {
    let bench = Bench::new();
    let schema = bench.fleetstorm(&["scenario", "schema"]).stdout;
    let published = std::fs::read_to_string(scenarios().join("scenario.schema.json")).unwrap();
    assert_eq!(schema, published, "run: fleetstorm scenario schema > scenarios/scenario.schema.json");
    let schema = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut checked = 0;
    for entry in std::fs::read_dir(scenarios()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let value = serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap()).unwrap();
            if let Err(error) = validator.validate(&value) {
                panic!("{}: {error}", path.display());
            }
            assert!(text.starts_with('#'), "{} says in a comment what it answers", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 5);
    let wrong = serde_json::json!({ "fleet": { "devicez": 5 } });
    assert!(!validator.is_valid(&wrong), "the schema is as strict as the reader");
}

#[test]
fn a_malformed_scenario_is_shown_where_it_is_wrong() {
    let bench = Bench::new();
    bench.file("a.toml", "horizon = \"5m\"\n[fleet]\ndevises = 5\n");
    let ended = bench.fleetstorm(&["scenario", "check", "a.toml"]);
    ended.refused(2, &["unknown key `devises`", "a.toml:3:1", "devises = 5", "did you mean `devices`?"]);
    let ended = bench.fleetstorm(&["run", "a.toml"]);
    ended.refused(2, &["a.toml:3:1"]);
    bench.file("b.toml", "objectives = [\"assigned => 5%\"]\nhorizon = [\n");
    bench.fleetstorm(&["run", "b.toml"]).refused(2, &["b.toml:"]);
    bench.file("c.toml", "objectives = [\"assigned > 99.9% within fifteen\"]\n");
    bench.fleetstorm(&["run", "c.toml"]).refused(2, &["c.toml:1:", "expected a time, such as 15m"]);
    std::fs::write(bench.path("d.toml"), b"name = \"\xff\xfe\"").unwrap();
    bench.fleetstorm(&["run", "d.toml"]).refused(2, &["UTF-8"]);
    assert!(!bench.path("fleetstorm-out").exists(), "nothing is left behind by a refused scenario");
}

#[test]
fn a_wrong_override_is_named() {
    let bench = Bench::new();
    bench.file("a.toml", "");
    bench
        .fleetstorm(&["scenario", "check", "a.toml", "--set", "fleet.devises=5"])
        .refused(2, &["--set fleet.devises=5", "did you mean `devices`?"]);
    bench
        .fleetstorm(&["scenario", "check", "a.toml", "--set", "fleet.devices"])
        .refused(2, &["a path and a value"]);
    let output = bench
        .command()
        .args(["scenario", "check", "a.toml"])
        .env("FLEETSTORM_FLEET__DEVICES", "many")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("FLEETSTORM_FLEET__DEVICES"), "{output:?}");
}

#[test]
fn unknown_plugins_and_parameters_are_refused_with_what_there_is() {
    let bench = Bench::new();
    bench.file("a.toml", "[[cohort]]\nretry = \"ful-jitter\"\n");
    bench
        .fleetstorm(&["scenario", "check", "a.toml"])
        .refused(2, &["ful-jitter", "did you mean `full-jitter`?"]);
    bench.file("b.toml", "[[cohort]]\nretry = { kind = \"fixed\", wait = 5 }\n");
    bench.fleetstorm(&["run", "b.toml"]).refused(2, &["`fixed` refuses its parameters", "wait"]);
    bench.file("c.toml", "[[cohort]]\nattestation = \"x508\"\n");
    bench.fleetstorm(&["run", "c.toml"]).refused(2, &["x508", "x509"]);
}

#[test]
fn a_policy_profile_is_a_file_and_its_mistakes_have_a_place() {
    let bench = Bench::new();
    bench.file("a.toml", "profile = \"strict.toml\"\n");
    let missing = bench.fleetstorm(&["scenario", "check", "a.toml"]);
    assert!(missing.stdout.contains("not ready to run here: strict.toml: cannot be read"), "{missing:?}");
    bench.file("strict.toml", "[dps]\nservererror = \"park\"\n");
    bench.fleetstorm(&["run", "a.toml"]).refused(2, &["strict.toml:2:1", "did you mean `server_error`?"]);
    bench.file("strict.toml", "[dps]\nserver_error = \"park\"\n");
    let whole = bench.fleetstorm(&["scenario", "check", "a.toml"]);
    assert_eq!((whole.code, whole.stdout.contains("not ready")), (0, false), "{whole:?}");
}
