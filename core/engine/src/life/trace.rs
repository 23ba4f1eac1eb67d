//! A trace: what devices did, as JSON lines, for runs that cannot be had again.
//!
//! The first line says of which run it is; each further one is an event of a device.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use fleetstorm_files::{LineFile, Manner, open_lines};
use fleetstorm_reports::Record;
use fleetstorm_reports::record::Trace as Summary;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Moment;
use serde::{Deserialize, Serialize};

use super::told;
use crate::event::Event;
use crate::listen::{Ear, LINES_MAX, Line, Listener};
use crate::plan::Plan;

/// The version of the format.
const VERSION: u32 = 1;
/// Events that may wait for the disk.
const QUEUE: usize = 65_536;
/// Longest line that is read: longer than the name of a hub that an answer has room for, however it is escaped.
const LINE_MAX: u64 = 16 << 20;

/// A trace that is being written.
pub struct Trace {
    path: PathBuf,
    file: LineFile<Line>,
    devices: Option<Vec<u32>>,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    /// The version.
    trace: u32,
    name: String,
    seed: u64,
    devices: u64,
}

/// Any other line.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    at_ns: Moment,
    #[serde(borrow)]
    device: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    event: Event,
}

/// A trace cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be made.
    #[error("the trace {} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be read.
    #[error("the trace {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: this is no line of a trace: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// It belongs to something else.
    #[error("{} is the trace of another run: {why}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// How it differs.
        why: String,
    },
    /// The device is not in it.
    #[error(
        "{} has no line of {device}: a trace is of the devices that are watched, all of a fleet of up to 10,000; \
         run again with --trace-device {device}",
        path.display()
    )]
    NoDevice {
        /// The file.
        path: PathBuf,
        /// The device.
        device: String,
    },
}

impl Trace {
    /// Starts a trace of a run of this scenario. With `devices`, by their numbers, it is of these; else of all that are
    /// watched event by event. A `patient` trace waits for the disk; any other one drops lines. A trace that is there is
    /// replaced.
    ///
    /// # Errors
    /// The file cannot be made, is another run's, or is no trace.
    pub fn start(
        path: &Path,
        scenario: &Scenario,
        devices: Option<Vec<u32>>,
        patient: bool,
        bytes_max: u64,
    ) -> Result<Self, TraceError> {
        let failed = |source| TraceError::Write { path: path.to_owned(), source };
        let is_trace = |first: &str| serde_json::from_str::<Head>(first).is_ok();
        let (mut file, _) = open_lines(path, false, is_trace).map_err(failed)?;
        let head = Head {
            trace: VERSION,
            name: scenario.name.clone(),
            seed: scenario.seed,
            devices: scenario.fleet.devices.into(),
        };
        let head = serde_json::to_string(&head).map_err(|error| failed(error.into()))?;
        writeln!(file, "{head}").map_err(failed)?;
        let manner = Manner { thread: "trace", queue: QUEUE, patient, bytes_max };
        let names = scenario.fleet.clone();
        let names = Scenario { fleet: names, ..Scenario::default() };
        let file = LineFile::start(file, &manner, move |line: Line, out| {
            let device = names.registration_id(line.device).into();
            // A value of our own makes valid JSON, and memory does not refuse it.
            let _ = serde_json::to_writer(&mut *out, &Entry { at_ns: line.at, device, event: line.event });
            out.push(b'\n');
        })
        .map_err(failed)?;
        let devices = devices.map(|mut devices| {
            devices.sort_unstable();
            devices.dedup();
            devices
        });
        Ok(Self { path: path.to_owned(), file, devices })
    }

    /// The same plan, with its devices traced. Its run must be over before [`Trace::finish`].
    #[must_use]
    pub fn of(&self, plan: Plan) -> Plan {
        plan.listening(Listener {
            devices: self.devices.as_deref().map(Into::into),
            ear: Ear::Trace(self.file.lines().clone()),
        })
    }

    /// Writes what is queued and says how it went.
    pub fn finish(self) -> Summary {
        let written = self.file.finish();
        Summary {
            file: self.path.display().to_string(),
            written: written.lines,
            dropped: written.dropped,
            error: written.error,
        }
    }
}

