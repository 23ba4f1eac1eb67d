//! `fleetstorm chaos`, and faults that options add.

use fleetstorm_engine::chaos::schedule;
use fleetstorm_engine::{Control, Plan};
use fleetstorm_files::write_whole;
use fleetstorm_model::chaos::ChaosFile;
use fleetstorm_reports::analysis::Outcome;
use fleetstorm_scenario::{MockFile, Problem, Problems, Scenario, parse_short};
use fleetstorm_study::shrink::{self, Search, ShrinkError};
use fleetstorm_units::time::Calendar;

use crate::arguments::chaos::{ChaosPlanArguments, ChaosShrinkArguments};
use crate::arguments::run::{ClockChoice, ProgressChoice};
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::read;
use crate::supervise::supervise;
use crate::{files, plugin};

pub(crate) fn plan(arguments: &ChaosPlanArguments) -> Result<u8, Failure> {
    let scenario = files::scenario(&arguments.source, Vec::new())?;
    let scenario = add(scenario, &arguments.chaos)?;
    let registry = plugin::registry(&arguments.source.plugins, &scenario.plugins.load)?;
    let schedule = schedule(&Plan::new(scenario, &registry, Calendar::VIRTUAL)?);
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&schedule).map_err(|error| Failure::internal(error.to_string()))?;
        println!("{}", fleetstorm_reports::json_escaped(&text));
    } else {
        print!("{schedule}");
    }
    Ok(0)
}

pub(crate) fn shrink(arguments: &ChaosShrinkArguments) -> Result<u8, Failure> {
    let path = &arguments.record;
    let record = read(path)?;
    let scenario = Scenario::read(&record.scenario, &path.display().to_string(), &[])?;
    let registry = plugin::registry(&arguments.plugins, &scenario.plugins.load)?;
    let search = Search { keep: arguments.keep.clone(), runs_max: arguments.runs };
    let (quiet, control) = (arguments.quiet, Control::default());
    let display = Display::new(ProgressChoice::None, &scenario, ClockChoice::Virtual);
    let found = supervise(display, &control, move |control| {
        let mut tell = |line: &str| {
            if !quiet {
                eprintln!("{line}");
            }
        };
        Ok(shrink::shrink(&record, &registry, &search, control, &mut tell))
    })?;
    let shrunk = found.map_err(|error| match error {
        ShrinkError::Run(error) => error.into(),
        error @ ShrinkError::Interrupted => Failure::ended(Outcome::Interrupted, error.to_string()),
        error => Failure::usage(format!("{} cannot be shrunk: {error}", path.display())),
    })?;
    let out = arguments.out.clone().unwrap_or_else(|| path.with_file_name("shrunk.toml"));
    write_whole(&out, shrunk.scenario_toml().as_bytes())
        .map_err(|error| Failure::unwritable(&error, "--out"))?;
    print!("{shrunk}");
    println!("Scenario  {}", out.display());
    let outcome = if shrunk.interrupted { Outcome::Interrupted } else { Outcome::Passed };
    Ok(outcome.exit_code())
}

/// Adds faults in their short form to a scenario, which is then checked as if they stood in its file.
pub(crate) fn add(mut scenario: Scenario, lines: &[String]) -> Result<Scenario, Failure> {
    for line in lines {
        append(&mut scenario.chaos, line)?;
        scenario = Scenario::read(&scenario.resolved(), OPTION, &[])?;
    }
    Ok(scenario)
}

/// The same for the file of a mock.
pub(crate) fn add_to_mock(mut mock: MockFile, lines: &[String]) -> Result<MockFile, Failure> {
    for line in lines {
        append(&mut mock.chaos, line)?;
        mock.check(OPTION)?;
    }
    Ok(mock)
}

/// What is named as the place of a mistake.
const OPTION: &str = "--chaos";

fn append(list: &mut Vec<ChaosFile>, line: &str) -> Result<(), Failure> {
    let mut fault = parse_short(line).map_err(|error| {
        let problem = Problem { message: error.message, span: Some(error.at), help: String::new() };
        Problems { file: OPTION.to_owned(), text: line.to_owned(), list: vec![problem] }
    })?;
    let taken = |name: &str| list.iter().any(|other| other.label() == name);
    if taken(fault.label()) {
        let numbered = |number: u32| format!("{}-{number}", fault.fault.name());
        fault.name = (2..).map(numbered).find(|name| !taken(name)).unwrap_or_default();
    }
    list.push(fault);
    Ok(())
}
