//! How attempts ended, what that means, and where the devices came to rest.

use std::cmp::Reverse;

use fleetstorm_protocol::code;
use maud::{Markup, html};

use super::part::{Column, NAME_MAX, Section, more, name, nanos, table, text};
use super::{flow, over_time};
use crate::Record;
use crate::chart::{Ink, bar};
use crate::meaning::{Meaning, said, short};
use crate::number::{grouped, percent};
use crate::record::{Code, Totals};
use crate::text::clipped;

const CODES_MAX: usize = 64;
const NAMES_MAX: usize = 20;
const CAUSES_MAX: usize = 3;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.codes.is_empty() && record.devices == 0 {
        return None;
    }
    let body = html! {
        div.pair {
            @if record.devices > 0 { (rest(record)) }
            @if record.totals.hubs.len() > 1 { (hubs(record)) }
        }
        @if let Some(figure) = flow::figure(record) { (figure) }
        @if let Some(figure) = over_time::figure(record) { (figure) }
        @if !record.codes.is_empty() { (codes(record)) }
    };
    Some(Section { id: "outcomes", title: "Outcomes".into(), body })
}

/// Where the devices are at the end.
fn rest(record: &Record) -> Markup {
    let Totals { devices: _, booted, assigned, stopped, .. } = record.totals;
    let waiting = booted.saturating_sub(assigned).saturating_sub(stopped);
    let mut ends = vec![("assigned to a hub".to_owned(), assigned, Ink::Green)];
    let mut stops: Vec<_> = record.totals.stopped_by.iter().collect();
    stops.sort_by_key(|(_, devices)| Reverse(**devices));
    for (class, devices) in stops.into_iter().take(NAMES_MAX) {
        ends.push((format!("stopped: {}", clipped(class, NAME_MAX)), *devices, Ink::Vermilion));
    }
    ends.push(("still on their way".to_owned(), waiting, Ink::Orange));
    ends.push(("never booted".to_owned(), record.devices.saturating_sub(booted), Ink::Grey));
    let rows = ends
        .into_iter()
        .filter(|(_, devices, _)| *devices > 0)
        .map(|(end, devices, ink)| counted(&end, devices, record.devices, ink));
    let columns = [
        Column::Words("Devices at the end"),
        Column::Number("Devices"),
        Column::Number("Share"),
        Column::Words(""),
    ];
    table("Where the devices came to rest", &columns, rows)
}

fn hubs(record: &Record) -> Markup {
    let hubs = &record.totals.hubs;
    let rows = hubs
        .iter()
        .take(NAMES_MAX)
        .map(|(hub, devices)| counted(hub, *devices, record.totals.assigned, Ink::Green));
    let columns =
        [Column::Words("Hub"), Column::Number("Devices"), Column::Number("Share"), Column::Words("")];
    html! {
        div {
            (table("Devices assigned to each hub", &columns, rows))
            (more(NAMES_MAX, hubs.len(), "hubs"))
        }
    }
}

fn counted(what: &str, devices: u64, of: u64, ink: Ink) -> Vec<Markup> {
    vec![
        name(what),
        text(&grouped(devices)),
        text(&percent(devices, of)),
        bar(devices as f64 / of.max(1) as f64, ink),
    ]
}

fn codes(record: &Record) -> Markup {
    let columns = [
        Column::Words("Code"),
        Column::Words("Operation"),
        Column::Words("Meaning and what to do"),
        Column::Words("Kind"),
        Column::Number("Count"),
        Column::Number("Devices"),
        Column::Number("First"),
        Column::Number("Last"),
    ];
    let mut codes: Vec<&Code> = record.codes.iter().collect();
    // What went wrong first, the most frequent on top.
    codes.sort_by_key(|code| (code.succeeded(), Reverse(code.count)));
    html! {
        (table("How connections and requests ended", &columns, codes.iter().take(CODES_MAX).map(|code| row(code))))
        (more(CODES_MAX, codes.len(), "codes"))
    }
}

fn row(code: &Code) -> Vec<Markup> {
    let meaning = Meaning::of(code);
    let kind = match meaning {
        _ if code.succeeded() => html! { span.state.good { "success" } },
        Some(Meaning { transient: true, .. }) => html! { span.state.warn { "transient" } },
        Some(_) => html! { span.state.bad { "permanent" } },
        None => html! { span.state { "unknown" } },
    };
    vec![
        html! {
            code { (short(code)) }
            @if code.code != 0 {
                span.under {
                    (code.status)
                    @if let Some(status) = code::lookup(code.status, 0) { " " (status.title) }
                }
            }
        },
        name(&code.operation),
        html! {
            @match meaning {
                Some(Meaning { title, meaning, action, .. }) => {
                    strong { (title) } ". " (meaning)
                    @if !code.succeeded() { span.under { "→ " (action) } }
                }
                None => "This code is in no catalogue.",
            }
            @for cause in said(code).take(CAUSES_MAX) {
                span.under { "said: " (cause) }
            }
        },
        kind,
        text(&grouped(code.count)),
        text(&grouped(code.devices)),
        text(&nanos(code.first_ns)),
        text(&nanos(code.last_ns)),
    ]
}
