//! The mock's heart: what DPS does with a request.
//!
//! [`Service::handle`] takes a request, the evidence that came with it and the time, and returns the reply. It
//! keeps enrollments, throttle meters, operations and registration records; it knows no socket and no
//! cryptography. Whether a token or a certificate chain is genuine it asks of the [`Evidence`].
//!
//! The order of the checks is that of `dps` 17.1.

pub mod access;
mod admission;
mod allocation;
mod answer;
mod assignment;
mod certificates;
mod chaos;
mod config;
mod connection;
mod counters;
mod desk;
mod enrollments;
mod hub;
mod issuance;
mod issuer;
pub mod log;
mod machine;
pub mod metrics;
mod outage;
mod placement;
mod quota;
mod record;
mod registrations;
mod renewal;
mod store;
#[cfg(test)]
mod testing;
pub mod throttle;
mod tpm;
mod trusted;
mod webhook;
mod wording;

pub use answer::{Answer, Answered, Handled, Query, Ticket};
pub use config::{Assignment, Config, ConfigError, Hub, NamedCertificate, Overlap, Region, Sweep, Tier};
pub use counters::Counters;
pub use hub::{HubCounters, HubEvent, Standing, Welcome, device_key};
pub use issuance::{Authority, Chain, Issuance, IssuancePolicy, KeyKind, Renewal, WithoutPolicy};
pub use issuer::{CertificateRequest, IssuanceCall, IssuanceTicket};
pub use machine::Service;
pub use outage::{Failure, Outage};
pub use trusted::TrustedCas;
pub use webhook::{WebhookAsk, WebhookTicket};

use fleetstorm_protocol::enrollment::{CaCertificate, SymmetricKey};
use fleetstorm_protocol::{OperationId, Submission, TpmKeys, Transport};

/// A request as a door understood it. What the door could not understand is part of the value, because the
/// service, not the door, decides which mistake is named first.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `api-version` of the query string, user name or link, if there was one.
    pub api_version: Option<&'a str>,
    /// The id scope as it was spelled, percent-decoded.
    pub id_scope: &'a str,
    /// The registration id as it was spelled, percent-decoded.
    pub registration_id: &'a str,
    /// What is asked for.
    pub call: Call<'a>,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub enum Call<'a> {
    /// `PUT …/register`.
    Register(Submission<'a>),
    /// `GET …/operations/{id}`. A body is ignored, because real clients send one.
    Poll(OperationId),
    /// `POST …/registrations/{id}`.
    Lookup(Submission<'a>),
    /// The path exists and the method does not: 405.
    WrongMethod,
    /// No such path: 404.
    NoSuchPath,
}

/// What the service asks about the evidence that came with a request.
///
/// The doors implement it with real cryptography, the simulator by knowing the truth.
pub trait Evidence {
    /// What the request came by.
    fn transport(&self) -> Transport {
        Transport::Https
    }

    /// The SAS token's claims, if the request carried one that can be read.
    fn token(&self) -> Token<'_>;

    /// The token's policy name, `skn`; empty where it has none. Devices' tokens need none, operators' do.
    fn policy(&self) -> &str {
        ""
    }

    /// Whether the token is signed with `key`, or, if `derived_for` is given, with the device key derived from it
    /// for that registration id.
    fn signed_with(&self, key: &SymmetricKey, derived_for: Option<&str>) -> bool;

    /// The leaf certificate that the client proved possession of in the TLS handshake.
    fn certificate(&self) -> Option<&Certificate>;

    /// How many certificates lie between the leaf and `ca` (0: `ca` signed the leaf) on a way from the leaf, by what the
    /// device presented, to one of `trusted`; `None` if there is no such way that holds at `unix_secs`.
    fn signed_by(&self, ca: &CaCertificate, trusted: &TrustedCas, unix_secs: u64) -> Option<u8>;

    /// What a request for a certificate in DER, PKCS#10, asks for; `None` if it is none, is not signed with the key that it
    /// is for, or is for a kind of key that nobody takes.
    fn certificate_request(&self, _der: &[u8]) -> Option<CertificateRequest> {
        None
    }

    /// The keys of the TPM that the request names, if it does. Naming proves nothing.
    fn tpm(&self) -> Option<TpmKeys> {
        None
    }

    /// A challenge that hands `key` to the TPM of these keys and to nobody else; `None` if it cannot be made, because one
    /// of them is no key of a TPM.
    fn challenge(
        &self,
        _endorsement_key: &[u8],
        _storage_root_key: &[u8],
        _key: &SymmetricKey,
    ) -> Option<Box<[u8]>> {
        None
    }
}

/// The SAS token of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// There is none.
    Absent,
    /// There is something that is no SAS token.
    Unreadable,
    /// A token; its signature is not checked yet.
    Claims {
        /// What it is for.
        resource: Resource<'a>,
        /// Expiry in seconds since the Unix epoch.
        expires_unix_secs: u64,
    },
}

/// What a SAS token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A decoded resource, such as `0ne00ABCDEF/registrations/dev-1`.
    Spelled(&'a str),
    /// The very registration that the request is about, known without spelling it.
    Own,
}

/// The facts of a leaf certificate that the service judges by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name.
    pub common_name: String,
    /// SHA-256 of the DER.
    pub sha256: [u8; 32],
    /// Start of its validity, seconds since the Unix epoch.
    pub not_before_unix_secs: i64,
    /// End of its validity, seconds since the Unix epoch.
    pub not_after_unix_secs: i64,
    /// The id of its device, if it was issued by the service.
    pub device_uid: Option<u128>,
}
