//! What virtual time answers: forecasts, comparisons, capacity, rollouts, and whether they are to be believed.

use std::fmt::Display as Shown;
use std::path::Path;

use fleetstorm_engine::capacity::{self, Search};
use fleetstorm_engine::rollout::{self, Tried, Wish};
use fleetstorm_engine::{Control, Timing, compare as tournament, fidelity as accuracy, live, write_whole};
use fleetstorm_model::scenario::Scenario;
use fleetstorm_reports::analysis::Vary;
use serde::Serialize;

use crate::arguments::analysis::{
    CalibrateArguments, CapacityArguments, CompareArguments, FidelityArguments, ForecastArguments,
    RolloutArguments, VaryChoice,
};
use crate::arguments::run::{ClockChoice, ProgressChoice, RunArguments};
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::read;
use crate::run::{drive, supervise};
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
    let found = watched(&scenario, timing, move |scenario, control| {
        tournament::run(scenario, &registry, timing, control)
    })?;
    told(&found, arguments.json.as_deref())
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
    let found = watched(&scenario, search.timing, move |scenario, control| {
        capacity::search(scenario, &registry, search, control)
    })?;
    told(&found, arguments.json.as_deref())
}

pub(crate) fn fidelity(arguments: &FidelityArguments) -> Result<u8, Failure> {
    let scenario = files::scenario(&arguments.source, Vec::new())?;
    let once = |clock, scenario: Scenario| {
        drive(
            scenario,
            clock,
            None,
            &arguments.source.plugins,
            ProgressChoice::Auto,
            None,
            &Control::default(),
        )
    };
    let measured = match &arguments.measured {
        Some(path) => read(path)?,
        None => once(ClockChoice::Wall, scenario.clone())?,
    };
    let forecast = once(ClockChoice::Virtual, scenario.clone())?;
    let registry = plugin::registry(&arguments.source.plugins, &scenario.plugins.load)?;
    let seeds = arguments.seeds;
    let by_chance = watched(&scenario, Timing::Virtual, move |scenario, control| {
        accuracy::by_chance(scenario, &registry, seeds, control)
    })?;
    told(&accuracy::compare(&measured, &forecast, &by_chance), arguments.json.as_deref())
}

pub(crate) fn calibrate(arguments: &CalibrateArguments) -> Result<u8, Failure> {
    print!("{}", accuracy::calibrate(&read(&arguments.record)?));
    Ok(0)
}

pub(crate) fn rollout(arguments: &RolloutArguments) -> Result<u8, Failure> {
    // What was written as 1000/min shall be told as that.
    let quota_per_minute = (arguments.quota.per_second() * 60e9).round() / 1e9;
    let wish = Wish {
        devices: arguments.devices,
        within: arguments.within.0,
        quota_per_minute,
        interval: arguments.interval.0,
    };
    let mut plan = rollout::plan(wish).map_err(|impossible| Failure::failed(impossible.to_string()))?;
    let scenario = plan.scenario_toml(quota_per_minute, &arguments.strategy);
    let share = Scenario::read(&scenario, "plan", &[])?;
    let record = drive(
        share,
        ClockChoice::Virtual,
        None,
        &arguments.plugins,
        ProgressChoice::Auto,
        None,
        &Control::default(),
    )?;
    plan.tried = Some(Tried::of(&record, &arguments.strategy));
    let write = |path: Option<&Path>, text: &dyn Fn() -> String| match path {
        Some(path) => {
            write_whole(path, text().as_bytes()).map_err(|error| Failure::internal(error.to_string()))
        }
        None => Ok(()),
    };
    write(arguments.schedule.as_deref(), &|| plan.schedule_csv())?;
    write(arguments.scenario.as_deref(), &|| scenario.clone())?;
    told(&plan, arguments.json.as_deref())
}

/// Works on a thread of its own, so that Ctrl-C is heard.
fn watched<T: Send + 'static>(
    scenario: &Scenario,
    timing: Timing,
    work: impl FnOnce(&Scenario, &Control) -> Result<T, fleetstorm_engine::RunError> + Send + 'static,
) -> Result<T, Failure> {
    if timing == Timing::Wall {
        live::claim_network(scenario)?;
    }
    let display = Display::new(ProgressChoice::Auto, scenario);
    let (control, scenario) = (Control::default(), scenario.clone());
    supervise(display, &control, move |control| work(&scenario, control))
}

/// Prints a result, and writes it as JSON where that is wanted.
fn told(result: &(impl Shown + Serialize), json: Option<&Path>) -> Result<u8, Failure> {
    println!("{}", result.to_string().trim_end());
    if let Some(path) = json {
        let text =
            serde_json::to_string_pretty(result).map_err(|error| Failure::internal(error.to_string()))?;
        write_whole(path, text.as_bytes()).map_err(|error| Failure::internal(error.to_string()))?;
    }
    Ok(0)
}
