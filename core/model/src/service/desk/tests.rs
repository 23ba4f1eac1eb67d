//! Conversations of operators with the service, through its JSON (`dps` 16).

use fleetstorm_protocol::Body;
use fleetstorm_protocol::enrollment::CaCertificate;
use fleetstorm_protocol::enrollment_api::*;
use fleetstorm_protocol::http::{read_bulk, read_draft, read_query, write_administered};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::service::access::OWNER;
use crate::service::testing::{HOST, OWNER_KEY, READER_KEY, SCOPE, Signed, Talk, Worded, config, hub};
use crate::service::{self, Answer, NamedCertificate, Service};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

fn owner() -> Signed {
    Signed { resource: HOST.into(), policy: OWNER, key: OWNER_KEY.into(), expires: u64::MAX }
}

/// What an answer says: its status, its six-digit code or 0, and its JSON.
struct Said {
    status: u16,
    code: u32,
    json: Value,
    next: Option<String>,
}

impl Talk {
    fn operate(&mut self, call: Call<'_>, if_match: Option<&str>, evidence: &Signed) -> Said {
        let request = Request { api_version: Some("2021-10-01"), host: HOST, if_match, call };
        let answer = self.service.administer(self.now, &request, evidence, &Worded);
        let mut text = Vec::new();
        write_administered(&answer.content, &mut text);
        let json: Value = serde_json::from_slice(&text).unwrap_or_default();
        let code = json["errorCode"].as_u64().unwrap_or(0) as u32;
        let next = match answer.content {
            Content::Resources(_, _, next) | Content::Registrations(_, next) => next,
            _ => None,
        };
        Said { status: answer.status.0, code, json, next }
    }

    fn own(&mut self, call: Call<'_>, if_match: Option<&str>) -> Said {
        self.operate(call, if_match, &owner())
    }

    fn put(&mut self, body: &Value, if_match: Option<&str>) -> Said {
        let (kind, id) = match &body["registrationId"] {
            Value::String(id) => (Kind::Individual, id.clone()),
            _ => (Kind::Group, body["enrollmentGroupId"].as_str().unwrap_or("").to_owned()),
        };
        let draft = read_draft(kind, Some("application/json"), body.to_string().as_bytes());
        self.own(Call::Put(kind, &id, Box::new(draft)), if_match)
    }

    fn bulk(&mut self, body: &Value) -> Said {
        let bulk = read_bulk(Kind::Individual, None, body.to_string().as_bytes());
        self.own(Call::Bulk(Kind::Individual, bulk), None)
    }
}

