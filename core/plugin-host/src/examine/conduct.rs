//! Determinism, back-off, terminal failures, independence, memory and cost.

use fleetstorm_plugin::{Advice, Attempt, Class, Decision};
use serde::Serialize;

use super::{Check, Device, S, Subject, Verdict, throttled, told};
use crate::problem::PluginError;
use crate::retry::{Fault, Retry};

/// Retries after a failure that no waiting cures, beyond which a device is a burden.
const TERMINAL_RETRIES_MOST: u32 = 3;

/// A wait that counts as having stopped.
const PARKED_NS: u64 = 300 * S;

fn failed(name: &'static str, fault: Fault) -> Check {
    Check::new(name, Verdict::Fail, format!("it failed: {fault}"))
}

/// What a device does about a failure that no waiting cures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Terminal {
    /// Which failure.
    pub failure: &'static str,
    /// How often it tried again within five minutes each.
    pub retries: Repeats,
    /// What it did in the end.
    pub then: &'static str,
}

/// A number of retries, with an end to the counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeats {
    /// So many.
    Times(u32),
    /// More than were counted.
    Endless,
}

/// The decisions of `devices` over `failures` failures each, device by device or in turn.
fn decisions(
    retry: &Retry,
    devices: std::ops::Range<u64>,
    failures: u32,
    in_turn: bool,
) -> Result<Vec<Vec<Decision>>, Fault> {
    let mut driven: Vec<(u64, Device<'_>)> = devices.map(|device| (device, Device::new(retry))).collect();
    let mut all = vec![Vec::new(); driven.len()];
    if in_turn {
        for n in 1..=failures {
            for ((device, driven), decisions) in driven.iter_mut().zip(&mut all) {
                decisions.push(driven.fail(throttled(*device, n))?);
            }
        }
    } else {
        for ((device, driven), decisions) in driven.iter_mut().zip(&mut all) {
            for n in 1..=failures {
                decisions.push(driven.fail(throttled(*device, n))?);
            }
        }
    }
    Ok(all)
}

/// The same questions and draws give the same answers.
pub(super) fn determinism(subject: &Subject<'_>) -> Result<Check, PluginError> {
    const NAME: &str = "determinism";
    let mut answers = Vec::new();
    for _ in 0..3 {
        match decisions(&subject.make()?, 0..16, 64, true) {
            Ok(decisions) => answers.push(decisions),
            Err(fault) => return Ok(failed(NAME, fault)),
        }
    }
    Ok(if answers.windows(2).all(|pair| pair[0] == pair[1]) {
        Check::new(NAME, Verdict::Pass, "1,024 questions, asked three times, got the same answers")
    } else {
        let finding = "the same questions with the same draws got different answers: it has a clock or chance of its own";
        Check::new(NAME, Verdict::Fail, finding)
    })
}

/// Waits grow while the service keeps failing, and are waits at all.
pub(super) fn backing_off(subject: &Subject<'_>) -> Result<Check, PluginError> {
    const NAME: &str = "back-off";
    const FAILURES: u32 = 20;
    let retry = subject.make()?;
    let mut device = Device::new(&retry);
    let mut waits = Vec::new();
    for n in 1..=FAILURES {
        // The middle of the draw.
        let attempt = Attempt { random: [1 << 63, 1 << 63], ..throttled(1, n) };
        match device.fail(attempt) {
            Ok(decision) => waits.extend(decision.wait_ns()),
            Err(fault) => return Ok(failed(NAME, fault)),
        }
    }
    if waits.len() < 3 {
        return Ok(Check::new(
            NAME,
            Verdict::NotApplicable,
            format!("it gives up after {} retries", waits.len()),
        ));
    }
    let mean = waits.iter().sum::<u64>() / waits.len() as u64;
    let last = waits[waits.len() - 1];
    Ok(if mean < S / 2 && !retry.is_coordinated() {
        Check::new(NAME, Verdict::Fail, format!("a hot loop: {} between attempts on average", told(mean)))
    } else if last < 10 * S && last as f64 <= 1.5 * waits[1] as f64 && !retry.is_coordinated() {
        let finding =
            format!("it does not back off: it still waits {} after {FAILURES} failures", told(last));
        Check::new(NAME, Verdict::Warn, finding)
    } else {
        Check::new(NAME, Verdict::Pass, format!("after {FAILURES} failures it waits {}", told(last)))
    })
}

/// What the reference client stops for, it should stop for as well.
pub(super) fn terminal(subject: &Subject<'_>) -> Result<(Vec<Terminal>, Check), PluginError> {
    const NAME: &str = "terminal";
    const COUNTED: u32 = 20;
    let cases = [
        ("401 after a renewal", Class::Unauthorized, 401),
        ("403", Class::Forbidden, 403),
        ("404 when registering", Class::NotFound, 404),
        ("400", Class::ClientBug, 400),
        ("assignment failed", Class::AssignmentFailed, 200),
        ("disabled", Class::Disabled, 200),
        ("untrusted server", Class::Tls, 0),
    ];
    let mut rows = Vec::new();
    for (failure, class, status) in cases {
        let retry = subject.make()?;
        let mut device = Device::new(&retry);
        let mut row = Terminal { failure, retries: Repeats::Endless, then: "goes on" };
        for n in 1..=COUNTED {
            let attempt = Attempt { class, status, advice: Advice::Park, code: 0, ..throttled(1, n) };
            let then = match device.fail(attempt) {
                Err(fault) => return Ok((rows, failed(NAME, fault))),
                Ok(Decision::GiveUp { rearm_ns: 0 }) => "stops",
                Ok(Decision::GiveUp { rearm_ns }) if rearm_ns >= PARKED_NS => "parks",
                Ok(Decision::GiveUp { .. }) => continue,
                Ok(decision) if decision.wait_ns() >= Some(PARKED_NS) => "waits for minutes",
                Ok(_) => continue,
            };
            (row.retries, row.then) = (Repeats::Times(n - 1), then);
            break;
        }
        rows.push(row);
    }
    let worst: Vec<&str> = rows
        .iter()
        .filter(|row| !matches!(row.retries, Repeats::Times(times) if times <= TERMINAL_RETRIES_MOST))
        .map(|row| row.failure)
        .collect();
    let check = if worst.is_empty() {
        Check::new(NAME, Verdict::Pass, "it stops for failures that no waiting cures")
    } else {
        Check::new(NAME, Verdict::Fail, format!("it goes on after: {}", worst.join(", ")))
    };
    Ok((rows, check))
}

/// Two devices draw their waits apart.
pub(super) fn independence(subject: &Subject<'_>) -> Result<Check, PluginError> {
    const NAME: &str = "independence";
    const PAIRS: u64 = 1_000;
    let retry = subject.make()?;
    if retry.is_coordinated() {
        return Ok(Check::new(NAME, Verdict::NotApplicable, "its devices decide together"));
    }
    let mut pairs = Vec::new();
    for pair in 0..PAIRS {
        let mut waits = [0.0; 2];
        for (side, wait) in (0u64..).zip(&mut waits) {
            let mut device = Device::new(&retry);
            for n in 1..=6 {
                match device.fail(throttled(1_000_000 + 2 * pair + side, n)) {
                    Ok(decision) => *wait = decision.wait_ns().unwrap_or(0) as f64,
                    Err(fault) => return Ok(failed(NAME, fault)),
                }
            }
        }
        pairs.push((waits[0], waits[1]));
    }
    let Some(correlation) = correlation(&pairs) else {
        return Ok(Check::new(
            NAME,
            Verdict::NotApplicable,
            "all devices wait the same, which the herd test judges",
        ));
    };
    // Of 1,000 independent pairs, four in a million correlate by more than 4.6 / sqrt(1000).
    let verdict = if correlation.abs() < 0.145 { Verdict::Pass } else { Verdict::Fail };
    Ok(Check::new(NAME, verdict, format!("the waits of two devices correlate by {correlation:.3}")))
}

/// Pearson's coefficient; `None` where one side does not vary.
fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let (mean_a, mean_b) =
        (pairs.iter().map(|pair| pair.0).sum::<f64>() / n, pairs.iter().map(|pair| pair.1).sum::<f64>() / n);
    let (mut both, mut a, mut b) = (0.0, 0.0, 0.0);
    for pair in pairs {
        let (da, db) = (pair.0 - mean_a, pair.1 - mean_b);
        both += da * db;
        a += da * da;
        b += db * db;
    }
    (a > 0.0 && b > 0.0).then(|| both / (a * b).sqrt())
}

