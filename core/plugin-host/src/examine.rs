//! The examiner of retry strategies: what can be said about one without a network, in a second.
//!
//! It asks a strategy as a run would, guard included, about fleets of devices that all fail at the same time, about
//! attempt numbers that take a year to reach, about every kind of Retry-After and about failures that no waiting cures.

mod conduct;
mod herd;
mod retry_after;
mod sweep;
mod text;

use fleetstorm_plugin::{Attempt, Decision};
use fleetstorm_units::number::nanos as told;
use fleetstorm_units::random::{Purpose, Seed};
use serde::Serialize;

use super::kind::Kind;
use super::knowledge::Knowledge;
use super::problem::PluginError;
use super::registry::Registry;
use super::retry::{Fault, Retry};

pub use conduct::{Repeats, Terminal};
pub use herd::HerdRow;
pub use retry_after::RetryAfterRow;

/// One second in ns.
const S: u64 = 1_000_000_000;

/// What the examiner tells a strategy that asks about the fleet.
const KNOWLEDGE: Knowledge = Knowledge { fleet_size: 10_000, quota_per_minute: 1_000.0 };

/// Whose draws the examined strategies get.
const EXAMINER: Seed = Seed(u64::from_be_bytes(*b"examiner"));

/// What was found about a strategy.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// Its id.
    pub id: String,
    /// Its parameters, as JSON text.
    pub parameters: String,
    /// The version of its library.
    pub version: String,
    /// The SHA-256 of its library's file; none for a linked one.
    pub sha256: Option<String>,
    /// Whether its devices decide together.
    pub coordinated: bool,
    /// Whether it is told the fleet's size or the quota.
    pub informed: bool,
    /// Whether it is a model of other software.
    pub model: bool,
    /// Bytes that it remembers of each device.
    pub session_bytes: usize,
    /// What a decision costs, in ns.
    pub cost_ns: f64,
    /// The checks and what they found.
    pub checks: Vec<Check>,
    /// How a fleet that failed together comes back, by retry.
    pub herd: Vec<HerdRow>,
    /// What it does about every kind of Retry-After.
    pub retry_after: Vec<RetryAfterRow>,
    /// What it does about failures that no waiting cures.
    pub terminal: Vec<Terminal>,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which question.
    pub name: &'static str,
    /// The answer in a word.
    pub verdict: Verdict,
    /// The answer in a sentence.
    pub finding: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Sound.
    Pass,
    /// The question does not arise.
    NotApplicable,
    /// Worth knowing before a fleet ships with it.
    Warn,
    /// A defect.
    Fail,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, finding: impl Into<String>) -> Self {
        Self { name, verdict, finding: finding.into() }
    }
}

impl Examination {
    /// Whether no check found a defect.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Fail)
    }

    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

/// Examines a retry strategy with these parameters, a JSON object.
///
/// # Errors
/// There is none of this id, or it refuses the parameters.
pub fn examine(registry: &Registry, id: &str, parameters: &str) -> Result<Examination, PluginError> {
    let subject = Subject { registry, id, parameters };
    let retry = subject.make()?;
    let used = retry.used.clone();
    let part = registry.get(Kind::Retry, id).map(|(_, part)| part.clone());
    let (herd, herd_checks) = herd::examine(&subject)?;
    let (retry_after, retry_after_check) = retry_after::examine(&subject)?;
    let (terminal, terminal_check) = conduct::terminal(&subject)?;
    let cost_ns = cost(&retry);
    let mut checks =
        vec![conduct::determinism(&subject)?, sweep::examine(&subject)?, conduct::backing_off(&subject)?];
    checks.extend(herd_checks);
    checks.push(retry_after_check);
    checks.push(terminal_check);
    checks.push(conduct::independence(&subject)?);
    checks.push(conduct::sharing(&subject)?);
    checks.push(conduct::memory(retry.session_layout().size));
    checks.push(conduct::cost(cost_ns));
    Ok(Examination {
        id: id.to_owned(),
        parameters: parameters.to_owned(),
        version: used.version,
        sha256: used.sha256,
        coordinated: retry.is_coordinated(),
        informed: part.as_ref().is_some_and(super::library::Part::is_informed),
        model: part.as_ref().is_some_and(super::library::Part::is_model),
        session_bytes: retry.session_layout().size,
        cost_ns,
        checks,
        herd,
        retry_after,
        terminal,
    })
}

/// What is examined: made anew for every question, so that no answer depends on an earlier one.
struct Subject<'a> {
    registry: &'a Registry,
    id: &'a str,
    parameters: &'a str,
}

impl Subject<'_> {
    fn make(&self) -> Result<Retry, PluginError> {
        self.registry.retry(self.id, self.parameters, KNOWLEDGE)
    }
}

/// The `failures`-th throttled registration in a row of a device, with its draws.
fn throttled(device: u64, failures: u32) -> Attempt {
    Attempt {
        device_hash: EXAMINER.pair(Purpose::DeviceHash, device, 0)[0],
        fleet_size: KNOWLEDGE.fleet_size,
        quota_per_minute: KNOWLEDGE.quota_per_minute,
        random: draws(device, failures),
        elapsed_ns: S / 20,
        ..Attempt::throttled(failures)
    }
}

fn draws(device: u64, count: u32) -> [u64; 2] {
    EXAMINER.pair(Purpose::Retry, device, count)
}

/// A device that fails again and again, with its own memory and time.
struct Device<'a> {
    retry: &'a Retry,
    session: super::memory::Session,
    now_ns: u64,
    previous_wait_ns: u64,
}

impl<'a> Device<'a> {
    fn new(retry: &'a Retry) -> Self {
        Self { retry, session: retry.session(), now_ns: 0, previous_wait_ns: 0 }
    }

    /// Fails once more, a second after it came back.
    fn fail(&mut self, attempt: Attempt) -> Result<Decision, Fault> {
        self.now_ns = self.now_ns.saturating_add(S);
        let attempt = Attempt {
            now_ns: self.now_ns,
            since_boot_ns: self.now_ns,
            previous_wait_ns: self.previous_wait_ns,
            ..attempt
        };
        let decision = self.retry.on_failure(&mut self.session, &attempt.to_abi())?;
        if let Some(wait) = decision.wait_ns() {
            self.now_ns = self.now_ns.saturating_add(wait);
            self.previous_wait_ns = wait;
        }
        Ok(decision)
    }
}

/// What a decision costs in ns: the least of a few rounds, so that a busy machine does not matter much.
#[allow(clippy::disallowed_methods, reason = "what a call costs can only be measured")]
fn cost(retry: &Retry) -> f64 {
    const CALLS: u32 = 4_096;
    let attempts: Vec<_> = (0..64).map(|device| throttled(device, 1 + device as u32 % 12).to_abi()).collect();
    let mut session = retry.session();
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        let start = std::time::Instant::now();
        for call in 0..CALLS {
            let attempt = std::hint::black_box(&attempts[call as usize % attempts.len()]);
            let _ = std::hint::black_box(retry.on_failure(&mut session, attempt));
        }
        least = least.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    least
}
