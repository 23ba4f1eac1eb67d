//! Files and environment variables that scenarios and mocks name.

use std::path::Path;

use fleetstorm_scenario::SecretSource;
use zeroize::Zeroizing;

/// Something that a file names cannot be used. No secret is in the message.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ResolveError {
    what: String,
    why: String,
}

impl ResolveError {
    /// What cannot be used, and why.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// Reads a secret where it is.
///
/// # Errors
/// It is not there; the error says where it should be.
pub fn secret(source: &SecretSource) -> Result<Zeroizing<String>, ResolveError> {
    let text = match source {
        SecretSource::Env(name) => std::env::var(name).map_err(|_| {
            ResolveError::new(
                format!("environment variable {name}"),
                "it is not set; it should hold a secret",
            )
        })?,
        SecretSource::File(path) => std::fs::read_to_string(path)
            .map_err(|error| ResolveError::new(path, format!("the secret cannot be read: {error}")))?,
    };
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Reads a file that a scenario or a mock's file names.
///
/// # Errors
/// It cannot be read; the error names it.
pub fn file(path: &str) -> Result<Vec<u8>, ResolveError> {
    std::fs::read(Path::new(path))
        .map_err(|error| ResolveError::new(path, format!("cannot be read: {error}")))
}
