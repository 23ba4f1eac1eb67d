//! Strategies side by side: ranking, front, pairs and curves.

use maud::{Markup, html};

use super::part::{Column, Fact, NAME_MAX, SENTENCE_MAX, Section, facts, seconds, table, text};
use crate::analysis::{Against, Comparison, Effect, Finding, SIGNIFICANT, Standing, seeds_needed};
use crate::chart::{Axis, Chart, Ink, Layer, Mark, Room, Shape};
use crate::number::{grouped, number, percent};
use crate::text::clipped;

/// More throttles or strategies than this are no comparison that a person reads.
const THROTTLES_MAX: usize = 8;
const STRATEGIES_MAX: usize = 24;

/// The card at the top.
pub(super) fn card(comparison: &Comparison) -> Markup {
    let strategies = comparison.throttles.first().map_or(0, |against| against.strategies.len());
    html! {
        header class={ "verdict " (super::tone(&comparison.conclusion)) } #verdict {
            p.eyebrow { "Fleetstorm comparison" }
            h1 { (clipped(&comparison.name, NAME_MAX)) }
            (super::notice(&comparison.conclusion))
            @if comparison.seeds > 0 { p.sentence { (sentence(comparison)) } }
            (facts(&[
                Fact::new("Strategies", strategies.to_string(), "the first one is the baseline"),
                Fact::new("Throttles", comparison.throttles.len().to_string(), "each with the same seeds"),
                Fact::new("Seeds", comparison.seeds.to_string(), "a run is the replicate"),
                Fact::new("Devices", grouped(comparison.devices), "in each run"),
            ]))
        }
    }
}

/// What is recommended against each throttle: the fastest of the strategies that brought the whole fleet in.
pub(crate) fn sentence(comparison: &Comparison) -> String {
    let lead = |against: &Against| {
        let throttle = clipped(&against.throttle, NAME_MAX);
        let Some(best) = against.recommended() else {
            return format!("against {throttle} no strategy brought the whole fleet to its hub in every run");
        };
        let t99 = best.median.t99_s.map_or("–".to_owned(), seconds);
        let calls = best.median.amplification.unwrap_or_default();
        let name = clipped(&best.strategy, NAME_MAX);
        let like = match not_told_apart(against, best) {
            0 => String::new(),
            others => format!(", not clearly faster than {others} of the others"),
        };
        format!(
            "against {throttle} {name} is the fastest that brought the whole fleet in (99 % after {t99}, {calls:.1} \
             registrations a success{like})"
        )
    };
    let leads: Vec<String> = comparison.throttles.iter().take(THROTTLES_MAX).map(lead).collect();
    format!("Of medians over {} seeds: {}.", comparison.seeds, leads.join("; "))
}

/// How many strategies that brought the whole fleet in as well are not clearly slower.
fn not_told_apart(against: &Against, best: &Standing) -> usize {
    let place =
        |standing: &Standing| against.strategies.iter().position(|other| std::ptr::eq(other, standing));
    let Some(best) = place(best) else { return 0 };
    let slower = |other: usize| {
        against.pairs.iter().any(|pair| match (pair.one, pair.other) {
            places if places == (best, other) => pair.verdict == Finding::Better,
            places if places == (other, best) => pair.verdict == Finding::Worse,
            _ => false,
        })
    };
    let others =
        against.strategies.iter().enumerate().filter(|(at, standing)| *at != best && standing.is_whole());
    others.filter(|(at, _)| !slower(*at)).count()
}

pub(super) fn sections(comparison: &Comparison) -> Vec<Section> {
    const IDS: [&str; THROTTLES_MAX] = [
        "throttle-1",
        "throttle-2",
        "throttle-3",
        "throttle-4",
        "throttle-5",
        "throttle-6",
        "throttle-7",
        "throttle-8",
    ];
    let mut all: Vec<Section> = comparison
        .throttles
        .iter()
        .zip(IDS)
        .map(|(against, id)| Section {
            id,
            title: clipped(&against.throttle, NAME_MAX).into(),
            body: body(against, id, comparison),
        })
        .collect();
    all.push(Section { id: "method", title: "Method".into(), body: method(comparison) });
    all
}

