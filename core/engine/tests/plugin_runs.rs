//! Plugins in a run: what the record names, what a loaded strategy changes (nothing), and what a broken one costs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::PathBuf;

use fleetstorm_engine::plugins::{Admission, Library, Sealed};
use fleetstorm_engine::{Plan, Registry, wired};
use fleetstorm_model::scenario::Scenario;
use fleetstorm_model::time::Calendar;
use fleetstorm_reports::Record;

fn built(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    deps.join(format!("libfleetstorm_plugin_{name}.so"))
}

fn loaded(names: &[&str]) -> Registry {
    let mut registry = Registry::default();
    let mut admission = Admission::default();
    for name in names {
        let sealed = Sealed::read(&built(name)).unwrap();
        admission.allow(sealed.sha256()).unwrap();
        registry.add(Library::load(&sealed, &admission, None).unwrap()).unwrap();
    }
    registry
}

fn run(registry: &Registry, cohort: &str) -> Record {
    let text =
        format!("seed = 7\n[fleet]\ndevices = 60\n[mock.throttle]\nprofile = \"dps-smooth\"\n{cohort}");
    let scenario = Scenario::read(&text, "test.toml", &[]).unwrap();
    wired::run(
        Plan::new(scenario, registry, Calendar::VIRTUAL).unwrap(),
        &fleetstorm_engine::Control::default(),
    )
    .unwrap()
}

#[test]
fn a_run_with_loaded_plugins_is_the_run_with_linked_ones_and_names_their_hashes() {
    let linked = Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_tpm::ENTRY,
        &fleetstorm_plugin_x509::ENTRY,
    ]);
    let loaded = loaded(&["retry", "symmetric_key", "tpm", "x509"]);
    for cohort in [
        "",
        "[[cohort]]\nattestation = \"x509\"\nretry = { kind = \"decorrelated\", cap_ms = 9000 }",
        "[[cohort]]\nretry = \"token-budget\"",
        "[[cohort]]\nattestation = \"tpm\"",
    ] {
        let [mut one, mut other] = [&linked, &loaded].map(|registry| run(registry, cohort));
        assert!(one.totals.throttled > 0, "the strategy has been asked: {cohort}");
        assert!(one.plugins.iter().all(|plugin| plugin.sha256.is_none()));
        assert_eq!(other.plugins.len(), 2);
        for plugin in &other.plugins {
            assert_eq!(plugin.sha256.as_ref().unwrap().len(), 64, "{plugin:?}");
            assert_eq!(plugin.version, env!("CARGO_PKG_VERSION"));
        }
        (one.plugins, other.plugins) = Default::default();
        assert_eq!(one.totals, other.totals, "{cohort}");
        assert_eq!(one, other, "{cohort}");
    }
}

#[test]
fn a_panicking_strategy_ends_its_devices_and_not_the_run() {
    let registry = loaded(&["faulty", "symmetric_key"]);
    let record = run(
        &registry,
        "[[cohort]]\nname = \"broken\"\nretry = { kind = \"test.panicking\", at = \"failure\", from = 0 }",
    );
    let totals = &record.totals;
    assert!(totals.plugin_faults > 0);
    assert_eq!(
        totals.plugin_faults, totals.throttled,
        "the first refusal is the last of a device: {totals:?}"
    );
}

#[test]
fn a_breaker_keeps_a_cohort_from_the_service() {
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
    let bare = run(&registry, "[[cohort]]\nretry = { kind = \"fixed\", base_ms = 200 }");
    let broken = run(
        &registry,
        "[[cohort]]\nretry = { kind = \"fixed\", base_ms = 200, breaker = { min_calls = 5, probes = 2 } }",
    );
    // Of 60 devices that come at once the service takes 17, so 43 are refused whatever they do next.
    let again = |record: &Record| record.totals.throttled - 43;
    assert!(again(&bare) > 20 && again(&broken) <= 5, "{} {}", again(&bare), again(&broken));
}
