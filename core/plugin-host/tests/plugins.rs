//! Plugins across the border: linked and loaded, in Rust and in C, sound and hostile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleetstorm_plugin::{Attempt, Class, Decision, Given, abi};
use fleetstorm_plugin_host::{
    Admission, Fault, Kind, Knowledge, Library, LoadError, PluginError, Probe, Problem, Registry, Retry,
    Sealed, messages, serve_probe,
};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugins");
const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/sdk/include");

/// The other side of [`probe`]: this program again, told apart by a hash at its end.
#[test]
fn probe_child() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [.., place, word, symbol, sha256] = &arguments[..]
        && sha256.len() == 64
    {
        let all = [place.clone(), word.clone(), symbol.clone(), sha256.clone()];
        assert_eq!(serve_probe(&all), std::process::ExitCode::SUCCESS);
    }
}

fn probe() -> Probe {
    Probe {
        program: std::env::current_exe().unwrap(),
        arguments: ["--exact", "probe_child", "--nocapture"].map(Into::into).into(),
        limit: Duration::from_secs(20),
    }
}

/// Builds `hostile.c` with a defect by its name.
fn hostile(folder: &Path, fault: &str) -> PathBuf {
    let library = folder.join("libhostile.so");
    let status = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-variable",
            "-Wno-unused-function",
            "-O1",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            "-I",
            INCLUDE,
        ])
        .arg(format!("-DFAULT={fault}"))
        .arg("-o")
        .args([&library, &Path::new(SOURCES).join("hostile.c")])
        .status()
        .unwrap();
    assert!(status.success(), "{fault}");
    library
}

fn load(path: &Path) -> Result<Library, LoadError> {
    let sealed = Sealed::read(path)?;
    let mut admission = Admission::default();
    admission.allow(sealed.sha256()).unwrap();
    Library::load(&sealed, &admission, Some(&probe()))
}

fn load_hostile(fault: &str) -> Result<Library, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    load(&hostile(folder.path(), fault))
}

/// The library that cargo built of a plugin crate, beside this test.
fn built(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    deps.join(format!("libfleetstorm_plugin_{name}.so"))
}

fn registry(library: Library) -> Registry {
    let mut registry = Registry::default();
    registry.add(library).unwrap();
    registry
}

fn retry(registry: &Registry, id: &str, config: &str) -> Result<Retry, PluginError> {
    registry.retry(id, config, Knowledge { fleet_size: 10_000, quota_per_minute: 1_000.0 })
}

#[test]
fn a_sound_library_in_c_loads_decides_and_is_named_with_its_hash() {
    let library = load_hostile("NONE").unwrap();
    assert_eq!((library.name(), library.version()), ("hostile", "0.1.0"));
    let sha256 = library.sha256().unwrap().to_owned();
    assert_eq!(sha256.len(), 64);
    let registry = registry(library);
    let retry = retry(&registry, "test.hostile", "{}").unwrap();
    let mut session = retry.session();
    assert_eq!(session.len(), 8);
    let decision = retry.on_failure(&mut session, &Attempt::throttled(1).to_abi());
    assert_eq!(decision, Ok(Decision::Wait(1_000_000)));
    assert_eq!(retry.before_first_attempt(&mut session, &Attempt::throttled(0).to_abi()), Ok(0));
    assert_eq!(retry.on_success(&mut session, &Attempt::throttled(0).to_abi()), Ok(()), "a NULL function");
}

