//! The device API over an AMQP 1.0 connection.
//!
//! The model's [`Client`] knows what has to be said; the device owns its connection and drives it by hand, as it does
//! over MQTT.

use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use fleetstorm_protocol::amqp::{Client, Malformed, Said, Terms, address, frame};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{ApiVersion, Operation, OperationId, Reply, http};
use fleetstorm_units::time::{Moment, Span};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{AGENT, Carrier, broke_opening, broke_under_request};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::frames::{Broken, Frames};
use crate::{ConnectTimes, NetError};

/// An open AMQP connection with its two links.
pub struct Link<S> {
    frames: Frames<S>,
    client: Client,
    clock: Clock,
    /// The longest silence of the service; zero for any.
    idle: Span,
    /// When the last frame came, and when the last one was sent.
    heard: Moment,
    spoke: Moment,
    beat: Deadline,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Authenticates, opens the connection and attaches the links, each answered before the next as the clients of DPS
    /// do it.
    pub async fn open(
        stream: S,
        caller: &Caller,
        carrier: &Carrier,
        times: &mut ConnectTimes,
    ) -> Result<Self, NetError> {
        let clock = carrier.clock;
        let host = carrier.host.to_str().map_err(NetError::to(Fault::Protocol))?;
        let hostname = host.split_once(':').map_or(host, |(name, _)| name);
        // The service is asked for half of what the device bears.
        let idle = Span::from_secs(2 * u64::from(carrier.keep_alive_secs));
        let terms = caller.terms(hostname, idle);
        let mut out = Vec::with_capacity(512);
        let client = Client::start(&terms, &mut out);
        let started = clock.now();
        let mut link = Self {
            frames: Frames::new(stream),
            client,
            clock,
            idle,
            heard: started,
            spoke: started,
            beat: Deadline::default(),
        };
        let mut attaching = started;
        loop {
            link.frames.queue(&out);
            out.clear();
            let unit = link.turn().await?;
            let unit = frame::read(&unit).map_err(malformed)?;
            match link.client.greet(&unit, &terms, &mut out) {
                Ok(Said::Nothing) => {}
                Ok(Said::Authenticated) => {
                    attaching = clock.now();
                    times.sasl = Some(attaching.since(started));
                }
                Ok(Said::Ready) => {
                    times.attach = Some(clock.now().since(attaching));
                    (link.heard, link.spoke) = (clock.now(), clock.now());
                    return Ok(link);
                }
                Ok(Said::Answer(_) | Said::Over) => return Err(Fault::Closed.into()),
                Err(fault) => {
                    link.frames.queue(&out);
                    link.hang_up();
                    return Err(fault.into());
                }
            }
        }
    }

    /// Sends what is said and reads what comes back.
    async fn turn(&mut self) -> Result<Bytes, NetError> {
        // A service that says why it closes may be gone before it can be told anything: what has come counts.
        let flushed = self.frames.flush().await;
        let unit = self.frames.next(self.client.frame_max_bytes()).await;
        unit.map_err(|broken| broke_opening(flushed.err().unwrap_or(broken)))
    }

