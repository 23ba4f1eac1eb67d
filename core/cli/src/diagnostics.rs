//! Mistakes in a file, shown where they stand.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use fleetstorm_model::scenario::Problems;

/// All problems of a file, one excerpt each.
pub(crate) fn render(problems: &Problems, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let shown: Vec<String> = problems
        .list
        .iter()
        .map(|problem| {
            let title = Level::ERROR.primary_title(problem.message.as_str());
            let mut group = match &problem.span {
                Some(span) => {
                    let length = problems.text.len();
                    let start = span.start.min(length);
                    // An empty span would point at nothing.
                    let end = span.end.clamp(start, length).max((start + 1).min(length));
                    title.element(
                        Snippet::source(problems.text.as_str())
                            .path(problems.file.as_str())
                            .annotation(AnnotationKind::Primary.span(start..end)),
                    )
                }
                None => Group::with_title(title),
            };
            if !problem.help.is_empty() {
                group = group.element(Level::HELP.message(problem.help.as_str()));
            }
            renderer.render(&[group])
        })
        .collect();
    shown.join("\n\n")
}
