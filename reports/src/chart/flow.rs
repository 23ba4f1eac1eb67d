//! Boxes and arrows: what goes into a process, and what becomes of it.
//!
//! Unlike a [`super::Chart`] it has no axes, so whoever draws says where everything stands, once for a page and once for
//! a phone.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::Ink;
use super::area::round;

/// Widths of an arrow's line in pixels, from what hardly happened to what happened most.
const THIN: f64 = 1.5;
const THICK: f64 = 9.0;
/// Height of a line of text.
const LINE: f64 = 16.0;

/// A step.
pub(crate) struct Station {
    /// Left, top, width and height.
    pub(crate) place: [f64; 4],
    /// The first line names it.
    pub(crate) lines: Vec<String>,
}

/// A way from one step to another.
pub(crate) struct Arrow {
    /// Its corners, in the direction in which it goes.
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) ink: Ink,
    /// How much goes along it, as a share of the most that goes along any.
    pub(crate) share: f64,
    pub(crate) labels: Vec<Label>,
}

/// Text beside an arrow.
pub(crate) struct Label {
    pub(crate) at: (f64, f64),
    /// `start`, `middle` or `end`.
    pub(crate) anchor: &'static str,
    pub(crate) text: String,
    /// Whether it only says more about the label above it.
    pub(crate) soft: bool,
}

/// One drawing of a process.
pub(crate) struct Flow {
    /// `wide` or `narrow`.
    pub(crate) class: &'static str,
    /// Where the drawing begins.
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) stations: Vec<Station>,
    pub(crate) arrows: Vec<Arrow>,
}

impl Flow {
    /// The drawing, for a figure of this id, title and description.
    pub(crate) fn svg(&self, id: &str, title: &str, description: &str) -> Markup {
        let id = |part: &str| format!("{id}-{}-{part}", self.class);
        html! {
            svg class={ "chart flow " (self.class) } role="img"
                viewBox={ "0 " (round(self.top)) " " (round(self.width)) " " (round(self.height)) }
                aria-labelledby={ (id("title")) " " (id("desc")) } {
                title id=(id("title")) { (title) }
                desc id=(id("desc")) { (description) }
                @for arrow in &self.arrows { (arrow.drawn()) }
                @for station in &self.stations { (station.drawn()) }
                @for label in self.arrows.iter().flat_map(|arrow| &arrow.labels) { (label.drawn()) }
            }
        }
    }
}

impl Station {
    fn drawn(&self) -> Markup {
        let [left, top, width, height] = self.place;
        let first = top + (height - LINE * self.lines.len() as f64) / 2.0 + 12.0;
        html! {
            g.station {
                rect x=(round(left)) y=(round(top)) width=(round(width)) height=(round(height)) rx="6" {}
                @for (index, line) in self.lines.iter().enumerate() {
                    text class=[(index == 0).then_some("name")] text-anchor="middle" x=(round(left + width / 2.0))
                        y=(round(first + LINE * index as f64)) { (line) }
                }
            }
        }
    }
}

impl Arrow {
    fn drawn(&self) -> Markup {
        let [.., before, tip] = self.points.as_slice() else { return html! {} };
        let width = THIN + (THICK - THIN) * self.share.clamp(0.0, 1.0);
        let (along_x, along_y) = (tip.0 - before.0, tip.1 - before.1);
        let length = along_x.hypot(along_y).max(1.0);
        let (unit_x, unit_y) = (along_x / length, along_y / length);
        let (long, half) = (6.0 + width * 0.6, 3.5 + width * 0.55);
        let base = (tip.0 - unit_x * long, tip.1 - unit_y * long);
        let mut line = String::new();
        for (index, (x, y)) in self.points[..self.points.len() - 1].iter().chain([&base]).enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(line, "{command}{} {}", round(*x), round(*y));
        }
        let corner =
            |side: f64| format!("{} {}", round(base.0 - unit_y * side), round(base.1 + unit_x * side));
        let head = format!("M{} {}L{}L{}Z", round(tip.0), round(tip.1), corner(half), corner(-half));
        html! {
            g class={ "arrow " (self.ink.class()) } {
                path.shaft stroke-width=(round(width)) d=(PreEscaped(line)) {}
                path.head d=(PreEscaped(head)) {}
            }
        }
    }
}

impl Label {
    fn drawn(&self) -> Markup {
        html! {
            text class={ "halo" @if self.soft { " soft" } } text-anchor=(self.anchor) x=(round(self.at.0))
                y=(round(self.at.1)) { (self.text) }
        }
    }
}
