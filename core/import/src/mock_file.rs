//! What was found, put together as a mock's file.

use std::collections::{BTreeMap, BTreeSet};

use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_scenario::{
    AccessPolicyFile, CertificateAuthorityFile, CertificateFile, CertificatePolicyFile, EnrollmentFile,
    EnrollmentGroupFile, HubFile, KeyKindFile, MockFile, PolicyNameFile, SecretSource, TierFile,
};
use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;

use crate::Source;
use crate::enrollment::{Enrollment, Proof};
use crate::error::{ImportError, Place, shown};
use crate::found::{Access, Authority, Certificate, Found, Hub, Link, Of, Policy, Service};

/// How a file that was written here begins.
pub const HEADER: &str = "# Written by `fleetstorm import`";

/// How long certificates are valid whose policy is not in the files, in days.
const VALIDITY_USUAL: u32 = 30;

/// Where the mock's file looks for keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// In files below `keys/`, beside it.
    #[default]
    Files,
    /// In environment variables.
    Environment,
}

/// What to import, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The service, where the files tell of several.
    pub service: Option<String>,
    /// Where keys will be.
    pub keys: Keys,
}

/// A mock's file, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The file.
    pub text: String,
    /// What the mock needs beside it, a line each: the place and what it is.
    pub needs: Vec<String>,
    /// What was not carried over, a line each.
    pub lost: Vec<String>,
}

/// Puts everything together.
pub(crate) fn write(
    mut found: Found,
    sources: &[Source<'_>],
    options: &Options,
) -> Result<Imported, ImportError> {
    let is_nothing = found.services.is_empty()
        && found.links.is_empty()
        && found.access.is_empty()
        && found.certificates.is_empty()
        && found.policies.is_empty()
        && found.enrollments.is_empty();
    if is_nothing {
        let rest: Vec<String> = others(&found).into_iter().collect();
        let rest = if rest.is_empty() { "they are empty".to_owned() } else { rest.join("; ") };
        return Err(ImportError::Nothing(format!(
            "the files say nothing of a Device Provisioning Service ({rest}); left out on the way: {}",
            if found.lost.is_empty() { "nothing".to_owned() } else { found.lost.join("; ") }
        )));
    }
    let service = chosen(&found, options)?;
    let mut desk = Desk {
        keys: options.keys,
        taken: BTreeMap::new(),
        certificates: BTreeSet::new(),
        needs: Vec::new(),
        lost: std::mem::take(&mut found.lost),
    };
    desk.lost.extend(others(&found));
    let usual = MockFile::default();
    let id_scope = match service.as_ref().and_then(|service| service.id_scope.clone()) {
        Some(scope) => scope,
        None => {
            desk.lost.push(format!("the id scope is not in the files; the mock's own is {}", usual.id_scope));
            usual.id_scope.clone()
        }
    };
    if id_scope.len() > 64 || !id_scope.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ImportError::Nothing(format!(
            "`{}` is no id scope: those are letters and digits, like 0ne00012345",
            shown(&id_scope)
        )));
    }
    let is_own = |of: &Option<String>| match (of, &service) {
        (Some(of), Some(service)) => of.eq_ignore_ascii_case(&service.name),
        _ => true,
    };
    let enrollments = once("enrollments", found.enrollments, false, |entry: &Enrollment| {
        format!("{}{}", if entry.is_group { "group " } else { "" }, entry.id)
    })?;
    let policies = once("certificate policies", found.policies, false, |policy: &Policy| {
        format!("{}/{}/{}", policy.namespace, policy.authority, policy.name)
    })?;
    let authorities = once("certificate authorities", found.authorities, false, |authority: &Authority| {
        format!("{}/{}", authority.namespace, authority.name)
    })?;
    found.links.retain(|link| is_own(&link.service));
    found.certificates.retain(|certificate| is_own(&certificate.service));
    found.access.retain(|policy| is_own(&policy.service));
    let certificates = once("certificates", found.certificates, false, |certificate: &Certificate| {
        certificate.name.clone()
    })?;
    // Two of a name may have two keys, which are not looked at.
    let access = once("access policies", found.access, true, |policy: &Access| policy.name.clone())?;
    let known_hubs = once("hubs", found.hubs, false, |hub: &Hub| hub.host.clone())?;

    let mut links = hosts(found.links, &known_hubs, &mut desk)?;
    let had_links = !links.is_empty();
    let mut linked: BTreeSet<String> = links.iter().map(|link| link.0.to_ascii_lowercase()).collect();
    for entry in &enrollments {
        for host in entry.value.hub.iter().chain(&entry.value.hubs) {
            if linked.insert(host.to_ascii_lowercase()) {
                desk.lost.push(format!(
                    "{}: the hub {} is not linked in the files, and was added",
                    entry.place,
                    shown(host)
                ));
                links.push((host.clone(), 1, !had_links));
            }
        }
    }
    let parts: Vec<String> = links.iter().filter(|link| link.2).map(|link| link.0.clone()).collect();
    let narrowed = !parts.is_empty() && parts.len() < links.len();
    if narrowed && enrollments.is_empty() {
        desk.lost.push("which hubs take no part in allocation (`applyAllocationPolicy`): enrollments would say it with `hubs`".to_owned());
    } else if parts.is_empty() && !links.is_empty() {
        desk.lost.push("no hub takes part in allocation (`applyAllocationPolicy`); here all do".to_owned());
    }
    if links.is_empty() {
        desk.lost.push("there is no hub in the files, so the mock has its demo's; `az iot dps linked-hub list` tells them".to_owned());
    }
    let mut issuing = Issuing::new(authorities, policies);
    let mut mock = MockFile {
        id_scope,
        allocation: service.and_then(|service| service.allocation).unwrap_or_default(),
        hubs: links.iter().map(|(host, weight, _)| hub(host, *weight, &known_hubs)).collect(),
        ..usual
    };
    for certificate in certificates {
        mock.certificates.push(desk.certificate_file(&certificate.value));
    }
    for policy in access {
        let name = policy.value.name;
        let key =
            desk.key("policy", &name, format!("the primary key of the access policy `{}`", shown(&name)));
        mock.access_policies.push(AccessPolicyFile {
            name,
            primary_key: key,
            secondary_key: None,
            permissions: policy.value.permissions,
        });
    }
    for entry in enrollments {
        let policy = entry.value.policy.as_ref();
        let policy = policy.map(|policy| issuing.policy(policy, &entry.place, &mut desk)).transpose()?;
        let mut entry = entry.value;
        if narrowed && entry.hub.is_none() && entry.hubs.is_empty() {
            entry.hubs.clone_from(&parts);
        }
        desk.references(&entry, &mut mock.certificates);
        if entry.is_group {
            mock.enrollment_groups.push(desk.group(entry, policy));
        } else {
            mock.enrollments.push(desk.individual(entry, policy));
        }
    }
    if mock.enrollments.is_empty() && mock.enrollment_groups.is_empty() {
        desk.lost.push(
            "there are no enrollments in the files, so the mock has its demo's; `az iot dps enrollment-group list` and \
             `az iot dps enrollment list` tell them, no template or state does"
                .to_owned(),
        );
    }
    mock.certificate_authorities = issuing.files;
    let body = mock.concise().map_err(ImportError::Unfit)?;
    let names: Vec<String> = sources.iter().map(|source| Place::top(source.name).to_string()).collect();
    let text = format!(
        "{HEADER} from {}.\n# Keys are not in it: it says where they will be.\n\n{body}",
        names.join(", ")
    );
    Ok(Imported { text, needs: desk.needs, lost: desk.lost })
}