/// Those that brought the whole fleet in by T99, then the others, those that did not reach it last.
pub(crate) fn ranked(against: &Against) -> Vec<&Standing> {
    let mut ranked: Vec<&Standing> = against.strategies.iter().take(STRATEGIES_MAX).collect();
    let key = |standing: &Standing| standing.median.t99_s.unwrap_or(f64::INFINITY);
    ranked.sort_by(|a, b| b.is_whole().cmp(&a.is_whole()).then(key(a).total_cmp(&key(b))));
    ranked
}

fn body(against: &Against, id: &str, comparison: &Comparison) -> Markup {
    html! {
        (ranking(against, comparison.horizon_s))
        @if let Some(why) = too_few(comparison.seeds, against.tests()) { p.note { (why) } }
        div.pair { (scatter(against, id)) (matrix(against)) }
        h3 { "Completion of each strategy" }
        div.pair { @for (place, standing) in ranked(against).into_iter().enumerate() { (curve(against, standing, id, place)) } }
    }
}

fn ranking(against: &Against, horizon_s: Option<f64>) -> Markup {
    let columns = [
        Column::Words("Strategy"),
        Column::Number("99 % after"),
        Column::Number("Against the baseline"),
        Column::Number("50 % after"),
        Column::Number("Efficiency"),
        Column::Number("Registers a success"),
        Column::Number("Retry peak, × quota"),
        Column::Number("Gave up"),
        Column::Words("Front"),
    ];
    let shown = |value: Option<f64>, of: fn(f64) -> String| value.map_or("–".to_owned(), of);
    let time = |value: Option<f64>| match (value, horizon_s) {
        (Some(value), _) => seconds(value),
        (None, Some(horizon_s)) => format!("≥ {}", seconds(horizon_s)),
        (None, None) => "–".to_owned(),
    };
    let baseline = against.strategies.first();
    let unjudged = |standing: &Standing| {
        text(if baseline.is_some_and(|base| std::ptr::eq(base, standing)) {
            "baseline"
        } else {
            "not judged"
        })
    };
    let rows = ranked(against).into_iter().map(|standing| {
        vec![
            html! {
                (clipped(&standing.strategy, NAME_MAX))
                @if standing.unreached > 0 {
                    span.under { "99 % not reached in " (standing.unreached) " of " (standing.runs.len()) " runs" }
                }
            },
            text(&time(standing.median.t99_s)),
            standing.t99_effect().map_or_else(|| unjudged(standing), change),
            text(&time(standing.median.t50_s)),
            text(&shown(standing.median.efficiency, |value| format!("{value:.2}"))),
            text(&shown(standing.median.amplification, |value| format!("{value:.2}"))),
            text(&shown(standing.median.retry_peak, number)),
            text(&shown(standing.median.given_up, |value| format!("{:.1} %", value * 100.0))),
            text(if standing.pareto { "★" } else { "" }),
        ]
    });
    html! {
        (table("Strategies by the time until 99 % of the fleet had a hub", &columns, rows))
        p.note { "★ marks the Pareto front of the strategies that brought the whole fleet in: no other of them is at least \
            as good in all of 99 % after, registers a success and retry peak, and better in one. ≥ is a bound: the time \
            was not reached before the horizon." }
    }
}

const fn word(finding: Finding) -> (&'static str, &'static str) {
    match finding {
        Finding::Better => ("better", "better"),
        Finding::Worse => ("worse", "worse"),
        Finding::NoClearDifference => ("", "no clear difference"),
        Finding::Undecided => ("", "cannot be told"),
    }
}

fn change(effect: &Effect) -> Markup {
    let (class, word) = word(effect.verdict);
    html! {
        span class=(class) { (word) }
        @let told = |value: f64| format!("{value:+.1}");
        span.under { (effect.difference.told(told)) " s " (effect.difference.interval(told)) }
    }
}

