//! The descriptor by which the host finds what a library offers.

use serde_json::Value;

use crate::config::{self, Result};
use crate::{Attestation, ErasedAttestation, ErasedRetry, Guard, RetryStrategy, attestation, retry};

/// What one library offers.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The library's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its parts.
    pub parts: &'static [Part],
}

/// One strategy or attestation.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its name in scenarios, unique among parts of its kind.
    pub id: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The JSON Schema of its configuration.
    pub schema: fn() -> Value,
    /// What it is, and how to make one.
    pub kind: PartKind,
}

/// The kinds of part.
#[derive(Clone, Copy, Debug)]
pub enum PartKind {
    /// A retry strategy, made from a JSON object.
    Retry(fn(&str) -> Result<Box<dyn ErasedRetry>>),
    /// An attestation, made from a JSON object.
    Attestation(fn(&str) -> Result<Box<dyn ErasedAttestation>>),
}

impl Part {
    /// Describes a retry strategy.
    pub const fn retry<S: RetryStrategy>() -> Self {
        Self {
            id: S::ID,
            summary: S::SUMMARY,
            schema: retry_schema::<S>,
            kind: PartKind::Retry(retry::create::<S>),
        }
    }

    /// Describes an attestation.
    pub const fn attestation<A: Attestation>() -> Self {
        Self {
            id: A::ID,
            summary: A::SUMMARY,
            schema: config::schema::<A::Config>,
            kind: PartKind::Attestation(attestation::create::<A>),
        }
    }
}

/// The strategy's own members and, where it is guarded, those of [`Guard`].
fn retry_schema<S: RetryStrategy>() -> Value {
    let mut schema = config::schema::<S::Config>();
    if S::GUARDED {
        let guard = config::schema::<Guard>();
        let mut merge = |key: &str| {
            if let (Some(theirs), Some(object)) =
                (guard.get(key).and_then(Value::as_object), schema.as_object_mut())
                && let Some(mine) =
                    object.entry(key).or_insert_with(|| Value::Object(serde_json::Map::new())).as_object_mut()
            {
                mine.extend(theirs.clone());
            }
        };
        merge("properties");
        merge("$defs");
    }
    schema
}
