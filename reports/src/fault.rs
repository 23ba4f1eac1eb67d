//! What a transport error means to a person, beside the catalogue of codes: it has no code to be looked up by.

use fleetstorm_protocol::outcome::Fault;

/// What one means, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    /// Whether waiting can help.
    pub(crate) transient: bool,
    pub(crate) action: &'static str,
}

/// The entry of a fault by its name in records.
pub(crate) fn lookup(name: &str) -> Option<Entry> {
    Fault::ALL.into_iter().find(|fault| fault.name() == name).map(entry)
}

const CERTIFICATE: &str =
    "Check the device's trust store and clock, and the server's chain; no retry helps until then.";
const UNKNOWN: &str = "Ask the registration status before registering again: the service may have acted.";

fn entry(fault: Fault) -> Entry {
    let (title, meaning, transient, action) = match fault {
        Fault::Unavailable => (
            "Server unavailable",
            "The broker refused the connection with return code 3, as it also does for an unknown id scope.",
            true,
            "Check the id scope first: a wrong one never gets better. Else back off with jitter.",
        ),
        Fault::BadCredentials => (
            "Bad user name or password",
            "The broker refused the connection with return code 4: the user name is malformed.",
            false,
            "Fix the client's user name (id scope, registration id, api-version) and its token.",
        ),
        Fault::NotAuthorized => (
            "Not authorized",
            "The broker refused to let the connection in: return code 5.",
            false,
            "Renew the token (check the device's clock and key), then register in full once.",
        ),
        Fault::Dns => (
            "Name not resolved",
            "The host's name has no address.",
            true,
            "Check the name and the resolver; back off.",
        ),
        Fault::Refused => (
            "Refused",
            "Nothing listens at the address, or its queue is full.",
            true,
            "Check host and port; back off with jitter.",
        ),
        Fault::Exhausted => (
            "Generator exhausted",
            "This machine had no port or descriptor left. The target is not to blame.",
            true,
            "Raise the limits, add addresses, or lower fleet.max_concurrent; then run again.",
        ),
        Fault::Unreachable => (
            "Unreachable",
            "There was no route, or the connection broke before it stood.",
            true,
            "Check the network; back off with jitter.",
        ),
        Fault::ConnectTimeout => (
            "Connect timeout",
            "Name resolution, TCP and TLS together took too long.",
            true,
            "Back off with jitter; look at the TLS phase for a service short of CPU.",
        ),
        Fault::TlsUntrusted => (
            "Untrusted server",
            "The server's certificate leads to no root that the device trusts.",
            false,
            CERTIFICATE,
        ),
        Fault::TlsExpired => (
            "Server certificate expired",
            "The server's certificate is not valid at the device's time.",
            false,
            CERTIFICATE,
        ),
        Fault::TlsWrongName => {
            ("Wrong server name", "The server's certificate is for another name.", false, CERTIFICATE)
        }
        Fault::TlsOther => (
            "TLS failed",
            "The server refused the device's certificate, or the handshake failed in another way.",
            true,
            "Check the device's certificate and its CA; try again after a long wait.",
        ),
        Fault::Closed => (
            "Closed",
            "The connection ended before the request was sent.",
            true,
            "Connect again, with jitter.",
        ),
        Fault::Lost => (
            "Lost",
            "The connection ended after the request was sent: its outcome is unknown.",
            true,
            UNKNOWN,
        ),
        Fault::Timeout => {
            ("Timeout", "No answer came in time: the request's outcome is unknown.", true, UNKNOWN)
        }
        Fault::Protocol => (
            "Not DPS",
            "An answer came that the protocol does not allow.",
            false,
            "Check the address: a proxy or another service may answer.",
        ),
        Fault::Attestation => (
            "No credential",
            "The attestation could not produce a credential.",
            false,
            "Repair the device's key or certificate.",
        ),
    };
    Entry { title, meaning, transient, action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_explained_in_whole_sentences() {
        for fault in Fault::ALL {
            let entry = lookup(fault.name()).unwrap();
            assert!(entry.meaning.ends_with('.') && entry.action.ends_with('.'), "{fault:?}");
        }
        assert_eq!(lookup("others"), None);
    }
}
