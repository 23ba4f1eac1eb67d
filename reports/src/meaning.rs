//! What the ending of an attempt means to a person: the catalogue of codes, and beside it that of transport errors, which have
//! no code to be looked up by.

use fleetstorm_protocol::code;
use fleetstorm_protocol::outcome::Fault;

use crate::record::Code;
use crate::text::{CAUSE_MAX, clipped};

const NAME_MAX: usize = 80;

/// What an ending means, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    /// Whether waiting can help.
    pub(crate) transient: bool,
    pub(crate) action: &'static str,
}

impl Meaning {
    /// That of a transport error by its name in records.
    pub(crate) fn of_fault(name: &str) -> Option<Self> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name).map(of_fault)
    }

    /// That of an ending; `None` if it is in no catalogue.
    pub(crate) fn of(code: &Code) -> Option<Self> {
        // A 2xx that is a failure all the same is none for what the catalogue says of its status.
        if code.status == 0 || code.code == 0 && (200..300).contains(&code.status) && !code.fault.is_empty() {
            return Self::of_fault(&code.fault);
        }
        code::lookup(code.status, code.code).map(Self::from)
    }
}

impl From<&code::Entry> for Meaning {
    fn from(entry: &code::Entry) -> Self {
        let code::Entry { title, meaning, transient, action, .. } = *entry;
        Self { title, meaning, transient, action }
    }
}

/// What stands for a way to end: its most exact code.
pub(crate) fn short(code: &Code) -> String {
    match (code.status, code.code) {
        (0, _) => clipped(&code.fault, NAME_MAX),
        (status @ 200..300, 0) if !code.fault.is_empty() => {
            clipped(&format!("{status} {}", code.fault), NAME_MAX)
        }
        (status, 0) => status.to_string(),
        (_, code) => code.to_string(),
    }
}

/// What was said about an ending, but for what only says its title again.
pub(crate) fn said(code: &Code) -> impl Iterator<Item = String> {
    let title = Meaning::of(code).map_or("", |meaning| meaning.title);
    let is_new = |cause: &&String| !cause.trim_end_matches('.').eq_ignore_ascii_case(title);
    code.causes.iter().filter(is_new).map(|cause| clipped(cause, CAUSE_MAX))
}

const CERTIFICATE: &str =
    "Check the device's trust store and clock, and the server's chain; no retry helps until then.";
const UNKNOWN: &str = "Ask the registration status before registering again: the service may have acted.";

fn of_fault(fault: Fault) -> Meaning {
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
    Meaning { title, meaning, transient, action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_explained_in_whole_sentences() {
        for fault in Fault::ALL {
            let entry = Meaning::of_fault(fault.name()).unwrap();
            assert!(entry.meaning.ends_with('.') && entry.action.ends_with('.'), "{fault:?}");
        }
        assert_eq!(Meaning::of_fault("others"), None);
    }
}
