//! What every form says first: the question, why the verdict is what it is, what was broken, and what to do next.
//!
//! All of it follows from the record, so the page, the comment, the terminal and the test results cannot disagree. Texts
//! of the record stand in it as they are: whoever shows them escapes and cuts them.

use super::objectives::margin;
use super::part::seconds;
use super::timeline::{online_again_s, recovery};
use crate::judged::{self, Presence};
use crate::meaning::{Meaning, short};
use crate::number::{counted, grouped, nanos, percent, share};
use crate::record::{
    Check, CheckStatus, Clock, Cohort, End, FaultStatus, Journey, Objective, ObjectiveStatus, VerdictResult,
};
use crate::{Record, bound, practice, verdict};

/// The answer of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer<'a> {
    /// What the scenario asks; empty where it asks nothing.
    pub(crate) question: &'a str,
    /// One or two sentences: what decided, and what is to blame for it.
    pub(crate) why: Vec<String>,
    /// The practices that were broken, whatever the verdict.
    pub(crate) broken: Vec<&'a Check>,
    /// What to do next.
    pub(crate) next: Next,
}

/// A command and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) why: &'static str,
    pub(crate) command: String,
}

/// The share of something that has to have one cause before that cause is named.
const MOST: f64 = 0.5;

impl<'a> Answer<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let failed = record.practice.checks.iter().filter(|check| check.status == CheckStatus::Failed);
        let blame = blame(record);
        // Who has no hub is told once.
        let in_short = blame.as_ref().is_some_and(|blame| blame.contains("no hub"));
        let decided = decided(record, in_short);
        let blame = blame.filter(|blame| !decided.contains(blame.as_str()));
        Self {
            question: &record.question,
            why: std::iter::once(decided).chain(blame).collect(),
            broken: failed.collect(),
            next: next(record),
        }
    }

    /// What was broken, in one line; empty where nothing was.
    pub(crate) fn broken(&self) -> String {
        let titles: Vec<&str> = self.broken.iter().map(|check| check.title.as_str()).collect();
        match &titles[..] {
            [] => String::new(),
            titles => format!("{} broken: {}", counted(titles.len() as u64, "practice"), titles.join("; ")),
        }
    }
}

/// What the verdict rests on, in one sentence.
fn decided(record: &Record, in_short: bool) -> String {
    let first = |status| record.objectives.iter().find(|objective| objective.status == status);
    let fault = |status| {
        let fault = record.chaos.faults.iter().find(|fault| fault.status == status)?;
        Some(format!("Fault {}: {}.", fault.name, fault.note))
    };
    let residue = || {
        let residue = record.chaos.residue.as_ref().filter(|residue| !residue.clean)?;
        Some(format!("{}: {}.", crate::chaos::residue(residue), residue.note))
    };
    let told = match record.verdict.result {
        VerdictResult::Passed => closest(record).map(held),
        VerdictResult::Interrupted => Some(format!(
            "It was stopped by hand after {}, when {} of {} had come to rest.",
            nanos(record.duration_ns),
            grouped(record.totals.assigned + record.totals.stopped),
            counted(record.devices, "device")
        )),
        VerdictResult::Ceiling => match &record.end {
            End::Ceiling { ceiling } => {
                Some(format!("The ceiling {ceiling} ended it after {}.", nanos(record.duration_ns)))
            }
            _ => None,
        },
        VerdictResult::Untrusted => {
            let audit = record.audit.as_ref().and_then(|audit| audit.untrusted.first());
            audit.map(|why| format!("The generator was the limit: {why}."))
        }
        VerdictResult::Failed => broke_off(record)
            .or_else(|| first(ObjectiveStatus::Failed).map(|objective| missed(objective, in_short)))
            .or_else(|| fault(FaultStatus::Failed))
            .or_else(residue),
        VerdictResult::Vacuous if record.objectives.is_empty() => {
            Some("The scenario has no objective, so there was nothing that could fail.".to_owned())
        }
        VerdictResult::Vacuous => first(ObjectiveStatus::NoData)
            .map(|objective| {
                format!("{} has nothing to be judged by: {}.", objective.expression, objective.note)
            })
            .or_else(|| fault(FaultStatus::Vacuous)),
        VerdictResult::Unknown => match &record.end {
            End::Guardrail { rule } => {
                Some(format!("The guardrail {rule} aborted it after {}.", nanos(record.duration_ns)))
            }
            _ if record.totals.unborn > 0 => Some(format!(
                "{} of {} never got their turn before the end.",
                grouped(record.totals.unborn),
                counted(record.devices, "device")
            )),
            _ => first(ObjectiveStatus::Undecided)
                .map(|objective| format!("{} is undecided: {}.", objective.expression, objective.note))
                .or_else(|| fault(FaultStatus::Unknown))
                .or_else(residue),
        },
    };
    told.unwrap_or_else(|| verdict::meaning(record.verdict.result).to_owned())
}

