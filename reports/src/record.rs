//! The record of a run: the contents of `run.json`.
//!
//! Times are nanoseconds unless the name says otherwise, counted from the start of the run. Maps are ordered, so
//! the same run always gives the same bytes.

mod accounts;
mod audit;
mod chaos;
mod coarse;
mod flow;
mod io;
mod shape;

use std::collections::BTreeMap;

pub use audit::{Case, Check, CheckStatus, Practice};
pub use chaos::{Chaos, Exercised, Fault, FaultStatus, FaultWindow, Guardrail, Residue, SteadyState};
use fleetstorm_model::profile::Profile;
pub use flow::Passage;
pub use io::{ReadError, percentile_us};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use shape::{Heat, HerdIndex, Journey};

/// The version of the format that this crate writes. A reader accepts every version up to its own.
pub const VERSION: u32 = 1;

/// A finished (or interrupted) run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Version of this format.
    pub version: u32,
    /// The tool that wrote the record, such as `fleetstorm 0.1.0`.
    pub tool: String,
    /// The scenario's name.
    pub name: String,
    /// The question that the scenario answers, in one line; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub question: String,
    /// The seed.
    pub seed: u64,
    /// Which clock drove the run.
    pub clock: Clock,
    /// What the fleet registered against.
    pub target: Target,
    /// The scenario with every default filled in, as TOML; secrets are named, never spelled.
    pub scenario: String,
    /// The policy profile that devices followed and checks hold them to; absent in records of before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Plugins that took part, built-in ones included.
    pub plugins: Vec<Plugin>,
    /// How the run ended.
    pub end: End,
    /// From the first intended boot to the end of the run.
    pub duration_ns: u64,
    /// Devices in the plan.
    pub devices: u64,
    /// One entry a cohort, in the scenario's order.
    pub cohorts: Vec<Cohort>,
    /// Every cohort together.
    pub totals: Totals,
    /// When shares of the fleet had their hub.
    pub completion: Completion,
    /// Latency by phase.
    pub phases: Vec<Phase>,
    /// How attempts ended, by operation and code.
    pub codes: Vec<Code>,
    /// How attempts went through registration.
    #[serde(default)]
    pub flow: Vec<Passage>,
    /// One entry a second.
    pub series: Series,
    /// Attempts of the devices that got a hub: number of attempts to number of devices.
    pub attempts: BTreeMap<u64, u64>,
    /// Retry-After kept and broken.
    pub retry_after: RetryAfterUse,
    /// Devices that `fleet.max_concurrent` made wait.
    #[serde(default)]
    pub held_back: HeldBack,
    /// The life after provisioning; absent where no cohort lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Life>,
    /// Length of the windows of [`Code::windows`] and of [`Record::heat`].
    #[serde(default)]
    pub window_ns: u64,
    /// Latency over time.
    #[serde(default)]
    pub heat: Vec<Heat>,
    /// Where the time of the p50, p90, p99 and p99.9 device went.
    #[serde(default)]
    pub journeys: Vec<Journey>,
    /// Whether retries fell together.
    #[serde(default)]
    pub herd: HerdIndex,
    /// The best practices, each as a check over what devices did.
    #[serde(default)]
    pub practice: Practice,
    /// What bounds the fleet from outside, as far as the run can know it.
    pub bound: Option<Bound>,
    /// The objectives and whether they held.
    pub objectives: Vec<Objective>,
    /// The generator's audit of itself; absent in virtual time.
    pub audit: Option<Audit>,
    /// The machine; absent in virtual time.
    pub machine: Option<Machine>,
    /// What Azure Monitor would have counted at the embedded mock.
    #[serde(default)]
    pub metrics: Vec<MetricSeries>,
    /// The scenario's alert rules and when each would have fired.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// The embedded mock's resource log; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_log: Option<ServiceLog>,
    /// The trace that was asked for; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Faults and what came of them.
    #[serde(default, skip_serializing_if = "Chaos::is_empty")]
    pub chaos: Chaos,
    /// When the embedded mock or one of its hubs was out of order, as the scenario planned it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// Counts that do not add up, as they must: an internal error, and no other number is to be believed. Empty where all do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discrepancies: Vec<String>,
    /// The verdict and the exit code that goes with it.
    pub verdict: Verdict,
    /// Where the record is, for the commands that pages name; empty where that is not known. No part of what is written.
    #[serde(skip)]
    #[schemars(skip)]
    pub path: String,
}

