//! Reading scenario and mock files, with errors that name the place and the fix.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use fleetstorm_model::objective::{METRICS, Objective};
use fleetstorm_model::service::throttle::PROFILES;
use fleetstorm_protocol::RegistrationId;
use fleetstorm_units::shown::origin;
use fleetstorm_units::time::{Moment, Span};
use fleetstorm_units::{Duration, nearest};
use serde::de::DeserializeOwned;

use super::file::{Cohort, Scenario, TargetKind};
use super::late::longer;
use super::secret::Veiled;
use super::{
    AllocationFile, Arrival, CertificateAuthorityFile, Listen, MetricFile, MockFile, Question, ServerTls,
    paths,
};

/// A value that replaces what the file says, from `--set` or the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Where it came from, such as `--set fleet.devices=5`.
    pub origin: String,
    /// Dotted path; the n-th of a list by its number.
    pub path: String,
    /// A TOML value, or bare text.
    pub value: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub message: String,
    /// Where in the file, in bytes; `None` for overrides.
    pub span: Option<Range<usize>>,
    /// What to do.
    pub help: String,
}

/// Everything that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name.
    pub file: String,
    /// Its text.
    pub text: String,
    /// At least one.
    pub list: Vec<Problem>,
}

impl Problems {
    /// What is wrong with a file, or with what replaces values of it. None of its words, nor of the text that it keeps, is a
    /// secret that was written there.
    pub fn new(file: &str, text: &str, overrides: &[Override], list: Vec<Problem>) -> Self {
        let changes =
            overrides.iter().map(|change| Veiled::of(&format!("{} = {}", change.path, change.value)));
        let veiled = changes.fold(Veiled::of(text), Veiled::and);
        let hidden = |problem: Problem| Problem {
            message: veiled.hide(&problem.message),
            help: veiled.hide(&problem.help),
            span: problem.span,
        };
        let list = list.into_iter().map(hidden).collect();
        Self { file: file.to_owned(), text: veiled.text, list }
    }

    /// One thing that is wrong at a dotted path of a file, or at the longest part of it that the file has.
    pub fn at(file: &str, text: &str, path: &str, message: String, help: String) -> Self {
        let span = Judge::new(text).span(path);
        Self::new(file, text, &[], vec![Problem { message, span, help }])
    }

    /// Line and column of a byte, both from 1.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count();
        (before.matches('\n').count() + 1, column + 1)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match &problem.span {
                Some(span) => {
                    let (line, column) = self.place(span.start);
                    write!(f, "{}:{line}:{column}: {}", self.file, problem.message)?;
                }
                None => write!(f, "{}: {}", self.file, problem.message)?,
            }
            if !problem.help.is_empty() {
                write!(f, " ({})", problem.help)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

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

fn apply(table: &mut toml::Table, change: &Override) -> Result<(), String> {
    let value = change
        .value
        .parse::<toml::Value>()
        .ok()
        .or_else(|| toml::from_str::<toml::Table>(&format!("value = {}", change.value)).ok()?.remove("value"))
        .unwrap_or_else(|| toml::Value::String(change.value.clone()));
    let segments: Vec<&str> = change.path.split('.').collect();
    let mut root = toml::Value::Table(std::mem::take(table));
    let done = set(&mut root, &segments, value);
    if let toml::Value::Table(changed) = root {
        *table = changed;
    }
    done
}

fn set(target: &mut toml::Value, path: &[&str], value: toml::Value) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        *target = value;
        return Ok(());
    };
    match target {
        // Every entry.
        toml::Value::Array(list) if *first == "*" => {
            list.iter_mut().try_for_each(|entry| set(entry, rest, value.clone()))
        }
        toml::Value::Array(list) => {
            let length = list.len();
            let index: usize =
                first.parse().map_err(|_| format!("`{first}` should be the number of an entry, from 0"))?;
            let entry =
                list.get_mut(index).ok_or(format!("there is no entry {index}: the list has {length}"))?;
            set(entry, rest, value)
        }
        toml::Value::Table(table) => {
            // A list that the file leaves out begins with the entry that is set.
            let fresh = match rest.first() {
                Some(&("0" | "*")) => toml::Value::Array(vec![toml::Value::Table(toml::Table::new())]),
                _ => toml::Value::Table(toml::Table::new()),
            };
            let key = if *first == "cohorts" { "cohort" } else { first };
            set(table.entry(key).or_insert(fresh), rest, value)
        }
        // A plugin that is only named becomes a table once a parameter is set.
        toml::Value::String(kind) => {
            let mut table = toml::Table::new();
            table.insert("kind".to_owned(), toml::Value::String(kind.clone()));
            *target = toml::Value::Table(table);
            set(target, path, value)
        }
        _ => Err(format!("`{first}` cannot be set: what stands there is no table")),
    }
}

