//! Where a connection leads, and whether it may: the one place from which sockets of this process go out.
//!
//! Consent names a host. A host without consent must be this machine, and that is judged by the address that is dialled,
//! each time it is dialled: a name may lead elsewhere than it says, and elsewhere than it led a moment ago.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fleetstorm_units::shown::origin;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};

use super::AddressError;

/// Where to dial and whom to expect there.
#[derive(Clone, Debug)]
pub struct Dial {
    /// In lower case, without a dot at its end; an address in its shortest form.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The name that the server's certificate has to be for.
    pub server_name: ServerName<'static>,
    /// Known where the host is an address.
    pub address: Option<SocketAddr>,
    /// Whether somebody has named the host as one that may be touched.
    named: bool,
}

/// Why an address is not dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// The name has no address.
    Unknown,
    /// The name could not be looked up; what the system's resolver says.
    Failed(String),
    /// Nobody has named the host, and it is not this machine; its name was not looked up.
    Unnamed,
    /// Nobody has named the host, and its name leads to another machine.
    Elsewhere(IpAddr),
}

impl DialError {
    /// What is wrong with this host.
    pub fn told(&self, host: &str) -> String {
        match self {
            Self::Unknown => format!("{host} has no address"),
            Self::Failed(error) => format!("{host} cannot be looked up: {error}"),
            Self::Unnamed => format!("{host} is not this machine"),
            Self::Elsewhere(ip) => format!("{host} leads to {ip}, which is not this machine"),
        }
    }
}

/// An address that may be dialled, straight from its check.
#[derive(Clone, Copy, Debug)]
pub struct Allowed(SocketAddr);

impl Dial {
    /// Reads `https://host:port`, with 443 as the default port.
    pub fn read(address: &str, server_name: Option<&str>) -> Result<Self, AddressError> {
        // What is cut off is told to be there, since it may be what is wrong.
        let shown = || match origin(address) {
            origin if origin.len() < address.trim_end_matches('/').len() => format!("{origin}/…"),
            origin => origin,
        };
        let malformed = || AddressError::Malformed(shown());
        let rest = match address.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
            Some(_) => return Err(AddressError::Plain(shown())),
            None => address,
        };
        let rest = rest.trim_end_matches('/');
        let authority: http::uri::Authority = rest.parse().map_err(|_| malformed())?;
        let host = canonical(authority.host());
        if host.is_empty() {
            return Err(malformed());
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if rest.contains(':') && !rest.starts_with('[') => return Err(malformed()),
            None => 443,
        };
        let ip: Option<IpAddr> = host.parse().ok();
        if ip.is_some_and(|ip| ip.is_unspecified()) {
            return Err(AddressError::Unspecified(shown()));
        }
        let name = server_name.unwrap_or(&host).to_owned();
        Ok(Self {
            server_name: ServerName::try_from(name).map_err(|_| malformed())?,
            address: ip.map(|ip| SocketAddr::new(ip, port)),
            host,
            port,
            named: false,
        })
    }

    /// The same target at another port.
    pub fn at_port(&self, port: u16) -> Self {
        let address = self.address.map(|address| SocketAddr::new(address.ip(), port));
        Self { port, address, ..self.clone() }
    }

    /// Whether this is the host of that name.
    pub fn is_at(&self, host: &str) -> bool {
        self.host == canonical(host)
    }

    /// The same target, which may be another machine: somebody who may do so has named its host.
    pub fn named(self) -> Self {
        Self { named: true, ..self }
    }

    /// Whether the target says that it is this machine. Whether it is shows when it is dialled.
    pub fn is_loopback(&self) -> bool {
        match self.address {
            Some(address) => address.ip().is_loopback(),
            None => self.host == "localhost",
        }
    }

    /// How many of this machine's addresses connections are made from.
    ///
    /// Only loopback has more than one that is surely ours, and needs it: one address has some 28,000 ports, and a
    /// closed connection holds its own for a minute.
    pub fn sources(&self) -> u32 {
        match self.address {
            Some(address) if address.is_ipv4() && address.ip().is_loopback() => 250,
            _ => 1,
        }
    }

    /// The `Host` header.
    pub fn host_header(&self) -> String {
        let name = self.server_name.to_str();
        if self.port == 443 { name.into_owned() } else { format!("{name}:{}", self.port) }
    }

    /// Looks the address up, if it is to be looked up, and checks it. What is allowed is dialled as it stands: asking for
    /// the name once more could lead elsewhere.
    pub async fn resolve(&self) -> Result<Allowed, DialError> {
        match self.address {
            Some(address) => self.allow([address]),
            None if !self.named && !self.is_loopback() => Err(DialError::Unnamed),
            None => {
                let found = tokio::net::lookup_host((&*self.host, self.port)).await;
                self.allow(found.map_err(|error| DialError::Failed(error.to_string()))?)
            }
        }
    }

    /// The first of some addresses, if all of them may be dialled: which one comes first is chance.
    fn allow(&self, found: impl IntoIterator<Item = SocketAddr>) -> Result<Allowed, DialError> {
        let mut first = None;
        for address in found {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            if !self.named && !address.ip().is_loopback() {
                return Err(match self.address {
                    Some(_) => DialError::Unnamed,
                    None => DialError::Elsewhere(address.ip()),
                });
            }
            // A name server that blocks a name says so by an address of nobody.
            if !address.ip().is_unspecified() {
                first.get_or_insert(address);
            }
        }
        first.map(Allowed).ok_or(DialError::Unknown)
    }
}

