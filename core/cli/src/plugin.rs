//! `fleetstorm plugin`, and the libraries that a run loads.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use fleetstorm_files::write_whole;
use fleetstorm_plugin_host::{
    Admission, Kind, Library, LoadError, Needs, Part, Probe, Registry, SEARCH_VARIABLE, Sealed, examine,
    find, scaffold,
};

use crate::apart::{self, Work};
use crate::arguments::plugin::{
    PluginCheckArguments, PluginDescribeArguments, PluginKind, PluginListArguments, PluginNewArguments,
};
use crate::arguments::{PROBE, PluginOptions};
use crate::failure::Failure;

/// The lock file that is read if it is there.
const LOCK_FILE: &str = "plugins.lock";
/// How long a library may take to start in a process of its own.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Where the work is done with the libraries that the options and `more` (a scenario's list) name.
pub(crate) fn apart(options: &PluginOptions, more: &[String]) -> Result<Work, Failure> {
    apart::work(&options.plugin.iter().chain(more).collect::<Vec<_>>())
}

/// The plugins that are linked into the command, and those that the options and `more` (a scenario's list) name. These
/// are opened in a process apart only, which does the whole command: no file may be written and no port opened before.
pub(crate) fn registry(options: &PluginOptions, more: &[String]) -> Result<Registry, Failure> {
    here(apart(options, more)?)?;
    let mut registry = Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_tpm::ENTRY,
        &fleetstorm_plugin_x509::ENTRY,
    ]);
    if let Some(defect) = registry.defects().next() {
        return Err(Failure::internal(defect.to_string()));
    }
    let names: Vec<&String> = options.plugin.iter().chain(more).collect();
    if names.is_empty() {
        return Ok(registry);
    }
    let (admission, probe) = (admission(options)?, probe()?);
    for name in names {
        let library = Library::load(&sealed(name)?, &admission, Some(&probe)).map_err(refused)?;
        registry.add(library).map_err(refused)?;
    }
    Ok(registry)
}

/// Goes on if the work is done by this process.
fn here(work: Work) -> Result<(), Failure> {
    match work {
        Work::Here => Ok(()),
        Work::Done(code) => Err(Failure::Elsewhere(code)),
        Work::Broken(why) => Err(Failure::internal(why)),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "handed over by map_err")]
fn refused(error: LoadError) -> Failure {
    Failure::usage(error.to_string())
}

fn sealed(name: &str) -> Result<Sealed, Failure> {
    let search = std::env::var_os(SEARCH_VARIABLE);
    let program = std::env::current_exe().ok();
    let path = find(name, search.as_deref(), program.as_deref()).map_err(refused)?;
    Sealed::read(&path).map_err(refused)
}

fn probe() -> Result<Probe, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::internal(format!("this program does not find itself: {error}")))?;
    Ok(Probe { program, arguments: vec![PROBE.into()], limit: PROBE_LIMIT })
}

/// What the operator allows: hashes on the command line, and the lock file.
fn admission(options: &PluginOptions) -> Result<Admission, Failure> {
    let mut admission = Admission::default();
    for hash in &options.allow_plugin {
        admission.allow(hash).map_err(|error| Failure::usage(format!("--allow-plugin: {error}")))?;
    }
    let (path, named) = match &options.plugin_lock {
        Some(path) => (path.as_path(), true),
        None => (Path::new(LOCK_FILE), false),
    };
    let text = match std::fs::metadata(path) {
        // A pipe would be waited for.
        Ok(facts) if !facts.is_file() => Err(std::io::Error::other("it is no regular file")),
        _ => std::fs::read_to_string(path),
    };
    match text {
        Ok(text) => admission
            .allow_locked(&text)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
        Err(error) if named || error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::unreadable("lock file", path, &error));
        }
        Err(_) => {}
    }
    Ok(admission)
}

