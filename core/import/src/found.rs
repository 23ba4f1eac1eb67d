//! What the files say, before it is put together.

use std::collections::BTreeMap;

use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_scenario::{AllocationFile, PermissionFile, TierFile};
use serde_json::Value;

use crate::enrollment::{self, Enrollment};
use crate::error::{ImportError, Place, shown};
use crate::member::Object;
use crate::resource::{AUTHORITY, CERTIFICATE, HUB, POLICY, Resource, SERVICE};

/// Something that was found, and of which service it is, if that is said.
pub(crate) struct Of<T> {
    pub(crate) place: Place,
    pub(crate) service: Option<String>,
    pub(crate) value: T,
}

/// A service itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) id_scope: Option<String>,
    pub(crate) allocation: Option<AllocationFile>,
}

/// A hub that is linked to a service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    /// `None` where only a deployment knows it.
    pub(crate) host: Option<String>,
    pub(crate) weight: u32,
    /// Whether devices are given to it where an enrollment does not name it.
    pub(crate) takes_part: bool,
}

/// A hub, linked or not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hub {
    pub(crate) host: String,
    pub(crate) tier: TierFile,
    pub(crate) units: u32,
}

/// An access policy, without its keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Access {
    pub(crate) name: String,
    pub(crate) permissions: Vec<PermissionFile>,
}

/// A CA certificate of a service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Certificate {
    pub(crate) name: String,
    pub(crate) verified: bool,
}

/// An authority that issues.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Authority {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) is_root: bool,
}

/// A policy of an authority.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) namespace: String,
    pub(crate) authority: String,
    pub(crate) name: String,
    pub(crate) validity_days: u32,
}

impl Policy {
    pub(crate) fn is_meant(&self, by: &PolicyName) -> bool {
        by.means(&self.namespace, &self.authority, &self.name)
    }
}

/// Everything that was found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) services: Vec<Of<Service>>,
    pub(crate) links: Vec<Of<Link>>,
    pub(crate) hubs: Vec<Of<Hub>>,
    pub(crate) access: Vec<Of<Access>>,
    pub(crate) certificates: Vec<Of<Certificate>>,
    pub(crate) authorities: Vec<Of<Authority>>,
    pub(crate) policies: Vec<Of<Policy>>,
    pub(crate) enrollments: Vec<Of<Enrollment>>,
    /// What a mock has no use for, by its type, and how many there are.
    pub(crate) others: BTreeMap<String, usize>,
    /// What is not carried over.
    pub(crate) lost: Vec<String>,
}

/// Validities that a mock issues.
const VALIDITY_DAYS: std::ops::RangeInclusive<u32> = 1..=90;

/// The name of a thing: text that can stand in one line.
fn name(text: &str, place: &Place) -> Result<String, ImportError> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err(place.refuse("this cannot be a name", "names are text of one line, up to 256 bytes"));
    }
    Ok(text.to_owned())
}

/// A host's name; of a hub that is named without its domain, the domain is Azure's usual one.
fn host(text: &str, place: &Place) -> Result<String, ImportError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(plain) {
        let help = "hubs are called like my-hub.azure-devices.net";
        return Err(place.refuse(format!("`{}` cannot be a hub's host", shown(text)), help));
    }
    Ok(if text.contains('.') { text.to_owned() } else { format!("{text}.azure-devices.net") })
}

/// The host in a hub's connection string. Whatever else it holds is not looked at, because one part of it is a key.
fn host_in(connection: &str) -> Option<&str> {
    connection.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("HostName").then(|| value.trim())
    })
}

impl Found {
    fn lose(&mut self, place: &Place, what: impl std::fmt::Display) {
        self.lost.push(format!("{place}: {what}"));
    }

