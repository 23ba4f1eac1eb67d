//! What every fault of the protocol puts on the wire.

use std::rc::Rc;

use fleetstorm_protocol::mqtt::ANSWERS;
use fleetstorm_protocol::mqtt::packet::{
    Connect, ConnectReturnCode, Packet, Publish, QoS, Subscribe, SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{serve_http, serve_mqtt, testing};
use crate::evidence::Peer;

/// What the service says to everybody, so that every answer is known.
const THROTTLED: &str = "\"service.throttle\", retry_after = [\"3\"]";

/// What comes back for these bytes.
fn talk(fault: &str, said: &[u8], http: bool) -> Vec<u8> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let house = testing::house_under(THROTTLED, fault);
        let (mut ours, theirs) = tokio::io::duplex(4 << 20);
        let send = async {
            ours.write_all(said).await.unwrap();
            if !http {
                ours.shutdown().await.unwrap();
            }
            let mut back = Vec::new();
            let _ = ours.read_to_end(&mut back).await;
            back
        };
        let peer = Peer::default();
        let serve = async {
            if http {
                serve_http(Rc::clone(&house), theirs, Peer::default()).await;
            } else {
                serve_mqtt(Rc::clone(&house), theirs, &peer).await;
            }
        };
        tokio::join!(send, serve).0
    })
}

fn request(more: &str) -> String {
    format!(
        "PUT /0ne00F1EE75/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\nhost: x\r\n\
         content-type: application/json\r\n{more}content-length: 2\r\n\r\n{{}}"
    )
}