/// What a mock has no use for.
fn others(found: &Found) -> Option<String> {
    let list: Vec<String> =
        found.others.iter().map(|(kind, count)| format!("{count} of {}", shown(kind))).collect();
    (!list.is_empty()).then(|| format!("what a mock has no use for: {}", list.join(", ")))
}

/// Those that say the same are one; two of a name that differ, or of which one cannot tell, are an error.
fn once<T: PartialEq>(
    what: &str,
    list: Vec<Of<T>>,
    always: bool,
    name: impl Fn(&T) -> String,
) -> Result<Vec<Of<T>>, ImportError> {
    let mut kept: Vec<Of<T>> = Vec::new();
    let mut places = BTreeMap::new();
    for entry in list {
        let known = name(&entry.value);
        match places.get(&known.to_ascii_lowercase()) {
            None => {
                places.insert(known.to_ascii_lowercase(), kept.len());
                kept.push(entry);
            }
            Some(at) => {
                let first: &Of<T> = &kept[*at];
                if always || first.value != entry.value {
                    return Err(ImportError::Ambiguous {
                        what: format!("there are two {what} `{}`", shown(&known)),
                        places: Box::new([first.place.clone(), entry.place]),
                        help: "leave one of the two files or entries out".to_owned(),
                    });
                }
            }
        }
    }
    Ok(kept)
}

