//! The AMQP door, byte for byte: captured frames of real clients, and every row of the error table that AMQP has. Whatever
//! a client says over TLS it says over WebSocket too.

use crate::amqp_captures::{C, NODE};
use crate::harness::{Bench, Mock, Wire};
use crate::mqtt_wire::{MqttWire, upgrade};

/// Bytes 00 to 3F.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const NODE_ID: &str = "sc-ok-node-amqp-sym";
const C_ID: &str = "sc-ok-c-amqp-sym";
/// Signed with it until 2030, each in the spelling of its client.
const NODE_TOKEN: &str = "SharedAccessSignature sr=0ne00000000/registrations/sc-ok-node-amqp-sym\
                          &sig=vpOcBcBzXIhIMv9g%2FQb0P2LM7PTYwsEjNh3%2BSQcu2L0%3D&skn=registration&se=1900000000";
const C_TOKEN: &str = "SharedAccessSignature sr=0ne00000000%2fregistrations%2fsc-ok-c-amqp-sym\
                       &sig=dc6ApaixvFTgtq7NP2mNdnT90TY7fd1Ww%2b9Ir5IbCFk%3d&se=1900000000&skn=registration";
/// The operation that the captured polls ask for.
const CAPTURED_OPERATION: &[u8] = b"4.0.mock.00000000-0000-0000-0000-000000000001";

/// One whose assignments take no time and in which a device may register while it is being registered.
fn mock(bench: &Bench, more: &str) -> Mock {
    strict_mock(
        bench,
        &format!("overlap = \"reuse\"\nassignment = {{ kind = \"constant\", delay = \"0s\" }}\n{more}"),
    )
}

fn strict_mock(bench: &Bench, more: &str) -> Mock {
    bench.file("key", KEY);
    let enrollments: String = [NODE_ID, C_ID]
        .map(|id| format!("[[enrollment]]\nregistration_id = \"{id}\"\nprimary_key = {{ file = \"key\" }}\n"))
        .concat();
    Mock::start(
        bench,
        &format!(
            "id_scope = \"0ne00000000\"\nhub = [{{ host = \"hub-1.azure-devices.net\" }}]\n{more}\n{enrollments}"
        ),
    )
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SASL's PLAIN as rhea spells it.
fn init(id: &str, token: &str) -> Vec<u8> {
    let response =
        [b"\0", format!("0ne00000000/registrations/{id}").as_bytes(), b"\0", token.as_bytes()].concat();
    let fields =
        [b"\xa3\x05PLAIN\xa0", &[u8::try_from(response.len()).unwrap()][..], &response, b"\xa1\x09localhost"]
            .concat();
    sasl(0x41, 3, &fields)
}

/// A captured poll that asks for another operation; its sizes grow with it.
pub(crate) fn poll(captured: &str, operation: &str) -> Vec<u8> {
    let mut frame = bytes(captured);
    let at = frame.windows(CAPTURED_OPERATION.len()).position(|window| window == CAPTURED_OPERATION).unwrap();
    let more = u8::try_from(operation.len() - CAPTURED_OPERATION.len()).unwrap();
    frame.splice(at..at + CAPTURED_OPERATION.len(), operation.bytes());
    frame[at - 1] += more;
    frame[3] += more;
    // The map of application properties: rhea writes 32 bits of size, uAMQP 8.
    let section = frame.windows(3).position(|window| window == [0x00, 0x53, 0x74]).unwrap();
    let size = if frame[section + 3] == 0xd1 { section + 7 } else { section + 4 };
    frame[size] += more;
    frame
}

/// SASL's outcome 0.
pub(crate) const WELCOME: &str = "0000001602010000005344d000000006000000015000";

/// A frame of SASL with one list.
pub(crate) fn sasl(descriptor: u8, count: u32, fields: &[u8]) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let list = [&[0x00, 0x53, descriptor, 0xd0][..], &length(fields.len() + 4), &count.to_be_bytes(), fields]
        .concat();
    [&length(list.len() + 8)[..], b"\x02\x01\0\0", &list].concat()
}

