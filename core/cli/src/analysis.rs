//! What virtual time answers: forecasts, comparisons, capacity, rollouts, and whether they are to be believed.

use std::fmt::Display as Shown;
use std::path::Path;

use fleetstorm_engine::{Control, wall};
use fleetstorm_files::write_whole;
use fleetstorm_reports::analysis::{Conclusion, Fidelity, Outcome, Tried, Vary};
use fleetstorm_scenario::Scenario;
use fleetstorm_study::capacity::{self, Search};
use fleetstorm_study::fidelity::ByChance;
use fleetstorm_study::rollout::{self, Wish};
use fleetstorm_study::{Timing, compare as tournament, fidelity as accuracy};
use serde::Serialize;

use crate::arguments::analysis::{
    CalibrateArguments, CapacityArguments, CompareArguments, FidelityArguments, ForecastArguments,
    RolloutArguments, VaryChoice,
};
use crate::arguments::run::{ClockChoice, ProgressChoice, RunArguments};
use crate::failure::Failure;
use crate::progress::StudyDisplay;
use crate::report::read;
use crate::run::drive;
use crate::supervise::supervise;
use crate::{files, plugin, run};

/// A run in virtual time with another number of devices.
pub(crate) fn forecast(arguments: &ForecastArguments) -> Result<u8, Failure> {
    let mut source = arguments.source.clone();
    if let Some(devices) = arguments.devices {
        source.changes.set.push(("fleet.devices".to_owned(), devices.to_string()));
    }
    run::run(&RunArguments {
        out: arguments.out.clone(),
        seed: arguments.seed,
        target: None,
        ca: None,
        chaos: Vec::new(),
        transport: None,
        clock: ClockChoice::Virtual,
        progress: arguments.progress,
        shards: None,
        trace: None,
        trace_device: Vec::new(),
        trace_limit: 0,
        metrics: None,
        source,
    })
}

pub(crate) fn compare(arguments: &CompareArguments) -> Result<u8, Failure> {
    let scenario = files::scenario(&arguments.source, Vec::new())?;
    let registry = plugin::registry(&arguments.source.plugins, &scenario.plugins.load)?;
    let timing = arguments.clock.timing();
    let found = watched("comparing", arguments.progress, &scenario, timing, move |scenario, control| {
        tournament::run(scenario, &registry, timing, control)
    })?;
    told(&found, &found.conclusion, arguments.json.as_deref())
}

pub(crate) fn capacity(arguments: &CapacityArguments) -> Result<u8, Failure> {
    let mut scenario = files::scenario(&arguments.source, Vec::new())?;
    if !arguments.slo.is_empty() {
        scenario.objectives.clone_from(&arguments.slo);
        // Read again, so that a mistake in an objective is told as in a file.
        let text = scenario.resolved();
        scenario = Scenario::read(&text, "--slo", &[])?;
    }
    let registry = plugin::registry(&arguments.source.plugins, &scenario.plugins.load)?;
    let search = Search {
        vary: match arguments.vary {
            VaryChoice::Devices => Vary::Devices,
            VaryChoice::Rate => Vary::Rate,
            VaryChoice::Quota => Vary::Quota,
        },
        low: arguments.low,
        high: arguments.high,
        precision: arguments.precision,
        repeats: arguments.repeats,
        timing: arguments.clock.timing(),
    };
    let (what, timing) = ("searching", search.timing);
    let found = watched(what, arguments.progress, &scenario, timing, move |scenario, control| {
        capacity::search(scenario, &registry, search, control)
    })?;
    told(&found, &found.conclusion, arguments.json.as_deref())
}

