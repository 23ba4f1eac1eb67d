//! When the fleet came online, against what the quota alone would allow.

use maud::{Markup, html};

use super::part::{Column, Fact, NAME_MAX, Section, facts, moment, nanos, seconds, table};
use super::timeline::Timeline;
use super::{HALF_POINTS_MAX, POINTS_MAX, ROWS_MAX};
use crate::Record;
use crate::bound;
use crate::chart::{Axis, Buckets, Chart, Ink, Layer, Mark, Room, Shape};
use crate::number::{counted, grouped, number, percent};
use crate::record::{Bound, Completion};
use crate::text::clipped;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.devices == 0 || record.series.assigned.is_empty() {
        return None;
    }
    let timeline = Timeline::of(record);
    let body = html! {
        @if let Some(bound) = &record.bound { (against(record, bound)) }
        (curve(record, &timeline))
        (pace(record, &timeline))
    };
    Some(Section { id: "completion", title: "Fleet completion".into(), body })
}

/// The shares that are marked: name, share, moment.
pub(super) fn marked(completion: &Completion) -> [(&'static str, f64, Option<u64>); 5] {
    [
        ("50 %", 0.5, completion.t50_ns),
        ("90 %", 0.9, completion.t90_ns),
        ("99 %", 0.99, completion.t99_ns),
        ("99.9 %", 0.999, completion.t999_ns),
        ("all", 1.0, completion.t100_ns),
    ]
}

/// The fleet beside the bound.
fn against(record: &Record, bound: &Bound) -> Markup {
    let devices = record.devices;
    let ninety_nine = devices - devices / 100;
    let ideal_s = bound::earliest_s(bound, ninety_nine);
    let observed = record.completion.t99_ns;
    let factor = match observed {
        Some(ns) if ideal_s > 0.0 => format!("{} × the bound", number(ns as f64 / 1e9 / ideal_s)),
        Some(_) => "the quota would not have delayed them".to_owned(),
        None => "not reached".to_owned(),
    };
    let ideal = if ideal_s > 0.0 { seconds(ideal_s) } else { "at once".to_owned() };
    html! {
        (facts(&[
            Fact::new("99 % online, observed", moment(observed), factor),
            Fact::new("99 % online, quota alone", ideal, "no strategy can be faster"),
            Fact::new("Quota", format!("{} /s", number(bound.rate_per_s)), clipped(&bound.what, NAME_MAX)),
        ]))
    }
}

/// The highest share that a chart of completion has to show: of a fleet that is far from done, only the part that is.
pub(super) fn top(record: &Record, timeline: &Timeline) -> f64 {
    let allowed = record.bound.as_ref().map_or(0.0, |bound| bound::admitted(bound, timeline.until_s));
    let most =
        allowed.min(record.devices as f64).max(record.totals.assigned as f64) / record.devices.max(1) as f64;
    // Beyond the half there is nothing to be gained.
    if most > 0.0 && most < 0.5 { most * 1.1 } else { 1.0 }
}

/// What the quota keeps so many devices from; nothing where it lets all of them through at once.
pub(super) fn beyond(record: &Record, devices: u64, timeline: &Timeline) -> Option<Layer> {
    let bound = record.bound.as_ref().filter(|bound| bound::earliest_s(bound, devices) > 0.0)?;
    Some(Layer {
        name: "out of reach of the quota".to_owned(),
        ink: Ink::Grey,
        shape: Shape::Beyond,
        points: bound::curve(bound, devices, timeline.until_s, 100),
    })
}

fn curve(record: &Record, timeline: &Timeline) -> Markup {
    let assigned = timeline.shown(&record.series.assigned);
    let buckets = Buckets::new(assigned.len(), record.series.step_s, POINTS_MAX);
    let mut points = vec![(0.0, 0.0)];
    points.extend(cumulative(assigned, buckets).map(|(end_s, assigned)| (end_s, share(record, assigned))));
    let mut marks = Vec::new();
    for (name, share, ns) in marked(&record.completion) {
        let Some(ns) = ns else { continue };
        let at_s = ns as f64 / 1e9;
        // The exact moments stand on the curve, which is otherwise known to the second.
        points.push((at_s, share));
        marks.push(Mark { x: at_s, y: share, label: format!("{name} {}", nanos(ns)) });
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let beyond = beyond(record, record.devices, timeline);
    let is_bounded = beyond.is_some();
    let line = Layer { name: "assigned".to_owned(), ink: Ink::Blue, shape: Shape::Line, points };
    let chart = Chart {
        id: "completion-curve".to_owned(),
        title: "Share of the fleet with a hub".to_owned(),
        description: format!(
            "{} of {} had their hub at the end; half of them after {}, 99 % after {}.",
            grouped(record.totals.assigned),
            counted(record.devices, "device"),
            moment(record.completion.t50_ns),
            moment(record.completion.t99_ns)
        ),
        x: timeline.axis(),
        y: Axis::share_up_to("share of the fleet", top(record, timeline)),
        layers: beyond.into_iter().chain([line]).collect(),
        marks,
        bands: timeline.bands(),
        cells: None,
        room: Room::Whole { height: 320 },
    };
    let mut note = reduced(buckets, "the number at its end");
    if is_bounded {
        note.push_str(
            " The distance between the curve and the shaded area is what the schedule of boots, the retries and the \
             service itself cost on top of the quota.",
        );
    }
    note = format!("{note} {}", timeline.note());
    let rows = Buckets::new(assigned.len(), record.series.step_s, ROWS_MAX);
    let rows = cumulative(assigned, rows)
        .map(|(end_s, assigned)| vec![seconds(end_s), grouped(assigned), percent(assigned, record.devices)]);
    let columns = [Column::Number("Until"), Column::Number("Assigned"), Column::Number("Share")];
    chart.figure(note.trim(), &table("Devices with a hub over time", &columns, rows))
}

/// The end of each bucket and how many devices had their hub then.
pub(super) fn cumulative(counts: &[u32], buckets: Buckets) -> impl Iterator<Item = (f64, u64)> {
    let mut assigned = 0u64;
    buckets.sums(counts).into_iter().enumerate().map(move |(index, sum)| {
        assigned = assigned.saturating_add(sum);
        (buckets.end_s(index), assigned)
    })
}

fn share(record: &Record, devices: u64) -> f64 {
    devices as f64 / record.devices as f64
}

/// What a caption says of a series that was cut into buckets; nothing where a bucket is a second.
pub(super) fn reduced(buckets: Buckets, how: &str) -> String {
    if buckets.width_s() == 1 {
        return String::new();
    }
    format!("One point stands for {}: {how}.", buckets.width())
}

/// Devices that got their hub in each second, and those that were waiting for it.
fn pace(record: &Record, timeline: &Timeline) -> Markup {
    let assigned = Panel {
        id: "pace",
        title: "Devices assigned per second",
        label: "devices/s",
        ink: Ink::Green,
        counts: timeline.shown(&record.series.assigned),
        step_s: record.series.step_s,
        reading: Reading::Flow,
        rule: record.bound.as_ref().map(quota),
    };
    let waiting = Panel {
        id: "waiting",
        title: "Devices on their way",
        label: "devices",
        ink: Ink::Purple,
        counts: timeline.shown(&record.series.in_flight),
        step_s: record.series.step_s,
        reading: Reading::Level,
        rule: None,
    };
    html! { div.pair { (assigned.figure(timeline)) (waiting.figure(timeline)) } }
}

/// Whether counts of seconds add up.
enum Reading {
    /// They do: a bucket is drawn as its average second, and told as its sum.
    Flow,
    /// They do not: a bucket is its largest second.
    Level,
}

/// A series in a chart of its own.
struct Panel<'a> {
    id: &'a str,
    title: &'a str,
    label: &'a str,
    ink: Ink,
    counts: &'a [u32],
    step_s: u32,
    reading: Reading,
    rule: Option<Layer>,
}

impl Panel<'_> {
    fn figure(self, timeline: &Timeline) -> Markup {
        let buckets = Buckets::new(self.counts.len(), self.step_s, HALF_POINTS_MAX);
        let (values, how) = match self.reading {
            Reading::Flow => (buckets.rates_per_s(self.counts), "its average second"),
            Reading::Level => {
                let peaks = buckets.peaks(self.counts).into_iter().map(|peak| peak as f64).collect();
                (peaks, "its largest second")
            }
        };
        let numbers = self.numbers();
        let rule = self.rule.iter().flat_map(|layer| &layer.points).map(|point| point.1);
        let y = Axis::counts(self.label, values.iter().copied().chain(rule));
        let line = Layer {
            name: self.label.to_owned(),
            ink: self.ink,
            shape: Shape::Step,
            points: buckets.stairs(values),
        };
        let peak = self.counts.iter().copied().max().unwrap_or(0);
        let chart = Chart {
            id: self.id.to_owned(),
            title: self.title.to_owned(),
            description: match self.step_s {
                0 | 1 => format!("The busiest second has {}.", grouped(peak.into())),
                step_s => format!("The busiest {step_s} s have {}.", grouped(peak.into())),
            },
            x: timeline.axis(),
            y,
            layers: std::iter::once(line).chain(self.rule).collect(),
            marks: Vec::new(),
            bands: timeline.bands(),
            cells: None,
            room: Room::Half,
        };
        chart.figure(&reduced(buckets, how), &numbers)
    }

    fn numbers(&self) -> Markup {
        let buckets = Buckets::new(self.counts.len(), self.step_s, ROWS_MAX);
        let values = match self.reading {
            Reading::Flow => buckets.sums(self.counts),
            Reading::Level => buckets.peaks(self.counts),
        };
        let rows = values
            .into_iter()
            .enumerate()
            .map(|(index, value)| vec![seconds(buckets.start_s(index)), grouped(value)]);
        let caption = format!("{}, by {}", self.title, buckets.width());
        table(&caption, &[Column::Number("From"), Column::Number("Devices")], rows)
    }
}

/// The quota as a line across a chart of rates.
pub(super) fn quota(bound: &Bound) -> Layer {
    Layer {
        name: format!("quota {}/s", number(bound.rate_per_s)),
        ink: Ink::Grey,
        shape: Shape::Rule,
        points: vec![(0.0, bound.rate_per_s)],
    }
}
