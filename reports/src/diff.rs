//! Two records beside each other: what was run differently, what has moved, and what is new.
//!
//! One run is one sample of a run, so an interval here covers the samples within the two runs only. Whether a strategy
//! is better is for `fleetstorm compare`, which runs many seeds.

mod comment;
mod environment;
mod page;
mod shift;
mod words;

use serde::Serialize;

use crate::Record;
use crate::analysis::Outcome;
use crate::record::{CheckStatus, End, ObjectiveStatus, VerdictResult};
use crate::text::clipped;

pub(crate) use comment::{comment, told};
pub use environment::Changed;
pub use shift::{Direction, Shift};

/// What two records have in common and what not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The earlier run.
    pub base: Side,
    /// The later run.
    pub new: Side,
    /// The share of the base below which a change does not matter.
    pub margin: f64,
    /// What came of it: a regression, none, or that it cannot be told.
    pub outcome: Outcome,
    /// What keeps the two from being compared as they stand, one thing a line.
    pub notes: Vec<String>,
    /// What was run differently: the first place to look for a reason.
    pub environment: Vec<Changed>,
    /// The numbers of both.
    pub shifts: Vec<Shift>,
    /// Objectives that stand in both and came out differently.
    pub objectives: Vec<Turned>,
    /// Best practices that came out differently.
    pub practices: Vec<Turned>,
    /// Ways to end that only one run has met.
    pub codes: Vec<Appeared>,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The scenario's name.
    pub name: String,
    /// The verdict in one word.
    pub verdict: String,
    /// In one sentence.
    pub sentence: String,
}

/// Something that was judged differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turned {
    /// The objective, or the practice.
    pub what: String,
    /// What it was.
    pub base: String,
    /// What it is.
    pub new: String,
    /// Whether that is for the worse.
    pub worse: bool,
}

/// A way to end that only one of the runs has met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Appeared {
    /// The operation.
    pub operation: String,
    /// The code, or the transport error.
    pub code: String,
    /// How often in the earlier run.
    pub base: u64,
    /// How often in the later one.
    pub new: u64,
}

impl Diff {
    /// Holds `new` against `base`; changes below `margin`, a share of the base, do not matter.
    pub fn of(base: &Record, new: &Record, margin: f64) -> Self {
        let side = |record: &Record| Side {
            name: record.name.clone(),
            verdict: crate::verdict::word(record.verdict.result).to_owned(),
            sentence: record.verdict.sentence.clone(),
        };
        let mut diff = Self {
            base: side(base),
            new: side(new),
            margin,
            outcome: Outcome::Passed,
            notes: notes(base, new),
            environment: environment::changes(base, new),
            shifts: shift::shifts(base, new, margin),
            objectives: objectives(base, new),
            practices: practices(base, new),
            codes: codes(base, new),
        };
        let known = |shift: &Shift| !matches!(shift.verdict, Direction::Unknown | Direction::NotJudged);
        diff.outcome = match () {
            () if [base, new].into_iter().any(|run| doubt(run).is_some()) => Outcome::Undecided,
            () if diff.is_regression() => Outcome::Regression,
            () if !diff.shifts.iter().any(known) => Outcome::NoData,
            () => Outcome::Passed,
        };
        diff
    }

    /// What came of it, in a sentence.
    pub(crate) fn told(&self) -> &'static str {
        match self.outcome {
            Outcome::Regression => "The later run is worse.",
            Outcome::NoData => "There is nothing to compare.",
            Outcome::Passed => "The later run is not worse.",
            _ => "Whether the later run is worse cannot be told.",
        }
    }

    /// Whether the later run is worse: a number has clearly moved for the worse, or an objective no longer holds.
    pub fn is_regression(&self) -> bool {
        self.shifts.iter().any(|shift| shift.verdict == Direction::Worse)
            || self.objectives.iter().any(|objective| objective.worse)
    }

    /// The page.
    pub fn html(&self) -> String {
        page::page(self)
    }
}

/// Why a run says little about what it was to show.
fn doubt(run: &Record) -> Option<&'static str> {
    match run.verdict.result {
        VerdictResult::Interrupted | VerdictResult::Ceiling => Some("did not come to its end"),
        VerdictResult::Untrusted => Some("is not to be trusted"),
        _ if matches!(run.end, End::Broken { .. }) || run.totals.plugin_faults > 0 => Some("broke"),
        _ => None,
    }
}

fn notes(base: &Record, new: &Record) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, run) in [("earlier", base), ("later", new)] {
        notes.extend(doubt(run).map(|why| format!("The {name} run {why}.")));
    }
    let horizon = |run: &Record| {
        let line = run.scenario.lines().map(str::trim).find(|line| line.starts_with("horizon ="))?;
        Some(line.split_once('=')?.1.trim().trim_matches('"').to_owned())
    };
    if let (Some(base), Some(new)) = (horizon(base), horizon(new))
        && base != new
    {
        let (base, new) = (clipped(&base, 12), clipped(&new, 12));
        notes.push(format!(
            "The horizons differ: {base} and {new}. What is not reached is only known up to them."
        ));
    }
    if base.devices != new.devices {
        notes.push(format!("The fleets differ: {} and {} devices.", base.devices, new.devices));
    }
    if base.clock != new.clock {
        notes.push("The clocks differ: latencies in virtual time are the model's.".to_owned());
    }
    if environment::scenarios_differ(base, new) {
        notes.push("The scenarios differ: what moved may come of that (see below).".to_owned());
    }
    notes
}

