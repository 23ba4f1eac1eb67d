//! A library's file before it is opened: found, read, hashed, sealed, and judged by what can be seen from outside.
//!
//! What is opened later is a sealed copy in memory whose hash was computed from the very bytes it holds, so nothing can
//! change between the check and the use.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rustix::fs::{MemfdFlags, OFlags, SealFlags};

use super::needs::Needs;
use super::problem::{LoadError, Problem};

/// Largest file that is taken for a plugin.
const FILE_MOST: u64 = 256 << 20;

/// The variable that names folders to look for plugins in, separated by `:`.
pub const SEARCH_VARIABLE: &str = "FLEETSTORM_PLUGIN_PATH";

/// A sealed copy of a library's file.
#[derive(Debug)]
pub struct Sealed {
    pub(super) path: PathBuf,
    pub(super) memory: File,
    pub(super) sha256: String,
    needs: Needs,
}

impl Sealed {
    /// Copies a file into sealed memory.
    ///
    /// # Errors
    /// The file cannot be read, anybody may write to it, or it is no library for this machine.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        Self::copy(path).map_err(|problem| LoadError { library: path.display().to_string(), problem })
    }

    /// The SHA-256 of the file in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Where the file was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The symbol that a library of this file name exports.
    pub fn symbol(&self) -> String {
        symbol(&self.path)
    }

    /// What the library pulls in, which its hash does not cover.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    fn copy(path: &Path) -> Result<Self, Problem> {
        // What is no regular file, such as a pipe, may not be waited for.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(Problem::Unreadable)?;
        let facts = file.metadata().map_err(Problem::Unreadable)?;
        if !facts.is_file() {
            return Err(Problem::NotALibrary);
        }
        if facts.permissions().mode() & 0o002 != 0 {
            return Err(Problem::WorldWritable);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(facts.len().min(FILE_MOST)).unwrap_or(0) + 1);
        (&file).take(FILE_MOST + 1).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
        if bytes.len() as u64 > FILE_MOST {
            return Err(Problem::TooLarge(FILE_MOST));
        }
        check_machine(&bytes)?;
        let sha256 = hex(digest::digest(&digest::SHA256, &bytes).as_ref());
        let memory = seal(&bytes).map_err(Problem::NotSealed)?;
        Ok(Self { path: path.to_owned(), memory, sha256, needs: Needs::of(&bytes) })
    }
}