    /// Takes a resource that a mock has a use for.
    pub(crate) fn resource(&mut self, resource: &Resource) -> Result<(), ImportError> {
        let Resource { place, kind, name: path, body } = resource;
        let at = place.member("properties");
        let none = Value::Null;
        let properties = Object::new(body.get("properties").unwrap_or(&none), &at);
        let whole = |count: usize| {
            let what = format!("its name has {} parts instead of {count}", path.len());
            if path.len() == count { Ok(()) } else { Err(place.refuse(what, "is this a template?")) }
        };
        match &**kind {
            SERVICE => {
                whole(1)?;
                let service = name(&path[0], place)?;
                let allocation = self.allocation(&properties, "allocationPolicy")?;
                let id_scope = properties.text("idScope")?.map(str::to_owned);
                for (place, link) in properties.items("iotHubs")? {
                    self.link(&place, link, Some(&service))?;
                }
                for (place, policy) in properties.items("authorizationPolicies")? {
                    self.access(&place, policy, Some(&service))?;
                }
                if !properties.items("ipFilterRules")?.is_empty() {
                    self.lose(&at, "the mock has no IP filter; `ipFilterRules` are left out");
                }
                if properties
                    .text("publicNetworkAccess")?
                    .is_some_and(|access| access.eq_ignore_ascii_case("disabled"))
                {
                    self.lose(&at, "the mock has no private network; `publicNetworkAccess` is left out");
                }
                self.service(place, Service { name: service, id_scope, allocation });
            }
            CERTIFICATE => {
                whole(2)?;
                let value = Certificate {
                    name: name(&path[1], place)?,
                    verified: properties.flag("isVerified")?.unwrap_or(false),
                };
                self.certificates.push(Of { place: place.clone(), service: Some(path[0].clone()), value });
            }
            HUB => {
                whole(1)?;
                let said = properties.text("hostName")?.unwrap_or(&path[0]);
                let sku = place.member("sku");
                let sku = Object::new(body.get("sku").unwrap_or(&none), &sku);
                let host = host(said, place)?;
                self.hub(place, host, &sku, ("name", "capacity"))?;
            }
            AUTHORITY => {
                whole(2)?;
                let is_root = properties
                    .text("certificateAuthorityType")?
                    .is_some_and(|kind| kind.eq_ignore_ascii_case("root"));
                let value = Authority { namespace: path[0].clone(), name: path[1].clone(), is_root };
                self.authorities.push(Of { place: place.clone(), service: None, value });
            }
            POLICY => {
                whole(3)?;
                let at = at.member("certificate");
                let certificate = Object::new(properties.value.get("certificate").unwrap_or(&none), &at);
                let days = certificate.number("validityPeriodInDays")?.unwrap_or(30);
                let validity_days = days.clamp(*VALIDITY_DAYS.start(), *VALIDITY_DAYS.end());
                if days != validity_days {
                    self.lose(
                        &at,
                        format_args!("the mock issues for 1 to 90 days; {days} became {validity_days}"),
                    );
                }
                let [namespace, authority, name] = [0, 1, 2].map(|part| path[part].clone());
                let value = Policy { namespace, authority, name, validity_days };
                self.policies.push(Of { place: place.clone(), service: None, value });
            }
            other => *self.others.entry(other.to_owned()).or_default() += 1,
        }
        Ok(())
    }

    pub(crate) fn service(&mut self, place: &Place, value: Service) {
        self.services.push(Of { place: place.clone(), service: Some(value.name.clone()), value });
    }

    /// A service's way to choose hubs.
    pub(crate) fn allocation(
        &mut self,
        of: &Object<'_>,
        member: &str,
    ) -> Result<Option<AllocationFile>, ImportError> {
        let Some(text) = of.text(member)? else { return Ok(None) };
        let allocation = enrollment::allocation(text)
            .filter(|policy| matches!(policy, AllocationFile::Hashed | AllocationFile::GeoLatency));
        if allocation.is_none() {
            let what =
                format!("the mock chooses hubs `hashed` or `geo-latency`; `{}` became `hashed`", shown(text));
            self.lose(&of.place.member(member), what);
        }
        Ok(allocation)
    }

