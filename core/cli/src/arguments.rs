//! The command line. The documentation here is what `--help` prints.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "a terminal shows this text as it stands"
)]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fleetstorm_engine::Timing;
use fleetstorm_model::scenario::{Duration, Rate};

/// Load tester and chaos harness for fleets that register with Azure IoT Hub Device Provisioning Service.
///
/// A scenario says how many devices boot when, how they attest, what they do after a failure, against what they
/// register, and what must hold. `run` runs it and leaves a record and a report.
#[derive(Parser)]
#[command(name = "fleetstorm", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  fleetstorm run scenarios/quickstart.toml           2,000 devices against the embedded mock
  fleetstorm scenario explain scenarios/staggered.toml
  fleetstorm forecast scenarios/staggered.toml --devices 1000000
  fleetstorm compare scenarios/compare-retry-strategies.toml
  fleetstorm mock                                    the mock alone: HTTPS on 127.0.0.1:8443, MQTT on 8883, AMQP on 5671

Exit codes:
  0 passed   1 internal error   2 usage or invalid scenario   10 an objective failed
  11 an objective had no data, or a fault never hit
  12 the run is untrusted (the generator was the limit) or not all of it could be judged
  13 worse than the baseline (diff --fail-on-regression)
  14 target unreachable or preflight failed   15 a safety ceiling was hit   130 interrupted";

#[derive(Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Mock(MockArguments),
    Report(ReportArguments),
    Diff(DiffArguments),
    Explain(ExplainArguments),
    Forecast(ForecastArguments),
    Compare(CompareArguments),
    Capacity(CapacityArguments),
    Plan(RolloutArguments),
    Fidelity(FidelityArguments),
    Calibrate(CalibrateArguments),
    Enroll(EnrollArguments),
    Clean(CleanArguments),
    Logs(LogsArguments),
    Reconcile(ReconcileArguments),
    /// List, describe and check retry strategies and attestations
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Tries a library in a process of its own
    #[command(hide = true, name = crate::plugin::PROBE)]
    PluginProbe {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Plan faults, and cut failed runs down to the faults that matter
    Chaos {
        #[command(subcommand)]
        command: ChaosCommand,
    },
    /// Check, explain or describe scenario files
    Scenario {
        #[command(subcommand)]
        command: ScenarioCommand,
    },
}

/// Run a scenario; leaves run.json and report.html.
///
/// The summary goes to standard output, progress to standard error. The exit code says whether the objectives held
/// (see `fleetstorm --help`). Ctrl-C ends the run with what there is: a record, a report and exit code 130.
#[derive(Args)]
pub(crate) struct RunArguments {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

    /// Directory for run.json and report.html; earlier results there are replaced. Default:
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
    /// repeated. Before the arrow: register, poll, lookup or any; when; and, if wanted, a chance with its unit (device,
    /// connection, request), a ceiling (x20) and `first 2/device`
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
    /// watched as the report's practices are: all of up to 10,000, a sample of a larger fleet
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Trace this device only, by its registration id or its number; may be repeated
    #[arg(long, value_name = "DEVICE", requires = "trace")]
    pub(crate) trace_device: Vec<String>,

    /// Size at which the trace ends, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, requires = "trace")]
    pub(crate) trace_limit: u32,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Libraries of one's own.
#[derive(Args, Clone, Default)]
pub(crate) struct PluginOptions {
    /// Load a shared library with strategies or attestations: a path, or a name to look for in
    /// FLEETSTORM_PLUGIN_PATH; may be repeated. A native library has all the rights of this process, so it is only
    /// opened if its hash is allowed
    #[arg(long, value_name = "PATH")]
    pub(crate) plugin: Vec<String>,

    /// Allow the library whose file has this hash, as `fleetstorm plugin check` prints it; may be repeated
    #[arg(long, value_name = "SHA256")]
    pub(crate) allow_plugin: Vec<String>,

