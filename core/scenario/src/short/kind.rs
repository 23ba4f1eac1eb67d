//! What goes wrong, on one line: the kind as a scenario spells it, and its values in brackets.
//!
//! Which keys a kind has, in which order, and what they hold is read from the schema of the long form, so that every kind
//! has a short one. Keys that have to be there may be told by their place.

use fleetstorm_model::chaos::FaultKind;
use fleetstorm_units::nearest;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};

/// Every kind, as the long form describes them.
pub(super) struct Kinds {
    kinds: Vec<Value>,
    definitions: Map<String, Value>,
}

impl Kinds {
    pub(super) fn new() -> Self {
        let mut schema = SchemaGenerator::default().into_root_schema_for::<FaultKind>().to_value();
        let mut take = |key: &str| schema.get_mut(key).map(Value::take).unwrap_or_default();
        let kinds = match take("oneOf") {
            Value::Array(kinds) => kinds,
            _ => Vec::new(),
        };
        let definitions = match take("$defs") {
            Value::Object(definitions) => definitions,
            _ => Map::new(),
        };
        Self { kinds, definitions }
    }

    /// Reads a fault.
    ///
    /// # Errors
    /// What is wrong, in words for a person.
    pub(super) fn read(&self, name: &str, arguments: &[&str]) -> Result<FaultKind, String> {
        let Some(kind) = self.kinds.iter().find(|kind| name_of(kind) == name) else {
            let near = nearest(name, self.kinds.iter().map(name_of));
            let hint = near.map(|near| format!(": did you mean `{}`?", self.usage(near))).unwrap_or_default();
            return Err(format!("there is no fault `{name}`{hint}"));
        };
        let refuse = |what: String| format!("{what}: write {}", self.usage(name));
        let mut members = Map::from_iter([("kind".to_owned(), name.into())]);
        for (place, argument) in arguments.iter().enumerate() {
            let (key, text) = match argument.split_once('=') {
                Some((key, text)) => (key.trim().replace('-', "_"), text.trim()),
                None => match Self::by_place(kind, place) {
                    Some(key) => (key.to_owned(), *argument),
                    None => return Err(refuse(format!("`{argument}` needs its name"))),
                },
            };
            let Some(schema) = kind["properties"].get(&key).filter(|_| key != "kind") else {
                return Err(refuse(format!("{name} has no `{key}`")));
            };
            let value = self.value(schema, text).ok_or_else(|| refuse(format!("`{text}` is no {key}")))?;
            if members.insert(key.clone(), value).is_some() {
                return Err(refuse(format!("`{key}` is told twice")));
            }
        }
        serde_json::from_value(Value::Object(members)).map_err(|error| refuse(error.to_string()))
    }

    /// The key that a value without one is for: those that have to be there in their order, or else the only one.
    fn by_place(kind: &Value, place: usize) -> Option<&str> {
        let mut all = kind["properties"].as_object()?.keys().filter(|key| *key != "kind");
        needed(kind)
            .nth(place)
            .or_else(|| all.next().filter(|_| place == 0 && all.next().is_none()).map(|key| &**key))
    }

