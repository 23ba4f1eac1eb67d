//! What an instance issues: authorities, their policies, and how hubs renew certificates (`dps` 18.3 to 18.6).

use std::sync::Arc;

use fleetstorm_protocol::credentials::Codes;
use fleetstorm_protocol::mqtt::Connack;
use fleetstorm_protocol::policy_name::PolicyName;
use fleetstorm_units::time::{Moment, Span};

use super::TrustedCas;

/// What an instance issues, and how its hubs treat it.
#[derive(Clone, Debug)]
pub struct Issuance {
    /// The certificate authorities, which all hubs trust.
    pub authorities: Vec<Authority>,
    /// What becomes of a registration that asks for a certificate where no policy says how to issue it.
    pub without_policy: WithoutPolicy,
    /// Devices whose certificates are revoked, and when.
    pub revocations: Vec<(String, Moment)>,
    /// What a hub says to a certificate that it does not take; `None` closes the connection.
    pub refusal: Option<Connack>,
    /// How hubs renew certificates.
    pub renewal: Renewal,
}

impl Default for Issuance {
    fn default() -> Self {
        Self {
            authorities: Vec::new(),
            without_policy: WithoutPolicy::default(),
            revocations: Vec::new(),
            refusal: Some(Connack::NotAuthorized),
            renewal: Renewal::default(),
        }
    }
}

/// Certificates in DER, each issued by the one after it.
pub type Chain = Arc<[Arc<[u8]>]>;

/// An authority that issues devices' certificates.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The namespace of the device registry that it belongs to.
    pub namespace: String,
    /// Its name in the namespace.
    pub name: String,
    /// How it issues.
    pub policies: Vec<IssuancePolicy>,
    /// Its own certificates in DER, the issuing one first and the root last, each with when they come into force, in order.
    /// Hubs take the newest only.
    pub generations: Vec<(Moment, Chain)>,
}

/// How an authority issues.
#[derive(Clone, Debug)]
pub struct IssuancePolicy {
    /// Its name at its authority.
    pub name: String,
    /// How long a certificate is valid.
    pub validity: Span,
    /// The keys that it takes.
    pub keys: Vec<KeyKind>,
    /// When it is deleted, if it is. Certificates stay good.
    pub until: Option<Moment>,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits and more.
    Rsa,
}

/// What becomes of a registration that asks for a certificate where no policy says how to issue it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutPolicy {
    /// The device is assigned and gets no certificate.
    #[default]
    Ignore,
    /// 400.
    Refuse,
}

/// How hubs renew certificates.
#[derive(Clone, Copy, Debug)]
pub struct Renewal {
    /// Which codes they say.
    pub codes: Codes,
    /// How long it takes from a request to its certificate.
    pub delay: Span,
    /// How long a request is pending at most.
    pub patience: Span,
    /// Whether an answer that finds nobody listening waits for somebody who does.
    pub hold: bool,
    /// Whether a connection ends whose request cannot be answered: it has no id, or nobody listens.
    pub cut: bool,
}

impl Default for Renewal {
    fn default() -> Self {
        Self {
            codes: Codes::default(),
            delay: Span::from_secs(2),
            patience: Span::from_secs(12 * 3_600),
            hold: false,
            cut: false,
        }
    }
}

impl Authority {
    /// Its certificates at a time, and which of its generations they are.
    pub(super) fn generation(&self, now: Moment) -> Option<(usize, &Chain)> {
        let generations = self.generations.iter().enumerate().rev();
        generations
            .map(|(at, (from, chain))| (at, from, chain))
            .find(|(_, from, _)| **from <= now)
            .map(|(at, _, chain)| (at, chain))
    }
}

impl Issuance {
    /// The policy of this name as of now, with the place of its authority.
    pub(super) fn policy(&self, now: Moment, name: &PolicyName) -> Option<(usize, &IssuancePolicy)> {
        self.authorities.iter().enumerate().find_map(|(at, authority)| {
            let mut policies = authority.policies.iter();
            policies
                .find(|policy| name.means(&authority.namespace, &authority.name, &policy.name))
                .filter(|policy| policy.until.is_none_or(|until| now < until))
                .map(|policy| (at, policy))
        })
    }

    /// The issuing certificates that hubs take now. Their version is none that devices' authorities have.
    pub(super) fn in_force(&self, now: Moment) -> TrustedCas {
        let generations = self.authorities.iter().filter_map(|authority| authority.generation(now));
        let (mut version, mut certificates) = (1 << 63, Vec::new());
        for (at, chain) in generations {
            version += at as u64;
            certificates.extend(chain.first().cloned());
        }
        TrustedCas { version, certificates }
    }
}
