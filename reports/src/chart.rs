//! Charts as SVG, readable without a script.
//!
//! A [`Chart`] is data: axes, layers, marks. It is drawn by [`Chart::figure`] twice, for a page and for a phone,
//! because text that shrinks with its drawing cannot be read; the style sheet shows the one that fits. Colours are
//! classes, so that the style sheet alone knows light, dark and print. [`bar`] and [`Strip`] are small enough for a
//! cell of a table.

mod area;
mod bands;
mod data;
mod draw;
mod flow;
mod heat;
mod reduce;
mod scale;
mod small;
#[cfg(test)]
mod tests;

use maud::{Markup, html};

pub(crate) use flow::{Arrow, Flow, Label, Station};
pub(crate) use heat::{Cells, heat_legend};
pub(crate) use reduce::Buckets;
pub(crate) use scale::{Axis, quantile};
pub(crate) use small::{Strip, bar, shares};

/// The palette. Hues are those of Okabe and Ito ("Color Universal Design", 2008), which people with any kind of
/// colour vision can tell apart, darkened or lightened for contrast with the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Blue,
    Green,
    Orange,
    Vermilion,
    Purple,
    Grey,
    Sky,
    Yellow,
}

impl Ink {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Orange => "orange",
            Self::Vermilion => "vermilion",
            Self::Purple => "purple",
            Self::Grey => "grey",
            Self::Sky => "sky",
            Self::Yellow => "yellow",
        }
    }
}

/// How the points of a layer are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Joined by straight lines.
    Line,
    /// Likewise, dashed.
    Dashed,
    /// Each point's value holds until the next point; the area below is tinted.
    Step,
    /// Likewise without the tint, dashed.
    DashedStep,
    /// Likewise, with the area below filled: layers that are added up stand in front of each other.
    Area,
    /// A dot a point.
    Dots,
    /// The area above the line is out of reach.
    Beyond,
    /// A line across the chart at the first point's value, with the layer's name on it.
    Rule,
    /// A bar a point, each a unit wide and centred on its x.
    Bars,
}

/// What a part of the time is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    Fault,
    Outage,
    Alert,
}

impl Cause {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Outage => "outage",
            Self::Alert => "alert",
        }
    }
}

/// A named part of the x axis, shaded from top to bottom behind everything else.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Band {
    pub(crate) name: String,
    pub(crate) cause: Cause,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// One set of points.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    pub(crate) shape: Shape,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A point with a label above the chart.
pub(crate) struct Mark {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) label: String,
}

/// How much room a chart takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The whole width of the page.
    Whole {
        /// In pixels, without marks.
        height: u32,
    },
    /// One of a pair.
    Half,
    /// Beside words.
    Glance,
}

/// A chart.
pub(crate) struct Chart {
    /// Unique in the page.
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// What a reader who does not see it should know.
    pub(crate) description: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) layers: Vec<Layer>,
    pub(crate) marks: Vec<Mark>,
    /// Parts of the time that have a name.
    pub(crate) bands: Vec<Band>,
    /// What is counted in cells of both axes, behind the layers.
    pub(crate) cells: Option<Cells>,
    pub(crate) room: Room,
}

impl Chart {
    /// The drawing with its title, legend and a note; `table` holds the same numbers.
    pub(crate) fn figure(&self, note: &str, table: &Markup) -> Markup {
        let frames = area::frames(self.room);
        let names = bands::Names::of(self, &frames);
        html! {
            figure id=(self.id) data-chart=(data::of(self)) {
                figcaption { (self.title) }
                (self.legend(&names))
                @for frame in frames { (draw::svg(self, &names, frame)) }
                (below(note, table))
            }
        }
    }

    fn legend(&self, names: &bands::Names) -> Markup {
        // A rule carries its name, and a single layer is what the title says.
        let named: Vec<(usize, &Layer)> =
            self.layers.iter().enumerate().filter(|(_, layer)| layer.shape != Shape::Rule).collect();
        let bands = names.legend();
        html! {
            @if named.len() > 1 || !bands.is_empty() {
                ul.legend {
                    @if named.len() > 1 {
                        @for (at, layer) in named { li data-layer=(at) { (draw::swatch(layer)) (layer.name) } }
                    }
                    @for (cause, name) in bands { li { (bands::swatch(cause)) (name) } }
                }
            }
        }
    }
}

/// Drawings of one process with their title and a note; `table` holds the same numbers.
pub(crate) fn flow_figure(
    id: &str,
    title: &str,
    description: &str,
    drawings: &[Flow],
    note: &str,
    table: &Markup,
) -> Markup {
    html! {
        figure id=(id) {
            figcaption { (title) }
            @for drawing in drawings { (drawing.svg(id, title, description)) }
            (below(note, table))
        }
    }
}

/// What stands below every drawing.
fn below(note: &str, table: &Markup) -> Markup {
    html! {
        @if !note.is_empty() { p.note { (note) } }
        details { summary { "Numbers of this chart" } (table) }
    }
}
