//! Pages of the manual that are written from what they are about: schemas, `--help`, and the list of plugins.
//!
//! A page keeps what stands before its marker, and the rest is written anew by the command that the marker names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::harness::{Bench, scenarios};
use crate::manual::pages;

const MARKER: &str = "<!-- From here on, written by: MANUAL=write cargo nextest run -p fleetstorm --test system manual_reference -->\n";

/// Compares what follows a page's marker with `text`, or writes it there if the environment says so.
#[track_caller]
fn hold(page: &str, text: &str) {
    let path = pages().join("reference").join(page);
    let old = std::fs::read_to_string(&path).unwrap();
    let (head, tail) = old.split_once(MARKER).unwrap_or_else(|| panic!("{page} has no line {MARKER}"));
    if std::env::var_os("MANUAL").is_some_and(|value| value == "write") {
        std::fs::write(&path, format!("{head}{MARKER}{text}")).unwrap();
    } else {
        assert!(tail == text, "{page} is not as its source any more; its marker says how to write it again");
    }
}

// Commands.

/// What `--help` says of every command, by its words.
pub(crate) struct Commands(BTreeMap<Vec<String>, String>);

impl Commands {
    pub(crate) fn read() -> Self {
        let mut commands = Self(BTreeMap::new());
        commands.add(&Bench::new(), &[]);
        commands
    }

    fn add(&mut self, bench: &Bench, words: &[String]) {
        let mut arguments: Vec<&str> = words.iter().map(|word| &**word).collect();
        arguments.push("--help");
        let help = bench.fleetstorm(&arguments).stdout;
        let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
        let names: Vec<&str> = listed
            .lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
            .filter(|name| !name.is_empty() && *name != "help")
            .collect();
        for name in names {
            self.add(bench, &[words, &[name.to_owned()]].concat());
        }
        self.0.insert(words.to_vec(), help);
    }

    /// Checks that the options of each `fleetstorm` in a line of a shell are there; returns how many there are.
    pub(crate) fn check(&self, line: &str, place: &str) -> usize {
        let mut seen = 0;
        for call in line.split("fleetstorm ").skip(1) {
            let call = call.split(['|', ';', '>']).next().unwrap();
            let words: Vec<String> = call.split_whitespace().map(str::to_owned).collect();
            let Some(help) = (1..=2.min(words.len())).rev().find_map(|count| self.0.get(&words[..count]))
            else {
                continue;
            };
            for word in words.iter().filter(|word| word.starts_with("--")) {
                let option = word.split('=').next().unwrap();
                assert!(
                    help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")),
                    "{place}: {call}: there is no {option}"
                );
            }
            seen += 1;
        }
        seen
    }
}

#[test]
fn the_command_line_is_as_help_says() {
    let mut text = String::new();
    for (words, help) in Commands::read().0 {
        let name = [&["fleetstorm".to_owned()], &*words].concat();
        let _ = write!(text, "\n## `{}` {{#{}}}\n\n```text\n{help}```\n", name.join(" "), name.join("-"));
    }
    hold("command-line.md", &text);
}

// Plugins.

#[test]
fn strategies_and_attestations_are_as_the_list_says() {
    let list = Bench::new().fleetstorm(&["plugin", "list", "--json"]).stdout;
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let common = |name: &str| {
        let all = |plugin: &&Value| plugin["kind"] == "retry strategy";
        list.iter().filter(all).all(|plugin| plugin["schema"]["properties"].get(name).is_some())
    };
    let mut text = String::new();
    for (title, kind) in [("Retry strategies", "retry strategy"), ("Attestations", "attestation")] {
        let _ = writeln!(text, "\n## {title}\n");
        for plugin in list.iter().filter(|plugin| plugin["kind"] == kind) {
            let (id, summary) = (plugin["id"].as_str().unwrap(), plugin["summary"].as_str().unwrap());
            let keys = plugin["schema"]["properties"].as_object().cloned().unwrap_or_default();
            let mut own: Vec<String> =
                keys.keys().filter(|key| !common(key)).map(|key| format!("`{key}`")).collect();
            own.sort();
            let own =
                if own.is_empty() { String::new() } else { format!(" Parameters: {}.", own.join(", ")) };
            let _ = writeln!(text, "- **`{id}`**: {summary}{own}");
        }
        if kind == "retry strategy" {
            text.push_str("\n### Parameters of all strategies\n\n");
            let schema = &list[0]["schema"];
            let mut page = Page::new(schema, Format::Toml, &[]);
            page.keys(schema, "", &|key| common(key));
            page.values();
            text.push_str(&page.text);
        }
    }
    hold("plugins.md", &text);
}

