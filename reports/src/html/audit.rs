//! Whether the machine that played the fleet could keep up.

use maud::{Markup, html};

use super::part::{Column, SENTENCE_MAX, Section, bytes, micros, table};
use crate::Record;
use crate::number::{grouped, number, percent, share};
use crate::record::{Audit, Machine};
use crate::text::clipped;

const FINDINGS_MAX: usize = 10;

pub(super) fn section(record: &Record) -> Option<Section> {
    let audit = record.audit.as_ref()?;
    let body = html! {
        @if audit.untrusted.is_empty() {
            p { span.state.good { "✓ kept up" } " The generator found nothing that would have slowed the fleet down." }
        } @else {
            p { span.state.bad { "✕ fell behind" } " Treat the numbers as those of this machine, not of the target:" }
            ul { @for why in audit.untrusted.iter().take(FINDINGS_MAX) { li { (clipped(why, SENTENCE_MAX)) } } }
        }
        (measures(audit, record.machine.as_ref()))
        p.note {
            "The lag is how late devices were woken, against the instant at which they should have acted. It is part \
             of every intended latency."
        }
    };
    Some(Section { id: "audit", title: "Generator self-audit".into(), body })
}

fn measures(audit: &Audit, machine: Option<&Machine>) -> Markup {
    let lag = &audit.send_lag;
    let lags =
        format!("p50 {}, p99.9 {}, max {}", micros(lag.p50_us), micros(lag.p999_us), micros(lag.max_us));
    let memory = machine.filter(|machine| machine.memory_bytes > 0).map_or(String::new(), |machine| {
        format!("{} of {}", percent(audit.rss_max_bytes, machine.memory_bytes), bytes(machine.memory_bytes))
    });
    let rows = [
        ["Lag, 99th percentile".to_owned(), micros(lag.p99_us), lags],
        [
            "CPU, share of a core of the busiest thread".to_owned(),
            share(audit.cpu_share),
            format!("worst second {}, {} s of CPU in all", share(audit.cpu_share_worst), number(audit.cpu_s)),
        ],
        [
            "Longest standstill".to_owned(),
            micros(audit.stood_still_ns / 1_000),
            format!("suspended {}", micros(audit.suspended_ns / 1_000)),
        ],
        ["Devices never started in time".to_owned(), grouped(audit.never_started), String::new()],
        ["Memory, most".to_owned(), bytes(audit.rss_max_bytes), memory],
        [
            "Descriptors, most at once".to_owned(),
            grouped(audit.descriptors_max),
            format!(
                "{} of {}",
                percent(audit.descriptors_max, audit.descriptors_limit),
                grouped(audit.descriptors_limit)
            ),
        ],
        [
            "Attempts without a port or descriptor".to_owned(),
            grouped(audit.exhausted),
            "each would be blamed on the target".to_owned(),
        ],
        ["Threads that drove devices".to_owned(), audit.shards.to_string(), String::new()],
    ];
    let columns = [Column::Words("Measure"), Column::Number("Value"), Column::Words("Beside it")];
    table("What the generator used", &columns, rows.map(Vec::from))
}