pub(crate) fn list(arguments: &PluginListArguments) -> Result<u8, Failure> {
    let registry = registry(&arguments.options, &[])?;
    if arguments.json {
        let list: Vec<_> = registry.parts().map(|(library, part)| object(library, part)).collect();
        println!("{}", pretty(&serde_json::Value::Array(list))?);
        return Ok(0);
    }
    for (kind, title) in [(Kind::Retry, "Retry strategies"), (Kind::Attestation, "Attestations")] {
        println!("{title}");
        let parts: Vec<_> = registry.parts().filter(|(_, part)| part.kind() == kind).collect();
        let width = parts.iter().map(|(_, part)| part.id().len()).max().unwrap_or(0);
        for (library, part) in parts {
            let loaded = library.sha256().map_or("", |_| " (loaded)");
            println!("  {:<width$}  {}{loaded}", part.id(), part.summary());
        }
        println!();
    }
    println!("`fleetstorm plugin describe NAME` lists the parameters of one.");
    Ok(0)
}

pub(crate) fn describe(arguments: &PluginDescribeArguments) -> Result<u8, Failure> {
    let registry = registry(&arguments.options, &[])?;
    let found: Vec<_> = registry.parts().filter(|(_, part)| part.id() == arguments.name).collect();
    if found.is_empty() {
        let known = registry.parts().map(|(_, part)| part.id());
        let near = fleetstorm_units::nearest(&arguments.name, known)
            .map(|near| format!(", did you mean `{near}`?"))
            .unwrap_or_default();
        return Err(Failure::usage(format!(
            "there is no plugin `{}`{near}; `fleetstorm plugin list` lists them",
            arguments.name
        )));
    }
    for (library, part) in found {
        if arguments.json {
            println!("{}", pretty(&object(library, part))?);
        } else {
            print!("{}", described(library, part));
        }
    }
    Ok(0)
}

/// A part in words: what it is, and its parameters.
fn described(library: &Library, part: &Part) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(out, "{} ({})\n  {}", part.id(), part.kind(), part.summary());
    let source = library.sha256().map_or("built in".to_owned(), |hash| format!("sha256 {hash}"));
    let _ = writeln!(out, "  library {} {}, {source}", library.name(), library.version());
    if part.kind() == Kind::Retry {
        let how = if part.is_coordinated() { "coordinated: its devices decide together" } else { "local" };
        let _ = writeln!(out, "  {how}; remembers {} bytes of a device", part.session_bytes());
        if part.is_informed() {
            let _ = writeln!(out, "  is told the fleet's size and the quota (`fleet.informed`)");
        }
        if part.is_model() {
            let _ = writeln!(out, "  a model of other software");
        }
    }
    let schema = part.schema();
    let properties = schema.get("properties").and_then(serde_json::Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let text = |key: &str| property.get(key).and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
        let default = property.get("default").map_or(String::new(), |value| format!(" (default {value})"));
        let _ = writeln!(out, "\n  {name}{default}\n      {}", text("description").replace('\n', " "));
    }
    out
}

pub(crate) fn check(arguments: &PluginCheckArguments) -> Result<u8, Failure> {
    let built_in = registry(&PluginOptions::default(), &[])?;
    if built_in.parts().any(|(_, part)| part.id() == arguments.subject) {
        return examined(&built_in, std::slice::from_ref(&arguments.subject), arguments);
    }
    here(apart::work(&[&arguments.subject])?)?;
    let sealed = sealed(&arguments.subject)?;
    let found = probe()?.run(&sealed).map_err(refused)?;
    let admission = admission(&arguments.options)?;
    match Library::load(&sealed, &admission, None) {
        Ok(library) => {
            let strategies = library
                .parts()
                .iter()
                .filter(|part| part.kind() == Kind::Retry)
                .map(|part| part.id().to_owned());
            let ids: Vec<String> = strategies.collect();
            let mut registry = built_in;
            registry.add(library).map_err(refused)?;
            if !arguments.json {
                println!("{} {}: opens and starts, sha256 {}", found.name, found.version, sealed.sha256());
                print!("{}", pulls_in(sealed.needs()));
            }
            examined(&registry, &ids, arguments)
        }
        Err(_) => {
            let (name, version, sha256) = (&found.name, &found.version, sealed.sha256());
            if arguments.json {
                let object = serde_json::json!({
                    "name": name, "version": version, "sha256": sha256, "admitted": false, "needs": sealed.needs(),
                });
                println!("{}", pretty(&object)?);
                return Ok(0);
            }
            println!("{name} {version}: opens and starts in a process of its own");
            print!("{}", pulls_in(sealed.needs()));
            println!("\nIt is not allowed here, so its strategies were not examined. To allow it, add");
            println!("  --allow-plugin {sha256}");
            println!("or to {LOCK_FILE}\n");
            println!("[[plugin]]\nname = \"{name}\"\nversion = \"{version}\"\nsha256 = \"{sha256}\"");
            Ok(0)
        }
    }
}

