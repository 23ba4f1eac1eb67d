//! Latency over time: a percentile hides what a heat map shows.

use maud::{Markup, html};

use super::part::{Column, micros, nanos, phase_title, table};
use super::timeline::Timeline;
use crate::Record;
use crate::chart::{Axis, Cells, Chart, Ink, Layer, Room, Shape, heat_legend};
use crate::number::grouped;
use crate::record::Heat;

/// Phases that are drawn.
const DRAWN: [&str; 2] = ["register", "time-to-assigned"];
/// Most columns of a chart, and most rows of the table behind it.
const COLUMNS_MAX: usize = 96;
/// A record has at most four buckets a doubling up to a day.
const ROWS_MAX: usize = 160;

/// The heat maps that the record has data for.
pub(super) fn figures(record: &Record) -> Option<Markup> {
    let figures: Vec<Markup> = DRAWN
        .iter()
        .filter_map(|name| record.heat.iter().find(|heat| heat.phase == *name))
        .filter_map(|heat| figure(record, heat))
        .collect();
    (!figures.is_empty()).then(|| {
        html! {
            h3 { "Latency over time" }
            div.pair { @for figure in &figures { (figure) } }
        }
    })
}

/// A heat map with windows added up until they are few.
struct Map<'a> {
    heat: &'a Heat,
    /// Nanoseconds of a column.
    width_ns: f64,
    rows: Vec<Vec<u64>>,
}

impl<'a> Map<'a> {
    /// `None` for what cannot be drawn: a record may come from anywhere.
    fn of(record: &Record, heat: &'a Heat) -> Option<Self> {
        let windows = heat.rows.iter().map(Vec::len).max()?;
        let sorted = heat.edges_us.is_sorted_by(|a, b| a < b || (a == b && *a <= 1));
        if windows == 0 || record.window_ns == 0 || !sorted || heat.edges_us.len() != heat.rows.len() + 1 {
            return None;
        }
        let together = windows.div_ceil(COLUMNS_MAX);
        let row = |row: &Vec<u32>| {
            let mut sums: Vec<u64> =
                row.chunks(together).map(|chunk| chunk.iter().map(|count| u64::from(*count)).sum()).collect();
            sums.resize(windows.div_ceil(together), 0);
            sums
        };
        let rows: Vec<Vec<u64>> = heat.rows.iter().take(ROWS_MAX).map(row).collect();
        let width_ns = record.window_ns as f64 * together as f64;
        rows.iter().flatten().any(|count| *count > 0).then_some(Self { heat, width_ns, rows })
    }

    fn columns(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// Samples of a column.
    fn samples(&self, column: usize) -> u64 {
        self.rows.iter().map(|row| row[column]).sum()
    }

    /// A quantile over time, for whoever points at a column.
    fn reading(&self, name: &str, quantile: f64, ink: Ink) -> Layer {
        let width_s = self.width_ns / 1e9;
        let at = |column: usize| (column as f64 * width_s, self.quantile_us(column, quantile) as f64);
        Layer {
            name: name.to_owned(),
            ink,
            shape: Shape::Step,
            points: (0..self.columns()).map(at).collect(),
        }
    }

    /// The upper edge of the bucket that holds the quantile of a column.
    fn quantile_us(&self, column: usize, quantile: f64) -> u64 {
        let rank = ((self.samples(column) as f64 * quantile).ceil() as u64).max(1);
        let mut through = 0;
        for (row, edge) in self.rows.iter().zip(&self.heat.edges_us[1..]) {
            through += row[column];
            if through >= rank {
                return *edge;
            }
        }
        0
    }
}

fn figure(record: &Record, heat: &Heat) -> Option<Markup> {
    let map = Map::of(record, heat)?;
    let columns = map.columns();
    let timeline = Timeline::of(record);
    let most = map.rows.iter().flatten().copied().max().unwrap_or(0);
    let worst = (0..columns)
        .filter(|column| map.samples(*column) >= 20)
        .max_by_key(|column| (map.quantile_us(*column, 0.99), std::cmp::Reverse(*column)));
    let told = match worst {
        Some(column) => format!(
            "The slowest {} began at {}: 99 % of its {} samples took less than {}.",
            nanos(map.width_ns as u64),
            nanos((column as f64 * map.width_ns) as u64),
            grouped(map.samples(column)),
            micros(map.quantile_us(column, 0.99))
        ),
        None => "No column has enough samples for a percentile.".to_owned(),
    };
    let (first, last) = (heat.edges_us.first()?, heat.edges_us.last()?);
    let chart = Chart {
        id: format!("heat-{}", heat.phase),
        title: format!("{}, over time", phase_title(&heat.phase).replace(", accepted", "")),
        description: told.clone(),
        x: timeline.axis(),
        y: Axis::latency(*first, *last),
        layers: Vec::new(),
        marks: Vec::new(),
        bands: timeline.bands(),
        cells: Some(Cells {
            width: map.width_ns / 1e9,
            edges: heat.edges_us.iter().map(|edge| *edge as f64).collect(),
            rows: map.rows.clone(),
            readings: [("half below", 0.5, Ink::Blue), ("99 % below", 0.99, Ink::Grey)]
                .map(|(name, quantile, ink)| map.reading(name, quantile, ink))
                .into(),
        }),
        room: Room::Half,
    };
    let rows = (0..columns).filter(|column| map.samples(*column) > 0).map(|column| {
        vec![
            nanos((column as f64 * map.width_ns) as u64),
            grouped(map.samples(column)),
            micros(map.quantile_us(column, 0.5)),
            micros(map.quantile_us(column, 0.99)),
        ]
    });
    let head = [
        Column::Number("From"),
        Column::Number("n"),
        Column::Number("half below"),
        Column::Number("99 % below"),
    ];
    let numbers = html! { (heat_legend(most)) (table("Samples and percentiles over time", &head, rows)) };
    Some(chart.figure(&format!("{told} The stronger the colour, the more samples."), &numbers))
}