// Schemas.

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Toml,
    Json,
}

/// A page from a JSON Schema: a section for each table, with its path, and then one for each kind of value.
struct Page<'a> {
    format: Format,
    definitions: &'a Map<String, Value>,
    /// Definitions that another page tells, and which.
    elsewhere: &'a [(String, String)],
    tables: BTreeSet<&'a str>,
    values: BTreeSet<&'a str>,
    text: String,
}

/// One line of a description. What the documentation of code links is in code spans.
fn told(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace("[`", "`").replace("`]", "`")
}

/// A definition's name in words.
fn in_words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.strip_suffix("File").unwrap_or(name).chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// The definition that a schema refers to.
fn target(schema: &Value) -> Option<&str> {
    if let Some(path) = schema["$ref"].as_str() {
        return path.rsplit('/').next();
    }
    schema["anyOf"].as_array()?.iter().find_map(target)
}

impl<'a> Page<'a> {
    fn new(schema: &'a Value, format: Format, elsewhere: &'a [(String, String)]) -> Self {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let definitions = schema["$defs"].as_object().unwrap_or(&NONE);
        Self {
            format,
            definitions,
            elsewhere,
            tables: BTreeSet::new(),
            values: BTreeSet::new(),
            text: String::new(),
        }
    }

    /// What kind of value a schema takes.
    fn kind(&mut self, schema: &'a Value) -> String {
        if let Some(name) = target(schema) {
            let words = in_words(name);
            if let Some((_, page)) = self.elsewhere.iter().find(|(known, _)| known == name) {
                return format!("[{words}]({page})");
            }
            let (name, definition) = self.definitions.get_key_value(name).unwrap();
            if definition.get("properties").is_none() {
                self.values.insert(name);
            }
            return format!("[{words}](#{name})");
        }
        if let Some(items) = schema.get("items") {
            return format!("list of {}", self.kind(items));
        }
        if let Some(values) = schema["enum"].as_array() {
            return values
                .iter()
                .map(|value| format!("`{}`", value.as_str().unwrap_or("?")))
                .collect::<Vec<_>>()
                .join(", ");
        }
        let kinds = match &schema["type"] {
            Value::String(kind) => vec![&**kind],
            Value::Array(kinds) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
            }
            _ => vec!["anything"],
        };
        let spelled = |kind: &str| {
            match kind {
                "integer" => "whole number",
                "string" => "text",
                "boolean" => "true or false",
                "object" if self.format == Format::Toml => "table",
                "array" => "list",
                _ => kind,
            }
            .to_owned()
        };
        kinds.into_iter().map(spelled).collect::<Vec<_>>().join(" or ")
    }

    /// The keys of a table, each a line of a list.
    fn keys(&mut self, table: &'a Value, indent: &str, wanted: &dyn Fn(&str) -> bool) {
        let required = table["required"].as_array();
        for (key, schema) in table["properties"].as_object().into_iter().flatten() {
            if schema.get("const").is_some() || !wanted(key) {
                continue;
            }
            let mut about = self.kind(schema);
            match &schema["default"] {
                Value::Null | Value::Object(_) => {}
                Value::Array(values) if values.is_empty() => {}
                value => about = format!("{about}, default `{value}`"),
            }
            if self.format == Format::Toml && required.is_some_and(|keys| keys.contains(&Value::from(&**key)))
            {
                about.push_str(", required");
            }
            let _ = writeln!(self.text, "{indent}- `{key}` ({about}): {}", told(schema));
        }
    }

    /// A table, and those in it.
    fn table(&mut self, path: &str, anchor: &str, table: &'a Value) {
        if !path.is_empty() {
            let _ = write!(self.text, "\n## `{path}` {{#{anchor}}}\n\n{}\n\n", told(table));
        }
        self.keys(table, "", &|_| true);
        for (key, schema) in table["properties"].as_object().into_iter().flatten() {
            let is_list = schema.get("items").is_some();
            let Some(name) = target(schema.get("items").unwrap_or(schema)) else { continue };
            let Some((name, definition)) = self.definitions.get_key_value(name) else { continue };
            let is_told = self.elsewhere.iter().any(|(known, _)| known == name);
            if definition.get("properties").is_none() || is_told || !self.tables.insert(name) {
                continue;
            }
            let bare = path.trim_matches(['[', ']', '.']);
            let dotted = if bare.is_empty() { key.clone() } else { format!("{bare}.{key}") };
            let path = match (self.format, is_list) {
                (Format::Toml, false) => format!("[{dotted}]"),
                (Format::Toml, true) => format!("[[{dotted}]]"),
                (Format::Json, false) => format!("{path}.{key}"),
                (Format::Json, true) => format!("{path}.{key}[]"),
            };
            self.table(&path, name, definition);
        }
    }

    /// A value that is one of several.
    fn variants(&mut self, variants: &'a [Value]) {
        for variant in variants {
            let tag = variant["properties"].as_object().into_iter().flatten();
            let tag = tag.filter_map(|(_, schema)| schema["const"].as_str()).next();
            let name = tag.or(variant["const"].as_str());
            let name = name.map(|name| format!("**`{name}`**: ")).unwrap_or_default();
            let _ = writeln!(self.text, "- {name}{}", told(variant));
            self.keys(variant, "  ", &|_| true);
        }
    }

    /// The kinds of values that were named so far, and those that they name.
    fn values(&mut self) {
        let mut done: BTreeSet<&str> = self.tables.clone();
        while let Some(name) = self.values.iter().copied().find(|name| !done.contains(name)) {
            done.insert(name);
            let definition = &self.definitions[name];
            let _ = write!(self.text, "\n### {} {{#{name}}}\n\n{}\n", in_words(name), told(definition));
            if let Some(variants) = definition["oneOf"].as_array() {
                self.text.push('\n');
                self.variants(variants);
            } else if definition.get("enum").is_some() {
                let kind = self.kind(definition);
                let _ = write!(self.text, "\nOne of {kind}.\n");
            }
            let examples: Vec<String> = definition["examples"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|value| format!("`{value}`"))
                .collect();
            if !examples.is_empty() {
                let _ = write!(self.text, "\nFor example {}.\n", examples.join(", "));
            }
        }
        self.values = done;
    }
}

