//! Bodies of answers.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{
    Wire, WireAllocation, WireAttestation, WireCapabilities, WireCertificate, WireCertificates, WireCustom,
    WireInfo, WireKeys, WireReferences, WireReprovision, WireStatus, WireTpm, WireX509,
};
use crate::Registration;
use crate::certificate::CertificateInfo;
use crate::enrollment::{AllocationPolicy, Attestation, Enrollment};
use crate::enrollment_api::{Content, Enrolled, Kind, Resource};
use crate::http::json::{text_of, write_error, write_registration, write_time};

/// Writes the body of an answer.
pub fn write_administered(content: &Content, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail, and these values always serialize.
    let _ = match content {
        Content::Empty => Ok(()),
        Content::Error(error) => write_error(error, out),
        Content::Registration(registration) => write_registration(registration, out),
        Content::Registrations(list, _) => {
            let list: Vec<Value> = list.iter().map(registration_value).collect();
            serde_json::to_writer(out, &list).map_err(std::io::Error::other)
        }
        Content::Resource(one) => serde_json::to_writer(out, &resource(one)).map_err(std::io::Error::other),
        Content::Resources(_, list, _) => {
            let list: Vec<Value> = list.iter().map(resource).collect();
            serde_json::to_writer(out, &list).map_err(std::io::Error::other)
        }
        Content::Mechanism(shown) => {
            let (of, certificates) = &**shown;
            serde_json::to_writer(out, &attestation(of, certificates, true)).map_err(std::io::Error::other)
        }
        Content::Bulk(kind, errors) => {
            let name = match kind {
                Kind::Individual => "registrationId",
                Kind::Group => "enrollmentGroupId",
            };
            let errors: Vec<Value> = errors
                .iter()
                .map(|error| {
                    json!({ name: error.id, "errorCode": error.code, "errorStatus": text_of(error.code) })
                })
                .collect();
            let result = json!({ "isSuccessful": errors.is_empty(), "errors": errors });
            serde_json::to_writer(out, &result).map_err(std::io::Error::other)
        }
    };
}

