//! Where on a drawing the data and their labels go.

use super::{Chart, Room};

/// A drawing's size in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) class: &'static str,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The drawings of a chart: one for a page and one for a phone, or one that fits both.
pub(super) fn frames(room: Room) -> Vec<Frame> {
    match room {
        Room::Whole { height } => vec![
            Frame { class: "wide", width: 840.0, height: f64::from(height) },
            Frame { class: "narrow", width: 344.0, height: f64::from(height).min(220.0) },
        ],
        Room::Half => vec![Frame { class: "any", width: 400.0, height: 230.0 }],
        Room::Glance => vec![Frame { class: "any", width: 344.0, height: 176.0 }],
    }
}

/// Of the 12 px text that the style sheet asks for; the widest of the fonts that a system may bring.
pub(super) const CHAR_WIDTH: f64 = 6.9;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
pub(super) const BOTTOM: f64 = 38.0;

/// Where the data go.
pub(super) struct Area<'a> {
    pub(super) chart: &'a Chart,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl<'a> Area<'a> {
    /// That of a drawing with nothing above it.
    pub(super) fn of(chart: &'a Chart, frame: Frame) -> Self {
        let (top, bottom) = (22.0, frame.height - BOTTOM);
        Area { chart, left: LEFT, right: frame.width - RIGHT, top, bottom }
    }

    pub(super) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.chart.x.scale.position(value) * (self.right - self.left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.bottom - self.chart.y.scale.position(value) * (self.bottom - self.top)
    }
}

pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHAR_WIDTH
}

/// The centre of a label that stands at `x` and does not leave the drawing.
pub(super) fn within(area: &Area<'_>, x: f64, label: &str) -> f64 {
    let half = text_width(label) / 2.0;
    x.min(area.right + RIGHT - half).max(half)
}

/// A coordinate with one decimal where it needs one: enough for any screen, and short.
pub(super) fn round(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
