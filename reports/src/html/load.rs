//! What the fleet asked of the service, and what it answered.

use maud::{Markup, html};

use super::completion::{quota, reduced};
use super::part::{Column, Section, seconds, table};
use super::timeline::Timeline;
use super::{POINTS_MAX, ROWS_MAX};
use crate::Record;
use crate::chart::{Axis, Buckets, Chart, Ink, Layer, Room, Shape};
use crate::number::grouped;

pub(super) fn section(record: &Record) -> Option<Section> {
    let series = &record.series;
    let present =
        [&series.intended, &series.sent, &series.failed].into_iter().flatten().any(|count| *count > 0);
    if !present {
        return None;
    }
    let mut asked = vec![
        Line { name: "sent", ink: Ink::Blue, shape: Shape::Step, counts: &series.sent },
        Line { name: "intended", ink: Ink::Vermilion, shape: Shape::DashedStep, counts: &series.intended },
    ];
    let answered = [
        Line { name: "accepted (2xx)", ink: Ink::Green, shape: Shape::Step, counts: &series.accepted },
        Line { name: "throttled (429)", ink: Ink::Orange, shape: Shape::Step, counts: &series.throttled },
        Line { name: "failed", ink: Ink::Vermilion, shape: Shape::Step, counts: &series.failed },
    ];
    let what = if series.intended == series.sent {
        asked.truncate(1);
        "Every request was sent in the second in which its device meant to send it."
    } else {
        "Requests that devices meant to send, and did send. Where the two part, the generator was late or a device \
         had to connect first."
    };
    let registrations = [
        Line { name: "registrations", ink: Ink::Blue, shape: Shape::Step, counts: &series.registers },
        Line {
            name: "of these a device's first",
            ink: Ink::Green,
            shape: Shape::DashedStep,
            counts: &series.first,
        },
    ];
    let body = html! {
        @if record.bound.is_some() && series.registers.iter().any(|count| *count > 0) {
            (figure(record, "registrations", "Registrations per second against the quota", "Registers and status \
                look-ups, which are what the registration quota counts; polls are not among them.", &registrations))
        }
        (figure(record, "asked", "Requests per second: asked", what, &asked))
        (figure(record, "answered", "Requests per second: answered", "Accepted, throttled and failed requests; \
            failed includes connections that could not be made.", &answered))
    };
    Some(Section { id: "load", title: "Load".into(), body })
}

struct Line<'a> {
    name: &'static str,
    ink: Ink,
    shape: Shape,
    counts: &'a [u32],
}

fn figure(record: &Record, id: &str, title: &str, what: &str, lines: &[Line<'_>]) -> Markup {
    let timeline = Timeline::of(record);
    let entries = lines.iter().map(|line| timeline.shown(line.counts).len()).max().unwrap_or(0);
    let step_s = record.series.step_s;
    let buckets = Buckets::new(entries, step_s, POINTS_MAX);
    let mut layers: Vec<Layer> = lines
        .iter()
        .filter(|line| line.counts.iter().any(|count| *count > 0))
        .map(|line| Layer {
            name: line.name.to_owned(),
            ink: line.ink,
            shape: line.shape,
            points: buckets.stairs(buckets.rates_per_s(line.counts)),
        })
        .collect();
    // A single line has no legend, and its name is not the chart's.
    let only = match layers.as_slice() {
        [only] if lines.len() > 1 => format!("All are {}. ", only.name),
        _ => String::new(),
    };
    if id == "registrations" {
        layers.extend(record.bound.as_ref().map(quota));
    }
    let peaks: Vec<String> = lines
        .iter()
        .map(|line| {
            let peak = line.counts.iter().copied().max().unwrap_or(0);
            format!("{} {}", line.name, grouped(peak.into()))
        })
        .collect();
    let busiest = if step_s > 1 { format!("Busiest {step_s} s") } else { "Busiest second".to_owned() };
    let mut note = format!("{only}{busiest}: {}.", peaks.join(", "));
    if buckets.width_s() > 1 {
        note = format!("{} {note}", reduced(buckets, "its average second"));
    }
    let values = layers.iter().flat_map(|layer| &layer.points).map(|point| point.1);
    let chart = Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        description: format!("{what} {note}"),
        x: timeline.axis(),
        y: Axis::counts("requests/s", values),
        layers,
        marks: Vec::new(),
        bands: timeline.bands(),
        cells: None,
        room: Room::Whole { height: 230 },
    };
    chart.figure(&format!("{what} {note}"), &numbers(lines, entries, step_s))
}

fn numbers(lines: &[Line<'_>], entries: usize, step_s: u32) -> Markup {
    let buckets = Buckets::new(entries, step_s, ROWS_MAX);
    let sums: Vec<Vec<u64>> = lines.iter().map(|line| buckets.sums(line.counts)).collect();
    let mut columns = vec![Column::Number("From")];
    columns.extend(lines.iter().map(|line| Column::Number(line.name)));
    let rows = (0..buckets.len()).map(|index| {
        let start = std::iter::once(seconds(buckets.start_s(index)));
        start.chain(sums.iter().map(|sums| grouped(sums[index]))).collect()
    });
    table(&format!("Requests in each {}", buckets.width()), &columns, rows)
}
