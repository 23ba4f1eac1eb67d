//! A record as test results: one case an objective, one a best practice.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use fleetstorm_model::objective::{Metric, Objective as Parsed};

use crate::html::Answer;
use crate::number::{counted, grouped};
use crate::record::{Check, CheckStatus, Fault, FaultStatus, Objective, ObjectiveStatus, VerdictResult};
use crate::text::clipped;
use crate::{Diff, Record, chaos};

const TEXT_MAX: usize = 500;

/// The record as JUnit XML. A run that passed has no failure in it, unless practices are to be kept strictly.
pub(super) fn junit(record: &Record, strict_practices: bool) -> Result<String, String> {
    let mut report = Report::new(clipped(&record.name, TEXT_MAX));
    report.set_time(Duration::from_nanos(record.duration_ns));
    let mut run = TestSuite::new("run");
    run.add_test_case(verdict(record));
    let mut objectives = TestSuite::new("objectives");
    objectives.add_test_cases(record.objectives.iter().map(objective));
    let mut practices = TestSuite::new("best-practices");
    let checks = record.practice.checks.iter();
    practices.add_test_cases(checks.map(|check| practice(record, check, strict_practices)));
    report.add_test_suites([run, objectives, practices]);
    if !record.chaos.faults.is_empty() {
        let mut faults = TestSuite::new("faults");
        faults.add_test_cases(record.chaos.faults.iter().map(fault));
        report.add_test_suite(faults);
    }
    report.to_string().map_err(|error| error.to_string())
}

fn case(name: &str, suite: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(clipped(name, TEXT_MAX), status);
    case.set_classname(format!("fleetstorm.{suite}"));
    case
}

/// Whether an objective or a fault has a case that fails.
fn is_told_by_another_case(record: &Record) -> bool {
    record.objectives.iter().any(|objective| objective.status != ObjectiveStatus::Passed)
        || record.chaos.faults.iter().any(|fault| fault.status != FaultStatus::Passed)
}

/// Whether the run as a whole can be believed: what no single objective says.
fn verdict(record: &Record) -> TestCase {
    let sentence = clipped(&record.verdict.sentence, TEXT_MAX);
    let status = match record.verdict.result {
        VerdictResult::Passed => TestCaseStatus::success(),
        VerdictResult::Failed | VerdictResult::Vacuous
            if is_told_by_another_case(record) && record.verdict.exit_code != 1 =>
        {
            TestCaseStatus::success()
        }
        VerdictResult::Failed | VerdictResult::Vacuous => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(crate::verdict::word(record.verdict.result)).set_message(sentence.clone());
            status
        }
        VerdictResult::Unknown
        | VerdictResult::Untrusted
        | VerdictResult::Ceiling
        | VerdictResult::Interrupted => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type(crate::verdict::word(record.verdict.result)).set_message(sentence.clone());
            status
        }
    };
    let mut case = case("the run can be believed", "run", status);
    case.set_system_out(told(record, &sentence));
    case
}

/// The answer as every form gives it: the question, why, what was broken and what to do, a line each.
fn told(record: &Record, sentence: &str) -> String {
    let answer = Answer::of(record);
    let lines = [answer.question.to_owned(), answer.why.join(" "), answer.broken(), sentence.to_owned()];
    let next = format!("{}: {}", answer.next.why, answer.next.command);
    let lines = lines.into_iter().chain([next]).filter(|line| !line.is_empty());
    lines.map(|line| clipped(&line, TEXT_MAX)).collect::<Vec<_>>().join("\n")
}

fn objective(objective: &Objective) -> TestCase {
    let observed = format!("observed {}. {}", objective.observed, objective.note);
    let status = match objective.status {
        ObjectiveStatus::Passed => TestCaseStatus::success(),
        ObjectiveStatus::Failed | ObjectiveStatus::NoData => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(crate::verdict::held(objective.status)).set_message(clipped(&observed, TEXT_MAX));
            status
        }
        ObjectiveStatus::Undecided => {
            let mut status = TestCaseStatus::skipped();
            status.set_type(crate::verdict::held(objective.status)).set_message(clipped(&observed, TEXT_MAX));
            status
        }
    };
    let mut case = case(&objective.expression, "objectives", status);
    case.set_system_out(clipped(&observed, TEXT_MAX));
    case
}

