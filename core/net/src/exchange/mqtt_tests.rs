//! A device's end, against a server whose every packet is in the test's hand.

use bytes::BytesMut;
use fleetstorm_protocol::mqtt::packet::{
    ConnAck, ConnectReturnCode, PubAck, Publish, SubAck, SubscribeReasonCode,
};
use fleetstorm_protocol::{Status, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

fn carrier(keep_alive_secs: u16) -> Carrier {
    Carrier {
        transport: Transport::Mqtt,
        api_version: ApiVersion::USUAL,
        host: ::http::HeaderValue::from_static("x"),
        keep_alive_secs,
        clock: Clock::start(),
    }
}

fn caller() -> Caller {
    let mut caller = Caller::new(("0ne00ABCDEF".into(), ApiVersion::USUAL), "dev-0001".to_owned(), None);
    caller.authorize(Some("SharedAccessSignature sr=x"));
    caller
}

/// The server's end.
struct Server(Packets<DuplexStream>);

impl Server {
    async fn packet(&mut self) -> Packet {
        self.0.next().await.unwrap()
    }

    async fn say(&mut self, packet: Packet) {
        self.0.queue(&packet);
        self.0.flush().await.unwrap();
    }

    async fn greet(&mut self) -> Connect {
        let Packet::Connect(connect) = self.packet().await else { panic!("no CONNECT") };
        self.say(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await;
        let Packet::Subscribe(subscribe) = self.packet().await else { panic!("no SUBSCRIBE") };
        let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
        self.say(Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await;
        connect
    }

    async fn request(&mut self) -> Publish {
        let Packet::Publish(publish) = self.packet().await else { panic!("no PUBLISH") };
        self.say(Packet::PubAck(PubAck::new(publish.pkid))).await;
        publish
    }

    async fn answer(&mut self, topic: &str, body: &'static str) {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, body);
        publish.pkid = 9;
        self.say(Packet::Publish(publish)).await;
    }
}

/// A device that connects and a server that does `serve`.
async fn between<T, D>(
    keep_alive_secs: u16,
    device: impl AsyncFnOnce(Result<Link<DuplexStream>, NetError>) -> D,
    serve: impl AsyncFnOnce(&mut Server) -> T,
) -> (D, T) {
    let (ours, theirs) = tokio::io::duplex(4_096);
    let mut server = Server(Packets::new(theirs, 1 << 20));
    let connect = async {
        let carrier = carrier(keep_alive_secs);
        let link = Link::open(ours, &caller(), &carrier, &mut ConnectTimes::default()).await;
        device(link).await
    };
    let served = async {
        let done = serve(&mut server).await;
        drop(server);
        done
    };
    tokio::join!(connect, served)
}

#[tokio::test(start_paused = true)]
async fn a_device_connects_subscribes_and_asks_in_this_order() {
    let (reply, (connect, register, puback)) = between(
        60,
        async |link| link.unwrap().exchange(&caller(), Operation::Register, None).await,
        async |server| {
            let connect = server.greet().await;
            let register = server.request().await;
            server
                .answer(
                    "$dps/registrations/res/202/?$rid=1&retry-after=3",
                    r#"{"operationId":"x","status":"assigning"}"#,
                )
                .await;
            (connect, register, server.packet().await)
        },
    )
    .await;
    let login = connect.login.unwrap();
    assert_eq!((&*connect.client_id, connect.keep_alive), ("dev-0001", 60));
    assert!(login.username.starts_with(
        "0ne00ABCDEF/registrations/dev-0001/api-version=2019-03-31&ClientVersion=fleetstorm%2F"
    ));
    assert_eq!(login.password, "SharedAccessSignature sr=x");
    assert_eq!(register.topic, "$dps/registrations/PUT/iotdps-register/?$rid=1");
    assert_eq!(&register.payload[..], br#"{"registrationId":"dev-0001"}"#);
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.retry_after.to_string()), (Status::ACCEPTED, "3".to_owned()));
    assert_eq!(puback, Packet::PubAck(PubAck::new(9)), "an answer of quality of service 1 is acknowledged");
}

#[tokio::test(start_paused = true)]
async fn late_and_duplicate_answers_are_passed_over() {
    let (replies, ()) = between(
        0,
        async |link| {
            let mut link = link.unwrap();
            let first = link.exchange(&caller(), Operation::Register, None).await.unwrap();
            let second = link.exchange(&caller(), Operation::Register, None).await.unwrap();
            (first.status, second.status)
        },
        async |server| {
            server.greet().await;
            server.request().await;
            for topic in [
                "$dps/registrations/res/500/?$rid=7",
                "$dps/registrations/res/500/",
                "devices/dev-0001/messages/devicebound/",
                "$dps/registrations/res/429/?$rid=1",
                "$dps/registrations/res/500/?$rid=1",
            ] {
                server.answer(topic, "{}").await;
            }
            loop {
                if let Packet::Publish(publish) = server.packet().await {
                    assert!(publish.topic.ends_with("$rid=2"));
                    break;
                }
            }
            server.answer("$dps/registrations/res/500/?$rid=1", "{}").await;
            server.answer("$dps/registrations/res/404/?$rid=2", "{}").await;
        },
    )
    .await;
    assert_eq!(replies, (Status::TOO_MANY_REQUESTS, Status::NOT_FOUND));
}

#[tokio::test(start_paused = true)]
async fn every_way_to_be_refused_has_its_fault() {
    for (code, expected) in [
        (ConnectReturnCode::RefusedProtocolVersion, Fault::Protocol),
        (ConnectReturnCode::BadClientId, Fault::Protocol),
        (ConnectReturnCode::ServiceUnavailable, Fault::Unavailable),
        (ConnectReturnCode::BadUserNamePassword, Fault::BadCredentials),
        (ConnectReturnCode::NotAuthorized, Fault::NotAuthorized),
    ] {
        let (error, ()) = between(
            0,
            async |link| link.err(),
            async |server| {
                server.packet().await;
                server.say(Packet::ConnAck(ConnAck::new(code, false))).await;
            },
        )
        .await;
        let error = error.unwrap();
        assert_eq!(error.fault, expected, "{code:?}");
        assert_eq!(error.source.unwrap().to_string(), format!("CONNACK with return code {}", code as u8));
    }
    let (fault, ()) = between(
        0,
        async |link| link.err(),
        async |server| {
            server.packet().await;
            server.say(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await;
            server.packet().await;
            server.say(Packet::SubAck(SubAck::new(1, vec![SubscribeReasonCode::Failure]))).await;
        },
    )
    .await;
    assert_eq!(fault.unwrap().fault, Fault::Protocol, "a subscription that is refused");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_says_whether_the_service_may_have_acted() {
    // Before the request: nobody acted.
    let (fault, ()) = between(0, async |link| link.err(), async |server| drop(server.packet().await)).await;
    assert_eq!(fault.unwrap().fault, Fault::Closed);
    let ask = async |link: Result<Link<DuplexStream>, NetError>| {
        let mut link = link.unwrap();
        tokio::time::sleep(SECOND).await;
        link.exchange(&caller(), Operation::Register, None).await.unwrap_err().fault
    };
    let (fault, _) = between(0, ask, Server::greet).await;
    assert_eq!(fault, Fault::Closed, "it had ended before the request left");
    // After it: unknown.
    let (fault, ()) = between(0, ask, async |server| {
        server.greet().await;
        server.packet().await;
    })
    .await;
    assert_eq!(fault, Fault::Lost);
    // What is no MQTT is another matter.
    let (fault, ()) = between(0, ask, async |server| {
        server.greet().await;
        server.packet().await;
        server.say(Packet::PingReq).await;
        server.0.next().await.unwrap_err();
    })
    .await;
    assert_eq!(fault, Fault::Lost, "a packet that no server sends ends the connection");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_device_pings_and_notices_a_peer_that_does_not_answer() {
    let (waited, pings) = between(
        10,
        async |link| {
            let clock = Clock::start();
            link.unwrap().closed().await;
            clock.now()
        },
        async |server| {
            server.greet().await;
            let mut pings = 0;
            while let Ok(Packet::PingReq) = server.0.next().await {
                pings += 1;
                if pings <= 3 {
                    server.say(Packet::PingResp).await;
                }
            }
            pings
        },
    )
    .await;
    // Pings after 10, 20, 30 and 40 s; the last one is not answered within another 10.
    assert_eq!((waited.as_nanos() / 1_000_000_000, pings), (50, 4));
}

#[tokio::test(start_paused = true)]
async fn a_device_says_goodbye() {
    let (ours, mut theirs) = tokio::io::duplex(4_096);
    let mut link = Link::start(ours, Connect::new("dev-0001"), Clock::start());
    link.packets.flush().await.unwrap();
    link.hang_up();
    let mut all = Vec::new();
    theirs.read_to_end(&mut all).await.unwrap();
    assert_eq!((all[0], &all[all.len() - 2..]), (0x10, &[0xe0, 0][..]));
    // One whose peer is gone does not mind.
    drop(theirs.shutdown().await);
}

#[test]
fn a_device_with_a_certificate_sends_no_password() {
    let caller = Caller::new(("s".into(), ApiVersion::USUAL), "dev-0001".to_owned(), None);
    let mut bytes = BytesMut::new();
    Packet::Connect(caller.connect(0)).write(&mut bytes, 4_096).unwrap();
    assert_eq!(bytes[9], 0x82, "user name and clean session, and no password flag");
}