pub(crate) fn fidelity(arguments: &FidelityArguments) -> Result<u8, Failure> {
    let scenario = files::scenario(&arguments.source, Vec::new())?;
    let plugins = &arguments.source.plugins;
    let once = |clock, scenario: Scenario| {
        drive(scenario, clock, None, plugins, arguments.progress, None, &Control::default())
    };
    let measured = match &arguments.measured {
        Some(path) => read(path)?,
        None => {
            let measured = once(ClockChoice::Wall, scenario.clone())?;
            if Outcome::from(measured.verdict.result).is_partial() {
                let outcome = measured.verdict.result.into();
                let why = "The run that was to be measured did not come to its end, so there is nothing to compare.";
                let conclusion = Conclusion { outcome, why: why.to_owned(), runs: 0, runs_max: 0 };
                let found = Fidelity { conclusion, ..Fidelity::default() };
                return told(&found, &found.conclusion, arguments.json.as_deref());
            }
            measured
        }
    };
    let forecast = once(ClockChoice::Virtual, scenario.clone())?;
    let registry = plugin::registry(plugins, &scenario.plugins.load)?;
    let seeds = arguments.seeds;
    let by_chance = match Outcome::from(forecast.verdict.result).is_partial() {
        true => ByChance::default(),
        false => watched(
            "other seeds",
            arguments.progress,
            &scenario,
            Timing::Virtual,
            move |scenario, control| accuracy::by_chance(scenario, &registry, seeds, control),
        )?,
    };
    let found = accuracy::compare(&measured, &forecast, &by_chance);
    told(&found, &found.conclusion, arguments.json.as_deref())
}

pub(crate) fn calibrate(arguments: &CalibrateArguments) -> Result<u8, Failure> {
    let found = accuracy::calibrate(&read(&arguments.record)?);
    print!("{found}");
    Ok(found.conclusion.outcome.exit_code())
}

pub(crate) fn rollout(arguments: &RolloutArguments) -> Result<u8, Failure> {
    // What was written as 1000/min shall be told as that.
    let quota_per_minute = (arguments.quota.per_second() * 60e9).round() / 1e9;
    let wish = Wish {
        devices: arguments.devices,
        within: arguments.within.0,
        quota_per_minute,
        interval: arguments.interval.0,
        spread: arguments.spread.unwrap_or(arguments.interval).0,
        load: arguments.load,
    };
    let mut plan = rollout::plan(wish).map_err(|impossible| Failure::failed(impossible.to_string()))?;
    plan.transport.clone_from(&arguments.transport);
    let scenario = rollout::scenario_toml(&plan, quota_per_minute, &arguments.strategy);
    let share = Scenario::read(&scenario, "plan", &[])?;
    let (clock, control) = (ClockChoice::Virtual, Control::default());
    let record = drive(share, clock, None, &arguments.plugins, arguments.progress, None, &control)?;
    plan.conclude(Tried::of(&record, &arguments.strategy));
    let write = |path: Option<&Path>, text: &dyn Fn() -> String| match path {
        Some(path) => {
            write_whole(path, text().as_bytes()).map_err(|error| Failure::internal(error.to_string()))
        }
        None => Ok(()),
    };
    // Nobody shall roll out by a schedule that was seen to miss.
    if plan.conclusion.outcome == Outcome::Passed {
        write(arguments.schedule.as_deref(), &|| rollout::schedule_csv(&plan))?;
    }
    write(arguments.scenario.as_deref(), &|| scenario.clone())?;
    told(&plan, &plan.conclusion, arguments.json.as_deref())
}

/// Works on a thread of its own, so that Ctrl-C is heard.
fn watched<T: Send + 'static>(
    what: &str,
    progress: ProgressChoice,
    scenario: &Scenario,
    timing: Timing,
    work: impl FnOnce(&Scenario, &Control) -> Result<T, fleetstorm_engine::RunError> + Send + 'static,
) -> Result<T, Failure> {
    if timing == Timing::Wall {
        wall::claim_network(scenario)?;
    }
    let display = StudyDisplay::new(progress, what, &scenario.name);
    let (control, scenario) = (Control::default(), scenario.clone());
    supervise(display, &control, move |control| work(&scenario, control))
}

/// Prints a result, writes it as JSON where that is wanted, and ends as it concludes.
fn told(
    result: &(impl Shown + Serialize),
    conclusion: &Conclusion,
    json: Option<&Path>,
) -> Result<u8, Failure> {
    println!("{}", result.to_string().trim_end());
    if let Some(path) = json {
        let text =
            serde_json::to_string_pretty(result).map_err(|error| Failure::internal(error.to_string()))?;
        write_whole(path, text.as_bytes()).map_err(|error| Failure::internal(error.to_string()))?;
    }
    Ok(conclusion.outcome.exit_code())
}
