//! `fleetstorm logs` and `fleetstorm reconcile`: what the service has written, and what the devices saw of it.

use fleetstorm_engine::service_log::{Digest, Filter, LogError, Reconciliation, Tally, digest, reconcile};
use fleetstorm_model::protocol::code;
use fleetstorm_model::shown::printable;

use crate::arguments::record::{LogsArguments, ReconcileArguments};
use crate::failure::Failure;
use crate::report::read;

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
    let Digest { tallies, summary } = digest(&arguments.file, &filter, IDS)?;
    println!("{} lines{}", summary.rows, skipped(summary.skipped));
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
    let [operation, result, description] =
        [&*like.operation, &*like.result, &*like.description].map(printable);
    println!("\n{:>9}  {operation} {result} {number}  {description}", tally.count);
    let ids: Vec<String> =
        tally.ids.iter().map(|(id, count)| format!("{} ({count})", printable(id))).collect();
    let rest = tally.distinct_ids.saturating_sub(ids.len() as u64);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    println!("           for {}{rest}", ids.join(", "));
    if let Some((from, to)) = tally.span {
        println!("           over {:.1} s", to.saturating_sub(from) as f64 / 1e9);
    }
    if let Some(entry) = code::lookup(like.status, like.code).filter(|entry| entry.code >= 400) {
        println!("           {}", entry.action);
    }
}

pub(crate) fn compare(arguments: &ReconcileArguments) -> Result<u8, Failure> {
    let record = read(&arguments.record)?;
    let both = reconcile(&record, &arguments.azure_logs)?;
    show(&both);
    Ok(if both.differences() == 0 { 0 } else { DIFFERENT })
}

fn show(both: &Reconciliation) {
    println!("{} lines{}", both.summary.rows, skipped(both.summary.skipped));
    println!(
        "\n{:<10} {:>7} {:>10} {:>14} {:>14}",
        "operation", "code", "both", "devices only", "service only"
    );
    for side in &both.sides {
        let number = if side.code == 0 { u32::from(side.status) } else { side.code };
        println!(
            "{:<10} {number:>7} {:>10} {:>14} {:>14}",
            printable(&side.operation),
            side.both,
            side.devices_only,
            side.service_only
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
        println!("{} requests got no answer: the service may have logged them or not", both.unanswered);
    }
    if let Some(offset) = both.clock_offset_ns {
        println!("the service's clock is {:+.3} s off the devices'", offset as f64 / 1e9);
    }
    match both.differences() {
        0 => println!("no difference"),
        one => println!("{one} answers are known to one side only"),
    }
}

fn skipped(lines: u64) -> String {
    if lines == 0 { String::new() } else { format!(", {lines} without an operation or a status") }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::usage(error.to_string())
    }
}
