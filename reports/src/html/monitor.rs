//! What Azure Monitor would have shown: the service's metrics and the alerts on them.

use maud::{Markup, html};

use super::part::{Column, NAME_MAX, SENTENCE_MAX, Section, more, nanos, table};
use crate::Record;
use crate::number::{counted, grouped, number};
use crate::record::Alert;
use crate::text::clipped;

/// Rows of a table that are shown.
const SHOWN_MAX: usize = 40;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.metrics.is_empty() && record.alerts.is_empty() {
        return None;
    }
    let body = html! {
        (metrics(record))
        (alerts(&record.alerts))
        p.note { "As the mock counts them. Alerts decide nothing about the verdict: they say when an operator would have \
            been called." }
    };
    Some(Section { id: "monitor", title: "What Azure Monitor would show".into(), body })
}

fn metrics(record: &Record) -> Markup {
    if record.metrics.is_empty() {
        return html! {};
    }
    let step_s = u64::from(record.series.step_s.max(1));
    let rows = record.metrics.iter().take(SHOWN_MAX).map(|metric| {
        let most = metric.per_second.iter().copied().max().unwrap_or(0);
        let at = metric.per_second.iter().position(|count| *count == most).unwrap_or(0) as u64 * step_s;
        let when = if most == 0 { "–".to_owned() } else { nanos(at * 1_000_000_000) };
        vec![
            clipped(&metric.metric, NAME_MAX),
            dimensions([&metric.hub, &metric.status, &metric.protocol]),
            grouped(metric.total),
            grouped(most.into()),
            when,
        ]
    });
    let busiest = if step_s == 1 { "Busiest second" } else { "Busiest step" };
    let columns = [
        Column::Words("Metric"),
        Column::Words("Dimensions"),
        Column::Number("Total"),
        Column::Number(busiest),
        Column::Number("At"),
    ];
    html! {
        h3 { "Metrics" }
        (table("Metrics of the service by their dimensions", &columns, rows))
        (more(SHOWN_MAX, record.metrics.len(), "metrics"))
    }
}

fn dimensions(values: [&str; 3]) -> String {
    let known = values.into_iter().filter(|value| !value.is_empty());
    let known: Vec<String> = known.map(|value| clipped(value, NAME_MAX)).collect();
    if known.is_empty() { "–".to_owned() } else { known.join(", ") }
}

fn alerts(alerts: &[Alert]) -> Markup {
    if alerts.is_empty() {
        return html! {};
    }
    let rows = alerts.iter().take(SHOWN_MAX).map(|alert| {
        let fired = match alert.firings.as_slice() {
            [] => "never".to_owned(),
            firings => firings
                .iter()
                .take(4)
                .map(|firing| match firing.resolved_ns {
                    Some(resolved_ns) => format!("{} to {}", nanos(firing.fired_ns), nanos(resolved_ns)),
                    None => format!("{} and still on at the end", nanos(firing.fired_ns)),
                })
                .chain(
                    (firings.len() > 4).then(|| format!("{} in all", counted(firings.len() as u64, "time"))),
                )
                .collect::<Vec<_>>()
                .join("; "),
        };
        let extreme = alert.extreme.map_or("–".to_owned(), number);
        vec![clipped(&alert.name, NAME_MAX), clipped(&alert.rule, SENTENCE_MAX), fired, extreme]
    });
    let columns = [
        Column::Words("Alert"),
        Column::Words("Rule"),
        Column::Words("Fired"),
        Column::Number("Farthest value"),
    ];
    html! {
        h3 { "Alerts" }
        (table("Alert rules and when they fired", &columns, rows))
        (more(SHOWN_MAX, alerts.len(), "alerts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Firing, MetricSeries};

    #[test]
    fn metrics_and_alerts_are_told_with_when_and_how_long() {
        let mut record = Record::empty();
        assert!(section(&record).is_none());
        record.metrics = vec![MetricSeries {
            metric: "AttestationAttempts".into(),
            hub: String::new(),
            status: "failed".into(),
            protocol: "amqp-ws".into(),
            total: 1_234,
            per_second: vec![0, 1_000, 234],
        }];
        record.alerts = vec![
            Alert {
                name: "storm".into(),
                rule: "sum of RegistrationAttempts > 900".into(),
                firings: vec![
                    Firing { fired_ns: 60_000_000_000, resolved_ns: Some(120_000_000_000) },
                    Firing { fired_ns: 300_000_000_000, resolved_ns: None },
                ],
                extreme: Some(1_000.0),
            },
            Alert { name: "quiet".into(), rule: "x".into(), firings: Vec::new(), extreme: None },
        ];
        let page = section(&record).unwrap().render().into_string();
        for words in [
            "AttestationAttempts",
            "failed, amqp-ws",
            "1,234",
            "1 s",
            "storm",
            "still on at the end",
            "never",
        ] {
            assert!(page.contains(words), "{words} is not in {page}");
        }
    }
}
