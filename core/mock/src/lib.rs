//! A mock of the service with its doors, on a thread of its own.

#![forbid(unsafe_code)]

#[cfg(test)]
mod clients;
pub mod evidence;
pub mod identity;
mod issuer;
mod porch;
mod resolve;
pub mod serve;
mod sources;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use fleetstorm_model::chaos::{Layer, Naming, Timeline};
use fleetstorm_model::service::metrics::Metrics;
use fleetstorm_model::service::{Config, ConfigError, Counters, Service};
use fleetstorm_net::clock::Clock;
use fleetstorm_protocol::Transport;
use fleetstorm_reports::record::ServiceLog as ServiceLogSummary;
use fleetstorm_scenario::{IpRuleFile, LimitsFile, LogFile, MqttFile, WebhookFile};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::evidence::Peer;
use crate::identity::ServerIdentity;
use crate::porch::{Place, Stage};
use crate::serve::{Errands, House, ServiceLog, Webhooks, serve_amqp, serve_http, serve_mqtt, server_config};

pub use issuer::Issuer;
pub use resolve::{hubs, resolve};
pub use sources::{ResolveError, file, secret};

/// What a mock is started with.
pub struct MockOptions {
    /// The service behind the doors.
    pub service: Config,
    /// Faults, and how they know devices.
    pub faults: Option<(Arc<Timeline>, Naming)>,
    /// Where to listen for HTTPS, and for MQTT and AMQP over WebSocket; port 0 takes a free one.
    pub https: SocketAddr,
    /// Where to listen for MQTT, if at all; port 0 takes a free one.
    pub mqtt: Option<SocketAddr>,
    /// Where to listen for AMQP, if at all; port 0 takes a free one.
    pub amqp: Option<SocketAddr>,
    /// How the MQTT door refuses connections.
    pub refusals: MqttFile,
    /// What clients may cost.
    pub limits: LimitsFile,
    /// Whose addresses are let in.
    pub ip_filter: Vec<IpRuleFile>,
    /// The server's certificate.
    pub identity: ServerIdentity,
    /// Who signs the certificates that the service issues.
    pub issuer: Issuer,
    /// What webhooks of custom allocations may be asked.
    pub webhook: WebhookFile,
    /// The resource log.
    pub log: Option<LogFile>,
    /// Whether lines are added to a resource log that is there; else it is replaced.
    pub keep_log: bool,
    /// The clock, which agrees with the service's calendar.
    pub clock: Clock,
}

