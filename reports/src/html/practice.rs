//! The best-practice audit: each rule of the guidance, and what the fleet made of it.

use maud::{Markup, html};

use super::part::{Column, NAME_MAX, SENTENCE_MAX, Section, more, table};
use crate::number::{counted, grouped};
use crate::record::{Check, CheckStatus};
use crate::text::clipped;
use crate::{Record, practice};

const SHOWN_MAX: usize = 60;

pub(super) fn section(record: &Record) -> Option<Section> {
    let practice = &record.practice;
    if practice.checks.is_empty() {
        return None;
    }
    let columns = [Column::Words("Practice"), Column::Words("Status"), Column::Words("What was seen")];
    // What asks for an action comes first; the order of the guidance stays within.
    let mut checks: Vec<&Check> = practice.checks.iter().collect();
    checks.sort_by_key(|check| match check.status {
        CheckStatus::Failed => 0,
        CheckStatus::Unknown => 1,
        CheckStatus::Passed => 2,
        CheckStatus::NotExercised => 3,
    });
    let body = html! {
        p { (tally(record)) }
        (table("Best practices and what was seen", &columns, checks.iter().take(SHOWN_MAX).map(|check| row(record, check))))
        (more(SHOWN_MAX, checks.len(), "checks"))
        p.note { (basis(record)) }
        @if let Some(profile) = &record.profile {
            @if !profile.contradictions.is_empty() {
                details {
                    summary { "Where the guidance contradicts itself" }
                    (contradictions(profile))
                }
            }
        }
    };
    Some(Section { id: "practice", title: "Best practices".into(), body })
}

/// How many were kept, in one sentence.
pub(crate) fn tally(record: &Record) -> String {
    let count = |status| record.practice.checks.iter().filter(|check| check.status == status).count();
    let mut parts = vec![
        format!("{} kept", count(CheckStatus::Passed)),
        format!("{} broken", count(CheckStatus::Failed)),
        format!("{} not exercised", count(CheckStatus::NotExercised)),
    ];
    let unknown = count(CheckStatus::Unknown);
    if unknown > 0 {
        parts.push(format!("{unknown} unknown, because the generator was late"));
    }
    format!("{}: {}.", counted(record.practice.checks.len() as u64, "practice"), parts.join(", "))
}

fn basis(record: &Record) -> String {
    let watched = record.practice.watched;
    let mut note = if watched < record.devices {
        format!(
            "Rules of single devices were checked on {} of {}, drawn by the seed. ",
            grouped(watched),
            counted(record.devices, "device")
        )
    } else {
        String::new()
    };
    if let Some(profile) = &record.profile {
        note.push_str(&format!(
            "Values are those of the profile {}: {}. ",
            clipped(&profile.name, NAME_MAX),
            clipped(&profile.summary, SENTENCE_MAX)
        ));
    }
    note.push_str("A practice that had no occasion is not exercised: nothing is proved by it.");
    note
}

/// A status as a class, a sign and a word.
pub(crate) const fn status(status: CheckStatus) -> (&'static str, &'static str, &'static str) {
    match status {
        CheckStatus::Passed => ("good", "✓", "kept"),
        CheckStatus::Failed => ("bad", "✕", "broken"),
        CheckStatus::NotExercised => ("", "–", "not exercised"),
        CheckStatus::Unknown => ("warn", "?", "unknown"),
    }
}

fn row(record: &Record, check: &Check) -> Vec<Markup> {
    let (class, sign, word) = status(check.status);
    let advise = matches!(check.status, CheckStatus::Failed | CheckStatus::Unknown);
    vec![
        html! {
            (clipped(&check.title, SENTENCE_MAX))
            span.under { code { (clipped(&check.id, NAME_MAX)) } }
        },
        html! { span class={ "state " (class) } { span aria-hidden="true" { (sign) " " } (word) } },
        html! {
            (clipped(&check.evidence, SENTENCE_MAX))
            @for (which, case) in practice::cases(check) {
                span.case { span.which { (which) } " " (clipped(&practice::told(case), SENTENCE_MAX)) }
            }
            @if let Some(command) = practice::replay(record, check) {
                span.case { "See it: " code { (clipped(&command, SENTENCE_MAX)) } }
            }
            @if advise { span.under { "→ " (clipped(&check.advice, SENTENCE_MAX)) } }
        },
    ]
}

fn contradictions(profile: &fleetstorm_model::profile::Profile) -> Markup {
    let columns = [Column::Words("Question"), Column::Words("Chosen"), Column::Words("What the pages say")];
    let rows = profile.contradictions.iter().take(SHOWN_MAX).map(|contradiction| {
        let chosen = profile.value(&contradiction.key).unwrap_or_default();
        vec![
            html! { (clipped(&contradiction.question, SENTENCE_MAX)) },
            html! { code { (clipped(&chosen, NAME_MAX)) } },
            html! {
                @for reading in contradiction.readings.iter().take(8) {
                    span.case {
                        code { (clipped(&reading.value, NAME_MAX)) } ": " (clipped(&reading.says, SENTENCE_MAX))
                        " (" (clipped(&reading.source, SENTENCE_MAX)) ")"
                    }
                }
            },
        ]
    });
    table("Where pages contradict each other, and what the profile chose", &columns, rows)
}
