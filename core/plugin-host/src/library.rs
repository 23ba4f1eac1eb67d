//! A library and its parts, read from the descriptor and checked before anything else is believed.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use fleetstorm_plugin::abi::{self, Entry, Slice};
use serde_json::Value;

use super::calls::Watched;
use super::guard;
use super::host::{HOST, HostTable, LINKED_HOST};
use super::kind::Kind;
use super::memory::Layout;
use super::problem::{LoadError, Problem};
use super::sink::collect;

/// Most parts that a library may offer.
const PARTS_MOST: usize = 1_000;

/// Most bytes of a name, an id or a version.
const NAME_MOST: usize = 64;

/// Most bytes of a summary.
const SUMMARY_MOST: usize = 1_000;

/// Linked libraries that have been started, by the address of their entry.
static STARTED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// A library that has passed every check.
#[derive(Debug)]
pub struct Library {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sha256: Option<String>,
    pub(super) unwinds: bool,
    pub(super) parts: Vec<Part>,
}

/// One strategy or attestation that a library offers.
#[derive(Clone, Debug)]
pub struct Part {
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) schema: Value,
    /// The names of its own parameters.
    pub(super) own: BTreeSet<String>,
    pub(super) table: Table,
    pub(super) watched: Watched,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    Retry(abi::Retry),
    Attestation(abi::Attestation),
}

impl Library {
    /// A library of this name, version and hash, and nothing else.
    #[cfg(test)]
    pub(super) fn for_lock_tests(name: &str, version: &str, sha256: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { name, version, sha256: Some(sha256.to_owned()), unwinds: true, parts: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The SHA-256 of its file in hex; `None` if it is linked.
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// Whether a panic in it is caught. One built with `panic = "abort"` takes the process down.
    pub fn catches_panics(&self) -> bool {
        self.unwinds
    }

    /// Its parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Reads a linked library, and starts it if nobody has yet.
    pub(super) fn linked(entry: &'static Entry) -> Result<Self, LoadError> {
        let named = |problem| LoadError { library: linked_name(entry), problem };
        // SAFETY: a linked entry is a constant of this program.
        let library = unsafe { Self::read(entry) }.map_err(named)?;
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        if started.insert(std::ptr::from_ref(entry).addr()) {
            // SAFETY: as above; the lock keeps a second caller out.
            unsafe { start(entry, &LINKED_HOST) }.map_err(named)?;
        }
        Ok(library)
    }

    /// Reads a library that was opened, and starts it.
    ///
    /// # Safety
    /// `entry` is the address of the symbol that the interface names, in a library that stays open.
    pub(super) unsafe fn loaded(entry: *const Entry, sha256: String) -> Result<Self, Problem> {
        // SAFETY: the caller's promise.
        let mut library = unsafe { Self::read(entry) }?;
        // SAFETY: as above; a library is opened once for every sealed copy.
        unsafe { start(entry, &HOST) }?;
        library.sha256 = Some(sha256);
        for part in &mut library.parts {
            let may_block = matches!(part.table, Table::Attestation(table) if table.flags & abi::ATTESTATION_MAY_BLOCK != 0);
            part.watched =
                Watched::new(format!("the {} `{}` of `{}`", part.kind(), part.id, library.name), may_block);
        }
        Ok(library)
    }

    /// # Safety
    /// `entry` points to at least the first two numbers of an entry, and what they vouch for is true.
    unsafe fn read(entry: *const Entry) -> Result<Self, Problem> {
        // SAFETY: the caller's promise; the fields are read one by one until the size is known.
        let (magic, size, major) = unsafe {
            (
                (&raw const (*entry).magic).read_unaligned(),
                (&raw const (*entry).size).read_unaligned(),
                (&raw const (*entry).major).read_unaligned(),
            )
        };
        if magic != abi::MAGIC || !entry.is_aligned() {
            return Err(Problem::NotAnEntry);
        }
        large_enough::<Entry>("entry", size)?;
        if major != abi::MAJOR {
            return Err(Problem::Version { found: major, host: abi::MAJOR });
        }
        // SAFETY: the entry is as large as this program knows it.
        let entry = unsafe { *entry };
        // SAFETY: slices of an entry are constant.
        let (name, version) = unsafe {
            (text("its name", entry.name, NAME_MOST)?, text("its version", entry.version, NAME_MOST)?)
        };
        if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
            return invalid("its name", "may hold a-z, 0-9, `-` and `_` only");
        }
        if entry.part_count > PARTS_MOST {
            return invalid("the number of its parts", "is beyond 1000");
        }
        large_enough::<abi::Part>("part", entry.part_size)?;
        if entry.parts.is_null() && entry.part_count > 0 {
            return invalid("its list of parts", "is NULL");
        }
        let mut parts: Vec<Part> = Vec::new();
        for at in 0..entry.part_count {
            // SAFETY: the list has `part_count` parts, each `part_size` bytes after the one before.
            let part = unsafe { entry.parts.byte_add(at * entry.part_size as usize) };
            if !part.is_aligned() {
                return invalid("its list of parts", "is not aligned");
            }
            // SAFETY: as above.
            let Some(part) = unsafe { Part::read(*part) }? else { continue };
            if parts.iter().any(|other| other.kind() == part.kind() && other.id == part.id) {
                return Err(Problem::Duplicate { kind: part.kind(), id: part.id, other: name });
            }
            parts.push(part);
        }
        let unwinds = entry.flags & abi::ENTRY_UNWINDS != 0;
        Ok(Self { name, version, sha256: None, unwinds, parts })
    }
}

impl Part {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.table {
            Table::Retry(_) => Kind::Retry,
            Table::Attestation(_) => Kind::Attestation,
        }
    }