/// Tells from the trace of a record's run what the device of this registration id did.
///
/// # Errors
/// The trace cannot be read, is damaged, is of another run, or has nothing of this device.
pub fn tell(path: &Path, record: &Record, device: &str) -> Result<String, TraceError> {
    let mut life: Vec<(Moment, Event)> = Vec::new();
    read(path, record, |whose, at, event| {
        if whose == device && life.len() < LINES_MAX {
            life.push((at, event));
        }
        Ok(())
    })?;
    if life.is_empty() {
        return Err(TraceError::NoDevice { path: path.to_owned(), device: device.to_owned() });
    }
    let mut out = told(device, record, life.iter().map(|(moment, event)| (*moment, event)));
    if let Some(gaps) = record.trace.as_ref().filter(|trace| trace.dropped > 0) {
        out.push_str(&format!(
            "{} of the trace's lines were dropped, because the disk was slower than the fleet: lines of this life may be \
             missing\n",
            gaps.dropped
        ));
    }
    Ok(out)
}

/// Reads the trace of a record's run: the events of each device are in their order, those of two devices need not be.
pub(super) fn read(
    path: &Path,
    record: &Record,
    mut each: impl FnMut(&str, Moment, Event) -> Result<(), TraceError>,
) -> Result<(), TraceError> {
    let failed = |source| TraceError::Read { path: path.to_owned(), source };
    let other = |why: String| TraceError::Other { path: path.to_owned(), why };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let (mut line, mut number, mut lines) = (String::new(), 0, 0);
    loop {
        line.clear();
        let length = std::io::Read::take(&mut file, LINE_MAX).read_line(&mut line).map_err(failed)?;
        if length == 0 {
            break;
        }
        number += 1;
        let wrong = |error: serde_json::Error| TraceError::Line {
            path: path.to_owned(),
            line: number,
            why: error.to_string(),
        };
        if number == 1 {
            let head: Head = serde_json::from_str(&line).map_err(wrong)?;
            check(&head, record).map_err(other)?;
            continue;
        }
        lines += 1;
        // A run that was killed may have left half a line at the end.
        if !line.ends_with('\n') && (length as u64) < LINE_MAX {
            break;
        }
        let entry: Entry<'_> = serde_json::from_str(&line).map_err(wrong)?;
        each(&entry.device, entry.at_ns, entry.event)?;
    }
    if number == 0 {
        return Err(other("it is empty".to_owned()));
    }
    if let Some(known) = record.trace.as_ref().filter(|known| known.written != lines) {
        return Err(other(format!("its run wrote {} lines, and it has {lines}", known.written)));
    }
    Ok(())
}

fn check(head: &Head, record: &Record) -> Result<(), String> {
    if head.trace > VERSION {
        return Err(format!("it has version {}, and this program reads up to {VERSION}", head.trace));
    }
    let of = |name: &str, seed: u64, devices: u64| format!("`{name}` with seed {seed} and {devices} devices");
    if (&head.name, head.seed, head.devices) != (&record.name, record.seed, record.devices) {
        return Err(format!(
            "it is of {}, and the record of {}",
            of(&head.name, head.seed, head.devices),
            of(&record.name, record.seed, record.devices)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_with_a_name_of_70_000_characters_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace.jsonl");
        let scenario = Scenario::default();
        let trace = Trace::start(&path, &scenario, None, true, 64 << 20).unwrap();
        // Written as six characters each.
        let hubs = ["h".repeat(70_000), "\u{1}".repeat(70_000)];
        for hub in &hubs {
            let event =
                Event::Assigned { hub: hub.as_str().into(), took_ns: Default::default(), attempts: 1 };
            trace.file.lines().add(Line { device: 3, at: Moment::START, event });
        }
        let written = trace.finish();
        assert_eq!((written.written, written.dropped), (2, 0));
        let record = Record {
            name: scenario.name.clone(),
            seed: scenario.seed,
            devices: scenario.fleet.devices.into(),
            trace: Some(written),
            ..Record::empty()
        };
        let told = tell(&path, &record, &scenario.registration_id(3)).unwrap();
        let (begin, whole) = (format!("has its hub {}", "h".repeat(50)), &hubs[0]);
        assert!(told.contains(&begin) && !told.contains(whole), "{} bytes", told.len());
        assert_eq!(told.matches("has its hub").count(), 2, "both lines are read");
    }
}
