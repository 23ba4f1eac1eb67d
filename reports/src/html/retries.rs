//! What the retries cost.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::ROWS_MAX;
use super::part::{Column, Fact, Section, facts, nanos, seconds, table, text};
use crate::Record;
use crate::chart::{Axis, Chart, Ink, Layer, Room, Shape, bar};
use crate::number::{counted, grouped, number, percent, ratio, share};
use crate::record::HerdIndex;

pub(super) fn section(record: &Record) -> Option<Section> {
    let totals = &record.totals;
    if totals.requests == 0 && record.attempts.is_empty() {
        return None;
    }
    let body = html! {
        (facts(&[
            Fact::new("Requests a success", ratio(totals.requests, totals.assigned), format!(
                "{} for {}", counted(totals.requests, "request"), counted(totals.assigned, "device"))),
            Fact::new("Registrations a success", ratio(totals.registers, totals.assigned),
                format!("{} sent, look-ups included", grouped(totals.registers))),
            Fact::new("Billed registrations", grouped(totals.billable),
                format!("{} a device that booted", ratio(totals.billable, totals.booted))),
            Fact::new("Connections a success", ratio(totals.connections, totals.assigned),
                format!("{} tried", grouped(totals.connections))),
            Fact::new("Time lost in back-off", nanos(totals.backed_off_ns.checked_div(totals.booted).unwrap_or(0)),
                format!("a device; {}", counted(totals.back_offs, "wait"))),
        ]))
        div.pair {
            @if !record.attempts.is_empty() { (attempts(&record.attempts)) }
            @if let Some(figure) = herd(&record.herd) { (figure) }
            @if record.retry_after.given > 0 { (retry_after(record)) }
        }
    };
    Some(Section { id: "retries", title: "Retries".into(), body })
}

/// A run's record has at most 120.
const PARTS_MAX: usize = 1_000;

/// Whether retries fell together.
fn herd(herd: &HerdIndex) -> Option<Markup> {
    let (synchrony, fullest) = (herd.synchrony?, herd.fullest_share?);
    if !(1..=PARTS_MAX).contains(&herd.folded.len()) || herd.period_s == 0 {
        return None;
    }
    let period_s = f64::from(herd.period_s);
    let width_s = period_s / herd.folded.len() as f64;
    let mut points: Vec<(f64, f64)> = herd
        .folded
        .iter()
        .enumerate()
        .map(|(part, count)| (part as f64 * width_s, f64::from(*count)))
        .collect();
    let max = points.iter().map(|point| point.1).fold(0.0, f64::max);
    points.extend(points.last().map(|last| (period_s, last.1)));
    let verdict = match synchrony {
        ..0.1 => "no rhythm",
        0.1..0.3 => "a weak rhythm",
        _ => "they come in waves",
    };
    let told = format!(
        "Rayleigh R {} at a period of {period_s} s: {verdict}. The fullest 100 ms, at {}, hold {} of {}.",
        number(synchrony),
        nanos(herd.fullest_ns),
        share(fullest),
        counted(herd.retries, "retry")
    );
    let chart = Chart {
        id: "herd".to_owned(),
        title: "Herd index: retries folded on their strongest period".to_owned(),
        description: told.clone(),
        x: Axis::duration("within the period", period_s),
        y: Axis::linear("retries", max),
        layers: vec![Layer { name: "retries".to_owned(), ink: Ink::Vermilion, shape: Shape::Step, points }],
        marks: Vec::new(),
        bands: Vec::new(),
        cells: None,
        room: Room::Half,
    };
    let rows = herd
        .folded
        .iter()
        .enumerate()
        .take(ROWS_MAX)
        .map(|(part, count)| vec![seconds(part as f64 * width_s), grouped((*count).into())]);
    let columns = [Column::Number("From"), Column::Number("Retries")];
    Some(chart.figure(
        &format!("{told} 0 is even, 1 is lockstep."),
        &table("Retries by part of the period", &columns, rows),
    ))
}