/// What a hash does not cover, in words.
fn pulls_in(needs: &Needs) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    if !needs.libraries.is_empty() {
        let _ = writeln!(out, "  pulls in {}, which its hash does not cover", needs.libraries.join(", "));
    }
    if !needs.folders.is_empty() {
        let _ = writeln!(out, "  has them looked for in {} first", needs.folders.join(", "));
    }
    out
}

/// Examines strategies; the exit code says whether one has a defect.
fn examined(registry: &Registry, ids: &[String], arguments: &PluginCheckArguments) -> Result<u8, Failure> {
    let mut all = Vec::new();
    for id in ids {
        if registry.get(Kind::Retry, id).is_none() {
            println!("{id} is no retry strategy: there is nothing to examine");
            continue;
        }
        let examination = examine(registry, id, &arguments.parameters)
            .map_err(|error| Failure::usage(format!("{id}: {error}")))?;
        all.push(examination);
    }
    if arguments.json {
        let value = serde_json::to_value(&all).map_err(|error| Failure::internal(error.to_string()))?;
        println!("{}", pretty(&value)?);
    } else {
        for examination in &all {
            println!("{examination}");
        }
    }
    Ok(if all.iter().all(|examination| examination.passed()) { 0 } else { DEFECT })
}

/// Writes a crate with a strategy or attestation to begin with.
pub(crate) fn new(arguments: &PluginNewArguments) -> Result<u8, Failure> {
    let sdk = std::path::absolute(&arguments.sdk).unwrap_or_else(|_| arguments.sdk.clone());
    if !sdk.join("Cargo.toml").is_file() {
        return Err(Failure::usage(format!(
            "{} is not the folder of the crate fleetstorm-plugin: give --sdk the folder plugins/sdk of a checkout",
            sdk.display()
        )));
    }
    let kind = match arguments.kind {
        PluginKind::Retry => Kind::Retry,
        PluginKind::Attestation => Kind::Attestation,
    };
    let files = scaffold(&arguments.name, kind, &sdk).map_err(|error| Failure::usage(error.to_string()))?;
    let folder = Path::new(&arguments.name);
    if folder.exists() {
        return Err(Failure::usage(format!("{} is there already: choose another name", folder.display())));
    }
    for (path, text) in &files {
        write_whole(&folder.join(path), text.as_bytes())
            .map_err(|error| Failure::internal(error.to_string()))?;
    }
    println!("{} is a plugin to begin with. Next:", folder.display());
    println!("  cargo build --release --manifest-path {}/Cargo.toml", folder.display());
    println!("  fleetstorm plugin check {}/target/release/<library>.so", folder.display());
    Ok(0)
}

/// A strategy with a defect breaks what the examiner expects of it, as an objective is broken.
const DEFECT: u8 = 10;

fn object(library: &Library, part: &Part) -> serde_json::Value {
    serde_json::json!({
        "id": part.id(),
        "kind": part.kind().to_string(),
        "summary": part.summary(),
        "library": library.name(),
        "version": library.version(),
        "sha256": library.sha256(),
        "coordinated": part.is_coordinated(),
        "informed": part.is_informed(),
        "model": part.is_model(),
        "session_bytes": part.session_bytes(),
        "schema": part.schema(),
    })
}

fn pretty(value: &serde_json::Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::internal(error.to_string()))
}
