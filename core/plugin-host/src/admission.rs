//! Which libraries may be opened: those whose hash the operator has named, on the command line or in a lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::library::Library;
use super::problem::Problem;

/// Which libraries may be opened. Nothing to begin with.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    hashes: BTreeSet<String>,
    locked: BTreeMap<String, Locked>,
}

/// A library as a lock file names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// The name that the library gives itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file, in hex.
    pub sha256: String,
}

/// A hash or a lock file that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// Not a SHA-256.
    #[error("`{0}` is no SHA-256: 64 hexadecimal digits, as `fleetstorm plugin check` prints them")]
    NotAHash(String),
    /// Not a lock file.
    #[error("this is no lock file of plugins: {0}")]
    NotALock(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    #[serde(default)]
    plugin: Vec<Locked>,
}

impl Admission {
    /// Allows the file of this hash.
    ///
    /// # Errors
    /// It is no SHA-256 in hex.
    pub fn allow(&mut self, sha256: &str) -> Result<(), AdmissionError> {
        self.hashes.insert(normal(sha256)?);
        Ok(())
    }

    /// Allows what a lock file (TOML, a `[[plugin]]` table for each) lists.
    ///
    /// # Errors
    /// The text is no lock file.
    pub fn allow_locked(&mut self, text: &str) -> Result<(), AdmissionError> {
        let file: LockFile =
            toml::from_str(text).map_err(|error| AdmissionError::NotALock(error.to_string()))?;
        for locked in file.plugin {
            let sha256 = normal(&locked.sha256)?;
            self.locked.insert(sha256, locked);
        }
        Ok(())
    }

    /// Whether the file of this hash may be opened at all.
    pub(super) fn permit(&self, sha256: &str) -> Result<(), Problem> {
        if self.hashes.contains(sha256) || self.locked.contains_key(sha256) {
            return Ok(());
        }
        Err(Problem::NotAllowed { sha256: sha256.to_owned() })
    }

    /// Whether a library is the one that was locked. A hash on the command line allows it whatever it calls itself.
    pub(super) fn confirm(&self, sha256: &str, name: &str, version: &str) -> Result<(), Problem> {
        match self.locked.get(sha256) {
            Some(locked)
                if !self.hashes.contains(sha256) && (locked.name != name || locked.version != version) =>
            {
                Err(Problem::OtherThanLocked {
                    locked: format!("{} {}", locked.name, locked.version),
                    found: format!("{name} {version}"),
                })
            }
            _ => Ok(()),
        }
    }
}

/// The text of a lock file that allows these libraries. Linked ones need no entry and get none.
pub fn lock_text<'a>(libraries: impl IntoIterator<Item = &'a Library>) -> String {
    let mut text = String::from(
        "# Plugins that may be loaded. Each gets all rights of the program that loads it.\n\
         # Keep this file under version control.\n",
    );
    for library in libraries {
        let Some(sha256) = library.sha256() else { continue };
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n[[plugin]]\nname = {}\nversion = {}\nsha256 = {}\n",
            quoted(library.name()),
            quoted(library.version()),
            quoted(sha256)
        );
    }
    text
}

fn normal(sha256: &str) -> Result<String, AdmissionError> {
    let text = sha256.trim();
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text)
    } else {
        Err(AdmissionError::NotAHash(sha256.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: char) -> String {
        std::iter::repeat_n(digit, 64).collect()
    }

    #[test]
    fn nothing_is_allowed_until_somebody_allows_it() {
        let mut admission = Admission::default();
        let refusal = admission.permit(&hash('a')).unwrap_err().to_string();
        assert!(refusal.contains(&format!("--allow-plugin {}", hash('a'))), "{refusal}");
        admission.allow(&format!(" sha256:{} ", hash('A'))).unwrap();
        admission.permit(&hash('a')).unwrap();
        admission.confirm(&hash('a'), "any", "0").unwrap();
    }

    #[test]
    fn a_lock_allows_one_name_and_version() {
        let mut admission = Admission::default();
        let lock = format!("[[plugin]]\nname = \"mine\"\nversion = \"1.0\"\nsha256 = \"{}\"\n", hash('b'));
        admission.allow_locked(&lock).unwrap();
        admission.permit(&hash('b')).unwrap();
        admission.confirm(&hash('b'), "mine", "1.0").unwrap();
        let error = admission.confirm(&hash('b'), "mine", "1.1").unwrap_err().to_string();
        assert!(error.contains("mine 1.0") && error.contains("mine 1.1"), "{error}");
        admission.allow(&hash('b')).unwrap();
        admission.confirm(&hash('b'), "mine", "1.1").unwrap();
    }

    #[test]
    fn a_written_lock_is_read_again() {
        let library = Library::for_lock_tests("mi\"ne", "1.0", &hash('c'));
        let mut admission = Admission::default();
        admission.allow_locked(&lock_text([&library])).unwrap();
        admission.confirm(&hash('c'), "mi\"ne", "1.0").unwrap();
        admission.permit(&hash('c')).unwrap();
    }

    #[test]
    fn what_is_no_hash_or_lock_is_refused() {
        let mut admission = Admission::default();
        assert!(admission.allow("abc").is_err());
        assert!(admission.allow(&hash('g')).is_err());
        assert!(admission.allow_locked("[[plugin]]\nname = 3").is_err());
        assert!(admission.allow_locked("[plugins]").is_err());
        admission.allow_locked("").unwrap();
    }
}
