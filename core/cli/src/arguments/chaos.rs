//! Faults.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{PluginOptions, ScenarioOptions};

#[derive(Subcommand)]
pub(crate) enum ChaosCommand {
    Plan(ChaosPlanArguments),
    Shrink(ChaosShrinkArguments),
}

/// Print when each fault of a scenario will be on, and whom it can hit, without running anything.
#[derive(Args)]
pub(crate) struct ChaosPlanArguments {
    /// Add a fault, as for `run`; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub(crate) chaos: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) source: ScenarioOptions,
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