/// Turns serde's message into one with a suggestion.
pub(crate) fn describe(error: &toml::de::Error, text: &str) -> Problem {
    let message = error.message().trim().to_owned();
    let mut help = String::new();
    if let Some((unknown, known)) = unknown_name(&message) {
        let near = nearest(&unknown, known.iter().map(String::as_str));
        help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let kind = if message.starts_with("unknown variant") { "value" } else { "key" };
        let span = error.span().map(|span| narrow(span, text, &unknown));
        return Problem { message: format!("unknown {kind} `{unknown}`"), span, help };
    }
    // Where a list has one table, and where a table has a list.
    let one = message.starts_with("invalid type: map, expected a sequence");
    let at = error.span().map_or(0, |span| span.start);
    let line = text.get(at..).unwrap_or("").lines().next().unwrap_or("").trim();
    let several = line.starts_with("[[")
        && message.starts_with("invalid type: map")
        && !message.contains("expected a string")
        || message.starts_with("invalid type: sequence, expected struct");
    if one || several {
        let before = text.get(..at).unwrap_or("").rsplit('\n').next().unwrap_or("");
        let name = line.trim_matches(['[', ']']);
        let name = if line.starts_with('[') { name } else { before.split('=').next().unwrap_or("").trim() };
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
        let name = if is_name { name } else { "name" };
        if one {
            let message = format!("`{name}` is a list, and this is one of its entries");
            return Problem {
                message,
                span: error.span(),
                help: format!("write `[[{name}]]`, once for each entry"),
            };
        }
        let message = format!("there is one `{name}`, and this is a list");
        return Problem { message, span: error.span(), help: format!("write `[{name}]`") };
    }
    let wants_number = ["u8", "u16", "u32", "u64", "i64", "f64", "usize"]
        .iter()
        .any(|number| message.ends_with(&format!("expected {number}")));
    if message.starts_with("invalid type: string") && wants_number {
        help = "write a number without quotes, such as 1000 or 0.5".to_owned();
    } else if message.ends_with("expected a sequence") {
        help = "write a list in brackets, such as [\"one\", \"two\"]".to_owned();
    } else if message.starts_with("unexpected key or value")
        && text.get(at..).is_some_and(|rest| rest.starts_with(','))
    {
        help = "thousands are written 1000 or 1_000".to_owned();
    } else if message.contains("expected") && message.contains("string") {
        help = "values such as \"15m\" or \"50/s\" are written in quotes".to_owned();
    }
    Problem { message, span: error.span(), help }
}

/// The name in ``unknown field `x`, expected one of `a`, `b` `` and the names it could have been.
fn unknown_name(message: &str) -> Option<(String, Vec<String>)> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((names.next()?, names.collect()))
}

/// Where `name` stands within a span that covers more.
fn narrow(span: Range<usize>, text: &str, name: &str) -> Range<usize> {
    match text.get(span.clone()).and_then(|part| part.find(name)) {
        Some(offset) => span.start + offset..span.start + offset + name.len(),
        None => span,
    }
}

/// Load balancers before the service cut connections that are silent for longer (`dps` 7.1).
const KEEP_ALIVE_MAX: Span = Span::from_secs(1_740);

/// Why a run's mock listens nowhere else.
const FREE_PORTS: &str = "the mock of a run takes free ports of this machine";

/// Checks across keys. Places are found by the path of the key.
struct Judge<'a> {
    document: Option<toml::Spanned<toml::de::DeTable<'a>>>,
    list: Vec<Problem>,
}

impl<'a> Judge<'a> {
    fn new(text: &'a str) -> Self {
        Self { document: toml::de::DeTable::parse(text).ok(), list: Vec::new() }
    }

    fn done<T>(self, value: T, text: &str, file: &str, overrides: &[Override]) -> Result<T, Problems> {
        if self.list.is_empty() {
            return Ok(value);
        }
        Err(Problems::new(file, text, overrides, self.list))
    }

    fn refuse(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let span = self.span(path);
        self.list.push(Problem { message: message.into(), span, help: help.into() });
    }