/// Which clock drove the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Real sockets and the wall clock.
    #[serde(alias = "live")]
    Wall,
    /// Real bytes over in-memory pipes in virtual time.
    Wired,
    /// Direct calls in virtual time: latencies are the model's.
    #[serde(alias = "simulated")]
    Virtual,
}

/// What the fleet registered against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// `mock` (embedded), `endpoint` (any server named by its address) or `dps`.
    pub kind: String,
    /// Host and port, as dialled.
    pub address: String,
    /// The id scope.
    pub id_scope: String,
    /// The throttle of the embedded mock, such as `dps-doc`; absent for other targets.
    pub throttle: Option<String>,
}

/// A plugin that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plugin {
    /// `retry` or `attestation`.
    pub kind: String,
    /// Its id, such as `full-jitter`.
    pub id: String,
    /// The version it names.
    pub version: String,
    /// SHA-256 of a loaded library in hex; absent for built-ins.
    pub sha256: Option<String>,
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum End {
    /// No device had anything left to do before the horizon: each had its hub, had given up, or slept until later.
    Settled,
    /// The horizon came first.
    Horizon,
    /// A guardrail was breached for too long.
    Guardrail {
        /// Which one.
        rule: String,
    },
    /// The user stopped it.
    Interrupted,
    /// A safety ceiling stopped it.
    Ceiling {
        /// Which one.
        ceiling: String,
    },
    /// The tool itself failed in the middle of it.
    Broken {
        /// What it said.
        what: String,
    },
}

impl End {
    /// How the run ended, if that was before its time: what had not come by then is undecided.
    pub const fn cut_short(&self) -> Option<&'static str> {
        match self {
            Self::Settled | Self::Horizon => None,
            Self::Guardrail { .. } => Some("was aborted by a guardrail"),
            Self::Interrupted => Some("was interrupted"),
            Self::Ceiling { .. } => Some("was stopped by a ceiling"),
            Self::Broken { .. } => Some("broke off"),
        }
    }
}

/// A cohort's outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cohort {
    /// Its name.
    pub name: String,
    /// The attestation's id.
    pub attestation: String,
    /// The retry strategy's id and parameters, as a person would write them.
    pub retry: String,
    /// The transport.
    pub transport: String,
    /// Its numbers.
    pub totals: Totals,
    /// When shares of the cohort had their hub.
    pub completion: Completion,
    /// Its devices that got their hub, over the steps of [`Series`].
    #[serde(default)]
    pub assigned: Vec<u32>,
}

/// Counts over a whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Devices.
    pub devices: u64,
    /// Devices that booted.
    pub booted: u64,
    /// Devices with a hub at the end.
    pub assigned: u64,
    /// Devices that stopped without a hub (parked or given up).
    pub stopped: u64,
    /// Of these, devices that would have tried again later.
    #[serde(default)]
    pub parked: u64,
    /// Devices that were on their way at the end.
    #[serde(default)]
    pub in_flight: u64,
    /// Devices that had booted and were without power at the end.
    #[serde(default)]
    pub without_power: u64,
    /// Devices that never booted: their time had not come, or all places of `fleet.max_concurrent` were taken.
    #[serde(default)]
    pub unborn: u64,
    /// Times that a device was given a hub.
    #[serde(default)]
    pub assignments: u64,
    /// Connections that were tried.
    pub connections: u64,
    /// Requests sent.
    pub requests: u64,
    /// Of these, requests that could not leave because the peer had closed the idle connection: each was sent again.
    #[serde(default)]
    pub unsent: u64,
    /// Of these, requests whose end nobody saw: their device lost its power, or the run ended.
    #[serde(default)]
    pub unanswered: u64,
    /// Register and status-lookup requests sent: what the registration quota counts.
    pub registers: u64,
    /// Register requests sent: what is billed.
    pub billable: u64,
    /// Answers with 429.
    pub throttled: u64,
    /// Attempts that failed in another way.
    pub failed: u64,
    /// SAS tokens renewed.
    pub tokens_renewed: u64,
    /// Devices whose plugin failed.
    pub plugin_faults: u64,
    /// Failures of devices without an attempt that failed: the service kept assigning for too long, a challenge could not be
    /// answered, or a strategy did not let its device begin.
    #[serde(default)]
    pub faltered: u64,
    /// Waits that strategies chose after failures.
    #[serde(default)]
    pub back_offs: u64,
    /// Times that a device stopped after a failure, for good or to try again much later.
    #[serde(default)]
    pub stops: u64,
    /// Those waits together: device time lost in back-off.
    #[serde(default)]
    pub backed_off_ns: u64,
    /// Devices assigned per hub.
    pub hubs: BTreeMap<String, u64>,
    /// Stopped devices by what stopped them (an `ErrorClass` in kebab case).
    pub stopped_by: BTreeMap<String, u64>,
}

