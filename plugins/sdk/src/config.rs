//! Configuration as JSON, and errors a person can act on.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

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
pub(crate) fn read<T: DeserializeOwned>(json: Map<String, Value>) -> Result<T> {
    serde_path_to_error::deserialize(Value::Object(json)).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.inner().to_string();
        Error(if path == "." { reason } else { format!("{path}: {reason}") })
    })
}

/// The members of a JSON object.
pub(crate) fn members(json: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(json).map_err(|error| Error(format!("the configuration is no JSON object: {error}")))
}

/// The JSON Schema of a configuration.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}
