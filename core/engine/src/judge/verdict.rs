//! The verdict of a run and its exit code: one rule of what goes before what.
//!
//! The order is that of [`verdict`], and README's table tells the codes. First what makes the record itself worthless (1),
//! then how the run ended against its plan (130, 15), then what makes its numbers worthless (12, and 1 for a strategy that
//! fails), then what it found: what failed (10) goes before what was never put to the test (11), and that before what was
//! not seen to its end (12). Only a run of which nothing of this is true has passed.

use fleetstorm_reports::Record;
use fleetstorm_reports::record::{End, FaultStatus, ObjectiveStatus, Residue, VerdictResult};

/// The verdict of a record that is otherwise finished.
pub(super) fn verdict(record: &Record) -> (VerdictResult, u8) {
    let any = |status| record.objectives.iter().any(|objective| objective.status == status);
    let fault = |status| record.chaos.faults.iter().any(|fault| fault.status == status);
    let dirty = |residue: &&Residue| !residue.clean;
    let residue = record.chaos.residue.as_ref().filter(dirty).map(|residue| residue.unknown);
    let untrusted = record.audit.as_ref().is_some_and(|audit| !audit.untrusted.is_empty());
    match record.end {
        End::Broken { .. } => (VerdictResult::Failed, 1),
        _ if !record.discrepancies.is_empty() => (VerdictResult::Failed, 1),
        End::Interrupted => (VerdictResult::Interrupted, 130),
        End::Ceiling { .. } => (VerdictResult::Ceiling, 15),
        _ if untrusted => (VerdictResult::Untrusted, 12),
        // A broken strategy must never look like a failing service, nor like a passing one.
        _ if record.totals.plugin_faults > 0 => (VerdictResult::Failed, 1),
        _ if any(ObjectiveStatus::Failed) || fault(FaultStatus::Failed) || residue == Some(false) => {
            (VerdictResult::Failed, 10)
        }
        _ if record.objectives.is_empty() => (VerdictResult::Vacuous, 11),
        _ if any(ObjectiveStatus::NoData) || fault(FaultStatus::Vacuous) => (VerdictResult::Vacuous, 11),
        End::Guardrail { .. } => (VerdictResult::Unknown, 12),
        _ if record.totals.unborn > 0 => (VerdictResult::Unknown, 12),
        _ if any(ObjectiveStatus::Undecided) => (VerdictResult::Unknown, 12),
        _ if fault(FaultStatus::Unknown) || residue.is_some() => (VerdictResult::Unknown, 12),
        End::Settled | End::Horizon => (VerdictResult::Passed, 0),
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::record::{Audit, Distribution, Fault, Objective};

    use super::*;

    fn objective(status: ObjectiveStatus) -> Objective {
        Objective { status, ..Objective::default() }
    }

    fn fault(status: FaultStatus) -> Fault {
        Fault { eligible: 1, fired: 1, min_fired: 1, devices: 1, status, ..Fault::default() }
    }

    fn dirty(record: &mut Record) {
        record.chaos.residue = Some(Residue { clean: false, unknown: false, note: String::new() });
    }

    /// Something that a record can say, its exit code, and how it says so.
    type Weight = (&'static str, u8, fn(&mut Record));

    /// What comes first outweighs what comes after it.
    const WEIGHTS: [Weight; 17] = [
        ("the tool failed", 1, |record| record.end = End::Broken { what: String::new() }),
        ("counts that do not add up", 1, |record| record.discrepancies.push("2 and 3".to_owned())),
        ("interrupted", 130, |record| record.end = End::Interrupted),
        ("a ceiling", 15, |record| record.end = End::Ceiling { ceiling: String::new() }),
        ("untrusted", 12, |record| {
            record.audit = Some(Audit {
                send_lag: Distribution::default(),
                cpu_share: 1.0,
                cpu_share_worst: 1.0,
                cpu_s: 1.0,
                rss_max_bytes: 1,
                descriptors_max: 1,
                descriptors_limit: 1,
                exhausted: 0,
                shards: 1,
                untrusted: vec!["late".to_owned()],
                ..Audit::default()
            });
        }),
        ("a plugin failed", 1, |record| record.totals.plugin_faults = 1),
        ("an objective failed", 10, |record| record.objectives.push(objective(ObjectiveStatus::Failed))),
        ("a fault failed", 10, |record| record.chaos.faults.push(fault(FaultStatus::Failed))),
        ("residue", 10, dirty),
        ("nothing was judged", 11, |record| {
            record.objectives.retain(|objective| objective.status != ObjectiveStatus::Passed);
        }),
        ("no data", 11, |record| record.objectives.push(objective(ObjectiveStatus::NoData))),
        ("a fault never fired", 11, |record| record.chaos.faults.push(fault(FaultStatus::Vacuous))),
        ("a guardrail", 12, |record| record.end = End::Guardrail { rule: String::new() }),
        ("a device never got its turn", 12, |record| record.totals.unborn = 1),
        ("undecided", 12, |record| record.objectives.push(objective(ObjectiveStatus::Undecided))),
        ("unknown", 12, |record| record.chaos.faults.push(fault(FaultStatus::Unknown))),
        ("not looked for", 12, |record| {
            record.chaos.residue = Some(Residue { clean: false, unknown: true, note: String::new() });
        }),
    ];

    #[test]
    fn the_worst_that_a_record_says_is_its_verdict() {
        let mut sound = Record::empty();
        sound.objectives.push(objective(ObjectiveStatus::Passed));
        sound.chaos.faults.push(fault(FaultStatus::Passed));
        sound.chaos.residue = Some(Residue { clean: true, unknown: false, note: String::new() });
        assert_eq!(verdict(&sound), (VerdictResult::Passed, 0));
        for (at, (name, code, apply)) in WEIGHTS.iter().enumerate() {
            let mut record = sound.clone();
            apply(&mut record);
            assert_eq!(verdict(&record).1, *code, "{name}");
            for (lesser, _, apply) in &WEIGHTS[at + 1..] {
                let mut both = record.clone();
                apply(&mut both);
                // A run ends in one way only, and leaves one kind of residue.
                let kept =
                    record.chaos.residue == sound.chaos.residue || both.chaos.residue == record.chaos.residue;
                // Nor does it have objectives and none.
                let kept = kept && record.objectives.is_empty() == both.objectives.is_empty();
                if kept && (record.end == sound.end || both.end == record.end) {
                    assert_eq!(verdict(&both).1, *code, "{name} outweighs {lesser}");
                }
            }
        }
    }

    #[test]
    fn each_verdict_has_its_word() {
        let results = WEIGHTS.map(|(_, _, apply)| {
            let mut record = Record::empty();
            record.objectives.push(objective(ObjectiveStatus::Passed));
            apply(&mut record);
            verdict(&record).0
        });
        use VerdictResult::{Ceiling, Failed, Interrupted, Unknown, Untrusted, Vacuous};
        let failed = [Failed, Failed, Interrupted, Ceiling, Untrusted, Failed, Failed, Failed, Failed];
        assert_eq!(results[..9], failed);
        assert_eq!(results[9..12], [Vacuous; 3]);
        assert_eq!(results[12..], [Unknown; 5]);
    }
}
