//! Writing results: whole or not at all, and never over what is not a file of results.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A result could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The place refuses it.
    #[error("{} cannot be written: {source}{}", path.display(), hint(source))]
    Refused {
        /// The place.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// Another process writes there.
    #[error("another fleetstorm writes its results to {}: wait until it ends, or name another place", path.display())]
    Busy {
        /// The place.
        path: PathBuf,
    },
}

fn hint(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room, or name another place",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "; name another place",
        _ => "",
    }
}

/// Writes a file beside its place, flushes it to the disk and moves it there: a reader, or a run that is killed,
/// finds the old file or the new one and nothing in between. A link is followed. A pipe or a device is written into, and
/// stays what it is.
///
/// # Errors
/// The disk is full, the directory may not be written, and the like. Nothing is left behind.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<(), WriteError> {
    write_together((path, contents), &[])
}

/// Writes a result and the pages that are made of it, each as [`write_whole`] does, and moves them to their places once all
/// are on the disk. No page stands beside the result that was made of an earlier one, whenever the process is killed. A page
/// that cannot be written does not keep the result from its place.
///
/// # Errors
/// As for [`write_whole`], for any of them.
pub fn write_together(result: (&Path, &[u8]), pages: &[(&Path, &[u8])]) -> Result<(), WriteError> {
    let make = |(path, contents)| Ready::make(path, contents).map_err(|error| refused(path, error));
    let first = make(result)?;
    let others: Vec<Result<Ready<'_>, WriteError>> = pages.iter().copied().map(make).collect();
    for (path, _) in pages {
        if let Ok(Place::File(earlier)) = place(path)
            && let Err(error) = std::fs::remove_file(earlier)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(refused(path, error));
        }
    }
    first.settle().map_err(|error| refused(result.0, error))?;
    for (other, (path, _)) in others.into_iter().zip(pages) {
        other?.settle().map_err(|error| refused(path, error))?;
    }
    Ok(())
}

fn refused(path: &Path, source: Error) -> WriteError {
    WriteError::Refused { path: path.to_owned(), source }
}

/// What has been written and is not at its place yet.
enum Ready<'a> {
    Beside(Part),
    Stream(PathBuf, &'a [u8]),
}

/// A file beside the place it is for. It is removed if it does not get there.
struct Part {
    part: Option<PathBuf>,
    place: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // The part is worthless; that it cannot be removed either would only hide why.
            let _ = std::fs::remove_file(part);
        }
    }
}