/// The service that is imported: the one that is named, or the only one.
fn chosen(found: &Found, options: &Options) -> Result<Option<Service>, ImportError> {
    let mut services: Vec<(Service, Place)> = Vec::new();
    let named = |name: &String| Service { name: name.clone(), id_scope: None, allocation: None };
    let told = found.services.iter().map(|service| (service.value.clone(), &service.place));
    let links = found.links.iter().map(|link| (&link.service, &link.place));
    let certificates =
        found.certificates.iter().map(|certificate| (&certificate.service, &certificate.place));
    let access = found.access.iter().map(|policy| (&policy.service, &policy.place));
    let holders = links.chain(certificates).chain(access);
    let holders = holders.filter_map(|(service, place)| Some((named(service.as_ref()?), place)));
    for (service, place) in told.chain(holders) {
        let Some((known, first)) =
            services.iter_mut().find(|(known, _)| known.name.eq_ignore_ascii_case(&service.name))
        else {
            services.push((service, place.clone()));
            continue;
        };
        let differ = |what: &str| ImportError::Ambiguous {
            what: format!("there are two {what} of the service `{}`", shown(&known.name)),
            places: Box::new([first.clone(), place.clone()]),
            help: "give the file that says it as it is now".to_owned(),
        };
        if known.id_scope.is_some() && service.id_scope.is_some() && known.id_scope != service.id_scope {
            return Err(differ("id scopes"));
        }
        if known.allocation.is_some()
            && service.allocation.is_some()
            && known.allocation != service.allocation
        {
            return Err(differ("allocation policies"));
        }
        known.id_scope = known.id_scope.take().or(service.id_scope);
        known.allocation = known.allocation.or(service.allocation);
    }
    if let Some(wanted) = &options.service {
        let names: Vec<String> =
            services.iter().map(|(service, _)| format!("`{}`", shown(&service.name))).collect();
        let named = services.into_iter().find(|(service, _)| service.name.eq_ignore_ascii_case(wanted));
        return match named {
            Some((service, _)) => Ok(Some(service)),
            None => Err(ImportError::Nothing(format!(
                "there is no service `{}` in the files; there {} {}",
                shown(wanted),
                if names.len() == 1 { "is" } else { "are" },
                if names.is_empty() { "none with a name".to_owned() } else { names.join(", ") }
            ))),
        };
    }
    if let [(one, first), (other, second), ..] = &*services {
        return Err(ImportError::Ambiguous {
            what: format!("there are two services, `{}` and `{}`", shown(&one.name), shown(&other.name)),
            places: Box::new([first.clone(), second.clone()]),
            help: "say which one with --service NAME".to_owned(),
        });
    }
    Ok(services.pop().map(|(service, _)| service))
}

/// The hosts of linked hubs, their weights, and whether they take part. A hub that only a deployment knows is the one that is
/// linked nowhere, if there is one.
fn hosts(
    links: Vec<Of<Link>>,
    hubs: &[Of<Hub>],
    desk: &mut Desk,
) -> Result<Vec<(String, u32, bool)>, ImportError> {
    let (known, unknown): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| link.value.host.is_some());
    let host = |link: &Link| link.host.clone().unwrap_or_default();
    let known = once("linked hubs", known, false, host)?;
    let mut list: Vec<(String, u32, bool)> =
        known.iter().map(|link| (host(&link.value), link.value.weight, link.value.takes_part)).collect();
    let loose: Vec<&str> = hubs
        .iter()
        .map(|hub| &*hub.value.host)
        .filter(|hub| !list.iter().any(|(host, ..)| host.eq_ignore_ascii_case(hub)))
        .collect();
    let only = if unknown.len() == 1 && loose.len() == 1 { Some(loose[0].to_owned()) } else { None };
    for (at, link) in unknown.into_iter().enumerate() {
        let host = only.clone().unwrap_or_else(|| format!("unknown-hub-{}.azure-devices.net", at + 1));
        let why =
            if only.is_some() { "it is the only hub that is linked nowhere" } else { "write its host there" };
        desk.lost.push(format!(
            "{}: which hub is linked is known to a deployment only; {host} was written: {why}",
            link.place
        ));
        list.push((host, link.value.weight, link.value.takes_part));
    }
    Ok(list)
}

fn hub(host: &str, weight: u32, known: &[Of<Hub>]) -> HubFile {
    let known = known.iter().find(|hub| hub.value.host.eq_ignore_ascii_case(host));
    HubFile {
        host: host.to_owned(),
        weight,
        tier: known.map_or(TierFile::default(), |hub| hub.value.tier),
        units: known.map_or(1, |hub| hub.value.units),
        backlog: Duration(Span::from_secs(60)),
        registry_limit: false,
        connection_profile: None,
        states: Vec::new(),
        reprovision: Vec::new(),
    }
}

