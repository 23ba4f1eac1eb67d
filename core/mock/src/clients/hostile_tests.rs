//! Peers that want to hurt a device: whatever they send, they cost that device its connection within a bound, on every
//! transport.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fleetstorm_net::ConnectTimes;
use fleetstorm_net::clock::Clock;
use fleetstorm_net::connect::FaultyStream;
use fleetstorm_net::exchange::{Caller, Carrier, HubLink, Link, News, Passport};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{ApiVersion, Operation, OperationId, Transport};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::evidence::Peer;
use crate::serve::testing::house;
use crate::serve::{serve_amqp, serve_http, serve_mqtt};

const TRANSPORTS: [Transport; 5] =
    [Transport::Https, Transport::Mqtt, Transport::MqttWs, Transport::Amqp, Transport::AmqpWs];

/// A device's patience.
const PATIENCE: Duration = Duration::from_secs(60);

fn parts(transport: Transport) -> (Carrier, Caller) {
    let carrier = Carrier {
        transport,
        api_version: ApiVersion::USUAL,
        host: ::http::HeaderValue::from_static("localhost:8443"),
        keep_alive_secs: 30,
        clock: Clock::start(),
    };
    let mut caller = Caller::new(&carrier, "0ne00F1EE75".into(), "dev-0001".to_owned(), None);
    caller.authorize(Some("SharedAccessSignature sr=x&sig=eA%3D%3D&se=1")).unwrap();
    (carrier, caller)
}

/// What a device that registers, polls and then waits makes of this stream: its faults, by step.
async fn device(stream: DuplexStream, transport: Transport) -> Vec<Fault> {
    let (carrier, caller) = parts(transport);
    let mut times = ConnectTimes::default();
    let mut faults = Vec::new();
    let stream = FaultyStream::new(stream, None);
    let life = async {
        let mut link = match Link::open(stream, &carrier, &caller, &mut times).await {
            Ok(link) => link,
            Err(error) => return faults.push(error.fault),
        };
        let id = OperationId::read("4.0123456789abcdef.00000000-0000-0000-0000-000000000000");
        for (operation, id) in [(Operation::Register, None), (Operation::Poll, id.as_ref())] {
            match tokio::time::timeout(PATIENCE, link.exchange(&caller, operation, id)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return faults.push(error.fault),
                Err(_) => return faults.push(Fault::Timeout),
            }
        }
        let _ = tokio::time::timeout(PATIENCE, link.closed()).await;
        link.hang_up();
    };
    if tokio::time::timeout(PATIENCE * 4, life).await.is_err() {
        faults.push(Fault::ConnectTimeout);
    }
    faults
}

async fn door(transport: Transport, stream: DuplexStream) {
    let (house, peer) = (house(), Peer::default());
    match transport {
        Transport::Https | Transport::MqttWs | Transport::AmqpWs => serve_http(house, stream, peer).await,
        Transport::Mqtt => serve_mqtt(house, stream, &peer).await,
        Transport::Amqp => serve_amqp(house, stream, &peer).await,
    }
}

/// How bytes on their way are spoiled: at which of them, and how.
#[derive(Clone, Copy, Debug)]
struct Spoil {
    at: usize,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Flip(u8),
    Drop(usize),
    Repeat(usize),
    Insert(u8, usize),
    Cut,
}

fn spoils() -> impl Strategy<Value = Vec<Spoil>> {
    let how = prop_oneof![
        any::<u8>().prop_map(How::Flip),
        (1..64usize).prop_map(How::Drop),
        (1..64usize).prop_map(How::Repeat),
        (any::<u8>(), 1..300usize).prop_map(|(byte, count)| How::Insert(byte, count)),
        Just(How::Cut),
    ];
    proptest::collection::vec((0..900usize, how).prop_map(|(at, how)| Spoil { at, how }), 1..4)
}