fn seal(bytes: &[u8]) -> std::io::Result<File> {
    let memory =
        rustix::fs::memfd_create(c"fleetstorm-plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut memory = File::from(memory);
    memory.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(memory)
}

/// Reads the ELF header (System V ABI, "ELF Header"): whether this is a shared library for this machine.
fn check_machine(bytes: &[u8]) -> Result<(), Problem> {
    const SHARED: u16 = 3;
    const MACHINES: [(u16, &str); 8] = [
        (3, "x86"),
        (8, "mips"),
        (21, "powerpc64"),
        (22, "s390x"),
        (40, "arm"),
        (62, "x86_64"),
        (183, "aarch64"),
        (243, "riscv64"),
    ];
    let Some(head) = bytes.first_chunk::<20>().filter(|head| head.starts_with(b"\x7fELF")) else {
        return Err(Problem::NotALibrary);
    };
    let little = head[5] == 1;
    let number = |at: usize| {
        let pair = [head[at], head[at + 1]];
        if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    };
    let machine = number(18);
    let name =
        MACHINES.iter().find(|(number, _)| *number == machine).map_or("another machine", |(_, name)| name);
    let host = std::env::consts::ARCH;
    let bits = if head[4] == 2 { 64 } else { 32 };
    if name != host || bits != usize::BITS || little != cfg!(target_endian = "little") {
        let order = if little { "little" } else { "big" };
        return Err(Problem::WrongArchitecture {
            found: format!("{name} ({bits} bits, {order}-endian)"),
            host,
        });
    }
    if number(16) != SHARED {
        return Err(Problem::NotALibrary);
    }
    Ok(())
}

/// The symbol that the interface names for a file.
fn symbol(path: &Path) -> String {
    const PREFIX: &str = "fleetstorm_plugin_";
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let stem = name.split_once(".so").map_or(&*name, |(stem, _)| stem);
    let stem = stem.strip_prefix("lib").unwrap_or(stem).replace('-', "_");
    if stem.starts_with(PREFIX) { stem } else { format!("{PREFIX}{stem}") }
}

/// The file that a plugin's name or path means. A path is taken as it is; a plain name is looked for in the folders of
/// `search`, a list as in [`SEARCH_VARIABLE`], and then beside the program, in `../lib/fleetstorm`.
///
/// # Errors
/// There is no such file.
pub fn find(name: &str, search: Option<&OsStr>, program: Option<&Path>) -> Result<PathBuf, LoadError> {
    if name.contains('/') || name.ends_with(".so") {
        return Ok(PathBuf::from(name));
    }
    let beside =
        program.and_then(Path::parent).and_then(Path::parent).map(|root| root.join("lib/fleetstorm"));
    // An empty element of a path list means the working directory, and code is never taken from there.
    let folders: Vec<PathBuf> = std::env::split_paths(search.unwrap_or_default())
        .filter(|folder| folder.is_absolute())
        .chain(beside)
        .collect();
    let plain = name.replace('-', "_");
    let files =
        [format!("libfleetstorm_plugin_{plain}.so"), format!("lib{plain}.so"), format!("lib{name}.so")];
    let candidates = folders.iter().flat_map(|folder| files.iter().map(move |file| folder.join(file)));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let list = std::env::join_paths(&folders).unwrap_or_else(|_| OsString::from("(none)"));
        LoadError {
            library: name.to_owned(),
            problem: Problem::NotFound(list.to_string_lossy().into_owned()),
        }
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_symbol_follows_from_the_file_name() {
        for (file, expected) in [
            ("/a/libfleetstorm_plugin_retry.so", "fleetstorm_plugin_retry"),
            ("/a/libmy-firmware.so", "fleetstorm_plugin_my_firmware"),
            ("constant.so.1", "fleetstorm_plugin_constant"),
        ] {
            assert_eq!(symbol(Path::new(file)), expected);
        }
    }

    #[test]
    fn names_are_looked_for_and_paths_are_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("lib/fleetstorm")).unwrap();
        std::fs::write(folder.path().join("lib/fleetstorm/libmine.so"), b"").unwrap();
        std::fs::write(folder.path().join("libfleetstorm_plugin_my_other.so"), b"").unwrap();
        let program = folder.path().join("bin/fleetstorm");
        assert_eq!(find("x/y", None, None).unwrap(), Path::new("x/y"));
        assert_eq!(
            find("mine", None, Some(&program)).unwrap(),
            folder.path().join("lib/fleetstorm/libmine.so")
        );
        let search = format!("::relative:{}", folder.path().display());
        assert_eq!(
            find("my-other", Some(search.as_ref()), None).unwrap(),
            folder.path().join("libfleetstorm_plugin_my_other.so")
        );
        let error = find("missing", Some(search.as_ref()), None).unwrap_err().to_string();
        assert!(error.contains("missing") && !error.contains("relative"), "{error}");
    }

    #[test]
    fn files_that_are_no_library_of_this_machine_are_told_apart() {
        let mut elf = vec![0u8; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[4] = 2;
        elf[5] = 1;
        elf[16] = 3;
        elf[18] = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
        check_machine(&elf).unwrap();
        let mut program = elf.clone();
        program[16] = 2;
        assert!(matches!(check_machine(&program), Err(Problem::NotALibrary)));
        let mut other = elf.clone();
        other[18] = 40;
        other[4] = 1;
        let error = check_machine(&other).unwrap_err().to_string();
        assert!(error.contains("arm (32 bits, little-endian)"), "{error}");
        for noise in [&b""[..], b"\x7fELF", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0"] {
            assert!(matches!(check_machine(noise), Err(Problem::NotALibrary)));
        }
    }

    #[test]
    fn a_sealed_copy_cannot_be_changed() {
        let mut memory = seal(b"bytes").unwrap();
        assert!(memory.write_all(b"more").is_err());
        assert!(memory.set_len(0).is_err());
    }
}
