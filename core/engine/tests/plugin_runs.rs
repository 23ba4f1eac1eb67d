//! Plugins in a run: what the record names, what a loaded strategy changes (nothing), and what a broken one costs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::PathBuf;

use fleetstorm_engine::{Plan, wall, wired};
use fleetstorm_mock::identity::FleetIdentity;
use fleetstorm_plugin_host::{Admission, Library, Registry, Sealed};
use fleetstorm_reports::Record;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::{Calendar, Moment};

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

/// 60 devices with slow hardware and 60 others boot within a second, on one shard: half of the devices would hold up the
/// other half for three seconds.
#[test]
fn slow_hardware_holds_up_nobody_but_its_own_device() {
    let registry = Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_faulty::ENTRY,
    ]);
    let fleet = FleetIdentity::from_seed(0).unwrap();
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let all = |texts: Vec<String>| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    let keys = all(fleet.group_keys_base64().iter().map(|key| key.to_string()).collect());
    let pool = all(fleet.device_keys_pem(2).unwrap().iter().map(|key| key.to_string()).collect());
    let calendar = wall::calendar();
    let slow_certificate = format!(
        "kind = \"test.slow-certificate\", ca_certificate_pem = {}, ca_key_pem = {}, keys_pem = [{pool}], \
         now_unix_secs = {}",
        quoted(&fleet.ca_pem()),
        quoted(&fleet.ca_key_pem()),
        calendar.unix_secs(Moment::START)
    );
    let slow_key = format!("kind = \"test.slow-key\", group_keys = [{keys}]");
    for attestation in [slow_key, slow_certificate] {
        let text = format!(
            "horizon = \"60s\"\n[fleet]\ndevices = 120\narrival = {{ kind = \"all-at-once\", spread = \"1s\" }}\n\
             [mock.throttle]\nprofile = \"unlimited\"\n[mock.assignment]\nkind = \"constant\"\ndelay = \"10ms\"\n\
             [[cohort]]\nname = \"slow\"\nattestation = {{ {attestation} }}\n[[cohort]]\nname = \"quick\"\n"
        );
        let scenario = Scenario::read(&text, "test.toml", &[]).unwrap();
        let plan = Plan::new(scenario, &registry, calendar).unwrap();
        let control = fleetstorm_engine::Control::default();
        let record = wall::run(plan, wall::Machine { shards: Some(1) }, &control).unwrap();
        assert_eq!(record.totals.assigned, 120, "{:?}", record.totals);
        let lag = record.audit.unwrap().send_lag;
        assert!(lag.p90_us < 300_000, "devices were late by {} us", lag.p90_us);
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
