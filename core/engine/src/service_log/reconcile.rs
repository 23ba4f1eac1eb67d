//! What the devices saw, held against what the service logged.

use std::collections::BTreeMap;
use std::path::Path;

use fleetstorm_model::service::log::operation_name;
use fleetstorm_protocol::Operation;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::Clock;
use fleetstorm_units::time::{Calendar, Moment};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::read::{self, LogError, ReadSummary};
use super::when::Reading;
use super::{Spans, widened};

/// How often one way to end was seen by each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// `register`, `poll` or `lookup`.
    pub operation: String,
    /// The HTTP status; 0 for any success, where the log names none.
    pub status: u16,
    /// The six-digit code; 0 without one, or where the log has none.
    pub code: u32,
    /// Seen by both.
    pub both: u64,
    /// Seen by the devices only.
    pub devices_only: u64,
    /// Logged by the service only.
    pub service_only: u64,
}

/// Both sides of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reconciliation {
    /// By operation, status and code.
    pub sides: Vec<Side>,
    /// Operations of the devices of which the log has no line at all: the service may not log them.
    pub not_logged: Vec<String>,
    /// Whether codes could be compared; otherwise statuses were.
    pub by_code: bool,
    /// How far the service's clock is ahead of the devices' in nanoseconds; `None` without times on both sides.
    pub clock_offset_ns: Option<i64>,
    /// Attempts of devices that no answer came to: the service may have logged them or not.
    pub unanswered: u64,
    /// How the reading went.
    pub summary: ReadSummary,
}

impl Reconciliation {
    /// Answers that one side only knows of.
    pub fn differences(&self) -> u64 {
        self.sides.iter().map(|side| side.devices_only + side.service_only).sum()
    }
}

type Key = (String, u16, u32);

#[derive(Clone, Copy, Default)]
struct Seen {
    count: u64,
    spans: Spans,
}

/// Joins a run's record with a log of the service.
///
/// # Errors
/// The log cannot be read.
pub fn reconcile(record: &Record, log: &Path, reading: Reading) -> Result<Reconciliation, LogError> {
    let operations = [Operation::Register, Operation::Poll, Operation::Lookup];
    let mut logged: BTreeMap<Key, Seen> = BTreeMap::new();
    let mut by_code = false;
    let (summary, said) = read::rows(log, reading, |row| {
        let named = operations
            .into_iter()
            .find(|&known| operation_name(known).eq_ignore_ascii_case(row.operation.trim()));
        let Some(operation) = named else { return };
        by_code |= row.code != 0;
        let seen = logged.entry((operation.name().to_owned(), row.status, row.code)).or_default();
        seen.count += 1;
        seen.spans = widened(seen.spans, row.at);
    })?;
    // Real logs leave the status of a success empty: then any success of that operation is one kind.
    let unnamed: Vec<String> = logged
        .keys()
        .filter(|(_, status, _)| *status == 0)
        .map(|(operation, ..)| operation.clone())
        .collect();
    let any = |operation: &str| unnamed.iter().any(|one| one == operation);
    let named = |key: &Key| any(&key.0) && (200..300).contains(&key.1) && key.2 == 0;
    let merged: Vec<Key> = logged.keys().filter(|key| named(key)).cloned().collect();
    for key in merged {
        let Some(more) = logged.remove(&key) else { continue };
        let seen = logged.entry((key.0, 0, 0)).or_default();
        seen.count += more.count;
        for at in [0, 1] {
            let ends = more.spans.map(|span| span.map(|span| [span.0, span.1][at]));
            seen.spans = widened(seen.spans, ends);
        }
    }

    let start_ns = start(record);
    let mut devices: BTreeMap<Key, Seen> = BTreeMap::new();
    let mut unanswered = 0;
    for code in &record.codes {
        if code.status == 0 {
            // A connection that was never made is nothing that a service could log.
            unanswered += if code.operation == "connect" { 0 } else { code.count };
            continue;
        }
        let key = match any(&code.operation) && code.succeeded() {
            true => (code.operation.clone(), 0, 0),
            false => (code.operation.clone(), code.status, if by_code { code.code } else { 0 }),
        };
        let seen = devices.entry(key).or_default();
        seen.count += code.count;
        for at in [code.first_ns, code.last_ns] {
            seen.spans = widened(seen.spans, [start_ns.map(|start| start + at); 2]);
        }
    }

    let has_log = |operation: &str| logged.keys().any(|(known, ..)| known == operation);
    let mut not_logged: Vec<String> =
        devices.keys().map(|(operation, ..)| operation.clone()).filter(|one| !has_log(one)).collect();
    not_logged.dedup();
    let mut sides = Vec::new();
    let keys: std::collections::BTreeSet<&Key> = devices.keys().chain(logged.keys()).collect();
    for key in keys {
        let (saw, wrote) = (count(&devices, key), count(&logged, key));
        let (operation, status, code) = key.clone();
        sides.push(Side {
            operation,
            status,
            code,
            both: saw.min(wrote),
            devices_only: saw.saturating_sub(wrote),
            service_only: wrote.saturating_sub(saw),
        });
    }
    let spans = |seen: &Seen| said.of(seen.spans);
    let clock_offset_ns = offset(&devices, &logged, spans);
    Ok(Reconciliation { sides, not_logged, by_code, clock_offset_ns, unanswered, summary })
}

fn count(of: &BTreeMap<Key, Seen>, key: &Key) -> u64 {
    of.get(key).map_or(0, |seen| seen.count)
}

/// When the run began, in nanoseconds since the Unix epoch.
fn start(record: &Record) -> Option<u64> {
    match (&record.machine, record.clock) {
        (Some(machine), _) => {
            let at = OffsetDateTime::parse(&machine.started_utc, &Rfc3339).ok()?;
            u64::try_from(at.unix_timestamp_nanos()).ok()
        }
        (None, Clock::Wall) => None,
        (None, _) => Some(Calendar::VIRTUAL.unix_nanos(Moment::START)),
    }
}

/// The median over the firsts and the lasts of everything that both sides saw equally often: one event each, seen
/// twice. It holds the way of the answer too, which is short beside what clocks are wrong by.
fn offset(
    devices: &BTreeMap<Key, Seen>,
    logged: &BTreeMap<Key, Seen>,
    span: impl Fn(&Seen) -> Option<(u64, u64)>,
) -> Option<i64> {
    let mut differences: Vec<i128> = Vec::new();
    for (key, saw) in devices {
        let Some(wrote) = logged.get(key).filter(|wrote| wrote.count == saw.count) else { continue };
        if let (Some(ours), Some(theirs)) = (saw.spans[0], span(wrote)) {
            differences.push(i128::from(theirs.0) - i128::from(ours.0));
            differences.push(i128::from(theirs.1) - i128::from(ours.1));
        }
    }
    differences.sort_unstable();
    i64::try_from(*differences.get(differences.len() / 2)?).ok()
}
