//! What went wrong on purpose, and what the fleet made of it.

use maud::{Markup, html};

use super::part::{Column, NAME_MAX, SENTENCE_MAX, Section, more, table};
use crate::number::{counted, grouped, nanos};
use crate::record::{Fault, FaultStatus, FaultWindow, ObjectiveStatus};
use crate::text::clipped;
use crate::{Record, chaos, judged};

const FAULTS_MAX: usize = 40;

pub(super) fn section(record: &Record) -> Option<Section> {
    let found = &record.chaos;
    if found.is_empty() {
        return None;
    }
    let columns = [
        Column::Words("Fault"),
        Column::Words("Status"),
        Column::Words("On"),
        Column::Number("Hits"),
        Column::Number("Devices"),
        Column::Number("Felt after"),
        Column::Number("Back after"),
    ];
    let (shown, left) = judged::faults(record, FAULTS_MAX);
    let count = shown.len();
    let body = html! {
        @if !found.faults.is_empty() {
            (table("Faults and what came of them", &columns, shown.into_iter().map(|fault| row(record, fault))))
            (more(count, count + left, "faults that are over"))
            p.note { "Felt: a larger share of the attempts went wrong than before. Back: as many devices had come to rest as \
                were waiting when the fault ended and, after its last occurrence, the last one that it hit. A fault that was on \
                to the end, or whose end the run did not see, is unknown. The worst occurrence is told; the charts \
                over time show when each fault was on. Exercised: the checks of the audit that devices met after the fault had hit \
                them, until they came to rest." }
        }
        @if let Some(steady) = &found.steady_state {
            @let held = steady.objectives.iter().filter(|one| one.status == ObjectiveStatus::Passed).count();
            p { "Seen to come online before the first fault: " (counted(steady.devices, "device")) "; " (held) " of "
                (steady.objectives.len()) " conditions held." }
        }
        @for guardrail in &found.guardrails {
            p { "Guardrail " code { (clipped(&guardrail.rule, NAME_MAX)) } ": "
                @match guardrail.breached_ns {
                    Some(at) => { "breached at " (nanos(at)) ", and the run aborted." }
                    None => { "never breached for that long." }
                }
            }
        }
        @if let Some(residue) = &found.residue {
            p { (chaos::residue(residue)) ": " (clipped(&residue.note, SENTENCE_MAX)) }
        }
    };
    Some(Section { id: "chaos", title: "Faults".into(), body })
}

fn row(record: &Record, fault: &Fault) -> Vec<Markup> {
    let (class, sign) = match fault.status {
        FaultStatus::Passed => ("good", "✓"),
        FaultStatus::Failed | FaultStatus::Vacuous => ("bad", "✕"),
        FaultStatus::Unknown => ("warn", "!"),
    };
    let told = |ns: Option<u64>| ns.map_or("–".to_owned(), nanos);
    vec![
        html! {
            (clipped(&fault.name, NAME_MAX))
            @if fault.name != fault.kind { span.under { (fault.kind) } }
            @if !fault.exercised.is_empty() {
                span.under { "exercised " (clipped(&chaos::exercised(fault), SENTENCE_MAX)) }
            }
            @if !fault.note.is_empty() { span.under { (clipped(&fault.note, SENTENCE_MAX)) } }
        },
        html! { span class={ "state " (class) } { span aria-hidden="true" { (sign) " " } (chaos::word(record, fault)) } },
        html! { (when(&fault.windows)) },
        html! { (grouped(fault.fired)) " of " (grouped(fault.eligible)) },
        html! { (chaos::devices(fault).unwrap_or("–".to_owned())) },
        html! { (told(chaos::worst(fault, |window| window.detected_after_ns))) },
        html! { (told(chaos::back_after(record, fault))) },
    ]
}

fn when(windows: &[FaultWindow]) -> String {
    let [first, rest @ ..] = windows else { return "never".to_owned() };
    let until = first.until_ns.map_or("the end".to_owned(), nanos);
    let times =
        if rest.is_empty() { String::new() } else { format!(", {}", counted(windows.len() as u64, "time")) };
    format!("{} to {until}{times}", nanos(first.from_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Chaos, Exercised, Guardrail, Residue};

    fn record() -> Record {
        let mut record = crate::testing::record();
        let window = FaultWindow {
            from_ns: 30_000_000_000,
            until_ns: Some(60_000_000_000),
            detected_after_ns: Some(2_000_000_000),
            recovered_after_ns: None,
            locked_up: true,
        };
        record.chaos = Chaos {
            faults: vec![Fault {
                name: "<storm>".into(),
                kind: "service.throttle".into(),
                layer: "service".into(),
                eligible: 4_000,
                fired: 1_234,
                min_fired: 1,
                devices: 900,
                first_ns: Some(30_000_000_000),
                last_ns: Some(59_000_000_000),
                windows: vec![window],
                exercised: vec![Exercised { check: "poll-rate".into(), occasions: 9, broken: 0 }],
                status: FaultStatus::Failed,
                note: "the fleet locked up".into(),
                ..Fault::default()
            }],
            steady_state: None,
            guardrails: vec![Guardrail { rule: "failed share <= 90 % for 30s".into(), breached_ns: None }],
            residue: Some(Residue {
                clean: true,
                unknown: false,
                note: "a device registered in 900ms".into(),
            }),
        };
        record
    }

    #[test]
    fn the_page_tells_each_fault_and_shows_it_on_the_load() {
        let page = crate::html(&record());
        for expected in [
            "&lt;storm&gt;",
            "1,234 of 4,000",
            "exercised poll-rate",
            "the fleet locked up",
            "never breached",
            "No residue",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(
            page.contains("Shaded: fault &lt;storm&gt; from 30 s to 1 m")
                && page.contains("class=\"band fault\"")
        );
        assert!(!crate::html(&crate::testing::record()).contains("id=\"chaos\""));
        let junit = crate::Form::Junit { strict_practices: true }
            .render(&crate::Document::Run(Box::new(record())))
            .unwrap();
        assert!(junit.contains("name=\"faults\"") && junit.contains("the fleet locked up"), "{junit}");
    }
}
