//! The scenarios of `dps` 18.6, as far as they are about what the hub says; those about connections are tests of the door.

use fleetstorm_protocol::credentials::Codes;
use fleetstorm_protocol::{Guid, Status};
use fleetstorm_units::time::Span;
use serde_json::Value;

use super::issuance_tests::{Holder, Talk, csr};
use super::*;
use crate::service::{IssuanceCall, Renewal};

const ID: &str = "dev-1";

/// A device that has its hub, under these rules.
fn device(change: impl FnOnce(&mut Renewal)) -> Talk {
    let mut talk = Talk::with(|config| change(&mut config.issuance.renewal));
    talk.registered(ID);
    talk
}

fn body(csr: &str) -> String {
    serde_json::json!({ "id": ID, "csr": csr }).to_string()
}

fn good() -> String {
    body(&csr("request p256 dev-1"))
}

fn replacing(rid: &str) -> String {
    serde_json::json!({ "id": ID, "csr": csr("request p256 dev-1"), "replace": rid }).to_string()
}

impl Talk {
    fn send(&mut self, rid: &str, body: &str) -> Answer {
        self.service.renew(self.now, ID, rid, body.as_bytes(), &Holder::default())
    }

    /// Lets the time come at which an answer is due, for a device that has listened all the time.
    fn due(&mut self) -> Option<(Box<str>, Answer)> {
        self.now = self.service.renewal_due(ID)?;
        self.service.take_renewal(self.now, ID, Some(Moment::START))
    }
}

/// The status, the code and `info` of an answer, as it is written.
fn told(answer: &Answer) -> (u16, u64, Value) {
    let mut text = Vec::new();
    answer.write(&mut text);
    let json: Value = serde_json::from_slice(&text).unwrap();
    if let Answer::Refused(_) = answer {
        assert!(json["trackingId"].as_str().is_some_and(|id| id.len() == 36), "{json}");
        assert!(json["timestampUtc"].as_str().is_some_and(|time| time.ends_with('Z')), "{json}");
    }
    (answer.status().0, json["errorCode"].as_u64().unwrap_or(0), json["info"].clone())
}

#[track_caller]
fn refused(body: &str) -> (u16, u64) {
    let mut talk = device(|_| {});
    let (status, code, _) = told(&talk.send("1000", body));
    assert!(
        talk.issue().is_none() && talk.service.renewal_due(ID).is_none(),
        "nothing is pending: {body:.60}"
    );
    (status, code)
}

fn is_accepted(answer: &Answer) -> bool {
    answer.status() == Status::ACCEPTED
}

/// The certificates of an answer with 200.
fn certificates(answer: &Answer) -> Vec<Vec<u8>> {
    let Answer::Issued { certificates, .. } = answer else { panic!("{answer:?}") };
    certificates.iter().map(|der| der.to_vec()).collect()
}

#[test]
fn scenario_001_an_empty_body() {
    assert_eq!(refused(""), (400, 400_004));
}

#[test]
fn scenario_002_json_that_is_cut_off() {
    let text = good();
    assert_eq!(refused(&text[..text.len() / 2]), (400, 400_006));
}

#[test]
fn scenario_003_an_array() {
    assert_eq!(refused(&format!("[{}]", good())), (400, 400_004));
}

#[test]
fn scenario_004_an_empty_csr() {
    assert_eq!(refused(&body("")), (400, 400_004));
}

#[test]
fn scenario_005_a_csr_of_10_kilobytes() {
    assert_eq!(refused(&body(&"A".repeat(10 * 1024))), (400, 400_004));
}

#[test]
fn scenario_006_a_csr_that_is_no_base64() {
    assert_eq!(refused(&body("not base64!")), (400, 400_004));
}

#[test]
fn scenario_007_the_id_of_another_device() {
    assert_eq!(refused(&good().replace("\"dev-1\"", "\"dev-2\"")), (400, 400_004));
}

#[test]
fn scenario_008_an_empty_id() {
    assert_eq!(refused(&good().replace("\"dev-1\"", "\"\"")), (400, 400_004));
}

#[test]
fn scenario_009_an_unknown_member() {
    assert_eq!(refused(&good().replace('{', "{\"more\":1,")), (400, 400_004));
}

#[test]
fn scenario_010_a_replace_that_is_too_short() {
    assert_eq!(refused(&replacing("123")), (400, 400_004));
}

#[test]
fn scenario_011_a_replace_of_nothing() {
    let unknown = "6f1c7d1e-3c45-4e63-9a53-1f0a6f6f1b11";
    for (codes, code) in [(Codes::Y2025, 412_001), (Codes::Y2026, 412_005)] {
        let mut talk = device(|renewal| renewal.codes = codes);
        let (status, said, info) = told(&talk.send("1000", &replacing(unknown)));
        assert_eq!((status, said, info["requestId"].as_str()), (412, code, Some(unknown)));
    }
}

