//! What a mock's file says of the certificates that it issues.

use fleetstorm_model::service::{KeyKind, Renewal, WithoutPolicy};
use fleetstorm_protocol::credentials::Codes;
use fleetstorm_protocol::policy_name::{PolicyName, is_name, is_namespace_name};
use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretSource;

/// Days for which a certificate can be valid: Microsoft's pages say 7 to 90, others 1 to 90 (`dps` 18.3).
const VALIDITY_DAYS: std::ops::RangeInclusive<u32> = 1..=90;

/// Certificates between a device's and the root: a chain has at most five.
const INTERMEDIATES_MOST: u8 = 3;

/// A certificate authority of a namespace of the device registry. It issues certificates to devices that ask for one, and all
/// hubs take them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateAuthorityFile {
    /// Its namespace.
    pub namespace: String,
    /// Its name in the namespace.
    pub name: String,
    /// How it issues, by name.
    #[serde(rename = "policy", default)]
    pub policies: Vec<CertificatePolicyFile>,
    /// Certificates between a device's and the root, the issuing one among them: 0 to 3. Default: 1, where the key is not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intermediates: Option<u8>,
    /// PEM file with its own certificate and those above it, the root last. Default: they are made from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The key of the first of them, PKCS#8 PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<SecretSource>,
    /// When its issuing certificate is replaced, which ends those that it has issued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<Duration>,
}

/// How an authority issues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificatePolicyFile {
    /// Its name at its authority.
    pub name: String,
    /// Days for which a certificate is valid, 1 to 90.
    pub validity_days: u32,
    /// The kinds of keys that it takes. Default: all; Microsoft's page of the preview says `["p384"]`.
    #[serde(default = "every_kind")]
    pub algorithms: Vec<KeyKindFile>,
    /// When it is deleted. What it has issued stays good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Duration>,
}

fn every_kind() -> Vec<KeyKindFile> {
    vec![KeyKindFile::P256, KeyKindFile::P384, KeyKindFile::Rsa]
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKindFile {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits and more.
    Rsa,
}

impl From<KeyKindFile> for KeyKind {
    fn from(file: KeyKindFile) -> Self {
        match file {
            KeyKindFile::P256 => Self::P256,
            KeyKindFile::P384 => Self::P384,
            KeyKindFile::Rsa => Self::Rsa,
        }
    }
}

/// The policy by which the devices of an enrollment get certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyNameFile {
    /// The namespace of the authority.
    pub namespace: String,
    /// The name of the `[[certificate_authority]]`.
    pub authority: String,
    /// The name of its policy.
    pub policy: String,
}

impl From<&PolicyNameFile> for PolicyName {
    fn from(file: &PolicyNameFile) -> Self {
        Self::new(&file.namespace, &file.authority, &file.policy)
    }
}

/// What is not documented of certificates, or documented in two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IssuanceFile {
    /// What becomes of a registration that asks for a certificate where no policy says how to issue it: `ignore` assigns the
    /// device without one, `refuse` answers 400.
    pub without_policy: WithoutPolicyFile,
    /// What a hub says to a certificate that has expired, was revoked or is of another authority: a return code of CONNACK,
    /// 2 to 5; 0 closes the connection.
    pub hub_refusal: u8,
    /// Devices whose certificates are revoked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoke: Vec<RevocationFile>,
    /// How hubs renew certificates.
    pub renewal: RenewalFile,
}

impl Default for IssuanceFile {
    fn default() -> Self {
        Self {
            without_policy: WithoutPolicyFile::default(),
            hub_refusal: 5,
            revoke: Vec::new(),
            renewal: RenewalFile::default(),
        }
    }
}

/// What becomes of a request for a certificate that no policy covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithoutPolicyFile {
    /// The device is assigned and gets no certificate.
    #[default]
    Ignore,
    /// 400 with code 400004.
    Refuse,
}

impl From<WithoutPolicyFile> for WithoutPolicy {
    fn from(file: WithoutPolicyFile) -> Self {
        match file {
            WithoutPolicyFile::Ignore => Self::Ignore,
            WithoutPolicyFile::Refuse => Self::Refuse,
        }
    }
}

/// A device whose certificates are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationFile {
    /// Its registration id.
    pub registration_id: String,
    /// When, from the start: certificates that were issued before are refused.
    pub at: Duration,
}

/// How hubs renew certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalFile {
    /// Which codes they say: `2025` for 400037, 409004 and 412001, `2026` for 400040, 409005 and 412005.
    pub codes: CodesFile,
    /// How long it takes from a request's 202 to its certificate.
    pub delay: Duration,
    /// How long a request is pending at most.
    pub patience: Duration,
    /// Whether an answer that is due while nobody listens waits for somebody who does. Default: it is lost, unless the
    /// device's session is persistent.
    pub hold: bool,
    /// What becomes of a connection whose request cannot be answered, because it has no `$rid` or nobody listens.
    pub unanswerable: UnanswerableFile,
}

