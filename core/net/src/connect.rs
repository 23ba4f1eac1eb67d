//! From a name to a stream: name resolution, TCP, TLS, each timed and each failure told apart.

mod dial;
mod fault;
mod key;
mod stream_faults;

use std::sync::Arc;

use fleetstorm_plugin_host::DeviceIdentity;
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_scenario::TlsVersions;
use fleetstorm_units::time::Span;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::aside::Aside;
use crate::clock::Clock;
use crate::governor::{Brake, Halt};
use crate::{ConnectTimes, NetError};

/// Opens connections for the devices of a cohort.
#[expect(async_fn_in_trait, reason = "a device is driven on one thread, so its futures need not be `Send`")]
pub trait Connect {
    /// What a connection is made of.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Opens a connection on which the device proves itself with `identity`, as far as its transport does that when
    /// connecting. The times are those of the phases that were finished.
    ///
    /// Faults of the network act on the stream through `stream_faults`.
    async fn connect(
        &self,
        identity: &Arc<DeviceIdentity>,
        stream_faults: Option<StreamFaults>,
    ) -> (Result<Self::Stream, NetError>, ConnectTimes);

    /// Opens a connection to the IoT hub of this name. Faults of the network act on it as on one to the service.
    async fn connect_hub(
        &self,
        hub: &str,
        identity: &Arc<DeviceIdentity>,
        stream_faults: Option<StreamFaults>,
    ) -> Result<Self::Stream, NetError>;
}

pub use dial::{Dial, DialError};
pub use fault::{of_handshake as fault_when_connecting, of_request as fault_under_request};
pub use stream_faults::{FaultyStream, StreamFaults};

