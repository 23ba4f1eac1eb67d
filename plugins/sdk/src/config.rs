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
        let reason = without_strings(text.split(" at line ").next().unwrap_or(&text));
        Error(if path == "." { reason } else { format!("{path}: {reason}") })
    })?;
    deserializer.end().map_err(|_| Error::new("the configuration is no JSON object"))?;
    Ok(config)
}

/// A reason without the strings that were found, any of which may be a secret: ``string "x"`` is ``string``.
fn without_strings(reason: &str) -> String {
    match (reason.split_once(" string \""), reason.rfind("\", expected")) {
        (Some((before, _)), Some(end)) if end > before.len() => {
            format!("{before} string{}", &reason[end + 1..])
        }
        _ => reason.to_owned(),
    }
}

/// The JSON Schema of a configuration.
pub(crate) fn schema<T: JsonSchema>() -> serde_json::Value {
    schemars::schema_for!(T).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_repeats_no_string_that_was_configured() {
        #[derive(Debug, serde::Deserialize)]
        struct Config {
            #[allow(dead_code, reason = "only read")]
            keys: Vec<u32>,
        }
        for value in ["hunter2", "a\", expected b", ""] {
            let json = serde_json::json!({ "keys": value }).to_string();
            let told = read::<Config>(json.as_bytes()).unwrap_err().to_string();
            assert_eq!(told, "keys: invalid type: string, expected a sequence");
        }
    }
}