fn symmetric(id: &str) -> Value {
    let attestation =
        json!({ "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } });
    json!({ "registrationId": id, "attestation": attestation })
}

fn talk() -> Talk {
    Talk::with(config())
}

#[test]
fn an_enrollment_is_created_read_and_deleted() {
    let mut talk = talk();
    let mut wanted = symmetric("Dev-1");
    for (name, value) in [
        ("deviceId", json!("thermostat")),
        ("optionalDeviceInformation", json!({ "room": 4 })),
        ("capabilities", json!({ "iotEdge": true })),
        ("iotHubHostName", json!(hub(2))),
        ("initialTwin", json!({ "tags": { "a": 1 }, "properties": { "desired": {} } })),
        ("provisioningStatus", json!("disabled")),
        ("reprovisionPolicy", json!({ "updateHubAssignment": true, "migrateDeviceData": false })),
        ("allocationPolicy", json!("static")),
        ("iotHubs", json!([hub(2)])),
    ] {
        wanted[name] = value;
    }
    let created = talk.put(&wanted, None);
    assert_eq!(created.status, 200, "{}", created.json);
    for (name, value) in wanted.as_object().unwrap() {
        if name == "attestation" {
            assert_eq!(created.json[name], json!({ "type": "symmetricKey" }), "no keys");
        } else {
            assert_eq!(&created.json[name], value, "{name}");
        }
    }
    let etag = created.json["etag"].as_str().unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert_eq!(created.json["createdDateTimeUtc"], created.json["lastUpdatedDateTimeUtc"]);
    let read = talk.own(Call::Get(Kind::Individual, "dEV-1"), None);
    assert_eq!((read.status, &read.json), (200, &created.json));
    let keys = talk.own(Call::Mechanism(Kind::Individual, "dev-1"), None);
    assert_eq!(keys.json["symmetricKey"], json!({ "primaryKey": KEY, "secondaryKey": KEY }));
    assert_eq!(talk.own(Call::Delete(Kind::Individual, "dev-1"), None).status, 204);
    assert_eq!(talk.own(Call::Delete(Kind::Individual, "dev-1"), None).code, 404_201);
    assert_eq!(talk.own(Call::Get(Kind::Individual, "dev-1"), None).code, 404_201);
    assert_eq!(talk.own(Call::Get(Kind::Group, "dev-1"), None).code, 404_204);
}

#[test]
fn keys_that_nobody_brings_are_made_and_kept() {
    let mut talk = talk();
    let body = json!({ "enrollmentGroupId": "g", "attestation": { "type": "symmetricKey" } });
    let created = talk.put(&body, None);
    assert_eq!(created.status, 200);
    let keys = talk.own(Call::Mechanism(Kind::Group, "g"), None).json;
    let (primary, secondary) = (&keys["symmetricKey"]["primaryKey"], &keys["symmetricKey"]["secondaryKey"]);
    assert_eq!(primary.as_str().unwrap().len(), 88, "64 bytes");
    assert_ne!(primary, secondary);
    // What a client reads it may write back: the keys that it cannot see stay.
    assert_eq!(talk.put(&created.json, created.json["etag"].as_str()).status, 200);
    assert_eq!(talk.own(Call::Mechanism(Kind::Group, "g"), None).json, keys);
}

#[test]
fn certificates_are_shown_as_facts() {
    let mut talk = talk();
    // base64 of `certificate one`.
    let certificate = json!({ "certificate": "Y2VydGlmaWNhdGUgb25l" });
    let x509 = |kind: &str| json!({ "type": "x509", "x509": { kind: { "primary": certificate } } });
    let leaf = json!({ "registrationId": "d", "attestation": x509("clientCertificates") });
    let created = talk.put(&leaf, None);
    let info = &created.json["attestation"]["x509"]["clientCertificates"]["primary"]["info"];
    assert_eq!((&info["subjectName"], info.as_object().unwrap().len()), (&json!("CN=one"), 8));
    let group = json!({ "enrollmentGroupId": "g", "attestation": x509("signingCertificates") });
    let created = talk.put(&group, None);
    let signer = &created.json["attestation"]["x509"]["signingCertificates"]["primary"];
    assert_eq!(signer["info"]["subjectName"], "CN=one");
    assert_eq!(talk.put(&created.json, Some("*")).status, 200, "what was read can be written back");
    for (id, wrong) in [
        ("registrationId", x509("signingCertificates")),
        ("enrollmentGroupId", x509("clientCertificates")),
        ("registrationId", x509("caReferences")),
        ("registrationId", json!({ "type": "x509", "x509": { "clientCertificates": {} } })),
        (
            "registrationId",
            json!({ "type": "x509", "x509": { "clientCertificates": { "primary": { "certificate": "AAAA" } } } }),
        ),
        ("enrollmentGroupId", json!({ "type": "tpm", "tpm": { "endorsementKey": "AAAA" } })),
    ] {
        assert_eq!(talk.put(&json!({ id: "x", "attestation": wrong }), None).code, 400_004, "{wrong}");
    }
    let tpm = json!({ "registrationId": "t", "attestation": { "type": "tpm", "tpm": { "endorsementKey": "AAAA" } } });
    assert_eq!(talk.put(&tpm, None).json["attestation"], tpm["attestation"]);
    for (endorsement, storage_root) in
        [("bWFsZm9ybWVk", "AAAA"), ("AAAA", "bWFsZm9ybWVk"), ("not base64", "AAAA")]
    {
        let keys = json!({ "endorsementKey": endorsement, "storageRootKey": storage_root });
        let tpm = json!({ "registrationId": "bad", "attestation": { "type": "tpm", "tpm": keys } });
        assert_eq!(talk.put(&tpm, None).code, 400_004, "{tpm}");
    }
}

/// The table of `dps` 16.3.
#[test]
fn etags_guard_what_is_there() {
    let mut talk = talk();
    let body = symmetric("dev");
    let first = talk.put(&body, None).json["etag"].as_str().unwrap().to_owned();
    assert_eq!(talk.put(&body, None).code, 409_201, "it exists");
    let second = talk.put(&body, Some(&first)).json["etag"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(talk.put(&body, Some(&first)).code, 412_201, "stale");
    assert_eq!(talk.put(&body, Some(second.trim_matches('"'))).status, 200, "without its quotes");
    assert_eq!(talk.put(&body, Some("*")).status, 200);
    assert_eq!(talk.put(&symmetric("other"), Some(&first)).code, 412_201, "there is nothing to match");
    let delete = || Call::Delete(Kind::Individual, "dev");
    assert_eq!(talk.own(delete(), Some(&second)).code, 412_201);
    assert_eq!(talk.own(delete(), None).status, 204);
    assert_ne!(talk.put(&body, None).json["etag"], json!(first), "another enrollment has another tag");
}

/// The column of the service plane in `dps` 16.4.
#[test]
fn every_mistake_has_its_code() {
    let mut talk = talk();
    talk.put(&symmetric("dev"), None);
    let mut ask = |call: Call<'_>, evidence: &Signed| talk.operate(call, None, evidence).code;
    let get = || Call::Get(Kind::Individual, "dev");
    for (what, evidence, code) in [
        ("nothing wrong", owner(), 0),
        ("another host", Signed { resource: "other.example".into(), ..owner() }, 401_000),
        ("expired", Signed { expires: 5, ..owner() }, 401_000),
        ("no such policy", Signed { policy: "nobody", ..owner() }, 401_000),
        ("another's key", Signed { key: READER_KEY.into(), ..owner() }, 401_000),
        ("no policy", Signed { policy: "", ..owner() }, 401_000),
    ] {
        assert_eq!(ask(get(), &evidence), code, "{what}");
    }
    let reader = Signed { policy: "reader", key: READER_KEY.into(), ..owner() };
    assert_eq!(ask(get(), &reader), 0);
    assert_eq!(ask(Call::Delete(Kind::Individual, "dev"), &reader), 401_000, "reading is not writing");
    assert_eq!(ask(Call::GetRegistration("dev"), &reader), 401_000);
    let put = |document| Call::Put(Kind::Individual, "dev", Box::new(document));
    assert_eq!(ask(put(Document::WrongMediaType), &owner()), 415_000);
    assert_eq!(ask(put(Document::Unreadable), &owner()), 400_004);
    let other = read_draft(Kind::Individual, None, symmetric("other").to_string().as_bytes());
    assert_eq!(ask(put(other), &owner()), 400_004, "the body is of another id");
    assert_eq!(ask(Call::GetRegistration("dev"), &owner()), 404_202);
    assert_eq!(ask(Call::WrongMethod, &owner()), 405_000);
    assert_eq!(ask(Call::NoSuchPath, &owner()), 404_000);
    let page = Page { max_items: Some("0"), continuation: None };
    assert_eq!(ask(Call::Query(Kind::Individual, Document::Read(()), page), &owner()), 400_004);
    let page = Page { max_items: None, continuation: Some("!") };
    assert_eq!(ask(Call::Query(Kind::Individual, Document::Read(()), page), &owner()), 400_004);
    let query = Call::QueryRegistrations("nobody", Document::Read(()), Page::default());
    assert_eq!(ask(query, &owner()), 404_204);
    let request = Request { api_version: Some("2030-01-01"), host: HOST, if_match: None, call: get() };
    let answer = talk.service.administer(talk.now, &request, &owner(), &Worded);
    assert_eq!(answer.status.0, 400);
    for body in [
        json!({ "registrationId": "bad id", "attestation": { "type": "symmetricKey" } }),
        json!({ "registrationId": "x" }),
        json!({ "registrationId": "x", "attestation": { "type": "none" } }),
        json!({ "registrationId": "x", "attestation": { "type": "symmetricKey" }, "iotHubHostName": "elsewhere" }),
        json!({ "registrationId": "x", "attestation": { "type": "symmetricKey" }, "allocationPolicy": "custom" }),
        json!({ "registrationId": "x", "attestation": { "type": "symmetricKey" }, "allocationPolicy": "static" }),
        json!({ "registrationId": "x", "attestation": { "type": "symmetricKey" }, "initialTwin": 5 }),
        json!({ "registrationId": "x", "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": "AAAA" } } }),
    ] {
        assert_eq!(talk.put(&body, None).code, 400_004, "{body}");
    }
}

#[test]
fn a_bulk_request_does_what_it_can() {
    let mut talk = talk();
    let items = |mode: &str, items: Vec<Value>| json!({ "mode": mode, "enrollments": items });
    let done = talk.bulk(&items("create", (0..10).map(|n| symmetric(&format!("dev-{n}"))).collect()));
    assert_eq!(done.json, json!({ "isSuccessful": true, "errors": [] }));
    let broken = json!({ "registrationId": "broken" });
    let done = talk.bulk(&items("create", vec![symmetric("dev-3"), broken, symmetric("new")]));
    assert_eq!(done.json["isSuccessful"], false);
    let codes: Vec<_> = done.json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (&error["registrationId"], &error["errorCode"]))
        .collect();
    assert_eq!(codes, [(&json!("dev-3"), &json!(409_201)), (&json!("broken"), &json!(400_004))]);
    assert_eq!(talk.own(Call::Get(Kind::Individual, "new"), None).status, 200);
    let done = talk.bulk(&items("update", vec![symmetric("dev-1"), symmetric("absent")]));
    assert_eq!(done.json["errors"][0]["errorCode"], 404_201);
    let mut stale = talk.own(Call::Get(Kind::Individual, "dev-2"), None).json;
    let done = talk.bulk(&items("updateIfMatchETag", vec![stale.clone()]));
    assert_eq!(done.json["isSuccessful"], true, "{}", done.json);
    stale["deviceId"] = json!("changed");
    let done = talk.bulk(&items("updateIfMatchETag", vec![stale]));
    assert_eq!(done.json["errors"][0]["errorCode"], 412_201);
    let done = talk.bulk(&items("delete", vec![json!({ "registrationId": "dev-1" })]));
    assert_eq!(done.json["isSuccessful"], true);
    for wrong in [
        items("create", (0..11).map(|n| symmetric(&format!("more-{n}"))).collect()),
        items("create", vec![]),
        items("sometimes", vec![symmetric("x")]),
        json!({ "mode": "create" }),
        items("create", vec![json!({})]),
    ] {
        assert_eq!(talk.bulk(&wrong).code, 400_004, "{wrong}");
    }
}

