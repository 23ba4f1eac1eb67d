//! The published api-versions, and what each has (`dps` 2.2, 18.1).
//!
//! One table for both planes. Nothing else asks a version by its name: code asks what a version has.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A published api-version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(u8);

/// What a version of the device API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceApi {
    /// A device that registers again keeps its hub, whatever the policy says (`dps` 14.6).
    pub keeps_hub: bool,
    /// `csr` in a registration, and `issuedCertificateChain` in its last answer.
    pub issues: bool,
    /// `connectionProfile` in what is told of a registration.
    pub profiles: bool,
}

/// What a version of the service API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceApi {
    /// How an enrollment names the policy by which certificates are issued; `None` if it cannot.
    pub policy: Option<PolicySpelling>,
    /// `connectionProfile` in what is told of a registration.
    pub profiles: bool,
    /// `deviceTypeRefs` of an enrollment.
    pub type_refs: bool,
}

/// How an enrollment names a certificate policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySpelling {
    /// `credentialPolicyName`.
    Credential,
    /// `certificatePolicyResourceId`.
    ResourceId,
    /// `namespaceName`, `certificateAuthorityName` and `certificatePolicyName`.
    Names,
}

struct Row {
    name: &'static str,
    device: DeviceApi,
    service: Option<ServiceApi>,
}

const OLD: DeviceApi = DeviceApi { keeps_hub: true, issues: false, profiles: false };
const PLAIN: DeviceApi = DeviceApi { keeps_hub: false, ..OLD };
const ISSUING: DeviceApi = DeviceApi { issues: true, ..PLAIN };
const PROFILED: DeviceApi = DeviceApi { profiles: true, ..ISSUING };

const ENROLLING: ServiceApi = ServiceApi { policy: None, profiles: false, type_refs: false };

const fn naming(policy: PolicySpelling) -> Option<ServiceApi> {
    Some(ServiceApi { policy: Some(policy), ..ENROLLING })
}

const TYPED: Option<ServiceApi> =
    Some(ServiceApi { policy: Some(PolicySpelling::Names), profiles: true, type_refs: true });

#[rustfmt::skip]
static TABLE: [Row; 15] = [
    Row { name: "2017-08-31-preview", device: OLD, service: None },
    Row { name: "2017-11-15", device: OLD, service: None },
    Row { name: "2018-04-01", device: OLD, service: None },
    Row { name: "2018-09-01-preview", device: PLAIN, service: Some(ENROLLING) },
    Row { name: "2018-11-01", device: PLAIN, service: Some(ENROLLING) },
    Row { name: "2019-03-31", device: PLAIN, service: Some(ENROLLING) },
    Row { name: "2021-06-01", device: PLAIN, service: Some(ENROLLING) },
    Row { name: "2021-10-01", device: PLAIN, service: Some(ENROLLING) },
    Row { name: "2021-11-01-preview", device: PLAIN, service: Some(ENROLLING) },
    Row { name: "2025-07-01-preview", device: ISSUING, service: naming(PolicySpelling::Credential) },
    Row { name: "2026-04-01", device: ISSUING, service: naming(PolicySpelling::Credential) },
    Row { name: "2026-07-01-preview", device: ISSUING, service: naming(PolicySpelling::ResourceId) },
    Row { name: "2026-11-01", device: ISSUING, service: naming(PolicySpelling::Names) },
    Row { name: "2026-11-02-preview", device: PROFILED, service: TYPED },
    Row { name: "2026-11-15-preview", device: PROFILED, service: TYPED },
];

impl ApiVersion {
    /// The one that most clients in the field send: those for Python, Node, C#, Java and embedded C (`dps` 2.2).
    pub const USUAL: Self = Self(5);

    /// The version of this name, exactly as it is spelled.
    pub fn of(name: &str) -> Option<Self> {
        Self::all().find(|version| version.name() == name)
    }

    /// Every version, oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        // Fifteen fit.
        (0..TABLE.len() as u8).map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it has as a version of the device API.
    pub fn device(self) -> DeviceApi {
        self.row().device
    }

    /// What it has as a version of the service API; `None` where it is none.
    pub fn service(self) -> Option<ServiceApi> {
        self.row().service
    }

    fn row(self) -> &'static Row {
        &TABLE[usize::from(self.0)]
    }
}

impl ServiceApi {
    /// What the version of this name has. One that is none has nothing beyond the first; whoever names it is refused.
    pub fn of(name: Option<&str>) -> Self {
        name.and_then(ApiVersion::of).and_then(ApiVersion::service).unwrap_or(ENROLLING)
    }
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self::USUAL
    }
}

impl fmt::Debug for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        Self::of(&name).ok_or_else(|| {
            let known: Vec<&str> = Self::all().map(Self::name).collect();
            de::Error::custom(format!(
                "`{name}` is no api-version of the device API: one of {}",
                known.join(", ")
            ))
        })
    }
}

impl JsonSchema for ApiVersion {
    fn schema_name() -> Cow<'static, str> {
        "ApiVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Self::all().map(Self::name).collect();
        json_schema!({ "description": "A published api-version of the device API.", "type": "string", "enum": names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> ApiVersion {
        ApiVersion::of(name).unwrap()
    }

    #[test]
    fn versions_are_in_order_and_found_by_their_names() {
        let names: Vec<&str> = ApiVersion::all().map(ApiVersion::name).collect();
        assert!(names.is_sorted() && names.len() == 15);
        assert_eq!(ApiVersion::USUAL.name(), "2019-03-31");
        for unknown in ["", "2026-11-01-preview", "2026-11-01 ", "1999-01-01"] {
            assert_eq!(ApiVersion::of(unknown), None, "{unknown}");
        }
    }

    /// What came when, from the documents of the specification (`dps` 18.1).
    #[test]
    fn each_version_has_what_its_document_has() {
        for (name, issues, profiles) in [
            ("2018-11-01", false, false),
            ("2019-03-31", false, false),
            ("2021-10-01", false, false),
            ("2025-07-01-preview", true, false),
            ("2026-04-01", true, false),
            ("2026-07-01-preview", true, false),
            ("2026-11-01", true, false),
            ("2026-11-02-preview", true, true),
        ] {
            let device = version(name).device();
            assert_eq!((device.issues, device.profiles), (issues, profiles), "{name}");
            assert!(!device.keeps_hub, "{name}");
        }
        assert!(version("2018-04-01").device().keeps_hub);
        for (name, policy, profiles) in [
            ("2018-11-01", None, false),
            ("2021-10-01", None, false),
            ("2025-07-01-preview", Some(PolicySpelling::Credential), false),
            ("2026-04-01", Some(PolicySpelling::Credential), false),
            ("2026-07-01-preview", Some(PolicySpelling::ResourceId), false),
            ("2026-11-01", Some(PolicySpelling::Names), false),
            ("2026-11-02-preview", Some(PolicySpelling::Names), true),
        ] {
            let service = version(name).service().unwrap();
            assert_eq!(
                (service.policy, service.profiles, service.type_refs),
                (policy, profiles, profiles),
                "{name}"
            );
        }
        assert_eq!(version("2017-11-15").service(), None);
    }

    #[test]
    fn a_name_that_is_none_is_told_with_those_that_are() {
        let error = serde_json::from_str::<ApiVersion>("\"2020-01-01\"").unwrap_err().to_string();
        assert!(error.contains("`2020-01-01`") && error.contains("2026-11-01"), "{error}");
        assert_eq!(serde_json::to_string(&version("2026-11-01")).unwrap(), "\"2026-11-01\"");
    }
}
