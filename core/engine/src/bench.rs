//! What the benchmarks need of the inside; no part of the interface.

use fleetstorm_model::device::Observation;
use fleetstorm_net::governor::Brake;
use fleetstorm_protocol::outcome::Outcome;
use fleetstorm_protocol::{Operation, RetryAfter, Status};
use fleetstorm_units::time::{Moment, Span};

use crate::record::{Recorder, Rest};

/// A recorder of `devices` that run.
pub struct Recording {
    recorder: Recorder,
    devices: usize,
    next: usize,
    now: Moment,
}

impl Recording {
    /// A shard's recorder.
    pub fn new(devices: usize) -> Self {
        let rest = Rest::new(devices as u64, Brake::default(), Moment::FAR);
        let mut recorder = Recorder::new(vec![0; devices], 1, std::sync::Arc::default(), rest);
        for device in 0..devices {
            recorder.booted(device, Moment::START);
        }
        Self { recorder, devices, next: 0, now: Moment::START }
    }

    /// Records that the next device sent a request and that it was throttled: two observations.
    pub fn request(&mut self) {
        let device = self.next;
        self.next = (device * 7 + 1) % self.devices;
        let sent = self.now;
        self.now += Span::from_micros(37 + (device as u64 & 1_023));
        let sending = Observation::Sent { operation: Operation::Register, intended: sent };
        self.recorder.observe(device, sent, sending);
        let outcome = Outcome::Answered { status: Status::TOO_MANY_REQUESTS, code: 429_001 };
        self.recorder.observe(
            device,
            self.now,
            Observation::Ended {
                assigned: false,
                operation: Operation::Register,
                intended: sent,
                started: sent,
                outcome,
                retry_after: RetryAfter::Absent,
            },
        );
    }
}
