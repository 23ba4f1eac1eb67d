//! From a chart to its SVG.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::area::{Area, BOTTOM, CHAR_WIDTH, Frame, round, text_width, within};
use super::scale::{Tick, Unit};
use super::{Chart, Layer, Mark, Shape, bands, heat};

const ROW_HEIGHT: f64 = 16.0;

pub(super) fn svg(chart: &Chart, names: &bands::Names, frame: Frame) -> Markup {
    let bare = Area::of(chart, frame);
    let labels = names.place(&bare);
    let marks = placed(&bare);
    let above = bands::height(&labels);
    let rows = marks.iter().map(|mark| mark.row + 1).max().unwrap_or(0);
    let grown = above + rows as f64 * ROW_HEIGHT;
    let (top, height) = (bare.top + grown, frame.height + grown);
    let area = Area { top, bottom: height - BOTTOM, ..bare };
    let id = |part: &str| format!("{}-{}-{part}", chart.id, frame.class);
    // What is drawn to scale stands in a drawing of its own, which cuts it off and which a script can zoom.
    let [x, y, width, tall] =
        [area.left, area.top - 2.0, area.width(), area.bottom - area.top + 4.0].map(round);
    html! {
        svg class={ "chart " (frame.class) } role="img" viewBox={ "0 0 " (round(frame.width)) " " (round(height)) }
            aria-labelledby={ (id("title")) " " (id("desc")) } {
            title id=(id("title")) { (chart.title) }
            desc id=(id("desc")) { (chart.description) (told(chart)) }
            (axes(&area, height))
            svg.plot x=(x) y=(y) width=(width) height=(tall) viewBox={ (x) " " (y) " " (width) " " (tall) }
                preserveAspectRatio="none" {
                (bands::shaded(&area))
                @if let Some(cells) = &chart.cells { (heat::drawn(&area, cells)) }
                @for (at, layer) in chart.layers.iter().enumerate() {
                    @if layer.shape != Shape::Dots { g data-layer=(at) { (drawn(&area, layer)) } }
                }
            }
            @for (at, layer) in chart.layers.iter().enumerate() {
                @match layer.shape {
                    Shape::Dots => g data-layer=(at) { (drawn(&area, layer)) },
                    Shape::Rule => (rule_name(&area, layer)),
                    _ => {}
                }
            }
            @for mark in &marks { (mark_of(&area, mark, above)) }
            @for mark in &marks { (label_of(&area, mark, above)) }
            (bands::labelled(&area, &labels))
        }
    }
}

/// The bands in words.
fn told(chart: &Chart) -> String {
    const TOLD_MAX: usize = 12;
    let word = |band: &super::Band| {
        let at = |secs: f64| crate::number::nanos((secs.max(0.0) * 1e9) as u64);
        format!("{} {} from {} to {}", band.cause.word(), band.name, at(band.from), at(band.to))
    };
    let words: Vec<String> = chart.bands.iter().take(TOLD_MAX).map(word).collect();
    match chart.bands.len().saturating_sub(TOLD_MAX) {
        _ if words.is_empty() => String::new(),
        0 => format!(" Shaded: {}.", words.join("; ")),
        more => format!(" Shaded: {}; and {more} more.", words.join("; ")),
    }
}

fn axes(area: &Area<'_>, height: f64) -> Markup {
    let chart = area.chart;
    let (left, right, bottom) = (round(area.left), round(area.right), round(area.bottom));
    let longest = chart.x.names.iter().map(|name| text_width(name)).reduce(f64::max);
    let across = ((area.right - area.left) / longest.map_or(72.0, |width| width + CHAR_WIDTH)) as usize;
    let up = ((area.bottom - area.top) / 34.0) as usize;
    let y_ticks = chart.y.ticks(up);
    html! {
        // Above everything, so that no name stands in it.
        text.axis x="0" y="12" { (chart.y.label) }
        g.grid {
            @for tick in &y_ticks {
                @let y = round(area.y(tick.at));
                line x1=(left) y1=(y) x2=(right) y2=(y) {}
            }
        }
        g.ticks text-anchor="end" {
            @for tick in &y_ticks {
                text x=(round(area.left - 7.0)) y=(round(area.y(tick.at) + 4.0)) { (tick.label) }
            }
        }
        g.ticks text-anchor="middle" data-ticks[chart.x.unit == Unit::Elapsed] {
            @for tick in apart(area, chart.x.ticks(across)) {
                @let x = area.x(tick.at);
                line x1=(round(x)) y1=(bottom) x2=(round(x)) y2=(round(area.bottom + 4.0)) {}
                text x=(round(within(area, x, &tick.label))) y=(round(area.bottom + 17.0)) { (tick.label) }
            }
        }
        line.base x1=(left) y1=(bottom) x2=(right) y2=(bottom) {}
        text.axis text-anchor="end" x=(right) y=(round(height - 3.0)) { (chart.x.label) }
    }
}

