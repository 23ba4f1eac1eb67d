//! What is wrong with a file, with its place and the fix.

use std::fmt;
use std::ops::Range;

use fleetstorm_units::nearest;
use toml::de::{DeTable, DeValue};

use crate::change::Override;
use crate::secret::Veiled;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub message: String,
    /// Where in the file, in bytes; `None` for overrides.
    pub span: Option<Range<usize>>,
    /// What to do.
    pub help: String,
}

/// Everything that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name.
    pub file: String,
    /// Its text.
    pub text: String,
    /// At least one.
    pub list: Vec<Problem>,
}

impl Problems {
    /// What is wrong with a file, or with what replaces values of it. None of its words, nor of the text that it keeps, is a
    /// secret that was written there.
    pub fn new(file: &str, text: &str, overrides: &[Override], list: Vec<Problem>) -> Self {
        let changes =
            overrides.iter().map(|change| Veiled::of(&format!("{} = {}", change.path, change.value)));
        let veiled = changes.fold(Veiled::of(text), Veiled::and);
        let hidden = |problem: Problem| Problem {
            message: veiled.hide(&problem.message),
            help: veiled.hide(&problem.help),
            span: problem.span,
        };
        let list = list.into_iter().map(hidden).collect();
        Self { file: file.to_owned(), text: veiled.text, list }
    }

    /// One thing that is wrong at a dotted path of a file, or at the longest part of it that the file has.
    pub fn at(file: &str, text: &str, path: &str, message: String, help: String) -> Self {
        let span = Places::of(text).span(path);
        Self::new(file, text, &[], vec![Problem { message, span, help }])
    }

    /// Line and column of a byte, both from 1.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count();
        (before.matches('\n').count() + 1, column + 1)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match &problem.span {
                Some(span) => {
                    let (line, column) = self.place(span.start);
                    write!(f, "{}:{line}:{column}: {}", self.file, problem.message)?;
                }
                None => write!(f, "{}: {}", self.file, problem.message)?,
            }
            if !problem.help.is_empty() {
                write!(f, " ({})", problem.help)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The places of a file's values.
pub(crate) struct Places<'a>(Option<toml::Spanned<DeTable<'a>>>);

impl<'a> Places<'a> {
    /// None, if the text is no TOML.
    pub(crate) fn of(text: &'a str) -> Self {
        Self(DeTable::parse(text).ok())
    }

    /// Whether the file says something itself about a key of a table.
    pub(crate) fn says(&self, table: &str, key: &str) -> bool {
        let entry = |table: &DeTable<'a>, key: &str| {
            table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.clone())
        };
        let table = self.0.as_ref().and_then(|document| entry(document.get_ref(), table));
        matches!(table.map(toml::Spanned::into_inner), Some(DeValue::Table(table)) if entry(&table, key).is_some())
    }

    /// The place of a path, or of the longest part of it that the file has.
    pub(crate) fn span(&self, path: &str) -> Option<Range<usize>> {
        let mut segments = path.split('.').filter(|segment| !segment.is_empty());
        let first = segments.next()?;
        let (_, mut value) = self.0.as_ref()?.get_ref().iter().find(|(key, _)| key.get_ref() == first)?;
        let mut span = value.span();
        for segment in segments {
            let next = match value.get_ref() {
                DeValue::Table(table) => {
                    table.iter().find(|(key, _)| key.get_ref() == segment).map(|(_, value)| value)
                }
                DeValue::Array(list) => segment.parse().ok().and_then(|index: usize| list.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            value = next;
            span = value.span();
        }
        Some(span)
    }
}

/// Turns serde's message into one with a suggestion.
pub(crate) fn describe(error: &toml::de::Error, text: &str) -> Problem {
    let message = error.message().trim().to_owned();
    let mut help = String::new();
    if let Some((unknown, known)) = unknown_name(&message) {
        let near = nearest(&unknown, known.iter().map(String::as_str));
        help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let kind = if message.starts_with("unknown variant") { "value" } else { "key" };
        let span = error.span().map(|span| narrow(span, text, &unknown));
        return Problem { message: format!("unknown {kind} `{unknown}`"), span, help };
    }
    // Where a list has one table, and where a table has a list.
    let one = message.starts_with("invalid type: map, expected a sequence");
    let at = error.span().map_or(0, |span| span.start);
    let line = text.get(at..).unwrap_or("").lines().next().unwrap_or("").trim();
    let several = line.starts_with("[[")
        && message.starts_with("invalid type: map")
        && !message.contains("expected a string")
        || message.starts_with("invalid type: sequence, expected struct");
    if one || several {
        let before = text.get(..at).unwrap_or("").rsplit('\n').next().unwrap_or("");
        let name = line.trim_matches(['[', ']']);
        let name = if line.starts_with('[') { name } else { before.split('=').next().unwrap_or("").trim() };
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
        let name = if is_name { name } else { "name" };
        if one {
            let message = format!("`{name}` is a list, and this is one of its entries");
            return Problem {
                message,
                span: error.span(),
                help: format!("write `[[{name}]]`, once for each entry"),
            };
        }
        let message = format!("there is one `{name}`, and this is a list");
        return Problem { message, span: error.span(), help: format!("write `[{name}]`") };
    }
    let wants_number = ["u8", "u16", "u32", "u64", "i64", "f64", "usize"]
        .iter()
        .any(|number| message.ends_with(&format!("expected {number}")));
    if message.starts_with("invalid type: string") && wants_number {
        help = "write a number without quotes, such as 1000 or 0.5".to_owned();
    } else if message.ends_with("expected a sequence") {
        help = "write a list in brackets, such as [\"one\", \"two\"]".to_owned();
    } else if message.starts_with("unexpected key or value")
        && text.get(at..).is_some_and(|rest| rest.starts_with(','))
    {
        help = "thousands are written 1000 or 1_000".to_owned();
    } else if message.contains("expected") && message.contains("string") {
        help = "values such as \"15m\" or \"50/s\" are written in quotes".to_owned();
    }
    Problem { message, span: error.span(), help }
}

/// The name in ``unknown field `x`, expected one of `a`, `b` `` and the names it could have been.
pub(crate) fn unknown_name(message: &str) -> Option<(String, Vec<String>)> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((names.next()?, names.collect()))
}

/// Where `name` stands within a span that covers more.
fn narrow(span: Range<usize>, text: &str, name: &str) -> Range<usize> {
    match text.get(span.clone()).and_then(|part| part.find(name)) {
        Some(offset) => span.start + offset..span.start + offset + name.len(),
        None => span,
    }
}
