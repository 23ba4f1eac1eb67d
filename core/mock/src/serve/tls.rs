//! TLS at the door: a client certificate is asked for and not demanded.
//!
//! Devices with symmetric keys have none, so the handshake must not fail without one; and which certificates are
//! good is the service's business, which answers 401 where TLS could only hang up (`dps` 9.2, rule 7). What
//! the handshake does prove is that the client holds the certificate's key.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};

use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

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

/// The key of a certificate of an older version than 3, which `rustls` does not read: the service says what it makes of
/// one (`dps` 9.2).
fn key_of_old(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    (read.version() != X509Version::V3).then(|| SubjectPublicKeyInfoDer::from(read.public_key().raw.to_vec()))
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
        let algorithms = &self.0.signature_verification_algorithms;
        let Some(key) = key_of_old(certificate) else {
            return verify_tls12_signature(message, certificate, signed, algorithms);
        };
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let of_scheme = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        // A scheme of TLS 1.2 leaves the curve open.
        let is_proved = of_scheme
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
        if is_proved {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        match key_of_old(certificate) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, signed, algorithms),
            None => verify_tls13_signature(message, certificate, signed, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::sign::SingleCertAndKey;
    use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::identity::ServerKeys;

    /// A certificate of version 1 and its key, of this kind.
    fn old(directory: &Path, name: &str, kind: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let run = |arguments: &str| {
            let mut openssl = std::process::Command::new("openssl");
            let done = openssl.args(arguments.split_whitespace()).current_dir(directory).output();
            let done = done.expect("this test needs openssl");
            assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run(&format!("req -newkey {kind} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        run(&format!("x509 -req -in {name}.csr -signkey {name}.key -days 30 -out {name}.pem"));
        let certificate = CertificateDer::from_pem_file(directory.join(format!("{name}.pem"))).unwrap();
        let (_, read) = X509Certificate::from_der(&certificate).unwrap();
        assert_eq!(read.version(), X509Version::V1);
        let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
        (certificate.into_owned(), key)
    }

    /// Whether the door lets a client in that presents this certificate and signs with this key.
    async fn lets_in(
        certificate: &CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
        version: &'static SupportedProtocolVersion,
    ) -> bool {
        let identity = ServerIdentity::throw_away(&[], ServerKeys::Ecdsa).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(identity.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(key.clone_key()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let presented = CertifiedKey::new(vec![certificate.clone()], key);
        client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(presented));
        let (here, there) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(Arc::new(server_config(identity).unwrap()));
        let connector = TlsConnector::from(Arc::new(client));
        let name = ServerName::try_from("localhost").unwrap();
        let (accepted, _) = tokio::join!(acceptor.accept(there), connector.connect(name, here));
        accepted.is_ok_and(|stream| stream.get_ref().1.peer_certificates().is_some())
    }

    #[tokio::test]
    async fn a_certificate_of_version_1_is_let_in_by_its_key_and_by_no_other() {
        let directory = tempfile::tempdir().unwrap();
        for kind in ["ec -pkeyopt ec_paramgen_curve:P-384", "rsa:2048"] {
            let (certificate, key) = old(directory.path(), "dev", kind);
            let (_, other) = old(directory.path(), "other", kind);
            for version in [&version::TLS12, &version::TLS13] {
                assert!(lets_in(&certificate, &key, version).await, "{kind} {version:?}");
                assert!(!lets_in(&certificate, &other, version).await, "{kind} {version:?}");
            }
        }
    }
}
