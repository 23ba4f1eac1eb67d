//! Secrets that stand where only their place should: found, so that no error repeats them.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Where a secret is. It never stands in a scenario, on a command line or in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// In this environment variable.
    Env(String),
    /// In this file.
    File(String),
}

/// What is said instead of a secret.
const PLACES: &str = "a secret never stands in a file or on a command line: write where it is, as { env = \"NAME\" } \
                      or { file = \"path\" }";

impl<'de> Deserialize<'de> for SecretSource {
    /// No message of this repeats a value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Place;

        /// Any other value: one of them is the secret itself.
        macro_rules! refuse {
            ($($visit:ident: $type:ty),*) => {$(
                fn $visit<E: de::Error>(self, _: $type) -> Result<SecretSource, E> {
                    Err(E::custom(PLACES))
                }
            )*};
        }

        impl<'de> Visitor<'de> for Place {
            type Value = SecretSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ env = \"NAME\" } or { file = \"path\" }")
            }

            refuse! { visit_str: &str, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64 }

            fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<SecretSource, A::Error> {
                Err(de::Error::custom(PLACES))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
                let refused = || de::Error::custom(PLACES);
                let key: String = map.next_key()?.ok_or_else(refused)?;
                let value: toml::Value = map.next_value()?;
                let source = match (&*key, value) {
                    ("env", toml::Value::String(name)) if is_variable(&name) => SecretSource::Env(name),
                    ("env", _) => {
                        let why = "`env` names an environment variable, of letters, digits and `_`";
                        return Err(de::Error::custom(why));
                    }
                    ("file", toml::Value::String(path)) => SecretSource::File(path),
                    _ => return Err(refused()),
                };
                if map.next_key::<String>()?.is_some() {
                    return Err(refused());
                }
                Ok(source)
            }
        }

        deserializer.deserialize_any(Place)
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl JsonSchema for SecretSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretSource".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a secret is. It never stands in a scenario, on a command line or in a report.",
            "oneOf": [
                {
                    "description": "In this environment variable.",
                    "type": "object",
                    "properties": { "env": { "type": "string" } },
                    "required": ["env"],
                    "additionalProperties": false
                },
                {
                    "description": "In this file.",
                    "type": "object",
                    "properties": { "file": { "type": "string" } },
                    "required": ["file"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// Whether what has this name may be a secret, or hold one.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let tells =
        ["secret", "passw", "pem", "connection_string", "connection-string", "signature", "webhook_url"];
    let is_key = name.contains("key") && !name.contains("key_pool") && !name.contains("key-rotation");
    is_key || tells.iter().any(|tell| name.contains(tell)) || ["pin", "sas", "pwd"].contains(&&*name)
}

/// A key of the service has 16 bytes or more: so many characters in base64.
const KEY_MIN: usize = 24;

/// Whether a text looks like a key in base64, or like a token or a connection string, which hold one.
pub fn looks_secret(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    let body = text.trim_end_matches('=');
    let is_key = text.len() >= KEY_MIN
        && text.len().is_multiple_of(4)
        && body.bytes().all(is_base64)
        && body.bytes().any(|byte| byte.is_ascii_digit() || b"+/".contains(&byte))
        && body.bytes().any(|byte| byte.is_ascii_uppercase())
        && body.bytes().any(|byte| byte.is_ascii_lowercase());
    is_key || text.contains("SharedAccess") || text.contains("PRIVATE KEY")
}

/// A text with its secrets, and without.
pub(super) struct Veiled {
    /// The text, as long as it was, with `*` for each byte of a secret.
    pub(super) text: String,
    secrets: Vec<String>,
}

impl Veiled {
    /// Finds what may be a secret in a text that should be TOML, however broken it is.
    pub(super) fn of(text: &str) -> Self {
        let mut veil = Veil { text, out: text.to_owned().into_bytes(), secrets: Vec::new() };
        veil.lift_over();
        let Veil { out, mut secrets, .. } = veil;
        // The longest first, so that none leaves the rest of another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        // Whole characters were replaced by ASCII.
        Self { text: String::from_utf8(out).unwrap_or_default(), secrets }
    }

    /// Adds the secrets of another text.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.secrets.extend(other.secrets);
        self
    }

    /// What a message says, without any of the secrets.
    pub(super) fn hide(&self, message: &str) -> String {
        let hidden =
            self.secrets.iter().fold(message.to_owned(), |message, secret| message.replace(secret, "…"));
        let parts: Vec<&str> =
            hidden.split(['"', '`', '\'', ' ', '=', ',']).filter(|part| looks_secret(part)).collect();
        parts.iter().fold(hidden.clone(), |message, secret| message.replace(secret, "…"))
    }
}

struct Veil<'a> {
    text: &'a str,
    out: Vec<u8>,
    secrets: Vec<String>,
}

