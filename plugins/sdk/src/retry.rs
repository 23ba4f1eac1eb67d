//! Retry strategies.

use bytemuck::Pod;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::attempt::{Advice, Attempt};
use crate::config::Result;
use crate::decision::{Answered, Decision};

/// Decides what a device does after a failure, and when it makes its first attempt.
///
/// An author writes [`RetryStrategy::wait`]; the other methods have defaults that follow the reference client.
pub trait RetryStrategy: Sized + Send + Sync + 'static {
    /// Its name in scenarios: a-z, 0-9, `-` and `.`.
    const ID: &'static str;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// Whether the host keeps its waits above `Retry-After` and the reference client's floor, unless the scenario says
    /// otherwise. A strategy that is to be studied as it is says no.
    const GUARDED: bool = false;
    /// What it must be told about the fleet; reports call a strategy that is told something an informed one.
    const NEEDS: Needs = Needs::NOTHING;
    /// Whether it is a model of other software; reports say so.
    const MODEL: bool = false;
    /// Whether it is asked about answers that are no failures, through [`RetryStrategy::on_answer`].
    const PACES_POLLS: bool = false;
    /// Whether it decides about failures at the hub, through [`RetryStrategy::on_hub_failure`]; otherwise the policy profile
    /// does.
    const DECIDES_AT_HUB: bool = false;
    /// Who shares [`RetryStrategy::Shared`].
    const SCOPE: Scope = Scope::Device;
    /// Its parameters. Their documentation becomes the schema's.
    type Config: DeserializeOwned + JsonSchema;
    /// What it remembers of a device, at most 256 bytes. Zero when a device boots without its memory. `()` for nothing.
    type Session: Memory;
    /// What the devices of its scope remember together. Zero when the run starts. `()` for nothing, which goes with
    /// [`Scope::Device`].
    type Shared: Memory;

    /// Checks the parameters.
    ///
    /// # Errors
    /// Says which parameter is wrong and what it may be.
    fn new(config: Self::Config) -> Result<Self>;

    /// How long to wait after a failure that waiting can cure, in nanoseconds; `None` to give up.
    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64>;

    /// What to do after any failure. By default: what the reference client does, with the waits of
    /// [`RetryStrategy::wait`].
    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        match attempt.advice {
            Advice::Retry => self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Wait),
            Advice::Restart => self.wait(kept, attempt).map_or(Decision::NEVER, Decision::Restart),
            Advice::Renew => Decision::Restart(0),
            Advice::Park => Decision::GiveUp { rearm_ns: attempt.park_ns },
        }
    }

    /// How long after its boot a device makes its first attempt, in nanoseconds.
    fn before_first_attempt(&self, _kept: Kept<'_, Self>, _attempt: &Attempt) -> u64 {
        0
    }

    /// What to do about an answer that is no failure: the service is still assigning, or [`Attempt::assigned`].
    fn on_answer(&self, _kept: Kept<'_, Self>, _answer: &Attempt) -> Answered {
        Answered::AsUsual
    }

    /// What to do after the hub refused the device, or its connection could not be made or ended. [`Decision::Wait`] and
    /// [`Decision::UseCachedHub`] try the hub again, [`Decision::SwitchCredential`] with the next credential;
    /// [`Decision::Restart`] registers anew. Giving up without a time lasts until the device loses its power.
    ///
    /// [`Attempt::failures`] counts failures in a row since the device was last let in or assigned.
    fn on_hub_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        self.wait(kept, attempt).map_or(Decision::NEVER, Decision::UseCachedHub)
    }

    /// The device has its hub. With [`Operation::Hub`](crate::Operation::Hub), its hub has let it in: only a strategy that
    /// decides at the hub is told that.
    fn on_success(&self, _kept: Kept<'_, Self>, _attempt: &Attempt) {}
}

/// Plain data that the host keeps for a strategy: any bytes are a value of it, zeros in particular.
///
/// Implemented by integers, floats, arrays of them and `()`; a struct of them is `#[repr(C)]` and derives
/// [`bytemuck::Pod`] and [`bytemuck::Zeroable`].
pub trait Memory: Pod + Send {}

impl<T: Pod + Send> Memory for T {}

/// What the host keeps for a strategy, lent for one call.
pub struct Kept<'a, S: RetryStrategy> {
    /// What it remembers of this device.
    pub session: &'a mut S::Session,
    /// What the devices of its scope remember together.
    pub shared: &'a mut S::Shared,
}

/// Who shares what a strategy remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scope {
    /// Nobody: every device decides for itself.
    Device = 0,
    /// The devices of a cohort.
    Cohort = 1,
    /// All devices that use the strategy with the same parameters.
    Fleet = 2,
}

/// What a strategy must be told about the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// How many devices there are.
    pub fleet_size: bool,
    /// How many registrations a minute the service allows.
    pub quota: bool,
}

impl Needs {
    /// Nothing.
    pub const NOTHING: Self = Self { fleet_size: false, quota: false };
    /// Both.
    pub const ALL: Self = Self { fleet_size: true, quota: true };
}