    /// Sends a request and reads its answer.
    pub async fn exchange(
        &mut self,
        caller: &Caller,
        operation: Operation,
        id: Option<&OperationId>,
    ) -> Result<Reply, NetError> {
        let body = caller.body(operation);
        // What came meanwhile belongs to the past; a connection that has ended must not take the request with it. The
        // service may have to grant the next request first.
        std::future::poll_fn(|context| {
            loop {
                match self.poll_said(context) {
                    Poll::Ready(Ok(Said::Over)) => return Poll::Ready(Err(Fault::Closed.into())),
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(NetError { fault: Fault::Closed, ..error }));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending if self.client.may_ask(body.len() + MESSAGE_HEAD_BYTES) => {
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await?;
        let mut out = Vec::with_capacity(body.len() + 320);
        if !self.client.ask(operation, id, body, &mut out) {
            return Err(NetError::new(Fault::Protocol, "the request cannot be spelled"));
        }
        self.say(&out);
        std::future::poll_fn(|context| {
            loop {
                match ready!(self.poll_said(context)) {
                    Ok(Said::Answer(reply)) => return Poll::Ready(Ok(*reply)),
                    Ok(Said::Over) => return Poll::Ready(Err(Fault::Lost.into())),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    /// Returns when the peer closes the idle connection; keeps it alive meanwhile.
    pub async fn closed(&mut self) {
        std::future::poll_fn(|context| {
            loop {
                if matches!(ready!(self.poll_said(context)), Ok(Said::Over) | Err(_)) {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    /// Says goodbye as far as that goes without waiting.
    pub fn hang_up(mut self) {
        let mut out = Vec::new();
        self.client.close(&mut out);
        self.frames.queue(&out);
        let _ = self.frames.poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }

    fn say(&mut self, bytes: &[u8]) {
        self.spoke = self.clock.now();
        self.frames.queue(bytes);
    }

    /// What the next frame means. Sends what is queued and the signs of life.
    fn poll_said(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, NetError>> {
        loop {
            if self.client.is_over() {
                return Poll::Ready(Ok(Said::Over));
            }
            // What has come counts even if nothing more can be sent, so reading goes first.
            if let Poll::Ready(unit) = self.frames.poll_next(self.client.frame_max_bytes(), context) {
                let unit = unit.map_err(broke_under_request)?;
                self.heard = self.clock.now();
                let unit = frame::read(&unit).map_err(malformed)?;
                let mut out = Vec::new();
                let said = self.client.take(&unit, &mut out);
                if !out.is_empty() {
                    self.say(&out);
                    let _ = self.frames.poll_flush(context);
                }
                return Poll::Ready(said.map_err(NetError::from));
            }
            if let Poll::Ready(Err(broken)) = self.frames.poll_flush(context) {
                return Poll::Ready(Err(broke_under_request(broken)));
            }
            let Some(due) = self.due() else { return Poll::Pending };
            ready!(self.beat.until(self.clock.instant(due)).poll(context));
            if self.gives_up() <= self.clock.now() {
                return Poll::Ready(Err(NetError::new(Fault::Lost, "the service was silent for too long")));
            }
            let mut out = Vec::new();
            frame::write_heartbeat(&mut out);
            self.say(&out);
        }
    }

    /// When the service has been silent for too long.
    fn gives_up(&self) -> Moment {
        if self.idle == Span::ZERO { Moment::FAR } else { self.heard + self.idle }
    }

    /// When something has to be done about the silence.
    fn due(&self) -> Option<Moment> {
        let beat = self.client.heartbeat_ms().map(|ms| self.spoke + Span::from_millis(u64::from(ms)));
        let due = beat.unwrap_or(Moment::FAR).min(self.gives_up());
        (due != Moment::FAR).then_some(due)
    }
}

/// What stands around a request's body, at its longest.
const MESSAGE_HEAD_BYTES: usize = 512;

fn malformed(what: Malformed) -> NetError {
    NetError::new(Fault::Protocol, Broken::Malformed(what))
}

/// What a device needs to connect and to spell its requests.
pub struct Caller {
    address: Box<str>,
    /// Where the registration id stands in the address.
    id_at: usize,
    api_version: ApiVersion,
    body: Bytes,
    token: Option<Box<str>>,
}

impl Caller {
    pub fn new(
        (id_scope, api_version): (&str, ApiVersion),
        registration_id: &str,
        extra: Option<&str>,
    ) -> Self {
        let address = address(id_scope, registration_id);
        let id_at = address.len() - registration_id.len();
        let body = http::body(registration_id, extra).into();
        Self { address: address.into(), id_at, api_version, body, token: None }
    }

    pub fn audience(&self) -> String {
        self.address.to_string()
    }

    pub fn authorize(&mut self, token: Option<&str>) {
        self.token = token.map(Into::into);
    }

    fn terms<'a>(&'a self, hostname: &'a str, idle: Span) -> Terms<'a> {
        Terms {
            hostname,
            registration_id: &self.address[self.id_at..],
            address: &self.address,
            token: self.token.as_deref(),
            api_version: self.api_version.name(),
            agent: AGENT,
            idle_time_out_ms: (idle > Span::ZERO)
                .then(|| u32::try_from(idle.as_millis()).unwrap_or(u32::MAX)),
        }
    }

    fn body(&self, operation: Operation) -> &[u8] {
        match operation {
            Operation::Register => &self.body,
            Operation::Poll | Operation::Lookup => b"",
        }
    }
}
