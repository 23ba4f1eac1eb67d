//! A file that is written line by line while something faster than a disk goes on.
//!
//! Whoever has a line must not wait for a disk, so lines go through a bounded queue to a thread that spells and writes
//! them. What does not fit is dropped and counted: a file that is not whole says so.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// Where lines are handed in.
#[derive(Clone, Debug)]
pub struct Lines<T> {
    queue: SyncSender<T>,
    dropped: Arc<AtomicU64>,
    /// Whether a full queue is waited for.
    patient: bool,
}

impl<T> Lines<T> {
    /// Hands a line to the writer.
    pub fn add(&self, line: T) {
        let refused =
            if self.patient { self.queue.send(line).is_err() } else { self.queue.try_send(line).is_err() };
        if refused {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// A file that is being written.
pub struct LineFile<T> {
    lines: Lines<T>,
    writer: JoinHandle<Written>,
}

/// How it is written.
pub struct Manner {
    /// Name of the thread.
    pub thread: &'static str,
    /// Lines that may wait.
    pub queue: usize,
    /// Whether a full queue is waited for rather than dropped into.
    pub patient: bool,
    /// The file never grows past so many bytes.
    pub bytes_max: u64,
}

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// They stand in the file.
    pub lines: u64,
    /// The queue was full, the disk refused them, or the file had its size.
    pub dropped: u64,
    /// Why lines were refused once they were through the queue; empty if none was.
    pub error: String,
}

impl<T: Send + 'static> LineFile<T> {
    /// Starts writing; `spell` adds a line to the bytes, line feed included.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(
        file: File,
        manner: &Manner,
        spell: impl FnMut(T, &mut Vec<u8>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(manner.queue.max(1));
        let bytes_max = manner.bytes_max;
        let writer = std::thread::Builder::new()
            .name(manner.thread.to_owned())
            .spawn(move || write_all(&lines, file, bytes_max, spell))?;
        let lines = Lines { queue, dropped: Arc::default(), patient: manner.patient };
        Ok(Self { lines, writer })
    }

    /// Where lines are handed in.
    pub fn lines(&self) -> &Lines<T> {
        &self.lines
    }

    /// Writes what is queued, once nobody hands in lines any longer, and says how it went.
    pub fn finish(self) -> Written {
        let dropped = Arc::clone(&self.lines.dropped);
        drop(self.lines);
        let mut written = self
            .writer
            .join()
            .unwrap_or_else(|_| Written { error: "the writer ended badly".to_owned(), ..Written::default() });
        written.dropped += dropped.load(Relaxed);
        written
    }
}

fn write_all<T>(
    queue: &Receiver<T>,
    file: File,
    bytes_max: u64,
    mut spell: impl FnMut(T, &mut Vec<u8>),
) -> Written {
    let mut out = BufWriter::with_capacity(64 * 1024, file);
    let mut written = Written::default();
    let (mut line, mut bytes) = (Vec::new(), 0);
    // Lines in the buffer that have not reached the file.
    let mut pending = 0;
    loop {
        let next = match queue.try_recv() {
            Ok(next) => Some(next),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                // Nobody waits: whoever follows the file shall see what there is.
                settle(&mut written, &mut pending, out.flush());
                queue.recv().ok()
            }
        };
        let Some(next) = next else { break };
        if !written.error.is_empty() {
            written.dropped += 1;
            continue;
        }
        line.clear();
        spell(next, &mut line);
        bytes += line.len() as u64;
        pending += 1;
        if bytes > bytes_max {
            pending -= 1;
            settle(&mut written, &mut pending, out.flush());
            written.dropped += 1;
            if written.error.is_empty() {
                written.error = format!("the file has reached its limit of {} MiB", bytes_max >> 20);
            }
        } else if let Err(error) = out.write_all(&line) {
            settle(&mut written, &mut pending, Err(error));
        }
    }
    settle(&mut written, &mut pending, out.flush());
    written
}

/// Counts the pending lines as written or, with the first error, as dropped.
fn settle(written: &mut Written, pending: &mut u64, flushed: std::io::Result<()>) {
    match flushed {
        Ok(()) => written.lines += std::mem::take(pending),
        Err(error) => {
            written.dropped += std::mem::take(pending);
            if written.error.is_empty() {
                written.error = error.to_string();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(path: &std::path::Path, manner: &Manner) -> LineFile<Vec<u8>> {
        let file = File::create(path).unwrap();
        LineFile::start(file, manner, |line: Vec<u8>, out| out.extend_from_slice(&line)).unwrap()
    }

    fn manner(queue: usize, patient: bool) -> Manner {
        Manner { thread: "lines", queue, patient, bytes_max: u64::MAX }
    }

    #[test]
    fn every_line_of_a_patient_file_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = start(&path, &manner(1, true));
        for n in 0..1_000 {
            file.lines().add(format!("{n}\n").into_bytes());
        }
        assert_eq!(file.finish(), Written { lines: 1_000, ..Written::default() });
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1_000);
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = start(&path, &manner(4, false));
        for _ in 0..200_000 {
            file.lines().add(vec![b'x'; 40]);
        }
        let written = file.finish();
        assert_eq!(written.lines + written.dropped, 200_000);
        assert_eq!(std::fs::metadata(path).unwrap().len(), 40 * written.lines);
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_so() {
        // Every write to this device fails as on a full disk.
        let file = start(std::path::Path::new("/dev/full"), &manner(1_000, true));
        for _ in 0..10_000 {
            file.lines().add(vec![b'x'; 100]);
        }
        let written = file.finish();
        assert_eq!((written.lines, written.dropped), (0, 10_000));
        assert!(written.error.contains("No space left"), "{}", written.error);
    }

    #[test]
    fn a_file_ends_before_its_limit_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = start(&path, &Manner { bytes_max: 2 << 20, ..manner(100, true) });
        for _ in 0..300 {
            file.lines().add(vec![b'x'; 10_000]);
        }
        let written = file.finish();
        assert_eq!((written.lines, written.dropped), (209, 91));
        assert_eq!(std::fs::metadata(path).unwrap().len(), 2_090_000);
        assert!(written.error.contains("limit of 2 MiB"), "{}", written.error);
    }
}
