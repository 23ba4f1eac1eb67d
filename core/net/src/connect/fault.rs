//! What an error of a socket or a handshake means.

use std::io::{Error, ErrorKind};

use fleetstorm_protocol::outcome::Fault;
use rustls::CertificateError;

pub(super) fn of_socket(error: &Error) -> Fault {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    match error.kind() {
        ErrorKind::ConnectionRefused => Fault::Refused,
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => Fault::Exhausted,
        ErrorKind::TimedOut => Fault::ConnectTimeout,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Fault::Closed,
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => Fault::Exhausted,
        _ => Fault::Unreachable,
    }
}

/// An error before the service can have seen a request.
pub fn of_handshake(error: &Error) -> Fault {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => Fault::Closed,
            ErrorKind::InvalidData => Fault::Protocol,
            _ => of_socket(error),
        };
    };
    match tls {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Fault::TlsExpired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Fault::TlsWrongName
            }
            _ => Fault::TlsUntrusted,
        },
        // What came was no TLS record: a plain HTTP server, say.
        rustls::Error::InvalidMessage(_) => Fault::Protocol,
        _ => Fault::TlsOther,
    }
}

/// An error after a request has left: whether the service acted on it is unknown.
pub fn of_request(error: &Error) -> Fault {
    match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => Fault::TlsOther,
        _ if error.kind() == ErrorKind::InvalidData => Fault::Protocol,
        _ => Fault::Lost,
    }
}
