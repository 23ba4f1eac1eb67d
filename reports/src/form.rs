//! The forms that a document can take, and which of them a file's ending stands for.

mod csv;
mod hgrm;
mod junit;
mod prometheus;
mod study;
mod words;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::analysis::{Conclusion, Document};
use crate::text::json_escaped;
use crate::{Diff, html, markdown, summary};

pub use hgrm::hgrm;

/// A form of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The page for a review.
    Html,
    /// A comment on a change.
    Markdown,
    /// The document itself, written anew.
    Json,
    /// Numbers by name, for a spreadsheet.
    Csv,
    /// One test case an objective and a practice, for a pipeline.
    Junit {
        /// Whether a best practice that was broken is a failure. Else its case passes, and says it.
        strict_practices: bool,
    },
    /// Metrics as text, for a collector.
    Prometheus,
    /// The summary on a terminal, without colour.
    Text,
}

/// Why a document has no such form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// It is made of other things.
    #[error("a {document} has no {form}: it is shown as {known}")]
    None {
        /// What the document is.
        document: &'static str,
        /// The form that was asked for.
        form: Form,
        /// The forms that it has.
        known: &'static str,
    },
    /// A writer refused it.
    #[error("the {form} cannot be written: {why}")]
    Writer {
        /// The form that was asked for.
        form: Form,
        /// What the writer said.
        why: String,
    },
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Html => "html",
            Self::Markdown => "markdown",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Junit { .. } => "junit",
            Self::Prometheus => "prometheus",
            Self::Text => "text",
        })
    }
}

impl Form {
    /// The endings that stand for a form, for a person.
    pub const ENDINGS: &'static str = ".html, .md, .json, .csv, .xml (junit), .prom or .txt";

    /// The form that a file's ending stands for.
    pub fn of_path(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "html" | "htm" => Self::Html,
            "md" | "markdown" => Self::Markdown,
            "json" => Self::Json,
            "csv" => Self::Csv,
            "xml" => Self::Junit { strict_practices: false },
            "prom" => Self::Prometheus,
            "txt" => Self::Text,
            _ => return None,
        })
    }

    /// The document in this form.
    ///
    /// # Errors
    /// It has no such form, or the form's writer refuses it.
    pub fn render(self, document: &Document) -> Result<String, FormError> {
        let writer = |why: String| FormError::Writer { form: self, why };
        match (document, self) {
            (Document::Run(record), Self::Html) => Ok(html(record)),
            (Document::Run(record), Self::Markdown) => Ok(markdown(record)),
            (Document::Run(record), Self::Text) => Ok(summary(record, false)),
            (Document::Run(record), Self::Json) => {
                let bytes = record.write().map_err(|error| writer(error.to_string()))?;
                String::from_utf8(bytes).map_err(|error| writer(error.to_string()))
            }
            (Document::Run(record), Self::Csv) => csv::csv(record).map_err(writer),
            (Document::Run(record), Self::Junit { strict_practices }) => {
                junit::junit(record, strict_practices).map_err(writer)
            }
            (Document::Run(record), Self::Prometheus) => prometheus::prometheus(record).map_err(writer),
            (Document::Comparison(found), Self::Html) => Ok(html::comparison(found)),
            (Document::Comparison(found), Self::Markdown) => Ok(words::comparison(found)),
            (Document::Comparison(found), Self::Text) => Ok(found.to_string()),
            (Document::Comparison(found), Self::Json) => json(found).map_err(writer),
            (Document::Capacity(found), Self::Html) => Ok(html::capacity(found)),
            (Document::Capacity(found), Self::Markdown) => Ok(words::capacity(found)),
            (Document::Capacity(found), Self::Text) => Ok(found.to_string()),
            (Document::Capacity(found), Self::Json) => json(found).map_err(writer),
            (Document::Rollout(found), Self::Html) => Ok(html::rollout(found)),
            (Document::Rollout(found), Self::Markdown) => Ok(words::rollout(found)),
            (Document::Rollout(found), Self::Text) => Ok(found.to_string()),
            (Document::Rollout(found), Self::Json) => json(found).map_err(writer),
            (Document::Fidelity(found), Self::Html) => Ok(html::fidelity(found)),
            (Document::Fidelity(found), Self::Markdown) => Ok(words::fidelity(found)),
            (Document::Fidelity(found), Self::Text) => Ok(found.to_string()),
            (Document::Fidelity(found), Self::Json) => json(found).map_err(writer),
            (study, Self::Csv) => csv::study(study).map_err(writer),
            (study, Self::Junit { .. }) => study::junit(study, &concluded(study)).map_err(writer),
            (study, Self::Prometheus) => study::prometheus(study, &concluded(study)).map_err(writer),
        }
    }

    /// A difference in this form.
    ///
    /// # Errors
    /// It has no such form, or the form's writer refuses it.
    pub fn render_diff(self, diff: &Diff) -> Result<String, FormError> {
        let writer = |why: String| FormError::Writer { form: self, why };
        match self {
            Self::Html => Ok(diff.html()),
            Self::Markdown => Ok(crate::diff::comment(diff)),
            Self::Text => Ok(diff.to_string()),
            Self::Json => json(diff).map_err(writer),
            Self::Junit { .. } => junit::difference(diff).map_err(writer),
            Self::Csv | Self::Prometheus => {
                let known = "html, markdown, json, junit or text";
                Err(FormError::None { document: "difference", form: self, known })
            }
        }
    }
}

fn concluded(study: &Document) -> Conclusion {
    study.conclusion().cloned().unwrap_or_default()
}

fn json(value: &impl Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    Ok(json_escaped(&text).into_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_stand_for_forms() {
        for (name, form) in [
            ("a/report.HTML", Some(Form::Html)),
            ("x.md", Some(Form::Markdown)),
            ("junit.xml", Some(Form::Junit { strict_practices: false })),
            ("node.prom", Some(Form::Prometheus)),
            ("x.png", None),
            ("html", None),
        ] {
            assert_eq!(Form::of_path(Path::new(name)), form, "{name}");
        }
    }
}
