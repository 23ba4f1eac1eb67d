//! The report: one file that a review can decide from.
//!
//! It is made from the record alone and needs no network. It is whole without a script; the one that it has only shows
//! exact values, zooms and hides layers, and the content-security policy knows it by its hash and lets no other run.
//! Every string of the record passes through maud's escaping and through `text::clipped`, so neither a hostile name
//! nor a huge one can break the page. A section is a file here with a function from the record to a [`Section`], or
//! to nothing where the record has no data for it; [`SECTIONS`] is their order.

mod answer;
mod audit;
mod capacity;
mod chaos;
mod cohorts;
mod comparison;
mod completion;
mod fidelity;
mod flow;
mod glance;
mod heat;
mod journeys;
mod latency;
mod life;
mod load;
mod method;
mod monitor;
mod objectives;
mod outcomes;
mod over_time;
mod part;
mod practice;
mod reproduce;
mod retries;
mod rollout;
#[cfg(test)]
mod tests;
mod timeline;
mod verdict;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::Record;
use crate::analysis::{Capacity, Comparison, Conclusion, Fidelity, Rollout};
use crate::text::clipped;
use part::NAME_MAX;

pub(crate) use answer::Answer;
pub(crate) use capacity::sentence as capacity_sentence;
pub(crate) use comparison::{method_lines as comparison_method, ranked, sentence as comparison_sentence};
pub(crate) use objectives::margin;
pub(crate) use part::{Column, Section, table};
pub(crate) use practice::{status, tally};
pub(crate) use rollout::sentence as rollout_sentence;

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/page.js");

/// In the order of a review: what happened, how it came, what to do, what it rests on.
const SECTIONS: &[fn(&Record) -> Option<Section>] = &[
    objectives::section,
    completion::section,
    load::section,
    chaos::section,
    latency::section,
    outcomes::section,
    retries::section,
    journeys::section,
    practice::section,
    life::section,
    cohorts::section,
    monitor::section,
    audit::section,
    reproduce::section,
    method::section,
];

/// Most points of a chart's line, and most rows of the table behind it: a page of two weeks is as light as one of
/// ten minutes.
const POINTS_MAX: usize = 600;
const ROWS_MAX: usize = 120;
/// In a chart of half the width.
const HALF_POINTS_MAX: usize = 200;

/// The record as a page that stands alone: no network, below one megabyte, whole without its script.
pub fn html(record: &Record) -> String {
    let sections: Vec<Section> = SECTIONS.iter().filter_map(|section| section(record)).collect();
    let name = clipped(&record.name, NAME_MAX);
    let title = format!("{name} – {} – Fleetstorm", crate::verdict::word(record.verdict.result));
    let footer = html! {
        p { "Made by " (clipped(&record.tool, NAME_MAX)) " from " code { "run.json" }
            ", which holds every number of this page and renders it again at any time." }
    };
    document(&title, &verdict::card(record, &name), &sections, &footer)
}

/// A comparison as a page of the same kind.
pub(crate) fn comparison(found: &Comparison) -> String {
    let title = format!("{} – comparison – Fleetstorm", clipped(&found.name, NAME_MAX));
    let footer = html! { p { "Made from the result of " code { "fleetstorm compare --json" } "." } };
    document(&title, &comparison::card(found), &comparison::sections(found), &footer)
}

/// A search of capacity as a page of the same kind.
pub(crate) fn capacity(found: &Capacity) -> String {
    let footer = html! { p { "Made from the result of " code { "fleetstorm capacity --json" } "." } };
    document("Capacity – Fleetstorm", &capacity::card(found), &capacity::sections(found), &footer)
}

/// A plan of a rollout as a page of the same kind.
pub(crate) fn rollout(found: &Rollout) -> String {
    let footer = html! { p { "Made from the result of " code { "fleetstorm plan --json" } "." } };
    document("Rollout – Fleetstorm", &rollout::card(found), &rollout::sections(found), &footer)
}

/// How far a forecast is off, as a page of the same kind.
pub(crate) fn fidelity(found: &Fidelity) -> String {
    let footer = html! { p { "Made from the result of " code { "fleetstorm fidelity --json" } "." } };
    document("Fidelity – Fleetstorm", &fidelity::card(found), &fidelity::sections(found), &footer)
}

/// What a page says first of a study that is not whole, or did not find what was asked for.
fn notice(conclusion: &Conclusion) -> Markup {
    html! {
        @if let Some(notice) = conclusion.notice() { p { strong { (clipped(&notice, part::SENTENCE_MAX * 2)) } } }
    }
}

/// The colour of a study's card.
const fn tone(conclusion: &Conclusion) -> &'static str {
    match conclusion.outcome {
        crate::analysis::Outcome::Passed => "good",
        crate::analysis::Outcome::Failed | crate::analysis::Outcome::NoData => "bad",
        _ => "warn",
    }
}

/// A page: its head, the contents, the card that says it all, the sections.
pub(crate) fn document(title: &str, card: &Markup, sections: &[Section], footer: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#report" { "Skip to the report" }
                div.page {
                    (contents(sections))
                    main #report {
                        (card)
                        @for section in sections { (section.render()) }
                        footer { (footer) }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// Nothing may be loaded; the one style sheet and the one script are known by their hashes.
fn policy() -> String {
    let [style, script] = [STYLE, SCRIPT].map(|text| BASE64_STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )
}

fn contents(sections: &[Section]) -> Markup {
    html! {
        nav aria-label="Contents" {
            ol {
                li { a href="#verdict" { "Verdict" } }
                @for section in sections { li { a href={ "#" (section.id) } { (section.title) } } }
            }
        }
    }
}
