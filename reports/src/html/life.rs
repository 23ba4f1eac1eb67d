//! The life after provisioning: who is at the hub, who came back by themselves, and who asked DPS again.

use maud::{Markup, html};

use super::completion::reduced;
use super::part::{Column, Fact, NAME_MAX, Section, facts, seconds, table};
use super::timeline::Timeline;
use super::{POINTS_MAX, ROWS_MAX};
use crate::Record;
use crate::chart::{Axis, Buckets, Chart, Ink, Layer, Room, Shape};
use crate::number::{counted, grouped, micros, percent, share};
use crate::record::Life;
use crate::text::clipped;

pub(super) fn section(record: &Record) -> Option<Section> {
    let life = record.life.as_ref().filter(|life| life.devices > 0)?;
    let body = html! {
        (facts(&headline(record, life)))
        (online(record, life))
        (returns(life))
        (refused(life))
        p.note { "A connection is made with the cache if the device did not ask DPS since it lost the one before. A \
            registration was not needed if DPS named the hub that the device had and nobody had told it to ask." }
    };
    Some(Section { id: "life", title: "Life after provisioning".into(), body })
}

/// The middle and the end of a latency, where it was measured.
fn latency(record: &Record, phase: &str) -> Option<(String, String)> {
    let phase = record.phases.iter().find(|known| known.phase == phase && known.outcome == "ok")?;
    Some((micros(phase.intended.p50_us), micros(phase.intended.p99_us)))
}

fn headline(record: &Record, life: &Life) -> Vec<Fact> {
    let mut list = vec![Fact::new(
        "Online at the end",
        percent(life.online_at_end, life.devices),
        format!("{} of {}", grouped(life.online_at_end), counted(life.devices, "device")),
    )];
    list.push(Fact::new(
        "Time online",
        share(life.online_share),
        "of all devices, from the start of the run",
    ));
    if let Some((half, most)) = latency(record, "time-to-online") {
        list.push(Fact::new("First connection", half, format!("half of the devices; 99 % {most}")));
    }
    if let Some((half, most)) = latency(record, "reconnect") {
        list.push(Fact::new("Back online after", half, format!("half of the losses; 99 % {most}")));
    }
    if life.reconnects > 0 {
        let of = format!("{} of {}", grouped(life.reconnects_cached), counted(life.reconnects, "reconnect"));
        list.push(Fact::new("From the cache", percent(life.reconnects_cached, life.reconnects), of));
    }
    if life.token_renewals > 0 {
        list.push(Fact::new(
            "Tokens renewed",
            grouped(life.token_renewals),
            "reconnects with a fresh token among them",
        ));
    }
    list.push(Fact::new(
        "Not needed",
        grouped(life.registrations_needless),
        "registrations that changed nothing",
    ));
    list
}

fn online(record: &Record, life: &Life) -> Markup {
    if life.online.is_empty() {
        return html! {};
    }
    let timeline = Timeline::of(record);
    let (online, connects) = (timeline.shown(&life.online), timeline.shown(&life.connects));
    let step_s = record.series.step_s;
    let buckets = Buckets::new(online.len(), step_s, POINTS_MAX);
    let share = |devices: u64| devices as f64 / life.devices as f64;
    let lowest = life.online.iter().copied().skip_while(|devices| *devices == 0).min().unwrap_or(0);
    let points = buckets.lows(online).into_iter().map(share).collect();
    let chart = Chart {
        id: "life-online".to_owned(),
        title: "Share of the devices at their hub".to_owned(),
        description: format!(
            "Connected at the end: {} of {}; the fewest after the first one came: {}.",
            grouped(life.online_at_end),
            counted(life.devices, "device"),
            grouped(lowest.into())
        ),
        x: timeline.axis(),
        y: Axis::share("share online"),
        layers: vec![Layer {
            name: "online".to_owned(),
            ink: Ink::Green,
            shape: Shape::Step,
            points: buckets.stairs(points),
        }],
        marks: Vec::new(),
        bands: timeline.bands(),
        cells: None,
        room: Room::Whole { height: 260 },
    };
    let rows = Buckets::new(online.len(), step_s, ROWS_MAX);
    let connects = rows.sums(connects);
    let rows = rows.lows(online).into_iter().enumerate().map(|(index, devices)| {
        let tried = connects.get(index).copied().unwrap_or(0);
        vec![seconds(rows.start_s(index)), grouped(devices), percent(devices, life.devices), grouped(tried)]
    });
    let columns = [
        Column::Number("From"),
        Column::Number("Online"),
        Column::Number("Share"),
        Column::Number("Connections tried"),
    ];
    let note = reduced(buckets, "its lowest second");
    chart.figure(&note, &table("Devices at their hub over time", &columns, rows))
}

