//! Runs and the mock.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Changes, ScenarioOptions};

/// Run a scenario; leaves run.json and report.html.
///
/// The summary goes to standard output, progress to standard error. The exit code says whether the objectives held
/// (see `fleetstorm --help`). Ctrl-C ends the run with what there is: a record, a report and exit code 130.
#[derive(Args)]
pub(crate) struct RunArguments {
    /// Directory for run.json and report.html, of one run at a time; earlier results there are replaced. Default:
    /// fleetstorm-out/<name of the scenario>
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Seed of everything random: boots, waits, the mock's delays
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// What to register against instead of the scenario's target: `mock`, or https://HOST:PORT of a server.
    /// A host that is not this machine also needs [target.consent] in the scenario
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,

    /// PEM file with the CA of the target, such as the one that `fleetstorm mock` writes
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Add a fault to the scenario's, such as 'register @60s..105s 5%/request -> 429(retry-after=30)'; may be
    /// repeated. Before the arrow: register, poll, lookup, dps, hub or any; for whom, if not for all (`for dev-000001`); when; and, if wanted, a chance with its unit (device,
    /// connection, request, packet), a ceiling (x20) and `first 2/device`. Behind it: a status, a word such as quota(50%) or
    /// reset(after-request), or any kind of a scenario with its values, such as http.body(truncated),
    /// net.latency(50ms..2s) or fleet.power-outage(off=90s, keep-cache=0%)
    #[arg(long, value_name = "FAULT")]
    pub(crate) chaos: Vec<String>,

    /// How every cohort speaks to the service: https, mqtt, mqtt-ws, amqp or amqp-ws
    #[arg(long, value_name = "TRANSPORT")]
    pub(crate) transport: Option<String>,

    /// Which clock drives the run
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: ClockChoice,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    /// Threads that drive devices. Default: all cores, less one for an embedded mock
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shards: Option<u32>,

    /// Serve the live numbers to a Prometheus while the run lasts, such as at 127.0.0.1:9464
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics: Option<SocketAddr>,

    /// Write what each watched device does to this file, a JSON object a line, for `fleetstorm explain`; devices are
    /// watched as the report's practices are: all of up to 10,000, a sample of a larger fleet. An earlier trace is replaced, any
    /// other file refused
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Trace this device only, by its registration id or its number; may be repeated
    #[arg(long, value_name = "DEVICE", requires = "trace")]
    pub(crate) trace_device: Vec<String>,

    /// Size at which the trace ends, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, requires = "trace")]
    pub(crate) trace_limit: u32,

    #[command(flatten)]
    pub(crate) source: ScenarioOptions,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockChoice {
    /// Real sockets and TLS, in real time
    #[default]
    Wall,
    /// The same bytes over in-memory pipes, in virtual time: fast, and the same record for the same seed
    Wired,
    /// Direct calls in virtual time: a million devices; network and service times come from [network]
    Virtual,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressChoice {
    /// A live display on a terminal, else plain lines
    #[default]
    Auto,
    /// A line every few seconds
    Plain,
    /// A JSON object a second
    Json,
    /// Nothing
    None,
}

/// Run the mock of the service alone, until it is interrupted.
///
/// When it listens, it prints one line of JSON: {"event":"ready","https":"127.0.0.1:8443","mqtt":"127.0.0.1:8883",
/// "amqp":"127.0.0.1:5671","ca":"<file>",...}. Without a configuration it plays a demo: id scope 0ne00F1EE75, hubs demo-hub-1 and demo-hub-2, the symmetric-key group
/// `demo-keys` and the X.509 group `demo-certificates`. A fleet knows the demo's keys: `fleetstorm run SCENARIO
/// --target https://127.0.0.1:8443 --ca <file>`. What it counted is printed as JSON when it ends.
///
/// Everything that it learns is in memory: a restart forgets registrations, twins, counters, and enrollments that were made
/// through its API. What its file and its seed say is the same again; its log is added to.
#[derive(Args)]
pub(crate) struct MockArguments {
    /// The mock's file (TOML): id_scope, [listen], [tls], [limits], [[hub]], [[enrollment]], [[enrollment_group]],
    /// [[certificate]], [throttle], [assignment], [[chaos]]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Add a fault to the file's, timed from the mock's start, such as 'register for dev-1 @0s first 2/device ->
    /// 429(retry-after=7)'; may be repeated. What `run --chaos` says of faults of the service and its doors holds here
    #[arg(long, value_name = "FAULT")]
    pub(crate) chaos: Vec<String>,

    #[command(flatten)]
    pub(crate) changes: Changes,
}
