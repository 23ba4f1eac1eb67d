//! From a name to a stream: name resolution, TCP, TLS, each timed and each failure told apart.

mod fault;
mod key;
mod weather;

use std::net::SocketAddr;
use std::sync::Arc;

use fleetstorm_model::outcome::Fault;
use fleetstorm_model::scenario::TlsVersions;
use fleetstorm_model::time::Span;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::aside::Aside;
use crate::clock::Clock;
use crate::drive::Connect;
use crate::plugins::DeviceIdentity;
use crate::record::ConnectTimes;

pub(crate) use fault::{of_handshake as fault_when_connecting, of_request as fault_under_request};
pub(crate) use weather::{Weather, Weathered};

/// Where to dial and whom to expect there.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) server_name: ServerName<'static>,
    /// Known where the host is an address.
    pub(crate) address: Option<SocketAddr>,
}

/// A target's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not of the form that is needed.
    #[error("`{0}` is no address: write https://host:port")]
    Malformed(String),
    /// Plain HTTP was asked for.
    #[error("`{0}`: DPS speaks HTTPS only; write https://")]
    Plain(String),
    /// The CA file holds no certificate.
    #[error("`{0}` holds no certificate in PEM")]
    NoCertificate(String),
    /// The system has no trusted roots.
    #[error("the system has no trusted roots; name the CA with `ca_file` ({0})")]
    NoRoots(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Dial {
    /// Reads `https://host:port`, with 443 as the default port.
    pub(crate) fn read(address: &str, server_name: Option<&str>) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(address.to_owned());
        let rest = match address.split_once("://") {
            Some(("https", rest)) => rest,
            Some(_) => return Err(AddressError::Plain(address.to_owned())),
            None => address,
        };
        let rest = rest.trim_end_matches('/');
        let authority: http::uri::Authority = rest.parse().map_err(|_| malformed())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(malformed());
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if rest.contains(':') && !rest.starts_with('[') => return Err(malformed()),
            None => 443,
        };
        let name = server_name.unwrap_or(&host).to_owned();
        Ok(Self {
            server_name: ServerName::try_from(name).map_err(|_| malformed())?,
            address: host.parse().ok().map(|ip| SocketAddr::new(ip, port)),
            host,
            port,
        })
    }

    /// The same target at another port.
    pub(crate) fn at_port(&self, port: u16) -> Self {
        let address = self.address.map(|address| SocketAddr::new(address.ip(), port));
        Self { port, address, ..self.clone() }
    }

    /// Whether the target is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.address {
            Some(address) => address.ip().is_loopback(),
            None => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// How many of this machine's addresses connections are made from.
    ///
    /// Only loopback has more than one that is surely ours, and needs it: one address has some 28,000 ports, and a
    /// closed connection holds its own for a minute.
    pub(crate) fn sources(&self) -> u32 {
        match self.address {
            Some(address) if address.is_ipv4() && address.ip().is_loopback() => 250,
            _ => 1,
        }
    }

    /// The `Host` header.
    pub(crate) fn host_header(&self) -> String {
        let name = self.server_name.to_str();
        if self.port == 443 { name.into_owned() } else { format!("{name}:{}", self.port) }
    }
}

/// Which servers to trust.
pub(crate) enum Trust {
    /// The system's roots.
    System,
    /// This CA, PEM; the name is for messages.
    Ca { name: String, pem: Vec<u8> },
}

/// A client configuration without a certificate.
pub(crate) fn client_config(
    trust: &Trust,
    versions: TlsVersions,
    resumption: bool,
) -> Result<ClientConfig, AddressError> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::System => {
            let native = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(native.certs);
            if added == 0 {
                let why = native.errors.first().map_or("none found".to_owned(), ToString::to_string);
                return Err(AddressError::NoRoots(why));
            }
        }
        Trust::Ca { name, pem } => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| AddressError::NoCertificate(name.clone()))?;
                roots.add(certificate).map_err(|_| AddressError::NoCertificate(name.clone()))?;
            }
            if roots.is_empty() {
                return Err(AddressError::NoCertificate(name.clone()));
            }
        }
    }
    let versions: &[&rustls::SupportedProtocolVersion] = match versions {
        TlsVersions::Any => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersions::V12 => &[&rustls::version::TLS12],
        TlsVersions::V13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !resumption {
        config.resumption = rustls::client::Resumption::disabled();
    }
    Ok(config)
}

/// Opens TLS connections to one target.
#[derive(Clone)]
pub(crate) struct TlsDialler {
    dial: Arc<Dial>,
    config: Arc<ClientConfig>,
    clock: Clock,
    /// Whether the devices of this cohort present certificates.
    certificates: bool,
    /// Where handshakes go whose signatures may wait for hardware.
    aside: Option<Aside>,
    /// Counts connections, which take the sources in turn.
    turn: std::rc::Rc<std::cell::Cell<u32>>,
    hubs: Option<Arc<Dial>>,
}

impl TlsDialler {
    pub(crate) fn new(dial: Arc<Dial>, config: Arc<ClientConfig>, clock: Clock, certificates: bool) -> Self {
        Self { dial, config, clock, certificates, aside: None, turn: std::rc::Rc::default(), hubs: None }
    }

