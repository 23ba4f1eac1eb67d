//! The descriptor of a library, made of constants.

use crate::abi::{self, Entry, Part, Slice};
use crate::shim;
use crate::{Attestation, RetryStrategy};

/// Exports a library's parts: the one line that makes a crate a plugin.
///
/// ```
/// # use fleetstorm_plugin::{Attempt, Kept, Result, RetryStrategy};
/// # #[derive(serde::Deserialize, schemars::JsonSchema)]
/// # struct Config {}
/// # struct Linear;
/// # impl RetryStrategy for Linear {
/// #     const ID: &'static str = "linear";
/// #     const SUMMARY: &'static str = "Waits a little longer each time.";
/// #     type Config = Config;
/// #     type Session = ();
/// #     type Shared = ();
/// #     fn new(_: Config) -> Result<Self> { Ok(Self) }
/// #     fn wait(&self, _: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
/// #         Some(u64::from(attempt.failures) * 1_000_000_000)
/// #     }
/// # }
/// fleetstorm_plugin::export! { fleetstorm_plugin_linear; retry: [Linear] }
/// ```
///
/// The symbol is the crate's name with `_` for `-`, so that two plugins can be linked into one program. The library is
/// named after the crate, without `fleetstorm-plugin-` in front. Linked plugins are reached as `ENTRY`.
#[macro_export]
macro_rules! export {
    (
        $symbol:ident
        $(; retry: [$($retry:ty),* $(,)?])?
        $(; attestation: [$($attestation:ty),* $(,)?])?
        $(;)?
    ) => {
        /// What this library offers.
        #[allow(non_upper_case_globals, unsafe_code, reason = "the symbol is part of the plugin interface")]
        #[unsafe(no_mangle)]
        pub static $symbol: $crate::abi::Entry = {
            const PARTS: &[$crate::abi::Part] = &[
                $($($crate::retry::<$retry>(),)*)?
                $($($crate::attestation::<$attestation>(),)*)?
            ];
            $crate::entry($crate::library_name(env!("CARGO_PKG_NAME")), env!("CARGO_PKG_VERSION"), PARTS)
        };
        #[doc(inline)]
        pub use $symbol as ENTRY;
    };
}

/// The name of a library whose crate has this one.
#[doc(hidden)]
pub const fn library_name(package: &'static str) -> &'static str {
    const PREFIX: &[u8] = b"fleetstorm-plugin-";
    let bytes = package.as_bytes();
    if bytes.len() <= PREFIX.len() {
        return package;
    }
    let mut at = 0;
    while at < PREFIX.len() {
        if bytes[at] != PREFIX[at] {
            return package;
        }
        at += 1;
    }
    package.split_at(PREFIX.len()).1
}

#[doc(hidden)]
pub const fn entry(name: &'static str, version: &'static str, parts: &'static [Part]) -> Entry {
    Entry {
        magic: abi::MAGIC,
        size: size_of::<Entry>() as u32,
        major: abi::MAJOR,
        minor: abi::MINOR,
        flags: if cfg!(panic = "unwind") { abi::ENTRY_UNWINDS } else { 0 },
        part_size: size_of::<Part>() as u32,
        name: Slice::of(name.as_bytes()),
        version: Slice::of(version.as_bytes()),
        init: Some(shim::log::init),
        parts: parts.as_ptr(),
        part_count: parts.len(),
    }
}

#[doc(hidden)]
pub const fn retry<S: RetryStrategy>() -> Part {
    const { check_id(S::ID) };
    Part {
        kind: abi::KIND_RETRY,
        flags: 0,
        id: Slice::of(S::ID.as_bytes()),
        summary: Slice::of(S::SUMMARY.as_bytes()),
        schema: Some(shim::schema::<S::Config>),
        table: std::ptr::from_ref(shim::retry::Table::<S>::TABLE).cast(),
    }
}

#[doc(hidden)]
pub const fn attestation<A: Attestation>() -> Part {
    const { check_id(A::ID) };
    Part {
        kind: abi::KIND_ATTESTATION,
        flags: 0,
        id: Slice::of(A::ID.as_bytes()),
        summary: Slice::of(A::SUMMARY.as_bytes()),
        schema: Some(shim::schema::<A::Config>),
        table: std::ptr::from_ref(shim::attestation::Table::<A>::TABLE).cast(),
    }
}

const fn check_id(id: &str) {
    let bytes = id.as_bytes();
    assert!(!bytes.is_empty() && bytes.len() <= 64, "an id has 1 to 64 bytes");
    let mut at = 0;
    while at < bytes.len() {
        assert!(
            matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'),
            "an id is made of a-z, 0-9, `-` and `.`"
        );
        at += 1;
    }
}