/// Why a mock cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// The service's configuration contradicts itself.
    #[error(transparent)]
    Service(#[from] ConfigError),
    /// A file that the mock needs cannot be read.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The port is taken.
    #[error(
        "the mock cannot listen on {0}: the port is in use; choose another one (port 0 takes a free one)"
    )]
    PortInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("the mock cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// TLS cannot be set up.
    #[error("the mock's TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The thread cannot be started.
    #[error("the mock's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A mock that is running.
pub struct RunningMock {
    address: SocketAddr,
    mqtt: Option<SocketAddr>,
    amqp: Option<SocketAddr>,
    ca_pem: String,
    log_bytes_before: u64,
    stop: watch::Sender<bool>,
    /// Asks for the books; gone once they are closed.
    close: Option<oneshot::Sender<mpsc::Sender<Stopped>>>,
    thread: Option<JoinHandle<Stopped>>,
}

/// What a mock leaves when it is stopped.
#[derive(Debug, Default)]
pub struct Stopped {
    /// What its service has counted.
    pub counters: Counters,
    /// Devices that it holds registrations of.
    pub registrations: u64,
    /// What Azure Monitor would have counted, by the mock's clock.
    pub metrics: Metrics,
    /// Connections that had to make room, or found none.
    pub turned_away: u64,
    /// What became of its resource log, if it had one.
    pub log: Option<ServiceLogSummary>,
}

impl Stopped {
    fn of(house: &House) -> Self {
        let service = house.service.borrow();
        let (counters, metrics) = (service.counters().clone(), service.metrics().clone());
        let registrations = service.registrations() as u64;
        drop(service);
        Self {
            counters,
            registrations,
            metrics,
            turned_away: house.porch.turned_away(),
            log: house.finish_log(),
        }
    }
}

impl RunningMock {
    /// Starts a mock and returns once it listens.
    ///
    /// # Errors
    /// It cannot listen, or its configuration is contradictory.
    pub fn start(options: MockOptions) -> Result<Self, MockError> {
        let MockOptions {
            service,
            faults,
            https,
            mqtt,
            amqp,
            refusals,
            limits,
            ip_filter,
            identity,
            issuer,
            webhook,
            log,
            keep_log,
            clock,
        } = options;
        let mut service = Service::new(service)?;
        // A mock that runs out of descriptors shuts devices out.
        fleetstorm_net::limits::raise_descriptor_limit();
        if let Some((timeline, naming)) = &faults {
            service.disturb(timeline.rules(&[Layer::Service]), naming.clone());
        }
        let webhooks = Webhooks::new(&webhook)?;
        let log = ServiceLog::start(log.as_ref(), keep_log, false)?;
        let log_bytes_before = log.as_ref().map_or(0, ServiceLog::bytes_before);
        let ca_pem = identity.ca_pem.clone();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(identity)?));
        let (stop, stopped) = watch::channel(false);
        let (close, closing) = oneshot::channel::<mpsc::Sender<Stopped>>();
        let (ready, listening) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("mock".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = ready.send(Err(MockError::Thread(error)));
                        return Stopped::default();
                    }
                };
                let none = std::time::Duration::ZERO;
                let errands = Errands { webhooks: Some(webhooks), issuer };
                let house = House::new(service, clock, none, (refusals, limits.into()), errands, log);
                if let Some((timeline, naming)) = faults {
                    house.arm(&timeline, naming);
                }
                let local = tokio::task::LocalSet::new();
                let guard = runtime.enter();
                let (listeners, addresses) = match Listeners::open(https, mqtt, amqp) {
                    Ok(open) => open,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return Stopped::default();
                    }
                };
                let _ = ready.send(Ok(addresses));
                drop(guard);
                local.block_on(&runtime, async {
                    let filter: Rc<[IpRuleFile]> = ip_filter.into();
                    let entrance = |door| Entrance {
                        house: Rc::clone(&house),
                        acceptor: acceptor.clone(),
                        filter: Rc::clone(&filter),
                        door,
                    };
                    let at = async |door, listener: Option<TcpListener>| {
                        if let Some(listener) = listener {
                            entrance(door).accept(listener, stopped.clone()).await;
                        }
                    };
                    let Listeners { https, mqtt, amqp } = listeners;
                    let books = async {
                        if let Ok(to) = closing.await {
                            let _ = to.send(Stopped::of(&house));
                        }
                    };
                    let doors = [(Door::Https, Some(https)), (Door::Mqtt, mqtt), (Door::Amqp, amqp)];
                    let [https, mqtt, amqp] = doors.map(|(door, listener)| at(door, listener));
                    tokio::join!(https, mqtt, amqp, books);
                });
                drop(local);
                Stopped::of(&house)
            })
            .map_err(MockError::Thread)?;
        let Addresses { https: address, mqtt, amqp } = listening.recv().unwrap_or_else(|_| {
            Err(MockError::Thread(std::io::Error::other("it ended before it listened")))
        })?;
        tracing::info!(https = %address, ?mqtt, ?amqp, "the mock listens");
        Ok(Self {
            address,
            mqtt,
            amqp,
            ca_pem,
            log_bytes_before,
            stop,
            close: Some(close),
            thread: Some(thread),
        })
    }

    /// Where it listens for HTTPS.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of its resource log that an earlier mock has written, and that are kept.
    pub const fn log_bytes_before(&self) -> u64 {
        self.log_bytes_before
    }

    /// Where it listens for MQTT, if it does.
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.mqtt
    }

    /// Where it listens for AMQP, if it does.
    pub fn amqp_address(&self) -> Option<SocketAddr> {
        self.amqp
    }

    /// The CA that clients must trust, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Closes the books of what was served until now: nothing that comes later is logged, and the log is whole. It goes on
    /// serving. The books can be closed once.
    pub fn close_books(&mut self) -> Stopped {
        let (to, books) = mpsc::channel();
        let asked = self.close.take().is_some_and(|close| close.send(to).is_ok());
        if asked { books.recv().unwrap_or_default() } else { Stopped::default() }
    }

    /// Stops it and returns what it leaves.
    pub fn stop(mut self) -> Stopped {
        self.halt()
    }

    fn halt(&mut self) -> Stopped {
        self.close = None;
        self.stop.send_replace(true);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for RunningMock {
    fn drop(&mut self) {
        self.halt();
    }
}

/// The sockets of a mock's doors.
struct Listeners {
    https: TcpListener,
    mqtt: Option<TcpListener>,
    amqp: Option<TcpListener>,
}

/// Where they are.
struct Addresses {
    https: SocketAddr,
    mqtt: Option<SocketAddr>,
    amqp: Option<SocketAddr>,
}

impl Listeners {
    fn open(
        https: SocketAddr,
        mqtt: Option<SocketAddr>,
        amqp: Option<SocketAddr>,
    ) -> Result<(Self, Addresses), MockError> {
        let (https, https_at) = listen(https)?;
        let (mqtt, mqtt_at) = mqtt.map(listen).transpose()?.unzip();
        let (amqp, amqp_at) = amqp.map(listen).transpose()?.unzip();
        Ok((Self { https, mqtt, amqp }, Addresses { https: https_at, mqtt: mqtt_at, amqp: amqp_at }))
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), MockError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => MockError::PortInUse(address),
        _ => MockError::Listen(address, error),
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    // A fleet that boots at once must meet DPS's throttle, not our queue of accepted connections.
    let listener = socket.listen(16_384).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// What is spoken behind a port.
#[derive(Clone, Copy, Debug)]
enum Door {
    Https,
    Mqtt,
    Amqp,
}

/// A door with its lock.
#[derive(Clone)]
struct Entrance {
    house: Rc<House>,
    acceptor: TlsAcceptor,
    filter: Rc<[IpRuleFile]>,
    door: Door,
}

impl Entrance {
    /// Accepts connections until the mock is stopped.
    async fn accept(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            let Ok((stream, from)) = accepted else {
                // Out of descriptors: some connection has to end first.
                self.house.porch.make_room();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            };
            let Some(place) = self.house.porch.admit(from.ip()) else {
                tracing::debug!(%from, door = ?self.door, "turned away: too many connections");
                continue;
            };
            let _ = stream.set_nodelay(true);
            let (door, visit, place) = (self.door, self.clone(), Rc::new(place));
            connections.spawn_local(async move {
                tokio::select! {
                    biased;
                    () = place.sent_away() => {
                        tracing::debug!(%from, ?door, "sent away to make room");
                    }
                    () = visit.serve(stream, from.ip(), &place) => {}
                }
            });
        }
    }

    /// Waits for a connection's first byte. Until then it has no TLS to keep, and a task that is as small.
    async fn serve(self, stream: TcpStream, from: IpAddr, place: &Rc<Place>) {
        // A stream may be called readable before there is anything to read.
        let first = tokio::time::timeout(self.house.limits.first_byte, stream.peek(&mut [0])).await;
        if matches!(first, Ok(Ok(1))) {
            place.rise(Stage::Greeting);
            Box::pin(self.greet(stream, from, place)).await;
        }
    }

    async fn greet(self, stream: TcpStream, from: IpAddr, place: &Rc<Place>) {
        let limits = self.house.limits;
        let handshake = tokio::time::timeout(limits.handshake, self.acceptor.accept(stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return tracing::debug!(%from, door = ?self.door, %error, "the TLS handshake failed");
            }
            Err(_) => return tracing::debug!(%from, door = ?self.door, "the TLS handshake took too long"),
        };
        let dallied = async {
            tokio::time::sleep(limits.connect).await;
            if place.stage() >= Stage::Heard {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.speak(stream, from, place) => {}
            () = dallied => {}
        }
    }

    async fn speak(
        self,
        stream: tokio_rustls::server::TlsStream<TcpStream>,
        from: IpAddr,
        place: &Rc<Place>,
    ) {
        let Self { house, door, filter, .. } = self;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.to_vec())).collect();
        let peer = Peer::new(chain).at(from).with_place(Rc::clone(place));
        let peer = if IpRuleFile::refuse(&filter, from) { peer.filtered() } else { peer };
        peer.speaks(match door {
            Door::Https => Transport::Https,
            Door::Mqtt => Transport::Mqtt,
            Door::Amqp => Transport::Amqp,
        });
        match door {
            Door::Https => serve_http(house, stream, peer).await,
            Door::Mqtt => serve_mqtt(house, stream, &peer).await,
            Door::Amqp => serve_amqp(house, stream, &peer).await,
        }
    }
}
