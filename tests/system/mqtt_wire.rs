//! An MQTT client that speaks bytes, over TLS and over WebSocket: what the door answers is judged as it stands on the
//! wire.

use std::io::{Read, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::harness::{Mock, Tls};

/// How a client comes to the MQTT door.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Tls,
    /// Over WebSocket, a message for so many bytes.
    WebSocket {
        path: &'static str,
        protocol: &'static str,
        cut: usize,
    },
}

/// As Python comes, and as Node does with its many small messages.
pub(crate) const WAYS: [Way; 3] = [
    Way::Tls,
    Way::WebSocket { path: "/$iothub/websocket", protocol: "mqtt", cut: usize::MAX },
    Way::WebSocket { path: "/", protocol: "MQTT", cut: 2 },
];

pub(crate) struct MqttWire {
    stream: Tls,
    cut: Option<usize>,
    /// Bytes that came in WebSocket messages and were not read yet.
    rest: Vec<u8>,
}

/// A packet: its first byte, and what follows the remaining length.
pub(crate) type Packet = (u8, Vec<u8>);

impl MqttWire {
    pub(crate) fn open(mock: &Mock, way: Way) -> Self {
        match way {
            Way::Tls => Self::over(mock.tls(mock.mqtt()), None),
            Way::WebSocket { path, protocol, cut } => {
                let (status, head, stream) = upgrade(mock, path, protocol);
                assert_eq!(status, 101, "{head}");
                assert!(head.contains(&format!("sec-websocket-protocol: {protocol}\r\n")), "{head}");
                Self::over(stream, Some(cut))
            }
        }
    }

    /// Over a stream that is there; with `cut`, in WebSocket messages of so many bytes.
    pub(crate) fn over(stream: Tls, cut: Option<usize>) -> Self {
        Self { stream, cut, rest: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self.cut {
            None => self.stream.write_all(bytes)?,
            Some(cut) => {
                for part in bytes.chunks(cut.min(bytes.len().max(1))) {
                    self.stream.write_all(&frame(0x82, part))?;
                }
            }
        }
        self.stream.flush()
    }

    /// Sends a WebSocket frame as it stands.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.stream.write_all(&frame(first, payload)).unwrap();
        self.stream.flush().unwrap();
    }

    /// So many bytes; `None` once the connection has ended.
    pub(crate) fn read(&mut self, length: usize) -> Option<Vec<u8>> {
        if self.cut.is_none() {
            let mut bytes = vec![0; length];
            return self.stream.read_exact(&mut bytes).ok().map(|()| bytes);
        }
        while self.rest.len() < length {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).ok()?;
            let length = match head[1] {
                126 => {
                    let mut more = [0; 2];
                    self.stream.read_exact(&mut more).ok()?;
                    usize::from(u16::from_be_bytes(more))
                }
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).ok()?;
            match head[0] {
                0x82 => self.rest.extend(payload),
                0x88 => return None,
                other => panic!("a frame that a server of ours does not send: {other:#x}"),
            }
        }
        Some(self.rest.drain(..length).collect())
    }

    /// The next packet; `None` once the connection has ended.
    pub(crate) fn packet(&mut self) -> Option<Packet> {
        let first = self.read(1)?[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.read(1)?[0];
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some((first, self.read(length)?))
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, first: u8, rest: &[u8]) {
        assert_eq!(self.packet(), Some((first, rest.to_vec())));
    }

    /// The next packet must be a PUBLISH with this first byte; returns topic and payload, and acknowledges it.
    #[track_caller]
    pub(crate) fn answer(&mut self, first: u8) -> (String, serde_json::Value) {
        let (found, rest) = self.packet().expect("an answer");
        assert_eq!(found, first, "{found:#x} {:?}", String::from_utf8_lossy(&rest));
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let topic = String::from_utf8(rest[2..2 + length].to_vec()).unwrap();
        let mut at = 2 + length;
        if first & 0x06 != 0 {
            let id = [rest[at], rest[at + 1]];
            assert_ne!(id, [0, 0]);
            self.send(&[&[0x40, 2], &id[..]].concat());
            at += 2;
        }
        (topic, serde_json::from_slice(&rest[at..]).unwrap())
    }
}

/// Asks for a WebSocket; returns the status, the head of the answer in lower-case names, and the stream.
pub(crate) fn upgrade(mock: &Mock, path: &str, protocol: &str) -> (u16, String, Tls) {
    let mut stream = mock.tls(mock.address());
    let key = BASE64_STANDARD.encode(b"sixteen bytes of");
    // As the Python client asks.
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost:443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Origin: https://localhost:443\r\nSec-WebSocket-Key: {key}\r\nSec-Websocket-Version: 13\r\n\
         Sec-Websocket-Protocol: {protocol}\r\n\r\n"
    )
    .unwrap();
    stream.flush().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    (head[9..12].parse().unwrap(), head, stream)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        out.push((length % 128) as u8 | if more { 0x80 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    [out, body].concat()
}

pub(crate) fn connect(
    clean: bool,
    keep_alive: u16,
    client: &str,
    user: &str,
    password: Option<&str>,
) -> Vec<u8> {
    let flags = 0x80 | if clean { 2 } else { 0 } | if password.is_some() { 0x40 } else { 0 };
    packet(
        0x10,
        &[
            &text("MQTT"),
            &[4, flags],
            &keep_alive.to_be_bytes(),
            &text(client),
            &text(user),
            &password.map(text).unwrap_or_default(),
        ],
    )
}

pub(crate) fn subscribe(id: u16, filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&id.to_be_bytes(), &text(filter), &[qos]])
}

pub(crate) fn unsubscribe(id: u16, filter: &str) -> Vec<u8> {
    packet(0xa2, &[&id.to_be_bytes(), &text(filter)])
}

/// With `id`, at quality of service 1.
pub(crate) fn publish(id: Option<u16>, topic: &str, payload: &str) -> Vec<u8> {
    let id = id.map(u16::to_be_bytes);
    let first = if id.is_some() { 0x32 } else { 0x30 };
    packet(first, &[&text(topic), id.as_ref().map_or(&[][..], |id| id), payload.as_bytes()])
}
