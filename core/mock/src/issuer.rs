//! The mock's issuer: keys of its certificate authorities, and the certificates that they sign (`dps` 18.3).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use fleetstorm_model::service::{Authority, Chain, IssuanceCall, IssuancePolicy};
use fleetstorm_protocol::Guid;
use fleetstorm_scenario::{CertificateAuthorityFile, CertificatePolicyFile, MockFile};
use fleetstorm_units::time::{Moment, Span};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::identity::{FleetIdentity, authority_key};
use crate::sources::{ResolveError, file, secret};

/// Where the certificates say that more can be read of their authority. Nobody is there: only their length matters, and
/// hubs do not look (`dps` 18.5).
const PUBLISHED_AT: &str = "http://pki.mock.invalid";

/// `authorityInfoAccess`, and its method `caIssuers` as it is encoded (RFC 5280, 4.2.2.1).
const AUTHORITY_INFO_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
const CA_ISSUERS: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];

/// Signs for the authorities of a mock.
pub struct Issuer {
    authorities: Vec<Keys>,
    /// Ready to sign, by the place of the authority and its generation.
    signers: RefCell<BTreeMap<(usize, usize), Signer<'static, KeyPair>>>,
}

/// Where an authority's keys come from.
enum Keys {
    /// From the seed, for each generation another one.
    Made(u64, String),
    /// PKCS#8 in DER.
    Given(zeroize::Zeroizing<Vec<u8>>),
}

impl Issuer {
    /// The issuer of a mock's file.
    ///
    /// # Errors
    /// A key that it names cannot be used.
    pub fn new(mock: &MockFile, fleet: &FleetIdentity) -> Result<Self, ResolveError> {
        let authorities =
            mock.certificate_authorities.iter().map(|file| keys(file, fleet)).collect::<Result<_, _>>()?;
        Ok(Self { authorities, signers: RefCell::default() })
    }

    /// Makes the certificate that is asked for, in DER; `None` if the cryptographic library refuses.
    pub(crate) fn issue(&self, call: &IssuanceCall) -> Option<Vec<u8>> {
        let mut signers = self.signers.borrow_mut();
        let signer = match signers.entry((call.authority, call.generation)) {
            Entry::Occupied(ready) => ready.into_mut(),
            Entry::Vacant(place) => {
                let key = self.authorities.get(call.authority)?.pair(call.generation).ok()?;
                let own = CertificateDer::from(&**call.above.first()?);
                place.insert(Signer::from_ca_cert_der(&own, key).ok()?)
            }
        };
        let key = SubjectPublicKeyInfo::from_der(&call.public_key).ok()?;
        let leaf = params(call)?.signed_by(&key, &*signer).ok()?;
        Some(leaf.der().to_vec())
    }
}

impl Keys {
    fn pair(&self, generation: usize) -> Result<KeyPair, String> {
        match self {
            Self::Made(seed, name) => issuing_key(*seed, name, generation),
            Self::Given(der) => {
                let key = PrivatePkcs8KeyDer::from(&***der);
                KeyPair::try_from(&key).map_err(|error| error.to_string())
            }
        }
    }
}

fn made_key(seed: u64, name: &str) -> Result<KeyPair, String> {
    authority_key(seed, name).map_err(|error| error.to_string())
}

fn issuing_key(seed: u64, name: &str, generation: usize) -> Result<KeyPair, String> {
    made_key(seed, &format!("{name} issuing {generation}"))
}

fn path(authority: &CertificateAuthorityFile) -> String {
    format!("{}/{}", authority.namespace, authority.name.to_ascii_lowercase())
}

fn keys(authority: &CertificateAuthorityFile, fleet: &FleetIdentity) -> Result<Keys, ResolveError> {
    let Some(source) = &authority.private_key else {
        return Ok(Keys::Made(fleet.seed(), path(authority)));
    };
    let bad = || ResolveError::new(&authority.name, "its private_key is no PKCS#8 key in PEM");
    let pem = secret(source)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| bad())?;
    Ok(Keys::Given(zeroize::Zeroizing::new(der.secret_pkcs8_der().to_vec())))
}

/// The authorities of a mock's file, with their certificates.
///
/// # Errors
/// A certificate or key that it names cannot be used.
pub(super) fn authorities(mock: &MockFile, fleet: &FleetIdentity) -> Result<Vec<Authority>, ResolveError> {
    mock.certificate_authorities
        .iter()
        .map(|file| {
            let policy = |policy: &CertificatePolicyFile| IssuancePolicy {
                name: policy.name.clone(),
                validity: Span::from_secs(u64::from(policy.validity_days) * 86_400),
                keys: policy.algorithms.iter().map(|kind| (*kind).into()).collect(),
                until: policy.deleted_at.map(|at| Moment::START + at.0),
            };
            Ok(Authority {
                namespace: file.namespace.clone(),
                name: file.name.clone(),
                policies: file.policies.iter().map(policy).collect(),
                generations: generations(file, fleet)?,
            })
        })
        .collect()
}

type Generation = (Moment, Chain);

fn generations(
    authority: &CertificateAuthorityFile,
    fleet: &FleetIdentity,
) -> Result<Vec<Generation>, ResolveError> {
    if let Some(name) = &authority.certificate {
        return Ok(vec![(Moment::START, given(authority, name, fleet)?)]);
    }
    let starts =
        std::iter::once(Moment::START).chain(authority.rotations.iter().map(|at| Moment::START + at.0));
    let unmade =
        |why: String| ResolveError::new(&authority.name, format!("the authority cannot be made: {why}"));
    let trunk = trunk(authority, fleet).map_err(unmade)?;
    starts
        .enumerate()
        .map(|(at, start)| Ok((start, trunk.chain(authority, fleet, at).map_err(unmade)?)))
        .collect()
}

