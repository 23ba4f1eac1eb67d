//! Drawings that fit into a cell of a table.

use maud::{Markup, html};

use super::Ink;
use super::area::round;

const WIDTH: f64 = 48.0;

/// A share of a whole as a bar. The number stands beside it in the table, so it is hidden from screen readers.
pub(crate) fn bar(share: f64, ink: Ink) -> Markup {
    // A bar that is there at all can be seen.
    let width = if share > 0.0 { (share.min(1.0) * WIDTH).max(1.0) } else { 0.0 };
    html! {
        svg.bar viewBox="0 0 48 8" width="48" height="8" aria-hidden="true" {
            rect.track x="0" y="0" width="48" height="8" rx="1.5" {}
            rect class={ "fill " (ink.class()) } x="0" y="0" width=(round(width)) height="8" rx="1.5" {}
        }
    }
}

/// Shares of a whole as parts of one bar, as wide as its place. The numbers stand beside it.
pub(crate) fn shares(parts: &[(f64, Ink)]) -> Markup {
    let whole: f64 = parts.iter().map(|(part, _)| part).sum();
    let ends = parts.iter().scan(0.0, |end, (part, _)| {
        *end += part;
        Some(*end)
    });
    let place = |value: f64| if whole > 0.0 { value / whole * 1_000.0 } else { 0.0 };
    html! {
        svg.shares viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true" {
            rect.track x="0" y="0" width="1000" height="20" {}
            @for (end, (part, ink)) in ends.zip(parts) {
                @if *part > 0.0 {
                    rect class={ "fill " (ink.class()) } x=(round(place(end - part))) y="0"
                        width=(round(place(*part))) height="20" {}
                }
            }
        }
    }
}

/// Moments on a line that all rows of a table share.
pub(crate) struct Strip {
    /// The moment at its end, in seconds.
    pub(crate) until_s: f64,
}

impl Strip {
    const WIDTH: f64 = 120.0;

    /// Draws moments in seconds, in ascending order: a line from the first to the last, a dot each.
    pub(crate) fn row(&self, moments_s: &[f64]) -> Markup {
        let at = |moment: &f64| {
            round(4.0 + (moment / self.until_s.max(1e-9)).clamp(0.0, 1.0) * (Self::WIDTH - 8.0))
        };
        html! {
            svg.strip viewBox="0 0 120 14" width="120" height="14" aria-hidden="true" {
                line.track x1="0" y1="7" x2="120" y2="7" {}
                @if let (Some(first), Some(last)) = (moments_s.first(), moments_s.last()) {
                    line.reach x1=(at(first)) y1="7" x2=(at(last)) y2="7" {}
                }
                @for moment in moments_s { circle cx=(at(moment)) cy="7" r="3" {} }
            }
        }
    }
}