#[test]
fn defects_in_the_descriptor_are_told_apart() {
    for (fault, expected) in [
        ("REFUSE_IN_INIT", "refuses to start: the moon is in the wrong phase"),
        ("WRONG_MAJOR", "version 2 of the plugin interface, this program speaks version 1"),
        ("WRONG_MAGIC", "no plugin entry"),
        ("SMALL_ENTRY", "entry has 24 bytes"),
        ("SMALL_PART", "part has 8 bytes"),
        ("SMALL_TABLE", "table of a retry strategy has 16 bytes"),
        ("SCHEMA_NO_JSON", "it is not JSON"),
        ("SCHEMA_NO_OBJECT", "its `type` is not `object`"),
        ("SCHEMA_MISSING", "the function is NULL"),
        ("SCHEMA_FAILS", "the function failed"),
        ("SCHEMA_ENDLESS", "it is too long"),
        ("DUPLICATE_IDS", "already a retry strategy `test.hostile`"),
        ("NULL_PARTS", "list of parts is NULL"),
        ("LARGE_SESSION", "more than 256 bytes"),
        ("ODD_ALIGNMENT", "other than 1, 2, 4, 8 or 16"),
        ("SHARED_WITHOUT_SCOPE", "scope do not go together"),
        ("NULL_FUNCTION", "on_failure of `test.hostile` is NULL"),
        ("BAD_ID", "the id of a part must be made of"),
        ("BAD_NAME", "its name may hold"),
        ("NULL_TABLE", "the table of `test.hostile` is NULL"),
    ] {
        let error = load_hostile(fault).err().unwrap_or_else(|| panic!("{fault}")).to_string();
        assert!(error.contains(expected), "{fault}: {error}");
    }
    let passed_over = load_hostile("UNKNOWN_KIND").unwrap();
    assert!(passed_over.parts().is_empty(), "a part of a kind that a later version brought");
}

#[test]
fn a_crash_or_a_hang_at_the_start_stays_in_the_process_that_tried() {
    for fault in ["CRASH_IN_INIT", "CRASH_IN_CONSTRUCTOR"] {
        let error = load_hostile(fault).err().unwrap();
        assert!(matches!(&error.problem, Problem::Crashed(how) if how == "signal 6"), "{fault}: {error}");
    }
    let error = load_hostile("EXIT_IN_INIT").err().unwrap();
    assert!(matches!(&error.problem, Problem::Crashed(how) if how.contains("without an answer")), "{error}");

    let error = load_hostile("FORGED_ANSWER").err().unwrap();
    assert!(matches!(&error.problem, Problem::Crashed(_)), "{error}");

    let folder = tempfile::tempdir().unwrap();
    for fault in ["HANG_IN_INIT", "HANG_AT_THE_END"] {
        let sealed = Sealed::read(&hostile(folder.path(), fault)).unwrap();
        let hurried = Probe { limit: Duration::from_millis(500), ..probe() };
        let error = hurried.run(&sealed).unwrap_err();
        assert!(matches!(error.problem, Problem::TimedOut(500)), "{fault}: {error}");
    }
}

#[test]
fn a_pipe_is_no_library_and_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("libpipe.so");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(Sealed::read(&pipe).unwrap_err().problem, Problem::NotALibrary));
}

#[test]
fn what_a_library_pulls_in_is_known_before_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("libother.so");
    let cc = |arguments: &[&std::ffi::OsStr]| {
        assert!(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-x", "c"])
                .args(arguments)
                .status()
                .unwrap()
                .success()
        );
    };
    let source = folder.path().join("empty.c");
    std::fs::write(&source, "int empty;").unwrap();
    cc(&[source.as_ref(), "-o".as_ref(), other.as_ref()]);
    let mine = folder.path().join("libmine.so");
    let search = format!("-L{0},-rpath,{0}:/opt/more", folder.path().display()).replacen("-L", "-Wl,-L", 1);
    cc(&[
        source.as_ref(),
        "-o".as_ref(),
        mine.as_ref(),
        search.as_ref(),
        "-Wl,--no-as-needed".as_ref(),
        "-lother".as_ref(),
    ]);
    let sealed = Sealed::read(&mine).unwrap();
    assert!(sealed.needs().libraries.iter().any(|name| name == "libother.so"), "{:?}", sealed.needs());
    assert_eq!(sealed.needs().folders, [folder.path().to_str().unwrap(), "/opt/more"]);
}

