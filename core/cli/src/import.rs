//! `fleetstorm import`: a mock's file from what people have of a service.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use fleetstorm_files::write_whole;
use fleetstorm_import::{FILE_MOST, HEADER, ImportError, Keys, Options, Source, import};
use fleetstorm_units::number::counted;

use crate::arguments::import::{ImportArguments, KeysChoice};
use crate::failure::Failure;

/// Lines of a kind that are told; more are counted.
const TOLD_MAX: usize = 20;

pub(crate) fn run(arguments: &ImportArguments) -> Result<u8, Failure> {
    let read = arguments.files.iter().map(|path| Ok((path.display().to_string(), read(path)?)));
    let files: Vec<(String, Vec<u8>)> = read.collect::<Result<_, Failure>>()?;
    let sources: Vec<Source<'_>> = files.iter().map(|(name, bytes)| Source { name, bytes }).collect();
    if let Some(out) = &arguments.out {
        leave_others(out)?;
    }
    let keys = match arguments.keys {
        KeysChoice::File => Keys::Files,
        KeysChoice::Env => Keys::Environment,
    };
    let done = import(&sources, &Options { service: arguments.service.clone(), keys })?;
    match &arguments.out {
        Some(out) => {
            write_whole(out, done.text.as_bytes()).map_err(|error| Failure::unwritable(&error, "--out"))?;
        }
        None => print!("{}", done.text),
    }
    tell("not carried over", &done.lost);
    tell("needed", &done.needs);
    Ok(0)
}

/// Reads a file, or as much of it as is too much.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MOST as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::unreadable("file", path, &error))?;
    Ok(bytes)
}

/// Refuses a place that holds something else than an earlier import.
fn leave_others(out: &Path) -> Result<(), Failure> {
    match std::fs::read(out) {
        Ok(text) if !text.is_empty() && !text.starts_with(HEADER.as_bytes()) => Err(Failure::usage(format!(
            "{} holds something else than an import, and is left alone: give --out another place",
            out.display()
        ))),
        _ => Ok(()),
    }
}

fn tell(what: &str, lines: &[String]) {
    for line in lines.iter().take(TOLD_MAX) {
        eprintln!("{what}: {line}");
    }
    if let Some(more) = lines.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        eprintln!("{what}: {} more of the kind", counted(more as u64, "line"));
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::usage(error.to_string())
    }
}