impl Allowed {
    /// Connects, from this address of ours if one is given.
    pub async fn connect(self, from: Option<Ipv4Addr>) -> std::io::Result<TcpStream> {
        let socket = if self.0.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = from {
            socket.bind(SocketAddr::from((from, 0)))?;
        }
        socket.connect(self.0).await
    }
}

/// One spelling of a host: `LOCALHOST.`, `[::ffff:127.0.0.1]` and `[0:0:0:0:0:0:0:1]` are hosts of other spellings.
fn canonical(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().to_string(),
        Err(_) => host.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(address: &str) -> Dial {
        Dial::read(address, None).unwrap()
    }

    fn resolved(dial: &Dial) -> Result<SocketAddr, DialError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(dial.resolve()).map(|allowed| allowed.0)
    }

    #[test]
    fn addresses_are_read_with_their_defaults() {
        let read = dial("https://127.0.0.1:8443");
        assert_eq!((read.port, read.is_loopback(), &*read.host_header()), (8443, true, "127.0.0.1:8443"));
        let read = dial("https://global.azure-devices-provisioning.net");
        assert_eq!((read.port, read.address, read.is_loopback()), (443, None, false));
        let read = Dial::read("https://127.0.0.2/", Some("global.azure-devices-provisioning.net")).unwrap();
        assert_eq!(read.host_header(), "global.azure-devices-provisioning.net");
        assert!(dial("https://[::1]:443").is_loopback());
        assert!(matches!(Dial::read("http://127.0.0.1", None), Err(AddressError::Plain(_))));
        for wrong in ["https://", "https://a b", "https://host:port", "https://host:99999"] {
            assert!(matches!(Dial::read(wrong, None), Err(AddressError::Malformed(_))), "{wrong}");
        }
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (spelled, host) in [
            ("HTTPS://LocalHost.:1", "localhost"),
            ("https://A.Example./", "a.example"),
            ("https://[::FFFF:127.0.0.1]:1", "127.0.0.1"),
            ("https://[0:0:0:0:0:0:0:1]:1", "::1"),
            ("https://127.0.0.1.:1", "127.0.0.1"),
            ("https://user@a.example:1", "a.example"),
        ] {
            assert_eq!(dial(spelled).host, host, "{spelled}");
            assert!(dial(spelled).is_at(host) && dial(spelled).is_at(&host.to_uppercase()), "{spelled}");
        }
        assert!(!dial("https://a.example").is_at("a.example.b") && !dial("https://a.example").is_at(""));
        for nobody in ["https://0.0.0.0:1", "https://[::]:1", "https://[::ffff:0.0.0.0]:1"] {
            assert!(matches!(Dial::read(nobody, None), Err(AddressError::Unspecified(_))), "{nobody}");
        }
    }

    #[test]
    fn without_a_name_for_it_nothing_but_this_machine_is_dialled() {
        for here in
            ["https://127.0.0.1:7", "https://127.8.9.1:7", "https://[::1]:7", "https://[::ffff:127.0.0.1]:7"]
        {
            assert!(resolved(&dial(here)).unwrap().ip().is_loopback(), "{here}");
        }
        for elsewhere in [
            "https://192.0.2.1:7",
            "https://[2001:db8::1]:7",
            "https://[::ffff:192.0.2.1]:7",
            // Deprecated spellings of loopback that lead to a network.
            "https://[::127.0.0.1]:7",
            "https://[64:ff9b::7f00:1]:7",
            "https://localhost.example:7",
            "https://127.0.0.1.example:7",
            "https://2130706433.example:7",
        ] {
            assert_eq!(resolved(&dial(elsewhere)), Err(DialError::Unnamed), "{elsewhere}");
        }
        assert_eq!(resolved(&dial("https://192.0.2.1:7").named()), Ok("192.0.2.1:7".parse().unwrap()));
    }

    #[test]
    fn a_name_that_leads_elsewhere_only_now_or_in_part_is_not_dialled() {
        let found = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 7)).collect()
        };
        let allowed =
            |dial: &Dial, list: &[&str]| dial.allow(found(list)).map(|allowed| allowed.0.ip().to_string());
        let (local, named) = (dial("https://localhost:7"), dial("https://a.example:7").named());
        let elsewhere = |ip: &str| Err(DialError::Elsewhere(ip.parse().unwrap()));
        assert_eq!(allowed(&local, &["::1", "127.0.0.1"]), Ok("::1".to_owned()));
        assert_eq!(allowed(&local, &["127.0.0.1", "192.0.2.1"]), elsewhere("192.0.2.1"));
        assert_eq!(allowed(&local, &["192.0.2.1", "127.0.0.1"]), elsewhere("192.0.2.1"));
        assert_eq!(allowed(&local, &["::ffff:192.0.2.1"]), elsewhere("192.0.2.1"));
        assert_eq!(allowed(&local, &["::ffff:127.0.0.1"]), Ok("127.0.0.1".to_owned()));
        assert_eq!(allowed(&local, &["0.0.0.0"]), elsewhere("0.0.0.0"));
        assert_eq!(allowed(&named, &["0.0.0.0"]), Err(DialError::Unknown));
        assert_eq!(allowed(&named, &["0.0.0.0", "192.0.2.1"]), Ok("192.0.2.1".to_owned()));
        assert_eq!(allowed(&named, &[]), Err(DialError::Unknown));
    }
}