/// What makes a run worthless whatever its objectives say.
fn broke_off(record: &Record) -> Option<String> {
    match &record.end {
        End::Broken { what } => Some(format!("The tool itself failed: {what}.")),
        _ if !record.discrepancies.is_empty() => {
            Some(format!("The record contradicts itself: {}.", record.discrepancies[0]))
        }
        _ if record.totals.plugin_faults > 0 => Some(format!(
            "The plugin of {} failed, so the run says nothing of the service.",
            counted(record.totals.plugin_faults, "device")
        )),
        _ => None,
    }
}

/// The objective that is closest to its bound.
fn closest(record: &Record) -> Option<&Objective> {
    let known = record.objectives.iter().filter(|objective| objective.margin.is_some());
    known.min_by(|a, b| {
        let margin = |objective: &Objective| objective.margin.unwrap_or(f64::INFINITY);
        margin(a).total_cmp(&margin(b))
    })
}

fn held(objective: &Objective) -> String {
    let room = objective.margin.map_or(String::new(), |room| match room {
        room if room > 0.0 => format!(", {} from its bound", margin(Some(room)).trim_start_matches('+')),
        _ => ", exactly its bound".to_owned(),
    });
    format!("The closest objective is {}: {} was seen{room}.", objective.expression, objective.observed)
}

fn missed(objective: &Objective, in_short: bool) -> String {
    let note =
        if in_short || objective.note.is_empty() { String::new() } else { format!(": {}", objective.note) };
    format!("{} does not hold, {} was seen{note}.", objective.expression, objective.observed)
}

/// Which quota, fault, cohort, strategy or code is to blame, and for which share of it; nothing where the record does not
/// say.
fn blame(record: &Record) -> Option<String> {
    match record.verdict.result {
        VerdictResult::Untrusted | VerdictResult::Ceiling | VerdictResult::Interrupted => None,
        VerdictResult::Passed => {
            came_back(record).or_else(|| quota_share(record)).or_else(|| slowest(record))
        }
        VerdictResult::Failed | VerdictResult::Vacuous | VerdictResult::Unknown => {
            if broke_off(record).is_some() {
                return None;
            }
            hopeless(record)
                .map(|(_, why)| why)
                .or_else(|| missing(record))
                .or_else(|| late_fault(record))
                .or_else(|| failures(record))
                .or_else(|| slowest(record))
        }
    }
}

/// An objective that no fleet can hold, because the quota alone takes longer.
fn hopeless(record: &Record) -> Option<(Presence<'_>, String)> {
    let bound = record.bound.as_ref()?;
    judged::presence(record).find_map(|presence| {
        // The product of a decimal and a count may be a last digit too large.
        let devices = (presence.share * record.devices as f64 * (1.0 - 4.0 * f64::EPSILON)).ceil() as u64;
        let earliest_s = bound::earliest_s(bound, devices);
        let is_hopeless =
            presence.objective.status == ObjectiveStatus::Failed && earliest_s > presence.within_s;
        is_hopeless.then(|| {
            let why = format!(
                "The quota ({}) alone takes {} for {}: no retry strategy can hold that.",
                bound.what,
                seconds(earliest_s),
                counted(devices, "device")
            );
            (presence, why)
        })
    })
}

