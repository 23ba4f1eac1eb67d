//! The herd test: ten thousand devices that failed together, and how together they come back.

use std::collections::BTreeMap;

use fleetstorm_plugin::{Decision, Given};
use serde::Serialize;

use super::{Check, Device, S, Subject, Verdict, throttled, told};
use crate::problem::PluginError;
use crate::retry::Fault;

/// Devices of the herd.
const DEVICES: u64 = 10_000;

/// The retries at which it is looked at.
const RETRIES: [u32; 8] = [1, 3, 6, 9, 12, 20, 30, 64];

/// The width of a slot: 100 ms.
const SLOT_NS: u64 = S / 10;

/// What the fullest slot may hold of the fleet, and from which share on jitter counts as lost.
const SHARE_SOUND: f64 = 0.05;
const SHARE_LOST: f64 = 0.2;

/// How a fleet comes back after a retry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HerdRow {
    /// Which retry, from 1.
    pub retry: u32,
    /// Retry-After that every device was told, in seconds; none in the plain rows.
    pub told_s: Option<u32>,
    /// Share of the fleet that gives up.
    pub gives_up: f64,
    /// Share of those that come back in the fullest slot of 100 ms.
    pub fullest_share: f64,
    /// Slots that are not empty.
    pub slots: usize,
    /// The shortest wait, in ns.
    pub least_ns: u64,
    /// The wait in the middle.
    pub median_ns: u64,
    /// The longest wait.
    pub most_ns: u64,
}

pub(super) fn examine(subject: &Subject<'_>) -> Result<(Vec<HerdRow>, Vec<Check>), PluginError> {
    let mut rows = Vec::new();
    match plain(subject)? {
        Ok(plain) => rows.extend(plain),
        Err(fault) => {
            return Ok((rows, vec![Check::new("herd", Verdict::Fail, format!("it failed: {fault}"))]));
        }
    }
    let plain = judge(&rows);
    let mut checks = vec![plain];
    if let Ok(row) = informed(subject)? {
        checks.push(judge_told(&row));
        rows.push(row);
    }
    Ok((rows, checks))
}

fn plain(subject: &Subject<'_>) -> Result<Result<Vec<HerdRow>, Fault>, PluginError> {
    let retry = subject.make()?;
    let mut waits: BTreeMap<u32, Vec<Option<u64>>> = BTreeMap::new();
    let last = RETRIES[RETRIES.len() - 1];
    // A strategy that remembers nothing of a device need not be led through the retries in between.
    let remembers = retry.session_layout().size > 0;
    let asked = |failures: &u32| remembers || RETRIES.contains(failures);
    if retry.is_coordinated() {
        // Together means at the same time: retry by retry, all devices ask in turn.
        let mut sessions: Vec<_> = (0..DEVICES).map(|_| retry.session()).collect();
        for failures in (1..=last).filter(asked) {
            let now_ns = u64::from(failures) * 60 * S;
            for (device, session) in (0..).zip(&mut sessions) {
                let attempt = fleetstorm_plugin::Attempt {
                    now_ns,
                    since_boot_ns: now_ns,
                    ..throttled(device, failures)
                };
                match retry.on_failure(session, &attempt.to_abi()) {
                    Ok(decision) if RETRIES.contains(&failures) => {
                        waits.entry(failures).or_default().push(decision.wait_ns());
                    }
                    Ok(_) => {}
                    Err(fault) => return Ok(Err(fault)),
                }
            }
        }
    } else {
        for device in 0..DEVICES {
            let mut driven = Device::new(&retry);
            for failures in (1..=last).filter(asked) {
                match driven.fail(throttled(device, failures)) {
                    Ok(decision) if RETRIES.contains(&failures) => {
                        waits.entry(failures).or_default().push(decision.wait_ns());
                    }
                    Ok(_) => {}
                    Err(fault) => return Ok(Err(fault)),
                }
            }
        }
    }
    Ok(Ok(waits.into_iter().map(|(failures, waits)| row(failures, None, &waits)).collect()))
}