    /// A hub of a service, as it is linked: in `iotHubs`, and in the list of linked hubs.
    pub(crate) fn link(
        &mut self,
        place: &Place,
        link: &Value,
        service: Option<&str>,
    ) -> Result<(), ImportError> {
        let link = Object::new(link, place);
        let connection = link.text("connectionString")?;
        let said = match (link.text("hostName")?, connection, link.text("name")?) {
            (Some(host), ..) => Some(host),
            (None, connection, name) => connection.and_then(host_in).or(name),
        };
        let weight = link.number("allocationWeight")?.unwrap_or(1);
        let value = Link {
            host: said.map(|said| host(said, place)).transpose()?,
            weight: weight.max(1),
            takes_part: weight > 0 && link.flag("applyAllocationPolicy")?.unwrap_or(true),
        };
        self.links.push(Of { place: place.clone(), service: service.map(str::to_owned), value });
        Ok(())
    }

    /// A hub with its tier.
    pub(crate) fn hub(
        &mut self,
        place: &Place,
        host: String,
        sku: &Object<'_>,
        (tier, units): (&str, &str),
    ) -> Result<(), ImportError> {
        let tier = match sku.text(tier)?.map(str::to_ascii_uppercase).as_deref() {
            None | Some("F1" | "B1" | "S1") => TierFile::S1,
            Some("B2" | "S2") => TierFile::S2,
            Some("B3" | "S3") => TierFile::S3,
            Some(other) => {
                let what = format!("the mock knows no tier `{}`; it became S1", shown(other));
                self.lose(sku.place, what);
                TierFile::S1
            }
        };
        let units = sku.number(units)?.unwrap_or(1);
        self.hubs.push(Of { place: place.clone(), service: None, value: Hub { host, tier, units } });
        Ok(())
    }

    /// A hub that Terraform or a resource names.
    pub(crate) fn host(text: &str, place: &Place) -> Result<String, ImportError> {
        host(text, place)
    }

    /// An access policy: its keys are not looked at.
    pub(crate) fn access(
        &mut self,
        place: &Place,
        policy: &Value,
        service: Option<&str>,
    ) -> Result<(), ImportError> {
        let policy = Object::new(policy, place);
        let mut permissions = Vec::new();
        for right in policy.text("rights")?.unwrap_or_default().split(',').map(str::trim) {
            match &*right.to_ascii_lowercase() {
                "serviceconfig" => permissions.push(PermissionFile::ServiceConfig),
                "enrollmentread" => permissions.push(PermissionFile::EnrollmentRead),
                "enrollmentwrite" => permissions.push(PermissionFile::EnrollmentWrite),
                "registrationstatusread" => permissions.push(PermissionFile::RegistrationStatusRead),
                "registrationstatuswrite" => permissions.push(PermissionFile::RegistrationStatusWrite),
                "" => {}
                _ => self.lose(place, format_args!("the mock has no permission `{}`", shown(right))),
            }
        }
        let name = policy.needed("keyName")?;
        self.permit(place, name, permissions, service)
    }

    /// An access policy with these permissions.
    pub(crate) fn permit(
        &mut self,
        place: &Place,
        text: &str,
        permissions: Vec<PermissionFile>,
        service: Option<&str>,
    ) -> Result<(), ImportError> {
        let value = Access { name: name(text, place)?, permissions };
        self.access.push(Of { place: place.clone(), service: service.map(str::to_owned), value });
        Ok(())
    }

    /// A CA certificate.
    pub(crate) fn certificate(
        &mut self,
        place: &Place,
        text: &str,
        verified: bool,
        service: Option<&str>,
    ) -> Result<(), ImportError> {
        let value = Certificate { name: name(text, place)?, verified };
        self.certificates.push(Of { place: place.clone(), service: service.map(str::to_owned), value });
        Ok(())
    }

    /// An enrollment or a group.
    pub(crate) fn enrollment(&mut self, place: &Place, entry: &Value) -> Result<(), ImportError> {
        if let Some(value) = enrollment::read(&Object::new(entry, place), &mut self.lost)? {
            self.enrollments.push(Of { place: place.clone(), service: None, value });
        }
        Ok(())
    }
}