/// How a client comes to the door.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Tls,
    WebSocket,
}

pub(crate) struct AmqpWire(MqttWire);

impl AmqpWire {
    pub(crate) fn open(mock: &Mock, way: Way) -> Self {
        Self(match way {
            Way::Tls => MqttWire::over(mock.tls(mock.amqp()), None),
            Way::WebSocket => {
                let (status, head, stream) = upgrade(mock, "/$iothub/websocket", "AMQPWSB10");
                assert_eq!(status, 101, "{head}");
                assert!(head.contains("sec-websocket-protocol: AMQPWSB10\r\n"), "{head}");
                MqttWire::over(stream, Some(7))
            }
        })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.send(bytes);
    }

    /// The next header or frame; `None` once the connection has ended.
    fn unit(&mut self) -> Option<Vec<u8>> {
        let mut unit = self.0.read(8)?;
        if !unit.starts_with(b"AMQP") {
            let length = u32::from_be_bytes(unit[..4].try_into().unwrap()) as usize;
            assert!((8..=65_536).contains(&length), "{}", hex(&unit));
            unit.extend(self.0.read(length - 8)?);
        }
        Some(unit)
    }

    /// The next unit must be these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &str) {
        let unit = self.unit().expect("the connection has ended");
        assert_eq!(hex(&unit), expected, "{:?}", String::from_utf8_lossy(&unit));
    }

    /// The next frame must have this descriptor.
    #[track_caller]
    pub(crate) fn frame(&mut self, descriptor: u8) -> Vec<u8> {
        let unit = self.unit().expect("the connection has ended");
        assert_eq!(unit[8..11], [0x00, 0x53, descriptor], "{:?}", String::from_utf8_lossy(&unit));
        unit
    }

    /// Everything up to the links, as a captured client does it.
    fn attach(mock: &Mock, way: Way, client: &Client) -> Self {
        let mut wire = Self::open(mock, way);
        wire.send(b"AMQP\x03\x01\0\0");
        wire.expect("414d515003010000");
        let mechanisms = wire.frame(0x40);
        for name in ["PLAIN", "EXTERNAL", "ANONYMOUS", "TPM"] {
            assert!(contains(&mechanisms, name.as_bytes()), "{name} is not offered");
        }
        wire.send(&init(client.id, client.token));
        wire.expect(WELCOME);
        wire.links(client);
        wire
    }

    /// Everything from the connection itself to its links.
    pub(crate) fn links(&mut self, client: &Client) {
        let wire = self;
        wire.send(b"AMQP\0\x01\0\0");
        wire.expect("414d515000010000");
        for (kind, frame) in &client.frames[..5] {
            wire.send(&bytes(frame));
            let descriptor = match *kind {
                "open" => 0x10,
                "begin" => 0x11,
                "attach" => 0x12,
                _ => continue,
            };
            let answer = wire.frame(descriptor);
            if *kind == "attach" {
                let address = format!("0ne00000000/registrations/{}", client.id);
                assert!(contains(&answer, address.as_bytes()), "an attached link names its address");
            }
        }
        // Credit for the client's own link, number 1.
        let flow = wire.frame(0x13);
        assert!(hex(&flow).contains("5201435210"), "handle 1, nothing delivered, 16 wanted: {}", hex(&flow));
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The JSON in a frame.
pub(crate) fn json(frame: &[u8]) -> serde_json::Value {
    let (from, to) =
        (frame.iter().position(|byte| *byte == b'{'), frame.iter().rposition(|byte| *byte == b'}'));
    serde_json::from_slice(&frame[from.unwrap()..=to.unwrap()]).unwrap()
}

pub(crate) struct Client {
    pub(crate) id: &'static str,
    token: &'static str,
    frames: &'static [(&'static str, &'static str)],
}

pub(crate) const CLIENTS: [Client; 2] = [
    Client { id: NODE_ID, token: NODE_TOKEN, frames: &NODE },
    Client { id: C_ID, token: C_TOKEN, frames: &C },
];

/// The first and the second delivery are settled and accepted: the very bytes that rhea sends for it.
const ACCEPTED: [&str; 2] = [
    "0000001c02000000005315d00000000c000000054143404100532445",
    "0000001d02000000005315d00000000d00000005415201404100532445",
];

/// The links 1 and 0 are closed: rhea's bytes again.
const DETACHED: [&str; 2] =
    ["0000001702000000005316d00000000700000002520141", "0000001602000000005316d000000006000000024341"];

impl Client {
    pub(crate) fn captured(&self, kind: &str, number: usize) -> &'static str {
        self.frames.iter().filter(|(known, _)| *known == kind).nth(number).unwrap().1
    }
}

