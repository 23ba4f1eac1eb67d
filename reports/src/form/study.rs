//! A study as data for other tools: numbers by name, test results, metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::analysis::{Capacity, Comparison, Conclusion, Document, Fidelity, Metrics, Outcome, Rollout};
use crate::text::{clipped, printable};

const TEXT_MAX: usize = 500;

/// A number, or a word: what it belongs to, its name, its value.
pub(super) struct Number {
    pub(super) subject: String,
    pub(super) name: String,
    pub(super) value: Value,
}

/// A value; a number that is not known has none.
pub(super) enum Value {
    Number(Option<f64>),
    Word(String),
}

/// What a study is called.
pub(super) const fn kind(document: &Document) -> &'static str {
    match document {
        Document::Run(_) => "run",
        Document::Comparison(_) => "comparison",
        Document::Capacity(_) => "capacity search",
        Document::Rollout(_) => "plan",
        Document::Fidelity(_) => "fidelity",
    }
}

/// Every number of a study, how it ended first; nothing of a run, which has a form of its own.
pub(super) fn numbers(document: &Document) -> Vec<Number> {
    let mut all = Vec::new();
    let Some(conclusion) = document.conclusion() else { return all };
    let mut add = |subject: &str, name: &str, value: Value| {
        all.push(Number { subject: subject.to_owned(), name: name.to_owned(), value });
    };
    let kind = kind(document);
    add(kind, "outcome", Value::Word(conclusion.outcome.word().to_owned()));
    add(kind, "exit_code", Value::Number(Some(f64::from(conclusion.outcome.exit_code()))));
    add(kind, "partial", Value::Word(conclusion.is_partial().to_string()));
    add(kind, "runs", Value::Number(Some(conclusion.runs as f64)));
    if let Some(notice) = conclusion.notice() {
        add(kind, "notice", Value::Word(notice));
    }
    let mut add = |subject: &str, name: &str, value: Option<f64>| add(subject, name, Value::Number(value));
    match document {
        Document::Run(_) => {}
        Document::Comparison(found) => of_comparison(found, &mut add),
        Document::Capacity(found) => of_capacity(found, &mut add),
        Document::Rollout(found) => of_rollout(found, &mut add),
        Document::Fidelity(found) => of_fidelity(found, &mut add),
    }
    all
}

fn of_comparison(found: &Comparison, add: &mut dyn FnMut(&str, &str, Option<f64>)) {
    add("comparison", "seeds", Some(f64::from(found.seeds)));
    for against in &found.throttles {
        for standing in &against.strategies {
            let subject = format!("{}: {}", against.throttle, standing.strategy);
            let unreached = f64::from(standing.unreached);
            add(&subject, "t99_reached_in", Some(standing.runs.len() as f64 - unreached));
            for (name, field) in Metrics::FIELDS {
                add(&subject, name, field(&standing.median));
            }
            for effect in &standing.effects {
                let bounds = [
                    ("at_least", effect.difference.at_least),
                    ("at_most", effect.difference.at_most),
                    ("low", effect.difference.low),
                    ("high", effect.difference.high),
                    ("p", Some(effect.p)),
                ];
                for (name, value) in bounds {
                    add(&subject, &format!("{}_difference_{name}", effect.metric), value);
                }
            }
        }
    }
}

fn of_capacity(found: &Capacity, add: &mut dyn FnMut(&str, &str, Option<f64>)) {
    for (name, value) in [
        ("holds", found.holds),
        ("breaks", found.breaks),
        ("undecided", found.undecided),
        ("headroom", found.headroom),
    ] {
        add("capacity search", name, value);
    }
    for probe in &found.probes {
        let subject = format!("probe {}", probe.value);
        for (name, count) in [("runs", probe.runs), ("passed", probe.passed), ("failed", probe.broke)] {
            add(&subject, name, Some(f64::from(count)));
        }
    }
}

fn of_rollout(found: &Rollout, add: &mut dyn FnMut(&str, &str, Option<f64>)) {
    for (name, value) in [
        ("devices", f64::from(found.devices)),
        ("instances", f64::from(found.instances)),
        ("batch", f64::from(found.batch)),
        ("batches", f64::from(found.batches)),
        ("interval_s", found.interval_s),
        ("spread_s", found.spread_s),
        ("window_s", found.window_s),
        ("load", found.load),
        ("hubs", f64::from(found.hubs)),
        ("units", f64::from(found.units)),
        ("billed", f64::from(found.billed)),
    ] {
        add("plan", name, Some(value));
    }
    if let Some(tried) = &found.tried {
        add("trial", "devices", Some(tried.devices as f64));
        add("trial", "assigned", Some(tried.assigned as f64));
        add("trial", "t99_s", tried.t99_s);
        add("trial", "registers_per_device", Some(tried.registers_per_device));
    }
}

