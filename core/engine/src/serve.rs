//! The mock's doors over the service machine.
//!
//! A door only knows how the protocol is spelled. It is generic over the byte stream, so the same code serves TLS
//! sockets and the in-memory pipes of a wired run. All doors of a mock run on one thread and share one service: one
//! enrollment, one throttle, one log, whichever way a device came, and no lock.

mod http;
mod log;
mod operators;
mod tls;
mod webhooks;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fleetstorm_model::service::Service;
use fleetstorm_model::service::log::{Entry, What, write_entry};
use fleetstorm_model::time::Moment;
use fleetstorm_reports::record::ServiceLog as LogSummary;

use crate::clock::Clock;
use crate::evidence::Peer;

pub(crate) use http::serve_http;
pub(crate) use log::ServiceLog;
pub(crate) use tls::server_config;
pub(crate) use webhooks::Webhooks;

/// What all doors of a mock share.
pub(crate) struct House {
    pub(crate) service: RefCell<Service>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// How long every request takes before the service sees it.
    pub(crate) latency: Duration,
    /// Who asks webhooks; `None` where there is no network.
    pub(crate) webhooks: Option<Webhooks>,
    /// The resource log, until it is finished.
    log: RefCell<Option<ServiceLog>>,
}

impl House {
    pub(crate) fn new(
        service: Service,
        clock: Clock,
        latency: Duration,
        webhooks: Option<Webhooks>,
        log: Option<ServiceLog>,
    ) -> Rc<Self> {
        Rc::new(Self {
            service: service.into(),
            clock,
            limits: Limits::default(),
            latency,
            webhooks,
            log: log.into(),
        })
    }

    /// Logs a request that came at `began`, if there is a log.
    fn log<'a>(
        &self,
        peer: &Peer,
        began: Moment,
        api_version: Option<&'a str>,
        what: impl FnOnce() -> What<'a>,
    ) {
        let Some(log) = &mut *self.log.borrow_mut() else { return };
        let service = self.service.borrow();
        let entry = Entry {
            unix_ns: service.unix_nanos(began),
            caller: peer.address(),
            took: self.clock.now().since(began),
            protocol: "Http",
            api_version: api_version.unwrap_or_default(),
            what: what(),
        };
        let mut line = Vec::with_capacity(768);
        write_entry(&entry, service.id_scope(), &mut line);
        log.add(line);
    }

    /// Ends the log: nothing that comes later is logged.
    pub(crate) fn finish_log(&self) -> Option<LogSummary> {
        self.log.take().map(ServiceLog::finish)
    }
}

/// What a client may cost, so that a hostile one cannot stop the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time for the TLS handshake.
    pub(crate) handshake: Duration,
    /// Time for a request's head, from the connection's start or the last answer; this is the idle time-out too.
    pub(crate) head: Duration,
    /// Time for a request's body.
    pub(crate) body: Duration,
    /// Connections at once; more are closed at once.
    pub(crate) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(30),
            // DPS's own idle time-out is not documented; devices keep connections over waits of minutes.
            head: Duration::from_secs(300),
            body: Duration::from_secs(30),
            connections: 19_500,
        }
    }
}