    /// The place of a path, or of the longest part of it that the file has.
    fn span(&self, path: &str) -> Option<Range<usize>> {
        use toml::de::DeValue;
        let mut segments = path.split('.').filter(|segment| !segment.is_empty());
        let first = segments.next()?;
        let (_, mut value) =
            self.document.as_ref()?.get_ref().iter().find(|(key, _)| key.get_ref() == first)?;
        let mut span = value.span();
        for segment in segments {
            let next = match value.get_ref() {
                DeValue::Table(table) => {
                    table.iter().find(|(key, _)| key.get_ref() == segment).map(|(_, value)| value)
                }
                DeValue::Array(list) => segment.parse().ok().and_then(|index: usize| list.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            value = next;
            span = value.span();
        }
        Some(span)
    }

    fn scenario(&mut self, scenario: &Scenario) {
        let devices = scenario.fleet.devices;
        if !(1..=10_000_000).contains(&devices) {
            self.refuse(
                "fleet.devices",
                format!("a fleet of {devices} devices"),
                "write a number from 1 to 10,000,000",
            );
        }
        if let Err(error) = RegistrationId::new(&scenario.registration_id(devices.saturating_sub(1))) {
            self.refuse("fleet.id_prefix", error.to_string(), "the device's number follows the prefix");
        }
        if scenario.fleet.max_concurrent == Some(0) {
            self.refuse("fleet.max_concurrent", "no device would ever run", "leave it out for no limit");
        }
        if let Err(message) = scenario.fleet.arrival.check() {
            self.refuse("fleet.arrival", message, "");
        }
        if scenario.horizon.0 == Span::ZERO {
            self.refuse("horizon", "the run would end before it begins", "write a time such as \"15m\"");
        } else {
            self.boots(scenario);
        }
        for (index, cohort) in scenario.cohorts.iter().enumerate() {
            self.cohort(index, cohort, &scenario.cohorts[..index]);
        }
        let question = Question { scenario, devices, horizon: scenario.horizon.0 };
        for (index, text) in scenario.objectives.iter().enumerate() {
            let path = format!("objectives.{index}");
            match text.parse::<Objective>() {
                Err(error) => {
                    let start = self.span(&path).map(|span| {
                        // One quote, then the text.
                        let at = (span.start + 1 + error.at).min(span.end.saturating_sub(1));
                        at..span.end.saturating_sub(1).max(at)
                    });
                    let help = if error.message.contains("metric") {
                        format!("metrics are {}", METRICS)
                    } else {
                        error.help.clone()
                    };
                    let message = format!("objective `{text}`: {}", error.message);
                    self.list.push(Problem { message, span: start, help });
                }
                Ok(objective) => {
                    if let Some((message, help)) = question.complaint(&objective) {
                        self.refuse(&path, format!("objective `{text}`: {message}"), help);
                    }
                }
            }
        }
        self.alerts(scenario);
        for complaint in crate::faults::check(scenario) {
            self.refuse(&complaint.path, complaint.message, complaint.help);
        }
        self.timetable(scenario);
        self.target(scenario);
        self.embedded(&scenario.mock);
        self.mock(&scenario.mock, "mock.");
        if let Some(compare) = &scenario.compare {
            if let Err((key, message)) = compare.check() {
                self.refuse(&format!("compare.{key}"), message, "");
            }
            for (index, throttle) in compare.throttles.iter().enumerate() {
                if throttle.config().is_none() {
                    let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
                    self.refuse(
                        &format!("compare.throttle.{index}.profile"),
                        format!("there is no throttle profile `{}`", throttle.profile),
                        format!("profiles: {}", names.join(", ")),
                    );
                }
            }
        }
        let network = &scenario.network;
        for (name, delay) in
            [("connect", &network.connect), ("hop", &network.hop), ("service", &network.service)]
        {
            if let Err(message) = delay.check() {
                self.refuse(&format!("network.{name}"), message, "");
            }
        }
    }

    fn cohort(&mut self, index: usize, cohort: &Cohort, before: &[Cohort]) {
        let at = |key: &str| format!("cohort.{index}.{key}");
        if !(cohort.share > 0.0 && cohort.share.is_finite()) {
            self.refuse(
                &at("share"),
                format!("a share of {}", cohort.share),
                "shares are relative and greater than 0",
            );
        }
        if before.iter().any(|other| other.name == cohort.name) {
            self.refuse(
                &at("name"),
                format!("there are two cohorts `{}`", cohort.name),
                "give each its own `name`",
            );
        }
        if cohort.token_lifetime.0 == Span::ZERO {
            self.refuse(
                &at("token_lifetime"),
                "a token that never lives",
                "for expired tokens set `clock_offset = \"-2h\"`",
            );
        }
        let keep_alive = cohort.keep_alive.0;
        if keep_alive > KEEP_ALIVE_MAX || keep_alive != Span::from_secs(keep_alive.as_secs()) {
            self.refuse(
                &at("keep_alive"),
                format!("a keep-alive of {keep_alive}"),
                "write whole seconds up to 1740s; 0s sends no pings",
            );
        }
        if let Some(life) = &cohort.life
            && let Err((key, message, help)) = life.check()
        {
            self.refuse(&at(&format!("life.{key}")), message, help);
        }
        let given = |names: &[&'static str]| {
            names.iter().copied().find(|name| cohort.attestation.parameters.contains_key(*name))
        };
        let secret = match &*cohort.attestation.kind {
            "symmetric-key" => given(&["group_keys"]).map(|name| (name, "`group_key = { env = \"NAME\" }`")),
            "x509" => given(&["ca_key_pem", "keys_pem"])
                .map(|name| (name, "`device_ca_file` and `device_ca_key = { file = \"path\" }`")),
            _ => None,
        };
        if let Some((name, place)) = secret {
            let message = "a secret never stands in a file: the record would hold it";
            self.refuse(
                &at(&format!("attestation.{name}")),
                message,
                format!("write {place} under [target]"),
            );
        }
        if cohort.transport.authenticates_connections() && cohort.attestation.kind == "tpm" {
            let transport = if cohort.transport.is_mqtt() { "MQTT" } else { "AMQP here" };
            self.refuse(
                &at("transport"),
                format!("a TPM cannot attest over {transport}: its challenge needs HTTPS"),
                "set `transport = \"https\"`",
            );
        }
    }

    /// A device that boots after the run would never be seen. What is left to chance is told, not refused.
    fn boots(&mut self, scenario: &Scenario) {
        let (fleet, horizon) = (&scenario.fleet, scenario.horizon);
        if fleet.arrival.check().is_err() {
            return;
        }
        let Some(last) = fleet.arrival.latest(fleet.devices).map(|at| at.since(Moment::START)) else {
            return;
        };
        if last >= horizon.0 {
            let by =
                if matches!(fleet.arrival, Arrival::Poisson { .. }) { "on average" } else { "as late as" };
            let message =
                format!("the last device boots {by} {last} after the start, and the run ends at {horizon}");
            self.refuse("fleet.arrival", message, longer(last));
        }
    }

    /// What is planned for a time after the run would never be seen.
    fn timetable(&mut self, scenario: &Scenario) {
        let horizon = scenario.horizon;
        let mut planned: Vec<(String, Duration)> = Vec::new();
        for (index, outage) in scenario.mock.outages.iter().enumerate() {
            planned.push((format!("mock.outage.{index}.at"), outage.at));
        }
        for (index, hub) in scenario.mock.hubs.iter().enumerate() {
            let states = hub.states.iter().enumerate();
            planned
                .extend(states.map(|(nth, change)| (format!("mock.hub.{index}.states.{nth}.at"), change.at)));
            let sweeps = hub.reprovision.iter().enumerate();
            planned.extend(
                sweeps.map(|(nth, sweep)| (format!("mock.hub.{index}.reprovision.{nth}.at"), sweep.at)),
            );
        }
        for (index, authority) in scenario.mock.certificate_authorities.iter().enumerate() {
            let rotations = authority.rotations.iter().enumerate();
            planned.extend(
                rotations
                    .map(|(nth, at)| (format!("mock.certificate_authority.{index}.rotations.{nth}"), *at)),
            );
        }
        let revoked = scenario.mock.issuance.revoke.iter().enumerate();
        planned.extend(revoked.map(|(nth, device)| (format!("mock.issuance.revoke.{nth}.at"), device.at)));
        for (index, cohort) in scenario.cohorts.iter().enumerate() {
            let cuts = cohort.life.iter().flat_map(|life| &life.power_cuts).enumerate();
            planned
                .extend(cuts.map(|(nth, cut)| (format!("cohort.{index}.life.power_cuts.{nth}.at"), cut.at)));
        }
        for (path, at) in planned.into_iter().filter(|(_, at)| *at >= horizon) {
            let message = format!("it begins at {at}, and the run ends at {horizon}");
            self.refuse(&path, message, "let it begin earlier, or set a longer horizon");
        }
    }

    /// What only a mock in a process of its own can do.
    fn embedded(&mut self, mock: &MockFile) {
        let names = ServerTls { names: mock.tls.names.clone(), ..ServerTls::default() };
        if mock.listen != Listen::default() {
            self.not_embedded("listen", FREE_PORTS);
        }
        if !mock.ip_filter.is_empty() {
            self.not_embedded("ip_filter", "the devices of a run come from this machine, or from nowhere");
        }
        if !mock.chaos.is_empty() {
            self.not_embedded("chaos", "the faults of a run stand in the scenario: write [[chaos]]");
        }
        if mock.tls != names {
            self.not_embedded(
                "tls",
                "the mock of a run has a certificate of its own, which its devices trust",
            );
        }
    }

    /// Who writes a file says the usual ports only if they are meant; a record has them filled in.
    fn own_mock(&mut self) {
        let is_said = self.document.as_ref().is_some_and(|document| {
            let mock = document.get_ref().iter().find(|(key, _)| key.get_ref() == "mock");
            match mock.map(|(_, mock)| mock.get_ref()) {
                Some(toml::de::DeValue::Table(mock)) => mock.iter().any(|(key, _)| key.get_ref() == "listen"),
                _ => false,
            }
        });
        if is_said {
            self.not_embedded("listen", FREE_PORTS);
        }
    }

    fn not_embedded(&mut self, key: &str, what: &str) {
        if self.list.iter().any(|problem| problem.message == what) {
            return;
        }
        let help = format!(
            "leave [mock.{key}] out; or write it as [{key}] in a mock's file, start `fleetstorm mock --config FILE`, \
             and run against it with --target"
        );
        self.refuse(&format!("mock.{key}"), what, help);
    }

    fn alerts(&mut self, scenario: &Scenario) {
        for (index, alert) in scenario.alerts.iter().enumerate() {
            let at = |key: &str| format!("alert.{index}.{key}");
            if scenario.target.kind != TargetKind::Mock {
                let help = "a real service has its alerts in Azure Monitor";
                self.refuse(&at("name"), "alerts look at the embedded mock's metrics", help);
            }
            if alert.window.0 < Span::from_secs(1) || alert.window.0 > scenario.horizon.0 {
                let help = "write 1s up to the scenario's horizon";
                self.refuse(&at("window"), format!("a window of {}", alert.window), help);
            }
            if !alert.threshold.is_finite() {
                self.refuse(&at("threshold"), "the threshold is no number", "write one such as 10");
            }
            let known =
                |host: &String| scenario.mock.hubs.iter().any(|hub| hub.host.eq_ignore_ascii_case(host));
            if alert.hub.as_ref().is_some_and(|hub| !scenario.mock.hubs.is_empty() && !known(hub)) {
                self.refuse(&at("hub"), "no such hub is linked", "hubs are those of [[mock.hub]]");
            }
            if alert.metric == MetricFile::DeviceAssignments && alert.status.is_some() {
                self.refuse(&at("status"), "assignments have no status", "leave it out");
            }
            if alert.metric != MetricFile::AttestationAttempts && alert.protocol.is_some() {
                let help = "leave it out, or look at attestation-attempts";
                self.refuse(&at("protocol"), "only attestation attempts have a protocol", help);
            }
        }
    }

    fn target(&mut self, scenario: &Scenario) {
        let target = &scenario.target;
        match target.kind {
            TargetKind::Mock => {
                if target.address.is_some() {
                    self.refuse(
                        "target.address",
                        "the embedded mock has no address to dial",
                        "set `kind = \"endpoint\"` for a server that is already running",
                    );
                }
            }
            TargetKind::Endpoint => {
                if target.address.is_none() {
                    self.refuse(
                        "target",
                        "an endpoint needs an address",
                        "add `address = \"https://127.0.0.1:8443\"`",
                    );
                }
            }
            TargetKind::Dps => {
                if target.id_scope.is_none() && target.id_scope_env.is_none() {
                    self.refuse(
                        "target",
                        "the real service needs an id scope",
                        "add `id_scope = \"0ne…\"` or `id_scope_env`",
                    );
                }
                if let Some(lives) = scenario.cohorts.iter().position(|cohort| cohort.life.is_some()) {
                    self.refuse(
                        &format!("cohort.{lives}.life"),
                        "devices live on at the mock's hubs only",
                        "take [cohort.life] out for the real service",
                    );
                }
                if target.consent.is_none() {
                    self.refuse(
                        "target",
                        "the real service is only touched with consent",
                        "add [target.consent] with host, max_devices, max_registrations and max_rate",
                    );
                }
            }
        }
        if let Some(consent) = &target.consent {
            if scenario.fleet.devices > consent.max_devices {
                self.refuse(
                    "target.consent.max_devices",
                    format!(
                        "a fleet of {} devices, and consent for {}",
                        scenario.fleet.devices, consent.max_devices
                    ),
                    "shrink the fleet, or ask for more",
                );
            }
            if consent.max_rate.per_second() <= 0.0 {
                self.refuse(
                    "target.consent.max_rate",
                    "a rate of zero allows nothing",
                    "write one such as \"100/min\"",
                );
            }
        }
    }

    fn mock(&mut self, mock: &MockFile, prefix: &str) {
        let at = |key: &str| format!("{prefix}{key}");
        if mock.throttle.config().is_none() {
            let known = PROFILES.iter().map(|profile| profile.name);
            let help = match nearest(&mock.throttle.profile, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("profiles: {}", known.collect::<Vec<_>>().join(", ")),
            };
            self.refuse(
                &at("throttle.profile"),
                format!("there is no throttle profile `{}`", mock.throttle.profile),
                help,
            );
        }
        if mock.throttle.burst.is_some_and(|burst| !(1.0..=1e9).contains(&burst)) {
            self.refuse(&at("throttle.burst"), "a burst below 1 lets nothing through", "write 1 or more");
        }
        if mock.throttle.polls_per_10s.is_some_and(|polls| polls > 8) {
            self.refuse(
                &at("throttle.polls_per_10s"),
                "the mock counts up to 8 polls",
                "write 0 (no limit) to 8",
            );
        }
        if !(-1..=i64::from(u32::MAX)).contains(&mock.retry_after_s) {
            self.refuse(&at("retry_after_s"), "this is no Retry-After", "write seconds, or -1 for none");
        }
        if !matches!(mock.mqtt.unknown_scope, 0 | 3..=5) {
            self.refuse(
                &at("mqtt.unknown_scope"),
                "this code does not fit",
                "write 3, 4 or 5, or 0 to let it in",
            );
        }
        if !matches!(mock.mqtt.user_name, 2..=5) {
            self.refuse(&at("mqtt.user_name"), "this code does not fit", "write 2 to 5");
        }
        for (index, rule) in mock.ip_filter.iter().enumerate() {
            if rule.covers(std::net::Ipv4Addr::LOCALHOST.into()).is_none() {
                let help = "write an address or a range, such as 10.0.0.0/8";
                self.refuse(
                    &at(&format!("ip_filter.{index}.mask")),
                    format!("`{}` covers no addresses", rule.mask),
                    help,
                );
            }
        }
        for (index, outage) in mock.outages.iter().enumerate() {
            if let Err((key, message, help)) = outage.check() {
                self.refuse(&at(&format!("outage.{index}.{key}")), message, help);
            }
        }
        for (index, hub) in mock.hubs.iter().enumerate() {
            if let Err((key, message, help)) = hub.check() {
                self.refuse(&at(&format!("hub.{index}.{key}")), message, help);
            }
        }
        for (key, limit) in [
            ("connections", Some(mock.limits.connections)),
            ("unproven_per_address", mock.limits.unproven_per_address),
        ] {
            if limit == Some(0) {
                self.refuse(
                    &at(&format!("limits.{key}")),
                    "a limit of 0 lets nobody in",
                    "write 1 or more, or leave it out",
                );
            }
        }
        let times = [
            ("first_byte", mock.limits.first_byte),
            ("handshake", mock.limits.handshake),
            ("request", mock.limits.request),
            ("idle", mock.limits.idle),
        ];
        for (key, _) in times.iter().filter(|(_, time)| time.0 == Span::ZERO) {
            self.refuse(
                &at(&format!("limits.{key}")),
                "no time at all lets nobody in",
                "write a time such as \"10s\", or leave it out",
            );
        }
        self.certificates(mock, prefix);
        if matches!(mock.allocation, AllocationFile::Static | AllocationFile::Custom) {
            self.refuse(
                &at("allocation"),
                "an instance cannot choose hubs this way",
                "write hashed or geo-latency, and the other policies at an enrollment",
            );
        }
        if mock.throttle.operations_burst.is_some_and(|burst| !(1.0..=1e9).contains(&burst)) {
            self.refuse(
                &at("throttle.operations_burst"),
                "a burst below 1 lets nothing through",
                "write 1 or more",
            );
        }
        let is_one = |ways: &[bool]| ways.iter().filter(|way| **way).count() == 1;
        for (index, enrollment) in mock.enrollments.iter().enumerate() {
            let ways = [
                enrollment.primary_key.is_some(),
                enrollment.primary_certificate.is_some(),
                enrollment.primary_ca.is_some(),
                enrollment.endorsement_key.is_some(),
            ];
            if !is_one(&ways) {
                let path = at(&format!("enrollment.{index}"));
                self.refuse(
                    &path,
                    format!("enrollment `{}`", enrollment.registration_id),
                    "give primary_key, primary_certificate, primary_ca or endorsement_key",
                );
            }
            let webhook = (enrollment.allocation, enrollment.webhook_url.as_deref());
            self.allocation(&at(&format!("enrollment.{index}")), webhook, &enrollment.hub, &enrollment.hubs);
        }
        for (index, group) in mock.enrollment_groups.iter().enumerate() {
            let ways = [
                group.primary_key.is_some(),
                group.primary_certificate.is_some(),
                group.primary_ca.is_some(),
            ];
            if !is_one(&ways) {
                let path = at(&format!("enrollment_group.{index}"));
                self.refuse(
                    &path,
                    format!("enrollment group `{}`", group.id),
                    "give primary_key, primary_certificate or primary_ca",
                );
            }
            let webhook = (group.allocation, group.webhook_url.as_deref());
            self.allocation(&at(&format!("enrollment_group.{index}")), webhook, &group.hub, &group.hubs);
        }
    }

    /// The authorities that issue certificates, and the enrollments that name them.
    fn certificates(&mut self, mock: &MockFile, prefix: &str) {
        let authorities = &mock.certificate_authorities;
        for (index, authority) in authorities.iter().enumerate() {
            let at = format!("{prefix}certificate_authority.{index}");
            if let Err((key, message, help)) = authority.check() {
                self.refuse(&format!("{at}.{key}"), message, help);
            }
            let same = |other: &CertificateAuthorityFile| {
                other.namespace == authority.namespace && other.name.eq_ignore_ascii_case(&authority.name)
            };
            if authorities[..index].iter().any(same) {
                let what =
                    format!("there are two authorities `{}` in {}", authority.name, authority.namespace);
                self.refuse(&format!("{at}.name"), what, "give each its own name");
            }
        }
        if let Err((key, message, help)) = mock.issuance.check() {
            self.refuse(&format!("{prefix}issuance.{key}"), message, help);
        }
        let individuals = mock.enrollments.iter().map(|entry| &entry.certificate_policy).enumerate();
        let groups = mock.enrollment_groups.iter().map(|entry| &entry.certificate_policy).enumerate();
        let individuals = individuals.map(|(index, policy)| (format!("enrollment.{index}"), policy));
        let groups = groups.map(|(index, policy)| (format!("enrollment_group.{index}"), policy));
        for (path, policy) in individuals.chain(groups) {
            let Some(policy) = policy.as_ref().filter(|policy| !policy.is_among(authorities)) else {
                continue;
            };
            self.refuse(
                &format!("{prefix}{path}.certificate_policy"),
                format!(
                    "there is no policy `{}` of the authority `{}` in {}",
                    policy.policy, policy.authority, policy.namespace
                ),
                "policies are those of [[certificate_authority]]",
            );
        }
    }

    /// An allocation policy needs what it chooses by.
    fn allocation(
        &mut self,
        path: &str,
        (policy, webhook): (Option<AllocationFile>, Option<&str>),
        hub: &Option<String>,
        hubs: &[String],
    ) {
        match policy {
            Some(AllocationFile::Custom) if webhook.is_none() => {
                self.refuse(path, "a custom allocation asks a webhook", "add `webhook_url`");
            }
            Some(AllocationFile::Static) if hub.is_none() && hubs.len() != 1 => {
                self.refuse(path, "a static allocation needs its hub", "add `hub`");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