#[test]
fn nonsense_from_a_strategy_is_a_fault_and_absurdity_is_not() {
    let attempt = Attempt::throttled(1).to_abi();
    for (fault, expected) in [
        ("NEGATIVE_WAIT", Err(Fault::Nonsense { action: abi::ACTION_WAIT, wait_ns: -1 })),
        ("UNKNOWN_ACTION", Err(Fault::Nonsense { action: 77, wait_ns: 1_000_000 })),
        ("NO_DECISION", Err(Fault::Nonsense { action: u32::MAX, wait_ns: 0 })),
        ("FAILING_STATUS", Err(Fault::Failed(abi::UNSUPPORTED))),
        ("ABSURD_WAIT", Ok(Decision::Wait(i64::MAX as u64))),
    ] {
        let registry = registry(load_hostile(fault).unwrap());
        let retry = retry(&registry, "test.hostile", "{}").unwrap();
        assert_eq!(retry.on_failure(&mut retry.session(), &attempt), expected, "{fault}");
        assert_eq!(retry.fault(), expected.err(), "{fault}");
    }
    let registry = registry(load_hostile("NEGATIVE_FIRST_WAIT").unwrap());
    let retry = retry(&registry, "test.hostile", "{}").unwrap();
    assert_eq!(
        retry.before_first_attempt(&mut retry.session(), &attempt),
        Err(Fault::Nonsense { action: 0, wait_ns: -5 })
    );
}

#[test]
fn a_plugin_that_calls_back_wrongly_harms_nobody() {
    let writes = registry(load_hostile("WRITES_FROM_NULL").unwrap());
    let error = retry(&writes, "test.hostile", "{}").err().unwrap().to_string();
    assert!(error.contains("it gave no reason"), "{error}");
    let registry = registry(load_hostile("KEEPS_SINK").unwrap());
    for _ in 0..3 {
        assert!(retry(&registry, "test.hostile", "{}").is_ok());
    }
}

#[test]
fn a_session_of_another_strategy_is_refused() {
    let registry = registry(load_hostile("NONE").unwrap());
    let retry = retry(&registry, "test.hostile", "{}").unwrap();
    let attempt = Attempt::throttled(1).to_abi();
    assert_eq!(retry.on_failure(&mut [0; 7], &attempt), Err(Fault::WrongSession));
    let mut aligned = retry.session();
    let mut larger = [0u64; 3];
    let shifted = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut larger)[4..12];
    assert_eq!(retry.on_failure(shifted, &attempt), Err(Fault::WrongSession));
    assert!(retry.on_failure(&mut aligned, &attempt).is_ok());
}

#[test]
fn what_nobody_allowed_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = hostile(folder.path(), "CRASH_IN_CONSTRUCTOR");
    let sealed = Sealed::read(&path).unwrap();
    let error = Library::load(&sealed, &Admission::default(), None).err().unwrap();
    assert!(matches!(&error.problem, Problem::NotAllowed { sha256 } if sha256 == sealed.sha256()), "{error}");

    let sealed = Sealed::read(&hostile(folder.path(), "NONE")).unwrap();
    let mut admission = Admission::default();
    let lock = |version: &str| {
        format!("[[plugin]]\nname = \"hostile\"\nversion = \"{version}\"\nsha256 = \"{}\"\n", sealed.sha256())
    };
    admission.allow_locked(&lock("0.2.0")).unwrap();
    let error = Library::load(&sealed, &admission, Some(&probe())).err().unwrap();
    assert!(matches!(error.problem, Problem::OtherThanLocked { .. }), "{error}");
    admission.allow_locked(&lock("0.1.0")).unwrap();
    assert!(Library::load(&sealed, &admission, Some(&probe())).is_ok());
}

