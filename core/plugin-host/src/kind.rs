//! Kinds of parts.

use serde::Serialize;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A retry strategy.
    Retry,
    /// An attestation.
    Attestation,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry strategy",
            Self::Attestation => "attestation",
        })
    }
}
