//! The `fleetstorm` command: arguments, progress and exit codes. What is done is done by the engine.

#![forbid(unsafe_code)]

mod arguments;
mod diagnostics;
mod failure;
mod files;
mod logs;
mod mock;
mod progress;
mod report;
mod run;
mod scenario;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;
use fleetstorm_engine::Registry;

use arguments::{Arguments, Command, ScenarioCommand};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Mock(arguments) => mock::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Logs(arguments) => logs::logs(&arguments),
        Command::Reconcile(arguments) => logs::compare(&arguments),
        Command::Scenario { command } => match command {
            ScenarioCommand::Check(arguments) => scenario::check(&arguments),
            ScenarioCommand::Explain(arguments) => scenario::explain(&arguments),
            ScenarioCommand::Schema => scenario::schema(),
        },
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The plugins that are linked into the command.
fn registry() -> Registry {
    Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_x509::ENTRY,
    ])
}
