//! The matrix of Retry-After: every kind a service may send, and what the strategy makes of it.

use fleetstorm_plugin::{Attempt, Given};
use serde::Serialize;

use super::{Check, Device, S, Subject, Verdict, throttled, told};
use crate::problem::PluginError;

/// Longest Retry-After that a client must honour; what it does about longer ones is its policy.
const HONOURED_S: u64 = 600;

/// A wait this short after an unreadable Retry-After is a hot loop.
const HOT_NS: u64 = S / 10;

const NAME: &str = "retry-after";

/// What a strategy makes of one kind of Retry-After.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetryAfterRow {
    /// What the service said.
    pub given: &'static str,
    /// What it asked for, in ns; none where it is not valid.
    pub asked_ns: Option<u64>,
    /// The shortest wait, in ns; none for giving up.
    pub least_ns: Option<u64>,
    /// The longest wait.
    pub most_ns: Option<u64>,
    /// Whether the device may come back earlier than asked.
    pub too_early: bool,
}

pub(super) fn examine(subject: &Subject<'_>) -> Result<(Vec<RetryAfterRow>, Check), PluginError> {
    let cases: [(&'static str, Given, Option<u64>); 9] = [
        ("none", Given::Absent, None),
        ("0", Given::Seconds(0), Some(0)),
        ("3", Given::Seconds(3), Some(3)),
        ("30", Given::Seconds(30), Some(30)),
        ("600", Given::Seconds(600), Some(600)),
        ("3600", Given::Seconds(3_600), Some(3_600)),
        ("a date in 30 s", Given::Date(2_000_000_030), Some(30)),
        ("a past date", Given::Date(0), Some(0)),
        ("not valid", Given::Malformed, None),
    ];
    let mut rows = Vec::new();
    for (name, given, asked_s) in cases {
        match row(subject, name, given, asked_s.map(|secs| secs * S))? {
            Ok(row) => rows.push(row),
            Err(finding) => return Ok((rows, Check::new(NAME, Verdict::Fail, finding))),
        }
    }
    let check = judge(&rows);
    Ok((rows, check))
}

fn row(
    subject: &Subject<'_>,
    name: &'static str,
    given: Given,
    asked_ns: Option<u64>,
) -> Result<Result<RetryAfterRow, String>, PluginError> {
    let mut waits = Vec::new();
    // Every device of its own: what one was told is not to be remembered for another.
    for random in [0, u64::MAX / 2, u64::MAX] {
        let retry = subject.make()?;
        let attempt = Attempt {
            given,
            retry_after_ns: asked_ns,
            random: [random, random],
            elapsed_ns: 0,
            ..throttled(1, 2)
        };
        match Device::new(&retry).fail(attempt) {
            Ok(decision) => waits.extend(decision.wait_ns()),
            Err(fault) => return Ok(Err(format!("given {name}: {fault}"))),
        }
    }
    let least_ns = waits.iter().copied().min();
    Ok(Ok(RetryAfterRow {
        given: name,
        asked_ns,
        least_ns,
        most_ns: waits.iter().copied().max(),
        too_early: matches!((asked_ns, least_ns), (Some(asked), Some(least)) if least < asked),
    }))
}

fn judge(rows: &[RetryAfterRow]) -> Check {
    if rows.iter().all(|row| row.least_ns.is_none()) {
        return Check::new(NAME, Verdict::NotApplicable, "it gives up whatever it is told");
    }
    let early: Vec<String> = rows
        .iter()
        .filter(|row| row.too_early && row.asked_ns <= Some(HONOURED_S * S))
        .map(|row| format!("after {} it may be back in {}", row.given, told(row.least_ns.unwrap_or(0))))
        .collect();
    if !early.is_empty() {
        return Check::new(NAME, Verdict::Fail, early.join("; "));
    }
    let plain = rows.iter().find(|row| row.given == "none").and_then(|row| row.most_ns).unwrap_or(0);
    let hot = rows.iter().find(|row| {
        row.asked_ns.is_none() && row.most_ns.is_some_and(|most| most < HOT_NS) && plain >= HOT_NS
    });
    if let Some(row) = hot {
        let wait = told(row.most_ns.unwrap_or(0));
        return Check::new(
            NAME,
            Verdict::Fail,
            format!("a Retry-After that is {} makes it wait {wait}", row.given),
        );
    }
    let cut = rows.iter().find(|row| row.too_early);
    match cut {
        Some(row) => {
            let wait = told(row.least_ns.unwrap_or(0));
            Check::new(NAME, Verdict::Warn, format!("a Retry-After of {} counts as {wait} only", row.given))
        }
        None => Check::new(NAME, Verdict::Pass, "it never comes back earlier than it was told"),
    }
}
