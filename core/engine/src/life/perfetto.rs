//! A trace as what a viewer of timelines opens: <https://ui.perfetto.dev>, or any other reader of the Trace Event Format.
//!
//! Each device is a track with what it waits for, one after the other; faults and outages are tracks above them.

use std::collections::BTreeMap;
use std::path::Path;

use fleetstorm_reports::Record;
use fleetstorm_units::time::{Moment, Span};
use serde_json::{Value, json};

use super::trace::{TraceError, read};
use crate::event::{Ending, Event};

/// Groups of tracks, in the order in which they are shown.
const FAULTS: u32 = 1;
const DEVICES: u32 = 2;

/// A trace of a record's run in the Trace Event Format (JSON; times in microseconds since the run's start).
///
/// # Errors
/// The trace cannot be read, is damaged, or is of another run.
pub fn perfetto(path: &Path, record: &Record) -> Result<String, TraceError> {
    let mut out = Tracks::default();
    out.group(FAULTS, "Faults and outages");
    out.group(DEVICES, &record.name);
    let end = Moment::from_nanos(record.duration_ns);
    let until = |until: Option<u64>| until.map_or(end, Moment::from_nanos);
    let mut bands: Vec<(&str, Moment, Moment)> = Vec::new();
    for fault in &record.chaos.faults {
        let windows = fault.windows.iter();
        bands.extend(windows.map(|at| (&*fault.name, Moment::from_nanos(at.from_ns), until(at.until_ns))));
    }
    let outages = record.outages.iter();
    bands.extend(outages.map(|at| (&*at.name, Moment::from_nanos(at.from_ns), until(at.until_ns))));
    for (name, from, until) in bands {
        let track = out.track(FAULTS, name);
        out.slice((FAULTS, track), name, from, until.since(from), &json!({}));
    }

    let mut devices: BTreeMap<String, Device> = BTreeMap::new();
    read(path, record, |name, at, event| {
        if !devices.contains_key(name) {
            let track = out.track(DEVICES, name);
            devices.insert(name.to_owned(), Device { track, waits: None, online: None });
        }
        if let Some(device) = devices.get_mut(name) {
            device.take(at, &event, &mut out);
        }
        Ok(())
    })?;
    for device in devices.values_mut() {
        device.go_on(end, &mut out);
        device.leave(end, &mut out);
    }
    Ok(out.finish())
}

/// A device's track, and what it is in the middle of.
struct Device {
    track: u32,
    /// What it waits for: since when, until when, why.
    waits: Option<(Moment, Moment, String)>,
    online: Option<Moment>,
}

impl Device {
    fn take(&mut self, at: Moment, event: &Event, out: &mut Tracks) {
        let took = |took: Span| (Moment::START + at.since(Moment::START + took), took);
        match event {
            Event::Connected { took_ns, fault } => {
                let name = fault.map_or("connect".to_owned(), |fault| format!("connect: {}", fault.name()));
                self.did(took(*took_ns), &name, event, out);
            }
            Event::Ended { operation, took_ns, ending, .. } => {
                let name = match ending {
                    Ending::Answered { status, code: 0, .. } => format!("{}: {}", operation.name(), status.0),
                    Ending::Answered { code, .. } => format!("{}: {code}", operation.name()),
                    Ending::Broke { fault } => format!("{}: {}", operation.name(), fault.name()),
                };
                self.did(took(*took_ns), &name, event, out);
            }
            Event::HubTried { took_ns, fault } => {
                let name = fault.map_or("hub".to_owned(), |fault| format!("hub: {}", fault.name()));
                self.did(took(*took_ns), &name, event, out);
            }
            Event::BackedOff { wait_ns, .. } => {
                self.go_on(at, out);
                self.waits = Some((at, at + *wait_ns, "back-off".to_owned()));
            }
            Event::Stopped { class, rearm_after_ns: Some(wait) } => {
                self.go_on(at, out);
                self.waits = Some((at, at + *wait, format!("parked: {}", class.name())));
            }
            Event::Online { .. } => {
                self.go_on(at, out);
                self.online = Some(at);
            }
            Event::Offline { .. } => self.leave(at, out),
            Event::PowerLost => {
                self.go_on(at, out);
                self.leave(at, out);
                out.instant(self.track, at, event);
            }
            // Its end tells all of it.
            Event::Sent { .. } => {}
            _ => out.instant(self.track, at, event),
        }
    }

    fn did(&mut self, (began, took): (Moment, Span), name: &str, event: &Event, out: &mut Tracks) {
        self.go_on(began, out);
        out.slice((DEVICES, self.track), name, began, took, &json!({ "what": event.told() }));
    }

    /// Ends what it waits for, at the latest now: slices of a track lie beside each other or in each other.
    fn go_on(&mut self, now: Moment, out: &mut Tracks) {
        if let Some((began, end, why)) = self.waits.take() {
            out.slice((DEVICES, self.track), &why, began, end.min(now).since(began), &json!({}));
        }
    }

    fn leave(&mut self, now: Moment, out: &mut Tracks) {
        if let Some(began) = self.online.take() {
            out.slice((DEVICES, self.track), "online", began, now.since(began), &json!({}));
        }
    }
}

/// Events as they are written.
#[derive(Default)]
struct Tracks {
    text: String,
    tracks: u32,
}

impl Tracks {
    fn add(&mut self, event: &Value) {
        self.text.push_str(if self.text.is_empty() { "" } else { ",\n" });
        self.text.push_str(&event.to_string());
    }

    fn group(&mut self, group: u32, name: &str) {
        self.add(&json!({ "ph": "M", "name": "process_name", "pid": group, "args": { "name": name } }));
        self.add(&json!({ "ph": "M", "name": "process_sort_index", "pid": group, "args": { "sort_index": group } }));
    }

    fn track(&mut self, group: u32, name: &str) -> u32 {
        self.tracks += 1;
        let track = self.tracks;
        self.add(&json!({ "ph": "M", "name": "thread_name", "pid": group, "tid": track, "args": { "name": name } }));
        track
    }

    fn slice(&mut self, (group, track): (u32, u32), name: &str, began: Moment, took: Span, more: &Value) {
        let (ts, dur) = (micros(began.since(Moment::START)), micros(took));
        self.add(&json!({ "ph": "X", "name": name, "pid": group, "tid": track, "ts": ts, "dur": dur, "args": more }));
    }

    fn instant(&mut self, track: u32, at: Moment, event: &Event) {
        let ts = micros(at.since(Moment::START));
        self.add(
            &json!({ "ph": "i", "s": "t", "name": event.told(), "pid": DEVICES, "tid": track, "ts": ts }),
        );
    }

    fn finish(self) -> String {
        format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", self.text)
    }
}

fn micros(span: Span) -> f64 {
    span.as_nanos() as f64 / 1e3
}
