//! What a request of a device brings along.

/// The body of a register or lookup request.
#[derive(Clone, Debug)]
pub enum Submission<'a> {
    /// A `DeviceRegistration`.
    Read {
        /// `registrationId`, if the body has one.
        registration_id: Option<std::borrow::Cow<'a, str>>,
        /// Whether there was a `csr`.
        csr: bool,
        /// `payload`, as its JSON text.
        payload: Option<&'a str>,
    },
    /// The media type is not JSON: 415.
    WrongMediaType,
    /// It is too long, is not JSON or has members of the wrong type: 400.
    Unreadable,
}

/// The keys that a registration names for its TPM, each a TPM2B_PUBLIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmKeys {
    /// `endorsementKey`: who the TPM is.
    pub endorsement_key: Box<[u8]>,
    /// `storageRootKey`: what keys are imported beneath.
    pub storage_root_key: Option<Box<[u8]>>,
}
