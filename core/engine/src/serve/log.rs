//! The mock's resource log on disk.
//!
//! The door must not wait for a disk, so lines go through a bounded queue to a thread that writes. What does not fit
//! is dropped and counted: a log that is not whole says so.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use fleetstorm_model::scenario::LogFile;
use fleetstorm_reports::record::ServiceLog as Summary;

use crate::mock::ResolveError;

/// A log that is being written.
pub(crate) struct ServiceLog {
    file: PathBuf,
    lines: SyncSender<Vec<u8>>,
    dropped: u64,
    /// Whether a full queue is waited for.
    patient: bool,
    writer: JoinHandle<Written>,
}

/// What became of the lines that the writer got.
#[derive(Default)]
struct Written {
    lines: u64,
    lost: u64,
    error: String,
}

impl ServiceLog {
    /// Starts a log where a file asks for one. A `patient` log waits for the disk; any other one drops lines.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn start(settings: Option<&LogFile>, patient: bool) -> Result<Option<Self>, ResolveError> {
        let Some(settings) = settings else { return Ok(None) };
        let failed = |error| ResolveError::new(&settings.file, format!("the log cannot be written: {error}"));
        let file = File::create(&settings.file).map_err(failed)?;
        let (lines, queue) = sync_channel(settings.queue.max(1) as usize);
        let writer = std::thread::Builder::new()
            .name("service-log".to_owned())
            .spawn(move || write_all(&queue, file))
            .map_err(failed)?;
        let file = PathBuf::from(&settings.file);
        Ok(Some(Self { file, lines, dropped: 0, patient, writer }))
    }

    /// Hands a line to the writer.
    pub(crate) fn add(&mut self, line: Vec<u8>) {
        let refused =
            if self.patient { self.lines.send(line).is_err() } else { self.lines.try_send(line).is_err() };
        self.dropped += u64::from(refused);
    }

    /// Writes what is queued and says how it went.
    pub(crate) fn finish(self) -> Summary {
        drop(self.lines);
        let written = self
            .writer
            .join()
            .unwrap_or_else(|_| Written { error: "the writer ended badly".to_owned(), ..Written::default() });
        Summary {
            file: self.file.display().to_string(),
            written: written.lines,
            dropped: self.dropped + written.lost,
            error: written.error,
        }
    }
}

fn write_all(queue: &Receiver<Vec<u8>>, file: File) -> Written {
    let mut out = BufWriter::with_capacity(64 * 1024, file);
    let mut written = Written::default();
    // Lines in the buffer that have not reached the file.
    let mut pending = 0;
    loop {
        let next = match queue.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                // Nobody waits: whoever follows the file shall see what there is.
                settle(&mut written, &mut pending, out.flush());
                queue.recv().ok()
            }
        };
        let Some(line) = next else { break };
        if !written.error.is_empty() {
            written.lost += 1;
            continue;
        }
        pending += 1;
        if let Err(error) = out.write_all(&line) {
            settle(&mut written, &mut pending, Err(error));
        }
    }
    settle(&mut written, &mut pending, out.flush());
    written
}

/// Counts the pending lines as written or, with the first error, as lost.
fn settle(written: &mut Written, pending: &mut u64, flushed: std::io::Result<()>) {
    match flushed {
        Ok(()) => written.lines += std::mem::take(pending),
        Err(error) => {
            written.lost += std::mem::take(pending);
            if written.error.is_empty() {
                written.error = error.to_string();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(file: &std::path::Path, queue: u32) -> LogFile {
        LogFile { file: file.display().to_string(), queue }
    }

    #[test]
    fn every_line_of_a_patient_log_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = ServiceLog::start(Some(&settings(&path, 1)), true).unwrap().unwrap();
        for n in 0..1_000 {
            log.add(format!("{n}\n").into_bytes());
        }
        let summary = log.finish();
        assert_eq!((summary.written, summary.dropped, &*summary.error), (1_000, 0, ""));
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1_000);
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = ServiceLog::start(Some(&settings(&path, 4)), false).unwrap().unwrap();
        for _ in 0..200_000 {
            log.add(vec![b'x'; 40]);
        }
        let summary = log.finish();
        assert_eq!(summary.written + summary.dropped, 200_000);
        assert_eq!(std::fs::metadata(path).unwrap().len(), 40 * summary.written);
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_so() {
        // Every write to this device fails as on a full disk.
        let full = std::path::Path::new("/dev/full");
        let mut log = ServiceLog::start(Some(&settings(full, 1_000)), true).unwrap().unwrap();
        for _ in 0..10_000 {
            log.add(vec![b'x'; 100]);
        }
        let summary = log.finish();
        assert_eq!((summary.written, summary.dropped), (0, 10_000));
        assert!(summary.error.contains("No space left"), "{}", summary.error);
    }

    #[test]
    fn a_log_that_cannot_be_made_is_refused_before_anything_runs() {
        let missing = std::path::Path::new("/nowhere/at/all");
        assert!(ServiceLog::start(Some(&settings(missing, 1)), false).is_err());
    }
}
