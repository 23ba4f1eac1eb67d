//! How the command ends when something is in the way: what was being done, what went wrong, where, what to do.

use std::path::Path;

use fleetstorm_engine::{MockError, ResolveError, RunError, WriteError};
use fleetstorm_model::scenario::Problems;
use fleetstorm_reports::analysis::Outcome;

use crate::{diagnostics, terminal};

/// Why the command cannot do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A file has mistakes, each with its place.
    Problems(Problems),
    /// Another process has done the command, and said what there was to say.
    Elsewhere(u8),
    /// Anything else: a sentence and an exit code.
    Told { message: String, exit_code: u8 },
}

/// The user asked for something that cannot be.
pub(crate) const USAGE: u8 = 2;
/// The world is not ready for it.
const PREFLIGHT: u8 = 14;
/// The user asked for the end.
pub(crate) const INTERRUPTED: u8 = 130;
/// It is nobody's fault but ours, or the disk's.
pub(crate) const INTERNAL: u8 = 1;

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

    /// The directory for results cannot be used: said before the run, not after it.
    pub(crate) fn unwritable(error: &WriteError) -> Self {
        Self::Told { message: error.to_string(), exit_code: PREFLIGHT }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Problems(_) => USAGE,
            Self::Elsewhere(code) => *code,
            Self::Told { exit_code, .. } => *exit_code,
        }
    }

    /// Prints it to standard error, in colour on a terminal.
    pub(crate) fn print(&self) {
        let colour = terminal::colours(&std::io::stderr());
        match self {
            Self::Problems(problems) => eprintln!("{}", diagnostics::render(problems, colour)),
            Self::Elsewhere(_) => {}
            Self::Told { message, .. } if colour => eprintln!("\x1b[1;31merror\x1b[0m: {message}"),
            Self::Told { message, .. } => eprintln!("error: {message}"),
        }
    }
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