#[test]
fn captured_clients_get_their_hubs_frame_by_frame() {
    for client in &CLIENTS {
        for way in [Way::Tls, Way::WebSocket] {
            let bench = Bench::new();
            let mock = mock(&bench, "retry_after_s = 1");
            let mut wire = AmqpWire::attach(&mock, way, client);

            wire.send(&bytes(client.captured("transfer", 0)));
            wire.expect(ACCEPTED[0]);
            let answer = wire.frame(0x14);
            let body = json(&answer);
            assert_eq!(body["status"], "assigning");
            // Both spellings, each an int of 1.
            assert!(contains(&answer, b"\x0bretry-afterT\x01") && contains(&answer, b"\x0bRetry-AfterT\x01"));
            // Node's correlation id; C sends none and gets none.
            let correlation = b"0312b99a-b953-4e5f-8252-b67d948ceb97";
            assert_eq!(contains(&answer, correlation), client.id == NODE_ID);
            wire.send(&bytes(client.captured("disposition", 0)));

            wire.send(&poll(client.captured("transfer", 1), body["operationId"].as_str().unwrap()));
            wire.expect(ACCEPTED[1]);
            let body = json(&wire.frame(0x14));
            assert_eq!(body["status"], "assigned", "{body}");
            assert_eq!(body["registrationState"]["assignedHub"], "hub-1.azure-devices.net");
            wire.send(&bytes(client.captured("disposition", 1)));

            // The goodbye, each word answered: two links, the session, the connection.
            for (number, expected) in DETACHED.iter().enumerate() {
                wire.send(&bytes(client.captured("detach", number)));
                wire.expect(expected);
            }
            wire.send(&bytes(client.captured("end", 0)));
            wire.expect("0000000c0200000000531745");
            wire.send(&bytes(client.captured("close", 0)));
            wire.expect("0000000c0200000000531845");
            assert_eq!(wire.unit(), None);
        }
    }
}

/// Sends the captured registration and expects its rejection.
#[track_caller]
fn rejected(wire: &mut AmqpWire, frame: &[u8], condition: &str, code: u32) -> Vec<u8> {
    wire.send(frame);
    let disposition = wire.frame(0x15);
    // Rejected, with an error of this condition.
    assert!(contains(&disposition, b"\x00\x53\x25") && contains(&disposition, b"\x00\x53\x1d"));
    assert!(contains(&disposition, condition.as_bytes()), "{:?}", String::from_utf8_lossy(&disposition));
    assert_eq!(json(&disposition)["errorCode"], code);
    disposition
}

#[test]
fn row_400_a_body_that_cannot_be_parsed_rejects_the_delivery() {
    let (bench, client) = (Bench::new(), &CLIENTS[1]);
    let mock = mock(&bench, "");
    let mut wire = AmqpWire::attach(&mock, Way::Tls, client);
    let mut frame = bytes(client.captured("transfer", 0));
    let last = frame.len() - 1;
    frame[last] = b' ';
    rejected(&mut wire, &frame, "com.microsoft:argument-invalid", 400_004);
}