    /// Lock file with the names, versions and hashes of the libraries that are allowed. Default: plugins.lock, if it
    /// is there
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin_lock: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum PluginCommand {
    /// List what there is, built in and loaded
    List(PluginListArguments),
    /// Describe one and its parameters
    Describe(PluginDescribeArguments),
    Check(PluginCheckArguments),
    /// Write a crate with a strategy or attestation to begin with
    New(PluginNewArguments),
}

#[derive(Args)]
pub(crate) struct PluginListArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) options: PluginOptions,
}

#[derive(Args)]
pub(crate) struct PluginDescribeArguments {
    /// Its name, such as full-jitter
    pub(crate) name: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) options: PluginOptions,
}

#[derive(Args)]
pub(crate) struct PluginNewArguments {
    /// Its name, such as acme-backoff; the crate is written into a folder of that name
    pub(crate) name: String,

    /// What it brings
    #[arg(long, value_enum)]
    pub(crate) kind: PluginKind,

    /// Folder of the crate fleetstorm-plugin
    #[arg(long, value_name = "DIR", default_value = "plugins/sdk")]
    pub(crate) sdk: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PluginKind {
    /// A retry strategy
    Retry,
    /// An attestation
    Attestation,
}

/// Try a library, and examine its retry strategies.
///
/// A library is opened in a process of its own first, with a time limit, so that one that crashes or hangs does no harm.
/// If it is allowed (--allow-plugin, or the lock file), its retry strategies are examined: whether they are
/// deterministic, overflow, keep their jitter, heed Retry-After and stop at errors that waiting does not cure. A built-in
/// strategy is examined by its name. Exit code 10 if an examination finds a defect.
#[derive(Args)]
pub(crate) struct PluginCheckArguments {
    /// A shared library, or the name of a built-in strategy
    pub(crate) subject: String,

