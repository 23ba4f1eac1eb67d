//! How far a forecast is from what was measured.

use maud::{Markup, html};

use super::part::{Column, Fact, NAME_MAX, Section, facts, table, text};
use crate::analysis::Fidelity;
use crate::number::grouped;
use crate::text::clipped;

const CODES_MAX: usize = 200;

fn share(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{:.1} %", value * 100.0))
}

/// The card at the top.
pub(super) fn card(found: &Fidelity) -> Markup {
    html! {
        header class={ "verdict " (super::tone(&found.conclusion)) } #verdict {
            p.eyebrow { "Fleetstorm fidelity" }
            h1 { "A forecast beside what was measured" }
            (super::notice(&found.conclusion))
            (facts(&[
                Fact::new("Off by", share(found.score), "at most, of T50, T90, T99 and attempts per device"),
                Fact::new("Not by chance", share(found.unexplained), "beyond what other seeds make"),
                Fact::new("Curves apart", share(Some(found.curve_distance)), "of the fleet at most"),
            ]))
        }
    }
}

pub(super) fn sections(found: &Fidelity) -> Vec<Section> {
    let three = |value: f64| format!("{value:.3}");
    let ratios = found.ratios.iter().map(|(name, ratio)| {
        let chance = found.chance.get(name).copied().flatten();
        vec![
            text(&clipped(name, NAME_MAX)),
            text(&ratio.map_or("not reached".to_owned(), three)),
            text(&chance.map_or("–".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"))),
        ]
    });
    let columns = [
        Column::Words("Number"),
        Column::Number("Forecast over measurement"),
        Column::Words("By other seeds"),
    ];
    let numbers = table("Forecast divided by measurement", &columns, ratios);
    let codes = found.codes.iter().take(CODES_MAX).map(|(name, (measured, forecast))| {
        vec![text(&clipped(name, NAME_MAX)), text(&grouped(*measured)), text(&grouped(*forecast))]
    });
    let columns = [Column::Words("Ending"), Column::Number("Measured"), Column::Number("Forecast")];
    let endings = table("How attempts ended", &columns, codes);
    vec![
        Section { id: "numbers", title: "Numbers".into(), body: numbers },
        Section { id: "endings", title: "Endings".into(), body: endings },
    ]
}