/// Who has no hub in the end, and by what.
fn missing(record: &Record) -> Option<String> {
    let totals = &record.totals;
    let missing = record.devices.checked_sub(totals.assigned).filter(|missing| *missing > 0)?;
    let without = |cohort: &Cohort| cohort.totals.devices.saturating_sub(cohort.totals.assigned);
    let whom = record.cohorts.iter().max_by_key(|cohort| without(cohort));
    let part = |devices: u64| match devices {
        all if all == missing && missing > 1 => "all".to_owned(),
        devices => format!("{} ({})", grouped(devices), percent(devices, missing)),
    };
    let cohort = whom
        .filter(|_| record.cohorts.len() > 1)
        .map(|cohort| format!("{} of cohort {} ({})", part(without(cohort)), cohort.name, cohort.retry));
    let hit = record.chaos.faults.iter().max_by_key(|fault| fault.stopped + fault.unfinished);
    let hit =
        hit.filter(|fault| (fault.stopped + fault.unfinished) as f64 >= MOST * missing as f64).map(|fault| {
            format!(
                "{} hit by the fault {}",
                part((fault.stopped + fault.unfinished).min(missing)),
                fault.name
            )
        });
    let class = totals.stopped_by.iter().max_by_key(|(_, devices)| **devices);
    let fate = match class {
        Some((class, devices)) if *devices as f64 >= MOST * missing as f64 => {
            Some(format!("{} gave up: {class}", part(*devices)))
        }
        _ if totals.in_flight as f64 >= MOST * missing as f64 => Some(format!(
            "{} still trying after {} registrations a device",
            part(totals.in_flight),
            crate::number::ratio(totals.registers, totals.booted)
        )),
        _ => None,
    };
    let parts: Vec<String> = cohort.into_iter().chain(hit).chain(fate).collect();
    (!parts.is_empty()).then(|| {
        let are = if missing == 1 { "has" } else { "have" };
        format!("{} {are} no hub: {}.", counted(missing, "device"), parts.join(", "))
    })
}

/// A fault that the fleet did not get over.
fn late_fault(record: &Record) -> Option<String> {
    let fault = record.chaos.faults.iter().find(|fault| fault.status == FaultStatus::Failed)?;
    Some(format!("The fault {} is to blame: {}.", fault.name, fault.note))
}

/// The way to fail that makes up most of all failures.
fn failures(record: &Record) -> Option<String> {
    let bad: Vec<_> = record.codes.iter().filter(|code| !code.succeeded() && code.status != 429).collect();
    let all = bad.iter().fold(0u64, |sum, code| sum.saturating_add(code.count));
    let most = bad.into_iter().max_by_key(|code| code.count)?;
    (most.count as f64 >= MOST * all as f64).then(|| {
        let title = Meaning::of(most).map_or(String::new(), |known| format!(", {}", known.title));
        format!(
            "{} of the failures are {} on {}{title}; {} met it.",
            percent(most.count, all),
            short(most),
            most.operation,
            counted(most.devices, "device")
        )
    })
}

/// How long a fleet that was online took to come back from what befell it.
fn came_back(record: &Record) -> Option<String> {
    recovery(record)?;
    let outages = record.outages.iter().filter_map(|outage| {
        let until_ns = outage.until_ns?;
        let again_s = online_again_s(record, outage.from_ns, until_ns)?;
        Some((again_s - until_ns as f64 / 1e9, &outage.name))
    });
    let faults = record
        .chaos
        .faults
        .iter()
        .filter_map(|fault| Some((crate::chaos::back_after(record, fault)? as f64 / 1e9, &fault.name)));
    let (after_s, name) = outages.chain(faults).max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!("The fleet was back {} after the end of {name}.", seconds(after_s)))
}

/// How much of the time until the fleet is online is the quota's.
fn quota_share(record: &Record) -> Option<String> {
    let bound = record.bound.as_ref()?;
    let t99_s = record.completion.t99_ns? as f64 / 1e9;
    let earliest_s = bound::earliest_s(bound, record.devices - record.devices / 100);
    (earliest_s > 0.0 && t99_s > 0.0 && earliest_s.is_finite()).then(|| {
        format!(
            "Of the {} until 99 % were online the quota alone takes {} ({}).",
            seconds(t99_s),
            seconds(earliest_s),
            share((earliest_s / t99_s).min(1.0))
        )
    })
}

/// What the time of the slow devices went into.
fn slowest(record: &Record) -> Option<String> {
    let journey = record.journeys.iter().find(|journey| journey.quantile == "p99")?;
    let (what, ns) = largest_part(journey);
    let part = ns as f64 / journey.total_ns.max(1) as f64;
    (MOST..=1.0).contains(&part).then(|| {
        format!(
            "Of the {} that the p99 device took, {} went into {what}.",
            nanos(journey.total_ns),
            percent(ns, journey.total_ns)
        )
    })
}