#[test]
fn row_400_a_link_without_an_api_version_is_refused() {
    let (bench, client) = (Bench::new(), &CLIENTS[1]);
    let mock = mock(&bench, "");
    let mut wire = AmqpWire::open(&mock, Way::Tls);
    wire.send(b"AMQP\0\x01\0\0");
    wire.expect("414d515000010000");
    wire.send(&bytes(client.captured("open", 0)));
    wire.frame(0x10);
    wire.send(&bytes(client.captured("begin", 0)));
    wire.frame(0x11);
    let mut attach = bytes(client.captured("attach", 0));
    let at = attach.windows(10).position(|window| window == b"2021-06-01").unwrap();
    attach[at] = b'1';
    wire.send(&attach);
    wire.frame(0x12);
    let detach = wire.frame(0x16);
    assert!(contains(&detach, b"com.microsoft:argument-invalid"));
    assert_eq!(json(&detach)["errorCode"], 400_000);
}

#[test]
fn row_401_a_token_that_cannot_be_validated_rejects_the_delivery() {
    let (bench, node) = (Bench::new(), &CLIENTS[0]);
    let mock = mock(&bench, "");
    // Signed by another key; for another device; none at all.
    for token in
        [NODE_TOKEN.replace("sig=v", "sig=w"), C_TOKEN.to_owned(), "SharedAccessSignature".to_owned()]
    {
        let token: &'static str = token.leak();
        let client = Client { id: NODE_ID, token, frames: node.frames };
        let mut wire = AmqpWire::attach(&mock, Way::Tls, &client);
        rejected(&mut wire, &bytes(node.captured("transfer", 0)), "amqp:unauthorized-access", 401_000);
    }
}

/// No request provokes these two: the mock is told to be out of order.
#[test]
fn row_403_and_row_500_reject_the_delivery() {
    for (status, condition, code) in
        [(403, "amqp:not-allowed", 403_000), (500, "amqp:internal-error", 500_001)]
    {
        for client in &CLIENTS {
            let bench = Bench::new();
            let mock = mock(&bench, &format!("[[outage]]\nfor = \"1h\"\nstatus = {status}\n"));
            let mut wire = AmqpWire::attach(&mock, Way::Tls, client);
            rejected(&mut wire, &bytes(client.captured("transfer", 0)), condition, code);
        }
    }
}

#[test]
fn row_409_a_registration_while_one_is_running_rejects_the_delivery() {
    for client in &CLIENTS {
        let bench = Bench::new();
        let mock = strict_mock(&bench, "assignment = { kind = \"constant\", delay = \"1h\" }");
        let mut wire = AmqpWire::attach(&mock, Way::Tls, client);
        wire.send(&bytes(client.captured("transfer", 0)));
        wire.frame(0x15);
        assert_eq!(json(&wire.frame(0x14))["status"], "assigning");
        // The client has started again and knows nothing of it.
        let mut wire = AmqpWire::attach(&mock, Way::Tls, client);
        rejected(&mut wire, &bytes(client.captured("transfer", 0)), "amqp:resource-locked", 409_203);
    }
}

#[test]
fn row_404_an_instance_that_does_not_exist_refuses_the_link_and_an_operation_rejects_the_delivery() {
    let (bench, client) = (Bench::new(), &CLIENTS[0]);
    let mock = mock(&bench, "");
    let mut wire = AmqpWire::attach(&mock, Way::Tls, client);
    let unknown =
        poll(client.captured("transfer", 1), "4.0123456789abcdef.00000000-0000-0000-0000-000000000001");
    rejected(&mut wire, &unknown, "amqp:not-found", 404_202);

    let mut wire = AmqpWire::open(&mock, Way::Tls);
    wire.send(b"AMQP\0\x01\0\0");
    wire.expect("414d515000010000");
    for (kind, frame) in &client.frames[..3] {
        let mut frame = bytes(frame);
        if let Some(at) = frame.windows(11).position(|window| window == b"0ne00000000") {
            frame[at + 10] = b'1';
        }
        wire.send(&frame);
        wire.frame(match *kind {
            "open" => 0x10,
            "begin" => 0x11,
            _ => 0x12,
        });
    }
    let detach = wire.frame(0x16);
    assert!(contains(&detach, b"amqp:not-found"), "{:?}", String::from_utf8_lossy(&detach));
    assert_eq!(json(&detach)["errorCode"].as_u64().unwrap() / 1_000, 404);
}