/// The ticks whose labels do not touch.
fn apart(area: &Area<'_>, ticks: Vec<Tick>) -> Vec<Tick> {
    let mut free_from = f64::NEG_INFINITY;
    ticks
        .into_iter()
        .filter(|tick| {
            let (centre, half) = (within(area, area.x(tick.at), &tick.label), text_width(&tick.label) / 2.0);
            let fits = centre - half >= free_from;
            if fits {
                free_from = centre + half + CHAR_WIDTH;
            }
            fits
        })
        .collect()
}

fn drawn(area: &Area<'_>, layer: &Layer) -> Markup {
    let ink = layer.ink.class();
    let [first, .., last] = layer.points.as_slice() else {
        return match (layer.shape, layer.points.first()) {
            (Shape::Rule, Some(&(_, y))) => rule(area, layer, y),
            (Shape::Bars, Some(_)) => bars(area, layer),
            (Shape::Dots, Some(_)) => dots(area, layer),
            _ => html! {},
        };
    };
    let (from, to) = (round(area.x(first.0)), round(area.x(last.0)));
    match layer.shape {
        Shape::Line => html! { path class={ "line " (ink) } d=(lines(area, &layer.points)) {} },
        Shape::Dashed => html! { path class={ "line dashed " (ink) } d=(lines(area, &layer.points)) {} },
        Shape::DashedStep => html! { path class={ "line dashed " (ink) } d=(stairs(area, &layer.points)) {} },
        Shape::Step => {
            let stairs = stairs(area, &layer.points);
            let base = round(area.bottom);
            html! {
                path class={ "tint " (ink) } d={ (stairs) "V" (base) "H" (from) "Z" } {}
                path class={ "line " (ink) } d=(stairs) {}
            }
        }
        Shape::Area => {
            let stairs = stairs(area, &layer.points);
            html! { path class={ "area " (ink) } d={ (stairs) "V" (round(area.bottom)) "H" (from) "Z" } {} }
        }
        Shape::Dots => dots(area, layer),
        Shape::Beyond => {
            let edge = lines(area, &layer.points);
            let top = round(area.top);
            html! {
                path class={ "beyond " (ink) } d={ (edge) "L" (to) " " (top) "L" (from) " " (top) "Z" } {}
                path class={ "line thin " (ink) } d=(edge) {}
            }
        }
        Shape::Rule => rule(area, layer, first.1),
        Shape::Bars => bars(area, layer),
    }
}

fn rule(area: &Area<'_>, layer: &Layer, value: f64) -> Markup {
    let y = round(area.y(value));
    html! {
        line class={ "line dashed " (layer.ink.class()) } x1=(round(area.left)) y1=(y) x2=(round(area.right)) y2=(y) {}
    }
}

fn rule_name(area: &Area<'_>, layer: &Layer) -> Markup {
    let Some((_, value)) = layer.points.first() else { return html! {} };
    let y = area.y(*value);
    // The name stands above the line, or below it where the chart ends.
    let y = if y - area.top < 18.0 { y + 14.0 } else { y - 5.0 };
    html! { text.halo text-anchor="end" x=(round(area.right - 3.0)) y=(round(y)) { (layer.name) } }
}

fn dots(area: &Area<'_>, layer: &Layer) -> Markup {
    html! {
        g class={ "dots " (layer.ink.class()) } {
            @for &(x, y) in &layer.points { circle cx=(round(area.x(x))) cy=(round(area.y(y))) r="5" {} }
        }
    }
}

