//! Configuration as JSON, and errors a person can act on.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// Why a plugin refuses something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    /// A refusal with a reason that says what to change. It must not hold a secret.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What a plugin returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Reads a configuration; the error names the member that is wrong.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let config = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // Where a JSON text made from a scenario goes wrong means nothing to its author.
        let inner = error.into_inner();
        let text = inner.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text);
        Error(if path == "." { reason.to_owned() } else { format!("{path}: {reason}") })
    })?;
    deserializer.end().map_err(|_| Error::new("the configuration is no JSON object"))?;
    Ok(config)
}

/// The JSON Schema of a configuration.
pub(crate) fn schema<T: JsonSchema>() -> serde_json::Value {
    schemars::schema_for!(T).to_value()
}
