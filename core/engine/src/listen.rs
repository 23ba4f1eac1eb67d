//! Hearing what some devices do, line by line.

use std::sync::{Arc, Mutex, PoisonError};

use fleetstorm_files::Lines;
use fleetstorm_model::device::{LifeEvent, Observation};
use fleetstorm_units::time::Moment;

use crate::event::Event;

/// Lines that are kept: a strategy that never waits makes a long life.
pub(crate) const LINES_MAX: usize = 10_000;

/// What device number `device` did or met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) device: u32,
    pub(crate) at: Moment,
    pub(crate) event: Event,
}

/// Hears what some devices do.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// Their numbers, ascending; `None` for all that are watched anyway.
    pub(crate) devices: Option<Arc<[u32]>>,
    pub(crate) ear: Ear,
}

/// What becomes of what was heard.
#[derive(Clone, Debug)]
pub(crate) enum Ear {
    /// Stands for whatever can panic while a device is driven.
    #[cfg(test)]
    Collapses,
    Story(Arc<Mutex<Vec<Line>>>),
    Trace(Lines<Line>),
}

impl Listener {
    /// Panics at the first thing that the device does.
    #[cfg(test)]
    pub(crate) fn collapsing(device: u32) -> Self {
        Self { devices: Some([device].into()), ear: Ear::Collapses }
    }

    /// Whether it asks for this device by its number, whoever else is watched.
    pub(crate) fn asks_for(&self, device: u32) -> bool {
        self.devices.as_ref().is_some_and(|devices| devices.binary_search(&device).is_ok())
    }

    /// Whether it hears a device that is watched.
    pub(crate) fn hears(&self, device: u32) -> bool {
        self.devices.is_none() || self.asks_for(device)
    }

    /// A device was given power.
    pub(crate) fn power_on(&self, device: u32, now: Moment) {
        self.add(Line { device, at: now, event: Event::PowerOn });
    }

    pub(crate) fn hear(&self, device: u32, now: Moment, observation: &Observation<'_>) {
        self.add(Line { device, at: now, event: Event::of(now, observation) });
    }

    pub(crate) fn hear_life(&self, device: u32, now: Moment, event: LifeEvent) {
        if let Some(event) = Event::of_life(now, event) {
            self.add(Line { device, at: now, event });
        }
    }

    fn add(&self, line: Line) {
        match &self.ear {
            #[cfg(test)]
            Ear::Collapses => panic!("the listener collapsed"),
            Ear::Trace(lines) => lines.add(line),
            Ear::Story(story) => {
                let mut story = story.lock().unwrap_or_else(PoisonError::into_inner);
                if story.len() < LINES_MAX {
                    story.push(line);
                }
            }
        }
    }
}
