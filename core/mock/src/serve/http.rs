//! The HTTPS door.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use fleetstorm_model::chaos::DoorStep;
use fleetstorm_model::service::log::What;
use fleetstorm_model::service::{Call, Handled, Request as Asked};
use fleetstorm_net::websocket::WebSocket;
use fleetstorm_protocol::http::{
    MESSAGE_MAX_BYTES, Route, RouteCall, read_submission, route, service_route, write_reply,
};
use fleetstorm_protocol::{Body, Operation, Status, Transport};
use fleetstorm_units::time::Span;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::ask::{self, Visit};
use super::damage::{self, Carries, Closed, whole};
use super::headers::{ERROR_CODE, common_headers};
use super::upgrade::{self, Carried};
use super::{House, operators, serve_amqp, serve_mqtt};
use crate::evidence::{Peer, Presented};

/// Serves one connection until it ends. Errors of a client are its own: they end its connection and nothing else.
pub async fn serve_http<S>(house: Rc<House>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let peer = Rc::new(peer);
    let upgraded = RefCell::new(None);
    let head = house.limits.head;
    let used = Cell::new(false);
    let answer = service_fn(|mut request| {
        let reused = used.replace(true);
        let (house, peer) = (Rc::clone(&house), Rc::clone(&peer));
        let offer = upgrade::offer(&mut request).map(|(response, granted)| {
            *upgraded.borrow_mut() = granted;
            response
        });
        async move {
            match offer {
                Some(response) => Ok(whole(response)),
                None => respond(&house, &peer, request, reused).await,
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    // How a client's connection ended is of no interest to the others.
    let _ = connection.await;
    let Some((carried, upgraded)) = upgraded.take() else { return };
    let Ok(upgraded) = upgraded.await else { return };
    if let Ok(parts) = upgraded.downcast::<TokioIo<S>>() {
        let stream = WebSocket::accept(parts.io.into_inner(), parts.read_buf).await;
        peer.speaks(match carried {
            Carried::Mqtt => Transport::MqttWs,
            Carried::Amqp => Transport::AmqpWs,
        });
        match carried {
            Carried::Mqtt => Box::pin(serve_mqtt(house, stream, &peer)).await,
            Carried::Amqp => Box::pin(serve_amqp(house, stream, &peer)).await,
        }
    }
}

async fn respond(
    house: &Rc<House>,
    peer: &Peer,
    request: Request<Incoming>,
    reused: bool,
) -> Result<Response<Carries>, Closed> {
    peer.heard();
    let (head, body) = request.into_parts();
    let Some(body) = read_body(house, body).await else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(whole(response));
    };
    house.lag().await;
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or("?"));
    let (method, path, query) = (head.method.as_str(), head.uri.path(), head.uri.query());
    if let Some(route) = service_route(method, path, query) {
        let presented = Presented::new(peer, authorization).for_dps();
        let answer = operators::respond(house, peer, &presented, &route, &head.headers, &body).await;
        if answer.status().is_success() {
            peer.proved();
        }
        return Ok(whole(answer));
    }
    let route = route(method, path, query);
    let operation = match &route.call {
        RouteCall::Register => Some(Operation::Register),
        RouteCall::Lookup => Some(Operation::Lookup),
        RouteCall::Poll(_) => Some(Operation::Poll),
        RouteCall::WrongMethod | RouteCall::NoSuchPath => None,
    };
    let request = DoorStep::HttpRequest { reused };
    if let Some(misspelt) = house.struck(&route.registration_id, operation, request) {
        return damage::instead(&misspelt);
    }
    let content_type = head.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let call = match &route.call {
        RouteCall::Register => Call::Register(read_submission(content_type, &body)),
        RouteCall::Lookup => Call::Lookup(read_submission(content_type, &body)),
        RouteCall::Poll(id) => ask::poll(id),
        RouteCall::WrongMethod => Call::WrongMethod,
        RouteCall::NoSuchPath => Call::NoSuchPath,
    };
    let asked = Asked {
        api_version: route.api_version.as_deref(),
        id_scope: &route.id_scope,
        registration_id: &route.registration_id,
        call,
    };
    let presented = Presented::new(peer, authorization).for_dps().with_body(&body);
    let (began, handled) = house.ask(peer, &presented, &asked);
    if handled.delay > Span::ZERO {
        tokio::time::sleep(handled.delay.into()).await;
    }
    let took = house.clock.now().since(began);
    let visit = Visit { protocol: "Http", began, took, api_version: asked.api_version };
    house.log(peer, &visit, || What::device(&asked, &handled));
    let (response, spelled) = spell(&handled, &route, &head.headers);
    Ok(match house.struck(&route.registration_id, operation, DoorStep::HttpAnswer) {
        None => whole(response),
        Some(misspelt) => damage::damaged(response, &spelled, &misspelt),
    })
}

/// The whole body; empty once it is longer than any message, which no reader accepts. `None` if it takes too long.
async fn read_body(house: &House, mut body: Incoming) -> Option<Bytes> {
    use hyper::body::Body as _;
    if body.is_end_stream() {
        return Some(Bytes::new());
    }
    let read = async {
        let mut whole = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.ok()?.into_data() else { continue };
            if whole.is_empty() && joined.is_empty() {
                whole = data;
            } else {
                if joined.is_empty() {
                    joined.extend_from_slice(&whole);
                }
                joined.extend_from_slice(&data);
            }
            if whole.len().max(joined.len()) > MESSAGE_MAX_BYTES {
                return Some(Bytes::from_static(b"too long"));
            }
        }
        Some(if joined.is_empty() { whole } else { joined.freeze() })
    };
    tokio::time::timeout(house.limits.body, read).await.ok().flatten()
}

/// The answer as the service spells it (`dps` 3.3), and its body.
fn spell(handled: &Handled, route: &Route<'_>, asked: &HeaderMap) -> (Response<Full<Bytes>>, Bytes) {
    let reply = &handled.reply;
    let poll = matches!(route.call, RouteCall::Poll(_));
    let mut body = Vec::with_capacity(256);
    write_reply(reply, &route.registration_id, poll, &mut body);
    let body = Bytes::from(body);
    let mut response = Response::new(Full::new(body.clone()));
    *response.status_mut() =
        StatusCode::from_u16(reply.status.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    common_headers(headers, reply.retry_after, handled.request_id);
    if let Body::Error(error) = &reply.body {
        headers.insert(ERROR_CODE, HeaderValue::from(error.code));
    }
    if reply.status == Status::ACCEPTED && !poll {
        let host = asked
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("global.azure-devices-provisioning.net");
        let location =
            format!("https://{host}/{}/registrations/{}/register", route.id_scope, route.registration_id);
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(location)) {
            headers.insert(LOCATION, value);
        }
    }
    (response, body)
}
