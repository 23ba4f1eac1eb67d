//! How a fleet went through registration: what was asked, what came of it, and who came back.

use maud::Markup;

use super::part::{Column, NAME_MAX, table};
use crate::Record;
use crate::chart::{Arrow, Flow, Ink, Label, Station, flow_figure};
use crate::number::{counted, grouped};
use crate::record::Passage;
use crate::text::clipped;

const ID: &str = "registration-flow";
const TITLE: &str = "Registration flow";
/// A record of this version has 16.
const ROWS_MAX: usize = 64;

/// The numbers of the drawing.
struct Counts<'a> {
    record: &'a Record,
    /// Devices that sent a first registration.
    first: u64,
    /// Registrations and status lookups that were not a device's first.
    again: u64,
    polls: u64,
    /// The most that goes along one arrow.
    most: u64,
}

/// The ways through registration, with their numbers; absent where the record does not have them.
pub(super) fn figure(record: &Record) -> Option<Markup> {
    if record.flow.is_empty() {
        return None;
    }
    let totals = &record.totals;
    let first = record.series.first.iter().fold(0u64, |sum, count| sum.saturating_add((*count).into()));
    let mut counts = Counts {
        record,
        first,
        again: totals.registers.saturating_sub(first),
        polls: totals.requests.saturating_sub(totals.registers),
        most: 0,
    };
    counts.most = record.flow.iter().map(|way| way.times).fold(first.max(counts.again), u64::max);
    let description = format!(
        "{} sent {} and {}; {} and {} were throttled, {} followed; with a hub at the end: {}.",
        counted(totals.booted, "device"),
        counted(totals.registers, "registration"),
        counted(counts.polls, "poll"),
        counted(counts.times(REGISTER, "throttled"), "registration"),
        counted(counts.times(POLL, "throttled"), "poll"),
        counted(counts.times(FAILURE, "back-off"), "wait"),
        counted(totals.assigned, "device"),
    );
    let columns =
        [Column::Words("From"), Column::Words("To"), Column::Number("Times"), Column::Number("Devices")];
    let rows =
        std::iter::once(["power on".to_owned(), "register".to_owned(), grouped(first), grouped(first)])
            .chain(record.flow.iter().take(ROWS_MAX).map(row));
    let note = "Arrows are as thick as requests are many. A status lookup counts as a registration, as the quota counts \
                it. Again: every registration after a device's first one.";
    Some(flow_figure(
        ID,
        TITLE,
        &description,
        &[counts.wide(), counts.narrow()],
        note,
        &table("Ways through registration", &columns, rows.map(Vec::from)),
    ))
}

fn row(way: &Passage) -> [String; 4] {
    let step = |name: &str| clipped(name, NAME_MAX);
    [step(&way.from), step(&way.to), grouped(way.times), grouped(way.devices)]
}

const REGISTER: &[&str] = &["register", "lookup"];
const POLL: &[&str] = &["poll"];
const FAILURE: &[&str] = &["failure"];
const CONNECT: &[&str] = &["connect"];

