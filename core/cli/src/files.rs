//! Scenario and mock files with what replaces their values.

use std::path::Path;

use fleetstorm_scenario::{Consent, MockFile, Override, Scenario, is_mock_path, read_mock};

use crate::arguments::{Changes, ScenarioOptions};
use crate::failure::Failure;
use crate::{apart, once};

/// Reads a scenario; `more` are changes that options stand for, which win over everything else.
pub(crate) fn scenario(source: &ScenarioOptions, more: Vec<Override>) -> Result<Scenario, Failure> {
    let text = read("scenario", &source.scenario)?;
    let mut overrides = overrides(&source.changes, &text, "scenario", Scenario::is_path);
    overrides.extend(more);
    let file = source.scenario.display().to_string();
    let scenario = Scenario::read_in(directory(&source.scenario), &text, &file, &overrides)?;
    if !apart::is_told() {
        for unused in scenario.unused() {
            eprintln!("note: not used: {unused}");
        }
    }
    Ok(scenario)
}

/// Where the relative paths of a file begin: where it is, unless it is a pipe or what a process has open.
fn directory(file: &Path) -> &Path {
    let is_file = file.metadata().is_ok_and(|facts| facts.is_file()) && !file.starts_with("/dev");
    file.parent().filter(|_| is_file).unwrap_or(Path::new(""))
}

/// The consent of a scenario file.
pub(crate) fn consent(path: &Path) -> Result<Option<Consent>, Failure> {
    let text = read("scenario", path)?;
    Ok(Scenario::read(&text, &path.display().to_string(), &[])?.target.consent)
}

/// Reads a mock's file; without one, the demo.
pub(crate) fn mock(path: Option<&Path>, changes: &Changes) -> Result<MockFile, Failure> {
    let (text, name) = match path {
        Some(path) => (read("mock's file", path)?, path.display().to_string()),
        None => (String::new(), "the demo".to_owned()),
    };
    let overrides = overrides(changes, &text, "mock's file", is_mock_path);
    Ok(read_mock(path.map_or(Path::new(""), directory), &text, &name, &overrides)?)
}

fn read(what: &str, path: &Path) -> Result<String, Failure> {
    once::read(path).map_err(|error| Failure::unreadable(what, path, &error))
}

/// Names of the environment that are not values of a file.
const RESERVED: [&str; 2] = ["FLEETSTORM_PLUGIN_PATH", "FLEETSTORM_LOG"];

/// What the environment and the options change in a file; `is_path` says whether it has such a value.
fn overrides(
    changes: &Changes,
    text: &str,
    what: &str,
    is_path: fn(&str, &Override) -> bool,
) -> Vec<Override> {
    let mut environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    environment.sort();
    let mut list = from_environment(environment, text);
    // Others name variables as well: Kubernetes does for each of its services.
    list.retain(|change| {
        let is_known = is_path(text, change);
        if !is_known && !apart::is_told() {
            eprintln!(
                "warning: the environment variable {} names no value of a {what} and is ignored",
                change.origin
            );
        }
        is_known
    });
    list.extend(changes.set.iter().map(|(path, value)| Override {
        origin: format!("--set {path}={value}"),
        path: path.clone(),
        value: value.clone(),
    }));
    list
}

/// `FLEETSTORM_FLEET__DEVICES` stands for `fleet.devices`. A variable that the file names as the place of a secret is
/// no change to the file.
fn from_environment(variables: impl IntoIterator<Item = (String, String)>, text: &str) -> Vec<Override> {
    variables
        .into_iter()
        .filter_map(|(name, value)| {
            let path = name.strip_prefix("FLEETSTORM_")?.to_ascii_lowercase().replace("__", ".");
            let secret = text.contains(&format!("\"{name}\"")) || text.contains(&format!("'{name}'"));
            (!RESERVED.contains(&&*name) && !secret && !path.is_empty()).then_some(Override {
                origin: name,
                path,
                value,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_paths_and_secrets_are_left_alone() {
        let variables = [
            ("HOME", "/root"),
            ("FLEETSTORM_FLEET__DEVICES", "5"),
            ("FLEETSTORM_GROUP_KEY", "c2VjcmV0"),
            ("FLEETSTORM_PLUGIN_PATH", "/opt"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let list = from_environment(variables, "group_key = { env = \"FLEETSTORM_GROUP_KEY\" }");
        assert_eq!(list.len(), 1);
        assert_eq!((&*list[0].path, &*list[0].value), ("fleet.devices", "5"));
        assert_eq!(list[0].origin, "FLEETSTORM_FLEET__DEVICES");
    }
}