/// Status, headers and body of the one answer.
fn http(fault: &str) -> (String, String, String) {
    let back = String::from_utf8(talk(fault, request("connection: close\r\n").as_bytes(), true)).unwrap();
    let (head, body) = back.split_once("\r\n\r\n").unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    (line[9..12].to_owned(), headers.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn every_damage_of_a_body_is_on_the_wire() {
    let body = |damage: &str| http(&format!("\"http.body\", damage = \"{damage}\""));
    let is_json = |body: &str| serde_json::from_str::<serde_json::Value>(body).is_ok();
    let (status, headers, malformed) = body("malformed-json");
    assert_eq!((&*status, is_json(&malformed), malformed.is_empty()), ("429", false, false));
    assert!(headers.contains("application/json"));
    let (_, headers, truncated) = body("truncated");
    let promised: usize = headers
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(truncated.len(), promised / 2, "{truncated}");
    assert_eq!(body("empty").2, "");
    assert_eq!(body("huge").2.len(), 1 << 20);
    let (_, headers, html) = body("wrong-content-type");
    assert!(headers.contains("content-type: text/html") && is_json(&html), "{headers}");
    let (_, headers, chunks) = body("bad-chunk");
    assert!(headers.contains("transfer-encoding: chunked"), "{headers}");
    assert!(chunks.contains("errorCode") && !chunks.contains("0\r\n\r\n"), "{chunks}");
}

#[test]
fn statuses_redirects_and_retry_after_are_on_the_wire() {
    let (status, headers, body) = http("\"http.status\", status = 502");
    assert_eq!((&*status, headers.contains("retry-after")), ("502", false));
    assert!(body.starts_with("<html>"), "{body}");
    let (status, headers, _) = http("\"http.redirect\", to = \"other.invalid\"");
    assert_eq!(status, "307");
    assert!(headers.contains("location: https://other.invalid/"), "{headers}");
    let (status, _, body) = http("\"http.error-200\"");
    assert_eq!(status, "200");
    assert!(body.contains("\"errorCode\":500000"), "{body}");
    for (said, heard) in
        [("3600", Some("retry-after: 3600")), ("garbage", Some("retry-after: ")), ("none", None)]
    {
        let (status, headers, _) = http(&format!("\"http.retry-after\", retry_after = [\"{said}\"]"));
        assert_eq!(status, "429");
        assert!(!headers.contains("retry-after: 3\r\n"), "{headers}");
        match heard {
            Some(line) => assert!(headers.contains(line), "{headers}"),
            None => assert!(!headers.contains("retry-after"), "{headers}"),
        }
    }
}

#[test]
fn a_connection_that_is_used_again_is_closed() {
    let said = request("") + &request("connection: close\r\n");
    let count = |fault| {
        let back = String::from_utf8(talk(fault, said.as_bytes(), true)).unwrap();
        back.matches("HTTP/1.1 429").count()
    };
    assert_eq!(count("\"http.close-reuse\""), 1);
    assert_eq!(count("\"mqtt.duplicate\""), 2, "a fault of another door changes nothing here");
}

/// A session: CONNECT, SUBSCRIBE, two requests and a PINGREQ.
fn mqtt(fault: &str) -> Vec<Packet> {
    let mut said = bytes::BytesMut::new();
    let mut write = |packet: Packet| packet.write(&mut said, usize::MAX).map(drop).unwrap();
    let mut connect = Connect::new("dev-1");
    connect.set_login("0ne00F1EE75/registrations/dev-1/api-version=2019-03-31", "x");
    write(Packet::Connect(connect));
    let mut subscribe = Subscribe::new(ANSWERS, QoS::AtLeastOnce);
    subscribe.pkid = 1;
    write(Packet::Subscribe(subscribe));
    for id in [2, 3] {
        let topic = format!("$dps/registrations/PUT/iotdps-register/?$rid=r{id}");
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, "{}");
        publish.pkid = id;
        write(Packet::Publish(publish));
    }
    write(Packet::PingReq);
    let mut back = bytes::BytesMut::from(&talk(fault, &said, false)[..]);
    let mut all = Vec::new();
    while !back.is_empty() {
        all.push(Packet::read(&mut back, 1 << 20).unwrap());
    }
    all
}

/// One word a packet.
fn words(fault: &str) -> String {
    let word = |packet: Packet| match packet {
        Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => "connack".to_owned(),
        Packet::ConnAck(ack) => format!("{:?}", ack.code),
        Packet::SubAck(ack) => match ack.return_codes[..] {
            [SubscribeReasonCode::Success(qos)] => format!("suback{}", qos as u8),
            _ => "suback-refused".to_owned(),
        },
        Packet::PubAck(ack) => format!("puback{}", ack.pkid),
        Packet::Publish(publish) => {
            let properties = publish.topic.split_once('?').unwrap().1.to_owned();
            if publish.dup { format!("dup:{properties}") } else { properties }
        }
        Packet::PingResp => "pong".to_owned(),
        other => format!("{other:?}"),
    };
    mqtt(fault).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

const USUAL: &str = "connack suback1 puback2 $rid=r2&retry-after=3 puback3 $rid=r3&retry-after=3 pong";

#[test]
fn every_fault_of_the_mqtt_door_is_on_the_wire() {
    let (first, second) = ("$rid=r2&retry-after=3", "$rid=r3&retry-after=3");
    for (fault, heard) in [
        ("\"http.error-200\"", USUAL.to_owned()),
        (
            "\"mqtt.rid\", form = \"wrong\"",
            USUAL.replace("r2", "r2-of-another").replace("r3", "r3-of-another"),
        ),
        ("\"mqtt.rid\", form = \"missing\"", USUAL.replace("$rid=r2&", "").replace("$rid=r3&", "")),
        ("\"mqtt.rid\", form = \"reused\"", USUAL.replace("r3", "r2")),
        (
            "\"mqtt.duplicate\"",
            USUAL
                .replace(first, &format!("{first} dup:{first}"))
                .replace(second, &format!("{second} dup:{second}")),
        ),
        (
            "\"mqtt.order\", form = \"answer-first\"",
            format!("connack suback1 {first} puback2 {second} puback3 pong"),
        ),
        ("\"mqtt.order\", form = \"late\"", format!("connack suback1 puback2 puback3 {first} pong")),
        ("\"mqtt.drop\", packet = \"connack\"", USUAL.replace("connack ", "")),
        ("\"mqtt.drop\", packet = \"suback\"", USUAL.replace("suback1 ", "")),
        ("\"mqtt.drop\", packet = \"puback\"", USUAL.replace("puback2 ", "").replace("puback3 ", "")),
        ("\"mqtt.drop\", packet = \"pingresp\"", USUAL.replace(" pong", "")),
        ("\"mqtt.connack\", code = 3", "ServiceUnavailable".to_owned()),
        ("\"mqtt.connack\", code = 5", "NotAuthorized".to_owned()),
        ("\"mqtt.disconnect\", after = \"connect\"", "connack".to_owned()),
        ("\"mqtt.disconnect\", after = \"subscribe\"", "connack suback1".to_owned()),
        ("\"mqtt.disconnect\", after = \"publish\"", "connack suback1 puback2".to_owned()),
        ("\"mqtt.takeover\"", "connack suback1 puback2".to_owned()),
        ("\"mqtt.suback\", code = 0", USUAL.replace("suback1", "suback0")),
        ("\"mqtt.suback\", code = 128", "connack suback-refused puback2 puback3 pong".to_owned()),
        ("\"mqtt.topic\", form = \"case\"", USUAL.replace("retry", "Retry").replace("after", "After")),
        ("\"mqtt.topic\", form = \"extra\"", USUAL.replace("$rid", "x-added=%26&$rid")),
        (
            "\"mqtt.topic\", form = \"reordered\"",
            USUAL.replace(first, "retry-after=3&$rid=r2").replace(second, "retry-after=3&$rid=r3"),
        ),
        ("\"mqtt.topic\", form = \"encoded\"", USUAL.replace("after=3", "after=%33")),
    ] {
        assert_eq!(words(fault), heard, "{fault}");
    }
}

#[test]
fn every_damage_of_a_payload_is_on_the_wire() {
    let payloads = |fault: &str| -> Vec<String> {
        let text = |packet| match packet {
            Packet::Publish(publish) => Some(String::from_utf8(publish.payload.to_vec()).unwrap()),
            _ => None,
        };
        mqtt(fault).into_iter().filter_map(text).collect()
    };
    let usual = payloads("\"amqp.body\", damage = \"empty\"");
    assert!(usual.len() == 2 && usual.iter().all(|body| body.contains("\"errorCode\":429001")), "{usual:?}");
    let damaged = |damage: &str| payloads(&format!("\"mqtt.body\", damage = \"{damage}\""));
    assert_eq!(damaged("empty"), ["", ""]);
    for (half, whole) in damaged("truncated").iter().zip(&usual) {
        assert_eq!(half.len(), whole.len() / 2);
        assert!(half.starts_with("{\"errorCode\":429001"), "{half}");
    }
    assert_eq!(damaged("malformed-json"), ["{\"operationId\": }"; 2]);
    assert!(damaged("html").iter().all(|body| body.starts_with("<html>")));
}

#[test]
fn an_unknown_return_code_is_sent_as_it_is() {
    let mut said = bytes::BytesMut::new();
    let mut connect = Connect::new("dev-1");
    connect.set_login("0ne00F1EE75/registrations/dev-1/api-version=2019-03-31", "x");
    connect.write(&mut said).unwrap();
    assert_eq!(talk("\"mqtt.connack\", code = 42", &said, false), [0x20, 2, 0, 42]);
}