/// Time against calls: what lies to the left of and below all others is best.
fn scatter(against: &Against, id: &str) -> Markup {
    let points: Vec<(&Standing, f64, f64)> = ranked(against)
        .into_iter()
        .filter_map(|standing| Some((standing, standing.median.t99_s?, standing.median.amplification?)))
        .collect();
    let dots = |front: bool, name: &str, ink| Layer {
        name: name.to_owned(),
        ink,
        shape: Shape::Dots,
        points: points
            .iter()
            .filter(|point| point.0.pareto == front)
            .map(|point| (point.1, point.2))
            .collect(),
    };
    let layers: Vec<Layer> = [dots(true, "on the front", Ink::Blue), dots(false, "beaten", Ink::Grey)]
        .into_iter()
        .filter(|layer| !layer.points.is_empty())
        .collect();
    let max = |of: fn(&(&Standing, f64, f64)) -> f64| points.iter().map(of).fold(0.0, f64::max);
    let marks = points
        .iter()
        .filter(|point| point.0.pareto)
        .map(|(standing, x, y)| Mark { x: *x, y: *y, label: clipped(&standing.strategy, 22) })
        .collect();
    let chart = Chart {
        id: format!("{id}-front"),
        title: "Time against calls".to_owned(),
        description: format!(
            "{} strategies by the time until 99 % online and the registers that a success took.",
            points.len()
        ),
        x: Axis::duration("99 % online after", max(|point| point.1) * 1.05),
        y: calls_axis(points.iter().map(|point| point.2)),
        layers,
        marks,
        bands: Vec::new(),
        cells: None,
        room: Room::Half,
    };
    let columns =
        [Column::Words("Strategy"), Column::Number("99 % after"), Column::Number("Registers a success")];
    let rows = points
        .iter()
        .map(|(standing, x, y)| vec![clipped(&standing.strategy, NAME_MAX), seconds(*x), format!("{y:.2}")]);
    chart.figure("Left and low is good.", &table("Time and calls of each strategy", &columns, rows))
}

/// A strategy that hammers would press all others to the ground, so then factors are equally far apart.
fn calls_axis(values: impl Iterator<Item = f64>) -> Axis {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0f64), |(least, most), value| (least.min(value), most.max(value)));
    if least > 0.0 && most > 8.0 * least {
        Axis::log("registers a success", least * 0.8, most * 1.2)
    } else {
        Axis::linear("registers a success", most)
    }
}

/// Why no difference can be clear, however large.
pub(crate) fn too_few(seeds: u32, tests: usize) -> Option<String> {
    let enough = seeds_needed(tests);
    (tests > 0 && seeds < enough).then(|| {
        format!(
            "{seeds} seeds are too few for any difference to be called clear, however large it is: the test of {tests} \
             differences needs {enough}; set seeds = {enough} under [compare]."
        )
    })
}

/// Every strategy against every other one.
fn matrix(against: &Against) -> Markup {
    let names: Vec<String> = against
        .strategies
        .iter()
        .take(STRATEGIES_MAX)
        .map(|standing| clipped(&standing.strategy, NAME_MAX))
        .collect();
    if against.pairs.is_empty() || names.len() < 2 {
        return html! {};
    }
    let numbers: Vec<String> = (1..=names.len()).map(|number| number.to_string()).collect();
    let mut columns = vec![Column::Words("Faster than")];
    columns.extend(numbers.iter().map(|number| Column::Words(number)));
    let rows = names.iter().enumerate().map(|(one, name)| {
        let mut row = vec![html! { (one + 1) " " (name) }];
        row.extend((0..names.len()).map(|other| cell(against, one, other)));
        row
    });
    html! {
        div {
            (table("Which strategy reached 99 % faster than which", &columns, rows))
            p.note { "✓ clearly faster than the strategy of that number, ✕ clearly slower, = no clear difference, \
                ? cannot be told (randomisation test for pairs, Holm-adjusted over everything that is tested against this \
                throttle). The small number is the adjusted p." }
        }
    }
}

