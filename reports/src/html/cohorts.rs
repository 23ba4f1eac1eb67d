//! The cohorts side by side.

use maud::{Markup, html};

use super::HALF_POINTS_MAX;
use super::completion::{beyond, cumulative, marked};
use super::part::{Column, NAME_MAX, Section, moment, more, name, seconds, table, text};
use super::timeline::Timeline;
use crate::Record;
use crate::chart::{Axis, Buckets, Chart, Ink, Layer, Room, Shape, Strip};
use crate::number::{counted, grouped, percent, ratio};
use crate::record::Cohort;
use crate::text::clipped;

const SHOWN_MAX: usize = 40;
/// Curves that a page shows, and rows of the table behind each.
const CURVES_MAX: usize = 8;
const CURVE_ROWS_MAX: usize = 24;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.cohorts.is_empty() {
        return None;
    }
    let timeline = Timeline::of(record);
    let strip = Strip { until_s: timeline.until_s };
    let columns = [
        Column::Words("Cohort"),
        Column::Number("Assigned"),
        Column::Number("Share"),
        Column::Words("50 to 100 %, over the run"),
        Column::Number("50 %"),
        Column::Number("99 %"),
        Column::Number("All"),
        Column::Number("Registers a device"),
        Column::Number("Throttled"),
        Column::Number("Stopped"),
    ];
    let shown = || record.cohorts.iter().take(SHOWN_MAX);
    let settings = [
        Column::Words("Cohort"),
        Column::Words("After a failure"),
        Column::Words("Attestation"),
        Column::Words("Transport"),
    ];
    let body = html! {
        @if record.cohorts.len() > 1 {
            div.pair {
                @for (place, cohort) in record.cohorts.iter().take(CURVES_MAX).enumerate() {
                    (curve(record, cohort, place, &timeline))
                }
            }
            (more(CURVES_MAX, record.cohorts.len(), "cohorts' curves"))
        }
        (table("What each cohort came to", &columns, shown().map(|cohort| outcome(cohort, &strip))))
        (table("How each cohort behaves", &settings, shown().map(behaviour)))
        (more(SHOWN_MAX, record.cohorts.len(), "cohorts"))
    };
    Some(Section { id: "cohorts", title: "Cohorts".into(), body })
}

/// A cohort's curve against what the quota would keep it from if no other cohort asked: its own bound.
fn curve(record: &Record, cohort: &Cohort, place: usize, timeline: &Timeline) -> Markup {
    let assigned = timeline.shown(&cohort.assigned);
    if assigned.is_empty() {
        return html! {};
    }
    let devices = cohort.totals.devices.max(1);
    let share = |devices_now: u64| (devices_now as f64 / devices as f64).min(1.0);
    let buckets = Buckets::new(assigned.len(), record.series.step_s, HALF_POINTS_MAX);
    let mut points = vec![(0.0, 0.0)];
    points.extend(cumulative(assigned, buckets).map(|(at, now)| (at, share(now))));
    // A cohort's series ends with its last device.
    points.extend(points.last().map(|last| (timeline.until_s.max(last.0), last.1)));
    let line = Layer { name: "assigned".to_owned(), ink: Ink::Blue, shape: Shape::Line, points };
    let own = beyond(record, devices, timeline)
        .map(|layer| Layer { name: "out of reach, had it the quota to itself".to_owned(), ..layer });
    let title = clipped(&cohort.name, NAME_MAX);
    let chart = Chart {
        id: format!("cohort-{place}"),
        title: title.clone(),
        description: format!(
            "{} of {} had their hub at the end.",
            grouped(cohort.totals.assigned),
            counted(cohort.totals.devices, "device")
        ),
        x: timeline.axis(),
        y: Axis::share("share of the cohort"),
        layers: own.into_iter().chain([line]).collect(),
        marks: Vec::new(),
        bands: timeline.bands(),
        cells: None,
        room: Room::Half,
    };
    let rows = cumulative(assigned, Buckets::new(assigned.len(), record.series.step_s, CURVE_ROWS_MAX));
    let rows = rows.map(|(at, now)| vec![seconds(at), grouped(now), percent(now, devices)]);
    let columns = [Column::Number("Until"), Column::Number("Assigned"), Column::Number("Share")];
    chart.figure("", &table(&format!("Devices of {title} with a hub over time"), &columns, rows))
}

fn outcome(cohort: &Cohort, strip: &Strip) -> Vec<Markup> {
    let (totals, completion) = (&cohort.totals, &cohort.completion);
    let moments: Vec<f64> =
        marked(completion).into_iter().filter_map(|(_, _, ns)| Some(ns? as f64 / 1e9)).collect();
    vec![
        name(&cohort.name),
        text(&format!("{} of {}", grouped(totals.assigned), grouped(totals.devices))),
        text(&percent(totals.assigned, totals.devices)),
        strip.row(&moments),
        text(&moment(completion.t50_ns)),
        text(&moment(completion.t99_ns)),
        text(&moment(completion.t100_ns)),
        text(&ratio(totals.registers, totals.booted)),
        text(&grouped(totals.throttled)),
        text(&grouped(totals.stopped)),
    ]
}

fn behaviour(cohort: &Cohort) -> Vec<Markup> {
    [&cohort.name, &cohort.retry, &cohort.attestation, &cohort.transport].map(|text| name(text)).into()
}