#[test]
fn what_is_opened_is_what_was_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let path = hostile(folder.path(), "NONE");
    let sealed = Sealed::read(&path).unwrap();
    let mut admission = Admission::default();
    admission.allow(sealed.sha256()).unwrap();
    // Somebody exchanges the file between the check and the opening.
    hostile(folder.path(), "CRASH_IN_CONSTRUCTOR");
    assert!(Library::load(&sealed, &admission, None).is_ok());
    let error = Library::load(&Sealed::read(&path).unwrap(), &admission, None).err().unwrap();
    assert!(matches!(error.problem, Problem::NotAllowed { .. }), "{error}");
}

#[test]
fn files_that_are_not_to_be_trusted_are_refused_unopened() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = hostile(folder.path(), "NONE");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Sealed::read(&path).unwrap_err().problem, Problem::WorldWritable));
    std::fs::write(folder.path().join("text.so"), "no library").unwrap();
    assert!(matches!(
        Sealed::read(&folder.path().join("text.so")).unwrap_err().problem,
        Problem::NotALibrary
    ));
    assert!(matches!(Sealed::read(folder.path()).unwrap_err().problem, Problem::NotALibrary));
    let missing = Sealed::read(&folder.path().join("missing.so")).unwrap_err();
    assert!(matches!(missing.problem, Problem::Unreadable(_)), "{missing}");
}

#[test]
fn a_renamed_library_is_told_which_symbol_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let renamed = folder.path().join("libother.so");
    std::fs::rename(hostile(folder.path(), "NONE"), &renamed).unwrap();
    let error = load(&renamed).err().unwrap().to_string();
    assert!(error.contains("exports no `fleetstorm_plugin_other`"), "{error}");
}

#[test]
fn many_libraries_are_kept_apart() {
    // The system's loader takes libraries of one path for one, and descriptors are reused.
    let one = load_hostile("NEGATIVE_WAIT").unwrap();
    let other = load_hostile("UNKNOWN_ACTION").unwrap();
    let ask = |library| {
        let registry = registry(library);
        let retry = retry(&registry, "test.hostile", "{}").unwrap();
        retry.on_failure(&mut retry.session(), &Attempt::throttled(1).to_abi())
    };
    assert_ne!(ask(one), ask(other));
}

#[test]
fn an_id_that_is_taken_is_refused() {
    let mut registry = registry(load_hostile("NONE").unwrap());
    let error = registry.add(load_hostile("NONE").unwrap()).unwrap_err();
    assert!(matches!(error.problem, Problem::Duplicate { kind: Kind::Retry, .. }), "{error}");
}

/// Attempts that differ in everything a strategy may look at.
fn attempts() -> impl Iterator<Item = abi::Attempt> {
    let mut bits = 1u64;
    let mut draw = move || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bits ^ (bits >> 29)
    };
    (1..200u32).map(move |n| {
        let given = draw();
        Attempt {
            class: Class::from_number((draw() >> 33) as u32 % 15),
            given: if given % 3 == 0 { Given::Seconds(7) } else { Given::Absent },
            retry_after_ns: (given % 3 == 0).then_some(7_000_000_000),
            failures: n,
            attempts: n + 1,
            floor_ns: draw() % 5_000_000_000,
            now_ns: u64::from(n) * 1_000_000_000,
            since_boot_ns: u64::from(n) * 900_000_000,
            device_hash: 0x1234_5678_9abc_def0,
            fleet_size: 10_000,
            quota_per_minute: 1_000.0,
            random: [draw(), draw()],
            ..Attempt::throttled(n)
        }
        .to_abi()
    })
}

