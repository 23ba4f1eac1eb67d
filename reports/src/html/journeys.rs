//! Where the time of a typical device and of the slow ones went.

use maud::{Markup, html};

use super::part::{Column, NAME_MAX, Section, nanos, table, text};
use crate::Record;
use crate::chart::{Ink, shares};
use crate::number::{grouped, percent};
use crate::record::Journey;
use crate::text::clipped;

/// Most devices that are shown; a run's record has four.
const SHOWN_MAX: usize = 8;

/// A part of the way: its name, its colour, and the time.
type Part = (&'static str, Ink, fn(&Journey) -> u64);

/// In the order in which a device meets them.
const PARTS: [Part; 8] = [
    ("held before the first attempt", Ink::Grey, |journey| journey.admission_ns),
    ("connect", Ink::Sky, |journey| journey.connect_ns),
    ("TLS", Ink::Purple, |journey| journey.tls_ns),
    ("register", Ink::Blue, |journey| journey.register_ns),
    ("poll", Ink::Green, |journey| journey.poll_ns),
    ("waiting to poll", Ink::Yellow, |journey| journey.polling_ns),
    ("back-off", Ink::Vermilion, |journey| journey.back_off_ns),
    ("generator late", Ink::Orange, |journey| journey.lag_ns),
];

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.journeys.is_empty() {
        return None;
    }
    let shown = || record.journeys.iter().take(SHOWN_MAX);
    let used: Vec<&Part> =
        PARTS.iter().filter(|(_, _, part)| shown().any(|journey| part(journey) > 0)).collect();
    let columns = [Column::Words("Device"), Column::Number("Took"), Column::Words("Of which")];
    let body = html! {
        figure #where-time-went {
            figcaption { "From boot to hub, by share of the time" }
            ul.legend {
                @for (name, ink, _) in &used {
                    li {
                        svg viewBox="0 0 22 10" width="22" height="10" aria-hidden="true" {
                            rect class={ "fill " (ink.class()) } x="0" y="0" width="22" height="10" {}
                        }
                        (name)
                    }
                }
            }
            (table("Shares of the time from boot to hub", &columns, shown().map(bar)))
            p.note { (note(record)) }
            details { summary { "Numbers of this chart" } (numbers(shown(), &used)) }
        }
    };
    Some(Section { id: "time", title: "Where the time went".into(), body })
}

fn bar(journey: &Journey) -> Vec<Markup> {
    let parts: Vec<(f64, Ink)> = PARTS.iter().map(|(_, ink, part)| (part(journey) as f64, *ink)).collect();
    vec![device(journey), text(&nanos(journey.total_ns)), shares(&parts)]
}

fn device(journey: &Journey) -> Markup {
    html! {
        (clipped(&journey.quantile, NAME_MAX))
        span.under { (clipped(&journey.name, NAME_MAX)) ", " (grouped(journey.attempts.into())) " attempts" }
    }
}

/// What most of the slow device's time was.
fn note(record: &Record) -> String {
    let Some(slow) = record.journeys.iter().rfind(|journey| journey.quantile == "p99") else {
        return String::new();
    };
    let Some((name, _, part)) = PARTS.iter().max_by_key(|(_, _, part)| part(slow)) else {
        return String::new();
    };
    let watched = if record.practice.watched < record.devices {
        format!(" Of {} watched devices.", grouped(record.practice.watched))
    } else {
        String::new()
    };
    format!(
        "The p99 device is the one that 99 % of the devices with a hub were not slower than; {} of its time was {name}.{watched}",
        percent(part(slow).min(slow.total_ns), slow.total_ns)
    )
}

fn numbers<'a>(shown: impl Iterator<Item = &'a Journey>, used: &[&Part]) -> Markup {
    let mut columns = vec![Column::Words("Device"), Column::Number("In all")];
    columns.extend(used.iter().map(|(name, _, _)| Column::Number(name)));
    let rows = shown.map(|journey| {
        let mut row = vec![device(journey), text(&nanos(journey.total_ns))];
        row.extend(used.iter().map(|(_, _, part)| text(&nanos(part(journey)))));
        row
    });
    table("Time from boot to hub by what it went to", &columns, rows)
}