/// A target's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not of the form that is needed.
    #[error("`{0}` is no address: write https://host:port")]
    Malformed(String),
    /// Plain HTTP was asked for.
    #[error("`{0}`: DPS speaks HTTPS only; write https://")]
    Plain(String),
    /// It is the address of no machine.
    #[error("`{0}` is the address of no machine: write 127.0.0.1 for this one")]
    Unspecified(String),
    /// The CA file holds no certificate.
    #[error("`{0}` holds no certificate in PEM")]
    NoCertificate(String),
    /// A certificate in the CA file cannot be used.
    #[error("`{file}` holds a certificate that cannot be used: {source}")]
    BadCertificate {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system has no trusted roots.
    #[error("the system has no trusted roots; name the CA with `ca_file` ({0})")]
    NoRoots(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Which servers to trust.
pub enum Trust {
    /// The system's roots.
    System,
    /// This CA, PEM; the name is for messages.
    Ca {
        /// What it is called in errors.
        name: String,
        /// The certificates, PEM.
        pem: Vec<u8>,
    },
}

/// A client configuration without a certificate.
pub fn client_config(
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
                let bad = |source: Box<dyn std::error::Error + Send + Sync>| AddressError::BadCertificate {
                    file: name.clone(),
                    source,
                };
                let certificate = certificate.map_err(|error| bad(error.into()))?;
                roots.add(certificate).map_err(|error| bad(error.into()))?;
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
pub struct TlsDialler {
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
    /// What is pulled when a name leads where nobody has said that it may.
    brake: Option<Brake>,
}

impl TlsDialler {
    /// Dials one target; `certificates` says whether devices prove themselves in the handshake.
    pub fn new(dial: Arc<Dial>, config: Arc<ClientConfig>, clock: Clock, certificates: bool) -> Self {
        let turn = std::rc::Rc::default();
        Self { dial, config, clock, certificates, aside: None, turn, hubs: None, brake: None }
    }

    /// The same, which stops a run whose target's name begins to lead elsewhere.
    pub fn stopping(self, brake: Brake) -> Self {
        Self { brake: Some(brake), ..self }
    }

    /// The same, with handshakes that may wait for hardware beside the event loop.
    pub fn signing_aside(self, aside: Aside) -> Self {
        Self { aside: Some(aside), ..self }
    }

    /// The one of our addresses from which the next connection is made, if it is not left to the system.
    fn source(&self, dial: &Dial) -> Option<std::net::Ipv4Addr> {
        let sources = dial.sources();
        if sources <= 1 {
            return None;
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        Some(std::net::Ipv4Addr::new(127, 0, 0, (turn % sources + 1) as u8))
    }

    fn refuse(&self, dial: &Dial, error: DialError) -> NetError {
        match error {
            DialError::Unknown => Fault::Dns.into(),
            DialError::Failed(error) => NetError::new(Fault::Dns, error),
            DialError::Unnamed | DialError::Elsewhere(_) => {
                let told = error.told(&dial.host);
                if let Some(brake) = &self.brake {
                    brake.pull(Halt::Ceiling(format!("no consent: {told}")));
                }
                NetError::new(Fault::Unreachable, told)
            }
        }
    }
}

impl TlsDialler {
    /// Connects once without a certificate, to see that somebody is there.
    pub async fn probe(&self) -> Result<(), NetError> {
        self.anonymous().await.map(drop)
    }

    /// A connection without a certificate.
    pub async fn anonymous(&self) -> Result<TlsStream<TcpStream>, NetError> {
        self.open(&self.dial, self.dial.server_name.clone(), None, None).await.0.map(FaultyStream::into_inner)
    }

    /// Where hubs are dialled: a mock has them all behind its MQTT port.
    pub fn with_hubs(self, hubs: Arc<Dial>) -> Self {
        Self { hubs: Some(hubs), ..self }
    }

    async fn open(
        &self,
        dial: &Dial,
        server_name: ServerName<'static>,
        identity: Option<&Arc<DeviceIdentity>>,
        stream_faults: Option<StreamFaults>,
    ) -> (Result<FaultyStream<TlsStream<TcpStream>>, NetError>, ConnectTimes) {
        let (opened, times) = self.try_open(dial, server_name, identity, stream_faults).await;
        if let Err(error) = &opened {
            let cause = error.source.as_deref().map(tracing::field::display);
            tracing::debug!(host = dial.host, port = dial.port, %error, cause, ?times, "not connected");
        }
        (opened, times)
    }

    async fn try_open(
        &self,
        dial: &Dial,
        server_name: ServerName<'static>,
        identity: Option<&Arc<DeviceIdentity>>,
        stream_faults: Option<StreamFaults>,
    ) -> (Result<FaultyStream<TlsStream<TcpStream>>, NetError>, ConnectTimes) {
        let mut times = ConnectTimes::default();
        let mut mark = self.clock.now();
        let mut lap = || -> Span {
            let now = self.clock.now();
            let took = now.since(mark);
            mark = now;
            took
        };
        let allowed = match dial.resolve().await {
            Ok(allowed) => allowed,
            Err(error) => return (Err(self.refuse(dial, error)), times),
        };
        if dial.address.is_none() {
            times.dns = Some(lap());
        }
        let stream = match allowed.connect(self.source(dial)).await {
            Ok(stream) => stream,
            Err(error) => return (Err(NetError::new(fault::of_socket(&error), error)), times),
        };
        // A device's requests are small; waiting to fill a packet would be measured as the service's time.
        let _ = stream.set_nodelay(true);
        times.tcp = Some(lap());
        match self.handshake(stream, server_name, identity.filter(|_| self.certificates)).await {
            Ok(stream) => {
                times.tls = Some(lap());
                let (socket, tls) = stream.get_ref();
                tracing::trace!(host = dial.host, from = ?socket.local_addr(), to = ?socket.peer_addr(),
                    version = ?tls.protocol_version(), handshake = ?tls.handshake_kind(), ?times, "connected");
                (Ok(FaultyStream::new(stream, stream_faults)), times)
            }
            Err(error) => (Err(NetError::new(fault::of_handshake(&error), error)), times),
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
    type Stream = FaultyStream<TlsStream<TcpStream>>;

    async fn connect(
        &self,
        identity: &Arc<DeviceIdentity>,
        stream_faults: Option<StreamFaults>,
    ) -> (Result<Self::Stream, NetError>, ConnectTimes) {
        self.open(&self.dial, self.dial.server_name.clone(), Some(identity), stream_faults).await
    }

    async fn connect_hub(
        &self,
        hub: &str,
        identity: &Arc<DeviceIdentity>,
        stream_faults: Option<StreamFaults>,
    ) -> Result<Self::Stream, NetError> {
        let name = ServerName::try_from(hub.to_owned()).map_err(NetError::to(Fault::Dns))?;
        let dial = self.hubs.as_ref().ok_or(Fault::Unreachable)?;
        self.open(dial, name, Some(identity), stream_faults).await.0
    }
}
