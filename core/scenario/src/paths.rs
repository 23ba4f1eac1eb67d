//! Paths in a file, which begin where the file is.

use std::path::Path;

use fleetstorm_model::profile::Profile;
use toml::Value;

/// What a mock's file says of files, as dotted paths; `*` is every entry of a list.
const OF_MOCK: [&str; 16] = [
    "tls.certificate",
    "tls.key",
    "tls.ca_out",
    "certificate.*.file",
    "enrollment.*.primary_key.file",
    "enrollment.*.secondary_key.file",
    "enrollment.*.primary_certificate",
    "enrollment.*.secondary_certificate",
    "enrollment_group.*.primary_key.file",
    "enrollment_group.*.secondary_key.file",
    "enrollment_group.*.primary_certificate",
    "enrollment_group.*.secondary_certificate",
    "webhook.ca_file",
    "access_policy.*.primary_key.file",
    "access_policy.*.secondary_key.file",
    "log.file",
];

/// What a scenario says of files beside its mock.
const OF_SCENARIO: [&str; 7] = [
    "profile",
    "plugins.load.*",
    "fleet.arrival.file",
    "target.ca_file",
    "target.group_key.file",
    "target.device_ca_file",
    "target.device_ca_key.file",
];

/// Lets the relative paths of a scenario, or of a mock's file, begin at a directory.
pub(super) fn rebase(table: &mut toml::Table, directory: &Path) {
    let mut root = Value::Table(std::mem::take(table));
    for path in OF_MOCK {
        let segments: Vec<&str> = path.split('.').collect();
        each(&mut root, &segments, directory);
        each(&mut root, &[&["mock"], &segments[..]].concat(), directory);
    }
    for path in OF_SCENARIO {
        each(&mut root, &path.split('.').collect::<Vec<_>>(), directory);
    }
    if let Value::Table(rebased) = root {
        *table = rebased;
    }
}

fn each(value: &mut Value, path: &[&str], directory: &Path) {
    match (path.split_first(), value) {
        (Some((&"*", rest)), Value::Array(list)) => {
            list.iter_mut().for_each(|entry| each(entry, rest, directory));
        }
        (Some((name, rest)), Value::Table(table)) => {
            if let Some(value) = table.get_mut(*name)
                && !(*name == "profile" && is_built_in(value))
            {
                if let ("load", Value::Array(list)) = (*name, &mut *value) {
                    // Other names are looked for in the folders for plugins.
                    let files = list.iter_mut().filter(|value| value.as_str().is_some_and(is_library));
                    files.for_each(|file| each(file, &[], directory));
                } else {
                    each(value, rest, directory);
                }
            }
        }
        (None, Value::String(path)) if is_relative(path) => {
            *path = directory.join(&*path).to_string_lossy().into_owned();
        }
        _ => {}
    }
}

fn is_built_in(value: &Value) -> bool {
    value.as_str().is_some_and(Profile::is_built_in)
}

/// Whether a library is named by its path.
fn is_library(name: &str) -> bool {
    name.contains('/') || name.ends_with(".so")
}

fn is_relative(path: &str) -> bool {
    !path.is_empty() && Path::new(path).is_relative()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_begin_at_the_file_and_names_stay_names() {
        let text = r#"
            profile = "strict.toml"
            plugins = { load = ["lib/mine.so", "name", "other.so"] }
            fleet = { arrival = { kind = "trace", file = "boots.csv" } }
            target = { ca_file = "/etc/ca.pem", group_key = { file = "group.key" } }
            [mock.log]
            file = "dps.jsonl"
            [[mock.enrollment]]
            primary_key = { env = "KEY" }
            primary_certificate = "../a.pem"
        "#;
        let mut table: toml::Table = toml::from_str(text).unwrap();
        rebase(&mut table, Path::new("over/there"));
        let root = Value::Table(table);
        let at = |path: &str| {
            let mut value = &root;
            for segment in path.split('.') {
                value = segment.parse::<usize>().map_or_else(|_| &value[segment], |index| &value[index]);
            }
            value.as_str().unwrap().to_owned()
        };
        for (path, file) in [
            ("profile", "over/there/strict.toml"),
            ("plugins.load.0", "over/there/lib/mine.so"),
            ("plugins.load.1", "name"),
            ("plugins.load.2", "over/there/other.so"),
            ("fleet.arrival.file", "over/there/boots.csv"),
            ("target.ca_file", "/etc/ca.pem"),
            ("target.group_key.file", "over/there/group.key"),
            ("mock.log.file", "over/there/dps.jsonl"),
            ("mock.enrollment.0.primary_key.env", "KEY"),
            ("mock.enrollment.0.primary_certificate", "over/there/../a.pem"),
        ] {
            assert_eq!(at(path), file, "{path}");
        }
        let mut usual: toml::Table = toml::from_str("profile = \"ms-2025\"").unwrap();
        rebase(&mut usual, Path::new("there"));
        assert_eq!(usual["profile"].as_str(), Some("ms-2025"));
    }
}
