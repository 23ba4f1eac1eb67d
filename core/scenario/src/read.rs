//! Reading scenario and mock files, with errors that name the place and the fix.

use std::path::Path;

use fleetstorm_model::objective::Objective;
use fleetstorm_units::shown::origin;
use serde::de::DeserializeOwned;

use crate::change::{Override, apply};
use crate::file::{Cohort, Scenario};
use crate::judge::Judge;
use crate::problem::{Problem, Problems, describe, unknown_name};
use crate::{MockFile, paths};

/// The JSON Schema of scenario files, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Scenario).to_value()
}

/// Reads a mock's file, whose relative paths begin at `directory`; those of the overrides are left as they are.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_mock(
    directory: &Path,
    text: &str,
    file: &str,
    overrides: &[Override],
) -> Result<MockFile, Problems> {
    let mock: MockFile = read(directory, text, file, overrides)?;
    let mut judge = Judge::new(text);
    judge.mock(&mock, "");
    for complaint in crate::faults::check_mock(&mock.stage()) {
        judge.refuse(&complaint.path, complaint.message, complaint.help);
    }
    judge.done(mock, text, file, overrides)
}

impl MockFile {
    /// Whether its faults fit a mock in a process of its own. `file` names where they stand.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn check(&self, file: &str) -> Result<(), Problems> {
        let list: Vec<Problem> = crate::faults::check_mock(&self.stage())
            .into_iter()
            .map(|complaint| Problem { message: complaint.message, span: None, help: complaint.help })
            .collect();
        if list.is_empty() {
            Ok(())
        } else {
            Err(Problems { file: file.to_owned(), text: String::new(), list })
        }
    }
}

/// Whether a path names a value of a mock's file.
pub fn is_mock_path(text: &str, change: &Override) -> bool {
    is_path::<MockFile>(text, change)
}

fn is_path<T: DeserializeOwned>(text: &str, change: &Override) -> bool {
    let Ok(mut table) = toml::from_str::<toml::Table>(text) else { return true };
    if apply(&mut table, change).is_err() {
        return false;
    }
    let read: Result<T, toml::de::Error> = table.try_into();
    let Some(error) = read.err() else { return true };
    match unknown_name(error.message()) {
        // A name that is unknown in the value is a mistake in it.
        Some((name, _)) => !change.path.split('.').any(|segment| segment == name),
        // Behind what is no table there are no names.
        None => {
            change.value.trim_start().starts_with('{') || !error.message().starts_with("invalid type: map")
        }
    }
}