fn returns(life: &Life) -> Markup {
    if life.returns.is_empty() {
        return html! { p { "No device that had a hub went back to DPS." } };
    }
    let rows = life.returns.iter().map(|(why, count)| {
        let what = match why.as_str() {
            "boot" => "it lost power and could not keep its assignment, or registers at every boot",
            "command" => "it was told to, by the direct method Reprovision",
            "refused" => "its hub no longer knew it",
            "patience" => "its hub stayed away for longer than the policy waits",
            _ => "",
        };
        vec![clipped(why, NAME_MAX), grouped(*count), what.to_owned()]
    });
    let columns = [Column::Words("Why"), Column::Number("Devices"), Column::Words("What it means")];
    html! {
        h3 { "Back to DPS" }
        (table("Devices with a hub that went back to DPS", &columns, rows))
        p.note { (grouped(life.moved)) " of these registrations sent a device to another hub." }
    }
}

fn refused(life: &Life) -> Markup {
    if life.refused.is_empty() {
        return html! {};
    }
    let rows = life.refused.iter().map(|(fault, count)| {
        let what = match fault.as_str() {
            "unavailable" => "the hub is out of order (MQTT return code 3)",
            "not-authorized" | "bad-credentials" => "the hub does not know the device, or not with this key",
            "closed" | "lost" => {
                "the hub closed the connection without a word, as it does when too many wait"
            }
            "connect-timeout" | "timeout" => "the hub answered too late: it shapes its traffic",
            _ => "",
        };
        let share = percent(*count, life.hub_connections);
        vec![clipped(fault, NAME_MAX), grouped(*count), share, what.to_owned()]
    });
    let columns = [
        Column::Words("How"),
        Column::Number("Connections"),
        Column::Number("Of those tried"),
        Column::Words("What it means"),
    ];
    html! {
        h3 { "Connections that failed" }
        (table("Connections with hubs that failed", &columns, rows))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn living() -> Record {
        let mut record = crate::testing::record();
        record.life = Some(Life {
            devices: 1_000,
            online_at_end: 990,
            ever_online: 1_000,
            online_share: 0.875,
            hub_connections: 3_000,
            refused: BTreeMap::from([("unavailable".to_owned(), 500), ("<b>".to_owned(), 1)]),
            reconnects: 2_000,
            reconnects_cached: 1_500,
            returns: BTreeMap::from([("boot".to_owned(), 400), ("command".to_owned(), 100)]),
            registrations_needless: 400,
            moved: 100,
            online: vec![0, 500, 1_000, 990],
            connects: vec![10, 500, 500, 0],
            ..Life::default()
        });
        record
    }

    #[test]
    fn a_page_tells_of_lives_and_every_number_stands_in_the_record() {
        let page = crate::html(&living());
        for words in [
            "Life after provisioning",
            "99 %",
            "990 of 1,000 devices",
            "87.5 %",
            "1,500 of 2,000 reconnects",
            "Reprovision",
            "out of order",
            "400",
        ] {
            assert!(page.contains(words), "{words}");
        }
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "names are text");
    }

    #[test]
    fn a_fleet_that_does_not_live_on_has_no_such_section() {
        assert!(section(&crate::testing::record()).is_none());
        assert!(!crate::summary(&crate::testing::record(), false).contains("reconnects"));
    }

    #[test]
    fn the_summary_and_the_comment_say_it_in_a_line() {
        let summary = crate::summary(&living(), false);
        assert!(summary.contains("990 of 1,000 (99 %) at their hub, 87.5 % of the time"), "{summary}");
        let comment = crate::markdown(&living());
        assert!(comment.contains("2,000 reconnects, 75 % from the cache; 400 registrations not needed."));
    }
}
