//! `fleetstorm report` and `fleetstorm diff`: records in other forms, and beside each other.

use std::path::{Path, PathBuf};

use fleetstorm_engine::life;
use fleetstorm_files::write_whole;
use fleetstorm_reports::{Diff, Document, Form, Record, hgrm};

use crate::arguments::record::{DiffArguments, FormatChoice, ReportArguments};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn run(arguments: &ReportArguments) -> Result<u8, Failure> {
    let path = &arguments.record;
    let bytes = std::fs::read(path).map_err(|error| Failure::unreadable("record", path, &error))?;
    let mut document =
        Document::read(&bytes).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    if let Document::Run(record) = &mut document {
        record.path = path.display().to_string();
    }
    if let Some(text) = of_run_alone(arguments, &document)? {
        put(arguments.out.as_deref(), &text)?;
        return Ok(0);
    }
    let form = match form(arguments.format, arguments.out.as_deref())? {
        Form::Junit { .. } => Form::Junit { strict_practices: arguments.strict_practices },
        form => form,
    };
    let text = match (&document, form, &arguments.out) {
        (Document::Run(record), Form::Text, None) => {
            let summary = fleetstorm_reports::summary(record, terminal::colours(&std::io::stdout()));
            terminal::write_out_styled(&summary);
            return Ok(0);
        }
        _ => form.render(&document).map_err(|error| Failure::usage(error.to_string()))?,
    };
    put(arguments.out.as_deref(), &text)?;
    Ok(0)
}

/// The forms that only a run has, and that say one thing of it.
fn of_run_alone(arguments: &ReportArguments, document: &Document) -> Result<Option<String>, Failure> {
    let ending =
        arguments.out.as_ref().and_then(|out| out.extension()).is_some_and(|ending| ending == "hgrm");
    let wanted = match arguments.format {
        None if ending => FormatChoice::Hgrm,
        Some(wanted @ (FormatChoice::Hgrm | FormatChoice::Perfetto)) => wanted,
        _ => return Ok(None),
    };
    let Document::Run(record) = document else {
        return Err(Failure::usage("hgrm and perfetto are forms of the record of one run (run.json)"));
    };
    if matches!(wanted, FormatChoice::Hgrm) {
        return hgrm(record, &arguments.phase).map(Some).map_err(Failure::usage);
    }
    let path = &arguments.record;
    let named = record.trace.as_ref().map(|trace| beside(path, Path::new(&trace.file)));
    let trace = arguments.trace.clone().or(named).ok_or_else(|| {
        Failure::usage(format!("{} has no trace: run its scenario with --trace trace.jsonl", path.display()))
    })?;
    life::perfetto(&trace, record).map(Some).map_err(|error| Failure::usage(error.to_string()))
}

/// Where a record's trace is: beside the record, if they were moved together; else where it was written.
pub(crate) fn beside(record: &Path, trace: &Path) -> PathBuf {
    let here = trace.file_name().map(|name| record.with_file_name(name));
    here.filter(|here| here.exists()).unwrap_or_else(|| trace.to_owned())
}

pub(crate) fn diff(arguments: &DiffArguments) -> Result<u8, Failure> {
    let (base, new) = (read(&arguments.base)?, read(&arguments.new)?);
    if !(arguments.margin >= 0.0 && arguments.margin.is_finite()) {
        return Err(Failure::usage("--margin is a share such as 0.05"));
    }
    let diff = Diff::of(&base, &new, arguments.margin);
    let form = form(arguments.format, arguments.out.as_deref())?;
    let text = form.render_diff(&diff).map_err(|error| Failure::usage(error.to_string()))?;
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
    let record = Record::read(&bytes);
    let mut record = record.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    record.path = path.display().to_string();
    Ok(record)
}

/// The form that is named, else that of the file's ending, else text.
fn form(choice: Option<FormatChoice>, out: Option<&Path>) -> Result<Form, Failure> {
    let choice = match (choice, out) {
        (Some(choice), _) => choice,
        (None, None) => return Ok(Form::Text),
        (None, Some(out)) => {
            return Form::of_path(out).ok_or_else(|| {
                Failure::usage(format!(
                    "{} has an ending that stands for no form: use {}, or name one with --format",
                    out.display(),
                    Form::ENDINGS
                ))
            });
        }
    };
    Ok(match choice {
        FormatChoice::Html => Form::Html,
        FormatChoice::Markdown => Form::Markdown,
        FormatChoice::Json => Form::Json,
        FormatChoice::Csv => Form::Csv,
        FormatChoice::Junit => Form::Junit { strict_practices: false },
        FormatChoice::Prometheus => Form::Prometheus,
        FormatChoice::Text => Form::Text,
        FormatChoice::Hgrm | FormatChoice::Perfetto => {
            return Err(Failure::usage("hgrm and perfetto are forms of the record of one run (run.json)"));
        }
    })
}
