//! The device API over an HTTP/1.1 connection.
//!
//! hyper's connection-level client is driven by hand: the device owns its connection as a real one does, every
//! phase is timed, and any byte stream will do.

use std::pin::Pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{Operation, OperationId, Reply, RetryAfter, Status, http as spelling};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::AGENT;

/// A reply's body beyond this is no answer of DPS, whose messages have at most 96 KB.
const BODY_MAX_BYTES: usize = 256 * 1024;

/// An open HTTP connection.
pub struct Link<S: AsyncRead + AsyncWrite + Unpin + 'static> {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection<TokioIo<S>, Full<Bytes>>>>,
    /// The connection future has ended and must not be polled again.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Link<S> {
    /// Speaks HTTP on a stream. Nothing is sent yet.
    pub async fn open(stream: S) -> Result<Self, Fault> {
        let (sender, connection) =
            Builder::new().handshake(TokioIo::new(stream)).await.map_err(|_| Fault::Closed)?;
        Ok(Self { sender, connection: Box::pin(connection), ended: false })
    }

    /// Sends a request and reads the whole reply.
    pub async fn exchange(
        &mut self,
        caller: &Caller,
        operation: Operation,
        id: Option<&OperationId>,
    ) -> Result<Reply, Fault> {
        let Self { sender, connection, ended } = self;
        let reply = async {
            // Spelled here, so that no device carries a request around while it waits.
            let request = caller.request(operation, id).ok_or(Fault::Protocol)?;
            let response = sender.try_send_request(request).await.map_err(|mut refused| {
                // hyper hands the request back if it never left.
                if refused.take_message().is_some() { Fault::Closed } else { fault(&refused.into_error()) }
            })?;
            read(response).await
        };
        let mut reply = std::pin::pin!(reply);
        std::future::poll_fn(|context| {
            // The connection moves the bytes that the reply waits for, so it goes first.
            if !*ended {
                *ended = connection.as_mut().poll(context).is_ready();
            }
            reply.as_mut().poll(context)
        })
        .await
    }

    /// Returns when the peer closes the idle connection.
    pub async fn closed(&mut self) {
        if !self.ended {
            std::future::poll_fn(|context| match self.connection.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            })
            .await;
            self.ended = true;
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<Reply, Fault> {
    let (head, mut body) = response.into_parts();
    let retry_after = RetryAfter::read(head.headers.get_all(RETRY_AFTER).iter().map(HeaderValue::as_bytes));
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let status = Status(head.status.as_u16());
    let interpret = |body: &[u8]| spelling::read_reply(status, retry_after, content_type, body);

    // Nearly every reply is one frame, which then need not be copied.
    let first = match frame(&mut body).await? {
        Some(first) => first,
        None => return Ok(interpret(&[])),
    };
    if first.len() > BODY_MAX_BYTES {
        return Err(Fault::Protocol);
    }
    if body.is_end_stream() {
        return Ok(interpret(&first));
    }
    let mut whole = BytesMut::from(first.as_ref());
    while let Some(more) = frame(&mut body).await? {
        if whole.len() + more.len() > BODY_MAX_BYTES {
            return Err(Fault::Protocol);
        }
        whole.extend_from_slice(&more);
    }
    Ok(interpret(&whole))
}

/// The next piece of data; trailers are passed over.
async fn frame(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| fault(&error))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// What an error after the request left means.
fn fault(error: &hyper::Error) -> Fault {
    if error.is_parse() || error.is_user() {
        return Fault::Protocol;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // With TLS 1.3 a server refuses a client certificate after the handshake, as an alert on the first read.
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return crate::connect::fault_under_request(io);
        }
        source = cause.source();
    }
    Fault::Lost
}

/// What a device needs to spell its requests, made once.
pub struct Caller {
    id_scope: std::sync::Arc<str>,
    registration_id: String,
    host: HeaderValue,
    register: Option<Uri>,
    body: Bytes,
    authorization: Option<HeaderValue>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

impl Caller {
    /// A device's way of speaking to the service at `host`. `extra` are members that the attestation adds to the
    /// body of a registration.
    pub fn new(
        id_scope: std::sync::Arc<str>,
        registration_id: String,
        host: HeaderValue,
        extra: Option<&str>,
    ) -> Self {
        let mut path = String::new();
        spelling::path_and_query(
            Operation::Register,
            &id_scope,
            &registration_id,
            None,
            spelling::API_VERSION,
            &mut path,
        );
        let body = spelling::body(&registration_id, extra);
        Self { register: uri(path), id_scope, registration_id, host, body: body.into(), authorization: None }
    }

    /// The resource that a SAS token of this device is for.
    pub fn audience(&self) -> String {
        format!("{}/registrations/{}", self.id_scope, self.registration_id)
    }

    /// Presents this token from now on; `None` for devices that prove themselves by their certificate.
    pub fn authorize(&mut self, token: Option<&str>) -> Result<(), Fault> {
        self.authorization = token.map(HeaderValue::from_str).transpose().map_err(|_| Fault::Attestation)?;
        if let Some(value) = &mut self.authorization {
            value.set_sensitive(true);
        }
        Ok(())
    }

    /// Spells a request, if it can be spelled.
    fn request(&self, operation: Operation, id: Option<&OperationId>) -> Option<Request<Full<Bytes>>> {
        let (method, target, body) = match operation {
            Operation::Register => (Method::PUT, self.register.clone(), self.body.clone()),
            Operation::Poll => (Method::GET, self.target(operation, id), Bytes::new()),
            Operation::Lookup => (Method::POST, self.target(operation, None), self.body.clone()),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Some(request)
    }

    fn target(&self, operation: Operation, id: Option<&OperationId>) -> Option<Uri> {
        let mut path = String::new();
        spelling::path_and_query(
            operation,
            &self.id_scope,
            &self.registration_id,
            id,
            spelling::API_VERSION,
            &mut path,
        );
        uri(path)
    }
}

/// `None` if it is too long for a request: an id scope of the scenario's may be.
fn uri(path: String) -> Option<Uri> {
    Uri::from_maybe_shared(Bytes::from(path)).ok()
}