    /// The same, with handshakes that may wait for hardware beside the event loop.
    pub(crate) fn signing_aside(self, aside: Aside) -> Self {
        Self { aside: Some(aside), ..self }
    }

    async fn tcp(&self, dial: &Dial, address: SocketAddr) -> Result<TcpStream, Fault> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(|error| fault::of_socket(&error))?;
        let sources = dial.sources();
        if sources > 1 {
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            let source = std::net::Ipv4Addr::new(127, 0, 0, (turn % sources + 1) as u8);
            socket.bind(SocketAddr::from((source, 0))).map_err(|error| fault::of_socket(&error))?;
        }
        let stream = socket.connect(address).await.map_err(|error| fault::of_socket(&error))?;
        // A device's requests are small; waiting to fill a packet would be measured as the service's time.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl TlsDialler {
    /// Connects once without a certificate, to see that somebody is there.
    pub(crate) async fn probe(&self) -> Result<(), Fault> {
        self.anonymous().await.map(drop)
    }

    /// A connection without a certificate.
    pub(crate) async fn anonymous(&self) -> Result<TlsStream<TcpStream>, Fault> {
        self.open(&self.dial, self.dial.server_name.clone(), None, None).await.0.map(Weathered::into_inner)
    }

    /// Where hubs are dialled: a mock has them all behind its MQTT port.
    pub(crate) fn with_hubs(self, hubs: Arc<Dial>) -> Self {
        Self { hubs: Some(hubs), ..self }
    }

    async fn open(
        &self,
        dial: &Dial,
        server_name: ServerName<'static>,
        identity: Option<&Arc<DeviceIdentity>>,
        weather: Option<Weather>,
    ) -> (Result<Weathered<TlsStream<TcpStream>>, Fault>, ConnectTimes) {
        let mut times = ConnectTimes::default();
        let mut mark = self.clock.now();
        let mut lap = || -> Span {
            let now = self.clock.now();
            let took = now.since(mark);
            mark = now;
            took
        };
        let address = match dial.address {
            Some(address) => address,
            None => match tokio::net::lookup_host((&*dial.host, dial.port)).await.map(|mut all| all.next()) {
                Ok(Some(address)) => {
                    times.dns = Some(lap());
                    address
                }
                Ok(None) | Err(_) => return (Err(Fault::Dns), times),
            },
        };
        let stream = match self.tcp(dial, address).await {
            Ok(stream) => stream,
            Err(fault) => return (Err(fault), times),
        };
        times.tcp = Some(lap());
        match self.handshake(stream, server_name, identity.filter(|_| self.certificates)).await {
            Ok(stream) => {
                times.tls = Some(lap());
                (Ok(Weathered::new(stream, weather)), times)
            }
            Err(error) => (Err(fault::of_handshake(&error)), times),
        }
    }
}

impl TlsDialler {
    async fn handshake(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
        identity: Option<&Arc<DeviceIdentity>>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let Some(identity) = identity else {
            return TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await;
        };
        let (identity, config) = (Arc::clone(identity), Arc::clone(&self.config));
        let may_block = identity.may_block();
        let shake =
            move || TlsConnector::from(key::with_certificate(&config, &identity)).connect(name, stream);
        match self.aside.as_ref().filter(|_| may_block) {
            // The signature is asked for in the middle of the handshake, so the handshake goes as a whole.
            Some(aside) => aside
                .drive(shake)
                .await
                .unwrap_or_else(|| Err(std::io::Error::other("the handshake was given up"))),
            None => shake().await,
        }
    }
}

impl Connect for TlsDialler {
    type Stream = Weathered<TlsStream<TcpStream>>;

    async fn connect(
        &self,
        identity: &Arc<DeviceIdentity>,
        weather: Option<Weather>,
    ) -> (Result<Self::Stream, Fault>, ConnectTimes) {
        self.open(&self.dial, self.dial.server_name.clone(), Some(identity), weather).await
    }

    async fn connect_hub(
        &self,
        hub: &str,
        identity: &Arc<DeviceIdentity>,
        weather: Option<Weather>,
    ) -> Result<Self::Stream, Fault> {
        let name = ServerName::try_from(hub.to_owned()).map_err(|_| Fault::Dns)?;
        let dial = self.hubs.as_ref().ok_or(Fault::Unreachable)?;
        self.open(dial, name, Some(identity), weather).await.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_defaults() {
        let dial = Dial::read("https://127.0.0.1:8443", None).unwrap();
        assert_eq!((dial.port, dial.is_loopback(), &*dial.host_header()), (8443, true, "127.0.0.1:8443"));
        let dial = Dial::read("https://global.azure-devices-provisioning.net", None).unwrap();
        assert_eq!((dial.port, dial.address, dial.is_loopback()), (443, None, false));
        let dial = Dial::read("https://127.0.0.2/", Some("global.azure-devices-provisioning.net")).unwrap();
        assert_eq!(dial.host_header(), "global.azure-devices-provisioning.net");
        assert!(Dial::read("https://[::1]:443", None).unwrap().is_loopback());
        assert!(matches!(Dial::read("http://127.0.0.1", None), Err(AddressError::Plain(_))));
        for wrong in ["https://", "https://a b", "https://host:port", "https://host:99999"] {
            assert!(matches!(Dial::read(wrong, None), Err(AddressError::Malformed(_))), "{wrong}");
        }
    }
}