fn fault(fault: &Fault) -> TestCase {
    let failed = |kind, word: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(word).set_message(clipped(&fault.note, TEXT_MAX));
        status
    };
    let status = match fault.status {
        FaultStatus::Passed => TestCaseStatus::success(),
        FaultStatus::Failed => failed(NonSuccessKind::Failure, "failed"),
        FaultStatus::Vacuous => failed(NonSuccessKind::Failure, "vacuous"),
        FaultStatus::Unknown => failed(NonSuccessKind::Error, "unknown"),
    };
    let mut case = case(&fault.name, "faults", status);
    case.set_system_out(format!(
        "{} hit {} of {}, {}",
        clipped(&fault.kind, TEXT_MAX),
        grouped(fault.fired),
        counted(fault.eligible, "time"),
        chaos::whom(fault)
    ));
    case
}

fn practice(record: &Record, check: &Check, strict: bool) -> TestCase {
    let mut told = check.evidence.clone();
    for (which, case) in crate::practice::cases(check) {
        told.push_str(&format!("; {which}: {}", crate::practice::told(case)));
    }
    let told = clipped(&told, TEXT_MAX);
    let mut words = format!("{}: {told}", clipped(&check.title, TEXT_MAX));
    let status = match check.status {
        CheckStatus::Passed => TestCaseStatus::success(),
        CheckStatus::Failed => {
            let replay = crate::practice::replay(record, check).unwrap_or_default();
            let advice = clipped(format!("{} {replay}", check.advice).trim_end(), TEXT_MAX);
            if strict || is_asked_for(record, check) {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_type("practice").set_message(told.clone()).set_description(advice);
                status
            } else {
                words = format!("broken: {words}\n{advice}");
                TestCaseStatus::success()
            }
        }
        CheckStatus::NotExercised | CheckStatus::Unknown => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(told.clone());
            status
        }
    };
    let mut case = case(&check.id, "best-practices", status);
    case.set_system_out(words);
    case
}

/// Whether an objective failed over a practice.
fn is_asked_for(record: &Record, check: &Check) -> bool {
    record.objectives.iter().filter(|objective| objective.status == ObjectiveStatus::Failed).any(
        |objective| match objective.expression.parse::<Parsed>() {
            Ok(parsed) => match parsed.metric {
                Metric::Broken(Some(practice)) => practice.name() == check.id,
                Metric::Broken(None) => true,
                _ => false,
            },
            Err(_) => false,
        },
    )
}