#[test]
fn row_429_a_quota_that_is_used_up_says_when_to_come_back_in_both_spellings() {
    let (bench, client) = (Bench::new(), &CLIENTS[0]);
    let mock = mock(&bench, "throttle = { rate = \"12/min\", burst = 1 }");
    // The quota is one, whichever way a request comes.
    let mut http = Wire::open(&mock);
    let answer = http.ask("PUT", "/0ne00000000/registrations/x/register?api-version=2019-03-31", None, "");
    assert_eq!(answer.status, 400);
    let mut wire = AmqpWire::attach(&mock, Way::Tls, client);
    let rejected = rejected(
        &mut wire,
        &bytes(client.captured("transfer", 0)),
        "com.microsoft:device-container-throttled",
        429_001,
    );
    for spelling in [b"\xa3\x0bretry-after\x54", b"\xa3\x0bRetry-After\x54"] {
        let at = rejected.windows(14).position(|window| window == spelling).expect("a symbol and an int");
        assert!((4..=5).contains(&rejected[at + 14]), "{}", rejected[at + 14]);
    }
}

#[test]
fn a_disabled_device_is_told_so_with_an_answer() {
    let (bench, client) = (Bench::new(), &CLIENTS[1]);
    bench.file("key", KEY);
    let file = format!(
        "id_scope = \"0ne00000000\"\n[[enrollment]]\nregistration_id = \"{C_ID}\"\nenabled = false\nprimary_key = {{ file = \"key\" }}"
    );
    let mock = Mock::start(&bench, &file);
    let mut wire = AmqpWire::attach(&mock, Way::Tls, client);
    wire.send(&bytes(client.captured("transfer", 0)));
    wire.frame(0x15);
    assert_eq!(json(&wire.frame(0x14))["status"], "disabled");
}

#[test]
fn what_no_client_may_send_ends_its_connection_and_nothing_else() {
    let (bench, client) = (Bench::new(), &CLIENTS[0]);
    let mock = mock(&bench, "");
    let mut good = AmqpWire::attach(&mock, Way::Tls, client);
    for hello in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x10\x10\0\x04MQTT\x04\x02", b"\0\0\0\x07\x02\0\0\0", &[0xff; 64]]
    {
        let mut wire = AmqpWire::open(&mock, Way::Tls);
        wire.send(hello);
        assert_eq!(wire.unit(), None, "{hello:x?}");
    }
    // Another AMQP is told what is spoken here.
    let mut wire = AmqpWire::open(&mock, Way::Tls);
    wire.send(b"AMQP\0\0\x09\x01");
    wire.expect("414d515003010000");
    assert_eq!(wire.unit(), None);
    // A user name that is none, and a mechanism that is none: outcome 1.
    for init in
        [init("a/b", "x"), init(NODE_ID, "x").iter().map(|b| if *b == b'P' { b'Q' } else { *b }).collect()]
    {
        let mut wire = AmqpWire::open(&mock, Way::Tls);
        wire.send(b"AMQP\x03\x01\0\0");
        wire.expect("414d515003010000");
        wire.frame(0x40);
        wire.send(&init);
        wire.expect("0000001602010000005344d000000006000000015001");
        assert_eq!(wire.unit(), None);
    }
    // A flood is answered, one by one.
    let mut flood = AmqpWire::attach(&mock, Way::Tls, client);
    let transfer = bytes(client.captured("transfer", 1));
    for _ in 0..200 {
        flood.send(&transfer);
    }
    let mut answered = 0;
    while answered < 200 {
        let unit = flood.unit().expect("the connection has ended");
        answered += usize::from(unit[8..11] == [0x00, 0x53, 0x15]);
    }
    // The good client goes on.
    good.send(&bytes(client.captured("transfer", 0)));
    good.frame(0x15);
    assert_eq!(json(&good.frame(0x14))["status"], "assigning");
}
