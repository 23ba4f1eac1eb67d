//! A plugin that panics everywhere and one that takes its time, for the tests of the host.

#![deny(unsafe_code)]

mod slow;

use fleetstorm_plugin::{Attempt, Attestation, Decision, Error, Kept, Result, RetryStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

fleetstorm_plugin::export! {
    fleetstorm_plugin_faulty;
    retry: [PanickingRetry];
    attestation: [PanickingAttestation, slow::SlowKey, slow::SlowCertificate]
}

/// Where to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Nowhere.
    Nowhere,
    /// When it is made.
    New,
    /// When a device boots, or is made.
    First,
    /// After a failure, or when a token is wanted.
    Failure,
    /// After a success, or when a signature is wanted.
    Success,
    /// Nowhere, but a refusal when it is made.
    Refuse,
}

/// The parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to panic.
    at: Place,
    /// The failure from which it panics.
    #[serde(default)]
    from: u32,
}

fn make(config: &Config) -> Result<Place> {
    match config.at {
        Place::New => panic!("as it was told to, when made"),
        Place::Refuse => Err(Error::new("at: it was told to refuse")),
        place => Ok(place),
    }
}

/// A strategy that panics where it is told to.
pub struct PanickingRetry(Place, u32);

impl RetryStrategy for PanickingRetry {
    const ID: &'static str = "test.panicking";
    const SUMMARY: &'static str = "Panics where it is told to.";
    type Config = Config;
    type Session = [u64; 4];
    type Shared = ();

    fn new(config: Config) -> Result<Self> {
        Ok(Self(make(&config)?, config.from))
    }

    fn wait(&self, _: Kept<'_, Self>, _: &Attempt) -> Option<u64> {
        Some(1)
    }

    fn on_failure(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Decision {
        assert!(self.0 != Place::Failure || attempt.failures < self.1, "as it was told to, after a failure");
        kept.session[3] += 1;
        Decision::Wait(kept.session[3])
    }

    fn before_first_attempt(&self, _: Kept<'_, Self>, _: &Attempt) -> u64 {
        assert!(self.0 != Place::First, "as it was told to, before the first attempt");
        0
    }

    fn on_success(&self, _: Kept<'_, Self>, _: &Attempt) {
        assert!(self.0 != Place::Success, "as it was told to, after success");
    }
}

/// An attestation that panics where it is told to.
pub struct PanickingAttestation(Place);

impl Attestation for PanickingAttestation {
    const ID: &'static str = "test.panicking";
    const SUMMARY: &'static str = "Panics where it is told to.";
    type Config = Config;
    type Device = ();

    fn new(config: Config) -> Result<Self> {
        make(&config).map(Self)
    }

    fn device(&self, _: &str, _: [u64; 4]) -> Result<()> {
        assert!(self.0 != Place::First, "as it was told to, for a device");
        Ok(())
    }

    fn sign(&self, (): &(), _: u16, message: &[u8]) -> Result<Vec<u8>> {
        assert!(self.0 != Place::Success, "as it was told to, when signing");
        Ok(message.to_vec())
    }

    fn authorize(&self, (): &(), slot: u32, audience: &str, expires: u64, out: &mut String) -> Result<bool> {
        assert!(self.0 != Place::Failure, "as it was told to, when making a token");
        out.push_str(&format!("{slot} {audience} {expires}"));
        Ok(true)
    }
}