/// When shares of all devices (assigned or not) had their hub, counted from the first intended boot; absent where
/// the share was not reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completion {
    /// 50 %.
    pub t50_ns: Option<u64>,
    /// 90 %.
    pub t90_ns: Option<u64>,
    /// 99 %.
    pub t99_ns: Option<u64>,
    /// 99.9 %.
    pub t999_ns: Option<u64>,
    /// All of them.
    pub t100_ns: Option<u64>,
}

/// Latency of one phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// `dns`, `tcp`, `tls`, `connect` (all of them), `register`, `poll`, `lookup` or `time-to-assigned`.
    pub phase: String,
    /// `ok`, `throttled` or `failed`.
    pub outcome: String,
    /// From the instant the device should have acted.
    pub intended: Distribution,
    /// From the instant it did act.
    pub service: Distribution,
}

/// A latency histogram in microseconds with three significant digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Samples.
    pub count: u64,
    /// Smallest.
    pub min_us: u64,
    /// Arithmetic mean, for totals only: never shown as a headline.
    pub mean_us: f64,
    /// 50th percentile.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 95th percentile.
    pub p95_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// Largest.
    pub max_us: u64,
    /// The whole histogram: HdrHistogram V2 + DEFLATE, base64. Empty if there are no samples.
    pub histogram: String,
}

/// How often attempts ended in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Code {
    /// `connect`, `register`, `poll` or `lookup`.
    pub operation: String,
    /// HTTP status; 0 where no answer came.
    pub status: u16,
    /// Six-digit service code; 0 where there was none.
    pub code: u32,
    /// Transport error (a `Fault` in kebab case); empty where an answer came, `challenge` where the answer was a 401 that
    /// challenged a TPM. Where a 2xx without a code is a failure, why: `protocol` for an answer that cannot be read,
    /// `disabled`, `assignment-failed` or `not-found`.
    pub fault: String,
    /// How often.
    pub count: u64,
    /// Devices that met it at least once.
    pub devices: u64,
    /// First time.
    pub first_ns: u64,
    /// Last time.
    pub last_ns: u64,
    /// How often in each window of [`Record::window_ns`].
    #[serde(default)]
    pub windows: Vec<u32>,
    /// What lay under it, where somebody said so: an error of the system or of TLS, a plugin's reason, the service's words, how
    /// an answer begins that cannot be read. A few texts of those that were met, without what looks like a secret; absent in
    /// records of before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl Code {
    /// Whether it is the challenge of a TPM, which fails nothing.
    pub fn is_challenge(&self) -> bool {
        self.status == 401 && self.fault == "challenge"
    }

    /// Whether nothing went wrong. A registration that failed under a 200 carries a code.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status) && self.code == 0 && self.fault.is_empty() || self.is_challenge()
    }
}

/// Counts over time since the first intended boot; all vectors have the same length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Seconds that an entry covers: 1 but for runs of hours, whose record shall not grow with them.
    #[serde(default = "one")]
    pub step_s: u32,
    /// Requests that devices meant to send in that second.
    pub intended: Vec<u32>,
    /// Requests that were sent.
    pub sent: Vec<u32>,
    /// Requests answered with 2xx.
    pub accepted: Vec<u32>,
    /// Requests answered with 429.
    pub throttled: Vec<u32>,
    /// Requests and connections that failed in another way.
    pub failed: Vec<u32>,
    /// Devices that got their hub.
    pub assigned: Vec<u32>,
    /// Devices that had booted and were not settled at the end of that second.
    pub in_flight: Vec<u32>,
    /// Register and status-lookup requests that were sent: what the quota counts.
    #[serde(default)]
    pub registers: Vec<u32>,
    /// Those among them that were a device's first.
    #[serde(default)]
    pub first: Vec<u32>,
    /// Devices that booted, or woke from parking.
    #[serde(default)]
    pub booted: Vec<u32>,
}

