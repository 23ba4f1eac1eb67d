//! The mock's resource log on disk.

use std::path::{Path, PathBuf};

use fleetstorm_files::{LineFile, Manner, open_lines};
use fleetstorm_reports::record::ServiceLog as Summary;
use fleetstorm_scenario::LogFile;

use crate::ResolveError;

/// A log that is being written.
pub struct ServiceLog {
    file: PathBuf,
    bytes_before: u64,
    lines: LineFile<Vec<u8>>,
}

impl ServiceLog {
    /// Starts a log where a file asks for one. What a log has is added to where it is `kept`, else replaced. A `patient` log
    /// waits for the disk; any other one drops lines.
    ///
    /// # Errors
    /// The file cannot be made, another process writes to it, or it is no such log.
    pub fn start(
        settings: Option<&LogFile>,
        keep: bool,
        patient: bool,
    ) -> Result<Option<Self>, ResolveError> {
        let Some(settings) = settings else { return Ok(None) };
        let failed = |error| ResolveError::new(&settings.file, format!("the log cannot be written: {error}"));
        let (file, bytes_before) = open_lines(Path::new(&settings.file), keep, is_ours).map_err(failed)?;
        let manner =
            Manner { thread: "service-log", queue: settings.queue as usize, patient, bytes_max: u64::MAX };
        let lines = LineFile::start(file, &manner, |line: Vec<u8>, out| out.extend_from_slice(&line))
            .map_err(failed)?;
        Ok(Some(Self { file: PathBuf::from(&settings.file), bytes_before, lines }))
    }

    /// Bytes that an earlier service had written, and that are kept.
    pub const fn bytes_before(&self) -> u64 {
        self.bytes_before
    }

    /// Hands a line to the writer.
    pub fn add(&self, line: Vec<u8>) {
        self.lines.lines().add(line);
    }

    /// Writes what is queued and says how it went.
    pub fn finish(self) -> Summary {
        let written = self.lines.finish();
        Summary {
            file: self.file.display().to_string(),
            written: written.lines,
            dropped: written.dropped,
            error: written.error,
        }
    }
}

/// Whether a file that begins with this line is a resource log of ours.
fn is_ours(first: &str) -> bool {
    let columns: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(first).ok();
    columns
        .is_some_and(|columns| columns.contains_key("OperationName") && columns.contains_key("properties_s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notes.txt").display().to_string();
        std::fs::write(&file, "{\"OperationName\":\"of another kind\"}\n").unwrap();
        let settings = LogFile { file: file.clone(), queue: 1 };
        for keep in [false, true] {
            let refused = ServiceLog::start(Some(&settings), keep, false).err().unwrap();
            assert!(refused.to_string().contains("left alone"), "{refused}");
        }
        assert!(std::fs::read_to_string(&file).unwrap().contains("another kind"));
    }

    #[test]
    fn a_log_that_cannot_be_made_is_refused_before_anything_runs() {
        let settings = LogFile { file: "/nowhere/at/all".to_owned(), queue: 1 };
        assert!(ServiceLog::start(Some(&settings), false, false).is_err());
    }
}
