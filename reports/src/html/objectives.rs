//! What had to hold, and by how much it did.

use maud::{Markup, html};

use super::part::{Column, NAME_MAX, SENTENCE_MAX, Section, more, nanos, table};
use crate::number::grouped;
use crate::record::{Objective, ObjectiveStatus};
use crate::text::clipped;
use crate::verdict::NO_OBJECTIVE;
use crate::{Record, judged};

const SHOWN_MAX: usize = 40;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.objectives.is_empty() {
        let body = html! { p { "None: " (NO_OBJECTIVE) ". Such a run cannot pass." } };
        return Some(Section { id: "objectives", title: "Objectives".into(), body });
    }
    let columns = [
        Column::Words("Objective"),
        Column::Words("Status"),
        Column::Number("Observed"),
        Column::Number("Margin"),
        Column::Words("Worst window"),
    ];
    let (shown, left) = judged::objectives(record, SHOWN_MAX);
    let count = shown.len();
    let rows = shown.into_iter().enumerate().map(|(place, objective)| row(objective, place < SHOWN_MAX));
    let body = html! {
        (table("Objectives and what was observed", &columns, rows))
        (more(count, count + left, "objectives that held"))
        p.note { "The margin is the distance to the bound as a share of the bound; positive is headroom. \
            The worst window is that in which the objective was farthest from holding, for those that are about moments." }
    };
    Some(Section { id: "objectives", title: "Objectives".into(), body })
}

/// What failed beyond those that are shown at length is told in short.
fn row(objective: &Objective, at_length: bool) -> Vec<Markup> {
    let (class, sign, word) = match objective.status {
        ObjectiveStatus::Passed => ("good", "✓", "held"),
        ObjectiveStatus::Failed => ("bad", "✕", "failed"),
        ObjectiveStatus::NoData => ("bad", "✕", "no data"),
        ObjectiveStatus::Undecided => ("warn", "!", "undecided"),
    };
    vec![
        html! {
            code { (clipped(&objective.expression, if at_length { 160 } else { NAME_MAX })) }
            @if at_length && !objective.note.is_empty() { span.under { (clipped(&objective.note, SENTENCE_MAX)) } }
        },
        html! { span class={ "state " (class) } { span aria-hidden="true" { (sign) " " } (word) } },
        html! { (clipped(&objective.observed, if at_length { NAME_MAX } else { NAME_MAX / 2 })) },
        html! { (margin(objective.margin)) },
        html! {
            @match objective.worst.as_ref().filter(|_| at_length) {
                Some(worst) => {
                    (clipped(&worst.observed, NAME_MAX))
                    span.under { (nanos(worst.from_ns)) " to " (nanos(worst.to_ns)) }
                }
                None => "–",
            }
        },
    ]
}

pub(crate) fn margin(margin: Option<f64>) -> String {
    match margin {
        None => "–".to_owned(),
        Some(0.0) => "0 %".to_owned(),
        // A margin is never rounded to zero, which would say that it lies on the bound.
        Some(share) if share.abs() < 0.01 => {
            format!("{}{:.2} %", sign(share), (share.abs() * 100.0).max(0.01))
        }
        // Nor up to the whole of it.
        Some(share) if (0.99..1.0).contains(&share.abs()) => {
            format!("{}{:.1} %", sign(share), (share.abs() * 100.0).min(99.9))
        }
        Some(share) => format!("{}{} %", sign(share), grouped((share.abs() * 100.0).round() as u64)),
    }
}

fn sign(share: f64) -> &'static str {
    if share < 0.0 { "−" } else { "+" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_keep_their_sign_and_are_never_rounded_to_nothing() {
        assert_eq!([margin(Some(0.22)), margin(Some(-2.5)), margin(None)], ["+22 %", "−250 %", "–"]);
        assert_eq!([margin(Some(-0.000_01)), margin(Some(0.0))], ["−0.01 %", "0 %"]);
        assert_eq!([margin(Some(0.997_2)), margin(Some(0.999_99))], ["+99.7 %", "+99.9 %"]);
    }
}
