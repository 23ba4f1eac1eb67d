//! Devices at their hubs with certificates that the mock has issued, over packets: who is let in, and how a certificate is
//! renewed (`dps` 18.5 and 18.6; the scenarios that are about what a hub says are tests of the model).

use std::future::Future;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_net::packets::Packets;
use fleetstorm_protocol::Status;
use fleetstorm_protocol::mqtt::packet::{
    ConnAck, ConnectReturnCode, PubAck, SubscribeReasonCode, Unsubscribe,
};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::io::DuplexStream;

use super::*;
use crate::serve::serve_mqtt;
use crate::serve::testing::{AUTHORITY, csr, issuing, issuing_by, registered};

/// Longer than any renewal takes here.
const LONG: Duration = Duration::from_secs(60);

/// A device with its certificate.
struct Device {
    house: Rc<House>,
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// A connection of a device with its hub.
struct Line {
    packets: Packets<DuplexStream>,
    welcome: ConnAck,
    served: tokio::task::JoinHandle<()>,
}

impl Device {
    async fn new(renewal: &str) -> Self {
        let house = issuing(&format!("{AUTHORITY}{renewal}"));
        let key = KeyPair::generate().unwrap();
        let chain = registered(&house, "dev-1", &key).await.issued_chain;
        let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        Self { house, chain, key }
    }

    /// Connects with what it shows in the TLS handshake.
    async fn connect(&self, clean: bool) -> Line {
        self.connect_with(self.chain.clone(), clean).await
    }

    async fn connect_with(&self, chain: Vec<CertificateDer<'static>>, clean: bool) -> Line {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let house = Rc::clone(&self.house);
        let served = tokio::task::spawn_local(async move {
            let peer = Peer::new(chain);
            serve_mqtt(house, theirs, &peer).await;
        });
        let mut connect = Connect::new("dev-1");
        connect.clean_session = clean;
        connect.keep_alive = 0;
        connect.set_login("demo-hub-1.azure-devices.net/dev-1/?api-version=2025-08-01-preview", "");
        let mut packets = Packets::new(ours, 1 << 20);
        packets.queue(&Packet::Connect(connect));
        packets.flush().await.unwrap();
        let welcome = match packets.next().await {
            Ok(Packet::ConnAck(welcome)) => welcome,
            other => panic!("{other:?}"),
        };
        Line { packets, welcome, served }
    }

    fn body(&self) -> String {
        serde_json::json!({ "id": "dev-1", "csr": csr("dev-1", &self.key) }).to_string()
    }
}

impl Line {
    async fn send(&mut self, packet: Packet) {
        self.packets.queue(&packet);
        self.packets.flush().await.unwrap();
    }