impl Veil<'_> {
    fn lift_over(&mut self) {
        let bytes = self.text.as_bytes();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'"' | b'\'' => {
                    let (from, until, end) = string(bytes, at);
                    let inside = &self.text[from..until];
                    let names = is_secret_name(inside) && inside.len() < 40 && is_assigned(bytes, end);
                    if names {
                        at = self.value(end);
                        continue;
                    }
                    if inside.len() < 1 << 12 && looks_secret(inside) {
                        self.cover(from, until);
                    }
                    at = end;
                }
                b'#' => at = line_end(bytes, at),
                byte if is_name(byte) => {
                    let end = (at..bytes.len()).find(|at| !is_name(bytes[*at])).unwrap_or(bytes.len());
                    let name = &self.text[at..end];
                    if is_secret_name(name) && is_assigned(bytes, end) {
                        at = self.value(end);
                    } else {
                        if looks_secret(name) {
                            self.cover(at, end);
                        }
                        at = end;
                    }
                }
                _ => at += 1,
            }
        }
    }

    /// Covers the value that is assigned behind a name; where it ends.
    fn value(&mut self, behind: usize) -> usize {
        let bytes = self.text.as_bytes();
        let begins = |byte: &u8| !b" \t=:".contains(byte);
        let at = bytes[behind..].iter().position(begins).map_or(bytes.len(), |offset| behind + offset);
        match bytes.get(at) {
            None | Some(b'\n') => at,
            Some(b'"' | b'\'') => {
                let (from, until, end) = string(bytes, at);
                self.cover(from, until);
                end
            }
            // A place: only what is no place is covered.
            Some(b'{') => {
                let end = (at..bytes.len()).find(|at| b"}\n".contains(&bytes[*at])).unwrap_or(bytes.len());
                let mut place = "";
                let mut at = at + 1;
                while at < end {
                    if bytes[at].is_ascii_alphabetic() {
                        let until = (at..end).find(|at| !bytes[*at].is_ascii_alphanumeric()).unwrap_or(end);
                        place = &self.text[at..until];
                        at = until;
                    } else if b"\"'".contains(&bytes[at]) {
                        let (from, until, after) = string(bytes, at);
                        if !["env", "file"].contains(&place) {
                            self.cover(from, until);
                        }
                        at = after;
                    } else {
                        at += 1;
                    }
                }
                end.max(at)
            }
            Some(b'[') => {
                let mut at = at + 1;
                while at < bytes.len() && bytes[at] != b']' {
                    if b"\"'".contains(&bytes[at]) {
                        let (from, until, end) = string(bytes, at);
                        self.cover(from, until);
                        at = end;
                    } else {
                        at += 1;
                    }
                }
                at
            }
            // Something that was meant to be quoted.
            Some(_) => {
                let end = line_end(bytes, at);
                let bare = self.text[at..end].trim_end().len();
                self.cover(at, at + bare);
                end
            }
        }
    }

    fn cover(&mut self, from: usize, until: usize) {
        let secret = &self.text[from..until];
        for line in secret.lines().map(str::trim).filter(|line| line.len() > 3) {
            self.secrets.push(line.to_owned());
        }
        for byte in &mut self.out[from..until] {
            if !b"\r\n".contains(byte) {
                *byte = b'*';
            }
        }
    }
}

