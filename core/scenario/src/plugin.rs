//! A plugin that a scenario names.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A strategy or attestation by name, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Its id.
    pub kind: String,
    /// Its parameters.
    pub parameters: Map<String, Value>,
}

impl Plugin {
    /// A plugin with all its defaults.
    pub fn named(kind: &str) -> Self {
        Self { kind: kind.to_owned(), parameters: Map::new() }
    }
}

impl std::fmt::Display for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind)?;
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            write!(f, "{}{name} = {value}", if index == 0 { " (" } else { ", " })?;
        }
        if self.parameters.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl Serialize for Plugin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.parameters.is_empty() {
            return serializer.serialize_str(&self.kind);
        }
        let mut table = Map::new();
        table.insert("kind".to_owned(), Value::String(self.kind.clone()));
        table.extend(self.parameters.clone());
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Plugin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Plugin;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name, or a table with `kind` and parameters")
            }

            fn visit_str<E: de::Error>(self, kind: &str) -> Result<Plugin, E> {
                Ok(Plugin::named(kind))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plugin, A::Error> {
                let mut kind = None;
                let mut parameters = Map::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "kind" {
                        kind = Some(map.next_value()?);
                    } else {
                        parameters.insert(name, map.next_value()?);
                    }
                }
                Ok(Plugin { kind: kind.ok_or_else(|| de::Error::missing_field("kind"))?, parameters })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Plugin {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Plugin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A plugin by name, or a table with `kind` and the plugin's parameters.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "properties": { "kind": { "type": "string" } }, "required": ["kind"] },
            ],
            "examples": ["full-jitter", { "kind": "full-jitter", "base_ms": 1000, "cap_ms": 60000 }],
        })
    }
}
