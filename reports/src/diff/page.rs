//! The differences as a page.

use maud::{Markup, html};

use super::words::{NOTE, change, shown, word};
use super::{Diff, Direction, Turned};
use crate::analysis::Outcome;
use crate::html::{Column, Section, document, table};
use crate::number::grouped;
use crate::text::clipped;

const NAME_MAX: usize = 80;
const TEXT_MAX: usize = 300;

pub(super) fn page(diff: &Diff) -> String {
    let mut sections = vec![environment(diff), numbers(diff)];
    sections.extend(turned("objectives", "Objectives that turned", &diff.objectives));
    sections.extend(turned("practice", "Best practices that turned", &diff.practices));
    sections.extend(codes(diff));
    let title = format!("{} – difference – Fleetstorm", clipped(&diff.new.name, NAME_MAX));
    let footer = html! { p { "Made by " code { "fleetstorm diff" } " from two records." } };
    document(&title, &card(diff), &sections, &footer)
}

fn card(diff: &Diff) -> Markup {
    let count = |direction| diff.shifts.iter().filter(|shift| shift.verdict == direction).count();
    let tone = match diff.outcome {
        Outcome::Passed => "good",
        Outcome::Regression => "bad",
        _ => "warn",
    };
    html! {
        header class={ "verdict " (tone) } #verdict {
            p.eyebrow { "Fleetstorm difference" }
            h1 { (clipped(&diff.new.name, NAME_MAX)) }
            p.sentence {
                (diff.told()) " " (count(Direction::Better)) " numbers are better, " (count(Direction::Worse)) " worse, "
                (count(Direction::Same)) " the same."
            }
            @for note in &diff.notes { p { strong { (clipped(note, TEXT_MAX)) } } }
            @for (which, side) in [("Base", &diff.base), ("New", &diff.new)] {
                p { strong { (which) ": " } (clipped(&side.verdict, NAME_MAX)) ". " (clipped(&side.sentence, TEXT_MAX)) }
            }
        }
    }
}

fn environment(diff: &Diff) -> Section {
    let columns = [Column::Words("What"), Column::Words("Base"), Column::Words("New")];
    let rows = diff.environment.iter().map(|changed| {
        [&changed.what, &changed.base, &changed.new].map(|text| html! { (clipped(text, TEXT_MAX)) }).into()
    });
    let body = html! {
        @if diff.environment.is_empty() {
            p { "Nothing: the same scenario, seed, plugins and machine." }
        } @else {
            (table("What was run differently", &columns, rows))
        }
    };
    Section { id: "environment", title: "Run differently".into(), body }
}

fn numbers(diff: &Diff) -> Section {
    let columns = [
        Column::Words("Number"),
        Column::Number("Base"),
        Column::Number("New"),
        Column::Number("Change"),
        Column::Number("95 % interval"),
        Column::Words("Verdict"),
    ];
    let known = diff.shifts.iter().filter(|shift| shift.verdict != Direction::Unknown);
    let rows = known.map(|shift| {
        let class = match shift.verdict {
            Direction::Better => "state good",
            Direction::Worse => "state bad",
            Direction::Same | Direction::NotJudged | Direction::Unknown => "state",
        };
        let interval =
            shift.interval.map_or("–".to_owned(), |[low, high]| format!("{low:+.3} to {high:+.3} s"));
        vec![
            html! { (shift.name) },
            html! { (shown(shift.base, shift.base_least, shift)) },
            html! { (shown(shift.new, shift.new_least, shift)) },
            html! { (change(shift)) },
            html! { (interval) },
            html! {
                span class=(class) { (word(shift.verdict)) }
                @if !shift.why.is_empty() { span.under { (shift.why) } }
            },
        ]
    });
    let body = html! {
        (table("Numbers of both runs", &columns, rows))
        p.note { "Below " (format!("{:.0}", diff.margin * 100.0)) " % of the base a change does not matter. " (NOTE) }
    };
    Section { id: "numbers", title: "Numbers".into(), body }
}

fn turned(id: &'static str, title: &'static str, list: &[Turned]) -> Option<Section> {
    let columns = [Column::Words("What"), Column::Words("Base"), Column::Words("New")];
    let rows = list.iter().map(|turned| {
        let class = if turned.worse { "state bad" } else { "state good" };
        vec![
            html! { (clipped(&turned.what, TEXT_MAX)) },
            html! { (clipped(&turned.base, NAME_MAX)) },
            html! { span class=(class) { (clipped(&turned.new, NAME_MAX)) } },
        ]
    });
    (!list.is_empty()).then(|| Section { id, title: title.into(), body: table(title, &columns, rows) })
}

fn codes(diff: &Diff) -> Option<Section> {
    let columns =
        [Column::Words("Code"), Column::Words("Operation"), Column::Number("Base"), Column::Number("New")];
    let rows = diff.codes.iter().map(|code| {
        vec![
            clipped(&code.code, NAME_MAX),
            clipped(&code.operation, NAME_MAX),
            grouped(code.base),
            grouped(code.new),
        ]
    });
    let body = table("Codes that only one run has met", &columns, rows);
    (!diff.codes.is_empty()).then(|| Section {
        id: "codes",
        title: "Codes that only one run has".into(),
        body,
    })
}
