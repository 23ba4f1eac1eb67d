//! The mock's resource log on disk.

use std::fs::File;
use std::path::PathBuf;

use fleetstorm_model::scenario::LogFile;
use fleetstorm_reports::record::ServiceLog as Summary;

use crate::lines::{LineFile, Manner};
use crate::mock::ResolveError;

/// A log that is being written.
pub(crate) struct ServiceLog {
    file: PathBuf,
    lines: LineFile<Vec<u8>>,
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
        let manner =
            Manner { thread: "service-log", queue: settings.queue as usize, patient, bytes_max: u64::MAX };
        let lines = LineFile::start(file, &manner, |line: Vec<u8>, out| out.extend_from_slice(&line))
            .map_err(failed)?;
        Ok(Some(Self { file: PathBuf::from(&settings.file), lines }))
    }

    /// Hands a line to the writer.
    pub(crate) fn add(&self, line: Vec<u8>) {
        self.lines.lines().add(line);
    }

    /// Writes what is queued and says how it went.
    pub(crate) fn finish(self) -> Summary {
        let written = self.lines.finish();
        Summary {
            file: self.file.display().to_string(),
            written: written.lines,
            dropped: written.dropped,
            error: written.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_made_is_refused_before_anything_runs() {
        let settings = LogFile { file: "/nowhere/at/all".to_owned(), queue: 1 };
        assert!(ServiceLog::start(Some(&settings), false).is_err());
    }
}
