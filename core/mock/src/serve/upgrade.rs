//! The upgrade of an HTTPS connection to a WebSocket (RFC 6455), on any path: clients disagree about it.

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What a WebSocket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    Mqtt,
    Amqp,
}

/// A WebSocket to be, once the answer is out.
pub(super) type Granted = (Carried, OnUpgrade);

/// The answer to a request for a WebSocket, and what it will carry if it is granted; `None` if the request is for
/// something else.
pub(super) fn offer(request: &mut Request<Incoming>) -> Option<(Response<Full<Bytes>>, Option<Granted>)> {
    let headers = request.headers();
    if request.method() != Method::GET || !names(headers, &UPGRADE, "websocket") {
        return None;
    }
    let (response, carried) = answer(headers);
    Some((response, carried.map(|carried| (carried, hyper::upgrade::on(request)))))
}

fn answer(headers: &HeaderMap) -> (Response<Full<Bytes>>, Option<Carried>) {
    let mut response = Response::new(Full::default());
    match accept(headers) {
        Ok((carried, protocol, accept)) => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let answer = response.headers_mut();
            answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
            answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
            answer.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
            (response, Some(carried))
        }
        Err(status) => {
            *response.status_mut() = status;
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            (response, None)
        }
    }
}

/// What is granted, the protocol as it was offered, and the proof that this is a WebSocket server.
fn accept(headers: &HeaderMap) -> Result<(Carried, HeaderValue, HeaderValue), StatusCode> {
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| names(headers, &CONNECTION, "upgrade"));
    let key = key.ok_or(StatusCode::BAD_REQUEST)?;
    let (carried, protocol) = protocol(headers).ok_or(StatusCode::BAD_REQUEST)?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    Ok((carried, protocol, accept.map_err(|_| StatusCode::BAD_REQUEST)?))
}

/// The first protocol offered that a door here speaks, spelled as it was offered: clients compare it with case.
fn protocol(headers: &HeaderMap) -> Option<(Carried, HeaderValue)> {
    items(headers, &SEC_WEBSOCKET_PROTOCOL).find_map(|offered| {
        let known = [("mqtt", Carried::Mqtt), ("AMQPWSB10", Carried::Amqp)];
        let (_, carried) = known.into_iter().find(|(name, _)| offered.eq_ignore_ascii_case(name))?;
        Some((carried, HeaderValue::from_str(offered).ok()?))
    })
}

fn names(headers: &HeaderMap, header: &HeaderName, word: &str) -> bool {
    items(headers, header).any(|item| item.eq_ignore_ascii_case(word))
}

/// The members of a header that is a list.
fn items<'a>(headers: &'a HeaderMap, header: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    /// The handshake of RFC 6455, 1.3.
    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");
    const UP: (&str, &str) = ("connection", "keep-alive, Upgrade");

    #[test]
    fn the_protocol_is_found_without_case_and_echoed_as_offered() {
        for (offered, echoed, expected) in [
            ("mqtt", "mqtt", Carried::Mqtt),
            ("MQTT", "MQTT", Carried::Mqtt),
            ("mqttv5, Mqtt", "Mqtt", Carried::Mqtt),
            ("AMQPWSB10", "AMQPWSB10", Carried::Amqp),
            ("amqpwsb10, mqtt", "amqpwsb10", Carried::Amqp),
        ] {
            let (response, carried) =
                answer(&headers(&[KEY, VERSION, UP, ("sec-websocket-protocol", offered)]));
            assert_eq!((carried, response.status().as_u16()), (Some(expected), 101));
            assert_eq!(response.headers()["sec-websocket-protocol"], echoed);
            assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        }
    }

    #[test]
    fn an_incomplete_handshake_is_refused() {
        let protocol = ("sec-websocket-protocol", "mqtt");
        for (request, status) in [
            (&[VERSION, UP, protocol][..], 400),
            (&[KEY, UP, protocol], 426),
            (&[KEY, VERSION, protocol], 400),
            (&[KEY, VERSION, UP], 400),
            (&[KEY, VERSION, UP, ("sec-websocket-protocol", "soap")], 400),
            (&[KEY, ("sec-websocket-version", "8"), UP, protocol], 426),
        ] {
            let (response, carried) = answer(&headers(request));
            assert_eq!((carried, response.status().as_u16()), (None, status), "{request:?}");
        }
    }
}
