//! The mock's doors over the service machine.
//!
//! A door only knows how the protocol is spelled. It is generic over the byte stream, so the same code serves TLS
//! sockets and the in-memory pipes of a wired run. All doors of a mock run on one thread and share one service: one
//! enrollment, one throttle, one log, whichever way a device came, and no lock.

mod amqp;
mod ask;
mod damage;
mod faults;
mod headers;
mod http;
mod hub;
mod line;
mod log;
mod mqtt;
mod operators;
mod sessions;
#[cfg(test)]
pub mod testing;
mod tls;
mod upgrade;
pub mod webhooks;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fleetstorm_model::service::Service;
use fleetstorm_net::clock::Clock;
use fleetstorm_reports::record::ServiceLog as LogSummary;
use fleetstorm_scenario::{LimitsFile, MqttFile};
use sessions::Sessions;

use crate::issuer::Issuer;
use crate::porch::Porch;

pub use amqp::serve_amqp;
pub use http::serve_http;
pub use log::ServiceLog;
pub use mqtt::serve_mqtt;
pub use tls::server_config;
pub use webhooks::Webhooks;

/// What all doors of a mock share.
pub struct House {
    /// The machine behind the doors.
    pub service: RefCell<Service>,
    /// The time of everything that the doors do.
    pub clock: Clock,
    /// What clients may cost.
    pub limits: Limits,
    /// How long every request takes before the service sees it.
    pub latency: Duration,
    /// How the MQTT door refuses connections.
    pub mqtt: MqttFile,
    /// Who is connected over MQTT, by client id.
    pub sessions: Sessions,
    /// Who does for the service what it cannot do itself.
    pub errands: Errands,
    /// The resource log, until it is finished.
    log: RefCell<Option<ServiceLog>>,
    /// Faults of the protocol, if there are any.
    faults: OnceCell<faults::DoorFaults>,
    /// Connections at all doors.
    pub porch: Porch,
}

impl House {
    /// A mock without connections yet.
    pub fn new(
        service: Service,
        clock: Clock,
        latency: Duration,
        (mqtt, limits): (MqttFile, Limits),
        errands: Errands,
        log: Option<ServiceLog>,
    ) -> Rc<Self> {
        Rc::new(Self {
            service: service.into(),
            clock,
            limits,
            latency,
            mqtt,
            sessions: Sessions::default(),
            errands,
            log: log.into(),
            faults: OnceCell::new(),
            porch: Porch::new(limits.connections, limits.unproven_per_address),
        })
    }

    /// Ends the log: nothing that comes later is logged.
    pub fn finish_log(&self) -> Option<LogSummary> {
        self.log.take().map(ServiceLog::finish)
    }
}

/// Who does for the service what it cannot do itself.
pub struct Errands {
    /// Who asks webhooks; `None` where there is no network.
    pub webhooks: Option<Webhooks>,
    /// Who signs certificates.
    pub issuer: Issuer,
}

/// What a client may cost, so that a hostile one cannot stop the others.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for the first byte of a connection: until then it costs next to nothing.
    pub first_byte: Duration,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for the first request of a connection, an MQTT client's CONNECT or the opening of an AMQP connection.
    pub connect: Duration,
    /// Time for a request's head, from the last answer; this is the idle time-out too, of AMQP as well, and over MQTT of
    /// clients that have proved nothing.
    pub head: Duration,
    /// Time for a request's body, and for a client to take an answer.
    pub body: Duration,
    /// Connections at once, at all doors.
    pub connections: usize,
    /// Connections from one address that have proved nothing.
    pub unproven_per_address: Option<usize>,
}

impl From<LimitsFile> for Limits {
    fn from(file: LimitsFile) -> Self {
        Self {
            first_byte: file.first_byte.0.into(),
            handshake: file.handshake.0.into(),
            connect: file.request.0.into(),
            head: file.idle.0.into(),
            body: Duration::from_secs(30),
            connections: file.connections as usize,
            unproven_per_address: file.unproven_per_address.map(|most| most as usize),
        }
    }
}
