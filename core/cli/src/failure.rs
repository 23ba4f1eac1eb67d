//! How the command ends when something is in the way: what was being done, what went wrong, where, what to do.

use std::path::Path;

use fleetstorm_engine::RunError;
use fleetstorm_files::WriteError;
use fleetstorm_mock::{MockError, ResolveError};
use fleetstorm_plugin_host::PluginError;
use fleetstorm_reports::analysis::Outcome;
use fleetstorm_scenario::{Problems, Scenario};

use crate::exit_code::{INTERNAL, PREFLIGHT, USAGE};
use crate::{diagnostics, terminal};

/// Why the command cannot do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A file has mistakes, each with its place.
    Problems(Problems),
    /// A plugin that a scenario names cannot be used.
    Plugin(PluginError),
    /// Another process has done the command, and said what there was to say.
    Elsewhere(u8),
    /// Anything else: a sentence and an exit code.
    Told { message: String, exit_code: u8 },
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Told { message: message.into(), exit_code: USAGE }
    }

    /// What was asked for does not hold.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::ended(Outcome::Failed, message)
    }

    /// The work ended before there was anything to show.
    pub(crate) fn ended(outcome: Outcome, message: impl Into<String>) -> Self {
        Self::Told { message: message.into(), exit_code: outcome.exit_code() }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Told { message: message.into(), exit_code: INTERNAL }
    }

    /// A file that was named cannot be read.
    pub(crate) fn unreadable(what: &str, path: &Path, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => match what {
                "scenario" => "; check the path, or look into scenarios/ for the shipped ones",
                "record" => "; check the path: a run leaves its record as run.json in its output directory",
                _ => "; check the path",
            },
            std::io::ErrorKind::InvalidData => "; it must be UTF-8 text",
            _ => "",
        };
        Self::usage(format!("the {what} {} cannot be read: {error}{hint}", path.display()))
    }

    /// The place for results, which `option` names, cannot be used: said before the work, not after it.
    pub(crate) fn unwritable(error: &WriteError, option: &str) -> Self {
        Self::Told { message: format!("{error} ({option})"), exit_code: PREFLIGHT }
    }

    /// The same failure, with the place in the scenario that it is about.
    pub(crate) fn placed(self, scenario: &Path) -> Self {
        let Self::Plugin(error) = &self else { return self };
        let (key, kind, parameter) = error.subject();
        let Ok(text) = crate::once::read(scenario) else { return self };
        let named = Scenario::plugin_path(&text, key, kind, parameter);
        let Some(path) = named.or_else(|| Scenario::plugin_path(&text, key, kind, None)) else { return self };
        let file = scenario.display().to_string();
        Self::Problems(Problems::at(&file, &text, &path, error.to_string(), String::new()))
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Problems(_) | Self::Plugin(_) => USAGE,
            Self::Elsewhere(code) => *code,
            Self::Told { exit_code, .. } => *exit_code,
        }
    }

    /// Prints it to standard error, in colour on a terminal.
    pub(crate) fn print(&self) {
        let colour = terminal::colours(&std::io::stderr());
        match self {
            Self::Problems(problems) => {
                terminal::write_err_styled(&(diagnostics::render(problems, colour) + "\n"));
            }
            Self::Elsewhere(_) => {}
            Self::Plugin(error) => told(&error.to_string(), colour),
            Self::Told { message, .. } => told(message, colour),
        }
    }
}

fn told(message: &str, colour: bool) {
    let error = if colour { "\x1b[1;31merror\x1b[0m" } else { "error" };
    let message = terminal::harmless(format_args!("{message}"));
    terminal::write_err_styled(&format!("{error}: {message}\n"));
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Profile(problems) => Self::Problems(problems),
            RunError::Plugin(error) => Self::Plugin(error),
            error => Self::Told { message: error.to_string(), exit_code: error.exit_code() },
        }
    }
}

impl From<MockError> for Failure {
    fn from(error: MockError) -> Self {
        RunError::from(error).into()
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        RunError::from(error).into()
    }
}
