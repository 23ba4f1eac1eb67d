//! What a record was judged by, for everything that is shown beside it.

use fleetstorm_model::objective::{Comparison, Metric, Objective as Parsed, Quantity};

use crate::Record;
use crate::number::Bounds;
use crate::record::{Fault, FaultStatus, Objective, ObjectiveStatus};

/// The bounds of a record's objectives: no number beside them is rounded across one.
pub(crate) fn bounds(record: &Record) -> Bounds {
    let mut bounds = Bounds::default();
    for objective in &record.objectives {
        let Ok(parsed) = objective.expression.parse::<Parsed>() else { continue };
        match parsed.bound {
            Quantity::Percent(percent) => bounds.add_percent(percent),
            Quantity::Number(number) => bounds.add_number(number),
            Quantity::Time(span) => bounds.add_nanos(span.as_nanos()),
        }
        for span in parsed.within.into_iter().chain(parsed.after) {
            bounds.add_nanos(span.as_nanos());
        }
    }
    bounds
}

/// What an objective asks of a fleet: that a share of it has its hub by a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence<'a> {
    pub(crate) objective: &'a Objective,
    /// Of the whole fleet.
    pub(crate) share: f64,
    pub(crate) within_s: f64,
}

/// The objectives that ask that of the whole fleet.
pub(crate) fn presence(record: &Record) -> impl Iterator<Item = Presence<'_>> {
    let devices = record.devices.max(1) as f64;
    record.objectives.iter().filter_map(move |objective| {
        let parsed = objective.expression.parse::<Parsed>().ok()?;
        let asks_for_it = matches!(parsed.metric, Metric::Assigned)
            && matches!(parsed.comparison, Comparison::AtLeast | Comparison::More | Comparison::Equal);
        let share = match parsed.bound {
            Quantity::Percent(percent) => percent / 100.0,
            Quantity::Number(number) => number / devices,
            Quantity::Time(_) => return None,
        };
        let within_s = parsed.within?.as_secs_f64();
        (asks_for_it && parsed.cohort.is_none()).then_some(Presence { objective, share, within_s })
    })
}

/// Whether so few devices have their hub, or are at it, that nobody would say of the fleet that it lives.
pub(crate) fn is_dead(record: &Record) -> bool {
    let few = |part: u64, whole: u64| whole > 0 && part.saturating_mul(2) < whole;
    let asked_for = |objective: &&Objective| {
        objective.status == ObjectiveStatus::Failed
            && objective.expression.parse::<Parsed>().is_ok_and(|parsed| {
                matches!(parsed.metric, Metric::Assigned | Metric::Online | Metric::Stopped)
            })
    };
    few(record.totals.assigned, record.devices)
        || record.life.as_ref().is_some_and(|life| few(life.online_at_end, life.devices))
        || record.objectives.iter().any(|objective| asked_for(&objective))
}

/// What did not hold comes first and is never left out; of what held, `most` are shown. Beside them, how many were not.
pub(crate) fn objectives(record: &Record, most: usize) -> (Vec<&Objective>, usize) {
    failures_first(&record.objectives, most, |objective| match objective.status {
        ObjectiveStatus::Failed => 0,
        ObjectiveStatus::NoData => 1,
        ObjectiveStatus::Undecided => 2,
        ObjectiveStatus::Passed => HELD,
    })
}

/// The faults of a record, likewise.
pub(crate) fn faults(record: &Record, most: usize) -> (Vec<&Fault>, usize) {
    failures_first(&record.chaos.faults, most, |fault| match fault.status {
        FaultStatus::Failed => 0,
        FaultStatus::Vacuous => 1,
        FaultStatus::Unknown => 2,
        FaultStatus::Passed => HELD,
    })
}

const HELD: u8 = u8::MAX;

fn failures_first<T>(all: &[T], most: usize, rank: impl Fn(&T) -> u8) -> (Vec<&T>, usize) {
    let mut list: Vec<&T> = all.iter().collect();
    list.sort_by_key(|one| rank(one));
    let failed = list.iter().take_while(|one| rank(one) != HELD).count();
    list.truncate(failed.max(most));
    let left = all.len() - list.len();
    (list, left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::VerdictResult;
    use crate::{Document, Form, testing};

    /// Many objectives and faults, of which late ones failed.
    fn crowded() -> Record {
        let mut record = testing::record();
        let objective = |index: usize| Objective {
            expression: format!("count(401) == {index}"),
            status: if matches!(index, 45 | 77) { ObjectiveStatus::Failed } else { ObjectiveStatus::Passed },
            ..record.objectives[0].clone()
        };
        record.objectives = (0..90).map(objective).collect();
        let fault = |index: usize| Fault {
            name: format!("storm-{index}"),
            kind: "service.throttle".to_owned(),
            layer: "service".to_owned(),
            eligible: 1,
            fired: 1,
            min_fired: 1,
            devices: 1,
            status: if index == 88 { FaultStatus::Failed } else { FaultStatus::Passed },
            ..Fault::default()
        };
        record.chaos.faults = (0..90).map(fault).collect();
        record.verdict.result = VerdictResult::Failed;
        record
    }

    #[test]
    fn no_form_leaves_out_what_failed() {
        let record = Document::Run(Box::new(crowded()));
        for form in [Form::Html, Form::Markdown, Form::Text, Form::Junit { strict_practices: false }] {
            let text = form.render(&record).unwrap();
            for failed in ["== 45", "== 77", "storm-88"] {
                assert!(text.contains(failed), "{form}: {failed}");
            }
        }
        for form in [Form::Html, Form::Markdown, Form::Text] {
            let text = form.render(&record).unwrap();
            let at = |what: &str| text.find(what).unwrap();
            assert!(at("== 77") < at("count(401) == 0") && at("storm-88") < at("storm-0"), "{form}");
        }
    }

    #[test]
    fn no_form_rounds_a_number_across_the_bound_beside_it() {
        let mut record = testing::record();
        (record.devices, record.totals.devices, record.totals.booted) = (250_000, 250_000, 250_000);
        record.totals.assigned = 249_749;
        record.totals.registers = 250_100;
        record.completion.t99_ns = Some(99_600_000_000);
        record.objectives[0].expression = "assigned >= 99.9% within 100s".to_owned();
        record.objectives[1].expression = "registers_per_device <= 1".to_owned();
        record.verdict.sentence = crate::sentence(&record);
        for form in [Form::Html, Form::Markdown, Form::Text] {
            let text = form.render(&Document::Run(Box::new(record.clone()))).unwrap();
            for shown in ["99.8996 %", "1 m 39.6 s", "1.0004"] {
                assert!(text.contains(shown), "{form}: {shown}: {text}");
            }
        }
    }
}
