//! What a service has logged: read again, counted, and held against what the devices saw.
//!
//! Files are the mock's own log and exports of Log Analytics (`dps` 15). They are read as streams: an export
//! may have millions of lines.

mod read;
mod reconcile;
mod when;

use std::collections::BTreeMap;

pub use read::{LogError, ReadSummary, Times};
pub use reconcile::{Reconciliation, Side, reconcile};
pub use when::{Reading, Zone};

use std::path::Path;

/// One line of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// `TimeGenerated` in nanoseconds since the Unix epoch, if it could be read: with the month first, and with the day
    /// first, where the line leaves that open.
    pub at: [Option<u64>; 2],
    /// `OperationName`.
    pub operation: String,
    /// `ResultType`.
    pub result: String,
    /// `ResultSignature`: the HTTP status; 0 for a success that names none.
    pub status: u16,
    /// `ResultDescription`.
    pub description: String,
    /// The six-digit code, which only the mock's log has; 0 without one.
    pub code: u32,
    /// Whom it is about: `properties_s.id`.
    pub id: String,
}

/// Which lines are of interest.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `OperationName`, without case.
    pub operation: Option<String>,
    /// `ResultType`, without case; without one everything but success.
    pub result: Option<String>,
    /// A status or a six-digit code.
    pub code: Option<u32>,
}

impl Filter {
    fn admits(&self, row: &Row) -> bool {
        let same = |wanted: &Option<String>, is: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
        };
        let result = match &self.result {
            Some(_) => same(&self.result, &row.result),
            None => !row.result.eq_ignore_ascii_case("Success"),
        };
        let code = self.code.is_none_or(|code| code == row.code || code == u32::from(row.status));
        result && code && same(&self.operation, &row.operation)
    }
}

/// Lines that are alike, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What they have in common; its time and id are empty.
    pub like: Row,
    /// How many.
    pub count: u64,
    /// When the first and the last of them were logged, in nanoseconds since the Unix epoch.
    pub span: Option<(u64, u64)>,
    /// Whom they are about, most often first.
    pub ids: Vec<(String, u64)>,
    /// How many those are altogether.
    pub distinct_ids: u64,
}

/// What is in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Alike lines, most frequent first.
    pub tallies: Vec<Tally>,
    /// How the reading went.
    pub summary: ReadSummary,
}

#[derive(Default)]
struct Counted {
    count: u64,
    spans: Spans,
    ids: BTreeMap<String, u64>,
}

/// Counts the lines that a filter admits. Of each kind of line the `most` frequent ids are named.
///
/// # Errors
/// The file cannot be read, or it is no log.
pub fn digest(path: &Path, reading: Reading, filter: &Filter, most: usize) -> Result<Digest, LogError> {
    let mut kinds: BTreeMap<(String, String, u16, u32, String), Counted> = BTreeMap::new();
    let (summary, said) = read::rows(path, reading, |row| {
        if !filter.admits(&row) {
            return;
        }
        let kind =
            kinds.entry((row.operation, row.result, row.status, row.code, row.description)).or_default();
        kind.count += 1;
        kind.spans = widened(kind.spans, row.at);
        *kind.ids.entry(row.id).or_default() += 1;
    })?;
    let mut tallies: Vec<Tally> = kinds
        .into_iter()
        .map(|((operation, result, status, code, description), counted)| {
            let distinct_ids = counted.ids.len() as u64;
            let mut ids: Vec<(String, u64)> = counted.ids.into_iter().collect();
            ids.sort_by(|(one, a), (other, b)| b.cmp(a).then_with(|| one.cmp(other)));
            ids.truncate(most);
            let like = Row { operation, result, status, code, description, ..Row::default() };
            Tally { like, count: counted.count, span: said.of(counted.spans), ids, distinct_ids }
        })
        .collect();
    tallies.sort_by_key(|tally| std::cmp::Reverse(tally.count));
    Ok(Digest { tallies, summary })
}

/// The first and the last of some moments, by both readings of their dates.
type Spans = [Option<(u64, u64)>; 2];

fn widened(spans: Spans, at: [Option<u64>; 2]) -> Spans {
    let one = |span: Option<(u64, u64)>, at: Option<u64>| match (span, at) {
        (Some((from, to)), Some(at)) => Some((from.min(at), to.max(at))),
        (None, Some(at)) => Some((at, at)),
        (span, None) => span,
    };
    [one(spans[0], at[0]), one(spans[1], at[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_lines_are_counted_by_kind_and_by_id() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let line = |operation: &str, result: &str, status: u16, id: &str, at: u32| {
            format!(
                r#"{{"TimeGenerated":"2026-01-01T00:00:{at:02}Z","OperationName":"{operation}","ResultType":"{result}","ResultSignature":"{status}","properties_s":"{{\"id\":\"{id}\"}}"}}"#
            )
        };
        let lines = [
            line("AttestationAttempt", "ClientError", 401, "a", 5),
            line("AttestationAttempt", "ClientError", 401, "b", 7),
            line("AttestationAttempt", "ClientError", 401, "b", 3),
            line("AttestationAttempt", "ClientError", 429, "a", 1),
            line("AttestationAttempt", "Success", 202, "a", 1),
            line("Get", "ClientError", 404, "c", 1),
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let found = digest(&path, Reading::default(), &Filter::default(), 1).unwrap();
        let counts: Vec<_> = found.tallies.iter().map(|tally| (tally.like.status, tally.count)).collect();
        assert_eq!(counts, [(401, 2 + 1), (429, 1), (404, 1)]);
        let first = &found.tallies[0];
        assert_eq!((&first.ids[..], first.distinct_ids), (&[("b".to_owned(), 2)][..], 2));
        let (from, to) = first.span.unwrap();
        assert_eq!(to - from, 4_000_000_000);
        let only = |filter: Filter| digest(&path, Reading::default(), &filter, 5).unwrap().tallies.len();
        assert_eq!(only(Filter { operation: Some("get".into()), ..Filter::default() }), 1);
        assert_eq!(only(Filter { result: Some("success".into()), ..Filter::default() }), 1);
        assert_eq!(only(Filter { code: Some(429), ..Filter::default() }), 1);
    }
}
