//! The same cause has the same code at each door.

use std::rc::Rc;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_net::frames::Frames;
use fleetstorm_protocol::amqp::{Client, Said, Terms, address, frame};
use fleetstorm_protocol::mqtt::ANSWERS;
use fleetstorm_protocol::mqtt::packet::{Connect, Packet, Publish, QoS, Subscribe};
use fleetstorm_protocol::{Operation, OperationId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::evidence::Peer;
use crate::serve::testing::house_of;
use crate::serve::{House, serve_amqp, serve_http, serve_mqtt};

const SCOPE: &str = "0ne00ABCDEF";
const KEY: [u8; 32] = [7; 32];

/// One enrollment that is in order and one that is disabled; assignments that are never over.
const FILE: &str = "id_scope = \"0ne00ABCDEF\"\nassignment = { kind = \"constant\", delay = \"1h\" }\n\
                    [[enrollment]]\nregistration_id = \"dev-1\"\nprimary_key = { file = \"key\" }\n\
                    [[enrollment]]\nregistration_id = \"dev-2\"\nenabled = false\nprimary_key = { file = \"key\" }\n";

/// What a device comes with, and asks so many times on one connection. Each cause changes one thing.
struct Ask {
    scope: &'static str,
    id: &'static str,
    api_version: &'static str,
    token: Option<String>,
    body: &'static str,
    poll: Option<&'static str>,
    times: usize,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            scope: SCOPE,
            id: "dev-1",
            api_version: "2021-06-01",
            token: Some(token("dev-1", 1_900_000_000)),
            body: "{}",
            poll: None,
            times: 1,
        }
    }
}

fn token(id: &str, expires: u64) -> String {
    let resource = format!("{SCOPE}%2Fregistrations%2F{id}");
    let signed = sign(&Key::new(HMAC_SHA256, &KEY), format!("{resource}\n{expires}").as_bytes());
    let signature = BASE64_STANDARD.encode(signed);
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires}&skn=registration")
}

/// What the last answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// An error's six digits.
    Code(u32),
    /// The status of an operation.
    Operation(&'static str),
    /// The connection was refused with a return code of MQTT.
    Connack(u8),
}

/// The answer as it is written in each protocol: with a header, in a publication, in a message, in the description of an
/// error.
fn read(bytes: &[u8]) -> Told {
    let text = String::from_utf8_lossy(bytes);
    if let Some((_, rest)) = text.split_once("\"errorCode\":") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return Told::Code(digits.parse().unwrap());
    }
    let states = ["assigning", "disabled"];
    let state = states.into_iter().find(|state| text.contains(&format!("\"status\":\"{state}\"")));
    Told::Operation(state.unwrap_or_else(|| panic!("no answer of DPS: {text}")))
}

async fn https(house: Rc<House>, ask: &Ask) -> Told {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let path = format!("/{}/registrations/{}", ask.scope, ask.id);
    let (method, path) = match ask.poll {
        Some(id) => ("GET", format!("{path}/operations/{id}")),
        None => ("PUT", format!("{path}/register")),
    };
    let token = ask.token.iter().map(|token| format!("authorization: {token}\r\n")).collect::<String>();
    let request = |more: &str| {
        format!(
            "{method} {path}?api-version={} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{token}{more}\
             content-length: {}\r\n\r\n{}",
            ask.api_version,
            ask.body.len(),
            ask.body
        )
    };
    let device = async {
        for _ in 1..ask.times {
            ours.write_all(request("").as_bytes()).await.unwrap();
        }
        ours.write_all(request("connection: close\r\n").as_bytes()).await.unwrap();
        let mut back = String::new();
        ours.read_to_string(&mut back).await.unwrap();
        let last = back.rsplit("HTTP/1.1 ").next().unwrap();
        let told = read(last.as_bytes());
        if let Told::Code(code) = told {
            assert_eq!(last[..3], (code / 1_000).to_string(), "{last}");
        }
        told
    };
    tokio::join!(device, serve_http(house, theirs, Peer::default())).0
}

async fn mqtt(house: Rc<House>, ask: &Ask) -> Told {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let mut said = bytes::BytesMut::new();
    let mut write = |packet: Packet| packet.write(&mut said, usize::MAX).map(drop).unwrap();
    let mut connect = Connect::new(ask.id);
    let user = format!("{}/registrations/{}/api-version={}", ask.scope, ask.id, ask.api_version);
    connect.set_login(user, ask.token.as_deref().unwrap_or_default());
    write(Packet::Connect(connect));
    let mut subscribe = Subscribe::new(ANSWERS, QoS::AtMostOnce);
    subscribe.pkid = 1;
    write(Packet::Subscribe(subscribe));
    for _ in 0..ask.times {
        let topic = match ask.poll {
            Some(id) => {
                format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId={id}")
            }
            None => "$dps/registrations/PUT/iotdps-register/?$rid=1".to_owned(),
        };
        write(Packet::Publish(Publish::new(topic, QoS::AtMostOnce, ask.body)));
    }
    let device = async {
        ours.write_all(&said).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut back = Vec::new();
        ours.read_to_end(&mut back).await.unwrap();
        let mut back = bytes::BytesMut::from(&back[..]);
        let mut told = None;
        while !back.is_empty() {
            match Packet::read(&mut back, 1 << 16).unwrap() {
                Packet::ConnAck(ack) if ack.code as u8 != 0 => told = Some(Told::Connack(ack.code as u8)),
                Packet::Publish(answer) => {
                    told = Some(read(&answer.payload));
                    if let Some(Told::Code(code)) = told {
                        let path = format!("$dps/registrations/res/{}/", code / 1_000);
                        assert!(answer.topic.starts_with(&path), "{}", answer.topic);
                    }
                }
                _ => {}
            }
        }
        told.expect("an answer")
    };
    let peer = Peer::default();
    tokio::join!(device, serve_mqtt(house, theirs, &peer)).0
}

