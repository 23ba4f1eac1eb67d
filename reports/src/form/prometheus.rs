//! A record as metrics: what a collector reads from a file after a nightly run.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::Record;
use crate::text::printable;

/// Names and values of a metric's labels.
type Labels = Vec<(&'static str, String)>;
/// A metric with labels. All are gauges: a record does not grow any more.
type Numbers = Family<Labels, Gauge<f64, AtomicU64>>;

/// The record in the text format of OpenMetrics, which Prometheus reads.
pub(super) fn prometheus(record: &Record) -> Result<String, String> {
    let mut registry = Registry::with_prefix("fleetstorm");
    devices(record, &mut registry);
    times(record, &mut registry);
    judged(record, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| error.to_string())?;
    Ok(text)
}

fn family(registry: &mut Registry, name: &str, help: &str) -> Numbers {
    let family = Numbers::default();
    registry.register(name, help, family.clone());
    family
}

fn set(family: &Numbers, labels: &[(&'static str, &str)], value: f64) {
    let labels: Labels = labels.iter().map(|(name, value)| (*name, printable(value))).collect();
    family.get_or_create(&labels).set(value);
}

fn devices(record: &Record, registry: &mut Registry) {
    let devices = family(registry, "devices", "Devices by cohort and what became of them");
    let requests = family(registry, "requests", "Requests by cohort and kind");
    for cohort in &record.cohorts {
        let totals = &cohort.totals;
        let settled = totals.assigned + totals.stopped;
        for (state, count) in [
            ("assigned", totals.assigned),
            ("stopped", totals.stopped),
            ("on-their-way", totals.booted.saturating_sub(settled)),
            ("off", totals.devices.saturating_sub(totals.booted)),
        ] {
            set(&devices, &[("cohort", &cohort.name), ("state", state)], count as f64);
        }
        for (kind, count) in [
            ("sent", totals.requests),
            ("registers", totals.registers),
            ("billable", totals.billable),
            ("throttled", totals.throttled),
            ("failed", totals.failed),
        ] {
            set(&requests, &[("cohort", &cohort.name), ("kind", kind)], count as f64);
        }
    }
    let codes = family(registry, "endings", "How connections and requests ended");
    for code in &record.codes {
        let labels = [
            ("operation", &*code.operation),
            ("status", &*code.status.to_string()),
            ("code", &*code.code.to_string()),
            ("fault", &*code.fault),
        ];
        set(&codes, &labels, code.count as f64);
    }
}

fn times(record: &Record, registry: &mut Registry) {
    let duration =
        family(registry, "run_duration_seconds", "From the first intended boot to the end of the run");
    set(&duration, &[], record.duration_ns as f64 / 1e9);
    let completion = family(registry, "completion_seconds", "When shares of the fleet had their hub");
    let marks = &record.completion;
    for (share, at) in [
        ("0.5", marks.t50_ns),
        ("0.9", marks.t90_ns),
        ("0.99", marks.t99_ns),
        ("0.999", marks.t999_ns),
        ("1", marks.t100_ns),
    ] {
        if let Some(at) = at {
            set(&completion, &[("share", share)], at as f64 / 1e9);
        }
    }
    let latency = family(registry, "latency_seconds", "Latency by phase, ending, base and quantile");
    for phase in &record.phases {
        for (from, times) in [("intended", &phase.intended), ("service", &phase.service)] {
            for (quantile, us) in [
                ("0.5", times.p50_us),
                ("0.9", times.p90_us),
                ("0.99", times.p99_us),
                ("0.999", times.p999_us),
                ("1", times.max_us),
            ] {
                let labels = [
                    ("phase", &*phase.phase),
                    ("ended", &*phase.outcome),
                    ("from", from),
                    ("quantile", quantile),
                ];
                set(&latency, &labels, us as f64 / 1e6);
            }
        }
    }
}

fn judged(record: &Record, registry: &mut Registry) {
    let exit = family(registry, "exit_code", "The exit code of the run; 0 is passed");
    let seed = record.seed.to_string();
    set(&exit, &[("name", &record.name), ("seed", &seed)], f64::from(record.verdict.exit_code));
    let objectives = family(registry, "objective_held", "Whether an objective held");
    let observed = family(registry, "objective_observed", "What was observed, in the objective's base unit");
    for objective in &record.objectives {
        let labels = [("objective", &*objective.expression)];
        let held = objective.status == crate::record::ObjectiveStatus::Passed;
        set(&objectives, &labels, f64::from(u8::from(held)));
        if let Some(value) = objective.value {
            set(&observed, &labels, value);
        }
    }
    let practices = family(registry, "practice_broken", "Occasions on which a best practice was broken");
    for check in &record.practice.checks {
        let labels = [("practice", &*check.id), ("status", crate::html::status(check.status).2)];
        set(&practices, &labels, check.broken as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn another_reader_finds_the_numbers_and_hostile_names_stay_labels() {
        let mut record = testing::record();
        record.cohorts[0].name = "a\"b\\c\nd".into();
        let text = prometheus(&record).unwrap();
        assert!(text.ends_with("# EOF\n"));
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = prometheus_parse::Scrape::parse(lines).unwrap();
        let value = |metric: &str, labels: &[(&str, &str)]| {
            let found = scrape.samples.iter().find(|sample| {
                sample.metric == metric
                    && labels.iter().all(|(name, value)| sample.labels.get(name) == Some(*value))
            });
            match found.map(|sample| &sample.value) {
                Some(prometheus_parse::Value::Gauge(value) | prometheus_parse::Value::Untyped(value)) => {
                    *value
                }
                other => panic!("{metric} {labels:?}: {other:?} in {text}"),
            }
        };
        assert_eq!(value("fleetstorm_devices", &[("state", "assigned")]), 997.0);
        assert_eq!(value("fleetstorm_endings", &[("code", "429001")]), 503.0);
        assert_eq!(value("fleetstorm_completion_seconds", &[("share", "0.99")]), 101.25);
        assert_eq!(value("fleetstorm_objective_held", &[("objective", "p99(register) < 2s")]), 1.0);
        assert_eq!(value("fleetstorm_practice_broken", &[("practice", "retry-after-floor")]), 23.0);
        assert_eq!(value("fleetstorm_exit_code", &[("name", "cold start")]), 10.0);
    }
}
