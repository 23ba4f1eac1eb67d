//! `fleetstorm report` and `fleetstorm diff`: records in other forms, and beside each other.

use std::path::Path;

use fleetstorm_engine::write_whole;
use fleetstorm_reports::{Diff, Document, Form, Record};

use crate::arguments::record::{DiffArguments, DiffFormat, FormatChoice, ReportArguments};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn run(arguments: &ReportArguments) -> Result<u8, Failure> {
    let path = &arguments.record;
    let bytes = std::fs::read(path).map_err(|error| Failure::unreadable("record", path, &error))?;
    let document =
        Document::read(&bytes).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let form = match (arguments.format, &arguments.out) {
        (Some(format), _) => form(format),
        (None, Some(out)) => Form::of_path(out).ok_or_else(|| {
            Failure::usage(format!(
                "{} has an ending that stands for no form: use {}, or name one with --format",
                out.display(),
                Form::ENDINGS
            ))
        })?,
        (None, None) => Form::Text,
    };
    let text = match (&document, form, &arguments.out) {
        (Document::Run(record), Form::Text, None) => {
            fleetstorm_reports::summary(record, terminal::colours(&std::io::stdout()))
        }
        _ => form.render(&document).map_err(|error| Failure::usage(error.to_string()))?,
    };
    put(arguments.out.as_deref(), &text)?;
    Ok(0)
}

pub(crate) fn diff(arguments: &DiffArguments) -> Result<u8, Failure> {
    let (base, new) = (read(&arguments.base)?, read(&arguments.new)?);
    if !(arguments.margin >= 0.0 && arguments.margin.is_finite()) {
        return Err(Failure::usage("--margin is a share such as 0.05"));
    }
    let diff = Diff::of(&base, &new, arguments.margin);
    let text = match arguments.format {
        DiffFormat::Text => diff.to_string(),
        DiffFormat::Html => diff.html(),
        DiffFormat::Json => {
            let text = serde_json::to_string_pretty(&diff);
            text.map_err(|error| Failure::internal(error.to_string()))? + "\n"
        }
    };
    put(arguments.out.as_deref(), &text)?;
    Ok(if arguments.fail_on_regression { diff.outcome.exit_code() } else { 0 })
}

fn put(out: Option<&Path>, text: &str) -> Result<(), Failure> {
    match out {
        Some(out) => write_whole(out, text.as_bytes()).map_err(|error| Failure::internal(error.to_string())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// Reads a record, and nothing else.
pub(crate) fn read(path: &Path) -> Result<Record, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::unreadable("record", path, &error))?;
    Record::read(&bytes).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

const fn form(choice: FormatChoice) -> Form {
    match choice {
        FormatChoice::Html => Form::Html,
        FormatChoice::Markdown => Form::Markdown,
        FormatChoice::Json => Form::Json,
        FormatChoice::Csv => Form::Csv,
        FormatChoice::Junit => Form::Junit,
        FormatChoice::Prometheus => Form::Prometheus,
        FormatChoice::Text => Form::Text,
    }
}
