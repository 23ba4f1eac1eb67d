//! Searches with known answers, and a forecast of what was measured.

use fleetstorm_engine::{Control, Plan, RunError, virtual_time, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::analysis::{Outcome, Vary};
use fleetstorm_reports::{Document, Form};
use fleetstorm_scenario::Scenario;
use fleetstorm_study::capacity::{self, Search};
use fleetstorm_study::fidelity::ByChance;
use fleetstorm_study::{Timing, fidelity};
use fleetstorm_units::time::Calendar;

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
    assert_eq!((found.conclusion.outcome.exit_code(), found.headroom), (10, None));
    let all = Search { high: 20.0, ..search };
    let found = capacity::search(&scenario(BURST), &registry(), all, &Control::default()).expect("it runs");
    assert_eq!((found.holds, found.breaks), (Some(20.0), None));
    assert_eq!(found.conclusion.outcome, Outcome::Passed);
    assert!(found.to_string().contains("where they break is not known"), "{found}");
    assert!(u64::from(found.probes.iter().map(|probe| probe.runs).sum::<u32>()) <= found.conclusion.runs_max);
}

#[test]
fn a_search_that_was_interrupted_is_partial_in_every_form() {
    let search = Search {
        vary: Vary::Devices,
        low: 1.0,
        high: 5_000.0,
        precision: 1e-3,
        repeats: 5,
        timing: Timing::Virtual,
    };
    let control = Control::default();
    control.interrupt();
    let found = capacity::search(&scenario(BURST), &registry(), search, &control).expect("a partial result");
    assert_eq!((found.conclusion.outcome.exit_code(), found.headroom, found.holds), (130, None, None));
    assert!(!found.to_string().contains("do not hold"), "nothing is known: {found}");
    let document = Document::Capacity(found);
    for form in [
        Form::Text,
        Form::Markdown,
        Form::Html,
        Form::Json,
        Form::Junit { strict_practices: false },
        Form::Csv,
        Form::Prometheus,
    ] {
        let text = form.render(&document).expect("it has every form").to_lowercase();
        assert!(text.contains("partial"), "{form}: {text}");
    }
}

/// A run that has no data neither holds nor breaks.
#[test]
fn runs_without_a_verdict_decide_nothing() {
    let text = BURST.replace("assigned == 100%", "p99(lookup) < 1s");
    let search = Search {
        vary: Vary::Devices,
        low: 1.0,
        high: 50.0,
        precision: 0.5,
        repeats: 5,
        timing: Timing::Virtual,
    };
    let found =
        capacity::search(&scenario(&text), &registry(), search, &Control::default()).expect("it runs");
    assert_eq!((found.holds, found.breaks, found.undecided), (None, None, Some(1.0)), "{found}");
    assert_eq!(found.conclusion.outcome.exit_code(), 11);
}

/// An interrupted simulation ends long before its fleet is done, whatever its size.
#[test]
fn an_interruption_reaches_into_a_run() {
    let text = "horizon = \"10h\"\n[fleet]\ndevices = 20000\n[[cohort]]\nretry = { kind = \"fixed\", base_ms = 1000, \
                retry_after = \"ignore\" }\n[mock.throttle]\nrate = \"1/h\"\nburst = 1\n";
    let plan = Plan::new(scenario(text), &registry(), Calendar::VIRTUAL).expect("the plan is sound");
    let control = Control::default();
    control.interrupt();
    let record = virtual_time::run(plan, &control).expect("it ends");
    assert_eq!(record.verdict.exit_code, 130);
    // The whole of it would take 20,000 requests a second for ten hours.
    assert!(record.totals.requests < 1_000_000, "{}", record.totals.requests);
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
    let forecast = virtual_time::run(plan(forecast), &Control::default()).expect("the run ends");
    let found = fidelity::compare(&measured, &forecast, &ByChance::default());
    assert!(found.score.expect("all devices are through") < 0.05, "{found}");
    assert!(found.curve_distance < 0.05, "{found}");

    let itself = fidelity::compare(&measured, &measured, &ByChance::default());
    assert_eq!((itself.score, itself.curve_distance), (Some(0.0), 0.0));
    let idle = fidelity::calibrate(
        &virtual_time::run(plan(scenario("[fleet]\ndevices = 5\n")), &Control::default()).unwrap(),
    );
    assert_eq!(idle.rate_per_s, None);
}
