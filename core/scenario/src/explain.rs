//! A scenario in words, before it is run.

use std::fmt::Write as _;

use fleetstorm_model::service::throttle::{Model, PROFILES};
use fleetstorm_units::number::{counted, grouped, number};
use fleetstorm_units::random::Seed;
use fleetstorm_units::shown::printable;
use fleetstorm_units::time::{Moment, Span};

use super::file::{Scenario, TargetKind};
use super::{Arrival, Late};

/// What will happen, for a person: the fleet, its schedule, the quota's arithmetic, the objectives.
pub fn explain(scenario: &Scenario) -> String {
    let mut out = String::new();
    let devices = scenario.fleet.devices;
    let _ = writeln!(out, "{}", printable(&scenario.name));
    if !scenario.question.is_empty() {
        let _ = writeln!(out, "  {}", printable(&scenario.question));
    }
    let _ = writeln!(
        out,
        "\nFleet: {}, `{}` to `{}`",
        counted(u64::from(devices), "device"),
        scenario.registration_id(0),
        scenario.registration_id(devices.saturating_sub(1))
    );
    for (cohort, size) in scenario.cohorts.iter().zip(scenario.cohort_sizes()) {
        let enrolled = if cohort.enrolled { "" } else { ", not enrolled" };
        let _ = writeln!(
            out,
            "  {:<12} {:>9}  {} over {}, retry {}{enrolled}",
            printable(&cohort.name),
            grouped(u64::from(size)),
            printable(&cohort.attestation.to_string()),
            cohort.transport.name(),
            printable(&cohort.retry.to_string())
        );
    }
    arrivals(scenario, &mut out);
    target(scenario, &mut out);
    let _ = writeln!(
        out,
        "\nEnds when no device has anything left to do, at the latest after {}.",
        scenario.horizon.0
    );
    if scenario.objectives.is_empty() {
        let _ = writeln!(out, "No objectives: the run judges nothing, and ends with exit code 11.");
    } else {
        let _ = writeln!(out, "Passes if:");
        for objective in &scenario.objectives {
            let _ = writeln!(out, "  {}", printable(objective));
        }
    }
    if !scenario.chaos.is_empty() {
        let _ = writeln!(out, "Faults (`chaos plan` tells when each is on):");
        for fault in &scenario.chaos {
            let until =
                fault.duration.map_or(", until the end".to_owned(), |span| format!(", for {}", span.0));
            let label = printable(fault.label());
            let _ = writeln!(out, "  {label}: {} from {}{until}", fault.fault.name(), fault.start);
        }
    }
    if !scenario.alerts.is_empty() {
        let _ = writeln!(out, "Alerts, which decide nothing:");
        for alert in &scenario.alerts {
            let _ = writeln!(out, "  {}", printable(&format!("{}: {alert}", alert.name)));
        }
    }
    out
}

fn arrivals(scenario: &Scenario, out: &mut String) {
    if matches!(&scenario.fleet.arrival, Arrival::Trace { instants, .. } if instants.is_empty()) {
        let _ = writeln!(out, "\nArrivals: from a trace");
        return;
    }
    let mut schedule = scenario.fleet.arrival.schedule(scenario.fleet.devices, Seed(scenario.seed));
    schedule.sort_unstable();
    let last = schedule.last().copied().unwrap_or_default().since(Moment::START);
    let mut peak = 0;
    let mut from = 0;
    for (index, at) in schedule.iter().enumerate() {
        while at.since(schedule[from]) >= Span::from_secs(1) {
            from += 1;
        }
        peak = peak.max(index - from + 1);
    }
    let _ = writeln!(
        out,
        "\nArrivals: the last device boots after {last}; at most {} in one second",
        grouped(peak as u64)
    );
    if let Some(late) = Late::of(scenario) {
        let _ = writeln!(out, "  {late}");
    }
}

fn target(scenario: &Scenario, out: &mut String) {
    let target = &scenario.target;
    match target.kind {
        TargetKind::Mock => {
            let throttle = &scenario.mock.throttle;
            let what = PROFILES
                .iter()
                .find(|profile| profile.name == throttle.profile)
                .map_or("", |profile| profile.what);
            let _ = writeln!(out, "\nTarget: the embedded mock, throttle {}: {what}", throttle.profile);
            if let Some(config) = throttle.config()
                && let Some((rate_per_s, burst)) = quota(config.registrations)
            {
                let beyond = (f64::from(scenario.fleet.devices) - burst).max(0.0);
                let _ = writeln!(
                    out,
                    "  {} against {} registrations a minute with {} at once: at least {}",
                    counted(u64::from(scenario.fleet.devices), "device"),
                    number(rate_per_s * 60.0),
                    number(burst),
                    Span::from_secs_f64((beyond / rate_per_s * 10.0).round() / 10.0)
                );
            }
        }
        TargetKind::Endpoint => {
            let _ = writeln!(out, "\nTarget: {}", printable(target.address.as_deref().unwrap_or("")));
        }
        TargetKind::Dps => {
            let _ = writeln!(out, "\nTarget: the real service. Every registration is billed.");
            if let Some(consent) = &target.consent {
                let _ = writeln!(
                    out,
                    "  consent for {}: {}, {}, {}",
                    printable(&consent.host),
                    counted(consent.max_devices.into(), "device"),
                    counted(consent.max_registrations, "registration"),
                    consent.max_rate
                );
            }
        }
    }
}

/// Long-run rate per second and what passes at once; `None` without a limit.
pub(crate) fn quota(model: Model) -> Option<(f64, f64)> {
    match model {
        Model::Unlimited => None,
        Model::TokenBucket { rate_per_s, burst }
        | Model::Gcra { rate_per_s, burst }
        | Model::Penalising { rate_per_s, burst, .. }
        | Model::Shaped { rate_per_s, burst, .. } => Some((rate_per_s, burst)),
        Model::FixedWindow { limit, window } | Model::SlidingWindow { limit, window } => {
            Some((f64::from(limit) / window.as_secs_f64(), f64::from(limit)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_of_the_quota_is_told() {
        let scenario = Scenario::read("[fleet]\ndevices = 2000", "q.toml", &[]).unwrap();
        let text = explain(&scenario);
        assert!(
            text.contains(
                "2,000 devices against 1,000 registrations a minute with 1,000 at once: at least 1 m"
            ),
            "{text}"
        );
        assert!(text.contains("dev-000000") && text.contains("dev-001999"));
    }
}
