//! Holds the Rust mirror to the C header: sizes, offsets and constants, as a C compiler sees them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fmt::Write as _;
use std::mem::offset_of;
use std::process::Command;

use fleetstorm_plugin::abi;
use fleetstorm_plugin::{Advice, Class, Operation, Scope};

const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include");

/// Compiles a C text against the header and returns what the compiler said, if it refused.
fn compile(compiler: &str, standard: &str, extension: &str, text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join(format!("probe.{extension}"));
    std::fs::write(&source, text).unwrap();
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", INCLUDE])
        .arg(&source)
        .output()
        .unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

macro_rules! layout {
    ($out:ident, $c:literal, $rust:ty { $($field:ident $(as $c_field:literal)?),* $(,)? }) => {
        writeln!($out, "_Static_assert(sizeof({}) == {}, \"size of {}\");", $c, size_of::<$rust>(), $c).unwrap();
        writeln!($out, "_Static_assert(_Alignof({}) == {}, \"alignment of {}\");", $c, align_of::<$rust>(), $c).unwrap();
        $(
            let field = [$($c_field,)? stringify!($field)][0];
            writeln!(
                $out,
                "_Static_assert(offsetof({}, {field}) == {}, \"offset of {}.{field}\");",
                $c, offset_of!($rust, $field), $c
            ).unwrap();
            writeln!(
                $out,
                "_Static_assert(sizeof((({} *)0)->{field}) == {}, \"size of {}.{field}\");",
                $c, size_of_field(|it: &$rust| &raw const it.$field), $c
            ).unwrap();
        )*
    };
}

fn size_of_field<T, F>(_: impl Fn(&T) -> *const F) -> usize {
    size_of::<F>()
}

fn layouts() -> String {
    let mut out = String::new();
    layout!(out, "fs_slice", abi::Slice { ptr, len });
    layout!(out, "fs_sink", abi::Sink { ctx, write });
    layout!(out, "fs_host", abi::Host { size, major, minor, flags, ctx, log });
    layout!(out, "fs_part", abi::Part { kind, flags, id, summary, schema, table });
    layout!(
        out,
        "fs_entry",
        abi::Entry { magic, size, major, minor, flags, part_size, name, version, init, parts, part_count }
    );
    layout!(
        out,
        "fs_attempt",
        abi::Attempt {
            size,
            flags,
            operation,
            failure,
            advice,
            status,
            code,
            failures,
            attempts,
            operation_failures,
            given,
            credential,
            credentials,
            reserved,
            given_value,
            retry_after_ns,
            floor_ns,
            park_ns,
            previous_wait_ns,
            now_ns,
            since_boot_ns,
            elapsed_ns,
            device_hash,
            fleet_size,
            quota_per_minute,
            random,
        }
    );
    layout!(out, "fs_decision", abi::Decision { action, reserved, wait_ns });
    layout!(
        out,
        "fs_retry",
        abi::Retry {
            size,
            flags,
            session_size,
            session_align,
            shared_size,
            shared_align,
            scope,
            reserved,
            create,
            destroy,
            on_failure,
            before_first_attempt,
            on_success,
            on_answer,
            on_hub_failure,
        }
    );
    layout!(
        out,
        "fs_attestation",
        abi::Attestation {
            size,
            flags,
            create,
            destroy,
            device,
            device_drop,
            schemes,
            certificates,
            sign,
            enrol,
            authorize,
            answer,
        }
    );
    out
}

fn constants() -> Vec<(&'static str, u64)> {
    let status = |status: abi::Status| status as u64;
    let mut all = vec![
        ("FS_MAGIC", u64::from(abi::MAGIC)),
        ("FS_MAJOR", u64::from(abi::MAJOR)),
        ("FS_MINOR", u64::from(abi::MINOR)),
        ("FS_OK", status(abi::OK)),
        ("FS_REFUSED", status(abi::REFUSED)),
        ("FS_PANICKED", status(abi::PANICKED)),
        ("FS_UNSUPPORTED", status(abi::UNSUPPORTED)),
        ("FS_SESSION_MAX", abi::SESSION_MAX as u64),
        ("FS_SHARED_MAX", abi::SHARED_MAX as u64),
        ("FS_ALIGN_MAX", abi::ALIGN_MAX as u64),
    ];
    let numbers = [
        ("FS_HOST_LINKED", abi::HOST_LINKED),
        ("FS_LOG_ERROR", fleetstorm_plugin::Level::Error as u32),
        ("FS_LOG_WARN", fleetstorm_plugin::Level::Warn as u32),
        ("FS_LOG_INFO", fleetstorm_plugin::Level::Info as u32),
        ("FS_KIND_ATTESTATION", abi::KIND_ATTESTATION),
        ("FS_KIND_RETRY", abi::KIND_RETRY),
        ("FS_ENTRY_UNWINDS", abi::ENTRY_UNWINDS),
        ("FS_OPERATION_REGISTER", Operation::Register.number()),
        ("FS_OPERATION_POLL", Operation::Poll.number()),
        ("FS_OPERATION_LOOKUP", Operation::Lookup.number()),
        ("FS_OPERATION_HUB", Operation::Hub.number()),
        ("FS_CLASS_NONE", Class::Other.number()),
        ("FS_CLASS_THROTTLED", Class::Throttled.number()),
        ("FS_CLASS_SERVER_ERROR", Class::ServerError.number()),
        ("FS_CLASS_UNREACHABLE", Class::Unreachable.number()),
        ("FS_CLASS_TLS", Class::Tls.number()),
        ("FS_CLASS_OUTCOME_UNKNOWN", Class::OutcomeUnknown.number()),
        ("FS_CLASS_PROTOCOL", Class::Protocol.number()),
        ("FS_CLASS_UNAUTHORIZED", Class::Unauthorized.number()),
        ("FS_CLASS_FORBIDDEN", Class::Forbidden.number()),
        ("FS_CLASS_NOT_FOUND", Class::NotFound.number()),
        ("FS_CLASS_CONFLICT", Class::Conflict.number()),
        ("FS_CLASS_CLIENT_BUG", Class::ClientBug.number()),
        ("FS_CLASS_ASSIGNMENT_FAILED", Class::AssignmentFailed.number()),
        ("FS_CLASS_DISABLED", Class::Disabled.number()),
        ("FS_CLASS_ASSIGNMENT_TIMEOUT", Class::AssignmentTimeout.number()),
        ("FS_ADVICE_RETRY", Advice::Retry.number()),
        ("FS_ADVICE_RESTART", Advice::Restart.number()),
        ("FS_ADVICE_RENEW", Advice::Renew.number()),
        ("FS_ADVICE_PARK", Advice::Park.number()),
        ("FS_GIVEN_ABSENT", 0),
        ("FS_GIVEN_SECONDS", 1),
        ("FS_GIVEN_DATE", 2),
        ("FS_GIVEN_MALFORMED", 3),
        ("FS_ATTEMPT_RETRY_AFTER", abi::ATTEMPT_RETRY_AFTER),
        ("FS_ATTEMPT_OPERATION_KNOWN", abi::ATTEMPT_OPERATION_KNOWN),
        ("FS_ATTEMPT_UNRESOLVED", abi::ATTEMPT_UNRESOLVED),
        ("FS_ATTEMPT_ASSIGNED", abi::ATTEMPT_ASSIGNED),
        ("FS_ACTION_WAIT", abi::ACTION_WAIT),
        ("FS_ACTION_RESTART", abi::ACTION_RESTART),
        ("FS_ACTION_SWITCH_CREDENTIAL", abi::ACTION_SWITCH_CREDENTIAL),
        ("FS_ACTION_USE_CACHED_HUB", abi::ACTION_USE_CACHED_HUB),
        ("FS_ACTION_LOOKUP_STATUS", abi::ACTION_LOOKUP_STATUS),
        ("FS_ACTION_GIVE_UP", abi::ACTION_GIVE_UP),
        ("FS_RETRY_GUARDED", abi::RETRY_GUARDED),
        ("FS_RETRY_NEEDS_FLEET_SIZE", abi::RETRY_NEEDS_FLEET_SIZE),
        ("FS_RETRY_NEEDS_QUOTA", abi::RETRY_NEEDS_QUOTA),
        ("FS_RETRY_MODEL", abi::RETRY_MODEL),
        ("FS_SCOPE_DEVICE", Scope::Device as u32),
        ("FS_SCOPE_COHORT", Scope::Cohort as u32),
        ("FS_SCOPE_FLEET", Scope::Fleet as u32),
        ("FS_ATTESTATION_MAY_BLOCK", abi::ATTESTATION_MAY_BLOCK),
        ("FS_ATTESTATION_CHALLENGED", abi::ATTESTATION_CHALLENGED),
        ("FS_ATTESTATION_CERTIFICATES", abi::ATTESTATION_CERTIFICATES),
    ];
    all.extend(numbers.map(|(name, number)| (name, u64::from(number))));
    all
}

#[test]
fn the_rust_mirror_has_the_headers_sizes_offsets_and_constants() {
    let mut text = String::from("#include \"fleetstorm_plugin.h\"\n");
    text.push_str(&layouts());
    for (name, value) in constants() {
        writeln!(text, "_Static_assert({name} == {value}, \"{name}\");").unwrap();
    }
    compile("cc", "-std=c11", "c", &text).unwrap_or_else(|said| panic!("{said}"));
    // The same text with one number changed is refused, so the assertions are ones.
    let wrong = text.replacen("== 16", "== 24", 1);
    assert_ne!(wrong, text);
    assert!(compile("cc", "-std=c11", "c", &wrong).unwrap_err().contains("size of fs_slice"));
}

#[test]
fn every_constant_and_field_of_the_header_is_held() {
    let header = std::fs::read_to_string(format!("{INCLUDE}/fleetstorm_plugin.h")).unwrap();
    let held = constants();
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define FS_")).filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let value = words.next()?;
        (!name.contains('(') && value.starts_with(|c: char| c.is_ascii_digit())).then(|| format!("FS_{name}"))
    });
    let mut count = 0;
    for name in defined {
        count += 1;
        assert!(held.iter().any(|(held, _)| *held == name), "{name}");
    }
    assert_eq!(count, held.len());

    let layouts = layouts();
    let mut structure = "";
    for line in header.lines() {
        if let Some(rest) = line.strip_prefix("typedef struct ") {
            structure = rest.split_whitespace().next().unwrap();
        } else if line.starts_with('}') {
            structure = "";
        } else if !structure.is_empty()
            && let Some(name) = field(line)
        {
            assert!(layouts.contains(&format!("offsetof({structure}, {name})")), "{structure}.{name}");
        }
    }
}

/// The name of the field that a line of a structure declares, if it declares one.
fn field(line: &str) -> Option<&str> {
    let line = line.strip_prefix("  ").filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))?;
    if let Some((_, rest)) = line.split_once("(*") {
        return rest.split(')').next();
    }
    let declaration = line.split(';').next()?;
    let name = declaration.rsplit([' ', '*']).next()?;
    Some(name.split('[').next().unwrap_or(name))
}

#[test]
fn the_header_is_plain_c99_and_cpp() {
    let text = "#include \"fleetstorm_plugin.h\"\nFS_EXPORT extern const fs_entry some_entry;\n";
    compile("cc", "-std=c99", "c", text).unwrap_or_else(|said| panic!("{said}"));
    compile("c++", "-std=c++11", "cc", text).unwrap_or_else(|said| panic!("{said}"));
}
