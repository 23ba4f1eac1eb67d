//! The one axis of time that all charts of a run share: where it ends, and what was on when.

use super::part::NAME_MAX;
use crate::chart::{Axis, Band, Cause};
use crate::text::clipped;
use crate::{Record, chaos};

/// Bands of a chart: more cannot be told apart.
const BANDS_MAX: usize = 60;
/// Characters of a name above a chart.
const LABEL_MAX: usize = 26;
/// A run of which so much is quiet at its end is shown until it is quiet.
const QUIET: f64 = 0.25;

/// The time of a run as its charts show it.
pub(super) struct Timeline {
    /// Where the axes end, in seconds.
    pub(super) until_s: f64,
    /// Where the run ended.
    pub(super) end_s: f64,
    /// Seconds of an entry of the series.
    step_s: f64,
    bands: Vec<Band>,
}

impl Timeline {
    pub(super) fn of(record: &Record) -> Self {
        let end_s = end_s(record);
        let bands = bands(record, end_s);
        let busy_s = busy_until_s(record, &bands).min(end_s);
        // A little room behind the last thing that happened.
        let until_s = if busy_s > 0.0 && busy_s < end_s * (1.0 - QUIET) { busy_s * 1.05 } else { end_s };
        Self { until_s, end_s, step_s: f64::from(record.series.step_s.max(1)), bands }
    }

    /// The axis.
    pub(super) fn axis(&self) -> Axis {
        Axis::elapsed(self.until_s)
    }

    /// The part of a series that is shown.
    pub(super) fn shown<'a, T>(&self, counts: &'a [T]) -> &'a [T] {
        let entries = (self.until_s / self.step_s).ceil();
        &counts[..counts.len().min(if entries.is_finite() { entries as usize } else { usize::MAX })]
    }

    /// What was on, as far as the charts reach.
    pub(super) fn bands(&self) -> Vec<Band> {
        self.bands_between(0.0, self.until_s)
    }

    /// Likewise, for a part of it.
    pub(super) fn bands_between(&self, from_s: f64, to_s: f64) -> Vec<Band> {
        let inside = self.bands.iter().filter(|band| band.from < to_s && band.to > from_s);
        inside
            .map(|band| Band { from: band.from.max(from_s), to: band.to.min(to_s), ..band.clone() })
            .collect()
    }

    /// What a caption says of a run that is not shown to its end.
    pub(super) fn note(&self) -> String {
        if self.until_s < self.end_s {
            let at = |secs: f64| super::part::seconds(secs);
            format!(
                "Nothing moves from {} until the end at {}, which is left out.",
                at(self.until_s),
                at(self.end_s)
            )
        } else {
            String::new()
        }
    }
}

/// Where the run ended, in seconds.
pub(super) fn end_s(record: &Record) -> f64 {
    let series_s = record.series.assigned.len() as f64 * f64::from(record.series.step_s.max(1));
    (record.duration_ns as f64 / 1e9).max(series_s)
}

fn bands(record: &Record, end_s: f64) -> Vec<Band> {
    let band = |name: &str, cause, from_ns: u64, until_ns: Option<u64>| {
        let to = until_ns.map_or(end_s, |ns| ns as f64 / 1e9).min(end_s);
        let name = clipped(name, LABEL_MAX.min(NAME_MAX));
        Band { name, cause, from: (from_ns as f64 / 1e9).min(to), to }
    };
    let faults = record.chaos.faults.iter().flat_map(|fault| {
        fault.windows.iter().map(|window| band(&fault.name, Cause::Fault, window.from_ns, window.until_ns))
    });
    let outages = record
        .outages
        .iter()
        .map(|outage| band(&outage.name, Cause::Outage, outage.from_ns, outage.until_ns));
    let alerts = record.alerts.iter().flat_map(|alert| {
        alert
            .firings
            .iter()
            .map(|firing| band(&alert.name, Cause::Alert, firing.fired_ns, firing.resolved_ns))
    });
    faults.chain(outages).chain(alerts).take(BANDS_MAX).collect()
}

/// The last moment at which a count was above nothing, a level changed, or a band ended before the run.
fn busy_until_s(record: &Record, bands: &[Band]) -> f64 {
    let series = &record.series;
    let step_s = f64::from(series.step_s.max(1));
    let flow = |counts: &[u32]| counts.iter().rposition(|count| *count > 0);
    let level = |counts: &[u32]| (1..counts.len()).rev().find(|at| counts[*at] != counts[at - 1]);
    let flows = [&series.sent, &series.failed, &series.assigned, &series.booted, &series.registers]
        .map(|counts| flow(counts));
    let life = record.life.iter().flat_map(|life| [level(&life.online), flow(&life.connects)]);
    let last = flows.into_iter().chain([level(&series.in_flight)]).chain(life).flatten().max();
    let ends = bands.iter().map(|band| band.to);
    ends.chain(last.map(|last| (last + 1) as f64 * step_s)).fold(0.0, f64::max)
}

