//! A whole comparison, and the data it leaves.

use fleetstorm_engine::{Control, RunError};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::analysis::{Finding, Metrics, Outcome};
use fleetstorm_reports::{Document, Form};
use fleetstorm_scenario::Scenario;
use fleetstorm_study::{Timing, compare};

fn registry() -> Registry {
    Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY])
}

fn scenario(text: &str) -> Scenario {
    Scenario::read(text, "compare.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

const TEXT: &str = "horizon = \"10m\"\n[fleet]\ndevices = 120\n[compare]\nseeds = 10\nstrategies = [\"full-jitter\", \
                    { kind = \"full-jitter\", cap_ms = 120000 }, { kind = \"fixed\", base_ms = 1000, retry_after = \
                    \"ignore\" }, \"none\"]\n[[compare.throttle]]\nprofile = \"dps-doc\"\nrate = \"120/min\"\nburst = 10\n\
                    [[compare.throttle]]\nprofile = \"unlimited\"\n";

#[test]
fn strategies_are_told_apart_and_equals_are_not() {
    let found =
        compare::run(&scenario(TEXT), &registry(), Timing::Virtual, &Control::default()).expect("it runs");
    assert_eq!((found.seeds, found.partial, found.throttles.len()), (10, false, 2));
    let throttled = &found.throttles[0].strategies;
    // The same strategy spelled twice meets the same chance and does the same.
    assert_eq!(throttled[0].runs, throttled[1].runs);
    assert!(throttled[1].effects.iter().all(|effect| {
        effect.difference.median == Some(0.0) && effect.verdict == Finding::NoClearDifference
    }));
    let amplification = throttled[2].effects.iter().find(|effect| effect.metric == "amplification").unwrap();
    assert_eq!(
        amplification.verdict,
        Finding::Worse,
        "connecting every second costs more: {amplification:?}"
    );
    assert_eq!((throttled[3].unreached, throttled[3].median.t99_s), (10, None), "most give up");
    assert!(throttled[3].median.given_up.unwrap() > 0.8);
    // It costs least and is of no use: neither on the front nor recommended.
    assert!(!throttled[3].pareto && found.throttles[0].recommended().unwrap().strategy != "none");
    let late = &throttled[3].effects[0];
    assert_eq!(
        (late.verdict, late.difference.median),
        (Finding::Worse, None),
        "later than 10 minutes: {late:?}"
    );
    assert_eq!(found.conclusion.outcome, Outcome::Passed);
    let free = &found.throttles[1].strategies;
    assert!(free.iter().all(|standing| standing.median.amplification == Some(1.0)));
    // The same stream_faults: without a throttle no strategy ever acts, so every run of a seed is the same.
    assert!(free.iter().all(|standing| standing.runs == free[0].runs));

    assert_eq!(
        found,
        compare::run(&scenario(TEXT), &registry(), Timing::Virtual, &Control::default()).expect("again")
    );
    let json = serde_json::to_value(&found).expect("it is data");
    assert_eq!(json["throttles"][0]["strategies"][3]["median"]["t99_s"], serde_json::Value::Null);
    let median = json["throttles"][0]["strategies"][0]["median"].as_object().unwrap();
    assert!(Metrics::FIELDS.iter().all(|(name, _)| median.contains_key(*name)), "{median:?}");
    let text = found.to_string();
    assert!(
        text.contains("T99 reached in 0 of 10")
            && text.contains("≥600")
            && text.contains("baseline full-jitter"),
        "{text}"
    );
}

#[test]
fn nothing_to_compare_and_interruptions_are_told() {
    let error =
        compare::run(&scenario(""), &registry(), Timing::Virtual, &Control::default()).expect_err("nothing");
    assert!(matches!(error, RunError::Preflight(_)), "{error}");
    let control = Control::default();
    control.interrupt();
    let found =
        compare::run(&scenario(TEXT), &registry(), Timing::Virtual, &control).expect("a partial result");
    assert!(found.partial && found.seeds == 0 && found.throttles.is_empty());
    assert_eq!(found.conclusion.outcome.exit_code(), 130);
    let document = Document::Comparison(found);
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

#[test]
fn the_shipped_comparison_is_as_wide_as_it_says() {
    let text = include_str!("../../../scenarios/compare-retry-strategies.toml");
    let compare = scenario(text).compare.expect("it compares");
    assert_eq!((compare.strategies.len(), compare.throttles.len(), compare.seeds), (19, 4, 20));
    let models = compare.strategies.iter().filter(|strategy| strategy.kind.starts_with("sdk-"));
    assert_eq!(models.count(), 6);
}

#[test]
fn strategies_are_compared_by_the_wall_clock_as_well() {
    let text = "horizon = \"20s\"\n[fleet]\ndevices = 12\n[compare]\nseeds = 2\nstrategies = [{ kind = \"fixed\", base_ms = 50, retry_after = \"ignore\", \
                max_attempts = 2 }, \"none\"]\n[mock.throttle]\nprofile = \"dps-doc\"\nrate = \"1/h\"\nburst = 8\n";
    let found =
        compare::run(&scenario(text), &registry(), Timing::Wall, &Control::default()).expect("it runs");
    let [against] = &found.throttles[..] else { panic!("{found:?}") };
    let none = &against.strategies[1].median;
    assert_eq!((found.seeds, none.given_up), (2, Some(4.0 / 12.0)), "{none:?}");
    assert_eq!((none.mean_wait_s, none.fairness), (None, None), "only virtual time keeps devices one by one");
}
