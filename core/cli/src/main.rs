//! The `fleetstorm` command: arguments, progress and exit codes. What is done is done by the engine.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "Fleetstorm needs Linux (runs and plugins work in processes that it holds by pidfd): build it there, or in a container"
);

/// As the standard library's, but what cannot be told ends nothing: the work is done, and the exit code tells the rest.
macro_rules! print {
    ($($text:tt)*) => { crate::terminal::write_out(format_args!($($text)*)) };
}

/// As [`print`], with the end of a line.
macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}

/// As [`print`], to standard error.
macro_rules! eprint {
    ($($text:tt)*) => { crate::terminal::write_err(format_args!($($text)*)) };
}

/// As [`eprint`], with the end of a line.
macro_rules! eprintln {
    ($($text:tt)*) => { eprint!("{}\n", format_args!($($text)*)) };
}

mod analysis;
mod apart;
mod arguments;
mod chaos;
mod diagnostics;
mod enroll;
mod exit_code;
mod explain;
mod failure;
mod files;
mod import;
mod logs;
mod metrics;
mod mock;
mod once;
mod plugin;
mod progress;
mod report;
mod run;
mod scenario;
mod signals;
mod supervise;
mod terminal;
mod verbose;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::chaos::ChaosCommand;
use arguments::plugin::PluginCommand;
use arguments::{Arguments, Command, ScenarioCommand};
use clap::Parser as _;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match command(&arguments) {
        // With the arguments of the process that waits for this one.
        Ok(Arguments { command: Command::Apart { place, read, arguments: theirs }, .. }) => {
            if let [path, copy] = &read[..]
                && let Ok(text) = std::fs::read_to_string(copy)
            {
                once::keep(path, text);
            }
            let name = arguments.into_iter().take(1);
            apart::serve(&place, || match command(&name.chain(theirs).collect::<Vec<_>>()) {
                Ok(arguments) => work(arguments),
                Err(code) => ended(code),
            })
        }
        Ok(arguments) => work(arguments),
        Err(code) => ended(code),
    }
}

/// What is asked for. What is no command is told, and its exit code comes back: it may be the help, and that is a result.
fn command(arguments: &[OsString]) -> Result<Arguments, u8> {
    Arguments::try_parse_from(arguments).map_err(|told| {
        let told = with_hint(told, arguments);
        let written = told.print();
        if !told.use_stderr() {
            terminal::written(written);
        }
        u8::try_from(told.exit_code()).unwrap_or(exit_code::USAGE)
    })
}

/// The end of a command, for whoever waits for it.
fn ended(code: u8) -> ExitCode {
    let code = terminal::exit_code(code);
    apart::over(code);
    ExitCode::from(code)
}

fn work(Arguments { command, verbose }: Arguments) -> ExitCode {
    verbose::begin(verbose);
    let scenario = command.scenario();
    let done = match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Mock(arguments) => mock::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Diff(arguments) => report::diff(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Forecast(arguments) => analysis::forecast(&arguments),
        Command::Compare(arguments) => analysis::compare(&arguments),
        Command::Capacity(arguments) => analysis::capacity(&arguments),
        Command::Plan(arguments) => analysis::rollout(&arguments),
        Command::Fidelity(arguments) => analysis::fidelity(&arguments),
        Command::Calibrate(arguments) => analysis::calibrate(&arguments),
        Command::Enroll(arguments) => enroll::enroll(&arguments),
        Command::Clean(arguments) => enroll::clean(&arguments),
        Command::Logs(arguments) => logs::logs(&arguments),
        Command::Reconcile(arguments) => logs::compare(&arguments),
        Command::Plugin { command } => match command {
            PluginCommand::List(arguments) => plugin::list(&arguments),
            PluginCommand::Describe(arguments) => plugin::describe(&arguments),
            PluginCommand::Check(arguments) => plugin::check(&arguments),
            PluginCommand::New(arguments) => plugin::new(&arguments),
        },
        Command::PluginProbe { arguments } => return fleetstorm_plugin_host::serve_probe(&arguments),
        Command::Apart { .. } => Err(failure::Failure::usage("this is for the command itself")),
        Command::Chaos { command } => match command {
            ChaosCommand::Plan(arguments) => chaos::plan(&arguments),
            ChaosCommand::Shrink(arguments) => chaos::shrink(&arguments),
        },
        Command::Scenario { command } => match command {
            ScenarioCommand::Check(arguments) => scenario::check(&arguments),
            ScenarioCommand::Explain(arguments) => scenario::explain(&arguments),
            ScenarioCommand::Schema => scenario::schema(),
        },
    };
    let code = done.unwrap_or_else(|failure| {
        let failure = match scenario {
            Some(scenario) => failure.placed(&scenario),
            None => failure,
        };
        failure.print();
        failure.exit_code()
    });
    ended(code)
}

/// Options that a command lacks, as the values of a scenario that they would stand for.
const VALUES: [(&str, &str); 10] = [
    ("--devices", "fleet.devices"),
    ("--arrival", "fleet.arrival"),
    ("--horizon", "horizon"),
    ("--seed", "seed"),
    ("--objectives", "objectives"),
    ("--retry", "cohort.*.retry"),
    ("--strategy", "cohort.*.retry"),
    ("--attestation", "cohort.*.attestation"),
    ("--transport", "cohort.*.transport"),
    ("--throttle", "mock.throttle.profile"),
];

/// The same error, with what to type for an option that is a value of a scenario.
fn with_hint(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let arguments: Vec<String> =
        arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let takes_values = ["run", "compare", "capacity", "fidelity", "chaos", "scenario", "enroll", "forecast"];
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return error;
    };
    let name = unknown.split('=').next().unwrap_or(unknown);
    let known = VALUES.iter().find(|(option, _)| *option == name);
    if let Some((_, path)) =
        known.filter(|_| arguments.first().is_some_and(|first| takes_values.contains(&&**first)))
    {
        let at = arguments.iter().position(|argument| argument.split('=').next() == Some(name));
        let value = at.and_then(|at| match arguments[at].split_once('=') {
            Some((_, value)) => Some(value),
            None => arguments.get(at + 1).map(String::as_str),
        });
        let value = value.filter(|value| !value.starts_with('-')).unwrap_or("VALUE");
        let hint = format!("it is a value of the scenario: --set {path}={value}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}