fn registration_value(registration: &Registration) -> Value {
    let mut text = Vec::new();
    let written = write_registration(registration, &mut text);
    written.ok().and_then(|()| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// An enrollment or group; its symmetric keys are not shown (`dps` 16.2).
pub(in crate::http) fn resource(resource: &Resource) -> Value {
    let (enrollment, mut wire) = match &resource.value {
        Enrolled::Individual(individual) => (
            &individual.enrollment,
            Wire {
                registration_id: Some(Cow::Borrowed(&individual.registration_id)),
                device_id: individual.device_id.as_deref().map(Cow::Borrowed),
                optional_device_information: individual.information.as_deref().cloned(),
                registration_state: resource.registration.as_ref().map(registration_value),
                ..Wire::default()
            },
        ),
        Enrolled::Group(group) => (
            &group.enrollment,
            Wire { enrollment_group_id: Some(Cow::Borrowed(&group.id)), ..Wire::default() },
        ),
    };
    fill(&mut wire, enrollment, resource);
    serde_json::to_value(&wire).unwrap_or_default()
}

fn fill<'a>(wire: &mut Wire<'a>, enrollment: &'a Enrollment, resource: &'a Resource) {
    wire.attestation = Some(attestation(&enrollment.attestation, &resource.certificates, false));
    wire.capabilities = Some(WireCapabilities { iot_edge: enrollment.edge });
    wire.iot_hub_host_name = enrollment.static_hub.as_deref().map(Cow::Borrowed);
    wire.initial_twin = enrollment.initial_twin.as_deref().cloned();
    wire.etag = Some(Cow::Borrowed(&resource.etag));
    wire.provisioning_status =
        Some(if enrollment.enabled { WireStatus::Enabled } else { WireStatus::Disabled });
    wire.reprovision_policy = Some(WireReprovision {
        update_hub_assignment: enrollment.reprovision.update_hub_assignment,
        migrate_device_data: enrollment.reprovision.migrate_device_data,
    });
    wire.created_date_time_utc = Some(write_time(resource.created_unix_ns));
    wire.last_updated_date_time_utc = Some(write_time(resource.updated_unix_ns));
    wire.allocation_policy = enrollment.allocation.map(|policy| match policy {
        AllocationPolicy::Hashed => WireAllocation::Hashed,
        AllocationPolicy::GeoLatency => WireAllocation::GeoLatency,
        AllocationPolicy::Static => WireAllocation::Static,
        AllocationPolicy::Custom => WireAllocation::Custom,
    });
    wire.iot_hubs = (!enrollment.hubs.is_empty()).then(|| enrollment.hubs.clone());
    wire.custom_allocation_definition = enrollment.custom.as_ref().map(|custom| WireCustom {
        webhook_url: Cow::Borrowed(&custom.webhook_url),
        api_version: Cow::Borrowed(&custom.api_version),
    });
}

fn attestation<'a>(
    of: &'a Attestation,
    certificates: &[Option<CertificateInfo>; 2],
    with_keys: bool,
) -> WireAttestation<'a> {
    let base64 = |bytes: &[u8]| Cow::Owned(BASE64_STANDARD.encode(bytes));
    let pair = || {
        let [primary, secondary] = certificates;
        let shown = |info: &Option<CertificateInfo>| {
            info.as_ref().map(|facts| WireCertificate { certificate: None, info: Some(info_of(facts)) })
        };
        Some(WireCertificates { primary: shown(primary), secondary: shown(secondary) })
    };
    let wire =
        |kind: &'static str| WireAttestation { kind: Cow::Borrowed(kind), ..WireAttestation::default() };
    match of {
        Attestation::SymmetricKey { primary, secondary } => {
            let keys = WireKeys {
                primary_key: with_keys.then(|| base64(primary.expose())),
                secondary_key: secondary.as_ref().filter(|_| with_keys).map(|key| base64(key.expose())),
            };
            WireAttestation { symmetric_key: with_keys.then_some(keys), ..wire("symmetricKey") }
        }
        Attestation::Leaf { .. } => {
            let x509 = WireX509 { client_certificates: pair(), ..WireX509::default() };
            WireAttestation { x509: Some(x509), ..wire("x509") }
        }
        Attestation::Signer { .. } => {
            let x509 = WireX509 { signing_certificates: pair(), ..WireX509::default() };
            WireAttestation { x509: Some(x509), ..wire("x509") }
        }
        Attestation::CaReference { primary, secondary } => {
            let ca_references = Some(WireReferences {
                primary: Some(Cow::Borrowed(primary)),
                secondary: secondary.as_deref().map(Cow::Borrowed),
            });
            WireAttestation { x509: Some(WireX509 { ca_references, ..WireX509::default() }), ..wire("x509") }
        }
        Attestation::Tpm { endorsement_key, storage_root_key } => {
            let tpm = WireTpm {
                endorsement_key: base64(endorsement_key),
                storage_root_key: storage_root_key.as_deref().map(base64),
            };
            WireAttestation { tpm: Some(tpm), ..wire("tpm") }
        }
    }
}

fn info_of(facts: &CertificateInfo) -> WireInfo {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        })
    };
    let time = |secs: i64| write_time(u64::try_from(secs).unwrap_or(0).saturating_mul(1_000_000_000));
    WireInfo {
        subject_name: facts.subject.clone(),
        sha1_thumbprint: hex(&facts.sha1),
        sha256_thumbprint: hex(&facts.sha256),
        issuer_name: facts.issuer.clone(),
        not_before_utc: time(facts.not_before_unix_secs),
        not_after_utc: time(facts.not_after_unix_secs),
        serial_number: facts.serial.clone(),
        version: facts.version,
    }
}
