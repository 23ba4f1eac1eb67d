//! What a library pulls in when it is opened: the system's loader finds that by name, so no hash of ours is of it.

use serde::Serialize;

/// Most entries of a dynamic section that are read, and most bytes of a name.
const ENTRIES_MOST: usize = 4_096;
const NAME_MOST: usize = 4_096;

/// Libraries that a library needs, which its own hash does not cover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// Their names.
    pub libraries: Vec<String>,
    /// Folders in which it has them looked for before the system's.
    pub folders: Vec<String>,
}

impl Needs {
    /// Reads the dynamic section of a shared library of this machine (System V ABI, "Dynamic Section"). A file that
    /// cannot be read so far is one that the system's loader refuses.
    pub(super) fn of(elf: &[u8]) -> Self {
        read(elf).unwrap_or_default()
    }
}

fn read(elf: &[u8]) -> Option<Needs> {
    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;
    let headers = {
        let (at, size) = (long(elf, 0x20)?, usize::from(short(elf, 0x36)?));
        let count = usize::from(short(elf, 0x38)?);
        (0..count).map(move |index| at.checked_add(index.checked_mul(size)?))
    };
    let mut segments = Vec::new();
    for at in headers {
        let at = at?;
        let field = |offset: usize| long(elf, at.checked_add(offset)?);
        segments.push((word(elf, at)?, field(8)?, field(16)?, field(32)?));
    }
    let (_, at, _, length) = *segments.iter().find(|(kind, ..)| *kind == DYNAMIC)?;
    let mut entries = Vec::new();
    for index in 0..(length / 16).min(ENTRIES_MOST) {
        let at = at.checked_add(index * 16)?;
        match (long(elf, at)?, long(elf, at.checked_add(8)?)?) {
            (0, _) => break,
            entry => entries.push(entry),
        }
    }
    let address = entries.iter().find(|(tag, _)| *tag == STRINGS)?.1;
    let place = |(kind, offset, start, length): &(u32, usize, usize, usize)| {
        let within = address.checked_sub(*start).filter(|within| *kind == LOAD && within < length)?;
        offset.checked_add(within)
    };
    let strings = segments.iter().find_map(place)?;
    let text = |value: usize| -> Option<String> {
        let bytes = elf.get(strings.checked_add(value)?..)?;
        let bytes = &bytes[..bytes.iter().take(NAME_MOST).position(|byte| *byte == 0)?];
        Some(String::from_utf8_lossy(bytes).replace(char::is_control, "?"))
    };
    let mut needs = Needs::default();
    for (tag, value) in entries {
        match tag {
            NEEDED => needs.libraries.push(text(value)?),
            RPATH | RUNPATH => needs.folders.extend(text(value)?.split(':').map(str::to_owned)),
            _ => {}
        }
    }
    Some(needs)
}

const NEEDED: usize = 1;
const STRINGS: usize = 5;
const RPATH: usize = 15;
const RUNPATH: usize = 29;

fn bytes<const N: usize>(elf: &[u8], at: usize) -> Option<[u8; N]> {
    elf.get(at..)?.first_chunk().copied()
}

fn short(elf: &[u8], at: usize) -> Option<u16> {
    bytes(elf, at).map(u16::from_ne_bytes)
}

fn word(elf: &[u8], at: usize) -> Option<u32> {
    bytes(elf, at).map(u32::from_ne_bytes)
}

fn long(elf: &[u8], at: usize) -> Option<usize> {
    bytes(elf, at).and_then(|long| usize::try_from(u64::from_ne_bytes(long)).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_program_needs_the_systems_c_library() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = Needs::of(&program);
        assert!(needs.libraries.iter().any(|name| name.starts_with("libc.so")), "{needs:?}");
        for cut in [0, 1, 63, 64, 300, 5_000] {
            assert_eq!(Needs::of(&program[..cut]), Needs::default(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(mut elf in proptest::collection::vec(any::<u8>(), 64..512), at in 0..400u64) {
            elf[0x20..0x28].copy_from_slice(&at.to_ne_bytes());
            elf[0x36..0x38].copy_from_slice(&56u16.to_ne_bytes());
            Needs::of(&elf);
        }
    }
}
