//! TLS at the door: a client certificate is asked for and not demanded.
//!
//! Devices with symmetric keys have none, so the handshake must not fail without one; and which certificates are
//! good is the service's business, which answers 401 where TLS could only hang up (`dps` 9.2, rule 7). What
//! the handshake does prove is that the client holds the certificate's key.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use crate::identity::{LateRsa, ServerIdentity};

/// A server configuration for TLS 1.2 and 1.3.
///
/// # Errors
/// The key does not fit the certificate.
pub fn server_config(identity: ServerIdentity) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let ServerIdentity { chain, key, rsa, .. } = identity;
    let usual = CertifiedKey::from_der(chain, key, &provider)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByKind { usual: Arc::new(usual), rsa }));
    Ok(config)
}

/// The usual certificate, or the one of RSA for who can do nothing with the usual one. The real service has one of RSA
/// (`dps` 9.1), which costs a server ten times as much.
struct ByKind {
    usual: Arc<CertifiedKey>,
    rsa: Option<Arc<LateRsa>>,
}

impl fmt::Debug for ByKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByKind")
    }
}

impl ResolvesServerCert for ByKind {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = self.usual.key.choose_scheme(hello.signature_schemes()).is_some();
        // Suites of TLS 1.3 leave the certificate open.
        let has_suite = hello
            .cipher_suites()
            .iter()
            .filter_map(|suite| suite.as_str())
            .any(|name| name.starts_with("TLS13_") || name.contains("_ECDSA_"));
        match &self.rsa {
            Some(rsa) if !(signs && has_suite) => rsa.get(),
            _ => Some(Arc::clone(&self.usual)),
        }
    }
}

/// Accepts any certificate whose key the client proves to hold.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
