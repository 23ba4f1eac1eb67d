//! Parts of the time that have a name, and where the names stand.
//!
//! A name stands above its band where all names fit into a few rows. Where they do not, bands are numbered and the legend
//! tells the names; a number that has no room is left out, because the legend tells it anyway.

use maud::{Markup, html};

use super::area::{Area, CHAR_WIDTH, Frame, round, text_width, within};
use super::{Band, Cause, Chart};

/// Rows of names above a chart.
const ROWS_MAX: usize = 3;
const ROW_HEIGHT: f64 = 15.0;

/// What the bands of a chart are called, in all its drawings.
pub(super) struct Names {
    /// The distinct names in order of time, with their cause.
    names: Vec<(Cause, String)>,
    numbered: bool,
}

/// A label above the chart.
pub(super) struct Label {
    at: f64,
    centre: f64,
    row: usize,
    text: String,
}

impl Names {
    pub(super) fn of(chart: &Chart, frames: &[Frame]) -> Self {
        let mut names: Vec<(Cause, String)> = Vec::new();
        for band in &chart.bands {
            if !names.iter().any(|(cause, name)| *cause == band.cause && *name == band.name) {
                names.push((band.cause, band.name.clone()));
            }
        }
        let plain = Self { names, numbered: false };
        let fits = |frame: &Frame| {
            let placed = plain.place(&Area::of(chart, *frame));
            plain.names.iter().all(|(_, name)| placed.iter().any(|label| label.text == *name))
        };
        let numbered = !frames.iter().all(fits);
        Self { numbered, ..plain }
    }

    fn text(&self, band: &Band) -> String {
        let place = self.names.iter().position(|(cause, name)| *cause == band.cause && *name == band.name);
        if self.numbered { (place.unwrap_or(0) + 1).to_string() } else { band.name.clone() }
    }

    /// Each label in the lowest row in which it touches no other; without those that find none.
    pub(super) fn place(&self, area: &Area<'_>) -> Vec<Label> {
        let mut free_from: Vec<f64> = Vec::new();
        let mut bands: Vec<&Band> = area.chart.bands.iter().collect();
        bands.sort_by(|a, b| (a.from + a.to).total_cmp(&(b.from + b.to)));
        let mut labels = Vec::new();
        for band in bands {
            let text = self.text(band);
            let middle = (area.x(band.from) + area.x(band.to)) / 2.0;
            // Nor over the numbers on the left.
            let half = text_width(&text) / 2.0;
            let centre = within(area, middle, &text).max(area.left + half);
            let row = free_from.iter().position(|free| centre - half >= *free).unwrap_or(free_from.len());
            if row >= ROWS_MAX || half * 2.0 > area.width() {
                continue;
            }
            if row == free_from.len() {
                free_from.push(0.0);
            }
            free_from[row] = centre + half + CHAR_WIDTH;
            labels.push(Label { at: (band.from + band.to) / 2.0, centre, row, text });
        }
        labels
    }

    /// What the legend says: the names where the chart only has numbers, else the causes.
    pub(super) fn legend(&self) -> Vec<(Cause, String)> {
        if self.numbered {
            let named = self.names.iter().enumerate();
            return named
                .map(|(at, (cause, name))| (*cause, format!("{} {name} ({})", at + 1, cause.word())))
                .collect();
        }
        let mut causes: Vec<Cause> = self.names.iter().map(|(cause, _)| *cause).collect();
        causes.sort_unstable();
        causes.dedup();
        causes.into_iter().map(|cause| (cause, cause.word().to_owned())).collect()
    }
}

/// The height that labels take.
pub(super) fn height(labels: &[Label]) -> f64 {
    labels.iter().map(|label| label.row + 1).max().unwrap_or(0) as f64 * ROW_HEIGHT
}

const fn class(cause: Cause) -> &'static str {
    match cause {
        Cause::Fault => "band fault",
        Cause::Outage => "band outage",
        Cause::Alert => "band alert",
    }
}

pub(super) fn shaded(area: &Area<'_>) -> Markup {
    let (top, height) = (round(area.top), round(area.bottom - area.top));
    html! {
        @for band in &area.chart.bands {
            @let (from, to) = (area.x(band.from), area.x(band.to));
            // What is there at all can be seen.
            @let width = round((to - from).max(1.5));
            g class=(class(band.cause)) {
                rect x=(round(from)) y=(top) width=(width) height=(height) {}
                rect.edge x=(round(from)) y=(top) width=(width) height="3" {}
            }
        }
    }
}

pub(super) fn labelled(area: &Area<'_>, labels: &[Label]) -> Markup {
    html! {
        g.names text-anchor="middle" {
            @for label in labels {
                text.halo data-at=(round3(label.at)) x=(round(label.centre))
                    y=(round(area.top - 6.0 - label.row as f64 * ROW_HEIGHT)) { (label.text) }
            }
        }
    }
}

/// Enough digits for a moment in seconds.
pub(super) fn round3(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn swatch(cause: Cause) -> Markup {
    html! {
        svg viewBox="0 0 22 10" width="22" height="10" aria-hidden="true" {
            g class=(class(cause)) {
                rect x="3" y="0" width="16" height="10" {}
                rect.edge x="3" y="0" width="16" height="3" {}
            }
        }
    }
}