    /// Its name in scenarios.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it does, in one line.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The JSON Schema of its parameters, those that the host adds to every strategy included.
    pub fn schema(&self) -> Value {
        match self.table {
            Table::Retry(_) => guard::merged_schema(&self.schema),
            Table::Attestation(_) => self.schema.clone(),
        }
    }

    /// Whether devices that use it decide together.
    pub fn is_coordinated(&self) -> bool {
        matches!(self.table, Table::Retry(table) if table.scope != abi::SCOPE_DEVICE)
    }

    /// Whether it must be told the size of the fleet or the quota.
    pub fn is_informed(&self) -> bool {
        let needs = abi::RETRY_NEEDS_FLEET_SIZE | abi::RETRY_NEEDS_QUOTA;
        matches!(self.table, Table::Retry(table) if table.flags & needs != 0)
    }

    /// Whether it is a model of other software.
    pub fn is_model(&self) -> bool {
        matches!(self.table, Table::Retry(table) if table.flags & abi::RETRY_MODEL != 0)
    }

    /// Bytes that a strategy remembers of each device.
    pub fn session_bytes(&self) -> usize {
        match self.table {
            Table::Retry(table) => table.session_size as usize,
            Table::Attestation(_) => 0,
        }
    }

    /// # Safety
    /// What the part points to is what the interface says.
    unsafe fn read(part: abi::Part) -> Result<Option<Self>, Problem> {
        if part.kind != abi::KIND_RETRY && part.kind != abi::KIND_ATTESTATION {
            return Ok(None);
        }
        // SAFETY: the caller's promise.
        let (id, summary) = unsafe {
            (
                text("the id of a part", part.id, NAME_MOST)?,
                text("the summary of a part", part.summary, SUMMARY_MOST)?,
            )
        };
        if id.is_empty() || !id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')) {
            return invalid("the id of a part", "must be made of a-z, 0-9, `-` and `.`");
        }
        let table = part.table;
        if table.is_null() || !table.cast::<abi::Retry>().is_aligned() {
            return invalid(format!("the table of `{id}`"), "is NULL or not aligned");
        }
        // SAFETY: both tables begin with their size.
        let size = unsafe { table.cast::<u32>().read() };
        let table = if part.kind == abi::KIND_RETRY {
            let needed = abi::RETRY_SIZE_1_0 as u32;
            if size < needed {
                return Err(Problem::TooSmall { what: "table of a retry strategy", found: size, needed });
            }
            // SAFETY: the table has as many bytes as it says, and that is a size that the interface had.
            Table::Retry(checked_retry(&id, unsafe { retry_table(table, size as usize) })?)
        } else {
            large_enough::<abi::Attestation>("table of an attestation", size)?;
            // SAFETY: as above.
            Table::Attestation(checked_attestation(&id, unsafe { *table.cast::<abi::Attestation>() })?)
        };
        // SAFETY: the caller's promise.
        let schema = unsafe { schema(&id, part) }?;
        let own =
            schema["properties"].as_object().map(|own| own.keys().cloned().collect()).unwrap_or_default();
        Ok(Some(Self { id, summary, schema, own, table, watched: Watched::default() }))
    }
}