    /// How a kind is written: with every key, and the words that may stand there.
    pub(super) fn usage(&self, name: &str) -> String {
        let Some(kind) = self.kinds.iter().find(|kind| name_of(kind) == name) else { return name.to_owned() };
        let keys = kind["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != "kind");
        let mut keys: Vec<(&String, &Value)> = keys.collect();
        keys.sort_by_key(|(key, _)| needed(kind).position(|needed| needed == *key).unwrap_or(usize::MAX));
        let key = |(key, schema): (&String, &Value)| format!("{key}={}", self.words(schema));
        match keys.is_empty() {
            true => name.to_owned(),
            false => format!("{name}({})", keys.into_iter().map(key).collect::<Vec<_>>().join(", ")),
        }
    }

    /// What may stand in a place.
    fn words(&self, schema: &Value) -> String {
        let schema = self.resolve(schema);
        let example = |schema: &Value| schema["examples"][0].as_str().map(str::to_owned);
        match schema["oneOf"].as_array() {
            Some(words) if words.iter().all(|word| word["const"].is_string()) => {
                words.iter().filter_map(|word| word["const"].as_str()).collect::<Vec<_>>().join("|")
            }
            Some(_) => "200ms or 50ms..2s".to_owned(),
            None => match schema["type"].as_str() {
                Some("integer") => "N".to_owned(),
                Some("number") => "50% or 0.5".to_owned(),
                Some("array") => format!("{}|…", example(self.resolve(&schema["items"])).unwrap_or_default()),
                _ => example(schema).unwrap_or_else(|| "…".to_owned()),
            },
        }
    }

    /// What a schema refers to, and what it is if it is there.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"))
            && let Some(definition) = self.definitions.get(name)
        {
            return definition;
        }
        match schema["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["type"] != "null")) {
            Some(one) => self.resolve(one),
            None => schema,
        }
    }

    /// The value of the long form that a text stands for; `None` if it cannot be one.
    fn value(&self, schema: &Value, text: &str) -> Option<Value> {
        let schema = self.resolve(schema);
        let kind = match schema["type"].as_array() {
            // A value that may be missing is told by being there.
            Some(types) => types.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            None => schema["type"].as_str(),
        };
        Some(match kind {
            Some("integer") => match text.parse::<u64>() {
                Ok(number) => number.into(),
                Err(_) => text.parse::<i64>().ok()?.into(),
            },
            Some("number") => match text.strip_suffix('%') {
                Some(percent) => (percent.parse::<f64>().ok()? / 100.0).into(),
                None => text.parse::<f64>().ok()?.into(),
            },
            Some("boolean") => text.parse::<bool>().ok()?.into(),
            Some("array") => text
                .split('|')
                .map(|item| self.value(&schema["items"], item.trim()))
                .collect::<Option<Vec<_>>>()?
                .into(),
            // A distribution of times: always the same, or between two.
            None if is_distribution(schema) => match text.split_once("..") {
                Some((min, max)) => serde_json::json!({ "kind": "uniform", "min": min, "max": max }),
                None => serde_json::json!({ "kind": "constant", "delay": text }),
            },
            _ => text.into(),
        })
    }
}

fn name_of(kind: &Value) -> &str {
    kind["properties"]["kind"]["const"].as_str().unwrap_or_default()
}

/// The keys that a kind has to have, in the order of their declaration.
fn needed(kind: &Value) -> impl Iterator<Item = &str> {
    kind["required"].as_array().into_iter().flatten().filter_map(Value::as_str).filter(|key| *key != "kind")
}

