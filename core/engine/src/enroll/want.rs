//! What a scenario's fleet needs: groups for devices with keys and certificates, an enrollment each for devices with a
//! TPM, which no group can hold (`dps` 10.1).

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::ledger::Entry;
use crate::RunError;
use crate::embedded::endorsement_key;
use crate::plan::Plan;

/// An enrollment that is wanted.
pub struct Wanted {
    entry: Entry,
    /// The JSON of the request. It may hold keys: it is sent and never shown.
    pub(super) body: Value,
    devices: u64,
}

impl Wanted {
    pub(super) fn entry(&self) -> Entry {
        self.entry.clone()
    }

    /// Its path in the enrollment API.
    pub fn path(&self) -> String {
        self.entry.path()
    }

    /// How many devices it admits.
    pub fn devices(&self) -> u64 {
        self.devices
    }

    /// How its devices attest.
    pub fn attestation(&self) -> &str {
        self.body["attestation"]["type"].as_str().unwrap_or_default()
    }

    fn group(id: &str, attestation: Value, devices: u64) -> Self {
        let body =
            json!({ "enrollmentGroupId": id, "attestation": attestation, "provisioningStatus": "enabled" });
        Self { entry: Entry::Group(id.to_owned()), body, devices }
    }

    fn individual(id: String, attestation: Value) -> Self {
        let body =
            json!({ "registrationId": id, "attestation": attestation, "provisioningStatus": "enabled" });
        Self { entry: Entry::Individual(id), body, devices: 1 }
    }
}

/// What the enrolled cohorts of a plan need. With `individual`, devices with symmetric keys get an enrollment each rather
/// than a group.
///
/// # Errors
/// A key or a certificate that the scenario names cannot be read.
pub fn wanted(plan: &Plan, individual: bool) -> Result<Vec<Wanted>, RunError> {
    let scenario = &plan.scenario;
    let name = |what: &str| format!("fleetstorm-{}-{what}", scenario.fleet.identity_seed);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut list = Vec::new();
    let keys = group_keys(plan)?;
    for (device, cohort) in (0..).zip(&plan.membership) {
        let cohort = usize::from(*cohort);
        if !scenario.cohorts[cohort].enrolled {
            continue;
        }
        let kind = &*scenario.cohorts[cohort].attestation.kind;
        let id = scenario.registration_id(device);
        if plan.cohorts[cohort].attestation.is_challenged() {
            if let Some(key) = endorsement_key(plan, device)? {
                let tpm = json!({ "type": "tpm", "tpm": { "endorsementKey": BASE64_STANDARD.encode(key) } });
                list.push(Wanted::individual(id, tpm));
            }
        } else if individual && kind == "symmetric-key" {
            let own = keys.iter().map(|key| derived(key, &id)).collect::<Vec<_>>();
            list.push(Wanted::individual(id, symmetric(&own)));
        } else {
            *counts.entry(kind).or_default() += 1;
        }
    }
    let mut groups = Vec::new();
    for (kind, devices) in counts {
        match kind {
            "symmetric-key" => {
                let keys: Vec<String> = keys.iter().map(|key| BASE64_STANDARD.encode(key)).collect();
                groups.push(Wanted::group(&name("keys"), symmetric(&keys), devices));
            }
            "x509" => {
                let certificate = json!({ "certificate": BASE64_STANDARD.encode(ca(plan)?) });
                let signer =
                    json!({ "type": "x509", "x509": { "signingCertificates": { "primary": certificate } } });
                groups.push(Wanted::group(&name("certificates"), signer, devices));
            }
            other => {
                return Err(RunError::Preflight(format!(
                    "what enrollment devices with the attestation `{other}` need is known to its own code only: enrol \
                     them yourself"
                )));
            }
        }
    }
    groups.extend(list);
    Ok(groups)
}

fn symmetric(keys: &[String]) -> Value {
    let primary = keys.first().cloned().unwrap_or_default();
    let secondary = keys.get(1).cloned().unwrap_or_else(|| primary.clone());
    json!({ "type": "symmetricKey", "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary } })
}

/// A device's key of its group (`dps` 6.3), base64.
fn derived(key: &[u8], id: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    BASE64_STANDARD.encode(hmac::sign(&key, id.as_bytes()).as_ref())
}

/// The keys of the fleet's group: the scenario's, or the fleet's own.
fn group_keys(plan: &Plan) -> Result<Vec<Vec<u8>>, RunError> {
    let Some(source) = &plan.scenario.target.group_key else {
        return Ok(plan.fleet.group_keys().iter().map(|key| key.expose().to_vec()).collect());
    };
    let key = fleetstorm_mock::secret(source)?;
    let bytes = BASE64_STANDARD.decode(key.as_bytes());
    Ok(vec![
        bytes.map_err(|_| fleetstorm_mock::ResolveError::new("target.group_key", "the key is not base64"))?,
    ])
}

/// The certificate of the CA that signs the devices' certificates, DER.
fn ca(plan: &Plan) -> Result<Vec<u8>, RunError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let Some(file) = &plan.scenario.target.device_ca_file else { return Ok(plan.fleet.ca_der().to_vec()) };
    let der = CertificateDer::from_pem_slice(&fleetstorm_mock::file(file)?);
    let der = der.map_err(|_| fleetstorm_mock::ResolveError::new(file, "there is no certificate in PEM"))?;
    Ok(der.to_vec())
}
