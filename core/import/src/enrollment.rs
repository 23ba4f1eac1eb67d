//! Enrollments and groups, as the service's API and Azure's command line show them.

use std::collections::BTreeMap;

use fleetstorm_protocol::RegistrationId;
use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_scenario::{
    AllocationFile, InitialTwinFile, ReprovisionFile, TwinPropertiesFile, looks_secret,
};
use serde_json::Value;

use crate::error::{ImportError, Place, shown};
use crate::member::Object;

/// An enrollment or a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Enrollment {
    pub(crate) id: String,
    pub(crate) is_group: bool,
    pub(crate) device_id: Option<String>,
    pub(crate) proof: Proof,
    pub(crate) enabled: bool,
    pub(crate) hub: Option<String>,
    pub(crate) allocation: Option<AllocationFile>,
    pub(crate) hubs: Vec<String>,
    pub(crate) webhook_url: Option<String>,
    pub(crate) reprovision: ReprovisionFile,
    pub(crate) initial_twin: Option<InitialTwinFile>,
    pub(crate) policy: Option<PolicyName>,
}

/// What devices prove.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Proof {
    /// That they hold a key.
    Key,
    /// That they hold the key of a certificate, or of one that was signed by it.
    Certificates {
        /// What is known of the first.
        primary: String,
        /// And of the second, if there is one.
        secondary: Option<String>,
    },
    /// That their certificate chains to one that the service holds.
    Ca { primary: String, secondary: Option<String> },
    /// That they hold a TPM.
    Tpm { endorsement_key: String, storage_root_key: Option<String> },
}

/// How a hub is chosen, by its word.
pub(crate) fn allocation(word: &str) -> Option<AllocationFile> {
    match &*word.to_ascii_lowercase() {
        "hashed" => Some(AllocationFile::Hashed),
        "geolatency" => Some(AllocationFile::GeoLatency),
        "static" => Some(AllocationFile::Static),
        "custom" => Some(AllocationFile::Custom),
        _ => None,
    }
}

/// Reads one; `None` if a mock cannot have it, which is then said in `lost`.
pub(crate) fn read(entry: &Object<'_>, lost: &mut Vec<String>) -> Result<Option<Enrollment>, ImportError> {
    let is_group = entry.get("enrollmentGroupId").is_some();
    let member = if is_group { "enrollmentGroupId" } else { "registrationId" };
    let id = entry.needed(member)?;
    if RegistrationId::new(id).is_err() {
        let help = "ids are up to 128 letters, digits and `-._:`, with a letter or digit at both ends";
        return Err(entry.place.member(member).refuse(format!("`{}` cannot be an id", shown(id)), help));
    }
    let Some(proof) = proof(entry, is_group, lost)? else { return Ok(None) };
    let mut lose = |what: &str| lost.push(format!("{}: {what}", entry.place));
    let webhook_url = webhook(entry, &mut lose)?;
    let hub = entry.text("iotHubHostName")?.map(str::to_owned);
    let hubs: Vec<String> = entry
        .items("iotHubs")?
        .iter()
        .map(|(place, hub)| match hub {
            Value::String(host) => Ok(host.clone()),
            _ => Err(place.refuse("this is not text", "hubs are named by their hosts")),
        })
        .collect::<Result<_, _>>()?;
    let mut policy = None;
    if let Some(word) = entry.text("allocationPolicy")? {
        policy = allocation(word);
        let fits = match policy {
            Some(AllocationFile::Custom) => webhook_url.is_some(),
            Some(AllocationFile::Static) => hub.is_some() || hubs.len() == 1,
            Some(_) => true,
            None => false,
        };
        if !fits {
            lose(&format!(
                "the allocation policy `{}` lacks what it chooses by, and is left out",
                shown(word)
            ));
            policy = None;
        }
    }
    for (member, what) in [
        ("optionalDeviceInformation", "what is said of the device (`optionalDeviceInformation`) is left out"),
        ("deviceTypeRefs", "references to types (`deviceTypeRefs`) are left out"),
    ] {
        let says = entry.get(member).is_some_and(|value| {
            *value != Value::Array(Vec::new()) && *value != Value::Object(serde_json::Map::new())
        });
        if says {
            lose(what);
        }
    }
    if entry
        .get("capabilities")
        .is_some_and(|capabilities| capabilities.get("iotEdge") == Some(&Value::Bool(true)))
    {
        lose("that it is an IoT Edge device is left out");
    }
    let device_id = entry.text("deviceId")?.filter(|device| *device != id);
    if device_id
        .is_some_and(|device| device.len() > 128 || !device.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let help = "device ids are up to 128 visible characters of ASCII";
        return Err(entry.place.member("deviceId").refuse("this cannot be a device id", help));
    }
    Ok(Some(Enrollment {
        id: id.to_owned(),
        is_group,
        device_id: device_id.map(str::to_owned),
        proof,
        enabled: !entry
            .text("provisioningStatus")?
            .is_some_and(|status| status.eq_ignore_ascii_case("disabled")),
        hub,
        allocation: policy,
        hubs,
        webhook_url,
        reprovision: reprovision(entry)?,
        initial_twin: initial_twin(entry, &mut lose)?,
        policy: policy_name(entry)?,
    }))
}