/// The part of a run, in seconds, in which a fleet came back from what befell it after most of it was online; absent for a
/// run that is about coming online.
pub(super) fn recovery(record: &Record) -> Option<(f64, f64)> {
    let settled_ns = record.completion.t90_ns?;
    let end_s = end_s(record);
    let late = |from_ns: &u64| *from_ns >= settled_ns;
    let faults = record.chaos.faults.iter().filter_map(|fault| {
        let from_ns = fault.windows.iter().map(|window| window.from_ns).find(late)?;
        let over = fault.windows.iter().filter_map(|window| window.until_ns).max();
        let back_s =
            over.zip(chaos::back_after(record, fault)).map(|(over, back)| (over + back) as f64 / 1e9);
        Some((from_ns as f64 / 1e9, back_s))
    });
    let outages = record.outages.iter().filter(|outage| late(&outage.from_ns)).map(|outage| {
        let from_s = outage.from_ns as f64 / 1e9;
        (from_s, outage.until_ns.and_then(|until_ns| online_again_s(record, outage.from_ns, until_ns)))
    });
    let parts: Vec<(f64, Option<f64>)> = faults.chain(outages).collect();
    let from_s = parts.iter().map(|part| part.0).reduce(f64::min)?;
    // What was not seen to end lasts until the end.
    let to_s = parts.iter().map(|part| part.1.unwrap_or(end_s)).fold(from_s, f64::max).min(end_s);
    let room_s = ((to_s - from_s) * 0.15).max(2.0);
    Some(((from_s - room_s).max(0.0), (to_s + room_s).min(end_s)))
}

/// When as many devices were at their hub again as before an outage.
pub(super) fn online_again_s(record: &Record, from_ns: u64, until_ns: u64) -> Option<f64> {
    let online = &record.life.as_ref()?.online;
    let step_ns = 1_000_000_000 * u64::from(record.series.step_s.max(1));
    let before = usize::try_from(from_ns / step_ns).ok()?.checked_sub(1)?;
    let over = usize::try_from(until_ns.div_ceil(step_ns)).ok()?;
    let wanted = *online.get(before)?;
    let at = online.iter().skip(over).position(|now| *now >= wanted)?;
    Some((over + at + 1) as f64 * step_ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fault, FaultStatus, FaultWindow, Life, Outage};
    use crate::testing;

    fn with_fault(from_s: u64, until_s: u64, back_s: u64) -> Record {
        let mut record = testing::record();
        let window = FaultWindow {
            from_ns: from_s * 1_000_000_000,
            until_ns: Some(until_s * 1_000_000_000),
            detected_after_ns: None,
            recovered_after_ns: Some(back_s * 1_000_000_000),
            locked_up: false,
        };
        record.series.in_flight.fill(0);
        record.chaos.faults = vec![Fault {
            name: "storm".into(),
            kind: "service.throttle".into(),
            layer: "service".into(),
            eligible: 1,
            fired: 1,
            min_fired: 1,
            devices: 1,
            windows: vec![window],
            status: FaultStatus::Passed,
            ..Fault::default()
        }];
        record
    }

    #[test]
    fn axes_end_where_the_run_falls_silent() {
        let mut record = testing::record();
        assert_eq!((Timeline::of(&record).until_s, Timeline::of(&record).note().as_str()), (120.0, ""));
        record.duration_ns = 3_600_000_000_000;
        let timeline = Timeline::of(&record);
        assert_eq!(timeline.until_s, 126.0);
        assert!(timeline.note().contains("from 2 m 06 s until the end at 1 h"), "{}", timeline.note());
        // A fault that ends late is something that happens.
        record.chaos = with_fault(1_000, 2_000, 0).chaos;
        assert_eq!(Timeline::of(&record).until_s, 2_100.0);
    }

    #[test]
    fn a_run_is_about_recovery_if_something_befell_a_fleet_that_was_online() {
        assert_eq!(recovery(&testing::record()), None);
        assert_eq!(recovery(&with_fault(10, 30, 20)), None, "90 % are online after 78 s");
        let (from, to) = recovery(&with_fault(80, 90, 10)).unwrap();
        assert!((from - 77.0).abs() < 1e-9 && (to - 103.0).abs() < 1e-9, "{from} {to}");
        let mut hub = testing::record();
        hub.outages = vec![Outage {
            name: "hub-1 failing".into(),
            from_ns: 80_000_000_000,
            until_ns: Some(90_000_000_000),
        }];
        let online = (0..120).map(|second| if (80..100).contains(&second) { 5 } else { 990 }).collect();
        hub.life = Some(Life { devices: 1_000, online, ..Life::default() });
        assert_eq!(online_again_s(&hub, 80_000_000_000, 90_000_000_000), Some(101.0));
        assert!(recovery(&hub).unwrap().1 > 101.0);
    }

    #[test]
    fn everything_that_was_on_is_a_band_with_its_name() {
        let mut record = with_fault(80, 90, 10);
        record.outages =
            vec![Outage { name: "hub-1 failing".into(), from_ns: 100_000_000_000, until_ns: None }];
        record.alerts = vec![crate::record::Alert {
            name: "pager".into(),
            rule: String::new(),
            firings: vec![crate::record::Firing { fired_ns: 60_000_000_000, resolved_ns: None }],
            extreme: None,
        }];
        let told: Vec<(String, f64, f64)> =
            Timeline::of(&record).bands().into_iter().map(|band| (band.name, band.from, band.to)).collect();
        let expected = [("storm", 80.0, 90.0), ("hub-1 failing", 100.0, 120.0), ("pager", 60.0, 120.0)];
        assert_eq!(told, expected.map(|(name, from, to)| (name.to_owned(), from, to)));
    }
}
