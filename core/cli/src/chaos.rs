//! `fleetstorm chaos`, and faults that options add.

use fleetstorm_engine::Plan;
use fleetstorm_engine::chaos::schedule;
use fleetstorm_model::chaos::parse_short;
use fleetstorm_model::scenario::{Problem, Problems, Scenario};
use fleetstorm_model::time::Calendar;

use crate::arguments::ChaosPlanArguments;
use crate::failure::Failure;
use crate::{files, plugin};

pub(crate) fn plan(arguments: &ChaosPlanArguments) -> Result<u8, Failure> {
    let scenario = files::scenario(&arguments.scenario, &arguments.changes, Vec::new())?;
    let scenario = add(scenario, &arguments.chaos)?;
    let registry = plugin::registry(&arguments.plugins, &scenario.plugins.load)?;
    let schedule = schedule(&Plan::new(scenario, &registry, Calendar::VIRTUAL)?);
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&schedule).map_err(|error| Failure::internal(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{schedule}");
    }
    Ok(0)
}

/// Adds faults in their short form to a scenario, which is then checked as if they stood in its file.
pub(crate) fn add(mut scenario: Scenario, lines: &[String]) -> Result<Scenario, Failure> {
    for line in lines {
        let file = "--chaos".to_owned();
        let mut fault = parse_short(line).map_err(|error| {
            let problem = Problem { message: error.message, span: Some(error.at), help: String::new() };
            Problems { file: file.clone(), text: line.clone(), list: vec![problem] }
        })?;
        let taken = |name: &str| scenario.chaos.iter().any(|other| other.label() == name);
        if taken(fault.label()) {
            let numbered = |number: u32| format!("{}-{number}", fault.fault.name());
            fault.name = (2..).map(numbered).find(|name| !taken(name)).unwrap_or_default();
        }
        scenario.chaos.push(fault);
        scenario = Scenario::read(&scenario.resolved(), &file, &[])?;
    }
    Ok(scenario)
}
