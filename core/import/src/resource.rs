//! A resource of Azure, whoever tells of it.

use serde_json::Value;

use crate::error::Place;

/// A resource with plain values.
pub(crate) struct Resource {
    pub(crate) place: Place,
    /// Its type, in lower case.
    pub(crate) kind: String,
    /// Its name, and before it those of what it stands in.
    pub(crate) name: Vec<String>,
    /// `properties`, `sku` and what else it has.
    pub(crate) body: Value,
}

/// A service.
pub(crate) const SERVICE: &str = "microsoft.devices/provisioningservices";
/// A CA certificate of a service.
pub(crate) const CERTIFICATE: &str = "microsoft.devices/provisioningservices/certificates";
/// A hub.
pub(crate) const HUB: &str = "microsoft.devices/iothubs";
/// An authority that issues operational certificates.
pub(crate) const AUTHORITY: &str = "microsoft.deviceregistry/namespaces/certificateauthorities";
/// A policy of such an authority.
pub(crate) const POLICY: &str =
    "microsoft.deviceregistry/namespaces/certificateauthorities/certificatepolicies";

/// Whether a mock has a use for a resource of this type.
pub(crate) fn is_of_use(kind: &str) -> bool {
    [SERVICE, CERTIFICATE, HUB, AUTHORITY, POLICY].contains(&kind)
}
