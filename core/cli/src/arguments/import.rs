//! Imports.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Write a mock's file from an ARM template, a state of Terraform, or lists of Azure's command line.
///
/// Several files together describe one service: a template or state has the service, its hubs and policies, and only the
/// lists of the command line have enrollments. What is written says where keys and certificates will be and never holds
/// them; what is needed, and what could not be carried over, is told on standard error. Two things of one name that differ
/// stop it, with both places named.
#[derive(Args)]
#[command(after_help = "\
Examples:
  az iot dps show --name my-dps --output json > dps.json
  az iot dps enrollment-group list --dps-name my-dps --output json > groups.json
  az iot dps enrollment list --dps-name my-dps --output json > enrollments.json
  fleetstorm import dps.json groups.json enrollments.json --out mock.toml
  fleetstorm mock --config mock.toml

  bicep build main.bicep --outfile main.json
  fleetstorm import main.json main.parameters.json groups.json --out mock.toml

  terraform show -json > state.json
  fleetstorm import state.json groups.json --keys env --out mock.toml")]
pub(crate) struct ImportArguments {
    /// JSON files, in any order: an ARM template (`bicep build`) and its parameter file, `terraform show -json` of a state or
    /// a plan, and what `az iot dps show`, `linked-hub list`, `policy list`, `certificate list`, `enrollment list` and
    /// `enrollment-group list` print; 32 MiB each at most
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// File to write; an earlier import there is replaced, any other file refused. Default: standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Where the mock will find keys
    #[arg(long, value_enum, default_value_t)]
    pub(crate) keys: KeysChoice,

    /// Which service to import, where the files tell of several
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum KeysChoice {
    /// In files keys/NAME.key beside the mock's file
    #[default]
    File,
    /// In environment variables
    Env,
}
