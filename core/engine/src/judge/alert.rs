//! Alert rules over the metrics of a finished run: when each would have fired, and when it would have been over.

use fleetstorm_model::service::metrics::{Dimensions, Metric, MetricStatus, Metrics};
use fleetstorm_protocol::Transport;
use fleetstorm_reports::record::{Alert, Firing, MetricSeries};
use fleetstorm_scenario::{Aggregation, AlertRule};

const SECOND_NS: u64 = 1_000_000_000;

/// The counts as a record holds them.
pub(super) fn series(metrics: &Metrics, hubs: &[String], seconds: u64) -> Vec<MetricSeries> {
    let written = |(of, counts): (&Dimensions, &[u32])| {
        let counts: Vec<u32> = counts.iter().copied().take(seconds as usize).collect();
        MetricSeries {
            metric: of.metric.name().to_owned(),
            hub: of.hub.and_then(|hub| hubs.get(usize::from(hub)).cloned()).unwrap_or_default(),
            status: of.status.map(MetricStatus::name).unwrap_or_default().to_owned(),
            protocol: of.protocol.map(Transport::name).unwrap_or_default().to_owned(),
            total: counts.iter().map(|&count| u64::from(count)).sum(),
            per_second: counts,
        }
    };
    metrics.series().map(written).filter(|series| series.total > 0).collect()
}

/// What a rule made of a run of so many seconds.
pub(super) fn judge(rule: &AlertRule, series: &[MetricSeries], seconds: u64) -> Alert {
    let counts = matching(rule, series, seconds as usize);
    let window = (rule.window.0.as_secs() as usize).max(1);
    let mut firings: Vec<Firing> = Vec::new();
    let mut peak: Option<f64> = None;
    let mut firing = false;
    for end in 1..=counts.len() {
        if end < window && rule.operator.looks_for_little() {
            continue;
        }
        let value = aggregate(rule.aggregation, &counts[end.saturating_sub(window)..end], window);
        let worse = |peak: f64| if rule.operator.looks_for_little() { value < peak } else { value > peak };
        if peak.is_none_or(worse) {
            peak = Some(value);
        }
        let holds = rule.operator.holds(value, rule.threshold);
        let now_ns = end as u64 * SECOND_NS;
        if holds && !firing {
            firings.push(Firing { fired_ns: now_ns, resolved_ns: None });
        } else if !holds
            && firing
            && let Some(last) = firings.last_mut()
        {
            last.resolved_ns = Some(now_ns);
        }
        firing = holds;
    }
    Alert { name: rule.name.clone(), rule: rule.to_string(), firings, extreme: peak }
}

/// The counts that the rule looks at, second by second.
fn matching(rule: &AlertRule, series: &[MetricSeries], seconds: usize) -> Vec<u32> {
    let metric = Metric::from(rule.metric).name();
    let status = rule.status.map(|status| MetricStatus::from(status).name());
    let looked_at = series.iter().filter(|series| {
        series.metric == metric
            && status.is_none_or(|status| series.status == status)
            && rule.protocol.is_none_or(|protocol| series.protocol == protocol.name())
            && rule.hub.as_ref().is_none_or(|hub| series.hub.eq_ignore_ascii_case(hub))
    });
    let mut counts = vec![0; seconds];
    for series in looked_at {
        for (sum, count) in counts.iter_mut().zip(&series.per_second) {
            *sum += count;
        }
    }
    counts
}

fn aggregate(aggregation: Aggregation, counts: &[u32], window: usize) -> f64 {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    match aggregation {
        Aggregation::Total => total as f64,
        Aggregation::Maximum => f64::from(counts.iter().copied().max().unwrap_or(0)),
        Aggregation::Average => total as f64 / window as f64,
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_scenario::{MetricFile, MetricStatusFile, Operator};
    use fleetstorm_units::Duration;
    use fleetstorm_units::time::Span;

    use super::*;

    fn rule(aggregation: Aggregation, window_secs: u64, operator: Operator, threshold: f64) -> AlertRule {
        AlertRule {
            name: "rule".into(),
            metric: MetricFile::AttestationAttempts,
            hub: None,
            status: Some(MetricStatusFile::Failed),
            protocol: None,
            aggregation,
            window: Duration(Span::from_secs(window_secs)),
            operator,
            threshold,
        }
    }

    fn counts(status: &str, protocol: &str, per_second: &[u32]) -> MetricSeries {
        MetricSeries {
            metric: "AttestationAttempts".into(),
            hub: String::new(),
            status: status.into(),
            protocol: protocol.into(),
            total: per_second.iter().map(|&count| u64::from(count)).sum(),
            per_second: per_second.to_vec(),
        }
    }

    fn firings(rule: &AlertRule, per_second: &[u32]) -> Vec<(u64, Option<u64>)> {
        let series = [counts("failed", "mqtt", per_second), counts("succeeded", "mqtt", &[100; 20])];
        let secs = |ns: u64| ns / SECOND_NS;
        judge(rule, &series, 20)
            .firings
            .iter()
            .map(|firing| (secs(firing.fired_ns), firing.resolved_ns.map(secs)))
            .collect()
    }

    #[test]
    fn an_alert_fires_when_the_window_holds_enough_and_resolves_when_it_has_passed() {
        let burst = [0, 0, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        let total = rule(Aggregation::Total, 3, Operator::More, 7.0);
        // Seconds 3 and 4 hold 4 each: the window of 3 s has 8 at 4 s and 5 s, and 4 at 6 s.
        assert_eq!(firings(&total, &burst), [(4, Some(6)), (13, Some(16))]);
        assert_eq!(judge(&total, &[counts("failed", "mqtt", &burst)], 20).extreme, Some(9.0));
        assert_eq!(firings(&rule(Aggregation::Maximum, 3, Operator::AtLeast, 9.0), &burst), [(13, Some(16))]);
        assert_eq!(
            firings(&rule(Aggregation::Average, 2, Operator::AtLeast, 4.0), &burst),
            [(4, Some(5)), (13, Some(15))]
        );
        assert_eq!(firings(&rule(Aggregation::Total, 3, Operator::More, 9.0), &burst), []);
    }

    #[test]
    fn a_rule_on_a_protocol_counts_nothing_of_the_others() {
        let series = [counts("failed", "amqp-ws", &[9]), counts("failed", "mqtt", &[4])];
        let all = rule(Aggregation::Total, 2, Operator::More, 0.0);
        let over = |protocol| AlertRule { protocol: Some(protocol), ..all.clone() };
        assert_eq!(judge(&all, &series, 2).extreme, Some(13.0));
        assert_eq!(judge(&over(Transport::AmqpWs), &series, 2).extreme, Some(9.0));
        assert_eq!(judge(&over(Transport::Mqtt), &series, 2).extreme, Some(4.0));
        assert_eq!(judge(&over(Transport::Amqp), &series, 2).extreme, Some(0.0));
    }

    #[test]
    fn an_alert_for_too_little_waits_for_its_first_window() {
        let steady = [5; 12];
        let little = rule(Aggregation::Total, 5, Operator::Less, 20.0);
        // From 12 s on nothing comes; at 14 s the last five seconds hold 15.
        assert_eq!(firings(&little, &steady), [(14, None)]);
    }
}
