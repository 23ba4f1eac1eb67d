//! The MQTT door, byte for byte: what real clients send, what they expect, and what hostile ones try. Whatever a client
//! says over TLS it says over WebSocket too.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::harness::{Bench, Mock, Wire};
use crate::mqtt_wire::{MqttWire, WAYS, Way, connect, publish, subscribe, unsubscribe, upgrade};

/// The vectors of the protocol reference: bytes 00 to 3F as a key, scope `0ne00ABCDEF`, device `dev-0001`.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const TOKEN: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                     &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";
const LOWER_CASE_TOKEN: &str = "SharedAccessSignature sr=0ne00ABCDEF%2fregistrations%2fdev-0001\
                                &sig=TXPORMfyPYh171BmtjzcfUDGk5TOp1XYPTSy0P%2FpuXk%3D&se=1900000000";
const PLAIN_TOKEN: &str = "SharedAccessSignature sr=0ne00ABCDEF/registrations/dev-0001\
                           &sig=5ox%2BTTabRxk1KVdE%2FJiWhQB%2F89mEr186fqSqEllE7cU%3D&skn=registration&se=1900000000";

const FILE: &str = r#"
    id_scope = "0ne00ABCDEF"
    hub = [{ host = "hub-1.azure-devices.net" }]
    [[enrollment]]
    registration_id = "dev-0001"
    primary_key = { file = "key" }
    [[enrollment]]
    registration_id = "dev-0002"
    enabled = false
    primary_key = { file = "key" }
    [assignment]
    kind = "constant"
    delay = "100ms"
"#;

const USER: &str = "0ne00ABCDEF/registrations/dev-0001/api-version=2019-03-31";
const ANSWERS: &str = "$dps/registrations/res/#";
const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
const POLL: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";
const BODY: &str = r#"{"registrationId":"dev-0001"}"#;

fn mock(bench: &Bench, tables: &str) -> Mock {
    bench.file("key", KEY);
    Mock::start(bench, &format!("{FILE}{tables}"))
}

/// One whose devices may register while they are being registered.
fn patient_mock(bench: &Bench) -> Mock {
    bench.file("key", KEY);
    Mock::start(bench, &format!("overlap = \"reuse\"\n{FILE}"))
}

/// A client that is connected and subscribed at quality of service 1.
fn ready(mock: &Mock, way: Way) -> MqttWire {
    let mut wire = MqttWire::open(mock, way);
    wire.send(&connect(true, 0, "dev-0001", USER, Some(TOKEN)));
    wire.expect(0x20, &[0, 0]);
    wire.send(&subscribe(1, ANSWERS, 1));
    wire.expect(0x90, &[0, 1, 1]);
    wire
}

