//! What the words mean and how the numbers are made.

use maud::html;

use super::part::Section;
use crate::Record;

/// Terms in alphabetical order.
const TERMS: &[(&str, &str)] = &[
    ("Assigned", "The service has named the hub that the device belongs to: provisioning is done."),
    ("Attempt", "One request with its answer, or without one: a register, a poll or a status look-up."),
    (
        "Billed registration",
        "A register request that was sent. Azure bills register calls, polls and look-ups not; whether it bills those \
         that it throttles is not documented, so they are counted.",
    ),
    ("Cohort", "Devices that attest, retry and connect alike."),
    ("Failed", "Ended in another way than 2xx or 429, connections included."),
    (
        "Intended",
        "The instant at which a device should have acted. A latency from there includes what a stalled generator or a \
         slow connection adds; leaving that out is known as coordinated omission.",
    ),
    ("Quota", "What the service lets through, as far as it is known; with the embedded mock it is exact."),
    ("Retry-After", "The answer's request not to come back earlier. A shorter wait violates it."),
    (
        "Service time",
        "From the instant a device did act. Shown beside the intended time, never instead of it.",
    ),
    ("Settled", "Assigned, or stopped: parked after a permanent refusal, or given up by its strategy."),
    ("Throttled", "Answered with 429."),
];

/// One paragraph each.
const METHODS: &[&str] = &[
    "Percentiles are read from HDR histograms with three significant digits, from 1 µs to a day. Histograms of several \
     threads are added up exactly; percentiles are never averaged.",
    "Shares of the fleet count all devices of the plan, also those that failed or never booted. A share that was not \
     reached has no time.",
    "The quota's bound is the earliest instant at which the k-th device could have had its hub if every token went to \
     a registration that succeeds: (k − burst) ⁄ rate for a bucket, the start of window (k − 1) ⁄ limit for windows. It \
     ignores when devices boot, connections, polls and the service's own time, so no strategy can be faster.",
    "Objectives are judged on the record alone. One without data counts as not held, and so does a run whose generator \
     fell behind.",
    "A registration that succeeds as a request but ends as failed counts as failed, by its code.",
    "Charts are cut to at most 600 points a line, and the tables behind them to 120 rows; the captions say how. The record \
     keeps every second.",
];

pub(super) fn section(_: &Record) -> Option<Section> {
    let body = html! {
        dl.glossary {
            @for (term, meaning) in TERMS { div { dt { (term) } dd { (meaning) } } }
        }
        h3 { "How the numbers are made" }
        ul.methods { @for method in METHODS { li { (method) } } }
    };
    Some(Section { id: "method", title: "Glossary and method".into(), body })
}
