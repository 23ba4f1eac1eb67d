//! What has been made, as lines that are only ever appended: the first names the service, each of the others what became
//! of one enrollment.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fleetstorm_files::is_locked;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// What stands unescaped in a path's segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The ledger cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {}: {why}", path.display())]
pub struct LedgerError {
    path: PathBuf,
    why: String,
}

/// An enrollment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Entry {
    Individual(String),
    Group(String),
}

impl Entry {
    /// Its path in the enrollment API.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Individual(id) => format!("/enrollments/{}", escaped(id)),
            Self::Group(id) => format!("/enrollmentGroups/{}", escaped(id)),
        }
    }
}

/// An id as a segment of a path.
pub(super) fn escaped(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}

/// What became of an enrollment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// It is about to be made.
    Wanted,
    /// It was made by us.
    Made,
    /// It was there before.
    Found,
    /// It was removed by us.
    Removed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    service: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    enrollment: Entry,
    state: State,
}

/// A ledger that is open for writing.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    states: BTreeMap<Entry, State>,
}

impl Ledger {
    /// Opens a service's ledger, or begins one.
    pub(super) fn open(path: &Path, service: &str) -> Result<Self, LedgerError> {
        let failed = |why: String| LedgerError { path: path.to_owned(), why };
        if path.exists() {
            return Self::existing(path, service);
        }
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|error| failed(error.to_string()))?;
        }
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let file = alone(file.map_err(|error| failed(error.to_string()))?).map_err(failed)?;
        let mut ledger = Self { path: path.to_owned(), file, states: BTreeMap::new() };
        ledger.append(&Head { service: service.to_owned() })?;
        Ok(ledger)
    }

    /// Opens a service's ledger that has been begun.
    pub(super) fn existing(path: &Path, service: &str) -> Result<Self, LedgerError> {
        let failed = |why: String| LedgerError { path: path.to_owned(), why };
        let (known, states, whole_bytes) = read(path)?;
        if !known.eq_ignore_ascii_case(service) {
            return Err(failed(format!(
                "it lists enrollments of {known}, not of {service}; name another --ledger"
            )));
        }
        let file = OpenOptions::new().append(true).open(path).map_err(|error| failed(error.to_string()))?;
        let file = alone(file).map_err(failed)?;
        // A line that was cut off says nothing; the next one must not be glued to it.
        file.set_len(whole_bytes).map_err(|error| failed(error.to_string()))?;
        Ok(Self { path: path.to_owned(), file, states })
    }

    /// What became of an enrollment last.
    pub(super) fn state(&self, entry: &Entry) -> Option<State> {
        self.states.get(entry).copied()
    }

    /// What is ours to remove. What was only wanted may have been made.
    pub(super) fn ours(&self) -> Vec<Entry> {
        let ours = self.states.iter().filter(|(_, state)| matches!(state, State::Made | State::Wanted));
        ours.map(|(entry, _)| entry.clone()).collect()
    }

    /// Writes a line through to the disk.
    pub(super) fn write(&mut self, entry: &Entry, state: State) -> Result<(), LedgerError> {
        self.append(&Line { enrollment: entry.clone(), state })?;
        self.states.insert(entry.clone(), state);
        Ok(())
    }

    fn append(&mut self, line: &impl Serialize) -> Result<(), LedgerError> {
        let failed = |why: String| LedgerError { path: self.path.clone(), why };
        let mut bytes = serde_json::to_vec(line).map_err(|error| failed(error.to_string()))?;
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written
            .map_err(|error| failed(format!("cannot be written: {error}; nothing more is made without it")))
    }
}

/// The file, unless another process writes to it: two would not know what the other has made.
fn alone(file: File) -> Result<File, String> {
    if is_locked(&file) {
        return Err("another fleetstorm writes to it: wait until it ends".to_owned());
    }
    Ok(file)
}

/// The service whose enrollments a ledger lists.
pub(super) fn address(path: &Path) -> Result<String, LedgerError> {
    Ok(read(path)?.0)
}

type Contents = (String, BTreeMap<Entry, State>, u64);

/// Reads a ledger: its service, what became of each enrollment, and the length of its whole lines.
fn read(path: &Path) -> Result<Contents, LedgerError> {
    let failed = |why: String| LedgerError { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let whole = text.rfind('\n').map_or("", |last| &text[..=last]);
    let mut lines = whole.lines().enumerate();
    let head = lines.next().and_then(|(_, line)| serde_json::from_str::<Head>(line).ok());
    let head = head.ok_or_else(|| failed("this is no ledger of `fleetstorm enroll`".to_owned()))?;
    let mut states = BTreeMap::new();
    for (number, line) in lines {
        let line: Line =
            serde_json::from_str(line).map_err(|error| failed(format!("line {}: {error}", number + 1)))?;
        states.insert(line.enrollment, line.state);
    }
    Ok((head.service, states, whole.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str) -> Entry {
        Entry::Group(id.to_owned())
    }

    #[test]
    fn a_ledger_that_was_cut_off_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new").join("ledger.jsonl");
        let mut ledger = Ledger::open(&path, "https://h:1").unwrap();
        ledger.write(&group("a"), State::Wanted).unwrap();
        ledger.write(&group("a"), State::Made).unwrap();
        ledger.write(&Entry::Individual("b".into()), State::Found).unwrap();
        ledger.write(&group("c"), State::Wanted).unwrap();
        drop(ledger);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..24 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let mut ledger = Ledger::open(&path, "https://h:1").unwrap();
            assert_eq!(ledger.state(&group("a")), Some(State::Made), "{cut}");
            ledger.write(&group("d"), State::Made).unwrap();
            drop(ledger);
            let again = Ledger::existing(&path, "HTTPS://H:1").unwrap();
            assert_eq!(again.state(&group("d")), Some(State::Made), "{cut}");
            assert!(!again.ours().contains(&Entry::Individual("b".into())), "what was found is not ours");
        }
    }

    #[test]
    fn a_ledger_of_another_service_and_other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        drop(Ledger::open(&path, "https://h:1").unwrap());
        let error = Ledger::open(&path, "https://other:1").map(drop).unwrap_err().to_string();
        assert!(error.contains("https://h:1"), "{error}");
        std::fs::write(&path, "{}\n").unwrap();
        assert!(Ledger::existing(&path, "https://h:1").is_err());
        std::fs::write(&path, "{\"service\":\"https://h:1\"}\n{\"x\":1}\n").unwrap();
        assert!(Ledger::existing(&path, "https://h:1").map(drop).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn ids_cannot_leave_their_segment() {
        assert_eq!(group("a/../b?c").path(), "/enrollmentGroups/a%2F..%2Fb%3Fc");
    }
}
