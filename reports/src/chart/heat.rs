//! Counts in the cells of a chart: the fuller, the darker.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::Layer;
use super::area::{Area, round};

/// How many shades are told apart.
const SHADES: usize = 5;

/// Counts in columns of equal width and rows between edges.
pub(crate) struct Cells {
    /// Width of a column in the x axis' unit, the first at 0.
    pub(crate) width: f64,
    /// The edges of the rows in the y axis' unit, one more than there are rows.
    pub(crate) edges: Vec<f64>,
    /// One a row, of one count a column.
    pub(crate) rows: Vec<Vec<u64>>,
    /// What is read off a column, in the y axis' unit; drawn by nobody.
    pub(crate) readings: Vec<Layer>,
}

/// One path a shade, and in it one rectangle a run of equal neighbours: small, and read by no one cell by cell.
pub(super) fn drawn(area: &Area<'_>, cells: &Cells) -> Markup {
    let most = cells.rows.iter().flatten().copied().max().unwrap_or(0);
    let mut paths = vec![String::new(); SHADES];
    for (row, edges) in cells.rows.iter().zip(cells.edges.windows(2)) {
        let (top, bottom) = (area.y(edges[1]), area.y(edges[0]));
        let mut column = 0;
        while column < row.len() {
            let shade = shade(row[column], most);
            let end =
                (column..row.len()).find(|at| self::shade(row[*at], most) != shade).unwrap_or(row.len());
            if let Some(shade) = shade {
                let (from, to) = (area.x(column as f64 * cells.width), area.x(end as f64 * cells.width));
                let _ = write!(
                    paths[shade],
                    "M{} {}H{}V{}H{}Z",
                    round(from),
                    round(top),
                    round(to),
                    round(bottom),
                    round(from)
                );
            }
            column = end;
        }
    }
    html! {
        g.heat {
            @for (shade, path) in (1..).zip(&paths) {
                @if !path.is_empty() { path class={ "shade-" (shade) } d=(PreEscaped(path)) {} }
            }
        }
    }
}

/// On a logarithmic scale, so that a few slow samples beside thousands can be seen.
fn shade(count: u64, most: u64) -> Option<usize> {
    match count {
        0 => None,
        _ if most <= 1 => Some(SHADES - 1),
        _ => {
            let share = (count as f64).ln() / (most as f64).ln();
            Some(((share * SHADES as f64) as usize).min(SHADES - 1))
        }
    }
}

/// What the shades stand for.
pub(crate) fn heat_legend(most: u64) -> Markup {
    html! {
        ul.legend {
            li {
                "1 sample"
                svg.heat viewBox="0 0 75 10" width="75" height="10" aria-hidden="true" {
                    @for shade in 1..=SHADES {
                        path class={ "shade-" (shade) } d={ "M" ((shade - 1) * 15) " 0h15v10h-15Z" } {}
                    }
                }
                (crate::number::grouped(most)) ", in equal factors"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_sample_is_seen_and_the_fullest_cell_is_darkest() {
        assert_eq!(
            [shade(0, 10), shade(1, 10_000), shade(10_000, 10_000)],
            [None, Some(0), Some(SHADES - 1)]
        );
        assert_eq!([shade(1, 1), shade(100, 10_000)], [Some(SHADES - 1), Some(2)]);
    }
}
