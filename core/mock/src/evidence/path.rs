//! Certification paths (RFC 5280, 6.1): which authorities stand above a device's certificate.
//!
//! A walk over what the device presented finds the ways to a certificate that the service trusts, and holds on each what
//! `rustls-webpki` leaves out: whether an authority may sign certificates (key usage), and everything about the trusted
//! certificate itself, its dates included. `rustls-webpki` then judges each way as a whole: signatures, dates, path
//! lengths, extended key usages, name constraints, critical extensions. It reads version 3 only; a device's certificate of
//! version 1 has no extensions, so that the walk says all of it.

use std::sync::Arc;

use fleetstorm_model::service::TrustedCas;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

/// The most certificates that a device presents: its own, and those of a few intermediates.
const PRESENTED_MAX: usize = 8;

/// Signatures that one judgement may cost. A chain of the longest length takes eight for each trusted certificate of the
/// name it ends in; only a chain that was made to be costly takes more.
const SIGNATURES_MAX: u32 = 64;

/// What stands above a certificate, and for how long that is known.
#[derive(Debug)]
pub(super) struct Ways {
    /// The authorities, DER, each with how many certificates lie between it and the device's.
    above: Vec<(Arc<[u8]>, u8)>,
    /// Up to when, and from when on, no date of any certificate concerned comes or goes.
    from_unix_secs: i64,
    until_unix_secs: i64,
    version: u64,
}

impl Ways {
    /// Judges a chain, the device's certificate first.
    pub(super) fn of(presented: &[CertificateDer<'_>], trusted: &TrustedCas, unix_secs: u64) -> Self {
        let now = i64::try_from(unix_secs).unwrap_or(i64::MAX);
        let mut ways = Self {
            above: Vec::new(),
            from_unix_secs: i64::MIN,
            until_unix_secs: i64::MAX,
            version: trusted.version,
        };
        if presented.len() > PRESENTED_MAX {
            return ways;
        }
        let Some(Some(leaf)) = presented.first().map(read) else { return ways };
        ways.dated(&leaf, now);
        // An authority vouches for devices and is none, least of all for itself.
        if leaf.is_ca() || trusted.certificates.iter().any(|ca| **ca == *presented[0]) {
            return ways;
        }
        let parsed: Vec<_> = presented.iter().map(read).collect();
        let anchors: Vec<_> = trusted
            .certificates
            .iter()
            .filter_map(|der| {
                let (_, anchor) = X509Certificate::from_der(der).ok()?;
                let names = |held: &X509Certificate<'_>| same_name(held.issuer(), anchor.subject());
                parsed.iter().flatten().any(names).then_some((der, anchor))
            })
            .collect();
        for certificate in parsed.iter().skip(1).flatten().chain(anchors.iter().map(|(_, anchor)| anchor)) {
            ways.dated(certificate, now);
        }
        let Ok(time) = ASN1Time::from_timestamp(now) else { return ways };
        let mut walk = Walk { presented, parsed, anchors, time, now, signatures: 0, path: vec![0], ways };
        walk.up(0);
        walk.ways
    }

    /// Whether this is still so.
    pub(super) fn stand(&self, trusted: &TrustedCas, unix_secs: u64) -> bool {
        let now = i64::try_from(unix_secs).unwrap_or(i64::MAX);
        self.version == trusted.version && (self.from_unix_secs..self.until_unix_secs).contains(&now)
    }

    /// How many certificates lie between an authority and the device's certificate.
    pub(super) fn depth(&self, ca: &[u8]) -> Option<u8> {
        self.above.iter().find(|(der, _)| **der == *ca).map(|(_, depth)| *depth)
    }

    fn dated(&mut self, certificate: &X509Certificate<'_>, now: i64) {
        let validity = certificate.validity();
        // A certificate is good for the second in which it ends.
        for turn in [validity.not_before.timestamp(), validity.not_after.timestamp().saturating_add(1)] {
            if turn <= now {
                self.from_unix_secs = self.from_unix_secs.max(turn);
            } else {
                self.until_unix_secs = self.until_unix_secs.min(turn);
            }
        }
    }

    fn found(&mut self, der: &[u8], depth: usize) {
        let depth = u8::try_from(depth).unwrap_or(u8::MAX);
        match self.above.iter_mut().find(|(known, _)| **known == *der) {
            Some((_, known)) => *known = depth.min(*known),
            None => self.above.push((der.into(), depth)),
        }
    }
}

fn read<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).map(|(_, read)| read).ok()
}

struct Walk<'a> {
    presented: &'a [CertificateDer<'a>],
    parsed: Vec<Option<X509Certificate<'a>>>,
    anchors: Vec<(&'a Arc<[u8]>, X509Certificate<'a>)>,
    time: ASN1Time,
    now: i64,
    signatures: u32,
    /// Places of the certificates from the device's up to the one in hand.
    path: Vec<usize>,
    ways: Ways,
}

