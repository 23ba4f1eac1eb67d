//! `fleetstorm explain`: what a code means, and a device's life line by line.

use std::path::Path;

use fleetstorm_engine::{Control, Plan, RunError, life};
use fleetstorm_reports::record::Clock;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

use crate::arguments::record::ExplainArguments;
use crate::arguments::run::{ClockChoice, ProgressChoice};
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::beside;
use crate::supervise::supervise;
use crate::{plugin, report};

pub(crate) fn run(arguments: &ExplainArguments) -> Result<u8, Failure> {
    let path = Path::new(&arguments.what);
    match &arguments.device {
        Some(device) => live(arguments, path, device),
        None => match fleetstorm_reports::explain(&arguments.what) {
            Some(text) => {
                print!("{text}");
                Ok(0)
            }
            None if path.exists() => {
                print!("{}", fleetstorm_reports::explain_run(&report::read(path)?));
                println!("\nA device's life: fleetstorm explain {} DEVICE", path.display());
                Ok(0)
            }
            None => Err(Failure::usage(format!(
                "`{}` is no code that is known and no file: give a status such as 429, a six-digit code such as \
                 401002, or the name of a transport error such as connect-timeout",
                arguments.what
            ))),
        },
    }
}

/// Tells a device's life: from the trace of its run, or by running the record's scenario again in the same virtual time.
fn live(arguments: &ExplainArguments, path: &Path, device: &str) -> Result<u8, Failure> {
    let record = report::read(path)?;
    let scenario = Scenario::read(&record.scenario, &path.display().to_string(), &[])?;
    let number = number_of(&scenario, device)?;
    let wall = record.clock == Clock::Wall;
    let found = || record.trace.as_ref().filter(|_| wall).map(|trace| beside(path, Path::new(&trace.file)));
    if let Some(trace) = arguments.trace.clone().or_else(found) {
        let told = life::tell_trace(&trace, &record, &scenario.registration_id(number));
        print!("{}", told.map_err(|error| Failure::usage(error.to_string()))?);
        return Ok(0);
    }
    if wall {
        return Err(Failure::usage(format!(
            "{} is of a run by the wall clock, which cannot be had again as it was, and it left no trace: run the \
             scenario with --trace trace.jsonl --trace-device {device}, or with --clock wired or --clock virtual, and \
             explain that",
            path.display()
        )));
    }
    let registry = plugin::registry(&arguments.plugins, &scenario.plugins.load)?;
    let display = Display::new(ProgressChoice::None, &scenario, ClockChoice::Virtual);
    let wired = record.clock == Clock::Wired;
    let told = supervise(display, &Control::default(), move |control| -> Result<String, RunError> {
        life::tell(Plan::new(scenario, &registry, Calendar::VIRTUAL)?, wired, number, control)
    })?;
    print!("{told}");
    Ok(0)
}

/// A device by its registration id or its number.
pub(crate) fn number_of(scenario: &Scenario, device: &str) -> Result<u32, Failure> {
    let digits = device.strip_prefix(&scenario.fleet.id_prefix).unwrap_or(device);
    let number = digits.parse().ok().filter(|number| *number < scenario.fleet.devices);
    number.filter(|number| device == digits || device == scenario.registration_id(*number)).ok_or_else(|| {
        Failure::usage(format!(
            "there is no device `{device}`: the fleet has {} to {}",
            scenario.registration_id(0),
            scenario.registration_id(scenario.fleet.devices.saturating_sub(1))
        ))
    })
}
