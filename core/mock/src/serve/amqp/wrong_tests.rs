//! What a device of ours sees of every fault of the AMQP door.

use std::time::Duration;

use fleetstorm_net::ConnectTimes;
use fleetstorm_net::clock::Clock;
use fleetstorm_net::exchange::{Caller, Carrier, Link};
use fleetstorm_protocol::{ApiVersion, RetryAfter, Transport};

use super::Operation;
use crate::evidence::Peer;
use crate::serve::{serve_amqp, testing};

/// An answer that is none of a refusal, and one that is.
const ANSWERED: &str = "\"service.error\", status = 302, retry_after = [\"3\"]";
const REFUSED: &str = "\"service.throttle\", retry_after = [\"3\"]";

/// What a device with a token, or with a certificate, sees as it connects, asks twice and waits.
fn seen(answer: &str, fault: &str, token: bool) -> String {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let house = testing::house_under(answer, fault);
        let (ours, theirs) = tokio::io::duplex(8 * 1024);
        let carrier = Carrier {
            transport: Transport::Amqp,
            api_version: ApiVersion::USUAL,
            host: ::http::HeaderValue::from_static("localhost:5671"),
            keep_alive_secs: 60,
            clock: Clock::start(),
        };
        let mut caller = Caller::new(&carrier, "0ne00F1EE75".into(), "dev-1".to_owned(), None);
        caller.authorize(token.then_some("SharedAccessSignature sr=x&sig=eA%3D%3D&se=1")).unwrap();
        let device = async {
            let patience = Duration::from_secs(20);
            let mut times = ConnectTimes::default();
            let opening = Link::open(ours, &carrier, &caller, &mut times);
            let mut link = match tokio::time::timeout(patience, opening).await {
                Err(_) => return format!("sasl:{} silence", times.sasl.is_some()),
                Ok(Err(error)) => return format!("sasl:{} {}", times.sasl.is_some(), error.fault.name()),
                Ok(Ok(link)) => link,
            };
            let mut words = vec!["ready".to_owned()];
            for _ in 0..2 {
                let asking = link.exchange(&caller, Operation::Register, None);
                match tokio::time::timeout(patience, asking).await {
                    Err(_) => words.push("silence".to_owned()),
                    Ok(Err(error)) => {
                        words.push(error.fault.name().to_owned());
                        return words.join(" ");
                    }
                    Ok(Ok(reply)) => {
                        assert_eq!(reply.retry_after, RetryAfter::Seconds(3), "{fault}");
                        words.push(reply.status.0.to_string());
                    }
                }
            }
            let waited = tokio::time::timeout(Duration::from_secs(400), link.closed()).await;
            words.push(if waited.is_ok() { "closed" } else { "alive" }.to_owned());
            words.join(" ")
        };
        let peer = Peer::default();
        tokio::select! {
            seen = device => seen,
            () = async { serve_amqp(house, theirs, &peer).await; std::future::pending().await } => unreachable!(),
        }
    })
}

#[test]
fn every_fault_of_the_amqp_door_is_seen_by_a_device() {
    for (fault, expected) in [
        ("\"mqtt.duplicate\"", "ready 302 302 alive"),
        ("\"amqp.sasl\", code = 1", "sasl:false bad-credentials"),
        ("\"amqp.sasl\", code = 2", "sasl:false unavailable"),
        ("\"amqp.sasl\", code = 4", "sasl:false unavailable"),
        ("\"amqp.drop\", frame = \"sasl-outcome\"", "sasl:false silence"),
        ("\"amqp.drop\", frame = \"open\"", "sasl:true silence"),
        ("\"amqp.drop\", frame = \"begin\"", "sasl:true silence"),
        ("\"amqp.drop\", frame = \"attach\"", "sasl:true silence"),
        ("\"amqp.credit\"", "sasl:true silence"),
        ("\"amqp.drop\", frame = \"disposition\"", "ready 302 302 alive"),
        ("\"amqp.drop\", frame = \"answer\"", "ready silence silence alive"),
        ("\"amqp.drop\", frame = \"heartbeat\"", "ready 302 302 closed"),
        ("\"amqp.disconnect\", after = \"sasl\"", "sasl:true closed"),
        ("\"amqp.disconnect\", after = \"open\"", "sasl:true closed"),
        ("\"amqp.disconnect\", after = \"begin\"", "sasl:true closed"),
        (
            "\"amqp.disconnect\", after = \"begin\", condition = \"amqp:connection:forced\"",
            "sasl:true closed",
        ),
        (
            "\"amqp.disconnect\", after = \"attach\", condition = \"amqp:resource-limit-exceeded\"",
            "ready closed",
        ),
        ("\"amqp.disconnect\", after = \"request\"", "ready lost"),
        ("\"amqp.disconnect\", after = \"request\", condition = \"amqp:connection:forced\"", "ready lost"),
        ("\"amqp.detach\", after = \"attach\"", "ready closed"),
        ("\"amqp.detach\", after = \"request\"", "ready lost"),
        ("\"amqp.duplicate\"", "ready 302 302 alive"),
        ("\"amqp.correlation\", form = \"wrong\"", "ready silence silence alive"),
        ("\"amqp.correlation\", form = \"missing\"", "ready silence silence alive"),
        ("\"amqp.correlation\", form = \"reused\"", "ready 302 silence alive"),
        ("\"amqp.order\"", "ready 302 302 alive"),
        ("\"amqp.release\", form = \"released\"", "ready closed"),
        ("\"amqp.release\", form = \"modified\"", "ready closed"),
        ("\"amqp.retry-after\", form = \"lower\"", "ready 302 302 alive"),
        ("\"amqp.retry-after\", form = \"capital\"", "ready 302 302 alive"),
        ("\"amqp.retry-after\", form = \"text\"", "ready 302 302 alive"),
        ("\"amqp.retry-after\", form = \"long\"", "ready 302 302 alive"),
        ("\"amqp.frame\", form = \"malformed\"", "ready protocol"),
        ("\"amqp.frame\", form = \"oversized\"", "ready protocol"),
        ("\"amqp.frame\", form = \"short\"", "ready protocol"),
        ("\"amqp.frame\", form = \"other-channel\"", "ready protocol"),
    ] {
        assert_eq!(seen(ANSWERED, fault, true), expected, "{fault}");
    }
}

#[test]
fn a_refusal_is_struck_as_the_disposition_that_it_is() {
    for (fault, expected) in [
        ("\"amqp.drop\", frame = \"disposition\"", "ready silence silence alive"),
        ("\"amqp.drop\", frame = \"answer\"", "ready silence silence alive"),
        ("\"amqp.retry-after\", form = \"text\"", "ready 429 429 alive"),
        ("\"amqp.duplicate\"", "ready 429 429 alive"),
        ("\"amqp.frame\", form = \"malformed\"", "ready protocol"),
    ] {
        assert_eq!(seen(REFUSED, fault, true), expected, "{fault}");
    }
}

#[test]
fn a_device_without_a_sasl_layer_is_known_by_its_container_until_it_has_a_link() {
    for (fault, expected) in [
        ("\"amqp.sasl\", code = 1", "ready 302 302 alive"),
        ("\"amqp.drop\", frame = \"open\"", "sasl:false silence"),
        ("\"amqp.disconnect\", after = \"begin\"", "sasl:false closed"),
    ] {
        assert_eq!(seen(ANSWERED, fault, false), expected, "{fault}");
    }
}
