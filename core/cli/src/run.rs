//! `fleetstorm run`: from a scenario to a record, a report and an exit code.

use std::path::{Path, PathBuf};

use fleetstorm_engine::life::Trace;
use fleetstorm_engine::{Control, Plan, broken_run, virtual_time, wall, wired};
use fleetstorm_files::{Claim, write_together};
use fleetstorm_reports::Record;
use fleetstorm_reports::record::Clock;
use fleetstorm_scenario::{Override, Scenario};
use fleetstorm_units::time::Calendar;

use crate::apart::Work;
use crate::arguments::PluginOptions;
use crate::arguments::run::{ClockChoice, ProgressChoice, RunArguments};
use crate::explain::number_of;
use crate::failure::Failure;
use crate::progress::Display;
use crate::supervise::supervise;
use crate::{chaos, files, metrics, plugin, terminal};

pub(crate) fn run(arguments: &RunArguments) -> Result<u8, Failure> {
    let scenario = files::scenario(&arguments.source, options(arguments))?;
    let scenario = chaos::add(scenario, &arguments.chaos)?;
    match plugin::apart(&arguments.source.plugins, &scenario.plugins.load)? {
        Work::Here => {}
        Work::Done(code) => return Ok(code),
        Work::Broken(why) => return broken(&scenario, arguments, why),
    }
    if arguments.clock == ClockChoice::Wall {
        wall::claim_network(&scenario)?;
    }
    let out = arguments.out.clone().unwrap_or_else(|| default_directory(&scenario));
    let _claim = Claim::directory(&out).map_err(|error| Failure::unwritable(&error, "--out"))?;

    let trace = trace(arguments, &scenario)?;
    let control = Control::default();
    if let Some(address) = arguments.metrics {
        metrics::serve(address, scenario.fleet.devices, control.clone())?;
    }
    let (clock, shards) = (arguments.clock, arguments.shards);
    tracing::info!(scenario = scenario.name, seed = scenario.seed, devices = scenario.fleet.devices, out = %out.display(),
        "the run begins");
    let mut record =
        drive(scenario, clock, shards, &arguments.source.plugins, arguments.progress, trace, &control)?;
    record.path = out.join(RECORD).display().to_string();
    tracing::info!(verdict = record.verdict.sentence, exit_code = record.verdict.exit_code, "the run ended");
    let written = leave(&record, &out);
    terminal::write_out_styled(&fleetstorm_reports::summary(&record, terminal::colours(&std::io::stdout())));
    let written = written?;
    println!("\nRecord  {}\nReport  {}", written[0].display(), written[1].display());
    if let Some(trace) = &record.trace {
        println!("Trace   {}", trace.file);
        if trace.dropped > 0 {
            let why =
                if trace.error.is_empty() { "the disk was slower than the fleet" } else { &trace.error };
            println!("        {} of its events were dropped: {why}", trace.dropped);
        }
    }
    Ok(record.verdict.exit_code)
}

/// Leaves a record of a run whose process is gone.
fn broken(scenario: &Scenario, arguments: &RunArguments, why: String) -> Result<u8, Failure> {
    let clock = match arguments.clock {
        ClockChoice::Wall => Clock::Wall,
        ClockChoice::Wired => Clock::Wired,
        ClockChoice::Virtual => Clock::Virtual,
    };
    let out = arguments.out.clone().unwrap_or_else(|| default_directory(scenario));
    let mut record = broken_run(scenario, clock, why.clone());
    record.path = out.join(RECORD).display().to_string();
    let written = leave(&record, &out)?;
    terminal::write_out_styled(&fleetstorm_reports::summary(&record, terminal::colours(&std::io::stdout())));
    println!("\nRecord  {}\nReport  {}", written[0].display(), written[1].display());
    Failure::internal(why).print();
    Ok(record.verdict.exit_code)
}

