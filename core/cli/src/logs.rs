//! `fleetstorm logs` and `fleetstorm reconcile`: what the service has written, and what the devices saw of it.

use fleetstorm_engine::service_log::{
    Digest, Filter, LogError, ReadSummary, Reconciliation, Tally, Times, digest, reconcile,
};
use fleetstorm_protocol::code;
use fleetstorm_units::number::{counted, grouped, nanos};
use fleetstorm_units::shown::printable;

use crate::arguments::record::{LogsArguments, ReconcileArguments};
use crate::failure::Failure;
use crate::report;

/// Ids that are named beside a count.
const IDS: usize = 3;

/// The two sides do not tell the same story.
const DIFFERENT: u8 = 10;

pub(crate) fn logs(arguments: &LogsArguments) -> Result<u8, Failure> {
    let filter = Filter {
        operation: arguments.operation.clone(),
        result: arguments.result.clone(),
        code: arguments.code,
    };
    let Digest { tallies, summary } = digest(&arguments.file, arguments.times.reading(), &filter, IDS)?;
    read(&summary);
    for tally in tallies.iter().take(arguments.top) {
        tell(tally);
    }
    let more = tallies.len().saturating_sub(arguments.top);
    if more > 0 {
        println!("\n{more} more kinds of line (--top {} shows all)", tallies.len());
    }
    if tallies.is_empty() {
        let all = if arguments.result.is_none() { " (--result Success shows the others)" } else { "" };
        println!("nothing failed that the filter admits{all}");
    }
    Ok(0)
}

fn tell(tally: &Tally) {
    let like = &tally.like;
    let number = if like.code == 0 { u32::from(like.status) } else { like.code };
    let number = if number == 0 { "–".to_owned() } else { number.to_string() };
    let [operation, result, description] =
        [&*like.operation, &*like.result, &*like.description].map(printable);
    println!("\n{:>9}  {operation} {result} {number}  {description}", grouped(tally.count));
    let ids: Vec<String> =
        tally.ids.iter().map(|(id, count)| format!("{} ({count})", printable(id))).collect();
    let rest = tally.distinct_ids.saturating_sub(ids.len() as u64);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    println!("           for {}{rest}", ids.join(", "));
    if let Some((from, to)) = tally.span {
        println!("           over {}", nanos(to.saturating_sub(from)));
    }
    if let Some(entry) = code::lookup(like.status, like.code).filter(|entry| entry.code >= 400) {
        println!("           {}", entry.action);
    }
}

pub(crate) fn compare(arguments: &ReconcileArguments) -> Result<u8, Failure> {
    let record = report::read(&arguments.record)?;
    let both = reconcile(&record, &arguments.azure_logs, arguments.times.reading())?;
    show(&both);
    Ok(if both.differences() == 0 { 0 } else { DIFFERENT })
}

fn show(both: &Reconciliation) {
    read(&both.summary);
    println!(
        "\n{:<10} {:>7} {:>10} {:>14} {:>14}",
        "operation", "code", "both", "devices only", "service only"
    );
    for side in &both.sides {
        let number = match (side.status, side.code) {
            (0, _) => "2xx".to_owned(),
            (status, 0) => status.to_string(),
            (_, code) => code.to_string(),
        };
        println!(
            "{:<10} {number:>7} {:>10} {:>14} {:>14}",
            printable(&side.operation),
            grouped(side.both),
            grouped(side.devices_only),
            grouped(side.service_only)
        );
    }
    println!();
    for operation in &both.not_logged {
        let operation = printable(operation);
        println!("the log has no line of {operation}: the service may not log it");
    }
    if !both.by_code {
        println!("the log has no six-digit codes: statuses were compared");
    }
    if both.unanswered > 0 {
        let unanswered = counted(both.unanswered, "request");
        println!("{unanswered} got no answer: the service may have logged them or not");
    }
    if let Some(offset) = both.clock_offset_ns {
        let way = if offset < 0 { "behind" } else { "ahead of" };
        println!("the service's clock is {} {way} the devices'", nanos(offset.unsigned_abs()));
    }
    match both.differences() {
        0 => println!("no difference"),
        1 => println!("1 answer is known to one side only"),
        more => println!("{} are known to one side only", counted(more, "answer")),
    }
}

/// How the reading went, and what would make it go better.
fn read(summary: &ReadSummary) {
    let skipped = match summary.skipped {
        0 => String::new(),
        lines => format!(", {} without an operation or a status", grouped(lines)),
    };
    println!("{}{skipped}", counted(summary.rows, "line"));
    match summary.times {
        Times::Known => {}
        Times::Local => println!("its times are local and were left out: say where with --time-zone +02:00"),
        Times::Ambiguous => println!(
            "its dates can be read with the month or the day first, and its times were left out: say which with \
             --date-order month-first or day-first"
        ),
        Times::Unreadable => println!(
            "its times were left out: their form is not known, or not the same in all lines (export them as \
             2026-12-31T18:00:00Z)"
        ),
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::usage(error.to_string())
    }
}
