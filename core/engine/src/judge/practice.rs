//! What objectives about best practices observe.

use fleetstorm_model::best_practice::BestPractice;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{Check, CheckStatus};
use fleetstorm_units::time::Span;

/// The checks that an objective is about.
fn about(record: &Record, practice: Option<BestPractice>) -> impl Iterator<Item = &Check> {
    let checks = record.practice.checks.iter();
    checks.filter(move |check| practice.is_none_or(|practice| check.id == practice.name()))
}

fn broken(record: &Record, practice: Option<BestPractice>) -> impl Iterator<Item = &Check> {
    about(record, practice).filter(|check| check.status == CheckStatus::Failed)
}

/// Occasions on which a practice was broken, or practices that were, or why nobody knows.
pub(super) fn observe(record: &Record, practice: Option<BestPractice>) -> Result<f64, String> {
    if let Some(unknown) = about(record, practice).find(|check| check.status == CheckStatus::Unknown) {
        return Err(format!("{}: {}", unknown.id, unknown.evidence));
    }
    let mut met =
        about(record, practice).filter(|check| check.status != CheckStatus::NotExercised).peekable();
    if met.peek().is_none() {
        let why = about(record, practice).next().filter(|_| practice.is_some());
        return Err(why.map_or("no practice had an occasion".to_owned(), |check| check.evidence.clone()));
    }
    Ok(match practice {
        Some(_) => met.map(|check| check.broken).sum::<u64>() as f64,
        None => broken(record, None).count() as f64,
    })
}

/// Whether no later event can lower what was counted: a device has broken it. What a fleet does as a whole can even out.
pub(super) fn only_grows(record: &Record, practice: Option<BestPractice>) -> bool {
    broken(record, practice).all(|check| check.first.is_some())
}

/// What was broken, and where first.
pub(super) fn note(record: &Record, practice: Option<BestPractice>) -> String {
    let Some(practice) = practice else {
        return broken(record, None).map(|check| &*check.id).collect::<Vec<_>>().join(", ");
    };
    let Some(check) = broken(record, Some(practice)).next() else { return String::new() };
    match &check.first {
        Some(first) => format!(
            "{}; first: {} at {} {}",
            check.evidence,
            first.name,
            Span::from_nanos(first.at_ns),
            first.what
        ),
        None => check.evidence.clone(),
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::record::{Case, End, ObjectiveStatus};

    use super::*;
    use crate::judge::objective;

    /// One practice of devices and one of the fleet, each with its occasions and breaches.
    fn record(device: (u64, u64), fleet: (u64, u64)) -> Record {
        let check = |practice: BestPractice, (exercised, broken): (u64, u64), first| Check {
            id: practice.name().to_owned(),
            title: String::new(),
            status: match (exercised, broken) {
                (0, _) => CheckStatus::NotExercised,
                (_, 0) => CheckStatus::Passed,
                _ => CheckStatus::Failed,
            },
            exercised,
            broken,
            devices: 0,
            evidence: "seen".to_owned(),
            advice: String::new(),
            first,
            worst: None,
        };
        let first = Case { device: 1, name: "dev-1".into(), at_ns: 2_000_000_000, what: "hurried".into() };
        let first = (device.1 > 0).then_some(first);
        let mut record = Record::empty();
        record.practice.checks = vec![
            check(BestPractice::NoHerd, fleet, None),
            check(BestPractice::RetryAfterFloor, device, first),
        ];
        record
    }

    fn judged(record: &Record, text: &str) -> (ObjectiveStatus, Option<f64>, String) {
        let judged = objective::judge(record, &text.parse().unwrap());
        (judged.status, judged.value, judged.note)
    }

    #[test]
    fn a_practice_that_was_broken_fails_its_objective_and_no_other() {
        let broken = record((60, 54), (3, 0));
        let (status, value, note) = judged(&broken, "broken(retry-after-floor) == 0");
        assert_eq!((status, value), (ObjectiveStatus::Failed, Some(54.0)));
        assert_eq!(note, "seen; first: dev-1 at 2 s hurried");
        assert_eq!(judged(&broken, "broken(retry-after-floor) <= 54").0, ObjectiveStatus::Passed);
        assert_eq!(judged(&broken, "broken(no-herd) == 0").0, ObjectiveStatus::Passed);
        let (status, value, note) = judged(&broken, "broken(any) == 0");
        assert_eq!((status, value, &*note), (ObjectiveStatus::Failed, Some(1.0), "retry-after-floor"));
        assert_eq!(judged(&record((5, 0), (0, 0)), "broken(any) == 0").0, ObjectiveStatus::Passed);
    }

    #[test]
    fn a_practice_without_an_occasion_or_of_a_late_generator_is_no_data() {
        for (record, text) in [
            (record((0, 0), (3, 0)), "broken(retry-after-floor) == 0"),
            (record((0, 0), (0, 0)), "broken(any) == 0"),
            (record((1, 0), (1, 0)), "broken(poll-pace) == 0"),
            (Record::empty(), "broken(any) == 0"),
        ] {
            assert_eq!(judged(&record, text).0, ObjectiveStatus::NoData, "{text}");
        }
        let mut late = record((5, 1), (3, 0));
        late.practice.checks[1].status = CheckStatus::Unknown;
        for text in ["broken(retry-after-floor) == 0", "broken(any) == 0"] {
            assert_eq!(judged(&late, text).0, ObjectiveStatus::NoData, "{text}");
        }
    }

    #[test]
    fn a_run_cut_short_decides_only_what_devices_have_broken() {
        let mut record = record((5, 1), (3, 1));
        record.end = End::Interrupted;
        for (text, status) in [
            ("broken(retry-after-floor) == 0", ObjectiveStatus::Failed),
            ("broken(retry-after-floor) <= 1", ObjectiveStatus::Undecided),
            ("broken(no-herd) == 0", ObjectiveStatus::Undecided),
        ] {
            assert_eq!(judged(&record, text).0, status, "{text}");
        }
    }
}