/// The trace that the arguments ask for.
fn trace(arguments: &RunArguments, scenario: &Scenario) -> Result<Option<Trace>, Failure> {
    let Some(path) = &arguments.trace else { return Ok(None) };
    let devices = arguments.trace_device.iter().map(|device| number_of(scenario, device));
    let devices = devices.collect::<Result<Vec<u32>, _>>()?;
    let devices = (!devices.is_empty()).then_some(devices);
    // Virtual time can wait for a disk; devices of the wall clock cannot.
    let patient = arguments.clock != ClockChoice::Wall;
    let bytes_max = u64::from(arguments.trace_limit) << 20;
    Trace::start(path, scenario, devices, patient, bytes_max)
        .map(Some)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// What the options stand for.
fn options(arguments: &RunArguments) -> Vec<Override> {
    let change = |origin: &str, path: &str, value: String| Override {
        origin: origin.to_owned(),
        path: path.to_owned(),
        value,
    };
    let mut list = Vec::new();
    if let Some(seed) = arguments.seed {
        list.push(change("--seed", "seed", seed.to_string()));
    }
    match arguments.target.as_deref() {
        None => {}
        Some("mock") => list.push(change("--target", "target.kind", "mock".to_owned())),
        Some(address) => {
            list.push(change("--target", "target.kind", "endpoint".to_owned()));
            list.push(change("--target", "target.address", address.to_owned()));
        }
    }
    if let Some(transport) = &arguments.transport {
        list.push(change("--transport", "cohort.*.transport", transport.clone()));
    }
    if let Some(ca) = &arguments.ca {
        list.push(change("--ca", "target.ca_file", ca.display().to_string()));
    }
    list
}

/// Names come from files, and may hold anything.
pub(crate) fn default_directory(scenario: &Scenario) -> PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = scenario.name.chars().map(safe).take(80).collect();
    let name = name.trim_matches('.');
    Path::new("fleetstorm-out").join(if name.is_empty() { "run" } else { name })
}

/// Runs a scenario and shows its progress.
pub(crate) fn drive(
    scenario: Scenario,
    clock: ClockChoice,
    shards: Option<u32>,
    plugins: &PluginOptions,
    progress: ProgressChoice,
    trace: Option<Trace>,
    control: &Control,
) -> Result<Record, Failure> {
    let calendar = match clock {
        ClockChoice::Wall => wall::calendar(),
        ClockChoice::Wired | ClockChoice::Virtual => Calendar::VIRTUAL,
    };
    let registry = plugin::registry(plugins, &scenario.plugins.load)?;
    let display = Display::new(progress, &scenario, clock);
    supervise(display, control, move |control| {
        let mut plan = Plan::new(scenario, &registry, calendar)?;
        if let Some(trace) = &trace {
            plan = trace.of(plan);
        }
        let mut record = match clock {
            ClockChoice::Wall => wall::run(plan, wall::Machine { shards }, control)?,
            ClockChoice::Wired => wired::run(plan, control)?,
            ClockChoice::Virtual => virtual_time::run(plan, control)?,
        };
        record.trace = trace.map(Trace::finish);
        Ok(record)
    })
}

/// The record's name in its directory.
const RECORD: &str = "run.json";

/// Writes the record and the report, which never stands beside a record that it was not made of.
fn leave(record: &Record, out: &Path) -> Result<[PathBuf; 2], Failure> {
    let bytes = record
        .write()
        .map_err(|error| Failure::internal(format!("the record cannot be written as JSON: {error}")))?;
    let (json, html) = (out.join(RECORD), out.join("report.html"));
    let page = fleetstorm_reports::html(record);
    write_together((&json, &bytes), &[(&html, page.as_bytes())])
        .map_err(|error| Failure::internal(error.to_string()))?;
    Ok([json, html])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stay_below_their_directory_whatever_the_name() {
        let directory =
            |name: &str| default_directory(&Scenario { name: name.to_owned(), ..Scenario::default() });
        assert_eq!(directory("quickstart"), Path::new("fleetstorm-out/quickstart"));
        assert_eq!(directory("../../etc"), Path::new("fleetstorm-out/-..-etc"));
        assert_eq!(directory(".."), Path::new("fleetstorm-out/run"));
        assert_eq!(directory("a/b\n"), Path::new("fleetstorm-out/a-b-"));
    }
}
