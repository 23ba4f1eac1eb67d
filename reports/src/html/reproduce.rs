//! What ran where, and how to run it again.

use maud::{Markup, html};

use super::part::{Column, NAME_MAX, Section, bytes, more, table};
use crate::Record;
use crate::number::grouped;
use crate::record::{Clock, Plugin};
use crate::text::{clipped, printable};

/// Bytes that the scenario may take on the page. It is a few kilobytes; one with a hundred cohorts still fits.
const SCENARIO_MAX: usize = 100_000;
const PLUGINS_MAX: usize = 20;

pub(super) fn section(record: &Record) -> Option<Section> {
    if record.scenario.is_empty() {
        return None;
    }
    let scenario = clipped_scenario(&record.scenario);
    let body = html! {
        p { "Save the scenario below as " code { "scenario.toml" } ", then:" }
        pre.command tabindex="0" role="group" aria-label="Command" { code { (command(record.clock)) } }
        p.note { (promise(record.clock)) }
        details open[record.scenario.len() < 1_500] {
            summary { "The scenario with every default filled in" }
            pre tabindex="0" role="group" aria-label="Scenario" { code { (scenario) } }
            @if scenario.lines().count() < record.scenario.lines().count() {
                p.note { "It is longer than this; the whole of it stands in " code { "run.json" } "." }
            }
        }
        (environment(record))
        @if !record.plugins.is_empty() { (plugins(&record.plugins)) }
    };
    Some(Section { id: "reproduce", title: "Reproduce".into(), body })
}

fn command(clock: Clock) -> &'static str {
    match clock {
        Clock::Wall => "fleetstorm run scenario.toml",
        Clock::Wired => "fleetstorm run scenario.toml --clock wired",
        Clock::Virtual => "fleetstorm run scenario.toml --clock virtual",
    }
}

fn promise(clock: Clock) -> &'static str {
    match clock {
        Clock::Wall => {
            "The same scenario and seed plan the same run: the same boots, keys and draws. What a network and a \
             service make of it differs from run to run."
        }
        Clock::Wired | Clock::Virtual => {
            "In virtual time the same scenario, seed and plugins give the same record, byte for byte."
        }
    }
}

/// As many whole lines as fit; lines stay lines, and everything else that could mislead a reader is replaced.
fn clipped_scenario(scenario: &str) -> String {
    let mut room = SCENARIO_MAX;
    let mut out = String::new();
    for line in scenario.lines() {
        let Some(left) = room.checked_sub(size_on_page(line)) else { break };
        room = left;
        out.push_str(&printable(line));
        out.push('\n');
    }
    out
}

/// Bytes that a line takes once it is escaped.
fn size_on_page(line: &str) -> usize {
    let escaped = |c: char| match c {
        '"' => 6,
        '&' => 5,
        '<' | '>' => 4,
        _ => c.len_utf8(),
    };
    line.chars().map(escaped).sum::<usize>() + 1
}

fn environment(record: &Record) -> Markup {
    let mut rows = vec![
        ["Tool", &*clipped(&record.tool, NAME_MAX)].map(str::to_owned),
        ["Record format".to_owned(), format!("version {}", record.version)],
        ["Seed".to_owned(), record.seed.to_string()],
        ["Target".to_owned(), clipped(&record.target.address, NAME_MAX)],
        ["Id scope".to_owned(), clipped(&record.target.id_scope, NAME_MAX)],
    ];
    if let Some(machine) = &record.machine {
        rows.extend([
            ["Started".to_owned(), clipped(&machine.started_utc, NAME_MAX)],
            ["System".to_owned(), clipped(&machine.os, NAME_MAX)],
            ["Logical processors".to_owned(), machine.cpus.to_string()],
            ["Memory".to_owned(), bytes(machine.memory_bytes)],
        ]);
    }
    let columns = [Column::Words("Environment"), Column::Words("Value")];
    table("Environment", &columns, rows.into_iter().map(Vec::from))
}

fn plugins(plugins: &[Plugin]) -> Markup {
    let columns =
        [Column::Words("Plugin"), Column::Words("Kind"), Column::Words("Version"), Column::Words("Origin")];
    let rows = plugins.iter().take(PLUGINS_MAX).map(|plugin| {
        let origin = plugin
            .sha256
            .as_ref()
            .map_or("built in".to_owned(), |sha256| format!("SHA-256 {}", clipped(sha256, NAME_MAX)));
        [&plugin.id, &plugin.kind, &plugin.version]
            .map(|text| clipped(text, NAME_MAX))
            .into_iter()
            .chain([origin])
            .collect()
    });
    html! {
        (table("Plugins that took part", &columns, rows))
        (more(PLUGINS_MAX, plugins.len(), &format!("of {} plugins", grouped(plugins.len() as u64))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_cut_between_lines_only() {
        let long = "\"key\" = 1\n".repeat(20_000);
        let cut = clipped_scenario(&long);
        assert!(cut.ends_with("= 1\n") && long.starts_with(&cut));
        let size = html! { (cut) }.into_string().len();
        assert!((SCENARIO_MAX - 30..=SCENARIO_MAX).contains(&size), "{size}");
        assert_eq!(clipped_scenario("a = 1\nb = \"\u{1b}\""), "a = 1\nb = \"?\"\n");
    }
}