/// Every device of the fleet was told 30 s at its third failure.
fn informed(subject: &Subject<'_>) -> Result<Result<HerdRow, Fault>, PluginError> {
    const TOLD_S: u32 = 30;
    let retry = subject.make()?;
    let mut waits = Vec::new();
    for device in 0..DEVICES {
        let attempt = fleetstorm_plugin::Attempt {
            given: Given::Seconds(TOLD_S),
            retry_after_ns: Some(u64::from(TOLD_S) * S),
            ..throttled(device, 3)
        };
        match Device::new(&retry).fail(attempt) {
            Ok(decision) => waits.push(Decision::wait_ns(decision)),
            Err(fault) => return Ok(Err(fault)),
        }
    }
    Ok(Ok(row(3, Some(TOLD_S), &waits)))
}

fn row(retry: u32, told_s: Option<u32>, waits: &[Option<u64>]) -> HerdRow {
    let mut back: Vec<u64> = waits.iter().flatten().copied().collect();
    back.sort_unstable();
    let mut slots: BTreeMap<u64, u32> = BTreeMap::new();
    for wait in &back {
        *slots.entry(wait / SLOT_NS).or_default() += 1;
    }
    let fullest = slots.values().copied().max().unwrap_or(0);
    HerdRow {
        retry,
        told_s,
        gives_up: 1.0 - back.len() as f64 / waits.len().max(1) as f64,
        fullest_share: f64::from(fullest) / back.len().max(1) as f64,
        slots: slots.len(),
        least_ns: back.first().copied().unwrap_or(0),
        median_ns: back.get(back.len() / 2).copied().unwrap_or(0),
        most_ns: back.last().copied().unwrap_or(0),
    }
}

fn judge(rows: &[HerdRow]) -> Check {
    // The first retry has a short window by nature; what matters is that the fleet comes apart after it.
    let come_back: Vec<&HerdRow> = rows.iter().filter(|row| row.gives_up < 1.0).collect();
    if come_back.is_empty() {
        return Check::new("herd", Verdict::NotApplicable, "it gives up at the first failure");
    }
    let judged: Vec<&HerdRow> = come_back.iter().filter(|row| row.retry >= 3).copied().collect();
    let Some(worst) = judged.iter().max_by(|a, b| a.fullest_share.total_cmp(&b.fullest_share)) else {
        return Check::new("herd", Verdict::NotApplicable, "it gives up before the third retry");
    };
    let share = worst.fullest_share * 100.0;
    let at = format!("{share:.1} % of the fleet in one slot of 100 ms at retry {}", worst.retry);
    if worst.fullest_share <= SHARE_SOUND {
        return Check::new("herd", Verdict::Pass, format!("at most {at}"));
    }
    if worst.fullest_share <= SHARE_LOST {
        return Check::new("herd", Verdict::Warn, format!("{at}: its jitter is small or has few values"));
    }
    let lost: Vec<&HerdRow> = judged.iter().filter(|row| row.fullest_share > SHARE_LOST).copied().collect();
    let together = come_back.iter().all(|row| row.fullest_share > SHARE_LOST);
    let finding = match lost.first() {
        _ if together => format!("no jitter: {at}"),
        Some(first) if first.most_ns == 0 => {
            format!("its wait falls to nothing at retry {}: {at}", first.retry)
        }
        Some(first) => format!("its jitter is lost from retry {} on: {at}", first.retry),
        None => at,
    };
    Check::new("herd", Verdict::Fail, finding)
}

fn judge_told(row: &HerdRow) -> Check {
    const NAME: &str = "herd-retry-after";
    if row.gives_up >= 1.0 {
        return Check::new(NAME, Verdict::NotApplicable, "it gives up");
    }
    let share = row.fullest_share * 100.0;
    let at = format!("a fleet that is told 30 s returns with {share:.1} % in one slot of 100 ms");
    if row.fullest_share <= SHARE_SOUND {
        Check::new(NAME, Verdict::Pass, at)
    } else {
        let from = told(row.least_ns);
        Check::new(
            NAME,
            Verdict::Warn,
            format!("{at}, from {from} on; a spread would help (`retry_after = \"add\"`)"),
        )
    }
}