fn one() -> u32 {
    1
}

/// How devices treated valid `Retry-After` values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryAfterUse {
    /// Failures with a valid value after which the device meant to try again.
    pub given: u64,
    /// Waits at least that long.
    pub honoured: u64,
    /// Devices that came back before that time was over.
    pub violated: u64,
}

impl RetryAfterUse {
    /// Shorter waits that nobody has seen the end of: the run was over, or the device lost its power.
    pub fn open(&self) -> u64 {
        self.given.saturating_sub(self.honoured).saturating_sub(self.violated)
    }
}

/// Devices that booted later than the schedule says, because as many as the scenario allows at once were on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldBack {
    /// How many.
    pub devices: u64,
    /// The longest wait.
    pub longest_ns: u64,
}

/// The life after provisioning: hubs, reconnects, and the way back to DPS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Life {
    /// Devices that live on.
    pub devices: u64,
    /// Of these, connected to a hub at the end.
    pub online_at_end: u64,
    /// Of these, connected to a hub at least once.
    pub ever_online: u64,
    /// Share of the devices' time that they were connected, from the start of the run to its end.
    pub online_share: f64,
    /// Connections to hubs that were tried.
    pub hub_connections: u64,
    /// Those that failed, by transport error (a `Fault` in kebab case). A hub that throttles closes the connection.
    pub refused: BTreeMap<String, u64>,
    /// Connections that replaced one that was lost or given up.
    pub reconnects: u64,
    /// Of these, made with the cached assignment, without asking DPS.
    pub reconnects_cached: u64,
    /// Devices that went to DPS although they had had an assignment, by reason: `boot`, `command`, `refused` (by the
    /// hub) or `patience` (the hub stayed away).
    pub returns: BTreeMap<String, u64>,
    /// Registrations of these that changed nothing: DPS named the hub that the device had, and nobody had told it to
    /// ask.
    pub registrations_needless: u64,
    /// Devices that DPS sent to another hub.
    pub moved: u64,
    /// Messages that devices sent.
    pub messages: u64,
    /// Calls of the direct method `Reprovision` that devices answered.
    pub commands: u64,
    /// Devices that lost power.
    pub power_losses: u64,
    /// Connections that devices gave up to come back with a fresh token; [`Life::reconnects`] counts their return.
    #[serde(default)]
    pub token_renewals: u64,
    /// Devices connected at the end of each step of [`Series::step_s`].
    pub online: Vec<u32>,
    /// Connections to hubs that ended, well or badly, in each step.
    pub connects: Vec<u32>,
}

/// What bounds the fleet: the earliest instant at which the k-th device could have had its hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// Registrations per second that the quota lets through in the long run.
    pub rate_per_s: f64,
    /// Registrations that pass at once.
    pub burst: f64,
    /// Length of the quota's window in seconds where it is one; 0 for a continuous refill.
    pub window_s: f64,
    /// What it is, such as `registration quota: 1,000 a minute`.
    pub what: String,
}

/// An objective and what was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Objective {
    /// As the scenario spells it.
    pub expression: String,
    /// Whether it held.
    pub status: ObjectiveStatus,
    /// What was observed, as a person would write it, such as `99.95 %`.
    pub observed: String,
    /// The observed value in the expression's base unit; absent without data.
    pub value: Option<f64>,
    /// The bound in the same unit.
    pub bound: f64,
    /// Distance to the bound as a share of it: positive is headroom. Absent without data or with a bound of zero.
    pub margin: Option<f64>,
    /// One sentence for a person: where it broke, or why there is no data.
    pub note: String,
    /// The window in which it was worst; absent where an objective is not about moments.
    #[serde(default)]
    pub worst: Option<WorstWindow>,
}

/// The part of a run in which an objective was worst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorstWindow {
    /// Its beginning.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
    /// What was observed in it.
    pub observed: String,
}

/// Whether an objective held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveStatus {
    /// It held.
    Passed,
    /// It did not.
    Failed,
    /// Nothing was recorded that it could be judged by: a failure of its own kind.
    #[default]
    NoData,
    /// The run ended before its time had come.
    Undecided,
}