fn proof(entry: &Object<'_>, is_group: bool, lost: &mut Vec<String>) -> Result<Option<Proof>, ImportError> {
    let place = entry.place.member("attestation");
    let attestation = Object::new(entry.value.get("attestation").unwrap_or(&Value::Null), &place);
    let none = |what: &str, lost: &mut Vec<String>| {
        lost.push(format!("{}: {what}; it is left out", entry.place));
        Ok(None)
    };
    match attestation.needed("type")? {
        "symmetricKey" => Ok(Some(Proof::Key)),
        "x509" => {
            let place = place.member("x509");
            let x509 = Object::new(attestation.value.get("x509").unwrap_or(&Value::Null), &place);
            if let Some(references) = x509.get("caReferences") {
                let place = place.member("caReferences");
                let references = Object::new(references, &place);
                if let Some(primary) = references.text("primary")? {
                    let secondary = references.text("secondary")?.map(str::to_owned);
                    return Ok(Some(Proof::Ca { primary: primary.to_owned(), secondary }));
                }
            }
            let pair =
                ["clientCertificates", "signingCertificates"].iter().find_map(|member| x509.get(member));
            match pair.map(|pair| ["primary", "secondary"].map(|of| pair.get(of).filter(|of| !of.is_null())))
            {
                Some([Some(primary), secondary]) => {
                    Ok(Some(Proof::Certificates { primary: about(primary), secondary: secondary.map(about) }))
                }
                _ => none("its attestation names no certificate", lost),
            }
        }
        "tpm" if !is_group => {
            let place = place.member("tpm");
            let tpm = Object::new(attestation.value.get("tpm").unwrap_or(&Value::Null), &place);
            match tpm.text("endorsementKey")? {
                Some(key) => Ok(Some(Proof::Tpm {
                    endorsement_key: public_key(key, &place.member("endorsementKey"))?,
                    storage_root_key: tpm
                        .text("storageRootKey")?
                        .map(|key| public_key(key, &place.member("storageRootKey")))
                        .transpose()?,
                })),
                None => none("its attestation names no endorsement key", lost),
            }
        }
        other => none(&format!("the mock has no attestation `{}` here", shown(other)), lost),
    }
}

/// The public part of a TPM's key.
fn public_key(text: &str, place: &Place) -> Result<String, ImportError> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    if text.len() > 4_096 || !text.bytes().all(is_base64) {
        return Err(place.refuse("this is no key in base64", "was the file changed?"));
    }
    Ok(text.to_owned())
}

/// What is known of a certificate: which one it is, so that a person finds it.
fn about(certificate: &Value) -> String {
    let info = |member| certificate.get("info").and_then(|info| info.get(member)?.as_str()).map(shown);
    match (info("subjectName"), info("sha256Thumbprint").or_else(|| info("sha1Thumbprint"))) {
        (Some(subject), Some(thumbprint)) => format!("{subject}, thumbprint {thumbprint}"),
        (subject, thumbprint) => subject.or(thumbprint).unwrap_or_else(|| "not described".to_owned()),
    }
}