fn largest_part(journey: &Journey) -> (&'static str, u64) {
    let parts = [
        ("waiting after refusals and failures", journey.back_off_ns),
        ("waiting between polls", journey.polling_ns),
        ("connecting", journey.connect_ns),
        ("registering", journey.register_ns),
        ("polls", journey.poll_ns),
        ("the generator's own delay", journey.lag_ns),
        ("waiting for a place under max_concurrent", journey.admission_ns),
    ];
    parts.into_iter().max_by_key(|(_, ns)| *ns).unwrap_or(parts[0])
}

/// The command that brings a reader on.
fn next(record: &Record) -> Next {
    let path = practice::quoted(if record.path.is_empty() { "run.json" } else { &record.path });
    let in_virtual_time = record.clock != Clock::Wall;
    let has_faults = !record.chaos.faults.is_empty();
    let own_mock = record.target.kind == "mock";
    let to = |why, command: String| Next { why, command };
    let broken = record.practice.checks.iter().filter(|check| check.status == CheckStatus::Failed);
    let replay = broken.into_iter().find_map(|check| practice::replay(record, check));
    match record.verdict.result {
        VerdictResult::Untrusted if own_mock => to(
            "See the same fleet where no generator can be late",
            "fleetstorm run scenario.toml --clock virtual".into(),
        ),
        VerdictResult::Untrusted => to(
            "Run it with fewer devices at once",
            "fleetstorm run scenario.toml --set fleet.max_concurrent=1000".into(),
        ),
        VerdictResult::Interrupted | VerdictResult::Ceiling => {
            to("Run it to its end", "fleetstorm run scenario.toml".into())
        }
        VerdictResult::Vacuous | VerdictResult::Unknown => to(
            "Read what the scenario does and what can judge it",
            "fleetstorm scenario explain scenario.toml".into(),
        ),
        VerdictResult::Failed => match (hopeless(record), replay) {
            (Some((Presence { within_s, .. }, _)), _) => to(
                "See what that time takes: instances, batches and pace",
                format!("fleetstorm plan --devices {} --within {}s", record.devices, within_s.ceil()),
            ),
            _ if has_faults && in_virtual_time => {
                to("Cut it down to the faults that matter", format!("fleetstorm chaos shrink {path}"))
            }
            (None, Some(command)) => to("Follow the device that broke a practice worst", command),
            (None, None) => {
                match record.journeys.last().filter(|_| in_virtual_time || record.trace.is_some()) {
                    Some(journey) => to(
                        "Follow the slowest device through its run",
                        format!("fleetstorm explain {path} {}", practice::quoted(&journey.name)),
                    ),
                    None => to("Read the whole of it", format!("fleetstorm report {path}")),
                }
            }
        },
        VerdictResult::Passed => match replay {
            Some(command) => to("Follow the device that broke a practice worst", command),
            None if own_mock => {
                to("Find out how far the fleet can grow", "fleetstorm capacity scenario.toml".into())
            }
            None => to("Hold the next run against this one", format!("fleetstorm diff {path} NEW.json")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fault, FaultWindow};
    use crate::{Document, Form, testing};

    /// The forms that a person reads, without line breaks and escapes that are theirs.
    fn forms(record: &Record) -> Vec<(Form, String)> {
        let record = Document::Run(Box::new(record.clone()));
        let forms = [Form::Html, Form::Markdown, Form::Text, Form::Junit { strict_practices: false }];
        let plain = |text: String| {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            text.replace("\\_", "_").replace("&gt;", ">").replace("&lt;", "<").replace("&quot;", "\"")
        };
        forms.into_iter().map(|form| (form, plain(form.render(&record).unwrap()))).collect()
    }

    fn passed() -> Record {
        let mut record = testing::record();
        for objective in &mut record.objectives {
            (objective.status, objective.note) = (ObjectiveStatus::Passed, String::new());
        }
        record.verdict.result = VerdictResult::Passed;
        record.verdict.exit_code = 0;
        record.verdict.sentence = crate::sentence(&record);
        record
    }

    fn fault(status: FaultStatus) -> Fault {
        Fault {
            name: "storm".into(),
            kind: "service.throttle".into(),
            layer: "service".into(),
            eligible: 9,
            fired: 9,
            min_fired: 1,
            windows: vec![FaultWindow {
                from_ns: 20_000_000_000,
                until_ns: Some(30_000_000_000),
                detected_after_ns: Some(0),
                recovered_after_ns: Some(0),
                locked_up: false,
            }],
            status,
            ..Fault::default()
        }
    }

    #[test]
    fn every_form_gives_the_same_answer() {
        for record in [passed(), testing::record()] {
            let answer = Answer::of(&record);
            assert!(!answer.question.is_empty() && answer.why.len() == 2, "{answer:?}");
            assert_eq!(answer.broken.len(), 1, "broken, whatever the verdict");
            for (form, text) in forms(&record) {
                let said = [answer.question, &answer.broken[0].title, &answer.next.command];
                for words in said.into_iter().chain(answer.why.iter().map(|why| why.trim_end_matches('.'))) {
                    assert!(text.contains(words), "{form} lacks {words:?}: {text}");
                }
            }
        }
    }

    #[test]
    fn blame_is_a_share_of_what_was_counted() {
        let mut record = testing::record();
        assert_eq!(Answer::of(&record).why[1], "3 devices have no hub: 2 (66.7 %) gave up: unauthorized.");
        let mut other = record.cohorts[0].clone();
        (other.name, other.totals.devices, other.totals.assigned) = ("old".into(), 100, 97);
        record.cohorts.push(other);
        record.cohorts[0].totals.assigned = record.cohorts[0].totals.devices;
        let why = Answer::of(&record).why;
        assert!(
            why[1].contains("no hub: all of cohort old (full-jitter (base_ms = 500)), 2 (66.7 %) gave up"),
            "{why:?}"
        );
        // 999 devices less 200 at once, at 10 a second: 79.9 s.
        record.objectives[0].expression = "assigned >= 99.9% within 1m".into();
        let why = Answer::of(&record).why;
        assert!(why[1].contains("alone takes 1 m 20 s for 999 devices: no retry strategy"), "{why:?}");
        assert_eq!(Answer::of(&record).next.command, "fleetstorm plan --devices 1000 --within 60s");
        assert_eq!(
            Answer::of(&passed()).why[1],
            "Of the 1 m 41 s until 99 % were online the quota alone takes 1 m 19 s (78.0 %)."
        );
    }

    #[test]
    fn a_fleet_that_died_has_not_survived_anything() {
        let mut record = testing::record();
        record.chaos.faults = vec![fault(FaultStatus::Passed)];
        assert_eq!(record.objectives[0].status, ObjectiveStatus::Failed);
        (record.totals.assigned, record.totals.stopped) = (0, 1_000);
        for (form, text) in forms(&record) {
            assert!(!text.contains("survived"), "{form}: {text}");
        }
        let mut alive = passed();
        (alive.totals.assigned, alive.totals.stopped) = (1_000, 0);
        alive.chaos.faults = record.chaos.faults;
        assert!(forms(&alive)[0].1.contains("survived"));
    }

    #[test]
    fn a_fleet_whose_backlog_drains_is_not_back_after_nothing() {
        let mut record = passed();
        record.chaos.faults = vec![fault(FaultStatus::Passed)];
        // It ended at 30 s, when 610 devices waited of whom 10 a second come to rest.
        record.series.booted = vec![0; 120];
        record.series.in_flight = (0..120u32).map(|second| 900u32.saturating_sub(10 * second)).collect();
        for (form, text) in forms(&record) {
            assert!(!text.contains("back after 0"), "{form}: {text}");
        }
        assert!(forms(&record)[2].1.contains("back after 1 m 01 s"), "{}", forms(&record)[2].1);
        record.series.in_flight[25..].fill(0);
        assert!(forms(&record)[2].1.contains("back after 0"), "{}", forms(&record)[2].1);
    }

    #[test]
    fn what_an_interrupted_run_could_not_decide_has_not_failed() {
        let mut record = testing::record();
        record.end = End::Interrupted;
        record.practice.checks.clear();
        record.codes.retain(|code| code.succeeded());
        record.series.failed.fill(0);
        for objective in &mut record.objectives {
            objective.status = ObjectiveStatus::Undecided;
            objective.note = "the run was interrupted after 2 m, and its time comes at the end".into();
        }
        (record.verdict.result, record.verdict.exit_code) = (VerdictResult::Interrupted, 130);
        record.verdict.sentence = crate::sentence(&record);
        for (form, text) in forms(&record) {
            let cut = text.replace("failures=\"0\"", "").replace("failures and", "");
            for wrong in ["FAIL ", "❌", "✕", "<failure", "does not hold", ": failed"] {
                assert!(!cut.contains(wrong), "{form} says {wrong}: {text}");
            }
        }
    }
}