    async fn listen(&mut self) {
        let mut subscribe = Subscribe::new(credentials::ANSWERS, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.send(Packet::Subscribe(subscribe)).await;
        let Ok(Packet::SubAck(granted)) = self.packets.next().await else { panic!("no SUBACK") };
        assert_eq!(granted.return_codes, [SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
    }

    async fn stop_listening(&mut self) {
        let mut unsubscribe = Unsubscribe::new(credentials::ANSWERS);
        unsubscribe.pkid = 2;
        self.send(Packet::Unsubscribe(unsubscribe)).await;
        let Ok(Packet::UnsubAck(_)) = self.packets.next().await else { panic!("no UNSUBACK") };
    }

    /// Asks for a certificate, and takes the acknowledgement.
    async fn ask(&mut self, topic: &str, body: &str) {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, body);
        publish.pkid = 3;
        self.send(Packet::Publish(publish)).await;
        let Ok(Packet::PubAck(_)) = self.packets.next().await else { panic!("no PUBACK") };
    }

    async fn request(&mut self, rid: &str, body: &str) {
        let mut topic = String::new();
        credentials::request_topic(rid, &mut topic);
        self.ask(&topic, body).await;
    }

    /// The next answer: status, request id and body; `None` if none comes.
    async fn answer(&mut self) -> Option<(u16, String, Value)> {
        let packet = tokio::time::timeout(LONG, self.packets.next()).await.ok()?.ok()?;
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        assert!(publish.qos == QoS::AtLeastOnce && publish.pkid > 0);
        let (Status(status), rid) = credentials::read_answer_topic(&publish.topic).unwrap();
        let answer = (status, rid.to_owned(), serde_json::from_slice(&publish.payload).unwrap());
        self.send(Packet::PubAck(PubAck::new(publish.pkid))).await;
        Some(answer)
    }

    /// Whether the hub has ended it.
    async fn is_cut(&mut self) -> bool {
        matches!(tokio::time::timeout(LONG, self.packets.next()).await, Ok(Err(_)))
    }

    /// Ends the connection without a word, and waits until the hub has noticed.
    async fn cut(self) {
        drop(self.packets);
        self.served.await.unwrap();
    }
}

fn on_paused_time(work: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work);
}

fn brief(answer: Option<(u16, String, Value)>) -> Option<(u16, String)> {
    answer.map(|(status, rid, _)| (status, rid))
}

fn told(status: u16, rid: &str) -> Option<(u16, String)> {
    Some((status, rid.to_owned()))
}

#[test]
fn an_issued_certificate_opens_the_hub_with_and_without_what_is_above_it() {
    on_paused_time(async {
        let device = Device::new("").await;
        for shown in [device.chain.clone(), device.chain[..1].to_vec()] {
            let line = device.connect_with(shown, true).await;
            assert_eq!(line.welcome.code, ConnectReturnCode::Success);
            line.cut().await;
        }
    });
}

/// Acceptance row 11 and its neighbours, with certificates that are real: revoked, expired, of another authority.
#[test]
fn a_hub_refuses_what_is_revoked_expired_or_foreign() {
    on_paused_time(async {
        let refused = |line: &Line| line.welcome.code == ConnectReturnCode::NotAuthorized;
        let device = Device::new("").await;
        // By another authority of the same names, for the same device.
        let other = issuing_by(AUTHORITY, 7);
        let foreign = registered(&other, "dev-1", &device.key).await.issued_chain;
        let foreign = foreign.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        assert!(refused(&device.connect_with(foreign, true).await), "foreign");
        assert!(refused(&device.connect_with(device.chain[1..].to_vec(), true).await), "an authority's own");
        assert!(refused(&device.connect_with(Vec::new(), true).await), "nothing at all");
        let standing = device.connect(true).await;
        assert_eq!(standing.welcome.code, ConnectReturnCode::Success);
        let now = device.house.clock.now();
        device.house.service.borrow_mut().revoke_certificates(now, "dev-1");
        let mut standing = standing;
        standing.send(Packet::PingReq).await;
        assert!(
            matches!(standing.packets.next().await, Ok(Packet::PingResp)),
            "a session that stands goes on"
        );
        assert!(refused(&device.connect(true).await), "revoked");
        let fresh = Device::new("").await;
        tokio::time::sleep(Duration::from_secs(31 * 86_400)).await;
        assert!(refused(&fresh.connect(true).await), "expired");
    });
}

/// Acceptance row 21.
#[test]
fn scenario_015_the_certificate_comes_after_the_202_and_opens_the_hub() {
    on_paused_time(async {
        let mut device = Device::new("").await;
        let mut line = device.connect(true).await;
        line.listen().await;
        line.request("7", &device.body()).await;
        let (status, rid, body) = line.answer().await.unwrap();
        assert_eq!((status, &*rid), (202, "7"));
        assert!(body["operationExpires"].is_string() && body["correlationId"].is_string());
        let (status, rid, issued) = line.answer().await.unwrap();
        assert_eq!((status, &*rid), (200, "7"));
        assert_eq!(issued["correlationId"], body["correlationId"]);
        let certificates = issued["certificates"].as_array().unwrap();
        let certificates =
            certificates.iter().map(|text| BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap());
        device.chain = certificates.map(CertificateDer::from).collect();
        assert_eq!(device.chain.len(), 3);
        line.send(Packet::PingReq).await;
        assert!(matches!(line.packets.next().await, Ok(Packet::PingResp)), "the session stays");
        assert_eq!(device.connect(true).await.welcome.code, ConnectReturnCode::Success);
    });
}

#[test]
fn scenario_014_a_topic_without_a_request_id_is_met_by_silence_or_a_cut() {
    for (unanswerable, cut) in [("silence", false), ("cut", true)] {
        on_paused_time(async {
            let setting = format!("[issuance.renewal]\nunanswerable = \"{unanswerable}\"\n");
            let device = Device::new(&setting).await;
            let mut line = device.connect(true).await;
            line.listen().await;
            line.ask("$iothub/credentials/POST/issueCertificate/", &device.body()).await;
            assert_eq!(line.is_cut().await, cut);
        });
    }
}

#[test]
fn scenario_016_whoever_never_subscribes_hears_nothing() {
    on_paused_time(async {
        let device = Device::new("").await;
        let mut line = device.connect(true).await;
        line.request("1000", &device.body()).await;
        assert_eq!(line.answer().await, None);
    });
}

#[test]
fn scenario_017_whoever_unsubscribes_after_the_202_hears_no_more() {
    on_paused_time(async {
        let device = Device::new("").await;
        let mut line = device.connect(true).await;
        line.listen().await;
        line.request("1000", &device.body()).await;
        assert_eq!(brief(line.answer().await), told(202, "1000"));
        line.stop_listening().await;
        assert_eq!(line.answer().await, None);
    });
}

/// Acceptance row 26.
#[test]
fn scenario_018_whoever_subscribes_again_before_the_end_hears_it() {
    for hold in [false, true] {
        on_paused_time(async {
            let device = Device::new(&format!("[issuance.renewal]\nhold = {hold}\n")).await;
            let mut line = device.connect(true).await;
            line.listen().await;
            line.request("1000", &device.body()).await;
            assert_eq!(brief(line.answer().await), told(202, "1000"));
            line.stop_listening().await;
            line.listen().await;
            assert_eq!(brief(line.answer().await), told(200, "1000"));
        });
    }
}

/// What a hub keeps for whom: after the 202 the device goes, and comes back later than its certificate.
#[test]
fn scenario_019_a_persistent_session_is_kept_what_it_missed() {
    on_paused_time(async {
        let device = Device::new("").await;
        let mut line = device.connect(false).await;
        assert!(!line.welcome.session_present);
        line.listen().await;
        line.request("1000", &device.body()).await;
        assert_eq!(brief(line.answer().await), told(202, "1000"));
        line.cut().await;
        tokio::time::sleep(LONG).await;
        let mut line = device.connect(false).await;
        assert!(line.welcome.session_present);
        assert_eq!(brief(line.answer().await), told(200, "1000"));
    });
}

/// Acceptance row 27, and what the setting changes for a device that comes back too late.
#[test]
fn scenario_020_a_clean_session_that_subscribes_in_time_hears_it() {
    for (hold, late, heard) in [(false, false, true), (false, true, false), (true, true, true)] {
        on_paused_time(async {
            let device = Device::new(&format!("[issuance.renewal]\nhold = {hold}\ndelay = \"5s\"\n")).await;
            let mut line = device.connect(true).await;
            line.listen().await;
            line.request("1000", &device.body()).await;
            assert_eq!(brief(line.answer().await), told(202, "1000"));
            line.cut().await;
            if late {
                tokio::time::sleep(LONG).await;
            }
            let mut line = device.connect(true).await;
            assert!(!line.welcome.session_present);
            line.listen().await;
            let expected = if heard { told(200, "1000") } else { None };
            assert_eq!(brief(line.answer().await), expected, "held: {hold}, late: {late}");
        });
    }
}

#[test]
fn scenario_021_a_clean_session_that_does_not_subscribe_hears_nothing() {
    on_paused_time(async {
        let device = Device::new("").await;
        let mut line = device.connect(false).await;
        line.listen().await;
        line.request("1000", &device.body()).await;
        assert_eq!(brief(line.answer().await), told(202, "1000"));
        line.cut().await;
        let mut line = device.connect(true).await;
        assert_eq!(line.answer().await, None);
    });
}

#[test]
fn scenario_026_an_answer_before_the_subscription_is_lost_and_the_connection_may_be() {
    for (unanswerable, cut) in [("silence", false), ("cut", true)] {
        on_paused_time(async {
            let setting = format!("[issuance.renewal]\nunanswerable = \"{unanswerable}\"\n");
            let device = Device::new(&setting).await;
            let mut line = device.connect(true).await;
            line.request("1000", &device.body()).await;
            if cut {
                assert!(line.is_cut().await);
            } else {
                // The request is carried out: whoever subscribes before its end hears that.
                line.listen().await;
                assert_eq!(brief(line.answer().await), told(200, "1000"));
            }
        });
    }
}
