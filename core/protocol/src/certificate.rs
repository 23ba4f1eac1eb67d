//! What the service says of a certificate and of a TPM's key. Reading one takes cryptography, which whoever drives the
//! service brings.

/// The facts of a certificate, `X509CertificateInfo` (`dps` 4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// SHA-1 of the DER.
    pub sha1: [u8; 20],
    /// SHA-256 of the DER.
    pub sha256: [u8; 32],
    /// Start of its validity, seconds since the Unix epoch.
    pub not_before_unix_secs: i64,
    /// End of its validity, seconds since the Unix epoch.
    pub not_after_unix_secs: i64,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The version, 1 to 3.
    pub version: u32,
}

impl CertificateInfo {
    /// Whether it names itself as its issuer.
    pub fn is_root(&self) -> bool {
        self.subject == self.issuer
    }
}

/// Reads certificates and keys of TPMs.
pub trait Certificates {
    /// The facts of a certificate in DER; `None` if it is none.
    fn read(&self, der: &[u8]) -> Option<CertificateInfo>;

    /// Whether this is the public part of a key that a TPM can have.
    fn is_tpm_key(&self, public: &[u8]) -> bool;
}
