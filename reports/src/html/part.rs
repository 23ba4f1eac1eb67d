//! What sections are made of.

use std::borrow::Cow;

use maud::{Markup, Render, html};

use crate::number;
use crate::text::clipped;

/// Characters of a name that are shown.
pub(super) const NAME_MAX: usize = 80;
/// Characters of a sentence that are shown.
pub(super) const SENTENCE_MAX: usize = 300;

/// A part of the page with a heading that can be linked.
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: Cow<'static, str>,
    pub(crate) body: Markup,
}

impl Section {
    pub(super) fn render(&self) -> Markup {
        html! {
            section id=(self.id) aria-labelledby={ (self.id) "-title" } {
                h2 id={ (self.id) "-title" } {
                    a href={ "#" (self.id) } { (self.title) }
                }
                (self.body)
            }
        }
    }
}

/// What a chart of a phase is called.
pub(super) fn phase_title(phase: &str) -> String {
    match phase {
        "time-to-assigned" => "Time to assigned".to_owned(),
        "register" => "Register, accepted".to_owned(),
        "connect" => "Connect: name, TCP and TLS".to_owned(),
        "tls" => "TLS handshake".to_owned(),
        "poll" => "Poll, answered".to_owned(),
        other => format!("{other}, answered"),
    }
}

/// A number with a name, and what it means beside others.
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) beside: String,
}

impl Fact {
    pub(super) fn new(name: &'static str, value: impl Into<String>, beside: impl Into<String>) -> Self {
        Self { name, value: value.into(), beside: beside.into() }
    }
}

/// Facts side by side.
pub(super) fn facts(facts: &[Fact]) -> Markup {
    html! {
        dl.facts {
            @for fact in facts {
                div {
                    dt { (fact.name) }
                    dd {
                        strong { (fact.value) }
                        @if !fact.beside.is_empty() { span { (fact.beside) } }
                    }
                }
            }
        }
    }
}

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column<'a> {
    /// Words, on the left.
    Words(&'a str),
    /// Numbers, on the right.
    Number(&'a str),
}

impl Column<'_> {
    const fn class(self) -> Option<&'static str> {
        match self {
            Self::Words(_) => None,
            Self::Number(_) => Some("n"),
        }
    }
}

/// A table. The first cell of a row names it.
///
/// It may be wider than a phone, so it scrolls in a region of its own, which the keyboard can reach.
pub(crate) fn table<C: Render>(
    caption: &str,
    columns: &[Column<'_>],
    rows: impl IntoIterator<Item = Vec<C>>,
) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr {
                        @for column in columns {
                            @let (Column::Words(name) | Column::Number(name)) = column;
                            // A column of drawings has no name: the numbers beside them have.
                            @if name.is_empty() { td {} } @else { th scope="col" class=[column.class()] { (name) } }
                        }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, (cell, column)) in row.iter().zip(columns).enumerate() {
                                @if index == 0 {
                                    th scope="row" class=[column.class()] { (cell) }
                                } @else {
                                    td class=[column.class()] { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Says that a list is longer than what is shown; nothing where it is not.
pub(super) fn more(shown: usize, all: usize, what: &str) -> Markup {
    html! {
        @if all > shown {
            p.note { (number::grouped((all - shown) as u64)) " more " (what) " stand in " code { "run.json" } "." }
        }
    }
}

/// Plain text as a cell.
pub(super) fn text(text: &str) -> Markup {
    html! { (text) }
}

/// A name from the record as a cell.
pub(super) fn name(name: &str) -> Markup {
    html! { (clipped(name, NAME_MAX)) }
}

pub(super) use crate::number::{micros, nanos};

/// A moment that may never have come.
pub(super) fn moment(ns: Option<u64>) -> String {
    ns.map_or("–".to_owned(), nanos)
}

/// Seconds that were worked out, such as the quota's bound.
pub(super) fn seconds(secs: f64) -> String {
    if secs.is_finite() { nanos((secs * 1e9) as u64) } else { "never".to_owned() }
}

/// Bytes with a binary unit and three digits.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = "B";
    while value >= 1_024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1_024.0, next);
    }
    match (unit, value) {
        ("B", _) => format!("{} B", number::grouped(bytes)),
        (_, 100.0..) => format!("{value:.0} {unit}"),
        (_, 10.0..) => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_digits() {
        assert_eq!([bytes(0), bytes(1_023), bytes(1_024)], ["0 B", "1,023 B", "1.00 KiB"]);
        assert_eq!(bytes(25_220_349_952), "23.5 GiB");
        assert_eq!([micros(870), seconds(f64::INFINITY)], ["870 µs", "never"]);
    }
}