/// The table of a library that may know fewer functions than this program: those that it lacks are NULL.
///
/// # Safety
/// `table` points to `size` readable bytes of an `fs_retry`.
unsafe fn retry_table(table: *const std::ffi::c_void, size: usize) -> abi::Retry {
    // SAFETY: integers may be zero, and so may functions that may be NULL.
    let mut whole: abi::Retry = unsafe { std::mem::zeroed() };
    let known = size.min(size_of::<abi::Retry>());
    // SAFETY: the caller's promise; both sides have that many bytes.
    unsafe { std::ptr::copy_nonoverlapping(table.cast::<u8>(), (&raw mut whole).cast::<u8>(), known) };
    whole
}

/// # Safety
/// `part.schema` is the function that the interface describes.
unsafe fn schema(id: &str, part: abi::Part) -> Result<Value, Problem> {
    let wrong = |why: &str| Problem::Schema { id: id.to_owned(), why: why.to_owned() };
    let Some(schema) = part.schema else { return Err(wrong("the function is NULL")) };
    // SAFETY: the caller's promise.
    let (status, written) = collect(|sink| unsafe { schema(sink) });
    if status != abi::OK {
        return Err(wrong("the function failed"));
    }
    let bytes = written.whole().ok_or_else(|| wrong("it is too long"))?;
    let schema: Value =
        serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("it is not JSON ({error})")))?;
    if schema["type"] != "object" {
        return Err(wrong("its `type` is not `object`"));
    }
    match &schema["properties"] {
        Value::Null => {}
        Value::Object(properties)
            if properties.values().all(|property| property.is_object() || property.is_boolean()) => {}
        _ => return Err(wrong("its `properties` are no schemas")),
    }
    Ok(schema)
}

fn checked_retry(id: &str, table: abi::Retry) -> Result<abi::Retry, Problem> {
    let of = |what: &str| format!("{what} of `{id}`");
    if table.create.is_none() {
        return invalid(of("the function create"), "is NULL");
    }
    if table.on_failure.is_none() {
        return invalid(of("the function on_failure"), "is NULL");
    }
    if table.session_size as usize > abi::SESSION_MAX {
        return invalid(of("the session"), "has more than 256 bytes");
    }
    if table.shared_size as usize > abi::SHARED_MAX {
        return invalid(of("the shared memory"), "has more than 64 KiB");
    }
    for (what, align) in [("the session", table.session_align), ("the shared memory", table.shared_align)] {
        if !align.is_power_of_two() || align as usize > abi::ALIGN_MAX {
            return invalid(of(what), "is aligned to something other than 1, 2, 4, 8 or 16 bytes");
        }
    }
    if table.scope > abi::SCOPE_FLEET {
        return invalid(of("the scope"), "is unknown");
    }
    if (table.scope == abi::SCOPE_DEVICE) != (table.shared_size == 0) {
        return invalid(of("the shared memory"), "and its scope do not go together");
    }
    Ok(table)
}

fn checked_attestation(id: &str, table: abi::Attestation) -> Result<abi::Attestation, Problem> {
    if table.create.is_none() {
        return invalid(format!("the function create of `{id}`"), "is NULL");
    }
    if table.device.is_none() {
        return invalid(format!("the function device of `{id}`"), "is NULL");
    }
    Ok(table)
}

