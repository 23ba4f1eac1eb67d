//! What `fleetstorm chaos plan` tells: every fault with the times at which it will be on.

use std::fmt;

use fleetstorm_model::chaos::{ChaosFile, Fault, Layer};
use fleetstorm_units::number::{counted, share};
use fleetstorm_units::shown::printable;
use fleetstorm_units::time::{Moment, Span};
use serde::Serialize;

use crate::plan::Plan;

/// Occurrences of one fault that are shown to a person; JSON has all of them.
const SHOWN: usize = 20;

/// More than this many occurrences of one fault are not expanded.
const EXPANDED_MAX: usize = 10_000;

/// The faults of a scenario, expanded.
#[derive(Clone, Debug, Serialize)]
pub struct Schedule {
    /// The scenario.
    pub scenario: String,
    /// The seed, which decides about jitter and whom each fault hits.
    pub seed: u64,
    /// When the run ends at the latest.
    pub horizon_ns: u64,
    /// In the scenario's order.
    pub faults: Vec<Entry>,
}

/// One fault.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What goes wrong.
    pub kind: &'static str,
    /// Where it acts.
    pub layer: Layer,
    /// As the scenario has it, with defaults filled in.
    pub rule: ChaosFile,
    /// Devices that it can hit.
    pub devices: u64,
    /// Devices that must have a hub before it begins; absent if it begins at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for_assigned: Option<u64>,
    /// When it is on; for a fault that waits for an event, counted from the event.
    pub occurrences: Vec<Occurrence>,
}

/// One occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Occurrence {
    /// When it begins.
    pub from_ns: u64,
    /// When it ends; absent if it lasts until the run ends.
    pub until_ns: Option<u64>,
}

/// Expands the faults of a plan.
pub fn schedule(plan: &Plan) -> Schedule {
    let horizon = Moment::START + plan.scenario.horizon.0;
    let faults = plan.chaos.as_ref().map_or(&[][..], |timeline| timeline.faults());
    let entry = |(fault, rule): (&Fault, &ChaosFile)| {
        let begun = if fault.waits_for().is_some() { Moment::START } else { fault.begins() };
        Entry {
            name: fault.name.clone(),
            kind: fault.kind.name(),
            layer: fault.kind.layer(),
            rule: rule.clone(),
            devices: plan.chaos.as_ref().map_or(0, |timeline| fault.selected(timeline)),
            waits_for_assigned: fault.waits_for(),
            occurrences: fault
                .windows(begun, horizon)
                .take(EXPANDED_MAX)
                .map(|window| Occurrence {
                    from_ns: window.from.as_nanos(),
                    until_ns: (window.until < horizon).then_some(window.until.as_nanos()),
                })
                .collect(),
        }
    };
    Schedule {
        scenario: plan.scenario.name.clone(),
        seed: plan.scenario.seed,
        horizon_ns: horizon.as_nanos(),
        faults: faults.iter().zip(&plan.scenario.chaos).map(entry).collect(),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let horizon = Span::from_nanos(self.horizon_ns);
        let scenario = printable(&self.scenario);
        if self.faults.is_empty() {
            return writeln!(f, "{scenario}: no faults until the run ends at {horizon}");
        }
        writeln!(f, "{scenario}: seed {}, ends at {horizon} at the latest\n", self.seed)?;
        let mut rows: Vec<(u64, [String; 5])> = Vec::new();
        for entry in &self.faults {
            for (index, occurrence) in entry.occurrences.iter().take(SHOWN).enumerate() {
                let after = if entry.waits_for_assigned.is_some() { "+" } else { "" };
                let time = |ns: u64| format!("{after}{}", Span::from_nanos(ns));
                let until = occurrence.until_ns.map_or("the end".to_owned(), time);
                let name = if entry.occurrences.len() > 1 {
                    format!("{} #{}", printable(&entry.name), index + 1)
                } else {
                    printable(&entry.name)
                };
                let row = [time(occurrence.from_ns), until, name, entry.kind.to_owned(), entry.whom()];
                rows.push((occurrence.from_ns, row));
            }
        }
        rows.sort_by_key(|(from_ns, _)| *from_ns);
        let head = ["from", "until", "fault", "kind", "hits"].map(str::to_owned);
        let rows: Vec<[String; 5]> =
            std::iter::once(head).chain(rows.into_iter().map(|(_, row)| row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3].map(width);
        for [from, until, name, kind, whom] in &rows {
            let [w0, w1, w2, w3] = widths;
            writeln!(f, "  {from:>w0$}  {until:>w1$}  {name:<w2$}  {kind:<w3$}  {whom}")?;
        }
        for entry in &self.faults {
            if let Some(devices) = entry.waits_for_assigned {
                let (name, whom) = (printable(&entry.name), counted(devices, "device"));
                writeln!(f, "\n`{name}` is timed from the moment of its {whom} with a hub.")?;
            }
            if entry.occurrences.len() > SHOWN {
                let more = entry.occurrences.len() - SHOWN;
                let name = printable(&entry.name);
                writeln!(f, "\n`{name}` has {more} more occurrences; --json shows them all.")?;
            }
        }
        Ok(())
    }
}

impl Entry {
    /// Whom it hits, in words.
    fn whom(&self) -> String {
        if self.rule.fault.is_about_packets() {
            let told = self.rule.probability.map(|chance| format!("{} of the packets", share(chance)));
            return told.unwrap_or("every packet".to_owned());
        }
        let mut words = Vec::new();
        if let (Some(chance), Some(unit)) = (self.rule.probability, self.rule.unit) {
            words.push(format!("{} of each {}", share(chance), unit.name()));
        }
        if let Some(count) = self.rule.count {
            let skip = if count.skip > 0 { format!(" after {}", count.skip) } else { String::new() };
            words.push(format!("the first {} of each {}{skip}", count.first, count.per.name()));
        }
        if let Some(operation) = self.rule.select.operation {
            words.push(format!("{} only", fleetstorm_protocol::Operation::from(operation).name()));
        }
        if let Some(active) = self.rule.limits.active {
            words.push(format!("at most {} at once", counted(active.into(), "device")));
        }
        if let Some(total) = self.rule.limits.total {
            words.push(format!("at most {}", counted(total, "time")));
        }
        words.push(format!("of {}", counted(self.devices, "device")));
        words.join(", ")
    }
}