fn is_distribution(schema: &Value) -> bool {
    let kinds = schema["oneOf"].as_array().into_iter().flatten().map(name_of);
    kinds.into_iter().any(|name| name == "constant")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_short;
    use super::*;
    use fleetstorm_model::chaos::ChaosFile;

    /// A value of the long form in TOML, and its short form.
    fn value(kinds: &Kinds, schema: &Value, bits: u32) -> (String, String) {
        let schema = kinds.resolve(schema);
        let time = |bits: u32| format!("{}ms", bits % 100_000 + 1);
        let quoted = |text: String| (format!("\"{text}\""), text);
        if is_distribution(schema) {
            let (min, max) = (time(bits % 500), time(bits % 500 + 700));
            return match bits % 2 {
                0 => (format!("{{ kind = \"constant\", delay = \"{min}\" }}"), min),
                _ => {
                    let long = format!("{{ kind = \"uniform\", min = \"{min}\", max = \"{max}\" }}");
                    (long, format!("{min}..{max}"))
                }
            };
        }
        if let Some(words) = schema["oneOf"].as_array() {
            let word = words[bits as usize % words.len()]["const"].as_str();
            return quoted(word.unwrap().to_owned());
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap();
        match (kind, schema["examples"][0].as_str()) {
            ("integer", _) => {
                let number = u64::from(bits) % (schema["maximum"].as_u64().unwrap_or(1 << 32) + 1);
                (number.to_string(), number.to_string())
            }
            ("number", _) => {
                let percent = bits % 101;
                (format!("{:?}", f64::from(percent) / 100.0), format!("{percent}%"))
            }
            ("array", _) => {
                let items: Vec<_> = (0..bits % 3 + 1)
                    .map(|step| value(kinds, &schema["items"], bits.wrapping_add(step)))
                    .collect();
                let join = |of: fn(&(String, String)) -> &String, separator: &str| {
                    items.iter().map(of).map(String::as_str).collect::<Vec<_>>().join(separator)
                };
                (format!("[{}]", join(|item| &item.0, ", ")), join(|item| &item.1, "|"))
            }
            (_, Some("15m" | "-2h")) => quoted(time(bits)),
            (_, Some("30")) => quoted(["30", "none", "date-60", "garbage"][bits as usize % 4].to_owned()),
            _ => quoted(format!("host-{bits}.example")),
        }
    }

    proptest! {
        /// Every kind, with the keys that it needs and some of the others, told by name or by place.
        #[test]
        fn the_short_form_says_what_the_long_one_says(
            at: prop::sample::Index, bits in prop::collection::vec(any::<u32>(), 8), by_place: bool, more: bool,
        ) {
            let kinds = Kinds::new();
            let kind = &kinds.kinds[at.index(kinds.kinds.len())];
            let name = name_of(kind);
            let all = kind["properties"].as_object().unwrap().keys().filter(|key| *key != "kind");
            let others = all.map(String::as_str).filter(|key| needed(kind).all(|needed| needed != *key));
            let keys: Vec<&str> = needed(kind).chain(others.filter(|_| more)).collect();
            let (mut long, mut short) = (format!("kind = \"{name}\""), Vec::new());
            for (place, key) in keys.iter().enumerate() {
                let (toml, text) = value(&kinds, &kind["properties"][*key], bits[place]);
                long += &format!(", {key} = {toml}");
                let named = !by_place || place >= needed(kind).count();
                short.push(if named { format!("{}={text}", key.replace('_', "-")) } else { text });
            }
            let long: ChaosFile = toml::from_str(&format!("fault = {{ {long} }}")).unwrap();
            let line = match short.is_empty() {
                true => format!("any @0s -> {name}"),
                false => format!("any @0s -> {name}({})", short.join(", ")),
            };
            prop_assert_eq!(parse_short(&line).map(|file| file.fault), Ok(long.fault), "{}", line);
        }
    }

    #[test]
    fn a_mistake_says_how_the_kind_is_written() {
        let kinds = Kinds::new();
        let refused = |name: &str, arguments: &[&str]| kinds.read(name, arguments).unwrap_err();
        assert!(refused("http.bdy", &[]).contains("did you mean `http.body(damage=malformed-json|truncated"));
        assert!(refused("mqtt.connack", &["code=x"]).contains("`x` is no code: write mqtt.connack(code=N)"));
        assert!(refused("http.body", &["torn"]).contains("write http.body(damage=malformed-json|"));
        assert!(refused("http.body", &[]).contains("missing field `damage`"));
        assert!(refused("amqp.credit", &["1"]).contains("`1` needs its name: write amqp.credit"));
        assert!(refused("net.slice", &["bytes=1", "bytes=2"]).contains("told twice"));
        assert!(refused("net.slice", &["kind=net.slice"]).contains("has no `kind`"));
        assert!(refused("fleet.power-outage", &["60s", "5s"]).contains("off=15m, "));
        let only = kinds.read("http.retry-after", &["garbage|none"]).unwrap();
        assert_eq!(only, kinds.read("http.retry-after", &["retry-after=garbage|none"]).unwrap());
    }
}