    /// Parameters of the strategy, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) parameters: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) options: PluginOptions,
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

/// What replaces values of the file.
#[derive(Args, Clone)]
pub(crate) struct Changes {
    /// Replace a value of the file, such as fleet.devices=500, cohort.0.retry.cap_ms=60000 or cohort.*.park=1h; may be repeated.
    /// The environment does the same: FLEETSTORM_FLEET__DEVICES=500 (two underscores for each dot); --set wins
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.trim().is_empty() => {
            Ok((path.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write a path and a value, such as fleet.devices=500".to_owned()),
    }
}

/// Run the mock of the service alone, until it is interrupted.
///
/// When it listens, it prints one line of JSON: {"event":"ready","https":"127.0.0.1:8443","mqtt":"127.0.0.1:8883",
/// "amqp":"127.0.0.1:5671","ca":"<file>",...}. Without a configuration it plays a demo: id scope 0ne00F1EE75, hubs demo-hub-1 and demo-hub-2, the symmetric-key group
/// `demo-keys` and the X.509 group `demo-certificates`. A fleet knows the demo's keys: `fleetstorm run SCENARIO
/// --target https://127.0.0.1:8443 --ca <file>`. What it counted is printed as JSON when it ends.
#[derive(Args)]
pub(crate) struct MockArguments {
    /// The mock's file (TOML): id_scope, [listen], [tls], [[hub]], [[enrollment]], [[enrollment_group]], [throttle],
    /// [assignment]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Render a record (run.json) again, or the result of compare or capacity.
///
/// The form is that of --format, else that of the ending of --out, else the text of the terminal.
#[derive(Args)]
pub(crate) struct ReportArguments {
    /// The record: run.json, or what `compare --json` or `capacity --json` wrote
    pub(crate) record: PathBuf,

    /// The form
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatChoice>,

    /// File to write; without --format its ending (.html, .md, .json, .csv, .xml, .prom, .txt) chooses the form.
    /// Default: standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Create the enrollments that a scenario's fleet needs, in a mock or in the real service.
///
/// Groups for devices with keys and certificates, an enrollment each for devices with a TPM. Everything that is made is
/// listed in a ledger, line by line: work that is cut off goes on where it was, and `fleetstorm clean` removes exactly
/// what the ledger lists. Enrollments that were there before are left alone.
#[derive(Args)]
pub(crate) struct EnrollArguments {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

    /// The service endpoint, https://HOST:PORT: a mock, or NAME.azure-devices-provisioning.net, which also needs
    /// [target.consent] in the scenario. Default: the scenario's target
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,

    /// Only say what would be made
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// An enrollment for each device with a symmetric key, rather than a group for all of them
    #[arg(long)]
    pub(crate) individual: bool,

    /// The ledger. Default: fleetstorm-out/<name of the scenario>/enrolled.jsonl
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) operator: OperatorOptions,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Remove what `fleetstorm enroll` has made, with the registrations of its devices.
#[derive(Args)]
pub(crate) struct CleanArguments {
    /// The ledger that `fleetstorm enroll` has left
    pub(crate) ledger: PathBuf,

    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) operator: OperatorOptions,
}

/// Who speaks to the enrollment API. Keys come from files or the environment, never from the command line.
#[derive(Args)]
pub(crate) struct OperatorOptions {
    /// PEM file with the CA of the service. Default: the scenario's, or the system's roots
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// The shared access policy
    #[arg(long, value_name = "NAME", default_value = "provisioningserviceowner")]
    pub(crate) policy: String,

    /// Environment variable that holds the policy's key, base64. Default on this machine: the demo's public key
    #[arg(long, value_name = "VARIABLE", conflicts_with = "key_file")]
    pub(crate) key_env: Option<String>,

    /// File that holds the policy's key, base64
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// The service's quota of operations; four fifths of it are used. Default: the policy profile's
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<Rate>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FormatChoice {
    /// The page for a review
    Html,
    /// A comment on a change
    Markdown,
    /// The record itself
    Json,
    /// Numbers by name, for a spreadsheet
    Csv,
    /// A test case for each objective and best practice
    Junit,
    /// Metrics for a collector
    Prometheus,
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

    /// The form
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DiffFormat,

    /// File to write. Default: standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// A change below this share of the base does not matter
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub(crate) margin: f64,

    /// End with exit code 13 if the later run is worse
    #[arg(long)]
    pub(crate) fail_on_regression: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum DiffFormat {
    /// Text for a terminal
    #[default]
    Text,
    /// JSON
    Json,
    /// A page
    Html,
}

/// Explain a code (429, 401002, connect-timeout), or tell a device's life (run.json dev-000042).
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
}

/// Forecast a run in virtual time, up to a million devices in seconds.
///
/// The short form of `run --clock virtual`: the same devices, strategies and throttle, with network and service times
/// from the scenario's [network] (`calibrate` measures them). Leaves a record and a report like a run.
#[derive(Args)]
pub(crate) struct ForecastArguments {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

    /// Devices of the fleet. Default: as the scenario says
    #[arg(long, value_name = "N")]
    pub(crate) devices: Option<u32>,

    /// Directory for run.json and report.html. Default: fleetstorm-out/<name of the scenario>
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Compare retry strategies under several throttles, with statistics.
///
/// Runs a scenario's [compare]: every strategy against every throttle model with the same seeds, in virtual time on all
/// cores or by the wall clock one after the other. The run is the replicate; differences come with intervals, and a tie is called a tie.
#[derive(Args)]
pub(crate) struct CompareArguments {
    /// The scenario file (TOML) with [compare]
    pub(crate) scenario: PathBuf,

    /// Which clock drives the runs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: TimingChoice,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Search the largest fleet or rate, or the smallest quota, with which the objectives hold.
#[derive(Args)]
pub(crate) struct CapacityArguments {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

    /// What is varied
    #[arg(long, value_enum, default_value_t = VaryChoice::Devices)]
    pub(crate) vary: VaryChoice,

    /// An objective that must hold, instead of the scenario's; may be repeated
    #[arg(long, value_name = "OBJECTIVE")]
    pub(crate) slo: Vec<String>,

    /// Smallest value that is tried
    #[arg(long, default_value_t = 1.0)]
    pub(crate) low: f64,

    /// Largest value that is tried
    #[arg(long, default_value_t = 1_000_000.0)]
    pub(crate) high: f64,

    /// The search ends when it knows the value to this share of it
    #[arg(long, default_value_t = 0.02)]
    pub(crate) precision: f64,

    /// Seeds of a probe on which seeds disagree
    #[arg(long, default_value_t = 9)]
    pub(crate) repeats: u32,

    /// Which clock drives the runs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: TimingChoice,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// The clock of many runs.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimingChoice {
    /// Virtual time, a run on each core
    #[default]
    Virtual,
    /// Real sockets and TLS in real time, one run after the other
    Wall,
}

impl TimingChoice {
    pub(crate) const fn timing(self) -> Timing {
        match self {
            Self::Virtual => Timing::Virtual,
            Self::Wall => Timing::Wall,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum VaryChoice {
    /// The number of devices
    Devices,
    /// The arrival rate, in devices a minute
    Rate,
    /// The quota, in registrations a minute
    Quota,
}

/// Plan a rollout: batches, window, DPS instances and hub units that a fleet needs.
///
/// Says what the documented limits allow, with the arithmetic, or that it is impossible and why (exit code 10).
#[derive(Args)]
pub(crate) struct RolloutArguments {
    /// Devices of the fleet
    #[arg(long, value_name = "N")]
    pub(crate) devices: u32,

    /// Time in which all of them must have had their turn, such as 30m
    #[arg(long, value_name = "TIME")]
    pub(crate) within: Duration,

    /// Registrations that one DPS instance allows
    #[arg(long, value_name = "RATE", default_value = "1000/min")]
    pub(crate) quota: Rate,

    /// From one batch to the next
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(crate) interval: Duration,

    /// Retry strategy of the devices, with which the plan is tried in virtual time: a name, or a table such as
    /// '{ kind = "full-jitter", cap_ms = 60000 }'
    #[arg(long, value_name = "STRATEGY", default_value = "full-jitter")]
    pub(crate) strategy: String,

    /// Write the schedule as CSV: device, seconds, instance
    #[arg(long, value_name = "FILE")]
    pub(crate) schedule: Option<PathBuf>,

    /// Write a scenario that tries the plan
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,
}

/// Say how far a forecast is from a measured run of the same scenario.
#[derive(Args)]
pub(crate) struct FidelityArguments {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

    /// The record of a run by the wall clock. Without it, one is made now
    #[arg(long, value_name = "RUN.JSON")]
    pub(crate) measured: Option<PathBuf>,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Print a [network] and a throttle, as a scenario reads them, that fit a measured run.
#[derive(Args)]
pub(crate) struct CalibrateArguments {
    /// The record
    pub(crate) record: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum ChaosCommand {
    Plan(ChaosPlanArguments),
    Shrink(ChaosShrinkArguments),
}

/// Print when each fault of a scenario will be on, and whom it can hit, without running anything.
#[derive(Args)]
pub(crate) struct ChaosPlanArguments {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

    /// Add a fault, as for `run`; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub(crate) chaos: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Cut the scenario of a failed run in virtual time down to a small one that fails in the same way.
///
/// Runs it again and again with fewer faults, then with simpler and smaller ones, then with fewer devices. Ctrl-C leaves
/// the smallest scenario that was found until then, and exit code 130.
#[derive(Args)]
pub(crate) struct ChaosShrinkArguments {
    /// The record of the failed run: run.json of `fleetstorm run --clock virtual` or `--clock wired`
    pub(crate) record: PathBuf,

    /// File for the small scenario. Default: shrunk.toml beside the record
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// What must go on failing, as the record spells it: an objective, a fault, a guardrail or the id of a practice.
    /// Default: the first that decides about the verdict
    #[arg(long, value_name = "NAME")]
    pub(crate) keep: Option<String>,

    /// Most runs
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    /// Do not tell of each run
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,
}

#[derive(Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Check a scenario without running it
    Check(ScenarioArguments),
    /// Say in words what a scenario will do
    Explain(ScenarioArguments),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
}

#[derive(Args)]
pub(crate) struct ScenarioArguments {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn assignments_need_a_path() {
        assert_eq!(assignment("a.b = 5").unwrap(), ("a.b".into(), "5".into()));
        assert_eq!(assignment("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(assignment("a.b").is_err() && assignment("=5").is_err());
    }
}
