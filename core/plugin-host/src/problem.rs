//! Why a library or a part cannot be used.

use super::kind::Kind;

/// A library cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the plugin {library}: {problem}")]
pub struct LoadError {
    /// Its file, or its name where it is linked.
    pub library: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a library.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// Nothing of this name lies on the search path.
    #[error("there is no such file, nor a library of this name in: {0}")]
    NotFound(String),
    /// Anybody may change its file.
    #[error(
        "anybody may write to the file, so nobody can vouch for it; run `chmod o-w` on it and check it again"
    )]
    WorldWritable,
    /// Its file is too large to be a plugin.
    #[error("the file has more than {0} bytes")]
    TooLarge(u64),
    /// It is no shared library of this system.
    #[error("the file is no ELF shared library")]
    NotALibrary,
    /// It is for another machine.
    #[error("the library is for {found}, this program for {host}")]
    WrongArchitecture {
        /// What it is for.
        found: String,
        /// What this program is for.
        host: &'static str,
    },
    /// Nobody allowed it.
    #[error(
        "it has not been allowed. A native plugin gets all rights of this program; if you trust it, pass \
         `--allow-plugin {sha256}` or list it in plugins.lock"
    )]
    NotAllowed {
        /// The SHA-256 of its file.
        sha256: String,
    },
    /// The lock file allows this file under another name or version.
    #[error("plugins.lock allows this file as {locked}, but it calls itself {found}")]
    OtherThanLocked {
        /// Name and version in the lock file.
        locked: String,
        /// Name and version it gives itself.
        found: String,
    },
    /// The system refuses to open it.
    #[error("the system cannot open it: {0}")]
    NotOpened(String),
    /// Its sealed copy could not be made.
    #[error("a sealed copy of the file cannot be made: {0}")]
    NotSealed(std::io::Error),
    /// It does not export an entry.
    #[error("it exports no `{symbol}`, which its file name asks for")]
    NoEntry {
        /// The symbol.
        symbol: String,
    },
    /// The entry is not one.
    #[error("what it exports is no plugin entry")]
    NotAnEntry,
    /// It speaks another version of the interface.
    #[error("it is built for version {found} of the plugin interface, this program speaks version {host}")]
    Version {
        /// Its major version.
        found: u32,
        /// The host's.
        host: u32,
    },
    /// A structure is smaller than the interface's first version had it.
    #[error("its {what} has {found} bytes, where the plugin interface needs {needed}")]
    TooSmall {
        /// Which structure.
        what: &'static str,
        /// Its size.
        found: u32,
        /// The least there must be.
        needed: u32,
    },
    /// Something that must be there is not, or is out of its range.
    #[error("{what} {why}")]
    Invalid {
        /// What.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It says that its configuration is described, and it is not.
    #[error("the schema of `{id}` is no JSON Schema of an object: {why}")]
    Schema {
        /// The part.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two parts of a kind have the same id.
    #[error("there is already a {kind} `{id}`, in `{other}`")]
    Duplicate {
        /// Which kind.
        kind: Kind,
        /// The id.
        id: String,
        /// The library that has it.
        other: String,
    },
    /// It refuses this host.
    #[error("it refuses to start: {0}")]
    InitRefused(String),
    /// It panicked in `init`.
    #[error("it panicked when it started")]
    InitPanicked,
    /// It ended the process that tried it.
    #[error("it crashed the process that tried it ({0})")]
    Crashed(String),
    /// It did not come back.
    #[error("it did not start within {0} ms")]
    TimedOut(u64),
    /// It was tried and refused.
    #[error("{0}")]
    Refused(String),
    /// The process that tries it cannot be run.
    #[error("the process that tries it first cannot be run: {0}")]
    NoProbe(std::io::Error),
}

/// A part cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Nothing of this kind has this id.
    #[error("there is no {kind} `{id}`{hint}; there are: {known}")]
    Unknown {
        /// What was looked for.
        kind: Kind,
        /// The id that was asked for.
        id: String,
        /// The nearest id, as a question.
        hint: String,
        /// The ids there are.
        known: String,
    },
    /// The plugin refuses its parameters.
    #[error("the {kind} `{id}` refuses its parameters: {reason}{}", taken(parameters))]
    Refused {
        /// What it is.
        kind: Kind,
        /// Its id.
        id: String,
        /// Why.
        reason: String,
        /// The names of the parameters that it takes.
        parameters: Vec<String>,
    },
    /// The plugin panicked.
    #[error("the {kind} `{id}` panicked")]
    Panicked {
        /// What it is.
        kind: Kind,
        /// Its id.
        id: String,
    },
}

impl PluginError {
    /// The same error, with the parameters that the part takes; `schema` describes them.
    pub(super) fn with_parameters(self, schema: &serde_json::Value) -> Self {
        let Self::Refused { kind, id, reason, .. } = self else { return self };
        let names = schema["properties"].as_object().into_iter().flatten();
        // The list below has those of the guard too.
        let reason = reason.split(", expected one of").next().unwrap_or(&reason).to_owned();
        Self::Refused { kind, id, reason, parameters: names.map(|(name, _)| name.clone()).collect() }
    }

    /// What the error is about: its kind as a scenario has it, its id, and the parameter that is wrong.
    pub fn subject(&self) -> (&'static str, &str, Option<&str>) {
        let (Self::Unknown { kind, id, .. } | Self::Refused { kind, id, .. } | Self::Panicked { kind, id }) =
            self;
        let kind = match kind {
            Kind::Retry => "retry",
            Kind::Attestation => "attestation",
        };
        let parameter = match self {
            // A reason begins with the parameter that it is about.
            Self::Refused { reason, .. } => reason.split_once(':').map(|(name, _)| name),
            Self::Unknown { .. } | Self::Panicked { .. } => None,
        };
        (kind, id, parameter)
    }
}

fn taken(parameters: &[String]) -> String {
    if parameters.is_empty() { String::new() } else { format!("; it takes {}", parameters.join(", ")) }
}