impl Scenario {
    /// Reads a scenario and applies the overrides. Its relative paths begin at the current directory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(text: &str, file: &str, overrides: &[Override]) -> Result<Self, Problems> {
        Self::judged(Path::new(""), text, file, overrides, Judge::new(text))
    }

    /// Whether a path names a value of a scenario.
    pub fn is_path(text: &str, change: &Override) -> bool {
        is_path::<Self>(text, change)
    }

    /// The dotted path at which a text first names a plugin, or a parameter of it. `key` is `retry` or `attestation`.
    pub fn plugin_path(text: &str, key: &str, kind: &str, parameter: Option<&str>) -> Option<String> {
        let table: toml::Table = toml::from_str(text).ok()?;
        let list =
            |value: Option<&toml::Value>| value.and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let cohorts = list(table.get("cohort")).into_iter().enumerate();
        let named = cohorts
            .filter_map(|(index, cohort)| Some((format!("cohort.{index}.{key}"), cohort.get(key)?.clone())));
        let compared =
            table.get("compare").filter(|_| key == "retry").and_then(|compare| compare.get("strategies"));
        let compared = list(compared).into_iter().enumerate();
        let compared = compared.map(|(index, plugin)| (format!("compare.strategies.{index}"), plugin));
        let is_it = |plugin: &toml::Value| {
            let named = plugin.as_str().or_else(|| plugin.get("kind")?.as_str());
            named == Some(kind) && parameter.is_none_or(|parameter| plugin.get(parameter).is_some())
        };
        let (path, _) = named.chain(compared).find(|(_, plugin)| is_it(plugin))?;
        Some(parameter.map_or(path.clone(), |parameter| format!("{path}.{parameter}")))
    }

    /// Reads a scenario and applies the overrides. Its relative paths begin at `directory`; those of the overrides are left
    /// as they are.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read_in(
        directory: &Path,
        text: &str,
        file: &str,
        overrides: &[Override],
    ) -> Result<Self, Problems> {
        let mut judge = Judge::new(text);
        judge.own_mock();
        Self::judged(directory, text, file, overrides, judge)
    }

    fn judged(
        directory: &Path,
        text: &str,
        file: &str,
        overrides: &[Override],
        mut judge: Judge<'_>,
    ) -> Result<Self, Problems> {
        let mut scenario: Self = read(directory, text, file, overrides)?;
        if scenario.name.is_empty() {
            let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
            scenario.name = name.strip_suffix(".toml").unwrap_or(name).to_owned();
        }
        if scenario.cohorts.is_empty() {
            scenario.cohorts.push(Cohort::default());
        }
        judge.scenario(&scenario);
        judge.done(scenario, text, file, overrides)
    }

    /// The scenario with every default filled in, for a record. It names secrets and never holds one: of a webhook's address,
    /// which ends in its code, only the host is left.
    pub fn published(&self) -> String {
        let mut shown = self.clone();
        let enrollments = shown.mock.enrollments.iter_mut().map(|entry| &mut entry.webhook_url);
        let groups = shown.mock.enrollment_groups.iter_mut().map(|entry| &mut entry.webhook_url);
        for webhook in enrollments.chain(groups).flatten() {
            *webhook = origin(webhook);
        }
        shown.resolved()
    }

    /// The scenario with every default filled in, as it can be run.
    pub fn resolved(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# the scenario cannot be written: {error}\n"))
    }

    /// The objectives, which [`Scenario::read`] has checked.
    pub fn parsed_objectives(&self) -> Vec<Objective> {
        self.objectives.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// The registration id of a device by its number.
    pub fn registration_id(&self, device: u32) -> String {
        format!("{}{device:06}", self.fleet.id_prefix)
    }

    /// How many devices each cohort has: shares of the fleet, rounded so that they add up.
    pub fn cohort_sizes(&self) -> Vec<u32> {
        let total: f64 = self.cohorts.iter().map(|cohort| cohort.share).sum();
        let (mut through, mut given) = (0.0, 0);
        self.cohorts
            .iter()
            .map(|cohort| {
                through += cohort.share;
                let until = (f64::from(self.fleet.devices) * through / total).round() as u32;
                let size = until.saturating_sub(given);
                given = given.max(until);
                size
            })
            .collect()
    }
}

fn read<T: DeserializeOwned>(
    directory: &Path,
    text: &str,
    file: &str,
    overrides: &[Override],
) -> Result<T, Problems> {
    let problems = |list| Problems::new(file, text, overrides, list);
    // The file alone first: its mistakes have a place, those of overrides do not.
    let plain: T = toml::from_str(text).map_err(|error| problems(vec![describe(&error, text)]))?;
    let is_here = directory.as_os_str().is_empty();
    if overrides.is_empty() && is_here {
        return Ok(plain);
    }
    let mut table: toml::Table =
        toml::from_str(text).map_err(|error| problems(vec![describe(&error, text)]))?;
    if !is_here {
        paths::rebase(&mut table, directory);
    }
    for change in overrides {
        apply(&mut table, change).map_err(|message| {
            let message = format!("{}: {message}", change.origin);
            problems(vec![Problem { message, span: None, help: String::new() }])
        })?;
        // One by one, so that the one that breaks the scenario is named.
        let _: T = table.clone().try_into().map_err(|error: toml::de::Error| {
            let problem = describe(&error, "");
            let message = format!("{}: {}", change.origin, problem.message);
            problems(vec![Problem { message, span: None, help: problem.help }])
        })?;
    }
    table.try_into().map_err(|error| problems(vec![describe(&error, "")]))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