impl Walk<'_> {
    /// Goes on from the last certificate of the path, beneath which there are `below` authorities that count for a length.
    fn up(&mut self, below: u32) {
        let Some(Some(held)) = self.path.last().map(|at| self.parsed[*at].clone()) else { return };
        if !held.validity().is_valid_at(self.time) {
            return;
        }
        for at in 0..self.anchors.len() {
            let anchor = &self.anchors[at].1;
            if may_sign(anchor, self.time, below)
                && self.signed(&held, &self.anchors[at].1.clone())
                && self.holds(at)
            {
                for depth in 1..self.path.len() {
                    self.ways.found(&self.presented[self.path[depth]], depth - 1);
                }
                self.ways.found(self.anchors[at].0, self.path.len() - 1);
            }
        }
        for at in 1..self.parsed.len() {
            let Some(issuer) = self.parsed[at].clone() else { continue };
            let known = |other: &usize| *other == at || self.presented[*other] == self.presented[at];
            if !self.path.iter().any(known)
                && may_sign(&issuer, self.time, below)
                && self.signed(&held, &issuer)
            {
                self.path.push(at);
                self.up(below + u32::from(!same_name(issuer.subject(), issuer.issuer())));
                self.path.pop();
            }
        }
    }

    fn signed(&mut self, held: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
        if !same_name(held.issuer(), issuer.subject()) || self.signatures == SIGNATURES_MAX {
            return false;
        }
        self.signatures += 1;
        held.verify_signature(Some(issuer.public_key())).is_ok()
    }

    /// Whether the path holds as a whole beneath this anchor.
    fn holds(&self, anchor: usize) -> bool {
        let leaf = &self.presented[0];
        if self.parsed[0].as_ref().is_some_and(|leaf| leaf.version().0 < 2) {
            let mut above = self.path.iter().skip(1).filter_map(|at| self.parsed[*at].as_ref());
            return !constrains_names_of_all(&self.anchors[anchor].1)
                && above.all(|ca| !constrains_names_of_all(ca) && is_for_clients(ca));
        }
        let der = CertificateDer::from(&**self.anchors[anchor].0);
        let intermediates: Vec<_> =
            self.path.iter().skip(1).map(|at| CertificateDer::from(&*self.presented[*at])).collect();
        let judge = || {
            let anchors = [webpki::anchor_from_trusted_cert(&der).ok()?];
            let leaf = webpki::EndEntityCert::try_from(leaf).ok()?;
            let now = u64::try_from(self.now).ok()?;
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &intermediates,
                UnixTime::since_unix_epoch(std::time::Duration::from_secs(now)),
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .ok()
            .map(drop)
        };
        judge().is_some()
    }
}

/// Whether an authority may sign certificates at this time, with so many authorities between it and a device's
/// certificate.
fn may_sign(ca: &X509Certificate<'_>, time: ASN1Time, below: u32) -> bool {
    // A root of version 1 has no extensions to say it with, and whoever enrolled it has.
    let is_old_root = ca.version().0 < 2 && same_name(ca.subject(), ca.issuer());
    let is_ca = match ca.basic_constraints() {
        Ok(Some(basic)) => {
            basic.value.ca && basic.value.path_len_constraint.is_none_or(|longest| below <= longest)
        }
        Ok(None) => is_old_root,
        Err(_) => false,
    };
    let signs = match ca.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    is_ca && signs && ca.validity().is_valid_at(time)
}

/// Whether an authority constrains names of a form that every certificate has: its subject's.
fn constrains_names_of_all(ca: &X509Certificate<'_>) -> bool {
    let Ok(constraints) = ca.name_constraints() else { return true };
    let trees = constraints.iter().flat_map(|constraints| {
        let value = &constraints.value;
        value.permitted_subtrees.iter().chain(&value.excluded_subtrees).flatten()
    });
    trees.into_iter().any(|tree| matches!(tree.base, GeneralName::DirectoryName(_)))
}

/// Whether an authority may vouch for clients, and says nothing that nobody understands.
fn is_for_clients(ca: &X509Certificate<'_>) -> bool {
    let uses = match ca.extended_key_usage() {
        Ok(uses) => uses.is_none_or(|uses| uses.value.client_auth),
        Err(_) => false,
    };
    let known = |extension: &X509Extension<'_>| {
        let parsed = extension.parsed_extension();
        !extension.critical
            || !matches!(
                parsed,
                ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. }
            )
    };
    uses && ca.extensions().iter().all(known)
}

fn same_name(one: &x509_parser::x509::X509Name<'_>, other: &x509_parser::x509::X509Name<'_>) -> bool {
    one.as_raw() == other.as_raw()
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