#[test]
fn every_strategy_decides_the_same_linked_and_loaded() {
    let linked = Registry::new(&[&fleetstorm_plugin_retry::ENTRY]);
    assert_eq!(linked.defects().count(), 0);
    let loaded = registry(load(&built("retry")).unwrap());
    let ids: Vec<&str> = linked.parts().map(|(_, part)| part.id()).collect();
    assert_eq!(ids, loaded.parts().map(|(_, part)| part.id()).collect::<Vec<_>>());
    for id in ids {
        let [linked, loaded] = [&linked, &loaded].map(|registry| retry(registry, id, "{}").unwrap());
        let (mut one, mut other) = (linked.session(), loaded.session());
        for attempt in attempts() {
            assert_eq!(
                linked.before_first_attempt(&mut one, &attempt),
                loaded.before_first_attempt(&mut other, &attempt),
                "{id}"
            );
            assert_eq!(
                linked.on_failure(&mut one, &attempt),
                loaded.on_failure(&mut other, &attempt),
                "{id} {attempt:?}"
            );
            assert_eq!(
                linked.on_success(&mut one, &attempt),
                loaded.on_success(&mut other, &attempt),
                "{id}"
            );
            assert_eq!(*one, *other, "{id}");
        }
    }
}

#[test]
fn a_panic_ends_the_strategy_and_nothing_else() {
    for library in [None, Some(load(&built("faulty")).unwrap())] {
        let loaded = library.is_some();
        let registry = library.map_or_else(|| Registry::new(&[&fleetstorm_plugin_faulty::ENTRY]), registry);
        let make = |at: &str| retry(&registry, "test.panicking", &format!(r#"{{"at": "{at}", "from": 3}}"#));
        assert!(matches!(make("new").err().unwrap(), PluginError::Panicked { .. }));
        assert!(make("refuse").err().unwrap().to_string().contains("at: it was told to refuse"));

        let retry = make("failure").unwrap();
        let mut session = retry.session();
        let failure = |n| Attempt::throttled(n).to_abi();
        assert_eq!(retry.on_failure(&mut session, &failure(1)), Ok(Decision::Wait(1)));
        assert_eq!(retry.on_failure(&mut session, &failure(2)), Ok(Decision::Wait(2)));
        assert_eq!(retry.on_failure(&mut session, &failure(3)), Err(Fault::Panicked));
        assert_eq!(
            retry.on_failure(&mut session, &failure(1)),
            Err(Fault::Panicked),
            "it is not asked again"
        );
        assert_eq!(retry.fault(), Some(Fault::Panicked));
        let other = make("failure").unwrap();
        assert!(other.on_failure(&mut other.session(), &failure(1)).is_ok(), "another one of the same part");

        let first = make("first").unwrap();
        assert_eq!(first.before_first_attempt(&mut first.session(), &failure(0)), Err(Fault::Panicked));
        let success = make("success").unwrap();
        assert_eq!(success.on_success(&mut success.session(), &failure(0)), Err(Fault::Panicked));
        if loaded {
            let told = messages();
            assert!(
                told.iter().any(|message| message.level == 1 && message.text.contains("after a failure")),
                "the library's own hook tells the host: {told:?}"
            );
        }
    }
}

#[test]
fn an_unknown_id_is_met_with_the_nearest() {
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY]);
    let error = retry(&registry, "full-jiter", "{}").err().unwrap().to_string();
    assert!(error.contains("did you mean `full-jitter`?"), "{error}");
}

#[test]
fn a_description_holds_the_strategys_parameters_and_the_hosts() {
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY]);
    for (_, part) in registry.parts() {
        let schema = part.schema();
        for (name, property) in schema["properties"].as_object().unwrap() {
            let described = property.get("description").is_some() || property.get("$ref").is_some();
            assert!(described, "{} {name}", part.id());
        }
        for name in ["max_attempts", "deadline_ms", "retry_after", "first_jitter_ms", "breaker"] {
            assert!(schema["properties"].get(name).is_some(), "{} {name}", part.id());
        }
        assert!(!part.summary().is_empty());
    }
}

#[test]
fn strategies_may_be_asked_from_many_threads() {
    let registry = registry(load(&built("retry")).unwrap());
    let retry = Arc::new(retry(&registry, "decorrelated", "{}").unwrap());
    let answers = |retry: &Retry| {
        let mut session = retry.session();
        attempts().map(|attempt| retry.on_failure(&mut session, &attempt)).collect::<Vec<_>>()
    };
    let alone = answers(&retry);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(answers(&retry), alone));
        }
    });
}