fn cell(against: &Against, one: usize, other: usize) -> Markup {
    let known = against.pairs.iter().find_map(|pair| match (pair.one, pair.other) {
        places if places == (one, other) => Some((pair.verdict, pair.p)),
        places if places == (other, one) => Some((opposite(pair.verdict), pair.p)),
        _ => None,
    });
    let Some((verdict, p)) = known else { return text("·") };
    let (class, sign, word) = match verdict {
        Finding::Better => ("better", "✓", "faster"),
        Finding::Worse => ("worse", "✕", "slower"),
        Finding::NoClearDifference => ("", "=", "no clear difference"),
        Finding::Undecided => ("", "?", "cannot be told"),
    };
    html! {
        span class=(class) { span aria-hidden="true" { (sign) } span.unseen { (word) } }
        span.under { (if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") }) }
    }
}

const fn opposite(finding: Finding) -> Finding {
    match finding {
        Finding::Better => Finding::Worse,
        Finding::Worse => Finding::Better,
        same @ (Finding::NoClearDifference | Finding::Undecided) => same,
    }
}

/// One of the small multiples: the same axes for every strategy.
fn curve(against: &Against, standing: &Standing, id: &str, place: usize) -> Markup {
    let shares = |of: &Standing| {
        let median = &of.median;
        [(median.t50_s, 0.5), (median.t90_s, 0.9), (median.t99_s, 0.99), (median.t100_s, 1.0)]
    };
    let until_s = against
        .strategies
        .iter()
        .flat_map(|standing| shares(standing).into_iter().filter_map(|(at, _)| at))
        .fold(1.0, f64::max);
    let reached: Vec<(f64, f64)> =
        shares(standing).into_iter().filter_map(|(at, share)| Some((at?, share))).collect();
    let points = std::iter::once((0.0, 0.0)).chain(reached.iter().copied()).collect();
    let chart = Chart {
        id: format!("{id}-curve-{place}"),
        title: clipped(&standing.strategy, NAME_MAX),
        description: format!(
            "The medians of the times until 50, 90, 99 and 100 % had a hub; {} were reached.",
            reached.len()
        ),
        x: Axis::elapsed(until_s),
        y: Axis::share("share of the fleet"),
        layers: vec![Layer {
            name: "assigned".to_owned(),
            ink: if standing.pareto { Ink::Blue } else { Ink::Grey },
            shape: Shape::Line,
            points,
        }],
        marks: Vec::new(),
        bands: Vec::new(),
        cells: None,
        room: Room::Half,
    };
    let rows = reached.iter().map(|(at, share)| vec![percent((share * 1_000.0) as u64, 1_000), seconds(*at)]);
    chart.figure("", &table("Medians", &[Column::Number("Share"), Column::Number("After")], rows))
}

/// What the numbers of a comparison mean, one thing a line.
pub(crate) fn method_lines(comparison: &Comparison) -> Vec<String> {
    let mut lines = vec![
        "A star marks the Pareto front of T99, amplification and retry peak, among the strategies that brought the whole \
         fleet in. Only these are recommended."
            .to_owned(),
        format!(
            "Differences are medians of paired runs with a 95 % bootstrap interval. One counts if its interval lies beyond \
             {:.0} % of the baseline and the randomisation test rejects equality (p below {SIGNIFICANT}); else it is a tie (=).",
            comparison.margin * 100.0
        ),
        "p is adjusted after Holm over everything that is tested against one throttle: every strategy in T99, amplification \
         and retry peak, and every pair in T99. So any wrong claim against one throttle has a chance of 5 % at most; several \
         throttles are several such tables."
            .to_owned(),
        "A time that was not reached is at least the horizon (≥), and so are differences from it bounds. Where a bound does \
         not decide, nothing is claimed (?)."
            .to_owned(),
        "Numbers are the model's, medians over the runs.".to_owned(),
    ];
    let tests = comparison.throttles.iter().map(Against::tests).max().unwrap_or(0);
    lines.extend(too_few(comparison.seeds, tests));
    lines
}

fn method(comparison: &Comparison) -> Markup {
    html! {
        ul.methods {
            li { "Every strategy ran against every throttle with the same seeds: the same boots, network and assignment \
                times. Runs of a seed are pairs, and what differs is the strategy." }
            @for line in method_lines(comparison) { li { (line) } }
            li { "The baseline is " (clipped(&comparison.baseline, SENTENCE_MAX)) "." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_that_cannot_tell_says_how_many_seeds_it_needs() {
        assert_eq!(too_few(20, 6), None);
        assert!(too_few(5, 6).unwrap().contains("needs 8"));
        assert!(too_few(1, 1).unwrap().contains("needs 6"));
        assert_eq!(too_few(1, 0), None);
        // By trial: the least p of n pairs, times the tests, below 0.05.
        for tests in 1..200usize {
            let enough = (1..).find(|n| 2.0 / f64::from(1 << n) * (tests as f64) < 0.05).unwrap();
            assert_eq!(seeds_needed(tests), enough, "{tests}");
        }
    }
}