#[test]
fn keys_and_faults_are_as_the_schema_says() {
    let schema = std::fs::read(scenarios().join("scenario.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let faults = [("FaultKind".to_owned(), "faults.md".to_owned())];
    let mut page = Page::new(&schema, Format::Toml, &faults);
    page.text.push_str("\n## Top level\n\n");
    page.table("", "", &schema);
    page.text.push_str("\n## Values\n");
    page.values();
    hold("scenario.md", &page.text);

    let told_there: Vec<(String, String)> = page
        .values
        .union(&page.tables)
        .map(|name| ((*name).to_owned(), format!("scenario.md#{name}")))
        .collect();
    let mut page = Page::new(&schema, Format::Toml, &told_there);
    let kinds = schema["$defs"]["FaultKind"]["oneOf"].as_array().unwrap();
    let mut told_kinds = 0;
    for (title, layers) in [
        ("Network, on the devices' side, against any target", &["net."][..]),
        ("Packets, with `--clock wall` and the embedded mock only", &["netem."]),
        ("Service, the mock only", &["service."]),
        ("Protocol, the mock's doors only", &["http.", "mqtt.", "amqp."]),
        ("Fleet", &["fleet."]),
    ] {
        let _ = write!(page.text, "\n## {title}\n\n");
        for kind in kinds {
            let name = kind["properties"]["kind"]["const"].as_str().unwrap();
            if layers.iter().any(|layer| name.starts_with(layer)) {
                page.variants(std::slice::from_ref(kind));
                told_kinds += 1;
            }
        }
    }
    assert_eq!(told_kinds, kinds.len(), "every fault has a layer");
    page.text.push_str("\n## Values\n");
    page.values();
    hold("faults.md", &page.text);
}

#[test]
fn the_record_is_as_its_schema_says() {
    let schema = std::fs::read(scenarios().join("../reports/run.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let mut page = Page::new(&schema, Format::Json, &[]);
    page.text.push_str("\n## Top level\n\n");
    page.table("", "", &schema);
    page.text.push_str("\n## Values\n");
    page.values();
    hold("record.md", &page.text);
}
