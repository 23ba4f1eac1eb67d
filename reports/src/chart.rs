//! Charts as SVG, readable without a script.
//!
//! A [`Chart`] is data: axes, layers, marks. It is drawn by [`Chart::figure`] twice, for a page and for a phone,
//! because text that shrinks with its drawing cannot be read; the style sheet shows the one that fits. Colours are
//! classes, so that the style sheet alone knows light, dark and print. [`bar`] and [`Strip`] are small enough for a
//! cell of a table.

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
    /// From each point's x to the next one's, two by two, the chart is shaded from top to bottom.
    Bands,
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
    /// What is counted in cells of both axes, behind the layers.
    pub(crate) cells: Option<Cells>,
    pub(crate) room: Room,
}

impl Chart {
    /// The drawing with its title, legend and a note; `table` holds the same numbers.
    pub(crate) fn figure(&self, note: &str, table: &Markup) -> Markup {
        html! {
            figure id=(self.id) {
                figcaption { (self.title) }
                (self.legend())
                @for frame in draw::frames(self.room) { (draw::svg(self, frame)) }
                (below(note, table))
            }
        }
    }

    fn legend(&self) -> Markup {
        // A rule carries its name, and a single layer is what the title says.
        let named: Vec<&Layer> = self.layers.iter().filter(|layer| layer.shape != Shape::Rule).collect();
        html! {
            @if named.len() > 1 {
                ul.legend {
                    @for layer in named { li { (draw::swatch(layer)) (layer.name) } }
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
