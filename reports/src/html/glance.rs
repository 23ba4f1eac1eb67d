//! The course of a run at a glance, beside its verdict: how a fleet came online, or how it came back.

use maud::Markup;

use super::HALF_POINTS_MAX;
use super::part::{Column, seconds, table};
use super::timeline::{Timeline, recovery};
use crate::Record;
use crate::chart::{Axis, Buckets, Chart, Ink, Layer, Room, Shape};
use crate::number::{counted, grouped, percent};

/// Rows of the table behind it: the large chart has more.
const ROWS_MAX: usize = 12;

/// The chart of recovery where the fleet lives through outages, else that of completion; absent where nothing was recorded.
pub(super) fn figure(record: &Record) -> Option<Markup> {
    let timeline = Timeline::of(record);
    let life = record.life.as_ref().filter(|life| life.devices > 0 && !life.online.is_empty());
    match (life, recovery(record)) {
        (Some(life), Some(part)) => {
            let whole = life.devices;
            Some(level(record, &timeline, "Recovery: devices at their hub", &life.online, whole, part))
        }
        (None, Some(part)) if record.devices > 0 => {
            let waiting: Vec<u32> = record.series.in_flight.clone();
            let whole = u64::from(waiting.iter().copied().max().unwrap_or(0)).max(1);
            (!waiting.is_empty()).then(|| {
                level(record, &timeline, "Recovery: devices on their way to a hub", &waiting, whole, part)
            })
        }
        _ => completion(record, &timeline),
    }
}

/// A level over a part of the time.
fn level(
    record: &Record,
    timeline: &Timeline,
    title: &str,
    counts: &[u32],
    whole: u64,
    part: (f64, f64),
) -> Markup {
    let (from_s, to_s) = part;
    let step_s = f64::from(record.series.step_s.max(1));
    let first = ((from_s / step_s) as usize).min(counts.len());
    let last = ((to_s / step_s).ceil() as usize).clamp(first, counts.len());
    let counts = &counts[first..last];
    let buckets = Buckets::new(counts.len(), record.series.step_s, HALF_POINTS_MAX);
    let start_s = first as f64 * step_s;
    let share = |devices: u64| devices as f64 / whole.max(1) as f64;
    let is_share = record.life.is_some();
    let value = |devices: u64| if is_share { share(devices).min(1.0) } else { devices as f64 };
    // A level falls in an outage and rises in a storm: neither may be lost between two points.
    let levels = if is_share { buckets.lows(counts) } else { buckets.peaks(counts) };
    let points = buckets.stairs(levels.iter().map(|level| value(*level)).collect());
    let low = counts.iter().copied().min().unwrap_or(0);
    let high = counts.iter().copied().max().unwrap_or(0);
    let chart = Chart {
        id: "glance".to_owned(),
        title: title.to_owned(),
        description: format!(
            "From {} to {}: between {} and {}.",
            seconds(from_s),
            seconds(to_s),
            grouped(low.into()),
            counted(high.into(), "device")
        ),
        x: Axis::between(from_s, to_s),
        y: if is_share { Axis::share("share") } else { Axis::linear("devices", f64::from(high)) },
        layers: vec![Layer {
            name: if is_share { "online" } else { "on their way" }.to_owned(),
            ink: if is_share { Ink::Green } else { Ink::Purple },
            shape: Shape::Step,
            points: points.into_iter().map(|(x, y)| (x + start_s, y)).collect(),
        }],
        marks: Vec::new(),
        bands: timeline.bands_between(from_s, to_s),
        cells: None,
        room: Room::Glance,
    };
    let rows = Buckets::new(counts.len(), record.series.step_s, ROWS_MAX);
    let lows = if is_share { rows.lows(counts) } else { rows.peaks(counts) };
    let rows = lows.into_iter().enumerate().map(|(at, devices)| {
        vec![seconds(rows.start_s(at) + start_s), grouped(devices), percent(devices, whole)]
    });
    let columns = [Column::Number("From"), Column::Number("Devices"), Column::Number("Share")];
    chart.figure("", &table(title, &columns, rows))
}

fn completion(record: &Record, timeline: &Timeline) -> Option<Markup> {
    let assigned = timeline.shown(&record.series.assigned);
    if record.devices == 0 || assigned.is_empty() {
        return None;
    }
    let buckets = Buckets::new(assigned.len(), record.series.step_s, HALF_POINTS_MAX);
    let through = |buckets: Buckets| super::completion::cumulative(assigned, buckets);
    let share = |devices: u64| (devices as f64 / record.devices as f64).min(1.0);
    let mut points = vec![(0.0, 0.0)];
    points.extend(through(buckets).map(|(at, devices)| (at, share(devices))));
    let top = super::completion::top(record, timeline);
    let layers = super::completion::beyond(record, record.devices, timeline)
        .into_iter()
        .chain([Layer { name: "assigned".to_owned(), ink: Ink::Blue, shape: Shape::Line, points }])
        .collect();
    let title = "Completion: devices with a hub";
    let chart = Chart {
        id: "glance".to_owned(),
        title: title.to_owned(),
        description: format!(
            "{} of {} had their hub at the end.",
            grouped(record.totals.assigned),
            counted(record.devices, "device")
        ),
        x: timeline.axis(),
        y: Axis::share_up_to("share", top),
        layers,
        marks: Vec::new(),
        bands: timeline.bands(),
        cells: None,
        room: Room::Glance,
    };
    let rows = through(Buckets::new(assigned.len(), record.series.step_s, ROWS_MAX));
    let rows =
        rows.map(|(at, devices)| vec![seconds(at), grouped(devices), percent(devices, record.devices)]);
    let columns = [Column::Number("Until"), Column::Number("Assigned"), Column::Number("Share")];
    Some(chart.figure("", &table(title, &columns, rows)))
}
