//! The name of the policy by which a device's certificates are issued, which the service API has spelled in three ways
//! (`dps` 18.2).

/// Whom an enrollment asks for certificates: a policy of a certificate authority in a namespace of the device registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyName {
    /// `namespaceName`.
    pub namespace: Option<Box<str>>,
    /// `certificateAuthorityName`.
    pub authority: Option<Box<str>>,
    /// `certificatePolicyName`, or the older `credentialPolicyName`.
    pub policy: Option<Box<str>>,
    /// `certificatePolicyResourceId` as it was spelled, if it was.
    pub resource_id: Option<Box<str>>,
}

impl PolicyName {
    /// A policy by its whole name.
    pub fn new(namespace: &str, authority: &str, policy: &str) -> Self {
        Self {
            namespace: Some(namespace.into()),
            authority: Some(authority.into()),
            policy: Some(policy.into()),
            resource_id: None,
        }
    }

    /// Reads a resource id; `None` if it is none of a policy. Its type is spelled in two ways.
    pub fn of_resource_id(id: &str) -> Option<Self> {
        let lower = id.to_ascii_lowercase();
        let at = lower.rfind("/microsoft.deviceregistry/")?;
        let mut parts = id[at..].split('/').skip(2);
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let kind = next()?;
        let is_namespace =
            ["deviceRegistryNamespaces", "namespaces"].iter().any(|known| kind.eq_ignore_ascii_case(known));
        let namespace = next().filter(|name| is_namespace && is_namespace_name(name))?;
        next().filter(|kind| kind.eq_ignore_ascii_case("certificateAuthorities"))?;
        let authority = next().filter(|name| is_name(name))?;
        next().filter(|kind| kind.eq_ignore_ascii_case("certificatePolicies"))?;
        let policy = next().filter(|name| is_name(name))?;
        next()
            .is_none()
            .then(|| Self { resource_id: Some(id.into()), ..Self::new(namespace, authority, policy) })
    }

    /// The resource id; `None` where a part of the name is not known. The mock's subscription and group are made up.
    pub fn to_resource_id(&self) -> Option<String> {
        if let Some(id) = &self.resource_id {
            return Some(id.to_string());
        }
        let (namespace, authority, policy) =
            (self.namespace.as_ref()?, self.authority.as_ref()?, self.policy.as_ref()?);
        Some(format!(
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/mock/providers/Microsoft.DeviceRegistry/\
             deviceRegistryNamespaces/{namespace}/certificateAuthorities/{authority}/certificatePolicies/{policy}"
        ))
    }

    /// Whether it can mean this policy: what it leaves out does not matter, and names are compared without case.
    pub fn means(&self, namespace: &str, authority: &str, policy: &str) -> bool {
        let is = |said: &Option<Box<str>>, name: &str| {
            said.as_ref().is_none_or(|said| said.eq_ignore_ascii_case(name))
        };
        self.policy.is_some()
            && is(&self.namespace, namespace)
            && is(&self.authority, authority)
            && is(&self.policy, policy)
    }
}

/// Whether a namespace can be called so: 3 to 64 lower-case letters, digits and hyphens, none of these at an end.
pub fn is_namespace_name(name: &str) -> bool {
    (3..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether an authority or a policy can be called so: 3 to 63 letters, digits and hyphens, no hyphen at the beginning.
pub fn is_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_specification_has() {
        for (name, good) in
            [("ns-1", true), ("Ns1", false), ("a", false), ("ns-", false), ("-ns", false), ("n_s", false)]
        {
            assert_eq!(is_namespace_name(name), good, "{name}");
        }
        for (name, good) in
            [("p30", true), ("P-3", true), ("p-30-", true), ("p3", false), ("-p30", false), ("p 30", false)]
        {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(is_namespace_name(&"a".repeat(64)) && !is_namespace_name(&"a".repeat(65)));
        assert!(is_name(&"a".repeat(63)) && !is_name(&"a".repeat(64)));
    }

    #[test]
    fn a_resource_id_names_a_policy_in_both_spellings() {
        let begin = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DeviceRegistry";
        for kind in ["deviceRegistryNamespaces", "namespaces"] {
            let id = format!("{begin}/{kind}/ns-1/certificateAuthorities/ca-1/certificatePolicies/p30");
            let name = PolicyName::of_resource_id(&id).unwrap();
            assert!(name.means("ns-1", "CA-1", "p30") && !name.means("ns-1", "ca-1", "p90"));
            assert_eq!(name.to_resource_id(), Some(id));
        }
        let made = PolicyName::new("ns-1", "ca-1", "p30").to_resource_id().unwrap();
        assert!(PolicyName::of_resource_id(&made).unwrap().means("ns-1", "ca-1", "p30"));
        for id in [
            "",
            "p30",
            &format!("{begin}/namespaces/ns-1/certificateAuthorities/ca-1/certificatePolicies"),
            &format!("{begin}/namespaces/ns-1/certificateAuthorities/ca-1/certificatePolicies/p30/more"),
            &format!("{begin}/namespaces/NS/certificateAuthorities/ca-1/certificatePolicies/p30"),
            &format!("{begin}/devices/ns-1/certificateAuthorities/ca-1/certificatePolicies/p30"),
        ] {
            assert_eq!(PolicyName::of_resource_id(id), None, "{id}");
        }
    }

    #[test]
    fn a_name_without_a_policy_means_none() {
        assert!(!PolicyName::default().means("ns-1", "ca-1", "p30"));
        let alone = PolicyName { policy: Some("p30".into()), ..PolicyName::default() };
        assert!(alone.means("ns-1", "ca-1", "p30"));
    }
}