async fn amqp(house: Rc<House>, ask: &Ask) -> Told {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let address = address(ask.scope, ask.id);
    let terms = Terms {
        hostname: "localhost",
        registration_id: ask.id,
        address: &address,
        token: ask.token.as_deref(),
        api_version: ask.api_version,
        agent: "test",
        idle_time_out_ms: None,
    };
    let id = ask.poll.and_then(OperationId::read);
    let operation = if id.is_some() { Operation::Poll } else { Operation::Register };
    let device = async {
        let mut frames = Frames::new(ours);
        let mut out = Vec::new();
        let mut client = Client::start(&terms, &mut out);
        let (mut ready, mut asked, mut answered) = (false, 0, 0);
        let mut heard = Vec::new();
        while answered < ask.times {
            frames.queue(&out);
            out.clear();
            // A door that refuses may be gone before it has read everything.
            let _ = frames.flush().await;
            let Ok(unit) = frames.next(client.frame_max_bytes()).await else { break };
            heard.extend_from_slice(&unit);
            let unit = frame::read(&unit).unwrap();
            let said = match ready {
                true => client.take(&unit, &mut out),
                false => client.greet(&unit, &terms, &mut out),
            };
            match said {
                Ok(Said::Ready) => ready = true,
                Ok(Said::Answer(_)) => answered += 1,
                Ok(Said::Over) | Err(_) => break,
                Ok(_) => {}
            }
            if asked == answered && asked < ask.times && client.may_ask(ask.body.len() + 512) {
                heard.clear();
                asked += 1;
                assert!(client.ask(operation, id.as_ref(), ask.body.as_bytes(), &mut out));
            }
        }
        read(&heard)
    };
    let peer = Peer::default();
    tokio::select! {
        told = device => told,
        () = async { serve_amqp(house, theirs, &peer).await; std::future::pending().await } => unreachable!(),
    }
}

/// A cause: more of the mock's file, what the device does, and what it is told over HTTPS, MQTT and AMQP.
type Cause = (&'static str, &'static str, fn(&mut Ask), [Told; 3]);

const fn alike(code: u32) -> [Told; 3] {
    [Told::Code(code); 3]
}

const CAUSES: &[Cause] = &[
    ("nothing", "", |_| (), [Told::Operation("assigning"); 3]),
    // MQTT refuses the connection: `dps` 7.2. Over AMQP the refusal of the link describes the error: `dps` 8.2.
    (
        "an unknown scope",
        "",
        |ask| ask.scope = "0ne00000000",
        [Told::Code(404_000), Told::Connack(3), Told::Code(404_000)],
    ),
    // The door may be told to let it in, and then the service answers.
    (
        "an unknown scope that is let in",
        "[mqtt]\nunknown_scope = 0\n",
        |ask| ask.scope = "0ne00000000",
        alike(404_000),
    ),
    ("a version that is none", "", |ask| ask.api_version = "2015-01-01", alike(400_000)),
    ("an unknown enrollment", "", |ask| ask.id = "dev-9", alike(401_000)),
    ("another device's token", "", |ask| ask.token = Some(token("dev-2", 1_900_000_000)), alike(401_000)),
    (
        "a forged token",
        "",
        |ask| ask.token = ask.token.take().map(|token| token.replace("sig=", "sig=A")),
        alike(401_000),
    ),
    ("no token at all", "", |ask| ask.token = None, alike(401_000)),
    ("what is no token", "", |ask| ask.token = Some("let me in".to_owned()), alike(401_000)),
    ("an expired token", "", |ask| ask.token = Some(token("dev-1", 1_500_000_000)), alike(401_000)),
    (
        "a disabled enrollment",
        "",
        |ask| (ask.id, ask.token) = ("dev-2", Some(token("dev-2", 1_900_000_000))),
        [Told::Operation("disabled"); 3],
    ),
    ("a body that is no JSON", "", |ask| ask.body = "{", alike(400_004)),
    ("a body for another device", "", |ask| ask.body = r#"{"registrationId":"dev-2"}"#, alike(400_004)),
    // Over MQTT and AMQP the connection says who asks, so a registration needs no body (`dps` 7.4 and 8.3).
    (
        "no body",
        "",
        |ask| ask.body = "",
        [Told::Code(400_004), Told::Operation("assigning"), Told::Operation("assigning")],
    ),
    ("an unknown operation", "", |ask| ask.poll = Some("5.71cf7e385566aa10.4469ed4c"), alike(404_202)),
    ("a registration while one is running", "", |ask| ask.times = 2, alike(409_203)),
    (
        "a quota that is used up",
        "[throttle]\nrate = \"1/h\"\nburst = 1\n",
        |ask| ask.times = 2,
        alike(429_001),
    ),
    ("an instance that forbids", "[[outage]]\nfor = \"1h\"\nstatus = 403\n", |_| (), alike(403_000)),
    ("an instance that is broken", "[[outage]]\nfor = \"1h\"\nstatus = 500\n", |_| (), alike(500_001)),
];

#[test]
fn the_same_cause_has_the_same_code_at_every_door() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), BASE64_STANDARD.encode(KEY)).unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    for (cause, more, change, expected) in CAUSES {
        let mut ask = Ask::default();
        change(&mut ask);
        let house = || house_of(directory.path(), &format!("{FILE}{more}"));
        let told = runtime.block_on(async {
            [https(house(), &ask).await, mqtt(house(), &ask).await, amqp(house(), &ask).await]
        });
        assert_eq!(told, *expected, "{cause}: over HTTPS, MQTT and AMQP");
    }
}