/// The authorities of the mock's file, which grow by the policies that enrollments name.
struct Issuing {
    known: Vec<Of<Policy>>,
    files: Vec<CertificateAuthorityFile>,
}

impl Issuing {
    fn new(authorities: Vec<Of<Authority>>, policies: Vec<Of<Policy>>) -> Self {
        let mut issuing = Self { known: Vec::new(), files: Vec::new() };
        for policy in &policies {
            issuing.add(&policy.value);
        }
        for authority in authorities.iter().filter(|authority| authority.value.is_root) {
            let Authority { namespace, name, .. } = &authority.value;
            let same = |file: &&mut CertificateAuthorityFile| {
                file.namespace == *namespace && file.name.eq_ignore_ascii_case(name)
            };
            if let Some(file) = issuing.files.iter_mut().find(same) {
                file.intermediates = Some(0);
            }
        }
        issuing.known = policies;
        issuing
    }

    fn add(&mut self, policy: &Policy) {
        let same = |file: &CertificateAuthorityFile| {
            file.namespace == policy.namespace && file.name.eq_ignore_ascii_case(&policy.authority)
        };
        let at = self.files.iter().position(same).unwrap_or_else(|| {
            self.files.push(CertificateAuthorityFile {
                namespace: policy.namespace.clone(),
                name: policy.authority.clone(),
                policies: Vec::new(),
                intermediates: None,
                certificate: None,
                private_key: None,
                rotations: Vec::new(),
            });
            self.files.len() - 1
        });
        self.files[at].policies.push(CertificatePolicyFile {
            name: policy.name.clone(),
            validity_days: policy.validity_days,
            algorithms: vec![KeyKindFile::P256, KeyKindFile::P384, KeyKindFile::Rsa],
            deleted_at: None,
        });
    }

    /// The policy that an enrollment means; one that the files do not have is made.
    fn policy(
        &mut self,
        meant: &PolicyName,
        place: &Place,
        desk: &mut Desk,
    ) -> Result<PolicyNameFile, ImportError> {
        let mut fitting = self.known.iter().filter(|policy| policy.value.is_meant(meant));
        let policy = match (fitting.next(), fitting.next()) {
            (Some(first), Some(second)) => {
                let name = meant.policy.as_deref().unwrap_or_default();
                return Err(ImportError::Ambiguous {
                    what: format!("{place} means one of two certificate policies `{}`", shown(name)),
                    places: Box::new([first.place.clone(), second.place.clone()]),
                    help: "leave one of them out, or read the enrollments with a newer Azure command line"
                        .to_owned(),
                });
            }
            (Some(policy), None) => policy.value.clone(),
            (None, _) => {
                let part = |part: &Option<Box<str>>| part.as_deref().unwrap_or("imported").to_owned();
                let policy = Policy {
                    namespace: part(&meant.namespace),
                    authority: part(&meant.authority),
                    name: part(&meant.policy),
                    validity_days: VALIDITY_USUAL,
                };
                desk.lost.push(format!(
                    "{place}: the certificate policy `{}` is not in the files; one of {VALIDITY_USUAL} days was written",
                    shown(&policy.name)
                ));
                self.add(&policy);
                self.known.push(Of { place: place.clone(), service: None, value: policy.clone() });
                policy
            }
        };
        Ok(PolicyNameFile { namespace: policy.namespace, authority: policy.authority, policy: policy.name })
    }
}

/// Where keys and certificates will be, and what there is to say.
struct Desk {
    keys: Keys,
    /// Places that are taken, and how many more would have been called so.
    taken: BTreeMap<String, u32>,
    /// Certificates that the mock's file has.
    certificates: BTreeSet<String>,
    needs: Vec<String>,
    lost: Vec<String>,
}

impl Desk {
    /// A name like this one that nothing else has.
    fn free(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        while let Some(more) = self.taken.get_mut(&free) {
            *more += 1;
            free = format!("{name}-{more}");
            let next = *more;
            self.taken.insert(name.to_owned(), next);
        }
        self.taken.insert(free.clone(), 1);
        free
    }

    /// The name of a file or a variable: of what a person has called it, what can stand there.
    fn called(name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
        name.chars().take(100).map(plain).collect()
    }

    fn key(&mut self, kind: &str, name: &str, what: String) -> SecretSource {
        let name = Self::called(name);
        match self.keys {
            Keys::Files => {
                let path =
                    format!("keys/{}.key", self.free(&format!("{kind}-{}", name.to_ascii_lowercase())));
                self.needs.push(format!("{path}: {what}, in base64"));
                SecretSource::File(path)
            }
            Keys::Environment => {
                let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
                let name: String = format!("DPS_{kind}_{name}").chars().map(plain).collect();
                let name = self.free(&name).replace('-', "_");
                self.needs.push(format!("${name}: {what}, in base64"));
                SecretSource::Env(name)
            }
        }
    }

