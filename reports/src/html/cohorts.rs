//! The cohorts side by side.

use maud::{Markup, html};

use super::completion::{marked, until_s};
use super::part::{Column, Section, moment, more, name, table, text};
use crate::Record;
use crate::chart::Strip;
use crate::number::{grouped, percent, ratio};
use crate::record::Cohort;

const SHOWN_MAX: usize = 40;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.cohorts.is_empty() {
        return None;
    }
    let strip = Strip { until_s: until_s(record) };
    let columns = [
        Column::Words("Cohort"),
        Column::Number("Assigned"),
        Column::Number("Share"),
        Column::Words("50 to 100 %, over the run"),
        Column::Number("50 %"),
        Column::Number("99 %"),
        Column::Number("All"),
        Column::Number("Registers a device"),
        Column::Number("Throttled"),
        Column::Number("Stopped"),
    ];
    let shown = || record.cohorts.iter().take(SHOWN_MAX);
    let settings = [
        Column::Words("Cohort"),
        Column::Words("After a failure"),
        Column::Words("Attestation"),
        Column::Words("Transport"),
    ];
    let body = html! {
        (table("What each cohort came to", &columns, shown().map(|cohort| outcome(cohort, &strip))))
        (table("How each cohort behaves", &settings, shown().map(behaviour)))
        (more(SHOWN_MAX, record.cohorts.len(), "cohorts"))
    };
    Some(Section { id: "cohorts", title: "Cohorts".into(), body })
}

fn outcome(cohort: &Cohort, strip: &Strip) -> Vec<Markup> {
    let (totals, completion) = (&cohort.totals, &cohort.completion);
    let moments: Vec<f64> =
        marked(completion).into_iter().filter_map(|(_, _, ns)| Some(ns? as f64 / 1e9)).collect();
    vec![
        name(&cohort.name),
        text(&format!("{} of {}", grouped(totals.assigned), grouped(totals.devices))),
        text(&percent(totals.assigned, totals.devices)),
        strip.row(&moments),
        text(&moment(completion.t50_ns)),
        text(&moment(completion.t99_ns)),
        text(&moment(completion.t100_ns)),
        text(&ratio(totals.registers, totals.booted)),
        text(&grouped(totals.throttled)),
        text(&grouped(totals.stopped)),
    ]
}

fn behaviour(cohort: &Cohort) -> Vec<Markup> {
    [&cohort.name, &cohort.retry, &cohort.attestation, &cohort.transport].map(|text| name(text)).into()
}
