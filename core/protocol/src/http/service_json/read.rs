//! Bodies of requests. Whatever a client sends becomes a [`Document`].

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Wire, WireAllocation, WireAttestation, WireCertificates, WireStatus};
use crate::enrollment::{AllocationPolicy, CustomAllocation, ReprovisionPolicy, SymmetricKey};
use crate::enrollment_api::{Bulk, BulkMode, Document, Draft, DraftAttestation, DraftKeys, Kind};
use crate::http::MESSAGE_MAX_BYTES;

/// Bytes of a key (`dps` 6.3).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Reads an enrollment or group.
pub fn read_draft(kind: Kind, content_type: Option<&str>, body: &[u8]) -> Document<Draft> {
    document(content_type, body, |body| draft(kind, serde_json::from_slice(body).ok()?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBulk<'a> {
    mode: WireMode,
    #[serde(borrow, default)]
    enrollments: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    enrollment_groups: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
enum WireMode {
    #[serde(rename = "create")]
    Create,
    #[serde(rename = "update")]
    Update,
    #[serde(rename = "updateIfMatchETag")]
    UpdateIfMatchEtag,
    #[serde(rename = "delete")]
    Delete,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireId<'a> {
    #[serde(borrow, default)]
    registration_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    enrollment_group_id: Option<Cow<'a, str>>,
}

/// Reads a bulk request. An item with an id that is otherwise of the wrong shape does not spoil the others.
pub fn read_bulk(kind: Kind, content_type: Option<&str>, body: &[u8]) -> Document<Bulk> {
    document(content_type, body, |body| {
        let wire: WireBulk<'_> = serde_json::from_slice(body).ok()?;
        let mode = match wire.mode {
            WireMode::Create => BulkMode::Create,
            WireMode::Update => BulkMode::Update,
            WireMode::UpdateIfMatchEtag => BulkMode::UpdateIfMatchEtag,
            WireMode::Delete => BulkMode::Delete,
        };
        let items = match kind {
            Kind::Individual => wire.enrollments,
            Kind::Group => wire.enrollment_groups,
        };
        let read = |item: &RawValue| {
            let id: WireId<'_> = serde_json::from_str(item.get()).ok()?;
            let id = match kind {
                Kind::Individual => id.registration_id,
                Kind::Group => id.enrollment_group_id,
            };
            let draft = serde_json::from_str(item.get()).ok().and_then(|wire| draft(kind, wire));
            Some((id?.into_owned(), draft))
        };
        let items: Option<Vec<_>> = items?.into_iter().map(read).collect();
        Some(Bulk { mode, items: items? })
    })
}

#[derive(Deserialize)]
struct WireQuery<'a> {
    #[serde(borrow)]
    query: Cow<'a, str>,
}

/// Reads a query. All that can be asked for is everything: `SELECT * FROM enrollments`, or what clients write instead.
pub fn read_query(content_type: Option<&str>, body: &[u8]) -> Document<()> {
    document(content_type, body, |body| {
        let wire: WireQuery<'_> = serde_json::from_slice(body).ok()?;
        let words: Vec<String> = wire.query.split_whitespace().map(str::to_ascii_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match &words[..] {
            ["*"] | ["select", "*"] => Some(()),
            ["select", "*", "from", of] => ["enrollments", "enrollmentgroups", "registrations", "devices"]
                .contains(&of.trim_end_matches(';'))
                .then_some(()),
            _ => None,
        }
    })
}

fn document<T>(
    content_type: Option<&str>,
    body: &[u8],
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Document<T> {
    if content_type.is_some_and(|kind| !kind.to_ascii_lowercase().contains("application/json")) {
        return Document::WrongMediaType;
    }
    // serde would also fill a structure from an array.
    let object = body.trim_ascii_start().starts_with(b"{") && body.len() <= MESSAGE_MAX_BYTES;
    match object.then(|| read(body)).flatten() {
        Some(value) => Document::Read(value),
        None => Document::Unreadable,
    }
}

fn draft(kind: Kind, wire: Wire<'_>) -> Option<Draft> {
    let id = match kind {
        Kind::Individual => wire.registration_id,
        Kind::Group => wire.enrollment_group_id,
    };
    // What only an individual enrollment has is a mistake in a group.
    if kind == Kind::Group && wire.device_id.is_some() {
        return None;
    }
    let object = |value: Option<Value>| match value {
        None | Some(Value::Null) => Some(None),
        Some(value @ Value::Object(_)) => Some(Some(Box::new(value))),
        Some(_) => None,
    };
    Some(Draft {
        id: id?.into_owned(),
        device_id: wire.device_id.filter(|id| !id.is_empty()).map(Cow::into_owned),
        information: object(wire.optional_device_information)?,
        attestation: attestation(wire.attestation?)?,
        enabled: !matches!(wire.provisioning_status, Some(WireStatus::Disabled)),
        allocation: wire.allocation_policy.map(|policy| match policy {
            WireAllocation::Hashed => AllocationPolicy::Hashed,
            WireAllocation::GeoLatency => AllocationPolicy::GeoLatency,
            WireAllocation::Static => AllocationPolicy::Static,
            WireAllocation::Custom => AllocationPolicy::Custom,
        }),
        hub: wire.iot_hub_host_name.filter(|hub| !hub.is_empty()).map(Cow::into_owned),
        hubs: wire.iot_hubs.unwrap_or_default(),
        custom: wire.custom_allocation_definition.map(|custom| CustomAllocation {
            webhook_url: custom.webhook_url.into_owned(),
            api_version: custom.api_version.into_owned(),
        }),
        reprovision: wire.reprovision_policy.map_or(ReprovisionPolicy::default(), |policy| {
            ReprovisionPolicy {
                update_hub_assignment: policy.update_hub_assignment,
                migrate_device_data: policy.migrate_device_data,
            }
        }),
        initial_twin: initial_twin(wire.initial_twin)?,
        edge: wire.capabilities.is_some_and(|capabilities| capabilities.iot_edge),
        etag: wire.etag.map(Cow::into_owned),
    })
}

/// An initial twin: tags and desired properties, each an object; the inner `None` where there is none.
pub(in crate::http) fn initial_twin(value: Option<Value>) -> Option<Option<Arc<Value>>> {
    let Some(twin) = value.filter(|value| !value.is_null()) else { return Some(None) };
    let object = |value: Option<&Value>| value.is_none_or(|value| value.is_object() || value.is_null());
    let properties = twin.get("properties");
    let sound = twin.is_object()
        && object(twin.get("tags"))
        && object(properties)
        && object(properties.and_then(|properties| properties.get("desired")));
    sound.then(|| Some(Arc::new(twin)))
}

fn attestation(wire: WireAttestation<'_>) -> Option<DraftAttestation> {
    match (&*wire.kind, wire.symmetric_key, wire.x509, wire.tpm) {
        ("symmetricKey", keys, None, None) => {
            let keys = keys.unwrap_or_default();
            Some(DraftAttestation::SymmetricKey(DraftKeys {
                primary: optional(keys.primary_key, key)?,
                secondary: optional(keys.secondary_key, key)?,
            }))
        }
        ("x509", None, Some(x509), None) => {
            match (x509.client_certificates, x509.signing_certificates, x509.ca_references) {
                (Some(given), None, None) => Some(DraftAttestation::ClientCertificates(certificates(given)?)),
                (None, Some(given), None) => {
                    Some(DraftAttestation::SigningCertificates(certificates(given)?))
                }
                (None, None, Some(given)) => {
                    let name = |name: Cow<'_, str>| (!name.is_empty()).then(|| name.into_owned());
                    Some(DraftAttestation::CaReferences {
                        primary: given.primary.and_then(name)?,
                        secondary: given.secondary.and_then(name),
                    })
                }
                _ => None,
            }
        }
        ("tpm", None, None, Some(tpm)) => {
            let bytes = |text: &str| BASE64_STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
            Some(DraftAttestation::Tpm {
                endorsement_key: bytes(&tpm.endorsement_key)?.into(),
                storage_root_key: optional(tpm.storage_root_key, bytes)?.map(Into::into),
            })
        }
        _ => None,
    }
}

/// What is not there is no mistake; what is there and cannot be read is one.
fn optional<T>(text: Option<Cow<'_, str>>, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    match text {
        Some(text) if !text.is_empty() => read(&text).map(Some),
        _ => Some(None),
    }
}

fn key(text: &str) -> Option<SymmetricKey> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    KEY_BYTES.contains(&bytes.len()).then(|| SymmetricKey::new(bytes))
}

fn certificates(wire: WireCertificates<'_>) -> Option<DraftKeys<Vec<u8>>> {
    Some(DraftKeys {
        primary: optional(wire.primary.and_then(|given| given.certificate), der)?,
        secondary: optional(wire.secondary.and_then(|given| given.certificate), der)?,
    })
}

/// A certificate as clients send it: PEM, its base64 alone, or the base64 of a PEM file.
fn der(text: &str) -> Option<Vec<u8>> {
    let unarmoured = |text: &str| -> Option<Vec<u8>> {
        let inner = match text.split_once("-----BEGIN CERTIFICATE-----") {
            Some((_, rest)) => rest.split_once("-----END CERTIFICATE-----")?.0,
            None => text,
        };
        let base64: String = inner.chars().filter(|c| !c.is_whitespace()).collect();
        BASE64_STANDARD.decode(base64).ok().filter(|bytes| !bytes.is_empty())
    };
    let bytes = unarmoured(text)?;
    match std::str::from_utf8(&bytes) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => unarmoured(pem),
        _ => Some(bytes),
    }
}
