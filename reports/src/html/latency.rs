//! How long things took: percentile spectra and a table of every phase.

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::heat;
use super::part::{Column, NAME_MAX, Section, micros, phase_title, table};
use crate::Record;
use crate::chart::{Axis, Chart, Ink, Layer, Room, Shape, quantile};
use crate::number::{counted, grouped};
use crate::record::{Clock, Distribution, Phase};
use crate::text::clipped;

/// Phases that are drawn, the most telling first, where they succeeded.
const DRAWN: [&str; 6] = ["time-to-assigned", "register", "connect", "tls", "poll", "lookup"];
/// A spectrum of fewer samples is a staircase that says nothing.
const SAMPLES_MIN: u64 = 20;
/// The table of a real record has at most 24 phases.
const PHASES_MAX: usize = 24;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.phases.iter().all(|phase| phase.intended.count == 0) {
        return None;
    }
    let figures: Vec<Markup> = DRAWN
        .iter()
        .filter_map(|name| record.phases.iter().find(|phase| phase.phase == *name && phase.outcome == "ok"))
        .filter_map(figure)
        .collect();
    let body = html! {
        @match record.clock {
            Clock::Wall => {}
            Clock::Wired => p.model { "Virtual time: what a connection and a request take is the model's, not a \
                network's. Waits, retries and throttling are as in a live run." },
            Clock::Virtual => p.model { "Simulated: every latency is the model's. Waits, retries and throttling are \
                as in a live run." },
        }
        @if !figures.is_empty() {
            div.pair { @for figure in &figures { (figure) } }
        }
        @if let Some(figures) = heat::figures(record) { (figures) }
        (phases(record))
        p.note {
            "Intended counts from the instant at which a device should have acted, so that a stalled generator or \
             service cannot hide the waits it causes; service counts from the instant at which it did act. "
            span.thin { "Grey italics" } " mark percentiles with fewer than 10 ⁄ (1 − q) samples: 1,000 for p99, 10,000 \
             for p99.9."
        }
    };
    Some(Section { id: "latency", title: "Latency".into(), body })
}

fn figure(phase: &Phase) -> Option<Markup> {
    let intended = phase.intended.decode().filter(|histogram| histogram.len() >= SAMPLES_MIN)?;
    let service = phase.service.decode().filter(|histogram| histogram.len() >= SAMPLES_MIN);
    // Where both are the same, as in virtual time, one line says so.
    let service = service.filter(|service| *service != intended);
    let mut layers = Vec::new();
    if let Some(service) = &service {
        layers.push(Layer {
            name: "service".to_owned(),
            ink: Ink::Orange,
            shape: Shape::Dashed,
            points: spectrum(service),
        });
    }
    layers.push(Layer {
        name: "intended".to_owned(),
        ink: Ink::Blue,
        shape: Shape::Line,
        points: spectrum(&intended),
    });
    let least = service.iter().map(Histogram::min).chain([intended.min()]).min().unwrap_or(0);
    let most = service.iter().map(Histogram::max).chain([intended.max()]).max().unwrap_or(0);
    let chart = Chart {
        id: format!("latency-{}", phase.phase),
        title: phase_title(&phase.phase),
        description: format!(
            "Half of {} took at most {}, 99 % at most {}, the longest {}.",
            counted(phase.intended.count, "sample"),
            micros(phase.intended.p50_us),
            micros(phase.intended.p99_us),
            micros(phase.intended.max_us)
        ),
        x: Axis::tail(intended.len()),
        y: Axis::latency(least, most),
        layers,
        marks: Vec::new(),
        bands: Vec::new(),
        cells: None,
        room: Room::Half,
    };
    let note = if service.is_none() { "Intended and service time are the same here." } else { "" };
    let note = if phase.phase == "time-to-assigned" { "From the boot of a device to its hub." } else { note };
    Some(chart.figure(note, &numbers(&intended, service.as_ref())))
}

/// The value at quantiles that are equally far apart on the axis, up to that of the largest sample.
fn spectrum(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let steps = 120;
    let nines = (histogram.len().max(10) as f64).log10();
    let at = |step: u32| quantile(nines * f64::from(step) / f64::from(steps));
    (0..=steps).map(|step| (at(step), histogram.value_at_quantile(at(step)).max(1) as f64)).collect()
}

fn numbers(intended: &Histogram<u64>, service: Option<&Histogram<u64>>) -> Markup {
    let mut columns = vec![Column::Number("Share of the samples"), Column::Number("Intended")];
    if service.is_some() {
        columns.push(Column::Number("Service"));
    }
    let resolved = 1.0 - 1.0 / intended.len() as f64;
    let shares =
        [(0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (0.9, "90 %"), (0.95, "95 %"), (0.99, "99 %")];
    let tail =
        [(0.995, "99.5 %"), (0.999, "99.9 %"), (0.9995, "99.95 %"), (0.9999, "99.99 %"), (1.0, "100 %")];
    let rows = shares.into_iter().chain(tail).filter(|(share, _)| *share <= resolved || *share == 1.0).map(
        |(share, name)| {
            let mut row = vec![name.to_owned(), micros(intended.value_at_quantile(share))];
            row.extend(service.map(|service| micros(service.value_at_quantile(share))));
            row
        },
    );
    table("Percentiles", &columns, rows)
}

fn phases(record: &Record) -> Markup {
    let columns = [
        Column::Words("Phase"),
        Column::Words("Ended"),
        Column::Words("Counted from"),
        Column::Number("n"),
        Column::Number("p50"),
        Column::Number("p90"),
        Column::Number("p95"),
        Column::Number("p99"),
        Column::Number("p99.9"),
        Column::Number("max"),
    ];
    let rows = record.phases.iter().take(PHASES_MAX).flat_map(|phase| {
        let both = phase.intended != phase.service;
        let first = row(phase, if both { "intended" } else { "both" }, &phase.intended);
        std::iter::once(first).chain(both.then(|| {
            let mut second = row(phase, "service", &phase.service);
            // The eye should find the next phase, not the same name again.
            second[..2].iter_mut().for_each(|cell| *cell = html! { span.again { (cell) } });
            second
        }))
    });
    table("Latency by phase", &columns, rows)
}

fn row(phase: &Phase, from: &str, times: &Distribution) -> Vec<Markup> {
    let plain = |text: String| html! { (text) };
    // 10 / (1 - q): below that, ten samples or fewer lie beyond the percentile.
    let cell = |us: u64, samples: u64| {
        if times.count >= samples {
            plain(micros(us))
        } else {
            html! { span.thin title="too few samples" { (micros(us)) } }
        }
    };
    vec![
        plain(clipped(&phase.phase, NAME_MAX)),
        plain(clipped(&phase.outcome, NAME_MAX)),
        plain(from.to_owned()),
        plain(grouped(times.count)),
        cell(times.p50_us, 20),
        cell(times.p90_us, 100),
        cell(times.p95_us, 200),
        cell(times.p99_us, 1_000),
        cell(times.p999_us, 10_000),
        plain(micros(times.max_us)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrum_ends_at_the_largest_sample_and_never_falls() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        for us in 1..=1_000 {
            histogram.record(us * 10).unwrap();
        }
        let points = spectrum(&histogram);
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        let last = points.last().unwrap();
        assert!((last.0 - 0.999).abs() < 1e-9 && (last.1 / 9_990.0 - 1.0).abs() < 0.01, "{last:?}");
    }
}