/// A client as it was captured on the wire.
struct Dialect {
    name: &'static str,
    /// The first bytes of its CONNECT up to the client id, as captured, without the remaining length.
    head: [u8; 10],
    clean: bool,
    keep_alive: u16,
    agent: &'static str,
    token: &'static str,
    subscribe: (u16, u8),
    /// Packet ids of register and poll; `None` publishes at quality of service 0.
    publish: [Option<u16>; 2],
    rids: [&'static str; 2],
    payloads: [&'static str; 2],
    unsubscribes: bool,
}

const DIALECTS: [Dialect; 5] = [
    Dialect {
        name: "Python azure-iot-device 2.14.0",
        head: [0x00, 0x04, 0x4d, 0x51, 0x54, 0x54, 0x04, 0xc0, 0x00, 0x3c],
        clean: false,
        keep_alive: 60,
        agent: "&ClientVersion=azure-iot-device-provisioning-py%2F2.14.0%283.11.7%3BLinux%20%231%20SMP%20\
                PREEMPT_DYNAMIC%20%400%3Bx86_64%29",
        token: TOKEN,
        subscribe: (1, 1),
        publish: [Some(2), Some(3)],
        rids: ["dce407fa-15d3-4a33-b55f-08a0c922d9bf", "e63413d6-d0dd-453c-85e1-4201dcbfdcdf"],
        payloads: [r#"{"payload": {"modelId": "dtmi:x:y;1"}, "registrationId": "dev-0001"}"#, " "],
        unsubscribes: false,
    },
    Dialect {
        name: "Node azure-iot-provisioning-device 1.9.1",
        head: [0x00, 0x04, 0x4d, 0x51, 0x54, 0x54, 0x04, 0xc2, 0x00, 0xb4],
        clean: true,
        keep_alive: 180,
        agent: "&ClientVersion=azure-iot-provisioning-device%2F1.9.1",
        token: PLAIN_TOKEN,
        subscribe: (33_282, 1),
        publish: [Some(33_283), Some(33_284)],
        rids: ["7237f24c-0057-4087-9ede-e77b656056c2", "d3b6bd96-f3b8-445b-a822-6a578a4056bf"],
        payloads: [r#"{"registrationId":"dev-0001","payload":{"modelId":"dtmi:x:y;1"}}"#, " "],
        unsubscribes: true,
    },
    Dialect {
        name: "C azure-iot-sdk-c 1.15.0",
        head: [0x00, 0x04, 0x4d, 0x51, 0x54, 0x54, 0x04, 0xc2, 0x00, 0x00],
        clean: true,
        keep_alive: 0,
        agent: "&ClientVersion=1.15.0",
        token: LOWER_CASE_TOKEN,
        subscribe: (2, 1),
        publish: [None, None],
        rids: ["1", "2"],
        payloads: [BODY, BODY],
        unsubscribes: false,
    },
    Dialect {
        name: "embedded C azure-sdk-for-c",
        head: [0x00, 0x04, 0x4d, 0x51, 0x54, 0x54, 0x04, 0xc0, 0x00, 0xf0],
        clean: false,
        keep_alive: 240,
        agent: "",
        token: LOWER_CASE_TOKEN,
        subscribe: (1, 1),
        publish: [Some(2), None],
        rids: ["1", "1"],
        payloads: ["", ""],
        unsubscribes: false,
    },
    Dialect {
        name: "Rust azure_iot_sdk 0.8.0",
        head: [0x00, 0x04, 0x4d, 0x51, 0x54, 0x54, 0x04, 0xc0, 0x00, 0x0a],
        clean: false,
        keep_alive: 10,
        agent: "",
        token: LOWER_CASE_TOKEN,
        subscribe: (10, 0),
        publish: [None, None],
        rids: ["1", "1"],
        payloads: [BODY, ""],
        unsubscribes: false,
    },
];

impl Dialect {
    /// Registers as this client does; the order of packets is what strict clients insist on.
    fn register(&self, mock: &Mock, way: Way) {
        let mut wire = MqttWire::open(mock, way);
        let hello = connect(
            self.clean,
            self.keep_alive,
            "dev-0001",
            &format!("{USER}{}", self.agent),
            Some(self.token),
        );
        let head = hello.iter().position(|byte| *byte == 0).unwrap();
        assert_eq!(hello[head..head + 10], self.head, "{}", self.name);
        wire.send(&hello);
        wire.expect(0x20, &[0, 0]);
        let (id, qos) = self.subscribe;
        wire.send(&subscribe(id, ANSWERS, qos));
        let [high, low] = id.to_be_bytes();
        wire.expect(0x90, &[high, low, qos]);
        let delivered = if qos == 0 { 0x30 } else { 0x32 };

        let mut ask = |topic: String, turn: usize| {
            wire.send(&publish(self.publish[turn], &topic, self.payloads[turn]));
            if let Some(id) = self.publish[turn] {
                wire.expect(0x40, &id.to_be_bytes());
            }
            wire.answer(delivered)
        };
        let (topic, body) = ask(format!("{REGISTER}{}", self.rids[0]), 0);
        assert_eq!(topic, format!("$dps/registrations/res/202/?$rid={}&retry-after=3", self.rids[0]));
        assert_eq!(body["status"], "assigning");
        let operation = body["operationId"].as_str().unwrap().to_owned();
        std::thread::park_timeout(Duration::from_millis(250));
        let (topic, body) = ask(format!("{POLL}{}&operationId={operation}", self.rids[1]), 1);
        assert_eq!(topic, format!("$dps/registrations/res/200/?$rid={}", self.rids[1]), "{body}");
        assert_eq!((&body["status"], &body["operationId"]), (&"assigned".into(), &operation.into()));
        assert_eq!(body["registrationState"]["assignedHub"], "hub-1.azure-devices.net");
        assert_eq!(body["registrationState"]["deviceId"], "dev-0001");

        if self.unsubscribes {
            wire.send(&unsubscribe(33_285, ANSWERS));
            wire.expect(0xb0, &33_285u16.to_be_bytes());
        }
        wire.send(&[0xe0, 0]);
        assert_eq!(wire.packet(), None, "{} said goodbye", self.name);
    }
}

#[test]
fn every_client_that_was_captured_gets_its_hub_however_it_comes() {
    let bench = Bench::new();
    let mock = mock(&bench, "[throttle]\npolls_per_10s = 0\n");
    for dialect in &DIALECTS {
        for way in WAYS {
            dialect.register(&mock, way);
        }
    }
}

#[test]
fn acceptance_12_answers_come_at_the_quality_of_service_that_was_granted() {
    let bench = Bench::new();
    let mock = patient_mock(&bench);
    for (qos, granted, first) in [(0, 0, 0x30), (1, 1, 0x32), (2, 1, 0x32)] {
        let mut wire = MqttWire::open(&mock, Way::Tls);
        wire.send(&connect(true, 0, "dev-0001", USER, Some(TOKEN)));
        wire.expect(0x20, &[0, 0]);
        wire.send(&subscribe(9, ANSWERS, qos));
        wire.expect(0x90, &[0, 9, granted]);
        wire.send(&publish(None, &format!("{REGISTER}1"), BODY));
        // The whole first byte is compared: no RETAIN, no DUP.
        wire.answer(first);
    }
}

#[test]
fn acceptance_13_an_unknown_scope_is_refused_with_3_and_what_is_malformed_with_5() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    let other = "0ne00FFFFFF/registrations/dev-0001/api-version=2019-03-31";
    for way in WAYS {
        for (client, user, code) in [
            ("dev-0001", other, 3),
            ("dev-0001", "nonsense", 5),
            ("dev-0001", "", 5),
            ("dev-0002", USER, 5),
            ("", USER, 5),
        ] {
            let mut wire = MqttWire::open(&mock, way);
            wire.send(&connect(true, 60, client, user, Some(TOKEN)));
            wire.expect(0x20, &[0, code]);
            assert_eq!(wire.packet(), None, "{client} {user}");
        }
    }
    let lenient = Bench::new();
    let mock = self::mock(&lenient, "[mqtt]\nunknown_scope = 0\nuser_name = 4\n");
    let mut wire = MqttWire::open(&mock, Way::Tls);
    wire.send(&connect(true, 60, "dev-0001", other, Some(TOKEN)));
    wire.expect(0x20, &[0, 0]);
    wire.send(&subscribe(1, ANSWERS, 1));
    wire.expect(0x90, &[0, 1, 1]);
    wire.send(&publish(None, &format!("{REGISTER}1"), BODY));
    assert_eq!(wire.answer(0x32).0, "$dps/registrations/res/404/?$rid=1");
    let mut wire = MqttWire::open(&mock, Way::Tls);
    wire.send(&connect(true, 60, "dev-0001", "nonsense", Some(TOKEN)));
    wire.expect(0x20, &[0, 4]);
}

#[test]
fn a_second_connection_of_a_device_ends_the_first() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    let mut first = ready(&mock, Way::Tls);
    let mut second = ready(&mock, WAYS[1]);
    assert_eq!(first.packet(), None, "the first one is sent away");
    second.send(&[0xc0, 0]);
    second.expect(0xd0, &[]);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long the door waits is measured on the wall clock")]
fn silence_is_borne_for_one_and_a_half_keep_alives() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    let hello = |keep_alive| connect(true, keep_alive, "dev-0001", USER, Some(TOKEN));
    let mut wire = MqttWire::open(&mock, Way::Tls);
    wire.send(&hello(1));
    wire.expect(0x20, &[0, 0]);
    for _ in 0..2 {
        std::thread::park_timeout(Duration::from_millis(900));
        wire.send(&[0xc0, 0]);
        wire.expect(0xd0, &[]);
    }
    let silent_since = Instant::now();
    assert_eq!(wire.packet(), None);
    let silence = silent_since.elapsed();
    assert!((1_400..6_000).contains(&silence.as_millis()), "{silence:?}");
    // The C client asks for no limit.
    let mut wire = MqttWire::open(&mock, Way::Tls);
    wire.send(&hello(0));
    wire.expect(0x20, &[0, 0]);
    std::thread::park_timeout(Duration::from_millis(2_500));
    wire.send(&[0xc0, 0]);
    wire.expect(0xd0, &[]);
}

#[test]
fn an_answer_without_a_subscription_is_lost_and_its_request_acknowledged() {
    let bench = Bench::new();
    let mock = patient_mock(&bench);
    let mut wire = MqttWire::open(&mock, Way::Tls);
    wire.send(&connect(true, 0, "dev-0001", USER, Some(TOKEN)));
    wire.expect(0x20, &[0, 0]);
    wire.send(&publish(Some(7), &format!("{REGISTER}1"), BODY));
    wire.expect(0x40, &[0, 7]);
    // Other filters are refused, and what belongs to no DPS client too.
    wire.send(&subscribe(8, "devices/#", 1));
    wire.expect(0x90, &[0, 8, 0x80]);
    wire.send(&subscribe(9, ANSWERS, 1));
    wire.expect(0x90, &[0, 9, 1]);
    wire.send(&publish(Some(10), &format!("{REGISTER}2"), BODY));
    wire.expect(0x40, &[0, 10]);
    assert_eq!(wire.answer(0x32).0, "$dps/registrations/res/202/?$rid=2&retry-after=3");
}

#[test]
fn what_no_client_may_send_ends_its_connection_and_nothing_else() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    let mut patient = MqttWire::open(&mock, Way::Tls);
    let other = USER.replace("dev-0001", "dev-0002");
    patient.send(&connect(true, 0, "dev-0002", &other, Some(TOKEN)));
    patient.expect(0x20, &[0, 0]);
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0xff; 64],
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xc0, 0],
        &[0x10, 0],
    ];
    for way in WAYS {
        for bytes in garbage {
            let mut wire = MqttWire::open(&mock, way);
            let _ = wire.try_send(bytes);
            assert_eq!(wire.packet(), None, "{bytes:?}");
        }
        // MQTT 5 is told that it is not spoken.
        let mut wire = MqttWire::open(&mock, way);
        let mut five = connect(true, 0, "dev-0001", USER, None);
        let level = five.iter().position(|byte| *byte == b'Q').unwrap() + 3;
        five[level] = 5;
        wire.send(&five);
        wire.expect(0x20, &[0, 1]);
        assert_eq!(wire.packet(), None);
        let register = format!("{REGISTER}1");
        let mut twice = publish(Some(2), &register, BODY);
        twice[0] = 0x34;
        for offence in [
            twice,
            publish(None, "devices/dev-0001/messages/events/", "x"),
            publish(None, "$dps/registrations/PUT/iotdps-register/", BODY),
            connect(true, 0, "dev-0001", USER, Some(TOKEN)),
            vec![0x20, 2, 0, 0],
            vec![0x00, 0],
        ] {
            let mut wire = ready(&mock, way);
            wire.send(&offence);
            assert_eq!(wire.packet(), None, "{offence:?}");
        }
    }
    patient.send(&[0xc0, 0]);
    patient.expect(0xd0, &[]);
}

