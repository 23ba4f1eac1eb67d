//! How far a scenario can grow: the knee and how it was found.

use maud::{Markup, html};

use super::part::{Column, Fact, NAME_MAX, SENTENCE_MAX, Section, facts, table, text};
use crate::analysis::{Capacity, Outcome, Probe};
use crate::chart::{Axis, Chart, Ink, Layer, Mark, Room, Shape, bar};
use crate::number::grouped;
use crate::text::clipped;

/// A search by bisection has some twenty.
const PROBES_MAX: usize = 200;

fn value(value: f64) -> String {
    if value.is_finite() && value >= 0.0 { grouped(value.round() as u64) } else { "–".to_owned() }
}

/// What was found, in one sentence.
pub(crate) fn sentence(capacity: &Capacity) -> String {
    let unit = capacity.vary.unit();
    let so_far = if capacity.conclusion.is_partial() || capacity.partial { "So far the" } else { "The" };
    let mut told = match (capacity.holds, capacity.breaks) {
        (Some(holds), Some(breaks)) => {
            format!("{so_far} objectives hold at {} {unit} and break at {}", value(holds), value(breaks))
        }
        (Some(holds), None) => format!("{so_far} objectives hold at {} {unit}", value(holds)),
        (None, Some(breaks)) => format!("{so_far} objectives break at {} {unit}", value(breaks)),
        (None, None) => "Nothing is known of where the objectives hold".to_owned(),
    };
    if let Some(undecided) = capacity.undecided {
        told.push_str(&format!("; at {} it cannot be told", value(undecided)));
    }
    match (capacity.conclusion.outcome, capacity.holds, capacity.breaks) {
        (Outcome::Passed, Some(_), None) => {
            told.push_str(", the end of the search: where they break is not known")
        }
        (Outcome::Failed | Outcome::Passed, None, Some(_)) => {
            told.push_str(", the easiest value of the search")
        }
        _ => {}
    }
    told + "."
}

/// The card at the top.
pub(super) fn card(capacity: &Capacity) -> Markup {
    let shown = |number: Option<f64>| number.map_or("–".to_owned(), value);
    let headroom = capacity.headroom.filter(|share| share.is_finite());
    html! {
        header class={ "verdict " (super::tone(&capacity.conclusion)) } #verdict {
            p.eyebrow { "Fleetstorm capacity" }
            h1 { "Capacity in " (capacity.vary.unit()) }
            (super::notice(&capacity.conclusion))
            p.sentence { (sentence(capacity)) }
            (facts(&[
                Fact::new("Holds at", shown(capacity.holds), capacity.vary.unit()),
                Fact::new("Breaks at", shown(capacity.breaks), "the nearest value that was tried"),
                Fact::new("Headroom", headroom.map_or("–".to_owned(), |share| format!("{:+.0} %", share * 100.0)),
                    "of the scenario as it stands"),
                Fact::new("Probes", capacity.probes.len().to_string(), "by bisection on a logarithmic scale"),
            ]))
        }
    }
}

pub(super) fn sections(capacity: &Capacity) -> Vec<Section> {
    let body = html! { (knee(capacity)) (trace(capacity)) };
    vec![Section { id: "capacity", title: "The knee".into(), body }]
}

/// The share of runs in which every objective held, over what was varied.
fn knee(capacity: &Capacity) -> Markup {
    let mut probes: Vec<&Probe> =
        capacity.probes.iter().take(PROBES_MAX).filter(|probe| probe.value.is_finite()).collect();
    probes.sort_by(|a, b| a.value.total_cmp(&b.value));
    let share = |probe: &Probe| f64::from(probe.passed) / f64::from(probe.runs.max(1));
    let points: Vec<(f64, f64)> = probes.iter().map(|probe| (probe.value, share(probe))).collect();
    let (low, high) =
        (points.first().map_or(1.0, |point| point.0), points.last().map_or(1.0, |point| point.0));
    let marks = [("holds", capacity.holds), ("breaks", capacity.breaks)]
        .into_iter()
        .filter_map(|(word, at)| {
            let at = at.filter(|at| at.is_finite())?;
            let share = points.iter().find(|point| point.0 == at).map_or(0.0, |point| point.1);
            Some(Mark { x: at, y: share, label: format!("{word} at {}", value(at)) })
        })
        .collect();
    let chart = Chart {
        id: "knee".to_owned(),
        title: "Runs in which every objective held".to_owned(),
        description: sentence(capacity),
        x: Axis::log(capacity.vary.unit(), low, high),
        y: Axis::share("share of the runs"),
        layers: vec![
            Layer {
                name: "between them".to_owned(),
                ink: Ink::Grey,
                shape: Shape::Dashed,
                points: points.clone(),
            },
            Layer { name: "probes".to_owned(), ink: Ink::Blue, shape: Shape::Dots, points },
        ],
        marks,
        bands: Vec::new(),
        cells: None,
        room: Room::Whole { height: 260 },
    };
    let columns = [Column::Number(capacity.vary.unit()), Column::Number("Held in"), Column::Number("of")];
    let rows =
        probes.iter().map(|probe| vec![value(probe.value), probe.passed.to_string(), probe.runs.to_string()]);
    chart.figure(
        "The knee lies between the last value that held and the first that broke.",
        &table("Probes by value", &columns, rows),
    )
}

fn trace(capacity: &Capacity) -> Markup {
    let columns = [
        Column::Number("Probe"),
        Column::Number(capacity.vary.unit()),
        Column::Words("Verdict"),
        Column::Words("Runs that held"),
        Column::Words("What failed"),
    ];
    let rows = capacity.probes.iter().take(PROBES_MAX).enumerate().map(|(index, probe)| {
        let (class, word) = match (probe.holds, probe.undecided) {
            (true, _) => ("good", "✓ holds"),
            (false, None) => ("bad", "✕ breaks"),
            (false, Some(_)) => ("", "? undecided"),
        };
        vec![
            text(&(index + 1).to_string()),
            text(&value(probe.value)),
            html! { span class={ "state " (class) } { (word) } },
            html! {
                (probe.passed) " of " (probe.runs) " "
                (bar(f64::from(probe.passed) / f64::from(probe.runs.max(1)), Ink::Green))
            },
            html! {
                @if let Some((expression, observed)) = &probe.failed {
                    code { (clipped(expression, SENTENCE_MAX)) } ": " (clipped(observed, NAME_MAX))
                }
            },
        ]
    });
    html! { h3 { "The search, step by step" } (table("Probes in the order of the search", &columns, rows)) }
}
