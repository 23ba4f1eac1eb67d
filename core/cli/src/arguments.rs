//! The command line. The documentation here is what `--help` prints.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "a terminal shows this text as it stands"
)]

pub(crate) mod analysis;
pub(crate) mod chaos;
pub(crate) mod enroll;
pub(crate) mod import;
pub(crate) mod plugin;
pub(crate) mod record;
pub(crate) mod run;

use std::path::PathBuf;

use analysis::{
    CalibrateArguments, CapacityArguments, CompareArguments, FidelityArguments, ForecastArguments,
    RolloutArguments,
};
use chaos::ChaosCommand;
use clap::{Args, Parser, Subcommand};
use enroll::{CleanArguments, EnrollArguments};
use import::ImportArguments;
use plugin::PluginCommand;
use record::{DiffArguments, ExplainArguments, LogsArguments, ReconcileArguments, ReportArguments};
use run::{MockArguments, RunArguments};

/// The hidden subcommand that tries a library in a process of its own.
pub(crate) const PROBE: &str = "plugin-probe";
/// The hidden subcommand that does a command with libraries in a process of its own.
pub(crate) const APART: &str = "apart";

/// Load tester and chaos harness for fleets that register with Azure IoT Hub Device Provisioning Service.
///
/// A scenario says how many devices boot when, how they attest, what they do after a failure, against what they
/// register, and what must hold. `run` runs it and leaves a record and a report.
#[derive(Parser)]
#[command(name = "fleetstorm", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say on standard error what is done: once for its steps, twice for what lay under failed connections and requests,
    /// three times for connections that were made
    ///
    /// The environment can say it more finely: FLEETSTORM_LOG=fleetstorm_net=trace,info is a level for each part, and
    /// wins. Live progress gives way to plain lines.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  fleetstorm run scenarios/quickstart.toml           2,000 devices against the embedded mock
  fleetstorm scenario explain scenarios/staggered.toml
  fleetstorm forecast scenarios/staggered.toml --devices 1000000
  fleetstorm compare scenarios/compare-retry-strategies.toml
  fleetstorm mock                                    the mock alone: HTTPS on 127.0.0.1:8443, MQTT on 8883, AMQP on 5671
  fleetstorm import dps.json groups.json --out mock.toml   a mock's file from what Azure's command line prints

Exit codes:
  0 passed   1 internal error   2 usage or invalid scenario   10 an objective failed
  11 there was no objective, one had no data, or a fault never hit
  12 the run is untrusted (the generator was the limit) or not all of it could be judged
  13 worse than the baseline (diff --fail-on-regression)
  14 target unreachable or preflight failed   15 a safety ceiling was hit   130 interrupted";

#[derive(Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Mock(MockArguments),
    Import(ImportArguments),
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
    #[command(hide = true, name = PROBE)]
    PluginProbe {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Does a command that opens libraries
    #[command(hide = true, name = APART)]
    Apart {
        place: PathBuf,
        /// What has been read of this path, in this file
        #[arg(long, num_args = 2)]
        read: Vec<PathBuf>,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
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

impl Command {
    /// The scenario that the command is about.
    pub(crate) fn scenario(&self) -> Option<PathBuf> {
        let source = match self {
            Self::Run(RunArguments { source, .. })
            | Self::Forecast(ForecastArguments { source, .. })
            | Self::Compare(CompareArguments { source, .. })
            | Self::Capacity(CapacityArguments { source, .. })
            | Self::Fidelity(FidelityArguments { source, .. })
            | Self::Enroll(EnrollArguments { source, .. })
            | Self::Chaos { command: ChaosCommand::Plan(chaos::ChaosPlanArguments { source, .. }) }
            | Self::Scenario { command: ScenarioCommand::Check(source) | ScenarioCommand::Explain(source) } => {
                source
            }
            _ => return None,
        };
        Some(source.scenario.clone())
    }
}

#[derive(Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Check a scenario without running it
    Check(ScenarioOptions),
    /// Say in words what a scenario will do
    Explain(ScenarioOptions),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
}

/// A scenario, what replaces values of it, and the libraries that it may use.
#[derive(Args, Clone)]
pub(crate) struct ScenarioOptions {
    /// The scenario file (TOML)
    pub(crate) scenario: PathBuf,

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

/// What replaces values of the file.
#[derive(Args, Clone)]
pub(crate) struct Changes {
    /// Replace a value of the file, such as fleet.devices=500, cohort.0.retry.cap_ms=60000 or cohort.*.park=1h; may be repeated.
    /// The environment does the same: FLEETSTORM_FLEET__DEVICES=500 (two underscores for each dot); --set wins. Paths in the
    /// file begin where it is, paths here in the current directory
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
