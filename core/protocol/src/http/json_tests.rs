use proptest::prelude::*;

use super::*;

fn read(status: u16, body: &str) -> Reply {
    read_reply(Status(status), RetryAfter::Absent, Some("application/json; charset=utf-8"), body.as_bytes())
}

fn written(reply: &Reply, poll: bool) -> String {
    let mut out = Vec::new();
    write_reply(reply, "dev-0001", poll, &mut out);
    String::from_utf8(out).unwrap()
}

fn reply(status: u16, body: Body) -> Reply {
    Reply { status: Status(status), retry_after: RetryAfter::Absent, body }
}

const OPERATION: &str = "5.316aac5bdc130deb.b1e02da8-0000-0000-0000-000000000000";

#[test]
fn a_register_answer_is_what_the_service_sends() {
    let text = format!(r#"{{"operationId":"{OPERATION}","status":"assigning"}}"#);
    let answer = read(202, &text);
    let Body::Operation { id: Some(id), state: RegistrationState::Assigning, registration: None } =
        &answer.body
    else {
        panic!("{answer:?}")
    };
    assert_eq!(id.to_string(), OPERATION);
    assert_eq!(written(&answer, false), text);
}

#[test]
fn a_poll_answer_repeats_the_registration() {
    let text = format!(
        r#"{{"operationId":"{OPERATION}","status":"assigning","registrationState":{{"registrationId":"dev-0001","status":"assigning"}}}}"#
    );
    assert_eq!(written(&read(202, &text), true), text);
}

/// The assigned answer of the HTTPS X.509 tutorial, byte for byte (`dps` 3.4).
#[test]
fn an_assigned_answer_is_what_the_service_sends() {
    let text = concat!(
        r#"{"operationId":"5.316aac5bdc130deb.b1e02da8-0000-0000-0000-000000000000","status":"assigned","registrationState":{"#,
        r#""x509":{},"registrationId":"dev-0001","createdDateTimeUtc":"2026-01-05T10:11:12.5163352Z","#,
        r#""assignedHub":"hub-1.azure-devices.net","deviceId":"dev-0001","status":"assigned","#,
        r#""substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2026-01-05T10:11:12.7370676Z","#,
        r#""etag":"IjY5MDAzNTUyLTAwMDAtMDMwMC0wMDAwLTYzMGZkYThhMDAwMCI="}}"#
    );
    let answer = read(200, text);
    let Body::Operation { state: RegistrationState::Assigned, registration: Some(registration), .. } =
        &answer.body
    else {
        panic!("{answer:?}")
    };
    assert_eq!(registration.assigned_hub.as_deref(), Some("hub-1.azure-devices.net"));
    assert_eq!(registration.enrolment, Some(Enrolment::X509 { group: None }));
    assert_eq!(registration.substatus, Some(Substatus::InitialAssignment));
    assert_eq!(written(&answer, true), text);
}

#[test]
fn failed_and_disabled_answers_are_what_the_service_sends() {
    let failed = concat!(
        r#"{"operationId":"4.x","status":"failed","registrationState":{"registrationId":"dev-0001","#,
        r#""status":"failed","errorCode":400207,"errorMessage":"Custom allocation failed with status code: 400"}}"#
    );
    let answer = read(200, failed);
    assert_eq!(written(&answer, true), failed);
    let disabled = r#"{"operationId":"","status":"disabled","registrationState":{"registrationId":"dev-0001","status":"disabled"}}"#;
    let answer =
        reply(200, Body::Operation { id: None, state: RegistrationState::Disabled, registration: None });
    assert_eq!(written(&answer, false), disabled);
    let Body::Operation { id: None, state: RegistrationState::Disabled, registration } =
        read(200, disabled).body
    else {
        panic!("disabled")
    };
    assert_eq!(registration.unwrap().registration_id, "dev-0001");
}

#[test]
fn an_error_body_is_what_the_service_sends() {
    let text = r#"{"errorCode":401002,"trackingId":"f40da7ba-8c91-4796-8fc3-89e1dfbdbe05","message":"Invalid certificate","timestampUtc":"2019-03-15T19:43:02.7904455Z"}"#;
    let answer = read(401, text);
    let Body::Error(error) = &answer.body else { panic!("{answer:?}") };
    assert_eq!((error.code, &*error.message), (401_002, "Invalid certificate"));
    assert_eq!(written(&answer, false), text);
}

#[test]
fn a_challenge_is_told_from_an_error() {
    let text = r#"{"message":"Authorization required, resend request using supplied key","authenticationKey":"AQID","keyName":"registration"}"#;
    let answer = read(401, text);
    assert_eq!(answer.body, Body::Challenge(Box::new([1, 2, 3])));
    assert_eq!(written(&answer, false), text);
}

#[test]
fn a_lookup_answer_is_a_registration() {
    let answer = read(200, r#"{"registrationId":"d","status":"assigned","assignedHub":"h","deviceId":"d"}"#);
    let Body::Registration(registration) = answer.body else { panic!("a registration") };
    assert_eq!(registration.state, Some(RegistrationState::Assigned));
}

#[test]
fn what_is_no_answer_of_dps_is_unreadable() {
    for body in ["<html>", "null", "[]", "{}", r#"{"status":"marvellous"}"#, r#"{"status":7}"#, "\u{0}"] {
        assert_eq!(read(200, body).body, Body::Unreadable, "{body}");
    }
    assert_eq!(read(200, "").body, Body::Empty);
    let html = read_reply(Status::OK, RetryAfter::Absent, Some("text/html"), br#"{"status":"assigned"}"#);
    assert_eq!(html.body, Body::Unreadable);
}

#[test]
fn submissions_of_real_clients_are_read() {
    for body in [
        r#"{"registrationId":"sc-ok-node-http-sym","payload":{"modelId":"dtmi:x:y;1"}}"#,
        r#"{"payload": null, "registrationId": "sc-ok-node-http-sym"}"#,
        r#"{"registrationId":"sc-ok-node-http-sym"}"#,
    ] {
        let Submission::Read { registration_id: Some(id), csr: false, .. } =
            read_submission(Some("application/json; charset=utf-8"), body.as_bytes())
        else {
            panic!("{body}")
        };
        assert_eq!(id, "sc-ok-node-http-sym");
    }
    assert!(matches!(
        read_submission(None, b"{}"),
        Submission::Read { registration_id: None, csr: false, payload: None }
    ));
    assert!(matches!(read_submission(None, br#"{"csr":"AAAA"}"#), Submission::Read { csr: true, .. }));
    assert!(matches!(read_submission(Some("text/plain"), b"{}"), Submission::WrongMediaType));
    for body in [&b""[..], b"{", b"[]", br#"{"registrationId":5}"#, &vec![b' '; MESSAGE_MAX_BYTES + 1]] {
        assert!(matches!(read_submission(None, body), Submission::Unreadable));
    }
}

proptest! {
    #[test]
    fn any_bytes_read_without_a_panic(status: u16, bytes: Vec<u8>, text in "[{}\\[\\]:,\"a-zA-Z0-9]{0,60}") {
        for body in [&bytes[..], text.as_bytes()] {
            read_reply(Status(status), RetryAfter::Absent, None, body);
            let _ = read_submission(None, body);
        }
    }

    #[test]
    fn an_error_reads_back(code: u32, message in "\\PC{0,40}", tracking: u128, unix_ns in 0..4_000_000_000_000_000_000u64) {
        let unix_ns = unix_ns / 100 * 100;
        let error = reply(400, Body::Error(ErrorBody { code, message: message.into(), tracking, unix_ns }));
        prop_assert_eq!(read(400, &written(&error, false)), error);
    }
}