/// Whether the generator kept up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// How late devices were woken, against the instant they should have acted.
    pub send_lag: Distribution,
    /// Share of a core that the busiest thread that drove devices used over the run.
    pub cpu_share: f64,
    /// Worst second of `cpu_share`.
    pub cpu_share_worst: f64,
    /// CPU seconds that the threads used that drove devices.
    pub cpu_s: f64,
    /// The longest time for which such a thread did nothing although it had to, in nanoseconds.
    #[serde(default)]
    pub stood_still_ns: u64,
    /// For how long the machine was suspended, in nanoseconds.
    #[serde(default)]
    pub suspended_ns: u64,
    /// Devices that were never started though their time had come.
    #[serde(default)]
    pub never_started: u64,
    /// Largest resident memory in bytes.
    pub rss_max_bytes: u64,
    /// Most descriptors open at once.
    pub descriptors_max: u64,
    /// The limit of descriptors.
    pub descriptors_limit: u64,
    /// Attempts that failed because this machine had no port or descriptor left.
    pub exhausted: u64,
    /// Threads that drove devices.
    pub shards: u32,
    /// Why the run cannot be trusted; empty if it can.
    pub untrusted: Vec<String>,
}

/// The machine that ran it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// When the run started, RFC 3339 in UTC.
    pub started_utc: String,
    /// Operating system and architecture.
    pub os: String,
    /// Logical processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// A metric of the service with the values of its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricSeries {
    /// `RegistrationAttempts`, `DeviceAssignments` or `AttestationAttempts`.
    pub metric: String,
    /// The hub's host name; empty where the metric has none.
    pub hub: String,
    /// `succeeded`, `failed` or `disabled`; empty where the metric has none.
    pub status: String,
    /// The protocol, such as `https` or `mqtt-ws`; empty where the metric has none.
    #[serde(default)]
    pub protocol: String,
    /// How often altogether.
    pub total: u64,
    /// How often in each step of [`Series::step_s`] of the run.
    pub per_second: Vec<u32>,
}

/// An alert rule and when it would have fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// The rule in words.
    pub rule: String,
    /// Each time that it fired; empty if it never did.
    pub firings: Vec<Firing>,
    /// The value that came closest to the threshold or went farthest past it; absent if no window was ever full.
    pub extreme: Option<f64>,
}

/// A time during which an alert was on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Firing {
    /// When it fired.
    pub fired_ns: u64,
    /// When it was over; absent if the run ended before.
    pub resolved_ns: Option<u64>,
}

/// The resource log that the embedded mock wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceLog {
    /// Where it is.
    pub file: String,
    /// Lines that were written.
    pub written: u64,
    /// Lines that were dropped, because the queue or the disk was full.
    pub dropped: u64,
    /// Why the disk refused lines; empty if it did not.
    pub error: String,
}

/// What watched devices did, line by line, in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// Where it is, as the command was told.
    pub file: String,
    /// Events that were written.
    pub written: u64,
    /// Events that were dropped, because the queue or the disk was full or the file had its size.
    pub dropped: u64,
    /// Why the file took no more; empty if it took all.
    pub error: String,
}

/// A time during which the embedded mock or one of its hubs was out of order, by the scenario's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outage {
    /// What was out of order and how, such as `hub-1.azure-devices.net failing`.
    pub name: String,
    /// When it began.
    pub from_ns: u64,
    /// When it was over; absent if it lasted until the run ended.
    pub until_ns: Option<u64>,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// In one word.
    pub result: VerdictResult,
    /// In one sentence made from the data.
    pub sentence: String,
    /// The exit code that the command ends with.
    pub exit_code: u8,
}

/// The verdict in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictResult {
    /// Every objective held.
    Passed,
    /// An objective failed.
    Failed,
    /// There was no objective, an objective had no data, or a fault never fired.
    Vacuous,
    /// Nothing failed, and not all could be judged: a guardrail ended the run, devices never got their turn, or the run ended
    /// before a fleet came back.
    Unknown,
    /// The generator could not keep up: the numbers say little about the target.
    Untrusted,
    /// A safety ceiling ended the run.
    Ceiling,
    /// The user ended the run.
    Interrupted,
}
