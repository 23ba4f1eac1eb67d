//! The verdict card: go or no-go, and what it rests on, in one screen.

use maud::{Markup, html};

use super::answer::Answer;
use super::glance;
use super::part::{Fact, NAME_MAX, SENTENCE_MAX, facts, nanos};
use crate::number::{counted, grouped};
use crate::record::{Clock, End, VerdictResult};
use crate::text::clipped;
use crate::verdict::{meaning, word};
use crate::{Record, judged};

pub(super) fn card(record: &Record, name: &str) -> Markup {
    let verdict = &record.verdict;
    let answer = Answer::of(record);
    let (class, sign) = match verdict.result {
        VerdictResult::Passed => ("good", "✓"),
        VerdictResult::Failed | VerdictResult::Vacuous => ("bad", "✕"),
        VerdictResult::Unknown
        | VerdictResult::Untrusted
        | VerdictResult::Ceiling
        | VerdictResult::Interrupted => ("warn", "!"),
    };
    html! {
        header #verdict class={ "verdict " (class) } {
            p.eyebrow { "Fleetstorm run report" }
            h1 { (name) }
            @if !answer.question.is_empty() { p.question { (clipped(answer.question, SENTENCE_MAX)) } }
            p.result {
                span.badge { span.sign aria-hidden="true" { (sign) } (word(verdict.result)) }
                span { (meaning(verdict.result)) " Exit code " (verdict.exit_code) "." }
            }
            div.answer {
                div {
                    p.why { @for why in &answer.why { (clipped(why, SENTENCE_MAX)) " " } }
                    @if !answer.broken.is_empty() { (broken(&answer)) }
                    p.next { (answer.next.why) ": " code { (clipped(&answer.next.command, SENTENCE_MAX)) } }
                }
                @if let Some(figure) = glance::figure(record) { (figure) }
            }
            p.sentence { (clipped(&verdict.sentence, 2 * SENTENCE_MAX)) }
            (facts(&numbers(record)))
            (circumstances(record))
        }
    }
}

/// Practices that are named: each is told below.
const BROKEN_MAX: usize = 3;

fn broken(answer: &Answer<'_>) -> Markup {
    let more = answer.broken.len().saturating_sub(BROKEN_MAX);
    html! {
        p.broken {
            strong { (counted(answer.broken.len() as u64, "practice")) " broken: " }
            @for (at, check) in answer.broken.iter().take(BROKEN_MAX).enumerate() {
                @if at > 0 { "; " }
                (clipped(&check.title, NAME_MAX))
            }
            @if more > 0 { "; and " (more) " more" }
            ". " a href="#practice" { "Evidence" }
        }
    }
}

fn numbers(record: &Record) -> Vec<Fact> {
    let totals = &record.totals;
    let bounds = judged::bounds(record);
    let of = |count: u64, whole: u64| bounds.percent(count, whole);
    let at = |ns| bounds.nanos(ns);
    let objectives = record.objectives.len() as u64;
    let held = record
        .objectives
        .iter()
        .filter(|objective| objective.status == crate::record::ObjectiveStatus::Passed)
        .count() as u64;
    let mut list = Vec::new();
    if objectives > 0 {
        list.push(Fact::new("Objectives held", format!("{held} of {objectives}"), ""));
    }
    list.extend([
        Fact::new(
            "Assigned",
            of(totals.assigned, record.devices),
            format!("{} of {}", grouped(totals.assigned), grouped(record.devices)),
        ),
        Fact::new(
            "99 % online after",
            record.completion.t99_ns.map_or("–".to_owned(), at),
            match record.completion.t100_ns {
                Some(ns) => format!("from the start of the run; all {}", at(ns)),
                None => "from the start of the run; not all devices".to_owned(),
            },
        ),
        Fact::new(
            "Registers a device",
            bounds.ratio(totals.registers, totals.booted),
            format!("{} billed", grouped(totals.billable)),
        ),
        Fact::new(
            "Throttled (429)",
            of(totals.throttled, totals.requests),
            format!("{} of {}", grouped(totals.throttled), counted(totals.requests, "request")),
        ),
    ]);
    list.push(match &record.audit {
        Some(audit) if audit.untrusted.is_empty() => {
            Fact::new("Generator", "kept up", "its own audit found nothing")
        }
        Some(audit) => {
            Fact::new("Generator", "fell behind", counted(audit.untrusted.len() as u64, "finding"))
        }
        None => Fact::new("Generator", "–", "not involved in virtual time"),
    });
    list
}

fn circumstances(record: &Record) -> Markup {
    let clock = match record.clock {
        Clock::Wall => "wall clock, real sockets",
        Clock::Wired => "virtual time, real bytes over in-memory pipes",
        Clock::Virtual => "virtual time, simulated",
    };
    let target = &record.target;
    let kind = match target.kind.as_str() {
        "mock" => "embedded mock".to_owned(),
        "dps" => "the real service".to_owned(),
        other => clipped(other, NAME_MAX),
    };
    let ended = match &record.end {
        End::Settled => "when every device was settled".to_owned(),
        End::Horizon => "at the horizon".to_owned(),
        End::Interrupted => "by hand".to_owned(),
        End::Guardrail { rule } => format!("by the guardrail {}", clipped(rule, NAME_MAX)),
        End::Ceiling { ceiling } => format!("by the ceiling {}", clipped(ceiling, NAME_MAX)),
        End::Broken { what } => format!("by a failure of the tool: {}", clipped(what, SENTENCE_MAX)),
    };
    html! {
        dl.circumstances {
            div { dt { "Clock" } dd { (clock) } }
            div { dt { "Target" } dd { (kind) ", " (clipped(&target.address, NAME_MAX))
                @if let Some(throttle) = &target.throttle { ", throttle " code { (clipped(throttle, NAME_MAX)) } } } }
            div { dt { "Seed" } dd { (record.seed) } }
            div { dt { "Ended" } dd { "after " (nanos(record.duration_ns)) ", " (ended) } }
            @if let Some(machine) = &record.machine {
                div { dt { "Started" } dd { (clipped(&to_the_second(&machine.started_utc), NAME_MAX)) } }
            }
        }
    }
}

/// RFC 3339 without the fraction of its second.
fn to_the_second(started_utc: &str) -> String {
    started_utc.split_once('.').map_or(started_utc.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}
