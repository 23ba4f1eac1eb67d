//! The door against whatever a client may send.

use std::time::Duration;

use fleetstorm_protocol::amqp::frame::write_heartbeat;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::serve::testing::house;

/// What azure-iot-sdk-c sends to open a connection without SASL, captured: header, open, begin.
const OPENING: [&str; 3] = [
    "414d515000010000",
    "0000003202000000005310c02504a10f70726f765f636f6e6e656374696f6ea1096c6f63616c686f737470ffffffff60ffff",
    "0000001f02000000005311c012054043707fffffff700001000070ffffffff",
];

fn opening() -> Vec<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    OPENING.iter().map(|text| text.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Sends the pieces to a fresh door and returns what came back, and how long the door kept the connection that nothing
/// more is said on. With `hang_up`, the client ends it.
fn talk(pieces: &[Vec<u8>], hang_up: bool) -> (Vec<u8>, Duration) {
    runtime().block_on(async {
        let house = house();
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        let send = async {
            for piece in pieces {
                if ours.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if hang_up {
                let _ = ours.shutdown().await;
            }
            let mut back = Vec::new();
            let _ = ours.read_to_end(&mut back).await;
            back
        };
        let peer = Peer::default();
        let (back, ()) = tokio::join!(send, serve_amqp(Rc::clone(&house), theirs, &peer));
        (back, Duration::from_nanos(house.clock.now().as_nanos()))
    })
}

/// The lengths of the units in `bytes`, which must be whole.
fn units(mut bytes: &[u8]) -> Vec<usize> {
    let mut all = Vec::new();
    while let Some(length) = frame::length(bytes, 1 << 16).unwrap() {
        frame::read(&bytes[..length]).unwrap();
        bytes = &bytes[length..];
        all.push(length);
    }
    assert!(bytes.is_empty());
    all
}

#[test]
fn a_client_that_does_not_open_is_sent_away_in_time() {
    for pieces in [&opening()[..0], &opening()[..1], &[b"AMQP\x03\x01\0\0".to_vec()]] {
        let (_, kept) = talk(pieces, false);
        assert_eq!(kept, Duration::from_secs(30), "{} pieces", pieces.len());
    }
}

#[test]
fn a_client_that_is_silent_is_told_so_and_sent_away() {
    let (back, kept) = talk(&opening(), false);
    assert_eq!(kept, Duration::from_secs(300));
    assert!(String::from_utf8_lossy(&back).contains("amqp:resource-limit-exceeded"), "{back:x?}");
}

#[test]
fn a_client_gets_the_signs_of_life_that_it_asks_for() {
    let mut pieces = opening();
    // An idle time-out of 60 s behind the channel's number.
    pieces[1].extend([0x70, 0, 0, 0xea, 0x60]);
    pieces[1][3] += 5;
    pieces[1][12] += 5;
    pieces[1][13] += 1;
    let (back, _) = talk(&pieces, false);
    let heartbeats = units(&back).iter().filter(|length| **length == 8).count() - 1;
    // Every 30 s, until it is sent away after 300 s.
    assert_eq!(heartbeats, 9);
}

#[test]
fn a_frame_that_is_too_long_is_refused_by_its_first_bytes() {
    let mut pieces = opening();
    pieces.push(vec![0, 1, 0, 1]);
    let (back, kept) = talk(&pieces, false);
    assert!(kept < Duration::from_secs(1));
    assert!(String::from_utf8_lossy(&back).contains("amqp:connection:framing-error"), "{back:x?}");
    // Before the connection is open, the limit is lower and there is nobody to tell.
    let (back, kept) = talk(&[opening().remove(0), vec![0, 0, 0x20, 1]], false);
    assert_eq!((back.len(), kept < Duration::from_secs(1)), (8, true));
}

#[test]
fn heartbeats_keep_a_connection() {
    runtime().block_on(async {
        let house = house();
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        let client = async {
            ours.write_all(&opening().concat()).await.unwrap();
            let mut beat = Vec::new();
            write_heartbeat(&mut beat);
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(200)).await;
                ours.write_all(&beat).await.unwrap();
            }
            drop(ours);
        };
        let peer = Peer::default();
        tokio::join!(client, serve_amqp(Rc::clone(&house), theirs, &peer));
        assert!(house.clock.now() >= Moment::START + Span::from_secs(2_000));
    });
}

proptest! {
    #[test]
    fn any_bytes_are_survived(pieces: Vec<Vec<u8>>, opened in 0..=3usize, framed: bool) {
        let mut all = opening()[..opened].to_vec();
        all.extend(pieces.into_iter().map(|piece| {
            if !framed {
                return piece;
            }
            // A frame leads deeper than bytes do.
            let length = u32::try_from(piece.len() + 8).unwrap().to_be_bytes();
            [&length[..], &[2, 0, 0, 0], &piece].concat()
        }));
        let (back, _) = talk(&all, true);
        units(&back);
    }
}
