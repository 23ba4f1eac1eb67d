//! A device's certificate at TLS, with the key kept by its attestation.

use std::sync::Arc;

use fleetstorm_plugin_host::DeviceIdentity;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ClientConfig, SignatureAlgorithm, SignatureScheme};

/// The shared configuration with one device's certificate. Made for the handshake and dropped after it, so that a
/// connected device does not keep its chain a second time.
pub(super) fn with_certificate(
    shared: &Arc<ClientConfig>,
    identity: &Arc<DeviceIdentity>,
) -> Arc<ClientConfig> {
    let chain: Vec<_> = identity.certificates().into_iter().map(CertificateDer::from).collect();
    if chain.is_empty() {
        return Arc::clone(shared);
    }
    let key = Arc::new(CertifiedKey::new(chain, Arc::new(DeviceKey(Arc::clone(identity)))));
    let mut config = ClientConfig::clone(shared);
    config.client_auth_cert_resolver = Arc::new(Always(key));
    Arc::new(config)
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

struct DeviceKey(Arc<DeviceIdentity>);

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKey")
    }
}

impl SigningKey for DeviceKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut schemes = self.0.schemes().iter().map(|&scheme| SignatureScheme::from(scheme));
        let scheme = schemes.find(|scheme| offered.contains(scheme))?;
        Some(Box::new(DeviceSigner { identity: Arc::clone(&self.0), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

struct DeviceSigner {
    identity: Arc<DeviceIdentity>,
    scheme: SignatureScheme,
}

impl std::fmt::Debug for DeviceSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceSigner({:?})", self.scheme)
    }
}

impl Signer for DeviceSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.identity
            .sign(self.scheme.into(), message)
            .map_err(|_| rustls::Error::General("the attestation could not sign".to_owned()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
