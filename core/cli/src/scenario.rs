//! `fleetstorm scenario`: what can be known before a run.

use std::io::IsTerminal as _;

use fleetstorm_engine::{Plan, RunError};
use fleetstorm_units::number::counted;
use fleetstorm_units::time::Calendar;

use crate::arguments::ScenarioOptions;
use crate::failure::Failure;
use crate::{files, plugin};

pub(crate) fn check(source: &ScenarioOptions) -> Result<u8, Failure> {
    let scenario = files::scenario(source, Vec::new())?;
    let devices = counted(scenario.fleet.devices.into(), "device");
    let no_objective = scenario.objectives.is_empty();
    // Of all arrivals that a file may have, only a random rate can end after the run.
    let late = match scenario.fleet.arrival {
        fleetstorm_scenario::Arrival::Poisson { .. } => fleetstorm_scenario::Late::of(&scenario),
        _ => None,
    };
    let seed = scenario.seed;
    let objectives = counted(scenario.objectives.len() as u64, "objective");
    // Plugins and the files that the scenario names are part of whether it can run.
    let registry = plugin::registry(&source.plugins, &scenario.plugins.load)?;
    let fits = Plan::new(scenario, &registry, Calendar::VIRTUAL).map(drop);
    match fits {
        // Secrets need not be at hand where a scenario is only checked.
        Ok(()) | Err(RunError::Resolve(_)) => {}
        Err(error) => return Err(error.into()),
    }
    println!("{}: ok ({devices}, {objectives})", source.scenario.display());
    if no_objective {
        println!("  but it has no objective: a run judges nothing, and ends with exit code 11");
    }
    if let Some(late) = late {
        println!("  but with seed {seed}, {late}");
    }
    if let Err(RunError::Resolve(missing)) = fits {
        println!("  but not ready to run here: {missing}");
    }
    Ok(0)
}

pub(crate) fn explain(source: &ScenarioOptions) -> Result<u8, Failure> {
    let scenario = files::scenario(source, Vec::new())?;
    print!("{}", fleetstorm_scenario::explain(&scenario));
    Ok(0)
}

pub(crate) fn schema() -> Result<u8, Failure> {
    let text = serde_json::to_string_pretty(&fleetstorm_scenario::schema())
        .map_err(|error| Failure::internal(format!("the schema cannot be written: {error}")))?;
    println!("{text}");
    if std::io::stdout().is_terminal() {
        eprintln!("(redirect this to a file and name it in your editor's TOML settings)");
    }
    Ok(0)
}