pub(super) const fn session_layout(table: &abi::Retry) -> Layout {
    Layout { size: table.session_size as usize, align: table.session_align as usize }
}

pub(super) const fn shared_layout(table: &abi::Retry) -> Layout {
    Layout { size: table.shared_size as usize, align: table.shared_align as usize }
}

fn invalid<T>(what: impl Into<String>, why: &'static str) -> Result<T, Problem> {
    Err(Problem::Invalid { what: what.into(), why })
}

fn large_enough<T>(what: &'static str, found: u32) -> Result<(), Problem> {
    let needed = size_of::<T>() as u32;
    if found < needed { Err(Problem::TooSmall { what, found, needed }) } else { Ok(()) }
}

/// # Safety
/// The slice is constant, or NULL.
unsafe fn text(what: &'static str, slice: Slice, most: usize) -> Result<String, Problem> {
    if slice.len > most {
        return invalid(what, "is too long");
    }
    if slice.ptr.is_null() && slice.len > 0 {
        return invalid(what, "is NULL");
    }
    let bytes = if slice.len == 0 {
        &[]
    } else {
        // SAFETY: the caller's promise; the pointer is not null.
        unsafe { std::slice::from_raw_parts(slice.ptr, slice.len) }
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => invalid(what, "is not text"),
    }
}

fn linked_name(entry: &'static Entry) -> String {
    // SAFETY: a linked entry is a constant of this program.
    unsafe { text("its name", entry.name, NAME_MOST) }.unwrap_or_else(|_| "that is linked".to_owned())
}

/// # Safety
/// The entry is valid, and nobody else starts it.
unsafe fn start(entry: *const Entry, host: &'static HostTable) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    let Some(init) = (unsafe { (*entry).init }) else { return Ok(()) };
    // SAFETY: the caller's promise; the host's table lives as long as the process.
    let (status, reason) = collect(|error| unsafe { init(&raw const host.0, error) });
    match status {
        abi::OK => Ok(()),
        abi::PANICKED => Err(Problem::InitPanicked),
        _ => Err(Problem::InitRefused(reason.reason())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a library with one strategy, which says that its table has `size` bytes.
    fn read(size: usize) -> Result<Option<abi::Retry>, Problem> {
        let entry = &fleetstorm_plugin_retry::ENTRY;
        // SAFETY: a linked entry has that many parts, all of them strategies of this version.
        let mut parts = (0..entry.part_count).map(|at| unsafe {
            let part = *entry.parts.add(at);
            (part, *part.table.cast::<abi::Retry>())
        });
        let (part, table) = parts.find(|(_, table)| table.on_hub_failure.is_some()).unwrap();
        let table = abi::Retry { size: size as u32, ..table };
        let part = abi::Part { table: (&raw const table).cast(), ..part };
        let entry = Entry { parts: &raw const part, part_count: 1, ..*entry };
        // SAFETY: everything that it points to outlives the call; a larger size is only looked at.
        let library = unsafe { Library::read(&raw const entry) }?;
        let found = library.parts.first().map(|part| part.table);
        Ok(found.and_then(|table| if let Table::Retry(table) = table { Some(table) } else { None }))
    }

    #[test]
    fn a_library_of_an_earlier_minor_version_lacks_what_came_later() {
        let has = |size| {
            let table = read(size).unwrap().unwrap();
            (table.on_success.is_some(), table.on_answer.is_some(), table.on_hub_failure.is_some())
        };
        assert_eq!(has(size_of::<abi::Retry>()), (true, true, true));
        assert_eq!(has(size_of::<abi::Retry>() + 64), (true, true, true), "one of a later version");
        assert_eq!(has(abi::RETRY_SIZE_1_0), (true, false, false));
        assert!(matches!(read(abi::RETRY_SIZE_1_0 - 8), Err(Problem::TooSmall { .. })));
    }
}
