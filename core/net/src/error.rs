//! Why a connection or a request came to nothing.

use std::error::Error;

use fleetstorm_protocol::outcome::Fault;

/// Why a connection or a request came to nothing: the fault that a device acts upon, and what lay under it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .fault.name())]
pub struct NetError {
    /// What a device makes of it.
    pub fault: Fault,
    /// What said so: an error of the system, of TLS, of a codec or of an attestation. Absent where the fault says it all.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl NetError {
    /// A fault and its cause.
    pub fn new(fault: Fault, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { fault, source: Some(source.into()) }
    }

    /// For [`Result::map_err`], where every cause comes to the same fault.
    pub fn to<E: Into<Box<dyn Error + Send + Sync>>>(fault: Fault) -> impl FnOnce(E) -> Self {
        move |source| Self::new(fault, source)
    }
}

impl From<Fault> for NetError {
    fn from(fault: Fault) -> Self {
        Self { fault, source: None }
    }
}
