//! Attestations whose keys live in slow hardware: every signature takes 50 ms, and its thread.

use std::time::Duration;

use fleetstorm_plugin::{Attestation, Result};
use fleetstorm_plugin_symmetric_key::SymmetricKey;
use fleetstorm_plugin_x509::X509;

const TAKES: Duration = Duration::from_millis(50);

fn wait_for_hardware() {
    std::thread::park_timeout(TAKES);
}

/// The shipped attestation by key, with a slow key.
pub(crate) struct SlowKey(SymmetricKey);

impl Attestation for SlowKey {
    const ID: &'static str = "test.slow-key";
    const SUMMARY: &'static str = "Signs tokens in 50 ms.";
    const MAY_BLOCK: bool = true;
    type Config = <SymmetricKey as Attestation>::Config;
    type Device = <SymmetricKey as Attestation>::Device;

    fn new(config: Self::Config) -> Result<Self> {
        SymmetricKey::new(config).map(Self)
    }

    fn device(&self, registration_id: &str, random: [u64; 4]) -> Result<Self::Device> {
        self.0.device(registration_id, random)
    }

    fn authorize(
        &self,
        device: &Self::Device,
        slot: u32,
        audience: &str,
        expires_unix_secs: u64,
        out: &mut String,
    ) -> Result<bool> {
        wait_for_hardware();
        self.0.authorize(device, slot, audience, expires_unix_secs, out)
    }
}

/// The shipped attestation by certificate, with a slow key.
pub(crate) struct SlowCertificate(X509);

impl Attestation for SlowCertificate {
    const ID: &'static str = "test.slow-certificate";
    const SUMMARY: &'static str = "Signs handshakes in 50 ms.";
    const MAY_BLOCK: bool = true;
    const CERTIFICATES: bool = true;
    type Config = <X509 as Attestation>::Config;
    type Device = <X509 as Attestation>::Device;

    fn new(config: Self::Config) -> Result<Self> {
        X509::new(config).map(Self)
    }

    fn device(&self, registration_id: &str, random: [u64; 4]) -> Result<Self::Device> {
        self.0.device(registration_id, random)
    }

    fn certificates(&self, device: &Self::Device) -> Vec<Vec<u8>> {
        self.0.certificates(device)
    }

    fn schemes(&self) -> &[u16] {
        self.0.schemes()
    }

    fn sign(&self, device: &Self::Device, scheme: u16, message: &[u8]) -> Result<Vec<u8>> {
        wait_for_hardware();
        self.0.sign(device, scheme, message)
    }
}
