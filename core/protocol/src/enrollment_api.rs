//! The service plane: enrollments and registrations as an operator's tools manage them (`dps` 16).
//!
//! A request as the door understood it, and the answer; how both are spelled is the business of [`crate::http`].

use std::sync::Arc;

use fleetstorm_units::time::Span;
use serde_json::Value;

use crate::certificate::CertificateInfo;
use crate::enrollment::{
    AllocationPolicy, Attestation, CustomAllocation, Group, Individual, ReprovisionPolicy, SymmetricKey,
};
use crate::{ErrorBody, Registration, RetryAfter, Status};

/// Most items of one bulk request.
pub const BULK_MAX: usize = 10;

/// Which enrollments a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/enrollments`.
    Individual,
    /// `/enrollmentGroups`.
    Group,
}

/// A request to the enrollment API.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `api-version` of the query string.
    pub api_version: Option<&'a str>,
    /// The host that the request was sent to; a token must be for it.
    pub host: &'a str,
    /// `If-Match`, as it was spelled.
    pub if_match: Option<&'a str>,
    /// What is asked for.
    pub call: Call<'a>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Call<'a> {
    /// `GET /enrollments/{id}`.
    Get(Kind, &'a str),
    /// `PUT /enrollments/{id}`.
    Put(Kind, &'a str, Box<Document<Draft>>),
    /// `DELETE /enrollments/{id}`.
    Delete(Kind, &'a str),
    /// `POST /enrollments/{id}/attestationmechanism`.
    Mechanism(Kind, &'a str),
    /// `POST /enrollments`.
    Bulk(Kind, Document<Bulk>),
    /// `POST /enrollments/query`.
    Query(Kind, Document<()>, Page<'a>),
    /// `GET /registrations/{id}`.
    GetRegistration(&'a str),
    /// `DELETE /registrations/{id}`.
    DeleteRegistration(&'a str),
    /// `POST /registrations/{group}/query`.
    QueryRegistrations(&'a str, Document<()>, Page<'a>),
    /// The path exists and the method does not: 405.
    WrongMethod,
    /// No such path: 404.
    NoSuchPath,
}

/// A body, as far as it could be understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Document<T> {
    /// It says this.
    Read(T),
    /// Its media type is not JSON: 415.
    WrongMediaType,
    /// It is no JSON, or not of the right shape: 400.
    Unreadable,
}

/// Many changes in one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Bulk {
    /// What is to be done with each item.
    pub mode: BulkMode,
    /// The items by their ids; `None` where an item is not of the right shape.
    pub items: Vec<(String, Option<Draft>)>,
}

/// What a bulk request does with its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMode {
    /// Creates; what exists is a conflict.
    Create,
    /// Replaces; what does not exist is not found.
    Update,
    /// Replaces what still has the item's ETag.
    UpdateIfMatchEtag,
    /// Deletes.
    Delete,
}

/// An enrollment or group as a request describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// `registrationId` or `enrollmentGroupId`.
    pub id: String,
    /// `deviceId`.
    pub device_id: Option<String>,
    /// `optionalDeviceInformation`.
    pub information: Option<Box<Value>>,
    /// `attestation`.
    pub attestation: DraftAttestation,
    /// `provisioningStatus`.
    pub enabled: bool,
    /// `allocationPolicy`.
    pub allocation: Option<AllocationPolicy>,
    /// `iotHubHostName`.
    pub hub: Option<String>,
    /// `iotHubs`.
    pub hubs: Vec<String>,
    /// `customAllocationDefinition`.
    pub custom: Option<CustomAllocation>,
    /// `reprovisionPolicy`.
    pub reprovision: ReprovisionPolicy,
    /// `initialTwin`.
    pub initial_twin: Option<Arc<Value>>,
    /// `capabilities.iotEdge`.
    pub edge: bool,
    /// `etag`, which only a bulk request looks at.
    pub etag: Option<String>,
}

/// An attestation as a request describes it. What it leaves out is kept from the enrollment that it replaces.
#[derive(Clone, Debug, PartialEq)]
pub enum DraftAttestation {
    /// `symmetricKey`.
    SymmetricKey(DraftKeys<SymmetricKey>),
    /// `x509.clientCertificates`, DER.
    ClientCertificates(DraftKeys<Vec<u8>>),
    /// `x509.signingCertificates`, DER.
    SigningCertificates(DraftKeys<Vec<u8>>),
    /// `x509.caReferences`: names of CA certificates of the instance.
    CaReferences {
        /// The primary one.
        primary: String,
        /// The secondary one.
        secondary: Option<String>,
    },
    /// `tpm`.
    Tpm {
        /// `endorsementKey`, decoded.
        endorsement_key: Box<[u8]>,
        /// `storageRootKey`, decoded.
        storage_root_key: Option<Box<[u8]>>,
    },
}

/// A primary and a secondary one, as far as they were given.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftKeys<T> {
    /// The primary one.
    pub primary: Option<T>,
    /// The secondary one.
    pub secondary: Option<T>,
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page<'a> {
    /// `x-ms-max-item-count`, as it was spelled.
    pub max_items: Option<&'a str>,
    /// `x-ms-continuation`: where the page before ended.
    pub continuation: Option<&'a str>,
}

/// An enrollment or group as the API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// What it says.
    pub value: Enrolled,
    /// The facts of its certificates, primary first.
    pub certificates: [Option<CertificateInfo>; 2],
    /// `createdDateTimeUtc` in nanoseconds since the Unix epoch.
    pub created_unix_ns: u64,
    /// `lastUpdatedDateTimeUtc` in nanoseconds since the Unix epoch.
    pub updated_unix_ns: u64,
    /// The ETag with its quotes.
    pub etag: String,
    /// `registrationState` of an individual enrollment whose device has registered.
    pub registration: Option<Registration>,
}

/// An enrollment of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Enrolled {
    /// Of one device.
    Individual(Individual),
    /// Of many devices.
    Group(Group),
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Administered {
    /// Its status.
    pub status: Status,
    /// When to come back, if a quota refused it.
    pub retry_after: RetryAfter,
    /// Its body.
    pub content: Content,
    /// How long a shaping queue held the request.
    pub delay: Span,
    /// The request's id, `x-ms-request-id`.
    pub request_id: u128,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// None.
    Empty,
    /// One enrollment or group.
    Resource(Box<Resource>),
    /// An attestation with its keys, and the facts of its certificates.
    Mechanism(Box<(Attestation, [Option<CertificateInfo>; 2])>),
    /// What became of a bulk request.
    Bulk(Kind, Vec<BulkError>),
    /// A page of enrollments or groups.
    Resources(Kind, Vec<Resource>, Option<String>),
    /// One registration.
    Registration(Box<Registration>),
    /// A page of registrations.
    Registrations(Vec<Registration>, Option<String>),
    /// The request was refused.
    Error(ErrorBody),
}

/// An item of a bulk request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkError {
    /// The item's id.
    pub id: String,
    /// The six-digit code.
    pub code: u32,
}