/// A difference as JUnit XML: it is a failure where `--fail-on-regression` is.
pub(super) fn difference(diff: &Diff) -> Result<String, String> {
    let failed = |told: &str| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type("regression").set_message(clipped(told, TEXT_MAX));
        status
    };
    let told = |name: &str, suite, told: &str, is_failure: bool| {
        let status = if is_failure { failed(told) } else { TestCaseStatus::success() };
        let mut case = case(name, suite, status);
        case.set_system_out(clipped(told, TEXT_MAX));
        case
    };
    let mut report = Report::new(clipped(&diff.new.name, TEXT_MAX));
    let mut whole = TestSuite::new("difference");
    let sides = format!("base {}, new {}", diff.base.verdict, diff.new.verdict);
    whole.add_test_case(told("the later run is not worse", "difference", &sides, diff.is_regression()));
    let mut numbers = TestSuite::new("numbers");
    numbers.add_test_cases(diff.shifts.iter().map(|shift| {
        let moved = crate::diff::told(shift);
        told(&shift.name, "numbers", &moved, false)
    }));
    report.add_test_suites([whole, numbers]);
    for (suite, list) in [("objectives", &diff.objectives), ("best-practices", &diff.practices)] {
        let mut turned = TestSuite::new(suite);
        turned.add_test_cases(list.iter().map(|turned| {
            let words = format!("{} -> {}", turned.base, turned.new);
            told(&turned.what, suite, &words, turned.worse && suite == "objectives")
        }));
        report.add_test_suite(turned);
    }
    report.to_string().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read(record: &Record, strict: bool) -> junit_parser::TestSuites {
        parsed(&junit(record, strict).unwrap())
    }

    fn parsed(text: &str) -> junit_parser::TestSuites {
        junit_parser::from_reader(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn another_reader_finds_a_case_for_each_objective_and_practice() {
        let record = testing::record();
        let read = read(&record, true);
        let suite = |name: &str| read.suites.iter().find(|suite| suite.name == name).unwrap();
        let objectives = suite("objectives");
        assert_eq!(objectives.cases.len(), record.objectives.len());
        assert_eq!((objectives.tests, objectives.failures, objectives.skipped), (3, 1, 0));
        let failed = &objectives.cases[0];
        assert_eq!(failed.name, "fleetstorm.objectives::assigned >= 99.9% within 2m");
        assert!(failed.status.is_failure() && failed.status.failure_as_ref().message.contains("99.7 %"));
        let practices = suite("best-practices");
        assert_eq!((practices.tests, practices.failures, practices.skipped), (4, 1, 2));
        let broken = practices.cases.iter().find(|case| case.status.is_failure()).unwrap();
        assert!(broken.name == "fleetstorm.best-practices::retry-after-floor", "{broken:?}");
        assert!(broken.status.failure_as_ref().message.contains("dev-000512"));
        assert_eq!((read.failures, read.errors), (2, 0));
    }

    #[test]
    fn a_run_that_passed_is_green_whatever_practices_it_broke_and_says_so() {
        let mut record = testing::record();
        record.verdict.result = VerdictResult::Passed;
        for objective in &mut record.objectives {
            objective.status = ObjectiveStatus::Passed;
        }
        assert!(record.practice.checks.iter().any(|check| check.status == CheckStatus::Failed));
        let lenient = read(&record, false);
        assert_eq!((lenient.failures, lenient.errors), (0, 0));
        let text = junit(&record, false).unwrap();
        assert!(text.contains("<system-out>broken: ") && text.contains("dev-000512"), "{text}");
        assert_eq!(read(&record, true).failures, 1);
    }

    #[test]
    fn a_practice_that_an_objective_asks_for_is_red_with_it() {
        let mut record = testing::record();
        for (expression, status, failures) in [
            ("broken(retry-after-floor) == 0", ObjectiveStatus::Failed, 2),
            ("broken(any) == 0", ObjectiveStatus::Failed, 2),
            ("broken(no-herd) == 0", ObjectiveStatus::Failed, 1),
            ("broken(retry-after-floor) <= 60", ObjectiveStatus::Passed, 0),
        ] {
            record.objectives.truncate(1);
            record.objectives[0].expression = expression.to_owned();
            record.objectives[0].status = status;
            if status == ObjectiveStatus::Passed {
                record.verdict.result = VerdictResult::Passed;
            }
            assert_eq!(read(&record, false).failures, failures, "{expression}");
        }
    }

    #[test]
    fn a_difference_fails_where_the_later_run_is_worse() {
        let (base, mut new) = (testing::record(), testing::record());
        let cases = |diff: &Diff| parsed(&difference(diff).unwrap());
        assert_eq!(cases(&Diff::of(&base, &new, 0.05)).failures, 0);
        new.objectives[1].status = ObjectiveStatus::Failed;
        let worse = cases(&Diff::of(&base, &new, 0.05));
        assert_eq!(worse.failures, 2, "the whole, and the objective that turned");
        assert!(worse.suites.iter().any(|suite| suite.name == "numbers" && !suite.cases.is_empty()));
    }

    #[test]
    fn whatever_did_not_pass_has_a_case_that_did_not() {
        use VerdictResult::{Ceiling, Failed, Interrupted, Passed, Unknown, Untrusted, Vacuous};
        let mut record = testing::record();
        record.practice.checks.clear();
        record.objectives.clear();
        for result in [Passed, Failed, Vacuous, Unknown, Untrusted, Ceiling, Interrupted] {
            record.verdict.result = result;
            let read = read(&record, false);
            assert_eq!(read.failures + read.errors > 0, result != Passed, "{result:?}");
        }
    }

    #[test]
    fn a_run_that_cannot_be_believed_is_an_error_and_hostile_names_are_text() {
        let mut record = testing::record();
        record.verdict.result = VerdictResult::Untrusted;
        record.name = "]]><x>\u{1b}&amp;".into();
        record.objectives[0].expression = "a < b && \"c\" ]]>\u{0}".into();
        record.practice.checks[0].evidence = "]]> <!--".into();
        let read = read(&record, false);
        assert_eq!(read.errors, 1);
        let objectives = read.suites.iter().find(|suite| suite.name == "objectives").unwrap();
        assert_eq!(objectives.cases[0].name, "fleetstorm.objectives::a < b && \"c\" ]]>?");
    }
}
