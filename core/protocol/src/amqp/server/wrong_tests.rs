//! What a device makes of a service that says something wrong.

use super::super::super::{Malformed, Said, read_request, strange_correlation_id};
use super::super::Heard;
use super::super::tests::{Pair, TOKEN, reply};
use super::*;
use crate::outcome::Fault;
use crate::{Body, Operation};

const DONE: (Status, RetryAfter) = (Status::ACCEPTED, RetryAfter::Seconds(3));
const BODY: &[u8] = br#"{"operationId":"x","status":"assigning"}"#;

/// A device that has asked, the delivery of its request, and the correlation id.
fn asked() -> (Pair, (u32, bool), Option<Vec<u8>>) {
    let mut pair = Pair::open(Some(TOKEN));
    pair.ask(Operation::Register, None, b"{}");
    let (delivery, settled, message) = pair.requests.pop().unwrap();
    let correlation_id = read_request(&message).unwrap().correlation_id.map(<[u8]>::to_vec);
    (pair, (delivery, settled), correlation_id)
}

#[test]
fn an_answer_that_is_given_wrongly_is_taken_unless_it_is_missing() {
    for (how, answers) in [
        (Misanswer::WithoutDisposition, 1),
        (Misanswer::AnswerFirst, 1),
        // The second one is passed over.
        (Misanswer::Twice, 1),
        (Misanswer::WithoutAnswer, 0),
    ] {
        let (mut pair, delivery, id) = asked();
        pair.server.accept_wrongly(how, delivery, id.as_deref(), DONE, BODY, &mut pair.to_client);
        let said = pair.settle();
        assert_eq!(said.len(), answers, "{how:?}: {said:?}");
        if answers == 1 {
            assert_eq!((reply(&said).status, reply(&said).retry_after), DONE, "{how:?}");
        }
        // The credit is the client's again, and the connection is as good as before.
        assert!(pair.client.may_ask(300) && !pair.client.is_over(), "{how:?}");
    }
}

#[test]
fn an_answer_under_another_name_is_none() {
    let (mut pair, delivery, _) = asked();
    let strange = strange_correlation_id();
    pair.server.accept(delivery, Some(&strange), DONE, BODY, &mut pair.to_client);
    assert_eq!(pair.settle(), []);
    let (mut pair, delivery, _) = asked();
    pair.server.accept(delivery, None, DONE, BODY, &mut pair.to_client);
    assert_eq!(pair.settle(), []);
}

#[test]
fn a_request_that_is_given_back_was_not_acted_on() {
    for modified in [false, true] {
        let (mut pair, delivery, _) = asked();
        pair.server.release(delivery, modified, &mut pair.to_client);
        assert_eq!(pair.settle(), [Err(Fault::Closed)]);
    }
    let (mut pair, delivery, _) = asked();
    pair.server.reject_because(delivery, AmqpCondition::ResourceLimitExceeded, &mut pair.to_client);
    let refused = reply(&pair.settle());
    assert_eq!((refused.status, refused.body), (Status::TOO_MANY_REQUESTS, Body::Empty));
}

#[test]
fn a_link_or_a_connection_that_ends_under_a_request_loses_its_answer() {
    let (mut pair, ..) = asked();
    pair.server.detach_because(AmqpCondition::DetachForced, &mut pair.to_client);
    assert_eq!(pair.settle(), [Ok(Said::Over)]);
    let (mut pair, ..) = asked();
    pair.server.close_because(AmqpCondition::ConnectionForced, &mut pair.to_client);
    assert_eq!(pair.settle(), [Ok(Said::Over)]);
    assert!(pair.client.is_over() && pair.server.is_over());
}

#[test]
fn sasl_ends_with_the_code_that_was_asked_for() {
    for (code, fault) in [
        (1, Fault::BadCredentials),
        (2, Fault::Unavailable),
        (3, Fault::Unavailable),
        (4, Fault::Unavailable),
        (77, Fault::Unavailable),
    ] {
        let mut pair = Pair::new(Some(TOKEN));
        let mut outcome = Vec::new();
        pair.before(Heard::Greeted(super::super::Greeting::Sasl), |server| {
            server.end_sasl(code, &mut outcome)
        });
        pair.to_client = outcome;
        assert_eq!(pair.settle(), [Err(fault)], "{code}");
    }
}

#[test]
fn a_frame_that_is_wrong_breaks_the_protocol() {
    for form in [FrameForm::Malformed, FrameForm::OtherChannel] {
        let (mut pair, ..) = asked();
        pair.server.misframe(form, &mut pair.to_client);
        assert_eq!(pair.settle(), [Err(Fault::Protocol)], "{form:?}");
    }
    for (form, malformed) in
        [(FrameForm::Oversized, Malformed::TooLong), (FrameForm::Short, Malformed::Frame)]
    {
        let (mut pair, ..) = asked();
        let mut out = Vec::new();
        pair.server.misframe(form, &mut out);
        assert_eq!(frame::length(&out, pair.client.frame_max_bytes()), Err(malformed), "{form:?}");
    }
}