fn attempts(attempts: &BTreeMap<u64, u64>) -> Markup {
    let groups = grouped_attempts(attempts);
    let devices: u64 = attempts.values().fold(0, |sum, devices| sum.saturating_add(*devices));
    let most = attempts.keys().next_back().copied().unwrap_or(0);
    let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
    let points: Vec<(f64, f64)> =
        groups.iter().enumerate().map(|(index, group)| (index as f64, group.devices as f64)).collect();
    let chart = Chart {
        id: "attempts".to_owned(),
        title: "Attempts per device".to_owned(),
        description: format!(
            "{} got a hub, with at most {}.",
            counted(devices, "device"),
            counted(most, "attempt")
        ),
        x: Axis::named("attempts", names),
        y: Axis::counts("devices", points.iter().map(|point| point.1)),
        layers: vec![Layer { name: "devices".to_owned(), ink: Ink::Blue, shape: Shape::Bars, points }],
        marks: Vec::new(),
        bands: Vec::new(),
        cells: None,
        room: Room::Half,
    };
    let rows = groups.iter().map(|group| {
        vec![
            text(&group.name),
            text(&grouped(group.devices)),
            text(&percent(group.devices, devices)),
            bar(group.devices as f64 / devices.max(1) as f64, Ink::Blue),
        ]
    });
    let columns =
        [Column::Words("Attempts"), Column::Number("Devices"), Column::Number("Share"), Column::Words("")];
    chart.figure(
        "Devices that got a hub, by the requests it took them: one register and one poll is the least where \
         assignment takes a moment.",
        &table("Devices by number of attempts", &columns, rows),
    )
}

struct Group {
    name: String,
    devices: u64,
}

/// One group a number as long as they are few, then groups of equal width.
fn grouped_attempts(attempts: &BTreeMap<u64, u64>) -> Vec<Group> {
    const GROUPS_MAX: u64 = 32;
    let (Some(least), Some(most)) = (attempts.keys().next(), attempts.keys().next_back()) else {
        return Vec::new();
    };
    let width = ((most - least) / GROUPS_MAX).saturating_add(1);
    let count = (most - least) / width + 1;
    (0..count)
        .map(|index| {
            let from = least + index * width;
            let to = from.saturating_add(width - 1);
            let devices =
                attempts.range(from..=to).fold(0u64, |sum, (_, devices)| sum.saturating_add(*devices));
            let name = if width == 1 { from.to_string() } else { format!("{from}–{to}") };
            Group { name, devices }
        })
        .collect()
}

fn retry_after(record: &Record) -> Markup {
    let used = &record.retry_after;
    let row = |what: &str, count: u64, ink| {
        vec![
            text(what),
            text(&grouped(count)),
            text(&percent(count, used.given)),
            bar(count as f64 / used.given as f64, ink),
        ]
    };
    let mut rows = vec![
        row("honoured: waited at least as long", used.honoured, Ink::Green),
        row("violated: came back earlier", used.violated, Ink::Vermilion),
    ];
    if used.open() > 0 {
        rows.push(row(
            "open: meant to come back earlier, and did not before the end",
            used.open(),
            Ink::Grey,
        ));
    }
    let columns =
        [Column::Words("Retry-After"), Column::Number("Waits"), Column::Number("Share"), Column::Words("")];
    html! {
        div {
            (table("How devices treated Retry-After", &columns, rows))
            p.note { (counted(used.given, "failure")) " carried a valid Retry-After." }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_numbers_stand_alone_and_many_in_groups() {
        let few = grouped_attempts(&[(2, 5), (4, 1)].into_iter().collect());
        let few: Vec<_> = few.iter().map(|group| (&*group.name, group.devices)).collect();
        assert_eq!(few, [("2", 5), ("3", 0), ("4", 1)]);
        let many = grouped_attempts(&[(1, 5), (100, 1)].into_iter().collect());
        assert_eq!((&*many[0].name, many.len()), ("1–4", 25));
    }

    proptest! {
        #[test]
        fn no_device_is_lost_in_a_group(attempts in prop::collection::btree_map(any::<u64>(), 0..1_000u64, 1..50)) {
            let groups = grouped_attempts(&attempts);
            prop_assert!(groups.len() <= 33);
            let sum: u64 = attempts.values().sum();
            prop_assert_eq!(groups.iter().map(|group| group.devices).sum::<u64>(), sum);
        }
    }
}
