//! The door against whatever a client may send.

use std::cell::Cell;
use std::collections::BTreeMap;

use fleetstorm_protocol::mqtt::packet::{PubAck, SubscribeReasonCode, Unsubscribe};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::serve::testing::house;

/// Sends the pieces to a fresh door, ends the connection, and returns what came back.
fn talk(pieces: &[Vec<u8>]) -> Vec<u8> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let house = house();
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        let send = async {
            for piece in pieces {
                if ours.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = ours.shutdown().await;
            let mut back = Vec::new();
            let _ = ours.read_to_end(&mut back).await;
            back
        };
        let peer = Peer::default();
        let (back, ()) = tokio::join!(send, serve_mqtt(Rc::clone(&house), theirs, &peer));
        assert_eq!(house.sessions.len(), 0, "a client that is gone keeps no seat");
        back
    })
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    packet.write(&mut out, usize::MAX).unwrap();
    out.to_vec()
}

fn hello() -> Packet {
    let mut connect = Connect::new("dev-1");
    connect.set_login("0ne00F1EE75/registrations/dev-1/api-version=2019-03-31", "x");
    Packet::Connect(connect)
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let qos = prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let topic = prop_oneof![
        Just("$dps/registrations/PUT/iotdps-register/?$rid=1".to_owned()),
        Just("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=x".to_owned()),
        "\\PC{0,40}",
    ];
    let filter = prop_oneof![Just(spelling::ANSWERS.to_owned()), "\\PC{1,20}"];
    prop_oneof![
        8 => (topic, qos.clone(), any::<Vec<u8>>(), 1..u16::MAX).prop_map(|(topic, qos, payload, pkid)| {
            let mut publish = Publish::new(topic, qos, payload);
            publish.pkid = pkid;
            Packet::Publish(publish)
        }),
        4 => (filter.clone(), qos, 1..u16::MAX).prop_map(|(filter, qos, pkid)| {
            let mut subscribe = Subscribe::new(filter, qos);
            subscribe.pkid = pkid;
            Packet::Subscribe(subscribe)
        }),
        1 => filter.prop_map(|filter| {
            let mut unsubscribe = Unsubscribe::new(filter);
            unsubscribe.pkid = 3;
            Packet::Unsubscribe(unsubscribe)
        }),
        2 => Just(Packet::PingReq),
        1 => (1..u16::MAX).prop_map(|pkid| Packet::PubAck(PubAck::new(pkid))),
        1 => Just(Packet::Disconnect),
        1 => Just(hello()),
    ]
}

/// What came back, as packets.
fn packets(mut back: bytes::BytesMut) -> Vec<Packet> {
    let mut all = Vec::new();
    while !back.is_empty() {
        all.push(Packet::read(&mut back, 1 << 20).expect("the door sends whole packets"));
    }
    all
}

/// A token of the demo's group for this device.
fn token(id: &str) -> String {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    use base64::Engine as _;
    let [group, _] = crate::identity::FleetIdentity::from_seed(0).unwrap().group_keys();
    let own = sign(&Key::new(HMAC_SHA256, group.expose()), id.as_bytes());
    let resource = format!("0ne00F1EE75%2Fregistrations%2F{id}");
    let signed = sign(&Key::new(HMAC_SHA256, own.as_ref()), format!("{resource}\n1900000000").as_bytes());
    let signature = base64::prelude::BASE64_STANDARD.encode(signed);
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se=1900000000&skn=registration")
}

/// Whether a device that waits, and says so by a token, is ended by who comes under its name with another.
#[test]
fn only_who_proves_it_takes_over_a_session() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let hello = |token: String| {
        let mut connect = Connect::new("dev-1");
        connect.set_login("0ne00F1EE75/registrations/dev-1/api-version=2019-03-31", token);
        connect.keep_alive = 0;
        bytes(&Packet::Connect(connect))
    };
    for (first, second, first_stays, second_stays) in [
        (token("dev-1"), "x".to_owned(), true, false),
        (token("dev-1"), String::new(), true, false),
        (token("dev-1"), token("dev-2"), true, false),
        (token("dev-1"), token("dev-1"), false, true),
        ("x".to_owned(), token("dev-1"), false, true),
        // Nobody waits for who proves nothing, whatever keep-alive it names.
        (String::new(), "x".to_owned(), false, false),
    ] {
        let stayed = runtime.block_on(async {
            let house = house();
            let (mut ours, theirs) = tokio::io::duplex(1 << 12);
            let (mut others, its) = tokio::io::duplex(1 << 12);
            let (one, other) = (Peer::default(), Peer::default());
            let talk = async {
                ours.write_all(&hello(first)).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
                others.write_all(&hello(second)).await.unwrap();
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            };
            let still = Cell::new([true, true]);
            let first = async {
                serve_mqtt(Rc::clone(&house), theirs, &one).await;
                still.set([false, still.get()[1]]);
            };
            let second = async {
                serve_mqtt(Rc::clone(&house), its, &other).await;
                still.set([still.get()[0], false]);
            };
            tokio::select! {
                () = talk => {}
                _ = async { tokio::join!(first, second) } => {}
            }
            still.get()
        });
        assert_eq!(stayed, [first_stays, second_stays]);
    }
}

#[test]
fn the_constants_of_the_codec_are_those_of_the_tests() {
    assert_eq!(bytes(&Packet::PingReq), [0xc0, 0]);
    assert_eq!(bytes(&Packet::Disconnect), [0xe0, 0]);
    assert_eq!(bytes(&hello())[0], CONNECT);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(pieces: Vec<Vec<u8>>, greeted: bool) {
        let mut all = pieces;
        if greeted {
            all.insert(0, bytes(&hello()));
        }
        talk(&all);
    }

    /// Whatever a client says: CONNACK comes first and once, every SUBSCRIBE and publication of quality of service 1 is
    /// acknowledged before its answer, nothing is retained, and no answer comes without a subscription.
    #[test]
    fn any_conversation_keeps_the_order(said in proptest::collection::vec(any_packet(), 0..20)) {
        let mut pieces = vec![bytes(&hello())];
        pieces.extend(said.iter().map(bytes));
        let back = packets(talk(&pieces)[..].into());
        prop_assert!(matches!(back.first(), Some(Packet::ConnAck(ack)) if !ack.session_present));
        let mut acknowledged: BTreeMap<u16, u32> = BTreeMap::new();
        let (mut subscribed, mut answers, mut requests) = (false, 0, 0);
        for packet in &back[1..] {
            match packet {
                Packet::PubAck(ack) => *acknowledged.entry(ack.pkid).or_default() += 1,
                Packet::SubAck(ack) => {
                    subscribed |= ack.return_codes.iter().any(|code| *code != SubscribeReasonCode::Failure);
                }
                Packet::Publish(publish) => {
                    prop_assert!(subscribed && !publish.retain && !publish.dup);
                    prop_assert!(publish.topic.starts_with("$dps/registrations/res/"));
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&publish.payload).is_ok());
                    answers += 1;
                }
                Packet::UnsubAck(_) | Packet::PingResp => {}
                other => prop_assert!(false, "a client never gets {other:?}"),
            }
        }
        for packet in &said {
            if let Packet::Publish(publish) = packet {
                requests += 1;
                if publish.qos != QoS::AtLeastOnce {
                    continue;
                }
                if let Some(left) = acknowledged.get_mut(&publish.pkid) {
                    *left = left.saturating_sub(1);
                }
            }
        }
        prop_assert!(acknowledged.values().all(|left| *left == 0), "no acknowledgement without its publication");
        prop_assert!(answers <= requests);
    }
}
