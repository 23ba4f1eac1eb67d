//! Which codes came when.

use std::cmp::Reverse;

use maud::Markup;

use super::part::{Column, nanos, table};
use super::timeline::Timeline;
use crate::Record;
use crate::chart::{Axis, Chart, Ink, Layer, Room, Shape};
use crate::meaning::{Meaning, short};
use crate::number::grouped;
use crate::record::Code;

/// Codes that have a colour of their own; the others are told together.
const NAMED_MAX: usize = 5;
const INKS: [Ink; NAMED_MAX + 1] =
    [Ink::Orange, Ink::Vermilion, Ink::Purple, Ink::Yellow, Ink::Sky, Ink::Grey];
/// A record has at most this many windows.
const WINDOWS_MAX: usize = 256;

/// A code, or several together, over time.
struct Band {
    name: String,
    ink: Ink,
    counts: Vec<u64>,
}

/// Connections and requests by how they ended, on top of each other; absent where the record does not say when.
pub(super) fn figure(record: &Record) -> Option<Markup> {
    let windows = record.codes.iter().map(|code| code.windows.len()).max()?.min(WINDOWS_MAX);
    if windows == 0 || record.window_ns == 0 {
        return None;
    }
    let timeline = Timeline::of(record);
    let bands = bands(record, windows);
    let width_s = record.window_ns as f64 / 1e9;
    let mut through = vec![0u64; windows];
    let mut layers: Vec<Layer> = Vec::new();
    for band in &bands {
        for (sum, count) in through.iter_mut().zip(&band.counts) {
            *sum = sum.saturating_add(*count);
        }
        let step = |(window, sum): (usize, &u64)| (window as f64 * width_s, *sum as f64 / width_s);
        let mut points: Vec<(f64, f64)> = through.iter().enumerate().map(step).collect();
        points.extend(points.last().map(|last| (windows as f64 * width_s, last.1)));
        layers.push(Layer { name: band.name.clone(), ink: band.ink, shape: Shape::Area, points });
    }
    let max = layers.last()?.points.iter().map(|point| point.1).fold(0.0, f64::max);
    // The tallest stands behind the others.
    layers.reverse();
    let chart = Chart {
        id: "codes-over-time".to_owned(),
        title: "How connections and requests ended, over time".to_owned(),
        description: format!(
            "{} kinds of ending, in windows of {}; the most frequent failure is {}.",
            record.codes.len(),
            nanos(record.window_ns),
            bands.iter().find(|band| band.ink != Ink::Green).map_or("none", |band| &band.name)
        ),
        x: timeline.axis(),
        y: Axis::linear("endings/s", max),
        layers,
        marks: Vec::new(),
        bands: timeline.bands(),
        cells: None,
        room: Room::Whole { height: 230 },
    };
    let mut columns = vec![Column::Number("From")];
    columns.extend(bands.iter().map(|band| Column::Number(&band.name)));
    let rows = (0..windows).map(|window| {
        let start = std::iter::once(nanos((window as u64).saturating_mul(record.window_ns)));
        start.chain(bands.iter().map(|band| grouped(band.counts[window]))).collect::<Vec<_>>()
    });
    let caption = format!("Endings in each {}", nanos(record.window_ns));
    let note = "On top of each other: successes at the bottom, then the most frequent failures.";
    Some(chart.figure(note, &table(&caption, &columns, rows)))
}

/// Successes first, then failures by how often they came.
fn bands(record: &Record, windows: usize) -> Vec<Band> {
    let sum = |codes: &[&Code]| {
        let mut sums = vec![0u64; windows];
        for code in codes {
            for (sum, count) in sums.iter_mut().zip(&code.windows) {
                *sum = sum.saturating_add(u64::from(*count));
            }
        }
        sums
    };
    let (good, bad): (Vec<&Code>, Vec<&Code>) = record.codes.iter().partition(|code| code.succeeded());
    // The same code on a register and on a poll is one band.
    let mut kinds: Vec<(String, Vec<&Code>)> = Vec::new();
    for code in bad {
        let name = named(code);
        match kinds.iter_mut().find(|(known, _)| *known == name) {
            Some((_, codes)) => codes.push(code),
            None => kinds.push((name, vec![code])),
        }
    }
    kinds.sort_by_key(|(_, codes)| {
        Reverse(codes.iter().fold(0u64, |sum, code| sum.saturating_add(code.count)))
    });
    let rest: Vec<&Code> = kinds.drain(NAMED_MAX.min(kinds.len())..).flat_map(|(_, codes)| codes).collect();
    let mut bands = vec![Band { name: "success".to_owned(), ink: Ink::Green, counts: sum(&good) }];
    for ((name, codes), ink) in kinds.into_iter().zip(INKS) {
        bands.push(Band { name, ink, counts: sum(&codes) });
    }
    if !rest.is_empty() {
        bands.push(Band { name: "others".to_owned(), ink: Ink::Grey, counts: sum(&rest) });
    }
    bands.retain(|band| band.counts.iter().any(|count| *count > 0));
    bands
}

fn named(code: &Code) -> String {
    match Meaning::of(code) {
        // A transport error is named by what it is.
        Some(Meaning { title, .. }) if title.eq_ignore_ascii_case(&short(code)) => title.to_owned(),
        Some(Meaning { title, .. }) => format!("{} {title}", short(code)),
        None => short(code),
    }
}
