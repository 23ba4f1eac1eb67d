//! The places among the devices on their way, where a scenario limits how many there are.

use std::collections::VecDeque;

use fleetstorm_units::time::Moment;

/// A device that waits for a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) device: u32,
    /// When it asked.
    pub(super) asked: Moment,
    /// Whether it goes on after parking, rather than boots.
    pub(super) wakes: bool,
}

/// Who has a place, and who waits for one. A device that ends or parks gives its place back, whatever brought it there.
pub(super) struct Places {
    free: u32,
    /// By device.
    taken: Vec<bool>,
    queue: VecDeque<Held>,
}

impl Places {
    pub(super) fn new(limit: u32, devices: u32) -> Self {
        Self { free: limit, taken: vec![false; devices as usize], queue: VecDeque::new() }
    }

    /// Gives a device a place if there is one; else it waits for its turn.
    pub(super) fn ask(&mut self, device: u32, now: Moment, wakes: bool) -> bool {
        if self.free == 0 {
            self.queue.push_back(Held { device, asked: now, wakes });
            return false;
        }
        self.free -= 1;
        self.taken[device as usize] = true;
        true
    }

    /// A device needs its place no more, if it has one.
    pub(super) fn free(&mut self, device: u32) {
        if std::mem::take(&mut self.taken[device as usize]) {
            self.free += 1;
        }
    }

    /// The device that has waited longest, if there is a place for it.
    pub(super) fn next(&mut self) -> Option<Held> {
        if self.free > 0 { self.queue.pop_front() } else { None }
    }
}