#[test]
fn pages_together_are_the_whole() {
    let mut talk = talk();
    for n in 0..25 {
        talk.put(&symmetric(&format!("dev-{n:02}")), None);
    }
    let mut next: Option<String> = None;
    let (mut sizes, mut seen) = (Vec::new(), Vec::new());
    loop {
        let page = Page { max_items: Some("10"), continuation: next.as_deref() };
        let said = talk.own(Call::Query(Kind::Individual, Document::Read(()), page), None);
        let items = said.json.as_array().unwrap();
        sizes.push(items.len());
        seen.extend(items.iter().map(|item| item["registrationId"].as_str().unwrap().to_owned()));
        next = said.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert!(seen.is_sorted() && seen.len() == 25);
}

#[test]
fn registrations_of_a_group_are_read_and_deleted() {
    let mut talk = talk();
    for n in 0..5 {
        talk.register(&format!("dev-{n}"));
    }
    let page = |next| Page { max_items: Some("3"), continuation: next };
    let query = |page| Call::QueryRegistrations("KEYS", Document::Read(()), page);
    let first = talk.own(query(page(None)), None);
    assert_eq!(first.json.as_array().unwrap().len(), 3);
    let second = talk.own(query(page(first.next.as_deref())), None);
    assert_eq!((second.json.as_array().unwrap().len(), second.next), (2, None));
    let one = &talk.own(Call::GetRegistration("dev-3"), None).json;
    assert_eq!((&one["status"], one["assignedHub"].is_string()), (&json!("assigned"), true));
    let etag = one["etag"].as_str().unwrap().to_owned();
    talk.register("dev-3");
    let delete = || Call::DeleteRegistration("dev-3");
    assert_eq!(talk.own(delete(), Some(&etag)).code, 412_201, "it has registered since");
    assert_eq!(talk.own(delete(), None).status, 204);
    assert_eq!(talk.own(delete(), None).code, 404_202);
    assert_eq!(talk.service.registrations(), 4);
    let created = talk.register("dev-3");
    assert_eq!(created.state, Some(fleetstorm_protocol::RegistrationState::Assigned));
    // An individual enrollment shows the registration of its device.
    talk.put(&symmetric("dev-3"), None);
    let shown = talk.own(Call::Get(Kind::Individual, "dev-3"), None).json;
    assert_eq!(shown["registrationState"]["registrationId"], "dev-3");
}

#[test]
fn a_device_whose_registration_is_deleted_is_still_at_its_hub() {
    use crate::chaos::HubState;
    use crate::service::Welcome;
    use fleetstorm_protocol::Substatus;
    let mut config = config();
    config.groups[0].enrollment.initial_twin = Some(std::sync::Arc::new(json!({ "tags": { "a": 1 } })));
    for roster in [false, true] {
        let mut talk = Talk::with(config.clone());
        if roster {
            talk.service = Service::with_roster(config.clone(), "dev-", 3).unwrap();
        }
        let id = "dev-000001";
        let hub = |talk: &mut Talk, id: &str| {
            let registration = talk.register(id);
            let host = registration.assigned_hub.unwrap();
            (talk.service.hub_at(&host).unwrap(), host, registration.substatus)
        };
        let (place, host, substatus) = hub(&mut talk, id);
        assert_eq!(substatus, Some(Substatus::InitialAssignment));
        assert_eq!(talk.own(Call::DeleteRegistration(id), None).status, 204);
        let device = Signed {
            resource: format!("{host}/devices/{id}"),
            policy: "",
            key: b"group".to_vec(),
            expires: u64::MAX,
        };
        let welcome = |talk: &mut Talk, hub| talk.service.connect_hub(talk.now, hub, id, &device);
        assert!(matches!(welcome(&mut talk, place), Welcome::Accepted { .. }), "nobody has told the hub");
        assert!(matches!(welcome(&mut talk, (place + 1) % 3), Welcome::Refused(_)));
        assert!(talk.service.twin(id).is_some());
        // As long as it has not registered again.
        let again = hub(&mut talk, &id.to_uppercase());
        assert_eq!(again, (place, host.clone(), Some(Substatus::ReprovisionedToInitialAssignment)));
        assert!(talk.service.twin(id).is_some());
        // Deleted once more, and its hub gone: it is new where it comes.
        assert_eq!(talk.own(Call::DeleteRegistration(id), None).status, 204);
        talk.service.set_hub_state(place, Some(HubState::Unlinked));
        let moved = hub(&mut talk, id);
        assert_eq!((moved.0 != place, moved.2), (true, Some(Substatus::InitialAssignment)));
        // Deleted before it had its hub: there is nothing to find.
        talk.start("dev-000002", None);
        assert_eq!(talk.own(Call::DeleteRegistration("dev-000002"), None).status, 204);
        talk.pass(10);
        assert_eq!(hub(&mut talk, "dev-000002").2, Some(Substatus::InitialAssignment));
    }
}

#[test]
fn a_device_of_the_roster_whose_registration_is_deleted_starts_anew() {
    let mut talk = Talk::with(config());
    talk.service = Service::with_roster(config(), "dev-", 3).unwrap();
    let first = talk.start("dev-000001", None);
    assert_eq!(talk.own(Call::DeleteRegistration("dev-000001"), None).status, 204);
    assert_eq!(talk.own(Call::GetRegistration("dev-000001"), None).code, 404_202);
    assert_eq!(talk.service.registrations(), 0);
    let resource = format!("{SCOPE}/registrations/dev-000001");
    let device = Signed { resource, policy: "", key: b"group".to_vec(), expires: u64::MAX };
    let by_number =
        |talk: &mut Talk, query: service::Query<'_>| talk.service.ask(talk.now, 1, query, &device).answer;
    let gone = by_number(&mut talk, service::Query::Poll(&first));
    assert!(matches!(gone, Answer::Refused { code: 404_202, .. }), "{gone:?}");
    let anew = by_number(&mut talk, service::Query::Register);
    let Body::Operation { id: Some(second), .. } = talk.service.reply(talk.now, &anew).body else {
        panic!("{anew:?}")
    };
    assert_ne!(second, first, "an operation's id is never given twice");
    talk.pass(5);
    let registration = talk.poll("DEV-000001", &second).unwrap();
    assert_eq!(registration.registration_id, "dev-000001");
    assert_eq!(talk.service.registrations(), 1);
}

#[test]
fn a_device_meets_the_enrollment_as_it_is_now() {
    let mut talk = talk();
    let operation = talk.start("dev", None);
    talk.pass(5);
    assert_eq!(talk.own(Call::Delete(Kind::Group, "keys"), None).status, 204);
    let reply = talk.ask("dev", crate::service::Call::Poll(operation));
    assert_eq!(reply.status.0, 401, "its enrollment is gone");
    assert_eq!(talk.own(Call::GetRegistration("dev"), None).status, 200, "its registration is not");
}

#[test]
fn the_quota_of_operations_is_its_own() {
    let mut config = config();
    config.throttle.operations = crate::service::throttle::Model::TokenBucket { rate_per_s: 1.0, burst: 3.0 };
    let mut talk = Talk::with(config);
    let get = || Call::Get(Kind::Group, "keys");
    let statuses: Vec<u16> = (0..4).map(|_| talk.own(get(), None).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let stranger = Signed { policy: "nobody", ..owner() };
    assert_eq!(talk.operate(get(), None, &stranger).status, 401, "who is not known has no quota");
    assert_eq!(talk.register("dev").registration_id, "dev", "devices have another quota");
    assert_eq!(talk.own(get(), None).status, 200);
}

#[test]
fn queries_are_read() {
    let read = |text: &str| read_query(None, json!({ "query": text }).to_string().as_bytes());
    for text in ["SELECT * FROM enrollments", "select *  from enrollmentGroups;", "*", "SELECT *"] {
        assert_eq!(read(text), Document::Read(()), "{text}");
    }
    for text in ["", "SELECT", "SELECT deviceId FROM enrollments", "SELECT * FROM elsewhere", "DROP TABLE"] {
        assert_eq!(read(text), Document::Unreadable, "{text}");
    }
    assert_eq!(read_query(Some("text/plain"), b"{}"), Document::WrongMediaType);
}

/// The members of an enrollment, each with values that it may have and with some that it may not.
fn any_enrollment() -> impl Strategy<Value = Value> {
    let certificate = json!({ "certificate": "Y2VydGlmaWNhdGUgYQ==" });
    let attestations = [
        json!({ "type": "symmetricKey" }),
        json!({ "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY } }),
        json!({ "type": "symmetricKey", "symmetricKey": { "primaryKey": "short" } }),
        json!({ "type": "x509", "x509": { "clientCertificates": { "primary": certificate } } }),
        json!({ "type": "x509", "x509": { "signingCertificates": { "primary": certificate, "secondary": certificate } } }),
        json!({ "type": "x509", "x509": { "caReferences": { "primary": "held", "secondary": "HELD" } } }),
        json!({ "type": "x509", "x509": { "caReferences": { "primary": "absent" } } }),
        json!({ "type": "tpm", "tpm": { "endorsementKey": "QUJD", "storageRootKey": "QUJD" } }),
        json!({ "type": "tpm", "tpm": {} }),
        json!({ "type": "none" }),
        json!({}),
        Value::Null,
    ];
    let members: [(&str, Vec<Value>); 10] = [
        ("deviceId", vec![json!("thermostat"), json!(""), json!(5)]),
        ("optionalDeviceInformation", vec![json!({ "room": 4 }), json!({}), json!([])]),
        ("capabilities", vec![json!({ "iotEdge": true }), json!({}), json!({ "iotEdge": 1 })]),
        ("iotHubHostName", vec![json!(hub(2)), json!(""), json!("elsewhere")]),
        (
            "initialTwin",
            vec![json!({ "tags": { "a": 1 } }), json!({ "properties": { "desired": 1 } }), json!("x")],
        ),
        ("provisioningStatus", vec![json!("disabled"), json!("enabled"), json!("on")]),
        (
            "reprovisionPolicy",
            vec![json!({ "updateHubAssignment": false, "migrateDeviceData": false }), json!({})],
        ),
        (
            "allocationPolicy",
            vec![json!("static"), json!("hashed"), json!("custom"), json!("geoLatency"), json!("x")],
        ),
        ("iotHubs", vec![json!([hub(2)]), json!([]), json!(["elsewhere"]), json!(hub(2))]),
        (
            "customAllocationDefinition",
            vec![
                json!({ "webhookUrl": "https://x.example/", "apiVersion": "2021-10-01" }),
                json!({ "webhookUrl": 1 }),
            ],
        ),
    ];
    let id = prop_oneof![Just(json!("x-1")), Just(json!("bad id")), Just(json!(7))];
    let drawn = proptest::collection::vec((0..members.len(), any::<prop::sample::Index>()), 0..5);
    (any::<bool>(), id, prop::sample::select(attestations.to_vec()), drawn).prop_map(move |(own, id, attestation, drawn)| {
        let mut body = json!({ if own { "registrationId" } else { "enrollmentGroupId" }: id, "attestation": attestation });
        for (at, which) in drawn {
            let (name, values) = &members[at];
            body[*name] = which.get(values).clone();
        }
        body
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is asked for is made or is a mistake of the client's, and what is shown can be written back.
    #[test]
    fn an_enrollment_is_refused_or_is_what_it_says(body in any_enrollment()) {
        let mut config = config();
        let certificate = CaCertificate::verified(*b"certificate held");
        config.certificates.push(NamedCertificate { name: "held".into(), certificate });
        let mut talk = Talk::with(config);
        let made = talk.put(&body, None);
        prop_assert!(made.status == 200 || made.code == 400_004, "{} {body}", made.json);
        if made.status == 200 {
            let again = talk.put(&made.json, made.json["etag"].as_str());
            prop_assert_eq!(again.status, 200, "{}", &made.json);
            let stripped = |mut json: Value| {
                let members = json.as_object_mut().unwrap();
                for changes in ["etag", "lastUpdatedDateTimeUtc"] {
                    members.remove(changes);
                }
                json
            };
            prop_assert_eq!(stripped(again.json), stripped(made.json));
        }
    }
}