/// A webhook without what may be a key: its query, and a user.
fn webhook(entry: &Object<'_>, lose: &mut impl FnMut(&str)) -> Result<Option<String>, ImportError> {
    let place = entry.place.member("customAllocationDefinition");
    let custom = entry.get("customAllocationDefinition").unwrap_or(&Value::Null);
    let Some(url) = Object::new(custom, &place).text("webhookUrl")? else { return Ok(None) };
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://").filter(|_| !url.chars().any(char::is_control)) else {
        return Err(place
            .member("webhookUrl")
            .refuse("this is no address", "webhooks are called like https://host/path"));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    if bare.len() != url.len() || host.len() != authority.len() {
        lose("its webhook's address is written without its query, which may hold a key");
    }
    lose("a mock asks its webhook only if `[webhook] hosts` lists the host");
    Ok(Some(format!("{scheme}://{host}{path}")))
}

fn reprovision(entry: &Object<'_>) -> Result<ReprovisionFile, ImportError> {
    let place = entry.place.member("reprovisionPolicy");
    let policy = Object::new(entry.get("reprovisionPolicy").unwrap_or(&Value::Null), &place);
    let updates = policy.flag("updateHubAssignment")?.unwrap_or(true);
    Ok(match (updates, policy.flag("migrateDeviceData")?.unwrap_or(true)) {
        (true, true) => ReprovisionFile::Migrate,
        (true, false) => ReprovisionFile::Reset,
        (false, _) => ReprovisionFile::Never,
    })
}

fn initial_twin(
    entry: &Object<'_>,
    lose: &mut impl FnMut(&str),
) -> Result<Option<InitialTwinFile>, ImportError> {
    let Some(twin) = entry.get("initialTwin") else { return Ok(None) };
    let mut part = |value: Option<&Value>| -> BTreeMap<String, Value> {
        let members = value.and_then(Value::as_object).into_iter().flatten();
        let own = members.filter(|(name, _)| {
            !["$metadata", "$version", "metadata", "version", "count"].contains(&&***name)
        });
        own.filter_map(|(name, value)| Some((name.clone(), plain(name, value, lose)?))).collect()
    };
    let tags = part(twin.get("tags"));
    let desired = part(twin.get("properties").and_then(|properties| properties.get("desired")));
    let is_empty = tags.is_empty() && desired.is_empty();
    Ok((!is_empty).then_some(InitialTwinFile { tags, properties: TwinPropertiesFile { desired } }))
}

/// A value that TOML has and that is no secret; others are left out.
fn plain(name: &str, value: &Value, lose: &mut impl FnMut(&str)) -> Option<Value> {
    let mut left_out = |why: &str| {
        lose(&format!("`{}` of its initial twin is left out: {why}", shown(name)));
        None
    };
    match value {
        Value::Null => left_out("TOML has no null"),
        Value::Number(number) if number.as_i64().is_none() && !number.is_f64() => {
            left_out("the number is too large")
        }
        Value::String(text) if looks_secret(text) => left_out("it looks like a key"),
        Value::Array(list) => Some(list.iter().filter_map(|item| plain(name, item, lose)).collect()),
        Value::Object(members) => {
            let kept =
                members.iter().filter_map(|(name, value)| Some((name.clone(), plain(name, value, lose)?)));
            Some(Value::Object(kept.collect()))
        }
        other => Some(other.clone()),
    }
}

/// The policy by which it gets certificates, in each way that versions of the API spell it.
fn policy_name(entry: &Object<'_>) -> Result<Option<PolicyName>, ImportError> {
    if let Some(id) = entry.text("certificatePolicyResourceId")? {
        let refused = || {
            let help = "it ends like .../certificateAuthorities/NAME/certificatePolicies/NAME";
            entry.place.member("certificatePolicyResourceId").refuse("this is no policy's id", help)
        };
        return PolicyName::of_resource_id(id).map(Some).ok_or_else(refused);
    }
    let text = |member| Ok::<_, ImportError>(entry.text(member)?.map(Box::from));
    let policy = match text("certificatePolicyName")? {
        Some(policy) => Some(policy),
        None => text("credentialPolicyName")?,
    };
    let name = PolicyName {
        namespace: text("namespaceName")?,
        authority: text("certificateAuthorityName")?,
        policy,
        resource_id: None,
    };
    Ok(name.policy.is_some().then_some(name))
}
