//! Searches with known answers, and a forecast of what was measured.

use fleetstorm_engine::capacity::{self, Search};
use fleetstorm_engine::{Control, Timing};
use fleetstorm_engine::{Plan, Registry, RunError, fidelity, simulate, wired};
use fleetstorm_model::scenario::Scenario;
use fleetstorm_model::time::Calendar;
use fleetstorm_reports::analysis::Vary;

fn registry() -> Registry {
    Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY])
}

fn scenario(text: &str) -> Scenario {
    Scenario::read(text, "capacity.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Without a retry only the burst and what refills meanwhile get in: at the same instant that is 50.
const BURST: &str = "objectives = [\"assigned == 100%\"]\nhorizon = \"2m\"\n[fleet]\ndevices = 40\n[[cohort]]\nretry = \
                     \"none\"\n[mock.throttle]\nprofile = \"dps-doc\"\nrate = \"1/h\"\nburst = 50\n[network]\nconnect = { \
                     kind = \"constant\", delay = \"10ms\" }\nhop = { kind = \"constant\", delay = \"10ms\" }\n";

#[test]
fn the_largest_fleet_is_the_burst() {
    let search = Search {
        vary: Vary::Devices,
        low: 1.0,
        high: 5_000.0,
        precision: 1e-3,
        repeats: 5,
        timing: Timing::Virtual,
    };
    let found =
        capacity::search(&scenario(BURST), &registry(), search, &Control::default()).expect("it runs");
    assert_eq!((found.holds, found.breaks), (Some(50.0), Some(51.0)), "{found}");
    assert!((found.headroom.unwrap() - 0.25).abs() < 1e-9);
    let none = Search { low: 60.0, high: 70.0, ..search };
    let found = capacity::search(&scenario(BURST), &registry(), none, &Control::default()).expect("it runs");
    assert_eq!((found.holds, found.breaks, found.probes.len()), (None, Some(60.0), 1));
    let all = Search { high: 20.0, ..search };
    let found = capacity::search(&scenario(BURST), &registry(), all, &Control::default()).expect("it runs");
    assert_eq!((found.holds, found.breaks), (Some(20.0), None));
}

/// Slots of 600 a minute and no retry need a quota of 600.
#[test]
fn the_smallest_quota_is_the_rate() {
    let text = "objectives = [\"assigned == 100%\"]\nhorizon = \"5m\"\n[fleet]\ndevices = 1000\narrival = { kind = \
                \"constant\", rate = \"600/min\" }\n[[cohort]]\nretry = \"none\"\n[mock.throttle]\nprofile = \"dps-doc\"\nburst \
                = 2\n[network]\nhop = { kind = \"constant\", delay = \"10ms\" }\nconnect = { kind = \"constant\", delay = \"10ms\" }\n";
    let search = Search {
        vary: Vary::Quota,
        low: 10.0,
        high: 10_000.0,
        precision: 0.01,
        repeats: 5,
        timing: Timing::Virtual,
    };
    let found = capacity::search(&scenario(text), &registry(), search, &Control::default()).expect("it runs");
    let holds = found.holds.expect("a quota that is enough");
    assert!((590.0..=610.0).contains(&holds), "{found}");
}

#[test]
fn a_search_without_sense_is_refused() {
    let search =
        Search { vary: Vary::Rate, low: 1.0, high: 5.0, precision: 0.1, repeats: 3, timing: Timing::Virtual };
    for (text, search) in [
        ("", search),
        (BURST, search),
        (BURST, Search { vary: Vary::Devices, low: 9.0, ..search }),
        (BURST, Search { vary: Vary::Devices, low: 0.0, ..search }),
    ] {
        let refused = capacity::search(&scenario(text), &registry(), search, &Control::default());
        assert!(matches!(refused, Err(RunError::Preflight(_))), "{text} {search:?}");
    }
}

/// What a run of real bytes leaves is enough to forecast it: the 5 %.
#[test]
fn a_calibrated_forecast_is_within_five_percent() {
    let text = "horizon = \"1h\"\n[fleet]\ndevices = 1000\narrival = { kind = \"all-at-once\", spread = \"5s\" }\n\
                [mock.throttle]\nrate = \"600/min\"\nburst = 100\n";
    let plan = |scenario| Plan::new(scenario, &registry(), Calendar::VIRTUAL).expect("the plan is sound");
    let measured =
        wired::run(plan(scenario(text)), &fleetstorm_engine::Control::default()).expect("the run ends");
    let calibration = fidelity::calibrate(&measured);
    let (rate_per_s, burst) =
        (calibration.rate_per_s.expect("saturated"), calibration.burst.expect("saturated"));
    assert!((rate_per_s / 10.0 - 1.0).abs() < 0.05, "{rate_per_s}");
    assert!((60.0..=140.0).contains(&burst), "to what 4 s let through: {burst}");
    assert!(calibration.unidentified.iter().any(|line| line.starts_with("window")));

    // What is printed is TOML that a scenario reads.
    let mut forecast = scenario(text);
    let printed: Scenario = scenario(&calibration.to_string());
    assert_eq!(printed.network, calibration.network);
    forecast.network = printed.network;
    let forecast = simulate::run(plan(forecast), &Control::default()).expect("the run ends");
    let found = fidelity::compare(&measured, &forecast, &[]);
    assert!(found.score.expect("all devices are through") < 0.05, "{found}");
    assert!(found.curve_distance < 0.05, "{found}");

    let itself = fidelity::compare(&measured, &measured, &[]);
    assert_eq!((itself.score, itself.curve_distance), (Some(0.0), 0.0));
    let idle = fidelity::calibrate(
        &simulate::run(plan(scenario("[fleet]\ndevices = 5\n")), &Control::default()).unwrap(),
    );
    assert_eq!(idle.rate_per_s, None);
}