fn of_fidelity(found: &Fidelity, add: &mut dyn FnMut(&str, &str, Option<f64>)) {
    add("fidelity", "score", found.score);
    add("fidelity", "unexplained", found.unexplained);
    add("fidelity", "curve_distance", Some(found.curve_distance));
    for (name, ratio) in &found.ratios {
        add(name, "ratio", *ratio);
        let chance = found.chance.get(name).copied().flatten();
        add(name, "chance_low", chance.map(|[low, _]| low));
        add(name, "chance_high", chance.map(|[_, high]| high));
    }
    for (name, (measured, forecast)) in &found.codes {
        add(name, "measured", Some(*measured as f64));
        add(name, "forecast", Some(*forecast as f64));
    }
}

/// A study as JUnit XML: whether it found what was asked for is one case; so is each throttle of a comparison.
pub(super) fn junit(document: &Document, conclusion: &Conclusion) -> Result<String, String> {
    let kind = kind(document);
    let mut report = Report::new(format!("fleetstorm {kind}"));
    let mut suite = TestSuite::new(kind);
    suite.add_test_case(case(&format!("the {kind} is whole and decided"), kind, conclusion));
    if let Document::Comparison(found) = document {
        for against in &found.throttles {
            let name = format!("a strategy brings the whole fleet in against {}", against.throttle);
            let is_known = found.seeds > 0;
            let outcome = match against.recommended() {
                Some(_) => Outcome::Passed,
                None if is_known => Outcome::Failed,
                None => Outcome::Undecided,
            };
            let why = "no strategy brought the whole fleet to its hub in every run".to_owned();
            suite.add_test_case(case(&name, kind, &Conclusion { outcome, why, ..conclusion.clone() }));
        }
    }
    report.add_test_suite(suite);
    report.to_string().map_err(|error| error.to_string())
}

fn case(name: &str, suite: &str, conclusion: &Conclusion) -> TestCase {
    let notice = conclusion.notice().map(|notice| clipped(&notice, TEXT_MAX));
    let status = match (conclusion.outcome, &notice) {
        (Outcome::Passed, _) | (_, None) => TestCaseStatus::success(),
        (outcome, Some(notice)) => {
            let kind = match outcome {
                Outcome::Failed | Outcome::NoData | Outcome::Regression => NonSuccessKind::Failure,
                _ => NonSuccessKind::Error,
            };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(outcome.word()).set_message(notice.clone());
            status
        }
    };
    let mut case = TestCase::new(clipped(name, TEXT_MAX), status);
    case.set_classname(format!("fleetstorm.{suite}"));
    case.set_system_out(notice.unwrap_or_else(|| conclusion.outcome.word().to_owned()));
    case
}

/// A study in the text format of OpenMetrics.
pub(super) fn prometheus(document: &Document, conclusion: &Conclusion) -> Result<String, String> {
    type Numbers = Family<Vec<(&'static str, String)>, Gauge<f64, AtomicU64>>;
    let mut registry = Registry::with_prefix("fleetstorm_study");
    let family = |registry: &mut Registry, name: &str, help: &str| {
        let family = Numbers::default();
        registry.register(name, help, family.clone());
        family
    };
    let study = || vec![("study", kind(document).to_owned())];
    let exit = family(&mut registry, "exit_code", "The exit code of the study; 0 is passed");
    exit.get_or_create(&study()).set(f64::from(conclusion.outcome.exit_code()));
    let partial = family(&mut registry, "partial", "1 if the study ended before all of it was done");
    partial.get_or_create(&study()).set(f64::from(u8::from(conclusion.is_partial())));
    let values = family(&mut registry, "value", "Numbers of the study by subject and name");
    for Number { subject, name, value } in numbers(document) {
        if let Value::Number(Some(value)) = value {
            let labels = vec![("subject", printable(&subject)), ("name", printable(&name))];
            values.get_or_create(&labels).set(value);
        }
    }
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| error.to_string())?;
    Ok(text)
}
