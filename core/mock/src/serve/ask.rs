//! What every door does with a request of a device, however it is spelled: it asks the service, does the errands that come of
//! that, and logs both.

use std::rc::Rc;

use fleetstorm_model::service::log::{Entry, What, write_entry};
use fleetstorm_model::service::{Call, Handled, Request};
use fleetstorm_protocol::http::read_submission;
use fleetstorm_protocol::{OperationId, Submission};
use fleetstorm_units::time::{Moment, Span};

use super::{House, webhooks};
use crate::evidence::{Peer, Presented};

/// What the log says of how a request came.
pub(super) struct Visit<'a> {
    /// As Azure Monitor names it.
    pub(super) protocol: &'static str,
    /// When it came, and how long its answer took.
    pub(super) began: Moment,
    pub(super) took: Span,
    pub(super) api_version: Option<&'a str>,
}

impl House {
    /// Waits for as long as every request takes before the service sees it.
    pub(super) async fn lag(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
    }

    /// Asks the service, and does its errands. When it was asked, and what it answered.
    pub(super) fn ask(
        self: &Rc<Self>,
        peer: &Peer,
        presented: &Presented<'_>,
        asked: &Request<'_>,
    ) -> (Moment, Handled) {
        let now = self.clock.now();
        let handled = self.service.borrow_mut().handle(now, asked, presented);
        if handled.reply.status.is_success() {
            peer.proved();
        }
        webhooks::run_errands(self);
        (now, handled)
    }

    /// The same for a door that holds answers back itself: what was asked and answered is logged at once.
    pub(super) fn ask_and_log(
        self: &Rc<Self>,
        peer: &Peer,
        protocol: &'static str,
        presented: &Presented<'_>,
        asked: &Request<'_>,
    ) -> (Moment, Handled) {
        let (began, handled) = self.ask(peer, presented, asked);
        let visit = Visit { protocol, began, took: handled.delay, api_version: asked.api_version };
        self.log(peer, &visit, || What::device(asked, &handled));
        (began, handled)
    }

    /// Logs a request, if there is a log.
    pub(super) fn log<'a>(&self, peer: &Peer, visit: &Visit<'a>, what: impl FnOnce() -> What<'a>) {
        let Some(log) = &*self.log.borrow() else { return };
        let service = self.service.borrow();
        let entry = Entry {
            unix_ns: service.unix_nanos(visit.began),
            caller: peer.address(),
            took: visit.took,
            protocol: visit.protocol,
            api_version: visit.api_version.unwrap_or_default(),
            what: what(),
        };
        let mut line = Vec::with_capacity(768);
        write_entry(&entry, service.id_scope(), &mut line);
        log.add(line);
    }
}

/// What a poll asks for.
pub(super) fn poll(id: &str) -> Call<'_> {
    OperationId::read(id).map_or(Call::NoSuchPath, Call::Poll)
}

/// What a registration in a message asks for. C# and embedded C send no body: the connection says who it is.
pub(super) fn register(body: &[u8]) -> Call<'_> {
    Call::Register(if body.trim_ascii().is_empty() {
        Submission::Read { registration_id: None, csr: None, payload: None }
    } else {
        read_submission(None, body)
    })
}