/// The certificates that a file names, which must lead from the key to a root.
fn given(
    authority: &CertificateAuthorityFile,
    name: &str,
    fleet: &FleetIdentity,
) -> Result<Chain, ResolveError> {
    let pem = file(name)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain =
        chain.map_err(|_| ResolveError::new(name, "it holds something that is no certificate in PEM"))?;
    let infos: Option<Vec<_>> = chain.iter().map(|der| crate::evidence::certificate_info(der)).collect();
    let infos = infos.ok_or_else(|| ResolveError::new(name, "a certificate in it cannot be read"))?;
    let Some(root) = infos.last() else {
        return Err(ResolveError::new(name, "there is no certificate in PEM"));
    };
    if infos.len() > CHAIN_MOST {
        return Err(ResolveError::new(
            name,
            "it holds more than five certificates, the most above a device's",
        ));
    }
    if !root.is_root() || infos.windows(2).any(|pair| pair[0].issuer != pair[1].subject) {
        return Err(ResolveError::new(
            name,
            "the certificates do not lead to a root: write the authority's own first, then each one's issuer, the root last",
        ));
    }
    let key = keys(authority, fleet)?.pair(0).map_err(|why| ResolveError::new(&authority.name, why))?;
    if !crate::evidence::is_of_key(&chain[0], &key) {
        return Err(ResolveError::new(name, "its first certificate is not that of private_key"));
    }
    Ok(chain.iter().map(|der| Arc::from(&**der)).collect())
}

/// The most certificates above a device's: clients take six in all (`dps` 18.3).
const CHAIN_MOST: usize = 5;

/// The part of a made authority that is not rotated: its root, and the intermediates but for the issuing one.
struct Trunk {
    /// From the root down.
    certificates: Vec<Arc<[u8]>>,
    params: CertificateParams,
    key: KeyPair,
}

fn trunk(authority: &CertificateAuthorityFile, fleet: &FleetIdentity) -> Result<Trunk, String> {
    let intermediates = authority.intermediates.unwrap_or(1);
    let name = path(authority);
    let key = match intermediates {
        0 => issuing_key(fleet.seed(), &name, 0)?,
        _ => made_key(fleet.seed(), &format!("{name} root"))?,
    };
    let params = ca_params(&format!("{} {} root", authority.namespace, authority.name), 0);
    let root = params.self_signed(&key).map_err(|error| error.to_string())?;
    let mut trunk = Trunk { certificates: vec![Arc::from(&**root.der())], params, key };
    for number in 1..intermediates {
        let key = made_key(fleet.seed(), &format!("{name} intermediate {number}"))?;
        let common_name = format!("{} {} intermediate {number}", authority.namespace, authority.name);
        trunk = trunk.with(ca_params(&common_name, u64::from(number)), key)?;
    }
    Ok(trunk)
}

impl Trunk {
    /// A certificate more, beneath the last one.
    fn with(mut self, params: CertificateParams, key: KeyPair) -> Result<Self, String> {
        self.certificates.push(self.sign(&params, &key)?);
        Ok(Self { certificates: self.certificates, params, key })
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Result<Arc<[u8]>, String> {
        let signer = Signer::from_params(&self.params, &self.key);
        let signed = params.signed_by(key, &signer).map_err(|error| error.to_string())?;
        Ok(Arc::from(&**signed.der()))
    }

    /// The whole of a generation, the issuing certificate first.
    fn chain(
        &self,
        authority: &CertificateAuthorityFile,
        fleet: &FleetIdentity,
        generation: usize,
    ) -> Result<Chain, String> {
        let mut chain: Vec<Arc<[u8]>> = self.certificates.iter().rev().cloned().collect();
        if authority.intermediates != Some(0) {
            let key = issuing_key(fleet.seed(), &path(authority), generation)?;
            let common_name = format!("{} {} issuing {generation}", authority.namespace, authority.name);
            chain.insert(0, self.sign(&ca_params(&common_name, 100 + generation as u64), &key)?);
        }
        Ok(chain.into())
    }
}

fn ca_params(common_name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(serial + 1));
    // Wide enough for devices whose clocks are wrong and for virtual runs.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// What a device's certificate says. `None` for a time that cannot be written.
fn params(call: &IssuanceCall) -> Option<CertificateParams> {
    let at = |unix_secs: u64| OffsetDateTime::from_unix_timestamp(i64::try_from(unix_secs).ok()?).ok();
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&call.common_name);
    params.not_before = at(call.not_before_unix_secs)?;
    params.not_after = at(call.not_after_unix_secs)?;
    params.serial_number = Some(SerialNumber::from_slice(&call.serial.to_be_bytes()));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let uid = format!("urn:uuid:{}", Guid(call.device_uid)).try_into().ok()?;
    params.subject_alt_names = vec![SanType::URI(uid)];
    params.crl_distribution_points =
        vec![CrlDistributionPoint { uris: vec![format!("{PUBLISHED_AT}/issuing.crl")] }];
    params.custom_extensions = vec![CustomExtension::from_oid_content(
        AUTHORITY_INFO_ACCESS,
        issuer_is_at(&format!("{PUBLISHED_AT}/issuing.cer")),
    )];
    Some(params)
}

/// The content of `authorityInfoAccess` that names a place of the issuer's certificate. The place is shorter than 100 bytes.
fn issuer_is_at(url: &str) -> Vec<u8> {
    let sequence = |content: &[u8]| [&[0x30, content.len() as u8], content].concat();
    let location = [&[0x86, url.len() as u8], url.as_bytes()].concat();
    sequence(&sequence(&[CA_ISSUERS, &location].concat()))
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
