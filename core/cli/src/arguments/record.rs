//! What is read from records and logs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fleetstorm_engine::service_log::{Reading, Zone};

use super::PluginOptions;

/// Render a record (run.json) again, or the result of compare, capacity, plan or fidelity.
///
/// The form is that of --format, else that of the ending of --out, else the text of the terminal.
#[derive(Args)]
pub(crate) struct ReportArguments {
    /// The record: run.json, or what --json of compare, capacity, plan or fidelity wrote
    pub(crate) record: PathBuf,

    /// The form
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatChoice>,

    /// File to write; without --format its ending (.html, .md, .json, .csv, .xml, .prom, .hgrm, .txt) chooses the form.
    /// Default: standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// JUnit: a best practice that was broken is a failure, though the run passed
    #[arg(long)]
    pub(crate) strict_practices: bool,

    /// hgrm: the phase, such as register, or register/throttled for those that did not succeed
    #[arg(long, value_name = "PHASE", default_value = "time-to-assigned")]
    pub(crate) phase: String,

    /// perfetto: the run's trace. Default: the one that the record names
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FormatChoice {
    /// The page for a review
    Html,
    /// A comment on a change
    Markdown,
    /// All of it, for a program
    Json,
    /// Numbers by name, for a spreadsheet
    Csv,
    /// A test case for each objective and best practice
    Junit,
    /// Metrics for a collector
    Prometheus,
    /// The latency distribution of a --phase, for HdrHistogram's plotter
    Hgrm,
    /// The run's --trace, for ui.perfetto.dev: a track for each device, and the faults above them
    Perfetto,
    /// The summary of the terminal
    Text,
}

/// Hold a record against an earlier one.
///
/// Says first how the two runs differ in what was run, then which quantiles have moved, with intervals, and which codes
/// have appeared.
#[derive(Args)]
pub(crate) struct DiffArguments {
    /// The earlier record
    pub(crate) base: PathBuf,

    /// The later record
    pub(crate) new: PathBuf,

    /// The form: html, markdown, json, junit or text
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatChoice>,

    /// File to write; without --format its ending (.html, .md, .json, .xml, .txt) chooses the form. Default: standard
    /// output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// A change below this share of the base does not matter
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub(crate) margin: f64,

    /// End with exit code 13 if the later run is worse, 12 if one of the two did not come to its end or is not to be
    /// trusted, and 11 if they have nothing to compare
    #[arg(long)]
    pub(crate) fail_on_regression: bool,
}

/// Explain a code (429, 401002, connect-timeout), what went wrong in a run (run.json), or tell a device's life (run.json
/// dev-000042).
///
/// A life of a run in virtual time is told by running the record's scenario again with an eye on that device. A run by
/// the wall clock cannot be had again: its lives are told from the trace that `fleetstorm run --trace FILE` leaves, found
/// beside the record or named with --trace.
#[derive(Args)]
pub(crate) struct ExplainArguments {
    /// An HTTP status, a six-digit code, the name of a transport error, or a record
    #[arg(value_name = "CODE | RECORD")]
    pub(crate) what: String,

    /// The device whose life is told, by its registration id or its number
    pub(crate) device: Option<String>,

    /// The trace of the record's run
    #[arg(long, value_name = "FILE", requires = "device")]
    pub(crate) trace: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,
}

/// Count what a service has logged: what failed, how often, and for whom.
///
/// The file is the mock's own resource log (`[mock.log]` of a scenario, `[log]` of a mock's file) or an export of Azure
/// Monitor's DeviceOperations and ServiceOperations, as JSON lines, a JSON array or CSV.
#[derive(Args)]
pub(crate) struct LogsArguments {
    /// The log
    pub(crate) file: PathBuf,

    /// Only this OperationName, such as AttestationAttempt
    #[arg(long, value_name = "NAME")]
    pub(crate) operation: Option<String>,

    /// Only this ResultType, such as ClientError. Default: everything but Success
    #[arg(long, value_name = "TYPE")]
    pub(crate) result: Option<String>,

    /// Only this HTTP status or six-digit code
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<u32>,

    /// Kinds of line to show, most frequent first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,

    #[command(flatten)]
    pub(crate) times: TimeOptions,
}

/// What a log does not say of its times.
#[derive(Args)]
pub(crate) struct TimeOptions {
    /// Where the log's times are from, if they name no zone: an offset such as +02:00, or UTC
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    time_zone: Option<Zone>,

    /// Which comes first in the log's dates. Default: what the file shows by a day beyond the twelfth
    #[arg(long, value_name = "ORDER")]
    date_order: Option<DateOrder>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum DateOrder {
    MonthFirst,
    DayFirst,
}

impl TimeOptions {
    pub(crate) fn reading(&self) -> Reading {
        let day_first = self.date_order.map(|order| order == DateOrder::DayFirst);
        Reading { zone: self.time_zone, day_first }
    }
}

/// Hold what the devices saw against what the service logged.
///
/// Answers are joined by operation and code. The exit code is 0 if both sides tell the same story, and 10 if not.
#[derive(Args)]
pub(crate) struct ReconcileArguments {
    /// The record of the run (run.json)
    pub(crate) record: PathBuf,

    /// The service's log: the mock's own, or an export of Log Analytics (CSV or JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) azure_logs: PathBuf,

    #[command(flatten)]
    pub(crate) times: TimeOptions,
}