#[test]
fn scenario_012_base64_of_no_pkcs10() {
    for (codes, code) in [(Codes::Y2025, 400_037), (Codes::Y2026, 400_040)] {
        let mut talk = device(|renewal| renewal.codes = codes);
        assert!(is_accepted(&talk.send("1000", &body(&csr("anything")))));
        assert!(talk.issue().is_none());
        let (rid, answer) = talk.due().unwrap();
        let (status, said, info) = told(&answer);
        assert_eq!((&*rid, status, said), ("1000", 400, code));
        assert_eq!(info["credentialError"], "400000");
        assert!(info["credentialMessage"].is_string());
    }
}

#[test]
fn scenario_015_everything_is_right() {
    let mut talk = device(|_| {});
    let answer = talk.send("7", &good());
    let Answer::Accepted { correlation, expires_unix_ns } = answer else { panic!("{answer:?}") };
    let hours = (expires_unix_ns - talk.service.unix_nanos(talk.now)) / 3_600_000_000_000;
    assert_eq!(hours, 12);
    assert_eq!(talk.service.renewal_due(ID), None, "the issuer has not answered");
    let (call, leaf) = talk.issue().unwrap();
    let (rid, answer) = talk.due().unwrap();
    assert_eq!(&*rid, "7");
    assert_eq!(certificates(&answer), [leaf, b"issuing one".to_vec(), b"root one".to_vec()]);
    assert!(matches!(answer, Answer::Issued { correlation: same, .. } if same == correlation));
    assert_eq!(talk.connect(ID, &call), crate::service::Welcome::Accepted { delay: Span::ZERO });
    assert!(talk.due().is_none(), "an answer is told once");
}

#[test]
fn scenario_016_whoever_never_listens_hears_nothing() {
    let mut talk = device(|_| {});
    assert!(is_accepted(&talk.send("1000", &good())));
    talk.issue();
    talk.now = talk.service.renewal_due(ID).unwrap();
    assert_eq!(talk.service.take_renewal(talk.now, ID, None), None);
    let since = talk.now + Span::from_secs(1);
    assert_eq!(talk.service.take_renewal(since, ID, Some(since)), None, "it was lost when it was due");
}

#[test]
fn scenario_018_whoever_listens_again_in_time_hears_it() {
    for hold in [false, true] {
        let mut talk = device(|renewal| renewal.hold = hold);
        talk.send("1000", &good());
        talk.issue();
        let due = talk.service.renewal_due(ID).unwrap();
        let since = Moment::from_nanos(due.as_nanos() - 1);
        assert!(talk.service.take_renewal(due, ID, Some(since)).is_some());
    }
}

#[test]
fn an_answer_that_is_held_waits_for_whoever_listens_later() {
    for (hold, told) in [(false, false), (true, true)] {
        let mut talk = device(|renewal| renewal.hold = hold);
        talk.send("1000", &good());
        talk.issue();
        talk.now = talk.service.renewal_due(ID).unwrap();
        assert_eq!(talk.service.take_renewal(talk.now, ID, None), None);
        let later = talk.now + Span::from_secs(100);
        assert_eq!(talk.service.take_renewal(later, ID, Some(later)).is_some(), told);
    }
}

#[test]
fn scenario_022_a_request_after_the_certificate_of_the_one_before() {
    let mut talk = device(|_| {});
    let mut serials = Vec::new();
    for rid in ["1000", "1001"] {
        assert!(is_accepted(&talk.send(rid, &good())));
        serials.push(talk.issue().unwrap().0.serial);
        assert_eq!(&*talk.due().unwrap().0, rid);
    }
    assert_ne!(serials[0], serials[1]);
}

#[test]
fn scenario_023_of_two_requests_at_once_one_is_refused() {
    let mut talk = device(|_| {});
    assert!(is_accepted(&talk.send("1000", &good())));
    assert_eq!(talk.send("1001", &good()).status().0, 409);
    talk.issue();
    assert_eq!(&*talk.due().unwrap().0, "1000");
    assert!(talk.due().is_none());
}

/// Acceptance row 22.
#[test]
fn scenario_024_a_request_while_one_is_pending() {
    for (codes, code) in [(Codes::Y2025, 409_004), (Codes::Y2026, 409_005)] {
        let mut talk = device(|renewal| renewal.codes = codes);
        let Answer::Accepted { correlation, .. } = talk.send("1000", &good()) else { panic!() };
        talk.issue();
        let (status, said, info) = told(&talk.send("1001", &good()));
        assert_eq!((status, said, info["requestId"].as_str()), (409, code, Some("1000")));
        assert_eq!(info["correlationId"], Guid(correlation).to_string());
        assert!(info["operationExpires"].is_string());
        assert_eq!(&*talk.due().unwrap().0, "1000");
    }
}

