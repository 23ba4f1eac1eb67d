//! What a simulated device asks of its surroundings, and tells them.
//!
//! This is the only place where the simulator meets a strategy.

use fleetstorm_model::chaos::Deciding;
use fleetstorm_model::device::{
    Answered, Attempt, Decision, Host, HubAttempt, LifeEvent, LifeHost, Observation,
};
use fleetstorm_plugin_host::Retry;
use fleetstorm_protocol::Registration;
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::Moment;

use super::faults::Faults;
use crate::record::Recorder;

/// What one device asks and tells.
pub(super) struct Around<'a> {
    pub(super) recorder: &'a mut Recorder,
    pub(super) session: &'a mut [u8],
    pub(super) retry: &'a Retry,
    pub(super) draws: &'a mut u32,
    pub(super) wait_max_ns: &'a mut u64,
    pub(super) seed: Seed,
    pub(super) device: u32,
    pub(super) faults: Option<&'a mut Faults>,
    /// Hosts of the hubs, by number.
    pub(super) hubs: &'a [String],
}

impl Around<'_> {
    /// The draws of this device's strategy, in the order in which it is asked.
    /// With `equal_seeds` they are those of device 0.
    fn random(&mut self, equal_seeds: bool) -> [u64; 2] {
        let count = *self.draws;
        *self.draws = count.wrapping_add(1);
        let device = if equal_seeds { 0 } else { self.device };
        self.seed.pair(Purpose::Retry, u64::from(device), count)
    }

    /// What faults make of the device's own decision, where there are faults.
    fn deciding(&mut self, attempt: &Attempt) -> Option<Deciding> {
        let device = self.device;
        self.faults.as_mut().map(|faults| faults.decide(attempt, device))
    }

    /// A number that stays with the device from run to run.
    fn hash(&self) -> u64 {
        Seed(0).draw(Purpose::DeviceHash, self.device, 0)
    }
}

impl Host for Around<'_> {
    fn admit(&mut self, attempt: &Attempt) -> Decision {
        let equal_seeds = self.deciding(attempt).is_some_and(|deciding| deciding.equal_seeds);
        let (hash, random) = (self.hash(), self.random(equal_seeds));
        self.retry.admit(self.session, hash, random, attempt)
    }

    fn decide(&mut self, attempt: &Attempt) -> Decision {
        let hash = self.hash();
        let Some(deciding) = self.deciding(attempt) else {
            let random = self.random(false);
            return self.retry.decide(self.session, hash, random, attempt);
        };
        if let Some(wait) = deciding.wait {
            return Decision::Wait(wait);
        }
        let random = self.random(deciding.equal_seeds);
        let failures = attempt.failures.saturating_add(deciding.failures);
        self.retry.decide(self.session, hash, random, &Attempt { failures, ..*attempt })
    }

    fn answered(&mut self, answer: impl FnOnce() -> Attempt, assigned: bool) -> Answered {
        if !self.retry.paces_polls() {
            return Answered::AsUsual;
        }
        let (hash, random) = (self.hash(), self.random(false));
        self.retry.answered(self.session, hash, random, (&answer(), assigned))
    }

    fn settled(&mut self, attempt: &Attempt) {
        let (hash, random) = (self.hash(), self.random(false));
        self.retry.settled(self.session, hash, random, attempt);
    }

    fn poll_jitter(&mut self, attempt: u32) -> u64 {
        self.seed.draw(Purpose::Poll, self.device, attempt)
    }

    #[inline(always)]
    fn observe(&mut self, now: Moment, observation: Observation<'_>) {
        match observation {
            Observation::BackedOff { wait, .. } => {
                *self.wait_max_ns = (*self.wait_max_ns).max(wait.as_nanos());
            }
            Observation::Assigned { .. } => {
                if let Some(faults) = &mut self.faults {
                    faults.assigned(now);
                }
            }
            _ => {}
        }
        self.recorder.observe(self.device as usize, now, observation);
    }
}

impl LifeHost for Around<'_> {
    fn hub_number(&mut self, registration: &Registration) -> Option<u16> {
        let host = registration.assigned_hub.as_deref()?;
        u16::try_from(self.hubs.iter().position(|hub| hub == host)?).ok()
    }

    fn chance(&mut self, count: u32) -> u64 {
        self.seed.draw(Purpose::Life, self.device, count)
    }

    fn decide_at_hub(&mut self, attempt: &HubAttempt) -> Option<Decision> {
        if !self.retry.decides_at_hub() {
            return None;
        }
        let (hash, random) = (self.hash(), self.random(false));
        let decision = self.retry.decide_at_hub(self.session, hash, random, attempt);
        if decision == Decision::Faulted {
            self.recorder.plugin_failed(self.device as usize);
        }
        Some(decision)
    }

    fn let_in(&mut self, attempt: &HubAttempt) {
        if self.retry.decides_at_hub() {
            let (hash, random) = (self.hash(), self.random(false));
            self.retry.let_in(self.session, hash, random, attempt);
        }
    }

    fn lived(&mut self, now: Moment, event: LifeEvent) {
        if event == LifeEvent::PowerLost {
            self.session.fill(0);
        }
        self.recorder.lived(self.device as usize, now, event);
    }
}