fn bars(area: &Area<'_>, layer: &Layer) -> Markup {
    let wide = (area.x(1.0) - area.x(0.0)) * 0.8;
    html! {
        g class={ "bars " (layer.ink.class()) } {
            @for &(x, y) in &layer.points {
                // What is there at all can be seen.
                @let height = if y > 0.0 { (area.bottom - area.y(y)).max(1.0) } else { 0.0 };
                rect x=(round(area.x(x) - wide / 2.0)) y=(round(area.bottom - height)) width=(round(wide))
                    height=(round(height)) {}
            }
        }
    }
}

/// A mark with the row that its label stands in.
struct Placed<'a> {
    mark: &'a Mark,
    /// Centre of the label.
    centre: f64,
    /// Rows above the data, from the lowest.
    row: usize,
}

/// Gives each label the lowest row in which it touches no other.
fn placed<'a>(area: &Area<'a>) -> Vec<Placed<'a>> {
    let mut free_from: Vec<f64> = Vec::new();
    area.chart
        .marks
        .iter()
        .map(|mark| {
            let (centre, half) = (within(area, area.x(mark.x), &mark.label), text_width(&mark.label) / 2.0);
            let row = free_from.iter().position(|free| centre - half >= *free).unwrap_or(free_from.len());
            if row == free_from.len() {
                free_from.push(0.0);
            }
            free_from[row] = centre + half + CHAR_WIDTH;
            Placed { mark, centre, row }
        })
        .collect()
}

fn mark_of(area: &Area<'_>, placed: &Placed<'_>, above: f64) -> Markup {
    let x = round(area.x(placed.mark.x));
    html! {
        g data-at=(bands::round3(placed.mark.x)) data-x=(x) {
            line.mark x1=(x) y1=(round(label_y(area, placed, above) + 3.0)) x2=(x) y2=(round(area.bottom)) {}
            circle.mark cx=(x) cy=(round(area.y(placed.mark.y))) r="3.5" {}
        }
    }
}

/// Its label, over the lines of all marks.
fn label_of(area: &Area<'_>, placed: &Placed<'_>, above: f64) -> Markup {
    html! {
        text.halo data-at=(bands::round3(placed.mark.x)) text-anchor="middle" x=(round(placed.centre))
            y=(round(label_y(area, placed, above))) { (placed.mark.label) }
    }
}

fn label_y(area: &Area<'_>, placed: &Placed<'_>, above: f64) -> f64 {
    area.top - 8.0 - above - placed.row as f64 * ROW_HEIGHT
}

fn lines(area: &Area<'_>, points: &[(f64, f64)]) -> PreEscaped<String> {
    let mut path = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{} {}", round(area.x(x)), round(area.y(y)));
    }
    PreEscaped(path)
}

fn stairs(area: &Area<'_>, points: &[(f64, f64)]) -> PreEscaped<String> {
    let mut path = String::new();
    let mut level = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let (x, y) = (round(area.x(x)), round(area.y(y)));
        let last = index + 1 == points.len();
        let _ = match index {
            0 => write!(path, "M{x} {y}"),
            _ if y == level && !last => Ok(()),
            _ if y == level => write!(path, "H{x}"),
            _ => write!(path, "H{x}V{y}"),
        };
        level = y;
    }
    PreEscaped(path)
}

/// A layer's line or area for the legend.
pub(super) fn swatch(layer: &Layer) -> Markup {
    let ink = layer.ink.class();
    html! {
        svg viewBox="0 0 22 10" width="22" height="10" aria-hidden="true" {
            @match layer.shape {
                Shape::Line => path class={ "line " (ink) } d="M0 5H22" {},
                Shape::Dashed | Shape::DashedStep | Shape::Rule => path class={ "line dashed " (ink) } d="M0 5H22" {},
                Shape::Step => {
                    path class={ "tint " (ink) } d="M0 2H22V10H0Z" {}
                    path class={ "line " (ink) } d="M0 2H22" {}
                }
                Shape::Area => path class={ "area " (ink) } d="M0 0H22V10H0Z" {},
                Shape::Dots => g class={ "dots " (ink) } { circle cx="11" cy="5" r="4" {} },
                Shape::Beyond => path class={ "beyond " (ink) } d="M0 0H22V10H0Z" {},
                Shape::Bars => g class={ "bars " (ink) } { rect x="6" y="0" width="10" height="10" {} },
            }
        }
    }
}
