//! From a mock's file to a service: files and environment variables are read here.

use std::path::Path;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_model::random::Seed;
use fleetstorm_model::scenario::{MockFile, SecretSource};
use fleetstorm_model::service::enrollment::{
    Attestation, CaCertificate, Enrollment, Group, Individual, SymmetricKey,
};
use fleetstorm_model::service::{Config, Hub};
use fleetstorm_model::time::Calendar;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::identity::{DEMO_CERTIFICATE_GROUP, DEMO_KEY_GROUP, FleetIdentity};

/// Something that a file names cannot be used. No secret is in the message.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ResolveError {
    what: String,
    why: String,
}

impl ResolveError {
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// Reads a secret where it is.
pub(crate) fn secret(source: &SecretSource) -> Result<Zeroizing<String>, ResolveError> {
    let text = match source {
        SecretSource::Env(name) => std::env::var(name).map_err(|_| {
            ResolveError::new(
                format!("environment variable {name}"),
                "it is not set; it should hold a secret",
            )
        })?,
        SecretSource::File(path) => std::fs::read_to_string(path)
            .map_err(|error| ResolveError::new(path, format!("the secret cannot be read: {error}")))?,
    };
    Ok(Zeroizing::new(text.trim().to_owned()))
}

pub(crate) fn file(path: &str) -> Result<Vec<u8>, ResolveError> {
    std::fs::read(Path::new(path))
        .map_err(|error| ResolveError::new(path, format!("cannot be read: {error}")))
}

fn key(source: &SecretSource) -> Result<SymmetricKey, ResolveError> {
    let name = match source {
        SecretSource::Env(name) | SecretSource::File(name) => name,
    };
    match BASE64_STANDARD.decode(&*secret(source)?) {
        Ok(bytes) if (16..=64).contains(&bytes.len()) => Ok(SymmetricKey::new(bytes)),
        Ok(bytes) => {
            Err(ResolveError::new(name, format!("a key has 16 to 64 bytes, this one has {}", bytes.len())))
        }
        Err(_) => Err(ResolveError::new(name, "the key is not base64")),
    }
}

fn certificate(path: &str) -> Result<CertificateDer<'static>, ResolveError> {
    CertificateDer::from_pem_slice(&file(path)?)
        .map_err(|_| ResolveError::new(path, "there is no certificate in PEM"))
}

fn thumbprint(path: &str) -> Result<[u8; 32], ResolveError> {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, &certificate(path)?).as_ref());
    Ok(sha256)
}

/// The service that a file describes. `fleet` are the keys of the demo's groups, which stand in where the file names
/// no enrollment at all.
///
/// # Errors
/// A file or environment variable that it names cannot be used.
pub fn resolve(mock: &MockFile, fleet: &FleetIdentity, calendar: Calendar) -> Result<Config, ResolveError> {
    let mut individuals = Vec::new();
    for entry in &mock.enrollments {
        let attestation = match (&entry.primary_key, &entry.primary_certificate) {
            (Some(primary), _) => Attestation::SymmetricKey {
                primary: key(primary)?,
                secondary: entry.secondary_key.as_ref().map(key).transpose()?,
            },
            (None, Some(primary)) => Attestation::Leaf {
                primary: thumbprint(primary)?,
                secondary: entry.secondary_certificate.as_deref().map(thumbprint).transpose()?,
            },
            (None, None) => {
                return Err(ResolveError::new(&entry.registration_id, "the enrollment has no attestation"));
            }
        };
        individuals.push(Individual {
            registration_id: entry.registration_id.clone(),
            device_id: entry.device_id.clone(),
            enrollment: Enrollment { attestation, enabled: entry.enabled, static_hub: entry.hub.clone() },
        });
    }
    let mut groups = Vec::new();
    for entry in &mock.enrollment_groups {
        let ca = |path: &str| certificate(path).map(|der| CaCertificate(der.to_vec()));
        let attestation = match (&entry.primary_key, &entry.primary_certificate) {
            (Some(primary), _) => Attestation::SymmetricKey {
                primary: key(primary)?,
                secondary: entry.secondary_key.as_ref().map(key).transpose()?,
            },
            (None, Some(primary)) => Attestation::Signer {
                primary: ca(primary)?,
                secondary: entry.secondary_certificate.as_deref().map(ca).transpose()?,
            },
            (None, None) => {
                return Err(ResolveError::new(&entry.id, "the enrollment group has no attestation"));
            }
        };
        let enrollment = Enrollment { attestation, enabled: entry.enabled, static_hub: entry.hub.clone() };
        groups.push(Group { id: entry.id.clone(), enrollment });
    }
    if individuals.is_empty() && groups.is_empty() {
        groups = demo(fleet);
    }
    let hubs = if mock.hubs.is_empty() {
        ["demo-hub-1", "demo-hub-2"]
            .map(|name| Hub { host: format!("{name}.azure-devices.net"), weight: 1 })
            .into()
    } else {
        mock.hubs.iter().map(|hub| Hub { host: hub.host.clone(), weight: hub.weight }).collect()
    };
    let throttle = mock.throttle.config();
    Ok(Config {
        id_scope: mock.id_scope.clone(),
        hubs,
        individuals,
        groups,
        throttle: throttle
            .ok_or_else(|| ResolveError::new(&mock.throttle.profile, "there is no such throttle profile"))?,
        assignment: mock.assignment.into(),
        overlap: mock.overlap.into(),
        retry_after_secs: u32::try_from(mock.retry_after_s).ok(),
        seed: Seed(mock.seed),
        calendar,
    })
}

/// The demo's groups: one by key, one by certificate.
fn demo(fleet: &FleetIdentity) -> Vec<Group> {
    let [primary, secondary] = fleet.group_keys();
    let keys = Attestation::SymmetricKey { primary, secondary: Some(secondary) };
    let signer = Attestation::Signer { primary: CaCertificate(fleet.ca_der().to_vec()), secondary: None };
    [(DEMO_KEY_GROUP, keys), (DEMO_CERTIFICATE_GROUP, signer)]
        .into_iter()
        .map(|(id, attestation)| Group {
            id: id.to_owned(),
            enrollment: Enrollment { attestation, enabled: true, static_hub: None },
        })
        .collect()
}