impl Default for RenewalFile {
    fn default() -> Self {
        let usual = Renewal::default();
        Self {
            codes: CodesFile::default(),
            delay: Duration(usual.delay),
            patience: Duration(usual.patience),
            hold: usual.hold,
            unanswerable: UnanswerableFile::default(),
        }
    }
}

impl From<RenewalFile> for Renewal {
    fn from(file: RenewalFile) -> Self {
        Self {
            codes: match file.codes {
                CodesFile::Y2025 => Codes::Y2025,
                CodesFile::Y2026 => Codes::Y2026,
            },
            delay: file.delay.0,
            patience: file.patience.0,
            hold: file.hold,
            cut: file.unanswerable == UnanswerableFile::Cut,
        }
    }
}

/// A generation of the codes that hubs say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CodesFile {
    /// Those that were measured in January 2026.
    #[serde(rename = "2025")]
    Y2025,
    /// Those that the clients of autumn 2026 know.
    #[default]
    #[serde(rename = "2026")]
    Y2026,
}

/// What becomes of a connection whose request cannot be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnanswerableFile {
    /// Nothing.
    #[default]
    Silence,
    /// It ends.
    Cut,
}

/// What is wrong with a key of the file: the key, what, and what to do.
type Complaint = (String, String, String);

impl CertificateAuthorityFile {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), Complaint> {
        let complaint = |key: &str, what: String, help: &str| Err((key.to_owned(), what, help.to_owned()));
        if !is_namespace_name(&self.namespace) {
            let help = "3 to 64 lower-case letters, digits and hyphens, no hyphen at an end";
            return complaint("namespace", format!("`{}` cannot be a namespace", self.namespace), help);
        }
        let help = "3 to 63 letters, digits and hyphens, no hyphen at the beginning";
        if !is_name(&self.name) {
            return complaint("name", format!("`{}` cannot be an authority", self.name), help);
        }
        if let Some(most @ 4..) = self.intermediates {
            let help = format!("write 0 to {INTERMEDIATES_MOST}");
            return complaint("intermediates", format!("a chain with {most} intermediates"), &help);
        }
        match (&self.certificate, &self.private_key) {
            (Some(_), None) => {
                return complaint("certificate", "its key is missing".to_owned(), "add `private_key`");
            }
            (None, Some(_)) => {
                return complaint(
                    "private_key",
                    "its certificate is missing".to_owned(),
                    "add `certificate`",
                );
            }
            (Some(_), Some(_)) if self.intermediates.is_some() => {
                let what = "the file with the certificates says how many there are";
                return complaint("intermediates", what.to_owned(), "leave it out");
            }
            _ => {}
        }
        let rotates = self.certificate.is_none() && self.intermediates != Some(0);
        if !self.rotations.is_empty() && !rotates {
            let help = "leave rotations out, or let the mock make an authority with an intermediate";
            return complaint("rotations", "a root and a given key cannot be rotated".to_owned(), help);
        }
        if self.rotations.windows(2).any(|pair| pair[0] >= pair[1]) {
            let help = "each one comes after the one before it";
            return complaint("rotations", "the rotations are not in order".to_owned(), help);
        }
        for (at, policy) in self.policies.iter().enumerate() {
            let key = |key: &str| format!("policy.{at}.{key}");
            if !is_name(&policy.name) {
                return complaint(&key("name"), format!("`{}` cannot be a policy", policy.name), help);
            }
            if self.policies[..at].iter().any(|other| other.name.eq_ignore_ascii_case(&policy.name)) {
                let what = format!("there are two policies `{}`", policy.name);
                return complaint(&key("name"), what, "give each its own name");
            }
            if !VALIDITY_DAYS.contains(&policy.validity_days) {
                let what = format!("certificates that are valid for {} days", policy.validity_days);
                return complaint(&key("validity_days"), what, "write 1 to 90");
            }
            if policy.algorithms.is_empty() {
                let what = "a policy that takes no key issues nothing".to_owned();
                return complaint(&key("algorithms"), what, "write p256, p384 or rsa");
            }
        }
        Ok(())
    }
}

impl IssuanceFile {
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), Complaint> {
        if !matches!(self.hub_refusal, 0 | 2..=5) {
            let help = "write 2 to 5, or 0 to close the connection".to_owned();
            return Err(("hub_refusal".to_owned(), "this code does not fit".to_owned(), help));
        }
        if self.renewal.patience.0 == Span::ZERO {
            let what = "a request that is given up at once is never answered".to_owned();
            return Err(("renewal.patience".to_owned(), what, "write a time such as 12h".to_owned()));
        }
        Ok(())
    }
}

impl PolicyNameFile {
    /// Whether one of these authorities has the policy.
    pub(super) fn is_among(&self, authorities: &[CertificateAuthorityFile]) -> bool {
        let name = PolicyName::from(self);
        authorities.iter().any(|authority| {
            let mut policies = authority.policies.iter();
            policies.any(|policy| name.means(&authority.namespace, &authority.name, &policy.name))
        })
    }
}