/// Whether something is assigned to the name that ends here.
fn is_assigned(bytes: &[u8], end: usize) -> bool {
    let mut rest = bytes[end..].iter().skip_while(|byte| b" \t".contains(byte));
    matches!(rest.next(), Some(b'=' | b':' | b'"' | b'\''))
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    (from..bytes.len()).find(|at| bytes[*at] == b'\n').unwrap_or(bytes.len())
}

/// The string whose first quote is here: where its content begins and ends, and where it does. One that is not closed
/// ends with its line; one of several lines with the text.
fn string(bytes: &[u8], at: usize) -> (usize, usize, usize) {
    let quote = bytes[at];
    if bytes[at..].starts_with(&[quote; 3]) {
        let from = at + 3;
        let close = bytes[from..].windows(3).position(|three| three == [quote; 3]);
        return match close {
            Some(offset) => (from, from + offset, from + offset + 3),
            None => (from, bytes.len(), bytes.len()),
        };
    }
    let from = at + 1;
    let mut end = from;
    while end < bytes.len() && bytes[end] != b'\n' {
        if bytes[end] == b'\\' && quote == b'"' {
            end += 1;
        } else if bytes[end] == quote {
            return (from, end, end + 1);
        }
        end += 1;
    }
    let end = end.min(bytes.len());
    (from, end, end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ5";

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        for text in [
            format!("primary_key = \"{KEY}\""),
            format!("webhook_url = \"https://hook.example/?code={KEY}\""),
            format!("primary_key = '{KEY}' # comment"),
            format!("\"group_key\" = \"{KEY}\""),
            format!("target.group_key=\"{KEY}"),
            format!("primary_key: {KEY}"),
            format!("primary_key = {KEY}\nx = 1"),
            format!("primary_key \"{KEY}\""),
            format!("primary_key = {{ value = \"{KEY}\" }}"),
            format!("primary_key = {{ env = \"A\", value = \"{KEY}\" }}"),
            format!("group_keys = [\n  \"a-short-one\",\n  \"{KEY}\"\n]"),
            format!("ca_key_pem = \"\"\"\n-----BEGIN\n{KEY}\n\"\"\""),
            format!("[[enrollment]]\nprimry = \"{KEY}\""),
            format!("x = {KEY}"),
            format!("[{KEY}]"),
        ] {
            let veiled = Veiled::of(&text);
            assert!(!veiled.text.contains(KEY), "{text}\n{}", veiled.text);
            assert_eq!(veiled.text.len(), text.len());
            assert!(
                !veiled.hide(&format!("invalid type: string \"{KEY}\", expected a map")).contains(KEY),
                "{text}"
            );
        }
        let short = Veiled::of("secondary_key = \"hunter22\"");
        assert_eq!(short.text, "secondary_key = \"********\"");
        assert_eq!(short.hide("string \"hunter22\""), "string \"…\"");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "group_key = { env = \"GROUP_KEY\" }",
            "device_ca_key = { file = \"ca/factory.key\" }",
            "[fleet]\ndevises = 5",
            "fault = { kind = \"service.key-rotation\" }",
            "objectives = [\"assigned >= 99.9% within 15m\"]",
            "name = \"a-name-of-thirty-two-characters!\"",
            "host = \"demo-hub-1.azure-devices.example\"",
            "# the key = of it all",
            "attestation = { kind = \"x509\", key_pool = 4 }",
        ] {
            assert_eq!(Veiled::of(text).text, text);
        }
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_length_and_lines(text in "\\PC{0,80}", lines in "((primary_key|env|\"|'|\"\"\"|=|\\[|\\]|\\{|\\}|#|é|\\n|\\\\| ){0,30})") {
            for text in [text, lines] {
                let veiled = Veiled::of(&text);
                prop_assert_eq!(veiled.text.len(), text.len());
                prop_assert_eq!(veiled.text.matches('\n').count(), text.matches('\n').count());
            }
        }
    }
}
