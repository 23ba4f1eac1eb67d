//! From a mock's file to a service: files and environment variables are read here.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_model::service::access::{AccessPolicy, OWNER, Permission};
use fleetstorm_model::service::{Config, Hub, NamedCertificate, Region, Sweep, Tier};
use fleetstorm_protocol::certificate::CertificateInfo;
use fleetstorm_protocol::enrollment::{
    Attestation, CaCertificate, CustomAllocation, Enrollment, Group, Individual, SymmetricKey,
};
use fleetstorm_scenario::{
    AllocationFile, CertificateFile, HubFile, InitialTwinFile, MockFile, ReprovisionFile, SecretSource,
    TierFile,
};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Calendar, Moment};
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
    /// What cannot be used, and why.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// The shape of a webhook's question that is asked for where a file cannot say (`dps` 14.7).
const WEBHOOK_API_VERSION: &str = "2021-10-01";

/// Reads a secret where it is.
pub fn secret(source: &SecretSource) -> Result<Zeroizing<String>, ResolveError> {
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

/// Reads a file that a scenario or a mock's file names.
///
/// # Errors
/// It cannot be read; the error names it.
pub fn file(path: &str) -> Result<Vec<u8>, ResolveError> {
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

fn leaf(path: &str) -> Result<Box<CertificateInfo>, ResolveError> {
    let info = crate::evidence::certificate_info(&certificate(path)?);
    info.map(Box::new).ok_or_else(|| ResolveError::new(path, "the certificate cannot be read"))
}

fn held(file: &CertificateFile) -> Result<NamedCertificate, ResolveError> {
    let (der, _) = ca(&file.file)?;
    let certificate = CaCertificate { der: (*der).into(), verified: file.verified };
    Ok(NamedCertificate { name: file.name.clone(), certificate })
}

/// A certificate of a group. What nobody has said of it, the instance knows if it holds it; and whoever writes a root into
/// a group means it.
fn signer(
    path: &str,
    verified: Option<bool>,
    certificates: &[NamedCertificate],
) -> Result<CaCertificate, ResolveError> {
    let (der, info) = ca(path)?;
    let held = certificates.iter().find(|held| *held.certificate.der == *der);
    let verified = verified.or(held.map(|held| held.certificate.verified)).unwrap_or_else(|| info.is_root());
    Ok(CaCertificate { der: (*der).into(), verified })
}

fn ca(path: &str) -> Result<(CertificateDer<'static>, CertificateInfo), ResolveError> {
    let der = certificate(path)?;
    match crate::evidence::certificate_info(&der) {
        Some(info) => Ok((der, info)),
        None => Err(ResolveError::new(path, "the certificate cannot be read")),
    }
}

fn keys(primary: &SecretSource, secondary: Option<&SecretSource>) -> Result<Attestation, ResolveError> {
    Ok(Attestation::SymmetricKey { primary: key(primary)?, secondary: secondary.map(key).transpose()? })
}

/// What individual enrollments and groups say alike.
fn enrollment(
    attestation: Attestation,
    enabled: bool,
    hub: &Option<String>,
    hubs: &[String],
    (allocation, webhook_url): (Option<AllocationFile>, &Option<String>),
    (reprovision, initial_twin): (ReprovisionFile, &Option<InitialTwinFile>),
) -> Enrollment {
    // What has text for its keys always becomes JSON.
    let twin = |twin: &InitialTwinFile| serde_json::to_value(twin).map(Arc::new).ok();
    Enrollment {
        enabled,
        allocation: allocation.map(Into::into),
        static_hub: hub.clone(),
        hubs: hubs.to_vec(),
        custom: webhook_url
            .clone()
            .map(|webhook_url| CustomAllocation { webhook_url, api_version: WEBHOOK_API_VERSION.to_owned() }),
        reprovision: reprovision.into(),
        initial_twin: initial_twin.as_ref().and_then(twin),
        ..Enrollment::new(attestation)
    }
}

/// The service that a file describes. `fleet` are the keys of the demo's groups, which stand in where the file names
/// no enrollment at all.
///
/// # Errors
/// A file or environment variable that it names cannot be used.
pub fn resolve(mock: &MockFile, fleet: &FleetIdentity, calendar: Calendar) -> Result<Config, ResolveError> {
    let mut individuals = Vec::new();
    for entry in &mock.enrollments {
        let attestation = if let Some(primary) = &entry.primary_key {
            keys(primary, entry.secondary_key.as_ref())?
        } else if let Some(primary) = &entry.primary_certificate {
            Attestation::Leaf {
                primary: leaf(primary)?,
                secondary: entry.secondary_certificate.as_deref().map(leaf).transpose()?,
            }
        } else if let Some(primary) = &entry.primary_ca {
            Attestation::CaReference { primary: primary.clone(), secondary: entry.secondary_ca.clone() }
        } else if let Some(endorsement) = &entry.endorsement_key {
            let storage_root = entry.storage_root_key.as_deref();
            Attestation::Tpm {
                endorsement_key: tpm_public_key("endorsement_key", endorsement)?,
                storage_root_key: storage_root
                    .map(|key| tpm_public_key("storage_root_key", key))
                    .transpose()?,
            }
        } else {
            return Err(ResolveError::new(&entry.registration_id, "the enrollment has no attestation"));
        };
        individuals.push(Individual {
            registration_id: entry.registration_id.clone(),
            device_id: entry.device_id.clone(),
            information: None,
            enrollment: enrollment(
                attestation,
                entry.enabled,
                &entry.hub,
                &entry.hubs,
                (entry.allocation, &entry.webhook_url),
                (entry.reprovision, &entry.initial_twin),
            ),
        });
    }
    let certificates = mock.certificates.iter().map(held).collect::<Result<Vec<_>, _>>()?;
    let mut groups = Vec::new();
    for entry in &mock.enrollment_groups {
        let attestation = if let Some(primary) = &entry.primary_key {
            keys(primary, entry.secondary_key.as_ref())?
        } else if let Some(primary) = &entry.primary_certificate {
            let signer = |path| signer(path, entry.verified, &certificates);
            Attestation::Signer {
                primary: signer(primary)?,
                secondary: entry.secondary_certificate.as_deref().map(signer).transpose()?,
            }
        } else if let Some(primary) = &entry.primary_ca {
            Attestation::CaReference { primary: primary.clone(), secondary: entry.secondary_ca.clone() }
        } else {
            return Err(ResolveError::new(&entry.id, "the enrollment group has no attestation"));
        };
        let enrollment = enrollment(
            attestation,
            entry.enabled,
            &entry.hub,
            &entry.hubs,
            (entry.allocation, &entry.webhook_url),
            (entry.reprovision, &entry.initial_twin),
        );
        groups.push(Group { id: entry.id.clone(), enrollment });
    }
    if individuals.is_empty() && groups.is_empty() {
        groups = demo(fleet);
    }
    let throttle = mock.throttle.config();
    Ok(Config {
        id_scope: mock.id_scope.clone(),
        hubs: hubs(mock),
        individuals,
        groups,
        certificates,
        allocation: mock.allocation.into(),
        regions: regions(mock),
        access: access(mock, fleet)?,
        throttle: throttle
            .ok_or_else(|| ResolveError::new(&mock.throttle.profile, "there is no such throttle profile"))?,
        assignment: mock.assignment.into(),
        overlap: mock.overlap.into(),
        outages: mock.outages.iter().map(|outage| outage.resolved()).collect(),
        retry_after_secs: u32::try_from(mock.retry_after_s).ok(),
        seed: Seed(mock.seed),
        calendar,
    })
}

/// The linked hubs: the file's, or the demo's two.
pub fn hubs(mock: &MockFile) -> Vec<Hub> {
    if mock.hubs.is_empty() {
        ["demo-hub-1", "demo-hub-2"].map(|name| Hub::new(format!("{name}.azure-devices.net"), 1)).into()
    } else {
        mock.hubs.iter().map(hub).collect()
    }
}

fn hub(file: &HubFile) -> Hub {
    Hub {
        tier: match file.tier {
            TierFile::Unlimited => None,
            TierFile::S1 => Some(Tier::S1),
            TierFile::S2 => Some(Tier::S2),
            TierFile::S3 => Some(Tier::S3),
        },
        units: file.units,
        backlog: file.backlog.0,
        registry_limit: file.registry_limit,
        states: file.states.iter().map(|change| (Moment::START + change.at.0, change.state)).collect(),
        commands: file
            .reprovision
            .iter()
            .map(|sweep| Sweep { at: Moment::START + sweep.at.0, over: sweep.over.0 })
            .collect(),
        ..Hub::new(&*file.host, file.weight)
    }
}

fn regions(mock: &MockFile) -> Vec<Region> {
    let region = |file: &fleetstorm_scenario::RegionFile| Region {
        id_prefix: file.id_prefix.clone(),
        latency: file.latency.iter().map(|(host, latency)| (host.clone(), latency.0)).collect(),
    };
    mock.regions.iter().map(region).collect()
}

/// The file's access policies, or the demo's owner, whose keys a fleet's seed makes.
fn access(mock: &MockFile, fleet: &FleetIdentity) -> Result<Vec<AccessPolicy>, ResolveError> {
    if mock.access_policies.is_empty() {
        let [primary, secondary] = fleet.owner_keys();
        let permissions = Permission::ALL.to_vec();
        return Ok(vec![AccessPolicy {
            name: OWNER.to_owned(),
            primary,
            secondary: Some(secondary),
            permissions,
        }]);
    }
    mock.access_policies
        .iter()
        .map(|file| {
            Ok(AccessPolicy {
                name: file.name.clone(),
                primary: key(&file.primary_key)?,
                secondary: file.secondary_key.as_ref().map(key).transpose()?,
                permissions: file.permissions.iter().map(|permission| (*permission).into()).collect(),
            })
        })
        .collect()
}

/// The demo's groups: one by key, one by certificate.
fn demo(fleet: &FleetIdentity) -> Vec<Group> {
    let [primary, secondary] = fleet.group_keys();
    let keys = Attestation::SymmetricKey { primary, secondary: Some(secondary) };
    let signer = Attestation::Signer { primary: CaCertificate::verified(fleet.ca_der()), secondary: None };
    [(DEMO_KEY_GROUP, keys), (DEMO_CERTIFICATE_GROUP, signer)]
        .into_iter()
        .map(|(id, attestation)| Group { id: id.to_owned(), enrollment: Enrollment::new(attestation) })
        .collect()
}

/// Reads the public part of a TPM's key, as it stands in a file.
fn tpm_public_key(name: &str, base64: &str) -> Result<Box<[u8]>, ResolveError> {
    let key = BASE64_STANDARD
        .decode(base64.trim())
        .map_err(|_| ResolveError::new(name, "the key is not base64"))?;
    fleetstorm_tpm::check(&key).map_err(|error| ResolveError::new(name, error.to_string()))?;
    Ok(key.into())
}
