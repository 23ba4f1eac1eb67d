//! Attestations.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::config::{Error, Result};

/// Proves who a device is: by a certificate at TLS, by a signed token, or by answering a challenge.
pub trait Attestation: Sized + Send + Sync + 'static {
    /// Its name in scenarios.
    const ID: &'static str;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// Whether signing may wait for hardware; the host then asks off its event loop.
    const MAY_BLOCK: bool = false;
    /// Whether there is no token until a challenge has been answered.
    const CHALLENGED: bool = false;
    /// Whether devices present certificates at TLS.
    const CERTIFICATES: bool = false;
    /// Its parameters.
    type Config: DeserializeOwned + JsonSchema;
    /// One device's identity.
    type Device: Send + Sync + 'static;

    /// Checks the parameters.
    ///
    /// # Errors
    /// Says which parameter is wrong and what it may be.
    fn new(config: Self::Config) -> Result<Self>;

    /// Makes the identity of a device. `random` is the device's own and the same in every run of a seed. A challenged
    /// device that goes on to its hub is made twice: each answers its own challenge and keeps the key that it carried.
    ///
    /// # Errors
    /// The identity cannot be made.
    fn device(&self, registration_id: &str, random: [u64; 4]) -> Result<Self::Device>;

    /// The certificate chain presented at TLS as DER, leaf first; empty for none.
    fn certificates(&self, _device: &Self::Device) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Signs a TLS handshake with the leaf's key under an IANA signature scheme.
    ///
    /// # Errors
    /// The key cannot sign, or not with this scheme.
    fn sign(&self, _device: &Self::Device, _scheme: u16, _message: &[u8]) -> Result<Vec<u8>> {
        Err(Error::new("this attestation has no TLS key"))
    }

    /// The TLS signature schemes that [`Attestation::sign`] offers, best first.
    fn schemes(&self) -> &[u16] {
        &[]
    }

    /// Members to add to the body of a registration, as JSON text without braces.
    fn enrol(&self, _device: &Self::Device) -> Option<String> {
        None
    }

    /// Appends a SAS token for `audience` that is valid until `expires_unix_secs`, signed with credential `slot`;
    /// returns whether this attestation uses tokens.
    ///
    /// # Errors
    /// The token cannot be signed.
    fn authorize(
        &self,
        _device: &Self::Device,
        _slot: u32,
        _audience: &str,
        _expires_unix_secs: u64,
        _out: &mut String,
    ) -> Result<bool> {
        Ok(false)
    }

    /// Takes up a challenge; tokens are signed with what it carried from then on.
    ///
    /// # Errors
    /// The challenge is not for this device.
    fn answer(&self, _device: &Self::Device, _challenge: &[u8]) -> Result<()> {
        Err(Error::new("this attestation expects no challenge"))
    }
}
