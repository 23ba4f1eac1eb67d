//! A plan of a rollout, and what its trial said.

use fleetstorm_units::time::Span;
use maud::{Markup, html};

use super::part::{Column, Fact, NAME_MAX, SENTENCE_MAX, Section, facts, seconds, table, text};
use crate::analysis::{Outcome, Rollout};
use crate::number::grouped;
use crate::text::clipped;

/// More steps than this are no arithmetic that a person reads.
const STEPS_MAX: usize = 40;

/// What is planned, in one sentence.
pub(crate) fn sentence(plan: &Rollout) -> String {
    let span = |secs: f64| Span::from_secs_f64(secs.max(0.0));
    let spread = match plan.spread_s > 0.0 {
        true => format!(", spread evenly over {}", span(plan.spread_s)),
        false => " at once".to_owned(),
    };
    let promised = match &plan.tried {
        Some(tried) if tried.registers_per_device > 1.005 => {
            let all = (tried.registers_per_device * f64::from(plan.devices)).round() as u64;
            format!(
                "about {} registrations billed, as its trial says ({:.2} a device)",
                all, tried.registers_per_device
            )
        }
        _ => format!("{} registrations billed", plan.billed),
    };
    // What missed in its own trial is no plan.
    let tried = if plan.conclusion.outcome == Outcome::Passed { "" } else { "Tried: " };
    format!(
        "{tried}{} devices in {}: {} DPS instance(s), batches of {} each {}{spread}, {} S1 hub(s) of {} unit(s), {promised}",
        plan.devices,
        span(plan.window_s),
        plan.instances,
        plan.batch,
        span(plan.interval_s),
        plan.hubs,
        plan.units,
    )
}

/// The card at the top.
pub(super) fn card(plan: &Rollout) -> Markup {
    html! {
        header class={ "verdict " (super::tone(&plan.conclusion)) } #verdict {
            p.eyebrow { "Fleetstorm plan" }
            h1 { (grouped(u64::from(plan.devices))) " devices" }
            (super::notice(&plan.conclusion))
            p.sentence { (sentence(plan)) }
            (facts(&[
                Fact::new("Window", seconds(plan.window_s), "from the first slot to the end of the last one"),
                Fact::new("Instances", grouped(u64::from(plan.instances)), "of DPS"),
                Fact::new("Batch", grouped(u64::from(plan.batch)), format!("each {}", seconds(plan.interval_s))),
                Fact::new("Load", format!("{:.0} %", plan.load * 100.0), "of the quota, by choice"),
            ]))
        }
    }
}

pub(super) fn sections(plan: &Rollout) -> Vec<Section> {
    let steps = html! {
        ul.methods { @for step in plan.because.iter().take(STEPS_MAX) { li { (clipped(step, SENTENCE_MAX)) } } }
    };
    let mut all = vec![Section { id: "arithmetic", title: "The arithmetic".into(), body: steps }];
    all.extend(trial(plan));
    all
}

/// One instance's share of the plan, run in virtual time.
fn trial(plan: &Rollout) -> Option<Section> {
    let tried = plan.tried.as_ref()?;
    let rows = [
        ("Retry strategy", clipped(&tried.strategy, NAME_MAX)),
        ("Transport", clipped(&plan.transport, NAME_MAX)),
        ("Devices", grouped(tried.devices)),
        ("Assigned", grouped(tried.assigned)),
        ("99 % after", tried.t99_s.map_or("not reached".to_owned(), seconds)),
        ("Registrations a device", format!("{:.2}", tried.registers_per_device)),
        ("Outcome", tried.outcome.word().to_owned()),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![text(name), text(&value)]);
    let body = html! {
        (table("One instance's share of the plan in virtual time", &[Column::Words("What"), Column::Words("Value")], rows))
        @for (expression, observed) in tried.missed.iter().take(STEPS_MAX) {
            p { "Missed: " code { (clipped(expression, SENTENCE_MAX)) } ", seen: " (clipped(observed, NAME_MAX)) }
        }
    };
    Some(Section { id: "trial", title: "The trial".into(), body })
}