fn objectives(base: &Record, new: &Record) -> Vec<Turned> {
    let word = crate::verdict::held;
    let both = new.objectives.iter().filter_map(|new| {
        let base = base.objectives.iter().find(|base| base.expression == new.expression)?;
        (base.status != new.status).then_some((base, new))
    });
    both.map(|(base, new)| Turned {
        what: new.expression.clone(),
        base: format!("{} ({})", word(base.status), base.observed),
        new: format!("{} ({})", word(new.status), new.observed),
        worse: base.status == ObjectiveStatus::Passed,
    })
    .collect()
}

fn practices(base: &Record, new: &Record) -> Vec<Turned> {
    let word = |status| crate::html::status(status).2.to_owned();
    let both = new.practice.checks.iter().filter_map(|new| {
        let base = base.practice.checks.iter().find(|base| base.id == new.id)?;
        (base.status != new.status).then_some((base, new))
    });
    both.map(|(base, new)| Turned {
        what: new.title.clone(),
        base: word(base.status),
        new: word(new.status),
        worse: new.status == CheckStatus::Failed,
    })
    .collect()
}

fn codes(base: &Record, new: &Record) -> Vec<Appeared> {
    let count = |record: &Record, operation: &str, code: &str| -> u64 {
        let same = record
            .codes
            .iter()
            .filter(|other| other.operation == operation && crate::meaning::short(other) == code);
        same.fold(0, |sum, code| sum.saturating_add(code.count))
    };
    let mut kinds: Vec<(String, String)> = base
        .codes
        .iter()
        .chain(&new.codes)
        .map(|code| (code.operation.clone(), crate::meaning::short(code)))
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
        .into_iter()
        .map(|(operation, code)| Appeared {
            base: count(base, &operation, &code),
            new: count(new, &operation, &code),
            operation,
            code,
        })
        .filter(|appeared| (appeared.base == 0) != (appeared.new == 0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Code;
    use crate::testing;

    #[test]
    fn a_run_beside_itself_differs_in_nothing() {
        let record = testing::record();
        let diff = Diff::of(&record, &record, 0.05);
        assert!(diff.environment.is_empty() && diff.codes.is_empty() && diff.objectives.is_empty());
        assert!(
            diff.shifts.iter().all(|shift| !matches!(shift.verdict, Direction::Better | Direction::Worse)),
            "{:#?}",
            diff.shifts
        );
        assert!(!diff.is_regression());
    }

    #[test]
    fn what_is_new_is_named_and_a_broken_objective_is_a_regression() {
        let (base, mut new) = (testing::record(), testing::record());
        new.codes.retain(|code| code.status != 401);
        new.codes.push(Code { status: 500, code: 500_001, count: 7, ..new.codes[0].clone() });
        new.objectives[1].status = ObjectiveStatus::Failed;
        let diff = Diff::of(&base, &new, 0.05);
        let told: Vec<(&str, u64, u64)> =
            diff.codes.iter().map(|code| (&*code.code, code.base, code.new)).collect();
        assert_eq!(told, [("500001", 0, 7), ("401000", 2, 0)]);
        assert_eq!((diff.objectives.len(), diff.objectives[0].worse), (1, true));
        assert!(diff.is_regression());
        assert!(!Diff::of(&new, &base, 0.05).is_regression(), "the other way round it is a repair");
    }

    #[test]
    fn unequal_runs_are_told_and_doubtful_ones_decide_nothing() {
        let (base, mut new) = (testing::record(), testing::record());
        new.scenario.push_str("\n[x]\ny = 1\n");
        new.devices = 2_000;
        let mut base = base;
        (base.scenario, new.scenario) =
            (format!("horizon = \"5m\"\n{}", base.scenario), format!("horizon = \"10m\"\n{}", new.scenario));
        let diff = Diff::of(&base, &new, 0.05);
        for words in ["The horizons differ: 5m and 10m", "1000 and 2000 devices", "The scenarios differ"] {
            assert!(diff.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", diff.notes);
            assert!(diff.to_string().contains(words) && diff.html().contains(words), "{words}: {diff}");
        }
        let mut cut = testing::record();
        cut.verdict.result = VerdictResult::Interrupted;
        for (base, new) in [(&base, &cut), (&cut, &base)] {
            let diff = Diff::of(base, new, 0.05);
            assert_eq!(diff.outcome, Outcome::Undecided);
            assert!(diff.to_string().contains("cannot be told"), "{diff}");
        }
        let nothing = Record::empty();
        assert_eq!(Diff::of(&nothing, &nothing, 0.05).outcome, Outcome::NoData);
    }

    #[test]
    fn hostile_names_are_text_on_the_page_and_in_the_terminal() {
        let (base, mut new) = (testing::record(), testing::record());
        new.name = "<script>alert(1)</script>\u{1b}[31m".into();
        new.scenario = "<b>\u{202e}".into();
        new.target.kind = "<i>".into();
        let diff = Diff::of(&base, &new, 0.05);
        let page = diff.html();
        assert!(!page.contains("<script>alert") && !page.contains("<b>") && !page.contains("<i>"));
        assert!(!diff.to_string().contains('\u{1b}') && !diff.to_string().contains('\u{202e}'));
    }
}
