//! What stands on many runs, or on virtual time.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fleetstorm_study::Timing;
use fleetstorm_units::{Duration, Rate};

use super::run::ProgressChoice;
use super::{PluginOptions, ScenarioOptions};

/// Forecast a run in virtual time, up to a million devices in seconds.
///
/// The short form of `run --clock virtual`: the same devices, strategies and throttle, with network and service times
/// from the scenario's [network] (`calibrate` measures them). Leaves a record and a report like a run.
#[derive(Args)]
pub(crate) struct ForecastArguments {
    /// Devices of the fleet. Default: as the scenario says
    #[arg(long, value_name = "N")]
    pub(crate) devices: Option<u32>,

    /// Directory for run.json and report.html. Default: fleetstorm-out/<name of the scenario>
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    #[command(flatten)]
    pub(crate) source: ScenarioOptions,
}

/// Compare retry strategies under several throttles, with statistics.
///
/// Runs a scenario's [compare]: every strategy against every throttle model with the same seeds, in virtual time on all
/// cores or by the wall clock one after the other. The run is the replicate; differences come with intervals, and a tie is called a tie.
/// The exit code is 0 if every question was decided, 10 if no strategy brings the whole fleet in against some throttle,
/// 12 if the seeds are too few to decide anything, and 130 if it was interrupted: what there is is then marked partial.
#[derive(Args)]
pub(crate) struct CompareArguments {
    /// Which clock drives the runs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: TimingChoice,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    #[command(flatten)]
    pub(crate) source: ScenarioOptions,
}

/// Search the largest fleet or rate, or the smallest quota, with which the objectives hold.
///
/// The exit code is 0 if it was found, 10 if the objectives hold nowhere in the search, 11 or 12 if runs without a
/// verdict keep it from being told, and 130 if it was interrupted: what there is is then marked partial.
#[derive(Args)]
pub(crate) struct CapacityArguments {
    /// What is varied
    #[arg(long, value_enum, default_value_t = VaryChoice::Devices)]
    pub(crate) vary: VaryChoice,

    /// An objective that must hold, instead of the scenario's; may be repeated
    #[arg(long, value_name = "OBJECTIVE")]
    pub(crate) slo: Vec<String>,

    /// Smallest value that is tried
    #[arg(long, default_value_t = 1.0)]
    pub(crate) low: f64,

    /// Largest value that is tried
    #[arg(long, default_value_t = 1_000_000.0)]
    pub(crate) high: f64,

    /// The search ends when it knows the value to this share of it
    #[arg(long, default_value_t = 0.02)]
    pub(crate) precision: f64,

    /// Seeds of a value that three of them do not decide; it holds if nine in ten do
    #[arg(long, default_value_t = 10)]
    pub(crate) repeats: u32,

    /// Which clock drives the runs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: TimingChoice,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    #[command(flatten)]
    pub(crate) source: ScenarioOptions,
}

/// The clock of many runs.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimingChoice {
    /// Virtual time, a run on each core
    #[default]
    Virtual,
    /// Real sockets and TLS in real time, one run after the other
    Wall,
}

impl TimingChoice {
    pub(crate) const fn timing(self) -> Timing {
        match self {
            Self::Virtual => Timing::Virtual,
            Self::Wall => Timing::Wall,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum VaryChoice {
    /// The number of devices
    Devices,
    /// The arrival rate, in devices a minute
    Rate,
    /// The quota, in registrations a minute
    Quota,
}

/// Plan a rollout: batches, window, DPS instances and hub units that a fleet needs.
///
/// Says what the documented limits allow, with the arithmetic, or that it is impossible and why (exit code 10). What is
/// printed is then tried in virtual time, batch for batch: if that misses, it is no plan, and the exit code is the trial's.
#[derive(Args)]
pub(crate) struct RolloutArguments {
    /// Devices of the fleet
    #[arg(long, value_name = "N")]
    pub(crate) devices: u32,

    /// Time in which all of them must have had their turn, such as 30m
    #[arg(long, value_name = "TIME")]
    pub(crate) within: Duration,

    /// Registrations that one DPS instance allows
    #[arg(long, value_name = "RATE", default_value = "1000/min")]
    pub(crate) quota: Rate,

    /// From one batch to the next
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(crate) interval: Duration,

    /// Over how long the devices of a batch boot, evenly one after the other; 0s for all of them at once. Default: the
    /// whole interval
    #[arg(long, value_name = "TIME")]
    pub(crate) spread: Option<Duration>,

    /// Share of the quota to plan with: what is left takes up jitter, and devices that come again
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    pub(crate) load: f64,

    /// Transport of the devices: https, mqtt, mqtt-ws, amqp or amqp-ws
    #[arg(long, value_name = "TRANSPORT", default_value = "https")]
    pub(crate) transport: String,

    /// Retry strategy of the devices, with which the plan is tried in virtual time: a name, or a table such as
    /// '{ kind = "full-jitter", cap_ms = 60000 }'
    #[arg(long, value_name = "STRATEGY", default_value = "full-jitter")]
    pub(crate) strategy: String,

    /// Write the schedule as CSV: device, seconds, instance
    #[arg(long, value_name = "FILE")]
    pub(crate) schedule: Option<PathBuf>,

    /// Write a scenario that tries the plan
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    #[command(flatten)]
    pub(crate) plugins: PluginOptions,
}

/// Say how far a forecast is from a measured run of the same scenario.
#[derive(Args)]
pub(crate) struct FidelityArguments {
    /// The record of a run by the wall clock. Without it, one is made now
    #[arg(long, value_name = "RUN.JSON")]
    pub(crate) measured: Option<PathBuf>,

    /// Forecasts with other seeds, which show how far chance alone moves each number; 0 for none
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) seeds: u32,

    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressChoice,

    #[command(flatten)]
    pub(crate) source: ScenarioOptions,
}

/// Print a [network] and a throttle, as a scenario reads them, that fit a measured run.
#[derive(Args)]
pub(crate) struct CalibrateArguments {
    /// The record
    pub(crate) record: PathBuf,
}