impl<'a> Ready<'a> {
    fn make(path: &Path, contents: &'a [u8]) -> std::io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let place = match place(path)? {
            Place::Open(path) => return Ok(Self::Stream(path, contents)),
            Place::File(place) => place,
        };
        let directory = directory(&place);
        DirBuilder::new().recursive(true).create(directory)?;
        // A file that must not be written must not be replaced either.
        let before = match OpenOptions::new().write(true).open(&place) {
            Ok(file) => Some(file.metadata()?.permissions()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let name = format!(".fleetstorm-{}-{}.part", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let beside = directory.join(name);
        // What a killed process of the same number has left.
        let _ = std::fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        let part = Part { part: Some(beside), place };
        if let Some(permissions) = before {
            file.set_permissions(permissions)?;
        }
        file.write_all(contents)?;
        file.sync_all()?;
        Ok(Self::Beside(part))
    }

    fn settle(self) -> std::io::Result<()> {
        match self {
            Self::Beside(mut part) => {
                if let Some(beside) = &part.part {
                    std::fs::rename(beside, &part.place)?;
                }
                part.part = None;
                Ok(())
            }
            Self::Stream(path, contents) => {
                let mut stream = OpenOptions::new().append(true).open(path)?;
                match stream.write_all(contents) {
                    // Who has read enough is in nobody's way.
                    Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// What a path leads to.
enum Place {
    /// A regular file, there or not.
    File(PathBuf),
    /// Something to be written into: a pipe, a device, or what a process has open.
    Open(PathBuf),
}

/// Links that are followed, as the system does.
const LINKS_MOST: u32 = 40;

/// Follows links, to nothing too.
fn place(path: &Path) -> std::io::Result<Place> {
    let mut at = path.to_owned();
    for _ in 0..LINKS_MOST {
        let facts = match std::fs::symlink_metadata(&at) {
            Ok(facts) => facts,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::File(at)),
            Err(error) => return Err(error),
        };
        if facts.is_file() {
            return Ok(Place::File(at));
        }
        if facts.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !facts.is_symlink() {
            return Ok(Place::Open(at));
        }
        // Behind such a link is what a process has open, by whatever name or none.
        if directory(&at).canonicalize()?.starts_with("/proc") {
            return Ok(Place::Open(at));
        }
        at = directory(&at).join(std::fs::read_link(&at)?);
    }
    Err(Error::other("its links lead in a circle"))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A directory that is this process's to write results to, until this is dropped or the process ends, in whatever way.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

impl Claim {
    /// Makes the directory if it is not there, and claims it.
    ///
    /// # Errors
    /// Another process has claimed it, or it cannot be written.
    pub fn directory(path: &Path) -> Result<Self, WriteError> {
        let failed = |error| refused(path, error);
        DirBuilder::new().recursive(true).create(path).map_err(failed)?;
        let lock = File::open(path).map_err(failed)?;
        if is_locked(&lock) {
            return Err(WriteError::Busy { path: path.to_owned() });
        }
        // A disk that refuses results is told before a fleet has run, not after.
        let probe = path.join(format!(".fleetstorm-{}.probe", std::process::id()));
        write_whole(&probe, b"")?;
        std::fs::remove_file(&probe).map_err(failed)?;
        Ok(Self { _lock: lock })
    }
}

/// Takes the lock of a file; whether another process has it. A filesystem without locks has none.
pub fn is_locked(file: &File) -> bool {
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Opens a file to add lines to. Only one of ours is emptied (`keep` is false) or added to, and only if no other process
/// writes to it; `is_ours` looks at its first line. Also says how many bytes it had, if they are kept.
///
/// # Errors
/// It cannot be opened, is another process's, or is no file of ours.
pub fn open_lines(
    path: &Path,
    keep: bool,
    is_ours: impl FnOnce(&str) -> bool,
) -> std::io::Result<(File, u64)> {
    use std::io::{BufRead as _, Read as _, Seek as _, SeekFrom};
    const FIRST_MOST: u64 = 1 << 20;
    let at = match place(path)? {
        Place::Open(at) => return Ok((OpenOptions::new().append(true).open(at)?, 0)),
        Place::File(at) => at,
    };
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(at)?;
    if is_locked(&file) {
        return Err(Error::other(
            "another fleetstorm writes to it: wait until it ends, or name another file",
        ));
    }
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok((file, 0));
    }
    let mut first = Vec::new();
    std::io::BufReader::new((&file).take(FIRST_MOST)).read_until(b'\n', &mut first)?;
    if !is_ours(String::from_utf8_lossy(&first).trim_end()) {
        return Err(Error::other(
            "there is a file of something else, which is left alone: name another file",
        ));
    }
    if !keep {
        file.set_len(0)?;
        return Ok((file, 0));
    }
    let mut last = [b'\n'];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != [b'\n'] {
        // Half a line of a process that was killed stays a line of its own.
        file.write_all(b"\n")?;
    }
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new").join("run.json");
        write_whole(&path, b"one").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "no more may read it than before"
        );
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn links_are_followed_and_stay() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("far")).unwrap();
        symlink("far/report.html", at("near")).unwrap();
        symlink(at("near"), at("nearer")).unwrap();
        for text in [b"one", b"two"] {
            write_whole(&at("nearer"), text).unwrap();
            assert_eq!(std::fs::read(at("far/report.html")).unwrap(), text);
        }
        assert!(at("near").is_symlink() && at("nearer").is_symlink());
        symlink("b", at("a")).unwrap();
        symlink("a", at("b")).unwrap();
        assert!(write_whole(&at("a"), b"x").unwrap_err().to_string().contains("circle"));
    }

    #[test]
    fn pipes_and_devices_are_written_into() {
        use std::os::unix::fs::FileTypeExt as _;
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || std::fs::read(pipe).unwrap())
        };
        write_whole(&pipe, b"told").unwrap();
        assert_eq!(reader.join().unwrap(), b"told");
        assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        write_whole(Path::new("/dev/null"), b"x").unwrap();
        let full = write_whole(Path::new("/dev/full"), b"x").unwrap_err().to_string();
        assert!(full.contains("/dev/full") && full.contains("make room"), "{full}");
        for device in ["/dev/null", "/dev/full"] {
            assert!(std::fs::metadata(device).unwrap().file_type().is_char_device(), "{device}");
        }
        assert!(write_whole(directory.path(), b"x").is_err(), "a directory is no file");
    }

    #[test]
    fn a_result_gets_to_its_place_without_its_page_and_never_beside_an_earlier_one() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (run, page, other) = (at("run.json"), at("report.html"), at("other"));
        write_together((&run, b"1"), &[(&page, b"1")]).unwrap();
        std::fs::create_dir(&other).unwrap();
        write_together((&run, b"2"), &[(&page, b"2"), (&other, b"2")]).unwrap_err();
        assert_eq!(
            (std::fs::read(&run).unwrap(), std::fs::read(&page).unwrap()),
            (b"2".to_vec(), b"2".to_vec())
        );
        write_together((&run, b"3"), &[(&other, b"3"), (&page, b"3")]).unwrap_err();
        assert_eq!((std::fs::read(&run).unwrap(), page.exists()), (b"3".to_vec(), false));
        write_together((&other, b"4"), &[(&page, b"4")]).unwrap_err();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "no part is left");
    }

    #[test]
    fn a_directory_is_claimed_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let claim = Claim::directory(&path).unwrap();
        let busy = Claim::directory(&path).unwrap_err();
        assert!(matches!(busy, WriteError::Busy { .. }), "{busy}");
        drop(claim);
        Claim::directory(&path).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "nothing is left of it");
    }

    #[test]
    fn only_lines_of_ours_are_replaced_or_added_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let open = |keep| open_lines(&path, keep, |first| first == "ours");
        std::fs::write(&path, "theirs\n").unwrap();
        assert!(open(false).unwrap_err().to_string().contains("left alone"));
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs\n");
        std::fs::write(&path, "ours\nha").unwrap();
        let (mut file, kept) = open(true).unwrap();
        assert_eq!(kept, 7);
        file.write_all(b"new\n").unwrap();
        assert!(open(true).unwrap_err().to_string().contains("another"), "it is being written");
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"ours\nha\nnew\n");
        drop(open(false).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
