//! Attestations.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::config::{self, Error, Result};

/// Proves who a device is: by a certificate at TLS, by a signed token, or by answering a challenge.
pub trait Attestation: Sized + Send + Sync + 'static {
    /// Its name in scenarios.
    const ID: &'static str;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// Its parameters.
    type Config: DeserializeOwned + JsonSchema;
    /// One device's identity.
    type Device: Send + Sync + 'static;

    /// Checks the parameters.
    ///
    /// # Errors
    /// Says which parameter is wrong and what it may be.
    fn new(config: Self::Config) -> Result<Self>;

    /// Makes the identity of a device. `random` is the device's own and the same in every run of a seed.
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
    fn schemes(&self) -> &'static [u16] {
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
        _slot: u8,
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

/// An attestation whose types are hidden, as the host holds it.
pub trait ErasedAttestation: Send + Sync {
    /// Makes the identity of a device.
    ///
    /// # Errors
    /// The identity cannot be made.
    fn device(&self, registration_id: &str, random: [u64; 4]) -> Result<Box<dyn ErasedDevice>>;
}

/// One device's identity, as the host holds it. The methods are those of [`Attestation`].
#[allow(missing_docs, clippy::missing_errors_doc, reason = "documented at the trait that authors see")]
pub trait ErasedDevice: Send + Sync {
    fn certificates(&self) -> Vec<Vec<u8>>;
    fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>>;
    fn schemes(&self) -> &'static [u16];
    fn enrol(&self) -> Option<String>;
    fn authorize(&self, slot: u8, audience: &str, expires_unix_secs: u64, out: &mut String) -> Result<bool>;
    fn answer(&self, challenge: &[u8]) -> Result<()>;
}

struct Erased<A>(std::sync::Arc<A>);

struct Member<A: Attestation> {
    attestation: std::sync::Arc<A>,
    device: A::Device,
}

impl<A: Attestation> ErasedAttestation for Erased<A> {
    fn device(&self, registration_id: &str, random: [u64; 4]) -> Result<Box<dyn ErasedDevice>> {
        let device = self.0.device(registration_id, random)?;
        Ok(Box::new(Member { attestation: self.0.clone(), device }))
    }
}

impl<A: Attestation> ErasedDevice for Member<A> {
    fn certificates(&self) -> Vec<Vec<u8>> {
        self.attestation.certificates(&self.device)
    }

    fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>> {
        self.attestation.sign(&self.device, scheme, message)
    }

    fn schemes(&self) -> &'static [u16] {
        self.attestation.schemes()
    }

    fn enrol(&self) -> Option<String> {
        self.attestation.enrol(&self.device)
    }

    fn authorize(&self, slot: u8, audience: &str, expires_unix_secs: u64, out: &mut String) -> Result<bool> {
        self.attestation.authorize(&self.device, slot, audience, expires_unix_secs, out)
    }

    fn answer(&self, challenge: &[u8]) -> Result<()> {
        self.attestation.answer(&self.device, challenge)
    }
}

pub(crate) fn create<A: Attestation>(json: &str) -> Result<Box<dyn ErasedAttestation>> {
    let config = config::read(config::members(json)?)?;
    Ok(Box::new(Erased(std::sync::Arc::new(A::new(config)?))))
}
