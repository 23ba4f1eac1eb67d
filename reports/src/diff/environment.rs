//! What was run differently.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::Record;

/// Something that the two runs do not share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// What.
    pub what: String,
    /// In the earlier run; empty if it was not there.
    pub base: String,
    /// In the later run.
    pub new: String,
}

/// Lines of the scenario that are told; the rest stands in the records.
const LINES_MAX: usize = 40;

pub(super) fn changes(base: &Record, new: &Record) -> Vec<Changed> {
    let mut all = Vec::new();
    let mut add = |what: &str, base: String, new: String| {
        if base != new {
            all.push(Changed { what: what.to_owned(), base, new });
        }
    };
    add("clock", clock(base), clock(new));
    add("tool", base.tool.clone(), new.tool.clone());
    add("target", target(base), target(new));
    add("devices", base.devices.to_string(), new.devices.to_string());
    add("seed", base.seed.to_string(), new.seed.to_string());
    add("plugins", plugins(base), plugins(new));
    add("policy profile", profile(base), profile(new));
    add("machine", machine(base), machine(new));
    all.extend(scenario(&base.scenario, &new.scenario));
    all
}

fn clock(record: &Record) -> String {
    format!("{:?}", record.clock).to_lowercase()
}

/// An embedded mock listens on whatever port is free: that is no difference.
fn target(record: &Record) -> String {
    let target = &record.target;
    let address = if target.kind == "mock" { "" } else { &target.address };
    let throttle = target.throttle.as_deref().unwrap_or_default();
    [&target.kind, address, throttle]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn plugins(record: &Record) -> String {
    let one = |plugin: &crate::record::Plugin| {
        let hash = plugin.sha256.as_deref().map_or(String::new(), |hash| format!(" sha256 {hash:.12}"));
        format!("{} {}{hash}", plugin.id, plugin.version)
    };
    record.plugins.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn profile(record: &Record) -> String {
    record.profile.as_ref().map(|profile| profile.name.clone()).unwrap_or_default()
}

fn machine(record: &Record) -> String {
    record
        .machine
        .as_ref()
        .map(|machine| {
            format!("{}, {} processors, {} GiB", machine.os, machine.cpus, machine.memory_bytes >> 30)
        })
        .unwrap_or_default()
}

/// Lines that only one of the two scenarios has, with the table that they stand in.
fn scenario(base: &str, new: &str) -> Vec<Changed> {
    let (of_base, of_new) = (lines(base), lines(new));
    let what = || "scenario".to_owned();
    let gone = of_base.difference(&of_new).map(|line| Changed {
        what: what(),
        base: line.clone(),
        new: String::new(),
    });
    let come = of_new.difference(&of_base).map(|line| Changed {
        what: what(),
        base: String::new(),
        new: line.clone(),
    });
    gone.chain(come).take(LINES_MAX).collect()
}

/// Whether two runs had different scenarios, whatever their seeds.
pub(super) fn scenarios_differ(base: &Record, new: &Record) -> bool {
    lines(&base.scenario) != lines(&new.scenario)
}

fn lines(text: &str) -> BTreeSet<String> {
    let mut table = "";
    let mut lines = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // The name and the seed have a line of their own.
        if line.starts_with("seed =") && table.is_empty() {
            continue;
        }
        match line.starts_with('[') && line.ends_with(']') && !line.contains('=') {
            true => table = line,
            false => {
                lines.insert(format!("{table} {line}").trim().to_owned());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_value_is_told_with_its_table_and_a_port_is_no_change() {
        let mut base = Record::empty();
        base.scenario = "seed = 1\n[fleet]\ndevices = 5\n[mock.throttle]\nburst = 7\n".into();
        base.target.address = "127.0.0.1:1".into();
        let mut new = base.clone();
        new.target.address = "127.0.0.1:2".into();
        new.scenario = "seed = 2\n[fleet]\ndevices = 6\n[mock.throttle]\nburst = 7\n".into();
        new.seed = 2;
        let changes = changes(&base, &new);
        let told: Vec<(&str, &str, &str)> =
            changes.iter().map(|change| (&*change.what, &*change.base, &*change.new)).collect();
        assert_eq!(
            told,
            [
                ("seed", "0", "2"),
                ("scenario", "[fleet] devices = 5", ""),
                ("scenario", "", "[fleet] devices = 6")
            ]
        );
    }
}
