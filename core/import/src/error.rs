//! What is in the way, and where.

use std::fmt;
use std::sync::Arc;

use fleetstorm_scenario::Problems;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: Arc<str>,
    /// Members and items, such as `resources[1].properties`.
    path: String,
}

impl Place {
    /// The top of a file.
    pub(crate) fn top(file: &str) -> Self {
        // A name is shown in one line, whatever is in it.
        let file: String = file.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Self { file: file.into(), path: String::new() }
    }

    pub(crate) fn member(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.with(format!("{dot}{}", shown(name)))
    }

    pub(crate) fn item(&self, index: usize) -> Self {
        self.with(format!("[{index}]"))
    }

    fn with(&self, more: String) -> Self {
        Self { file: self.file.clone(), path: format!("{}{more}", self.path) }
    }

    pub(crate) fn refuse(&self, what: impl Into<String>, help: impl Into<String>) -> ImportError {
        ImportError::Input { place: self.clone(), what: what.into(), help: help.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, ": {}", self.path) }
    }
}

/// A name from a file as a message shows it: one short line.
pub(crate) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    if name.chars().nth(64).is_some() {
        text.push('…');
    }
    text
}

/// Why there is no mock's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A file, or a part of it, cannot be used.
    #[error("{place}: {what} ({help})")]
    Input {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// Two places contradict each other.
    #[error("{what}: in {}, and in {} ({help})", places[0], places[1])]
    Ambiguous {
        /// What there are two of.
        what: String,
        /// Where they stand.
        places: Box<[Place; 2]>,
        /// What to do.
        help: String,
    },
    /// The files say nothing that a mock could be made of.
    #[error("{0}")]
    Nothing(String),
    /// The mock cannot take what the files say.
    #[error("the mock cannot take what was read: {0}")]
    Unfit(Problems),
}