/// A local strategy keeps its devices apart; a coordinated one uses what it shares.
pub(super) fn sharing(subject: &Subject<'_>) -> Result<Check, PluginError> {
    const NAME: &str = "sharing";
    let together = subject.make()?;
    let before = together.shared_bytes();
    let in_turn = match decisions(&together, 0..8, 16, true) {
        Ok(decisions) => decisions,
        Err(fault) => return Ok(failed(NAME, fault)),
    };
    if together.is_coordinated() {
        return Ok(if before.is_empty() || before != together.shared_bytes() {
            Check::new(NAME, Verdict::Pass, "its devices decide together, as it declares")
        } else {
            Check::new(NAME, Verdict::Warn, "it declares shared memory and has not used it")
        });
    }
    let apart = match decisions(&subject.make()?, 0..8, 16, false) {
        Ok(decisions) => decisions,
        Err(fault) => return Ok(failed(NAME, fault)),
    };
    Ok(if in_turn == apart {
        Check::new(NAME, Verdict::Pass, "no device's answer depends on another device")
    } else {
        let finding = "it declares itself local, but a device's answers change when others ask in between";
        Check::new(NAME, Verdict::Fail, finding)
    })
}

/// How much it remembers.
pub(super) fn memory(bytes: usize) -> Check {
    const NAME: &str = "memory";
    let finding = format!("{bytes} bytes a device");
    if bytes <= 64 {
        Check::new(NAME, Verdict::Pass, finding)
    } else {
        Check::new(NAME, Verdict::Warn, format!("{finding}: {} MB for a million devices", bytes))
    }
}

/// What it costs.
pub(super) fn cost(ns: f64) -> Check {
    const NAME: &str = "cost";
    let verdict = if ns <= 5_000.0 { Verdict::Pass } else { Verdict::Warn };
    Check::new(NAME, verdict, format!("{ns:.0} ns a decision"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correlation_is_pearsons() {
        // By hand: means 2 and 3; products 2 + 0 + 1 = 3; squares 2 and 6; 3 / sqrt(12).
        let pairs = [(1.0, 1.0), (2.0, 4.0), (3.0, 4.0)];
        assert!((correlation(&pairs).unwrap() - 3.0 / 12f64.sqrt()).abs() < 1e-12);
        assert_eq!(correlation(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }
}
