//! A device's end of the connection, against the door and against servers that break off.

use std::rc::Rc;
use std::time::Duration;

use fleetstorm_net::ConnectTimes;
use fleetstorm_net::clock::Clock;
use fleetstorm_net::exchange::{Caller, Carrier, Link};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{Body, Operation, Status, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::evidence::Peer;
use crate::serve::serve_amqp;
use crate::serve::testing::house;

fn caller(token: Option<&str>) -> Caller {
    let mut caller = Caller::new(&carrier(60), "0ne00F1EE75".into(), "dev-0001".to_owned(), None);
    caller.authorize(token).unwrap();
    caller
}

fn carrier(keep_alive_secs: u16) -> Carrier {
    Carrier {
        transport: Transport::Amqp,
        host: ::http::HeaderValue::from_static("localhost:5671"),
        keep_alive_secs,
        clock: Clock::start(),
    }
}

/// A device that connects to the demo's door and does `device`.
async fn at_the_door<D>(
    token: Option<&str>,
    device: impl AsyncFnOnce(Link<DuplexStream>, &Caller, ConnectTimes) -> D,
) -> D {
    let (ours, theirs) = tokio::io::duplex(8 * 1024);
    let caller = caller(token);
    let connect = async {
        let mut times = ConnectTimes::default();
        let link = Link::open(ours, &carrier(60), &caller, &mut times).await.unwrap();
        device(link, &caller, times).await
    };
    let peer = Peer::default();
    tokio::join!(connect, serve_amqp(house(), theirs, &peer)).0
}

#[tokio::test(start_paused = true)]
async fn what_the_service_thinks_of_a_credential_is_told_with_the_first_answer() {
    for (token, sasl) in [(Some("SharedAccessSignature sr=x&sig=eA%3D%3D&se=1"), true), (None, false)] {
        let reply = at_the_door(token, async |mut link, caller, times| {
            assert_eq!((times.sasl.is_some(), times.attach.is_some()), (sasl, true));
            link.exchange(caller, Operation::Register, None).await
        })
        .await
        .unwrap();
        assert_eq!(reply.status, Status::UNAUTHORIZED);
        assert!(matches!(&reply.body, Body::Error(error) if error.code / 1_000 == 401), "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_has_no_word_for_a_lookup() {
    let fault =
        at_the_door(None, async |mut link, caller, _| link.exchange(caller, Operation::Lookup, None).await)
            .await;
    assert_eq!(fault, Err(Fault::Protocol));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_scope_is_no_place_for_a_link() {
    let (ours, theirs) = tokio::io::duplex(8 * 1024);
    let caller = Caller::new(&carrier(60), "0ne00FFFFFF".into(), "dev-0001".to_owned(), None);
    let connect = async { Link::open(ours, &carrier(60), &caller, &mut ConnectTimes::default()).await.err() };
    let peer = Peer::default();
    let house = house();
    let (fault, ()) = tokio::join!(connect, serve_amqp(Rc::clone(&house), theirs, &peer));
    assert_eq!(fault, Some(Fault::Unavailable));
    assert_eq!(house.service.borrow().counters().requests, 1, "the service has said it");
}

#[tokio::test(start_paused = true)]
async fn both_ends_keep_an_idle_connection_alive() {
    let answered = at_the_door(None, async |mut link, caller, _| {
        let waited = tokio::time::timeout(Duration::from_secs(100_000), link.closed()).await;
        assert!(waited.is_err(), "nobody closes it");
        link.exchange(caller, Operation::Register, None).await.is_ok()
    })
    .await;
    assert!(answered);
}

/// A server that opens with what the door says, and then does `serve` instead.
async fn instead<D>(
    keep_alive_secs: u16,
    device: impl AsyncFnOnce(Link<DuplexStream>, &Caller) -> D,
    serve: impl AsyncFnOnce(DuplexStream),
) -> D {
    let (ours, mut middle) = tokio::io::duplex(8 * 1024);
    let (mut door, theirs) = tokio::io::duplex(8 * 1024);
    let caller = caller(None);
    let (opened, open) = tokio::sync::oneshot::channel();
    let connect = async {
        let link =
            Link::open(ours, &carrier(keep_alive_secs), &caller, &mut ConnectTimes::default()).await.unwrap();
        let _ = opened.send(());
        device(link, &caller).await
    };
    let carry = async {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut middle, &mut door) => {}
            _ = open => {}
        }
        serve(middle).await;
    };
    let peer = Peer::default();
    let served = async {
        tokio::select! {
            () = serve_amqp(house(), theirs, &peer) => {}
            () = carry => {}
        }
    };
    tokio::join!(connect, served).0
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_says_whether_the_service_may_have_acted() {
    let ask = async |mut link: Link<DuplexStream>, caller: &Caller| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        link.exchange(caller, Operation::Register, None).await.unwrap_err()
    };
    let fault = instead(0, ask, async |stream| drop(stream)).await;
    assert_eq!(fault, Fault::Closed, "it had ended before the request left");
    let fault = instead(0, ask, async |mut stream| {
        let _ = stream.read(&mut [0; 4_096]).await;
    })
    .await;
    assert_eq!(fault, Fault::Lost);
    let fault = instead(0, ask, async |mut stream| {
        let _ = stream.read(&mut [0; 4_096]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await;
        tokio::time::sleep(Duration::from_secs(9)).await;
    })
    .await;
    assert_eq!(fault, Fault::Protocol);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_gives_no_sign_of_life_is_given_up() {
    let waited = instead(
        10,
        async |mut link, _| {
            let clock = Clock::start();
            link.closed().await;
            clock.now().as_nanos() / 1_000_000_000
        },
        async |stream| {
            tokio::time::sleep(Duration::from_secs(1_000)).await;
            drop(stream);
        },
    )
    .await;
    // It was asked for one in 10 s, and may be silent for twice that.
    assert_eq!(waited, 20);
}

#[tokio::test(start_paused = true)]
async fn a_device_says_goodbye() {
    let (sent, said) = tokio::sync::oneshot::channel();
    instead(
        0,
        async |link, _| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            link.hang_up();
        },
        async |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            let _ = sent.send(all);
        },
    )
    .await;
    // A close without an error.
    assert_eq!(said.await.unwrap(), [0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x18, 0x45]);
}
