//! Trying a strategy without a host.

use crate::attempt::Attempt;
use crate::config::{self, Result};
use crate::decision::{Answered, Decision};
use crate::retry::{Kept, RetryStrategy};

/// A strategy with the memory of one device.
pub struct Trial<S: RetryStrategy> {
    /// The strategy.
    pub strategy: S,
    /// What it remembers of the device.
    pub session: S::Session,
    /// What the devices of its scope remember together.
    pub shared: S::Shared,
}

impl<S: RetryStrategy> Trial<S> {
    /// Makes a strategy from its configuration, as the host does.
    ///
    /// # Errors
    /// The strategy refuses the configuration.
    pub fn new(config_json: &str) -> Result<Self> {
        Ok(Self {
            strategy: S::new(config::read(config_json.as_bytes())?)?,
            session: bytemuck::Zeroable::zeroed(),
            shared: bytemuck::Zeroable::zeroed(),
        })
    }

    /// The device reboots and loses its memory.
    pub fn reboot(&mut self) {
        self.session = bytemuck::Zeroable::zeroed();
    }

    /// What the device does after a failure.
    pub fn fail(&mut self, attempt: &Attempt) -> Decision {
        self.strategy.on_failure(Kept { session: &mut self.session, shared: &mut self.shared }, attempt)
    }

    /// What the device makes of an answer that is no failure.
    pub fn answer(&mut self, answer: &Attempt) -> Answered {
        self.strategy.on_answer(Kept { session: &mut self.session, shared: &mut self.shared }, answer)
    }

    /// What the device does after a failure at its hub.
    pub fn fail_at_hub(&mut self, attempt: &Attempt) -> Decision {
        self.strategy.on_hub_failure(Kept { session: &mut self.session, shared: &mut self.shared }, attempt)
    }

    /// How long after its boot the device makes its first attempt.
    pub fn boot(&mut self, attempt: &Attempt) -> u64 {
        self.strategy
            .before_first_attempt(Kept { session: &mut self.session, shared: &mut self.shared }, attempt)
    }

    /// The device has its hub.
    pub fn succeed(&mut self, attempt: &Attempt) {
        self.strategy.on_success(Kept { session: &mut self.session, shared: &mut self.shared }, attempt);
    }
}
