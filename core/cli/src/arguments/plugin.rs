//! Libraries with strategies and attestations.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::PluginOptions;

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
/// What it pulls in is named: its hash does not cover that.
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