/// Acceptance row 23.
#[test]
fn scenario_025_a_request_that_replaces_the_pending_one() {
    for replace in ["1000", "*"] {
        let mut talk = device(|_| {});
        talk.send("1000", &good());
        let (first, _) = talk.issue().unwrap();
        assert!(is_accepted(&talk.send("1001", &replacing(replace))), "{replace}");
        let (second, leaf) = talk.issue().unwrap();
        let (rid, answer) = talk.due().unwrap();
        assert_eq!((&*rid, &certificates(&answer)[0]), ("1001", &leaf));
        assert!(talk.due().is_none(), "the first is never told");
        assert_ne!(first.serial, second.serial);
    }
    let mut talk = device(|_| {});
    talk.send("7", &good());
    let (status, code, _) = told(&talk.send("1001", &replacing("7")));
    assert_eq!((status, code), (400, 400_004), "a name of one character cannot be replaced");
    assert!(is_accepted(&talk.send("1001", &replacing("*"))));
}

#[test]
fn an_issuer_that_answers_a_request_that_was_replaced_answers_nobody() {
    let mut talk = device(|_| {});
    talk.send("1000", &good());
    let first: IssuanceCall = talk.service.next_issuance().unwrap();
    talk.send("1001", &replacing("1000"));
    talk.service.certificate_issued(&first, Some(b"the first"));
    assert_eq!(talk.service.renewal_due(ID), None);
    let (_, leaf) = talk.issue().unwrap();
    assert_eq!(certificates(&talk.due().unwrap().1)[0], leaf);
}

/// Acceptance row 29.
#[test]
fn a_request_that_has_expired_is_no_longer_in_the_way() {
    let mut talk = device(|renewal| renewal.delay = Span::from_secs(13 * 3_600));
    talk.send("1000", &good());
    talk.issue();
    assert_eq!(talk.service.renewal_due(ID), None, "it is given up before it is due");
    talk.now += Span::from_secs(12 * 3_600 - 1);
    assert_eq!(talk.send("1001", &good()).status().0, 409);
    talk.now += Span::from_secs(1);
    assert!(is_accepted(&talk.send("1001", &good())));
}

#[test]
fn what_may_not_be_issued_fails_with_the_second_answer() {
    for (what, csr) in [
        ("another device's name", csr("request p256 dev-2")),
        ("a key that the policy does not take", csr("request rsa dev-1")),
    ] {
        let mut talk = device(|_| {});
        assert!(is_accepted(&talk.send("1000", &body(&csr))), "{what}");
        assert!(talk.issue().is_none(), "{what}");
        assert_eq!(told(&talk.due().unwrap().1).1, 400_040, "{what}");
    }
    let mut talk = Talk::with(|config| config.groups[0].enrollment.policy = None);
    let operation = talk.service.renew(talk.now, ID, "1000", good().as_bytes(), &Holder::default());
    assert!(is_accepted(&operation));
    assert_eq!(told(&talk.due().unwrap().1).1, 400_040, "no policy");
}

#[test]
fn an_issuer_that_fails_fails_the_renewal() {
    let mut talk = device(|_| {});
    talk.send("1000", &good());
    let call = talk.service.next_issuance().unwrap();
    talk.service.certificate_issued(&call, None);
    assert_eq!(told(&talk.due().unwrap().1).1, 400_040);
}

proptest::proptest! {
    /// Whatever comes in whatever order: one request of a device is pending at most, each is answered once more at most, and
    /// under its own name.
    #[test]
    fn any_conversation_answers_each_request_once(steps in proptest::collection::vec((0..6u8, 0..20_000u64), 1..60)) {
        let mut talk = device(|_| {});
        let mut open: Option<String> = None;
        for (number, (kind, pass_ms)) in steps.into_iter().enumerate() {
            talk.now += Span::from_millis(pass_ms);
            let rid = format!("rid-{number}");
            match kind {
                0 | 1 => {
                    let answer = talk.send(&rid, &good());
                    let due = talk.service.renewal_due(ID);
                    if is_accepted(&answer) {
                        open = Some(rid);
                    } else {
                        proptest::prop_assert!(open.is_some(), "refused without a reason, due {due:?}");
                    }
                }
                2 => {
                    proptest::prop_assert!(is_accepted(&talk.send(&rid, &replacing("*"))));
                    open = Some(rid);
                }
                3 => drop(talk.issue()),
                _ => {
                    if let Some((rid, answer)) = talk.service.take_renewal(talk.now, ID, Some(Moment::START)) {
                        let asked = open.take();
                        proptest::prop_assert_eq!(Some(&*rid), asked.as_deref());
                        proptest::prop_assert_eq!(answer.status(), Status::OK);
                    }
                }
            }
        }
    }
}