    fn certificate(&mut self, name: &str, what: String) -> String {
        let name = Self::called(name).to_ascii_lowercase();
        let path = format!(
            "certificates/{}.pem",
            self.free(&format!("certificate-{name}")).trim_start_matches("certificate-")
        );
        self.needs.push(format!("{path}: {what}, in PEM"));
        path
    }

    fn certificate_file(&mut self, certificate: &Certificate) -> CertificateFile {
        let Certificate { name, verified } = certificate;
        self.certificates.insert(name.clone());
        let file = self.certificate(name, format!("the certificate `{}` of the service", shown(name)));
        CertificateFile { name: name.clone(), file, verified: *verified }
    }

    /// Adds the certificates that an enrollment refers to and the files do not have.
    fn references(&mut self, entry: &Enrollment, certificates: &mut Vec<CertificateFile>) {
        let Proof::Ca { primary, secondary } = &entry.proof else { return };
        for name in [Some(primary), secondary.as_ref()].into_iter().flatten() {
            if !self.certificates.contains(name) {
                certificates.push(self.certificate_file(&Certificate { name: name.clone(), verified: true }));
            }
        }
    }

    fn individual(
        &mut self,
        entry: Enrollment,
        certificate_policy: Option<PolicyNameFile>,
    ) -> EnrollmentFile {
        let proved = self.proved(&entry);
        EnrollmentFile {
            registration_id: entry.id,
            device_id: entry.device_id,
            primary_key: proved.key,
            secondary_key: None,
            primary_certificate: proved.certificates[0].clone(),
            secondary_certificate: proved.certificates[1].clone(),
            primary_ca: proved.ca[0].clone(),
            secondary_ca: proved.ca[1].clone(),
            endorsement_key: proved.tpm[0].clone(),
            storage_root_key: proved.tpm[1].clone(),
            enabled: entry.enabled,
            hub: entry.hub,
            allocation: entry.allocation,
            hubs: entry.hubs,
            webhook_url: entry.webhook_url,
            reprovision: entry.reprovision,
            initial_twin: entry.initial_twin,
            certificate_policy,
        }
    }

    fn group(
        &mut self,
        entry: Enrollment,
        certificate_policy: Option<PolicyNameFile>,
    ) -> EnrollmentGroupFile {
        let proved = self.proved(&entry);
        EnrollmentGroupFile {
            id: entry.id,
            primary_key: proved.key,
            secondary_key: None,
            primary_certificate: proved.certificates[0].clone(),
            secondary_certificate: proved.certificates[1].clone(),
            verified: None,
            primary_ca: proved.ca[0].clone(),
            secondary_ca: proved.ca[1].clone(),
            enabled: entry.enabled,
            hub: entry.hub,
            allocation: entry.allocation,
            hubs: entry.hubs,
            webhook_url: entry.webhook_url,
            reprovision: entry.reprovision,
            initial_twin: entry.initial_twin,
            certificate_policy,
        }
    }

    /// What proves devices, as the file has it.
    fn proved(&mut self, entry: &Enrollment) -> Proved {
        let kind = if entry.is_group { "group" } else { "enrollment" };
        let whose = format!(
            "of the {} `{}`",
            if entry.is_group { "enrollment group" } else { "enrollment" },
            entry.id
        );
        let mut proved = Proved::default();
        match &entry.proof {
            Proof::Key => proved.key = Some(self.key(kind, &entry.id, format!("the primary key {whose}"))),
            Proof::Certificates { primary, secondary } => {
                let name = format!("{kind}-{}", entry.id);
                let first = self.certificate(&name, format!("the primary certificate {whose} ({primary})"));
                let second = secondary.as_ref().map(|about| {
                    self.certificate(
                        &format!("{name}-secondary"),
                        format!("the secondary certificate {whose} ({about})"),
                    )
                });
                proved.certificates = [Some(first), second];
            }
            Proof::Ca { primary, secondary } => proved.ca = [Some(primary.clone()), secondary.clone()],
            Proof::Tpm { endorsement_key, storage_root_key } => {
                proved.tpm = [Some(endorsement_key.clone()), storage_root_key.clone()];
            }
        }
        proved
    }
}

#[derive(Default)]
struct Proved {
    key: Option<SecretSource>,
    certificates: [Option<String>; 2],
    ca: [Option<String>; 2],
    tpm: [Option<String>; 2],
}
