//! The JSON bodies of the enrollment API (`dps` 16.2).

mod read;
mod write;

pub(super) use read::initial_twin;
pub use read::{read_bulk, read_draft, read_query};
pub(super) use write::resource;
pub use write::write_administered;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An enrollment or group; one shape for both, and for both directions.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment_group_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<Cow<'a, str>>,
    /// Read-only: what a client sends back is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_state: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    optional_device_information: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation: Option<WireAttestation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<WireCapabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iot_hub_host_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_twin: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provisioning_status: Option<WireStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reprovision_policy: Option<WireReprovision>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    created_date_time_utc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    last_updated_date_time_utc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation_policy: Option<WireAllocation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iot_hubs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_allocation_definition: Option<WireCustom<'a>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireAttestation<'a> {
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm: Option<WireTpm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x509: Option<WireX509<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symmetric_key: Option<WireKeys<'a>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireTpm<'a> {
    endorsement_key: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_root_key: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireX509<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificates: Option<WireCertificates<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_certificates: Option<WireCertificates<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_references: Option<WireReferences<'a>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct WireReferences<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    primary: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct WireCertificates<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    primary: Option<WireCertificate<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary: Option<WireCertificate<'a>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct WireCertificate<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    info: Option<WireInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireInfo {
    subject_name: String,
    sha1_thumbprint: String,
    sha256_thumbprint: String,
    issuer_name: String,
    not_before_utc: String,
    not_after_utc: String,
    serial_number: String,
    version: u32,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireKeys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary_key: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct WireCapabilities {
    iot_edge: bool,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum WireStatus {
    Enabled,
    Disabled,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireReprovision {
    update_hub_assignment: bool,
    migrate_device_data: bool,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum WireAllocation {
    Hashed,
    GeoLatency,
    Static,
    Custom,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireCustom<'a> {
    webhook_url: Cow<'a, str>,
    api_version: Cow<'a, str>,
}

#[cfg(test)]
#[path = "service_json/tests.rs"]
mod tests;