#[test]
fn half_open_and_flooding_clients_do_not_stop_the_others() {
    let bench = Bench::new();
    let mock = patient_mock(&bench);
    let half_open: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(mock.mqtt()).unwrap()).collect();
    let silent: Vec<_> = (0..20).map(|_| MqttWire::open(&mock, Way::Tls)).collect();
    // Floods and never reads: the door stops listening to it.
    let flood = |address| {
        let mut stream = mock.tls(address);
        stream.sock.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let other = USER.replace("dev-0001", "dev-0002");
        stream.write_all(&connect(true, 0, "dev-0002", &other, Some(TOKEN))).unwrap();
        stream.write_all(&subscribe(1, ANSWERS, 1)).unwrap();
        let polls = publish(None, &format!("{POLL}1&operationId=x"), "").repeat(200);
        let mut sent = 0;
        while sent < 200_000 && stream.write_all(&polls).is_ok() {
            sent += 200;
        }
        (sent, stream)
    };
    let (sent, flooding) = flood(mock.mqtt());
    assert!(sent < 200_000, "somebody swallowed {sent} requests whose answers nobody takes");
    let mut wire = ready(&mock, Way::Tls);
    wire.send(&publish(Some(2), &format!("{REGISTER}1"), BODY));
    wire.expect(0x40, &[0, 2]);
    assert!(wire.answer(0x32).0.starts_with("$dps/registrations/res/202/"));
    drop((half_open, silent, flooding));
}

#[test]
fn a_websocket_carries_what_its_protocol_says_or_nothing() {
    let bench = Bench::new();
    let mock = mock(&bench, "");
    assert_eq!(upgrade(&mock, "/mqtt", "mqttv5").0, 400);
    assert_eq!(upgrade(&mock, "/mqtt", "soap, mqtt").0, 101);
    // Text is no MQTT.
    let mut wire = MqttWire::open(&mock, WAYS[1]);
    wire.send_frame(0x81, b"hello");
    assert_eq!(wire.packet(), None);
    // What a client sends before it has read the answer is not lost, and an ordinary request passes as ever.
    assert_eq!(Wire::open(&mock).ask("GET", "/", None, "").status, 404);
}
