//! Whom the service believes that a certificate is genuine.

use std::sync::Arc;

use fleetstorm_protocol::enrollment::CaCertificate;

/// The verified certificates of an instance. They change as its enrollments do.
#[derive(Clone, Debug, Default)]
pub struct TrustedCas {
    /// Different for every state that the list was ever in.
    pub version: u64,
    /// The certificates, DER, each once.
    pub certificates: Vec<Arc<[u8]>>,
}

impl TrustedCas {
    /// Replaces the list, if it is another one.
    pub(super) fn replace<'a>(&mut self, named: impl Iterator<Item = &'a CaCertificate>) {
        let mut certificates: Vec<_> = named.filter(|ca| ca.verified).map(|ca| Arc::clone(&ca.der)).collect();
        certificates.sort_unstable();
        certificates.dedup();
        if self.certificates != certificates {
            self.certificates = certificates;
            self.version += 1;
        }
    }
}
