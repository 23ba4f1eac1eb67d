//! The numbers of a chart for the page's script, in an attribute of its figure.
//!
//! The page is whole without them: they only make a pointer or a key show what stands in the table behind the chart.

use std::fmt::Write as _;

use super::bands::round3;
use super::scale::{Scale, Unit};
use super::{Chart, Layer, Shape};

/// A JSON object: the x axis' kind and ends, the y axis' kind, and each layer's name, shape and points.
pub(super) fn of(chart: &Chart) -> String {
    let mut out = String::from("{\"x\":");
    let kind = match (chart.x.scale, chart.x.unit) {
        (Scale::Linear { .. }, Unit::Elapsed | Unit::Duration) => "time",
        (Scale::Tail { .. }, _) => "tail",
        (Scale::Log { .. } | Scale::LogCount { .. }, _) => "log",
        _ => "linear",
    };
    let (from, to) = chart.x.scale.ends();
    let _ = write!(out, "[\"{kind}\",{},{}],\"y\":\"{}\"", figures(from), figures(to), unit(chart.y.unit));
    if chart.x.unit == Unit::Elapsed {
        out.push_str(",\"shared\":1");
    }
    if !chart.x.names.is_empty() {
        let _ = write!(out, ",\"names\":{}", serde_json::json!(chart.x.names));
    }
    out.push_str(",\"layers\":[");
    let readings = chart.cells.iter().flat_map(|cells| &cells.readings);
    for (at, layer) in chart.layers.iter().chain(readings).enumerate() {
        if at > 0 {
            out.push(',');
        }
        let below = chart.layers.get(at + 1).filter(|_| layer.shape == Shape::Area);
        self::layer(&mut out, layer, below);
    }
    out.push_str("]}");
    out
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "count",
        Unit::Share => "share",
        Unit::Elapsed | Unit::Duration => "time",
        Unit::Micros => "us",
    }
}

/// An area stands on the one `below` it, and what it has is what it adds.
fn layer(out: &mut String, layer: &Layer, below: Option<&Layer>) {
    let shape = match layer.shape {
        Shape::Line | Shape::Dashed | Shape::Beyond => "line",
        Shape::Step | Shape::DashedStep | Shape::Area => "step",
        Shape::Dots | Shape::Bars => "point",
        Shape::Rule => "rule",
    };
    let _ = write!(out, "{{\"n\":{},\"s\":\"{shape}\",\"p\":[", serde_json::json!(layer.name));
    let mut before = None;
    let mut first = true;
    let base = |at: usize| below.and_then(|below| below.points.get(at)).map_or(0.0, |(_, y)| *y);
    for (at, &(x, top)) in layer.points.iter().enumerate() {
        let y = top - base(at);
        // A step goes on until the next one.
        let is_same = shape == "step" && before == Some(y) && at + 1 < layer.points.len();
        before = Some(y);
        if is_same || !x.is_finite() || !y.is_finite() {
            continue;
        }
        let comma = if first { "" } else { "," };
        let _ = write!(out, "{comma}{},{}", figures(x), figures(y));
        first = false;
    }
    out.push_str("]}");
}

/// A number with five significant digits, which is more than a chart can show.
fn figures(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    match value.abs() {
        0.0 => "0".to_owned(),
        ..0.001 => format!("{value:.4e}"),
        ..1.0 => {
            let text = format!("{value:.7}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        ..1e5 => round3(value),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_a_chart_can_show() {
        let written =
            [0.0, 1.0, 0.5, 0.997, 12.3456, 600_000.4, 0.000_012_3, f64::NAN, f64::INFINITY].map(figures);
        assert_eq!(written, ["0", "1", "0.5", "0.997", "12.346", "600000", "1.2300e-5", "0", "0"]);
        for text in &written {
            assert!(serde_json::from_str::<f64>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_stands_on_another_is_read_by_itself() {
        let area = |points: &[(f64, f64)]| Layer {
            name: "a".to_owned(),
            ink: super::super::Ink::Grey,
            shape: Shape::Area,
            points: points.to_vec(),
        };
        let (all, good) = (area(&[(0.0, 7.0), (1.0, 5.0)]), area(&[(0.0, 4.0), (1.0, 5.0)]));
        let mut out = String::new();
        layer(&mut out, &all, Some(&good));
        layer(&mut out, &good, None);
        assert!(out.contains("\"p\":[0,3,1,0]") && out.contains("\"p\":[0,4,1,5]"), "{out}");
    }
}
