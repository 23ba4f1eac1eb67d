//! The policy's names and the references to types of an enrollment, as each version of the service API has them
//! (`dps` 18.2). What a version does not have is not looked at.

use std::borrow::Cow;

use super::Wire;
use crate::policy_name::{PolicyName, is_name, is_namespace_name};
use crate::{PolicySpelling, ServiceApi};

/// Most references that an enrollment has.
const TYPE_REFS_MOST: usize = 1;

/// The policy that a request names, if it names one; the outer `None` if it does so wrongly.
pub(super) fn read_policy(wire: &mut Wire<'_>, spelling: PolicySpelling) -> Option<Option<PolicyName>> {
    let checked = |text: Option<Cow<'_, str>>, is_good: fn(&str) -> bool| match text.as_deref() {
        None | Some("") => Some(None),
        Some(text) => is_good(text).then(|| Some(text.into())),
    };
    let name = match spelling {
        PolicySpelling::Credential => {
            let policy = checked(wire.credential_policy_name.take(), is_name)?;
            PolicyName { policy, ..PolicyName::default() }
        }
        PolicySpelling::ResourceId => match wire.certificate_policy_resource_id.take().as_deref() {
            None | Some("") => PolicyName::default(),
            Some(id) => PolicyName::of_resource_id(id)?,
        },
        PolicySpelling::Names => PolicyName {
            namespace: checked(wire.namespace_name.take(), is_namespace_name)?,
            authority: checked(wire.certificate_authority_name.take(), is_name)?,
            policy: checked(wire.certificate_policy_name.take(), is_name)?,
            resource_id: None,
        },
    };
    Some((name != PolicyName::default()).then_some(name))
}

/// Writes the policy as a version spells it, as far as it can.
pub(super) fn write_policy<'a>(wire: &mut Wire<'a>, policy: &'a PolicyName, api: ServiceApi) {
    let text = |part: &'a Option<Box<str>>| part.as_deref().map(Cow::Borrowed);
    match api.policy {
        None => {}
        Some(PolicySpelling::Credential) => wire.credential_policy_name = text(&policy.policy),
        Some(PolicySpelling::ResourceId) => {
            wire.certificate_policy_resource_id = policy.to_resource_id().map(Cow::Owned);
        }
        Some(PolicySpelling::Names) => {
            wire.namespace_name = text(&policy.namespace);
            wire.certificate_authority_name = text(&policy.authority);
            wire.certificate_policy_name = text(&policy.policy);
        }
    }
}

/// The references to types; `None` if there are too many.
pub(super) fn read_type_refs(wire: &mut Wire<'_>) -> Option<Vec<String>> {
    let refs = wire.device_type_refs.take().unwrap_or_default();
    (refs.len() <= TYPE_REFS_MOST).then_some(refs)
}