/// Carries bytes from one end to the other, spoiled.
async fn carry(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
    mut spoils: Vec<Spoil>,
) {
    spoils.sort_by_key(|spoil| spoil.at);
    let mut spoils = spoils.into_iter().peekable();
    let (mut come, mut chunk) = (0, [0; 256]);
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let mut piece = chunk[..read].to_vec();
        while let Some(Spoil { at, how }) = spoils.next_if(|spoil| spoil.at < come + read) {
            let at = at.saturating_sub(come).min(piece.len());
            match how {
                How::Flip(bits) => piece.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits),
                How::Drop(count) => drop(piece.drain(at..(at + count).min(piece.len()))),
                How::Repeat(count) => {
                    let again = piece[at..(at + count).min(piece.len())].to_vec();
                    piece.splice(at..at, again);
                }
                How::Insert(byte, count) => drop(piece.splice(at..at, vec![byte; count])),
                How::Cut => {
                    let _ = to.write_all(&piece[..at]).await;
                    let _ = to.shutdown().await;
                    return;
                }
            }
        }
        come += read;
        if to.write_all(&piece).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

fn on_paused_time<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// A device and the mock's door, each of which gets what the other says spoiled.
fn between(transport: Transport, up: Vec<Spoil>, down: Vec<Spoil>) -> Vec<Fault> {
    on_paused_time(async {
        let (ours, near) = tokio::io::duplex(4_096);
        let (far, theirs) = tokio::io::duplex(4_096);
        let ((near_read, near_write), (far_read, far_write)) =
            (tokio::io::split(near), tokio::io::split(far));
        tokio::task::spawn_local(door(transport, theirs));
        tokio::task::spawn_local(carry(near_read, far_write, up));
        tokio::task::spawn_local(carry(far_read, near_write, down));
        device(ours, transport).await
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_spoiled_stream_ends_in_an_answer_or_a_fault(up in spoils(), down in spoils()) {
        for transport in TRANSPORTS {
            between(transport, Vec::new(), down.clone());
            between(transport, up.clone(), Vec::new());
        }
    }
}

#[test]
fn a_stream_that_is_not_spoiled_has_no_fault() {
    for transport in TRANSPORTS {
        assert_eq!(between(transport, Vec::new(), Vec::new()), [], "{transport:?}");
    }
}

/// What a peer goes on saying once the device has asked for something.
fn floods(transport: Transport) -> Vec<(&'static str, Vec<u8>)> {
    let frame = |opcode: u8, payload: &[u8]| {
        let mut frame = vec![0x80 | opcode, payload.len() as u8];
        frame.extend_from_slice(payload);
        frame
    };
    // PUBLISH of quality of service 1, which has to be acknowledged, to a topic of two letters.
    let publish = [0x32, 6, 0, 2, b'a', b'b', 0, 1];
    // A flow that asks for one back (AMQP 1.0, 2.7.4).
    let echo = [
        0, 0, 0, 26, 2, 0, 0, 0, 0, 0x53, 0x13, 0xc0, 13, 10, 0x43, 0x52, 100, 0x43, 0x52, 100, 0x40, 0x40,
        0x40, 0x40, 0x42, 0x41,
    ];
    let heartbeat = [0, 0, 0, 8, 2, 0, 0, 0];
    match transport {
        Transport::Https => vec![
            ("interim answers", b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            ("headers", b"X-A: b\r\n".to_vec()),
            ("one header", b"X".to_vec()),
            ("an endless body", b"HTTP/1.1 200 OK\r\n\r\n0".to_vec()),
            ("chunks", b"1\r\na\r\n".to_vec()),
            ("nothing of the protocol", vec![0]),
        ],
        Transport::Mqtt => vec![
            ("publications", publish.to_vec()),
            ("signs of life", vec![0xd0, 0]),
            ("a length that lies", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
            ("half a packet", vec![0x30]),
        ],
        Transport::Amqp => vec![
            ("echoes", echo.to_vec()),
            ("signs of life", heartbeat.to_vec()),
            ("a length that lies", vec![0xff, 0xff, 0xff, 0xff]),
            (
                "nested lists",
                [&[0, 0, 255, 0, 2, 0, 0, 0][..], &[0xd0, 0, 0, 250, 0, 0, 0, 0, 1][..]].concat(),
            ),
        ],
        Transport::MqttWs => vec![
            ("publications", frame(2, &publish)),
            ("pings", frame(9, b"ping")),
            ("empty messages", frame(2, b"")),
            ("fragments", vec![0x02, 1, 0]),
            ("text", frame(1, b"text")),
            ("a length that lies", vec![0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ],
        Transport::AmqpWs => vec![
            ("echoes", frame(2, &echo)),
            ("signs of life", frame(2, &heartbeat)),
            ("pings", frame(9, b"ping")),
            ("pongs", frame(10, b"pong")),
        ],
    }
}

/// Stands between a device and its door until the device has asked, and then floods; `reads` what the device says, or not.
/// How many bytes it got rid of.
async fn flood(near: DuplexStream, far: DuplexStream, asked: usize, what: Vec<u8>, reads: bool) -> usize {
    let (mut near_read, mut near_write) = tokio::io::split(near);
    let (mut far_read, mut far_write) = tokio::io::split(far);
    let heard = Rc::new(RefCell::new(0usize));
    let up = async {
        let mut chunk = [0; 256];
        while let Ok(read @ 1..) = near_read.read(&mut chunk).await {
            *heard.borrow_mut() += read;
            if *heard.borrow() > asked {
                break;
            }
            if far_write.write_all(&chunk[..read]).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut chunk = [0; 256];
        while let Ok(read @ 1..) = far_read.read(&mut chunk).await {
            if near_write.write_all(&chunk[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
    let mut sent = 0;
    let piece = what.repeat(2_048 / what.len() + 1);
    let mut waste = [0; 4_096];
    loop {
        tokio::select! {
            written = near_write.write_all(&piece) => match written {
                Ok(()) => sent += piece.len(),
                Err(_) => return sent,
            },
            read = near_read.read(&mut waste), if reads => if !matches!(read, Ok(1..)) {
                return sent;
            },
        }
    }
}

#[test]
fn a_flood_costs_one_connection_and_a_bound() {
    for transport in TRANSPORTS {
        // How much a device says until it has asked for something.
        let asked = on_paused_time(async {
            let (ours, near) = tokio::io::duplex(4_096);
            let (far, theirs) = tokio::io::duplex(4_096);
            tokio::task::spawn_local(door(transport, theirs));
            let counted = Rc::new(RefCell::new(0usize));
            let count = Rc::clone(&counted);
            let ((mut near_read, near_write), (far_read, mut far_write)) =
                (tokio::io::split(near), tokio::io::split(far));
            tokio::task::spawn_local(carry(far_read, near_write, Vec::new()));
            tokio::task::spawn_local(async move {
                let mut chunk = [0; 4_096];
                while let Ok(read @ 1..) = near_read.read(&mut chunk).await {
                    *count.borrow_mut() += read;
                    let _ = far_write.write_all(&chunk[..read]).await;
                }
            });
            let (carrier, caller) = parts(transport);
            let mut times = ConnectTimes::default();
            let link =
                Link::open(FaultyStream::new(ours, None), &carrier, &caller, &mut times).await.unwrap();
            let asked = *counted.borrow();
            drop(link);
            asked
        });
        for (name, what) in floods(transport) {
            for reads in [true, false] {
                let (faults, sent) = on_paused_time(async {
                    let (ours, near) = tokio::io::duplex(4_096);
                    let (far, theirs) = tokio::io::duplex(4_096);
                    tokio::task::spawn_local(door(transport, theirs));
                    tokio::join!(device(ours, transport), flood(near, far, asked, what.clone(), reads))
                });
                let told = format!("{transport:?}: {name}, {}", if reads { "heard" } else { "not heard" });
                assert!(
                    matches!(faults[..], [Fault::Protocol | Fault::Lost | Fault::Closed]),
                    "{told}: {faults:?}"
                );
                assert!(sent <= 2 << 20, "{told}: took {sent} bytes");
            }
        }
    }
}

/// What a device makes of its hub: it connects, sends a message, and listens until the hub is gone.
async fn guest(stream: DuplexStream) -> Result<(), Fault> {
    let passport =
        Passport { hub: "hub-1", device_id: "dev-0001", token: Some("token"), keep_alive_secs: 30 };
    let (clock, mut times) = (Clock::start(), ConnectTimes::default());
    let stream = FaultyStream::new(stream, None);
    let open = HubLink::open(stream, &passport, clock, &mut times);
    let open = tokio::time::timeout(PATIENCE, open).await.unwrap_or(Err(Fault::ConnectTimeout.into()));
    let mut link = open.map_err(|error| error.fault)?;
    loop {
        link.send();
        match tokio::time::timeout(PATIENCE, link.news()).await {
            Ok(News::Reprovision) => {}
            Ok(News::Closed) => return Ok(()),
            Err(_) => return Err(Fault::Timeout),
        }
    }
}

/// A hub that lets its device in and then says `what` for as long as anybody takes it; how many bytes that were.
async fn hostile_hub(mut stream: DuplexStream, what: Vec<u8>, reads: bool) -> usize {
    let mut waste = [0; 4_096];
    // CONNECT is answered with CONNACK, and SUBSCRIBE of packet 1 with SUBACK.
    for answer in [&[0x20, 2, 0, 0][..], &[0x90, 3, 0, 1, 0]] {
        assert!(matches!(stream.read(&mut waste).await, Ok(1..)));
        stream.write_all(answer).await.unwrap();
    }
    let (mut read, mut write) = tokio::io::split(stream);
    let piece = what.repeat(2_048 / what.len() + 1);
    let mut sent = 0;
    loop {
        tokio::select! {
            written = write.write_all(&piece) => match written {
                Ok(()) => sent += piece.len(),
                Err(_) => return sent,
            },
            read = read.read(&mut waste), if reads => if !matches!(read, Ok(1..)) {
                return sent;
            },
        }
    }
}

#[test]
fn a_hub_that_floods_costs_one_connection_and_a_bound() {
    let publication = |topic: &str| {
        let mut packet = vec![0x30, (2 + topic.len() + 2) as u8, 0, topic.len() as u8];
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(b"{}");
        packet
    };
    for (name, what) in [
        ("calls of a method that there is not", publication("$iothub/methods/POST/Explode/?$rid=1")),
        ("calls of Reprovision", publication("$iothub/methods/POST/Reprovision/?$rid=1")),
        ("publications", vec![0x32, 6, 0, 2, b'a', b'b', 0, 1]),
        ("signs of life", vec![0xd0, 0]),
        ("acknowledgements", vec![0x40, 2, 0, 9]),
        ("a length that lies", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("nothing of the protocol", vec![0]),
    ] {
        for reads in [true, false] {
            let (end, sent) = on_paused_time(async {
                let (ours, theirs) = tokio::io::duplex(4_096);
                tokio::join!(guest(ours), hostile_hub(theirs, what.clone(), reads))
            });
            assert_eq!(end, Ok(()), "{name}, {reads}: the device sees that its connection has ended");
            assert!(sent <= 2 << 20, "{name}, {reads}: took {sent} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_greeting_ends_within_a_devices_patience(mut bytes: Vec<u8>, head in 0..5usize) {
        let heads: [&[u8]; 5] = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999999999999\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            &[0x20, 2, 0, 0, 0x90, 3, 0, 1, 1],
            b"AMQP\x03\x01\x00\x00\x00\x00\x00\x10\x02\x01\x00\x00",
            b"AMQP\x00\x01\x00\x00\x00\x00\x00\x20\x02\x00\x00\x00\x00\x53\x10",
        ];
        bytes.splice(0..0, heads[head].iter().copied());
        for transport in TRANSPORTS {
            let faults = on_paused_time(async {
                let (ours, mut theirs) = tokio::io::duplex(1 << 16);
                theirs.write_all(&bytes).await.unwrap();
                device(ours, transport).await
            });
            prop_assert_eq!(faults.len(), 1, "{:?}: {:?}", transport, faults);
        }
    }

    #[test]
    fn any_greeting_of_a_hub_ends_within_a_devices_patience(bytes: Vec<u8>, lets_in: bool) {
        let end = on_paused_time(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            let greeting: &[u8] = if lets_in { &[0x20, 2, 0, 0, 0x90, 3, 0, 1, 0] } else { &[] };
            theirs.write_all(greeting).await.unwrap();
            theirs.write_all(&bytes).await.unwrap();
            tokio::time::timeout(PATIENCE * 4, guest(ours)).await
        });
        prop_assert!(end.is_ok(), "{bytes:?}");
    }
}
