//! `fleetstorm explain`: what a code means, and a device's life line by line.

use std::path::Path;

use fleetstorm_engine::{Control, Plan, RunError, life};
use fleetstorm_model::scenario::Scenario;
use fleetstorm_model::time::Calendar;
use fleetstorm_reports::record::Clock;

use crate::arguments::record::ExplainArguments;
use crate::arguments::run::ProgressChoice;
use crate::failure::Failure;
use crate::progress::Display;
use crate::run::supervise;
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
            None if path.exists() => Err(Failure::usage(format!(
                "which device of {}? Name it: fleetstorm explain {} dev-000042",
                path.display(),
                path.display()
            ))),
            None => Err(Failure::usage(format!(
                "`{}` is no code that is known and no file: give a status such as 429, a six-digit code such as \
                 401002, or the name of a transport error such as connect-timeout",
                arguments.what
            ))),
        },
    }
}

/// Runs the record's scenario again in the same virtual time, with an eye on one device.
fn live(arguments: &ExplainArguments, path: &Path, device: &str) -> Result<u8, Failure> {
    let record = report::read(path)?;
    if record.clock == Clock::Live {
        return Err(Failure::usage(format!(
            "{} is of a run by the wall clock, which cannot be run again as it was: run its scenario with --clock \
             wired or --clock virtual and explain that",
            path.display()
        )));
    }
    let scenario = Scenario::read(&record.scenario, &path.display().to_string(), &[])?;
    let number = number(&scenario, device).ok_or_else(|| {
        Failure::usage(format!(
            "there is no device `{device}`: the fleet has {} to {}",
            scenario.registration_id(0),
            scenario.registration_id(scenario.fleet.devices.saturating_sub(1))
        ))
    })?;
    let registry = plugin::registry(&arguments.plugins, &scenario.plugins.load)?;
    let display = Display::new(ProgressChoice::None, &scenario);
    let wired = record.clock == Clock::Wired;
    let told = supervise(display, &Control::default(), move |control| -> Result<String, RunError> {
        life::tell(Plan::new(scenario, &registry, Calendar::VIRTUAL)?, wired, number, control)
    })?;
    print!("{told}");
    Ok(0)
}

/// A device by its registration id or its number.
fn number(scenario: &Scenario, device: &str) -> Option<u32> {
    let digits = device.strip_prefix(&scenario.fleet.id_prefix).unwrap_or(device);
    let number = digits.parse().ok().filter(|number| *number < scenario.fleet.devices)?;
    (device == digits || device == scenario.registration_id(number)).then_some(number)
}