impl Counts<'_> {
    fn ways<'a>(&'a self, from: &'a [&str], to: &'a str) -> impl Iterator<Item = &'a Passage> {
        self.record.flow.iter().filter(move |way| from.contains(&&*way.from) && way.to == to)
    }

    fn times(&self, from: &[&str], to: &str) -> u64 {
        self.ways(from, to).fold(0, |sum, way| sum.saturating_add(way.times))
    }

    /// Devices that went one way; unknown where several are drawn as one.
    fn devices(&self, from: &[&str], to: &str) -> Option<u64> {
        let mut ways = self.ways(from, to);
        let only = ways.next()?;
        ways.next().is_none().then_some(only.devices)
    }

    fn booted(&self, place: [f64; 4]) -> Station {
        let booted = self.record.totals.booted;
        Station { place, lines: vec!["Power on".into(), counted(booted, "device")] }
    }

    fn register(&self, place: [f64; 4]) -> Station {
        let mut lines = vec!["Register".into(), counted(self.record.totals.registers, "request")];
        let lookups = self.record.flow.iter().filter(|way| way.from == "lookup");
        let lookups = lookups.fold(0u64, |sum, way| sum.saturating_add(way.times));
        let challenged = self.times(REGISTER, "challenged");
        if lookups > 0 {
            lines.push(counted(lookups, "status lookup"));
        } else if challenged > 0 {
            lines.push(counted(challenged, "challenge"));
        }
        Station { place, lines }
    }

    fn poll(&self, place: [f64; 4]) -> Station {
        let mut lines = vec!["Poll".into(), counted(self.polls, "request")];
        let still = self.times(POLL, "assigning");
        if still > 0 {
            lines.push(format!("{} too early", grouped(still)));
        }
        Station { place, lines }
    }

    fn assigned(&self, place: [f64; 4]) -> Station {
        let mut lines = vec!["Assigned".into(), counted(self.record.totals.assigned, "device")];
        let at_once = self.times(REGISTER, "assigned");
        if at_once > 0 {
            lines.push(format!("{} without a poll", grouped(at_once)));
        }
        Station { place, lines }
    }

    fn back_off(&self, place: [f64; 4]) -> Station {
        let mut lines = vec!["Back-off".into(), counted(self.times(FAILURE, "back-off"), "wait")];
        if let Some(devices) = self.devices(FAILURE, "back-off") {
            lines.push(format!("of {}", counted(devices, "device")));
        }
        Station { place, lines }
    }

    fn stopped(&self, place: [f64; 4]) -> Station {
        let stopped = self.record.totals.stopped;
        Station { place, lines: vec!["Stopped".into(), counted(stopped, "device")] }
    }

    /// An arrow that nothing went along is left out.
    fn arrow(
        &self,
        times: u64,
        ink: Ink,
        points: &[(f64, f64)],
        labels: impl FnOnce(String) -> Vec<Label>,
    ) -> Option<Arrow> {
        let share = times as f64 / self.most.max(1) as f64;
        (times > 0).then(|| Arrow { points: points.to_vec(), ink, share, labels: labels(grouped(times)) })
    }

    /// Left to right, with what went wrong below.
    fn wide(&self) -> Flow {
        let across = |x: f64, word: &'static str| {
            move |times: String| {
                vec![
                    label((x, 60.0), "middle", times, false),
                    label((x, 92.0), "middle", word.to_owned(), true),
                ]
            }
        };
        let down = |from: &'static [&'static str], to: &'static str, at: (f64, f64), anchor: &'static str| {
            move |times: String| {
                let mut labels = vec![label(at, anchor, format!("{times} {to}"), false)];
                if let Some(devices) = self.devices(from, to) {
                    let text = format!("by {}", counted(devices, "device"));
                    labels.push(label((at.0, at.1 + 15.0), anchor, text, true));
                }
                labels
            }
        };
        let arrows = [
            self.arrow(self.first, Ink::Blue, &[(124.0, 74.0), (214.0, 74.0)], across(166.0, "first")),
            self.arrow(
                self.times(REGISTER, "assigning"),
                Ink::Green,
                &[(364.0, 74.0), (466.0, 74.0)],
                across(412.0, "accepted"),
            ),
            self.arrow(
                self.times(POLL, "assigned"),
                Ink::Green,
                &[(600.0, 74.0), (700.0, 74.0)],
                across(646.0, "assigned"),
            ),
            self.arrow(
                self.times(CONNECT, "failed"),
                Ink::Vermilion,
                &[(62.0, 110.0), (62.0, 244.0), (214.0, 244.0)],
                |times| {
                    vec![
                        label((74.0, 218.0), "start", times, false),
                        label((74.0, 233.0), "start", "no connection".into(), true),
                    ]
                },
            ),
            self.arrow(
                self.times(REGISTER, "throttled"),
                Ink::Orange,
                &[(232.0, 110.0), (232.0, 214.0)],
                down(REGISTER, "throttled", (222.0, 146.0), "end"),
            ),
            self.arrow(
                self.times(REGISTER, "failed"),
                Ink::Vermilion,
                &[(346.0, 110.0), (346.0, 214.0)],
                down(REGISTER, "failed", (356.0, 136.0), "start"),
            ),
            self.arrow(self.again, Ink::Blue, &[(289.0, 214.0), (289.0, 110.0)], |times| {
                vec![
                    label((289.0, 186.0), "middle", times, false),
                    label((289.0, 201.0), "middle", "again".into(), true),
                ]
            }),
            self.arrow(
                self.times(POLL, "throttled"),
                Ink::Orange,
                &[(490.0, 110.0), (490.0, 214.0)],
                down(POLL, "throttled", (480.0, 182.0), "end"),
            ),
            self.arrow(
                self.times(POLL, "failed"),
                Ink::Vermilion,
                &[(576.0, 110.0), (576.0, 214.0)],
                down(POLL, "failed", (586.0, 146.0), "start"),
            ),
            self.arrow(
                self.times(FAILURE, "stopped"),
                Ink::Grey,
                &[(600.0, 246.0), (700.0, 246.0)],
                |times| {
                    vec![
                        label((646.0, 232.0), "middle", times, false),
                        label((646.0, 264.0), "middle", "gave up".into(), true),
                    ]
                },
            ),
        ];
        let stations = vec![
            self.booted([0.5, 38.0, 123.0, 72.0]),
            self.register([214.0, 38.0, 150.0, 72.0]),
            self.poll([466.0, 38.0, 134.0, 72.0]),
            self.assigned([700.0, 38.0, 139.5, 72.0]),
            self.back_off([214.0, 214.0, 386.0, 66.0]),
            self.stopped([700.0, 214.0, 139.5, 66.0]),
        ];
        Flow {
            class: "wide",
            top: 30.0,
            width: 840.0,
            height: 256.0,
            stations,
            arrows: arrows.into_iter().flatten().collect(),
        }
    }

    /// Top to bottom, with what went wrong on the right.
    fn narrow(&self) -> Flow {
        let below = |y: f64, word: &'static str| {
            move |times: String| vec![label((72.0, y), "start", format!("{times} {word}"), false)]
        };
        let across = |y: f64, word: &'static str| {
            move |times: String| {
                vec![
                    label((182.0, y - 9.0), "middle", times, false),
                    label((182.0, y + 16.0), "middle", word.to_owned(), true),
                ]
            }
        };
        let right = |y: f64| [(128.0, y), (240.0, y)];
        let arrows = [
            self.arrow(self.first, Ink::Blue, &[(60.0, 48.0), (60.0, 100.0)], below(75.0, "first")),
            self.arrow(
                self.times(CONNECT, "failed"),
                Ink::Vermilion,
                &[(128.0, 24.0), (292.0, 24.0), (292.0, 100.0)],
                |times| {
                    vec![
                        label((282.0, 46.0), "end", times, false),
                        label((282.0, 61.0), "end", "no connection".into(), true),
                    ]
                },
            ),
            self.arrow(
                self.times(REGISTER, "throttled"),
                Ink::Orange,
                &right(120.0),
                across(120.0, "throttled"),
            ),
            self.arrow(
                self.times(REGISTER, "failed"),
                Ink::Vermilion,
                &right(162.0),
                across(162.0, "failed"),
            ),
            self.arrow(self.again, Ink::Blue, &[(240.0, 204.0), (128.0, 204.0)], across(204.0, "again")),
            self.arrow(
                self.times(REGISTER, "assigning"),
                Ink::Green,
                &[(60.0, 224.0), (60.0, 276.0)],
                below(253.0, "accepted"),
            ),
            self.arrow(self.times(POLL, "throttled"), Ink::Orange, &right(294.0), across(294.0, "throttled")),
            self.arrow(self.times(POLL, "failed"), Ink::Vermilion, &right(336.0), across(336.0, "failed")),
            self.arrow(
                self.times(POLL, "assigned"),
                Ink::Green,
                &[(60.0, 356.0), (60.0, 420.0)],
                below(384.0, "assigned"),
            ),
            self.arrow(
                self.times(FAILURE, "stopped"),
                Ink::Grey,
                &[(292.0, 356.0), (292.0, 420.0)],
                |times| vec![label((282.0, 404.0), "end", format!("{times} gave up"), false)],
            ),
        ];
        let stations = vec![
            self.booted([0.5, 0.5, 127.5, 47.5]),
            self.register([0.5, 100.0, 127.5, 124.0]),
            self.poll([0.5, 276.0, 127.5, 80.0]),
            self.assigned([0.5, 420.0, 127.5, 59.5]),
            self.back_off([240.0, 100.0, 103.5, 256.0]),
            self.stopped([240.0, 420.0, 103.5, 59.5]),
        ];
        Flow {
            class: "narrow",
            top: 0.0,
            width: 344.0,
            height: 480.0,
            stations,
            arrows: arrows.into_iter().flatten().collect(),
        }
    }
}

fn label(at: (f64, f64), anchor: &'static str, text: String, soft: bool) -> Label {
    Label { at, anchor, text, soft }
}
