//! The command line. The documentation here is what `--help` prints.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "a terminal shows this text as it stands"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
  fleetstorm mock                                    the mock alone: HTTPS on 127.0.0.1:8443, MQTT on 8883

Exit codes:
  0 passed   1 internal error   2 usage or invalid scenario   10 an objective failed
  11 an objective had no data   12 the run is untrusted (the generator was the limit)
  14 target unreachable or preflight failed   15 a safety ceiling was hit   130 interrupted";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a scenario; leaves run.json and report.html
    Run(RunArguments),
    /// Run the mock of the service alone, until it is interrupted
    Mock(MockArguments),
    /// Render a record (run.json) again, as HTML, Markdown or text
    Report(ReportArguments),
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

    /// Which clock drives the run
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: ClockChoice,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    /// Threads that drive devices. Default: all cores, less one for an embedded mock
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shards: Option<u32>,

    #[command(flatten)]
    pub(crate) changes: Changes,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockChoice {
    /// Real sockets and TLS, in real time
    #[default]
    Wall,
    /// The same bytes over in-memory pipes, in virtual time: fast, and the same record for the same seed
    Wired,
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
#[derive(Args)]
pub(crate) struct Changes {
    /// Replace a value of the file, such as fleet.devices=500 or cohort.0.retry.cap_ms=60000; may be repeated.
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
/// When it listens, it prints one line of JSON: {"event":"ready","https":"127.0.0.1:8443","mqtt":"127.0.0.1:8883","ca":"<file>",...}. Without a
/// configuration it plays a demo: id scope 0ne00F1EE75, hubs demo-hub-1 and demo-hub-2, the symmetric-key group
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

/// Render a record (run.json) again, as HTML, Markdown or text.
#[derive(Args)]
pub(crate) struct ReportArguments {
    /// The record
    pub(crate) record: PathBuf,

    /// File to write; its ending (.html, .md, .txt) chooses the form. Default: text on standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
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
