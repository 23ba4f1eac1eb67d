//! Mistakes in a file, shown where they stand.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use fleetstorm_scenario::Problems;
use fleetstorm_units::shown::{is_unsettling, printable};

use crate::terminal::harmless;

/// All problems of a file, one excerpt each.
pub(crate) fn render(problems: &Problems, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let source = in_place(&problems.text);
    let file = printable(&problems.file);
    let shown: Vec<String> = problems
        .list
        .iter()
        .map(|problem| {
            let message = harmless(format_args!("{}", problem.message));
            let title = Level::ERROR.primary_title(message);
            let mut group = match &problem.span {
                Some(span) => {
                    let length = problems.text.len();
                    let start = span.start.min(length);
                    // An empty span would point at nothing.
                    let end = span.end.clamp(start, length).max((start + 1).min(length));
                    title.element(
                        Snippet::source(source.as_str())
                            .path(file.as_str())
                            .annotation(AnnotationKind::Primary.span(start..end)),
                    )
                }
                None => Group::with_title(title),
            };
            if !problem.help.is_empty() {
                group = group.element(Level::HELP.message(harmless(format_args!("{}", problem.help))));
            }
            renderer.render(&[group])
        })
        .collect();
    shown.join("\n\n")
}

/// A file's text without what a terminal obeys, each character as long as it was: spans count bytes.
fn in_place(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsettling(c) && !"\r\n\t".contains(c) {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}
