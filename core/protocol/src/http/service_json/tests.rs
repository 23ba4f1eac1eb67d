//! Bodies of any kind, and what is written must be read again.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::enrollment_api::{Document, DraftAttestation, Kind};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z0-9+/= -]{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The members that an enrollment can have.
const MEMBERS: [&str; 16] = [
    "registrationId",
    "enrollmentGroupId",
    "deviceId",
    "registrationState",
    "optionalDeviceInformation",
    "attestation",
    "capabilities",
    "iotHubHostName",
    "initialTwin",
    "etag",
    "provisioningStatus",
    "reprovisionPolicy",
    "allocationPolicy",
    "iotHubs",
    "customAllocationDefinition",
    "createdDateTimeUtc",
];

proptest! {
    #[test]
    fn any_bytes_read_without_a_panic(body: Vec<u8>, text in "\\PC{0,100}") {
        for body in [&body[..], text.as_bytes()] {
            read_draft(Kind::Individual, None, body);
            read_bulk(Kind::Group, Some("application/json"), body);
            read_query(None, body);
        }
    }

    #[test]
    fn members_of_any_kind_read_without_a_panic(values in proptest::collection::vec((0..MEMBERS.len(), any_json()), 0..8)) {
        let mut body = json!({
            "registrationId": "dev",
            "enrollmentGroupId": "group",
            "attestation": { "type": "symmetricKey" },
        });
        for (at, value) in values {
            body[MEMBERS[at]] = value;
        }
        for kind in [Kind::Individual, Kind::Group] {
            read_draft(kind, None, body.to_string().as_bytes());
            let bulk = json!({ "mode": "create", "enrollments": [body], "enrollmentGroups": [body] });
            read_bulk(kind, None, bulk.to_string().as_bytes());
        }
    }

    #[test]
    fn attestations_of_any_kind_read_without_a_panic(kind in "(symmetricKey|x509|tpm|none)", inner in any_json()) {
        let attestation = json!({ "type": kind, "x509": inner, "symmetricKey": inner, "tpm": inner });
        for members in [vec!["x509", "tpm"], vec!["x509", "symmetricKey"], vec!["symmetricKey", "tpm"], vec![]] {
            let mut attestation = attestation.clone();
            for member in members {
                attestation.as_object_mut().unwrap().remove(member);
            }
            let body = json!({ "registrationId": "dev", "attestation": attestation });
            read_draft(Kind::Individual, None, body.to_string().as_bytes());
        }
    }
}

#[test]
fn certificates_come_in_three_spellings() {
    let pem = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n";
    // The last one is the base64 of the PEM file, as tools write it that read a file and encode it.
    for text in [
        pem.to_owned(),
        "QUJDREVG".to_owned(),
        base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pem),
    ] {
        let x509 = json!({ "clientCertificates": { "primary": { "certificate": text } } });
        let body = json!({ "registrationId": "d", "attestation": { "type": "x509", "x509": x509 } });
        let Document::Read(draft) = read_draft(Kind::Individual, None, body.to_string().as_bytes()) else {
            panic!("{text}")
        };
        let DraftAttestation::ClientCertificates(given) = draft.attestation else { panic!("{text}") };
        assert_eq!(given.primary.as_deref(), Some(&b"ABCDEF"[..]), "{text}");
    }
}

#[test]
fn a_body_with_another_media_type_is_told_apart() {
    assert_eq!(read_draft(Kind::Group, Some("text/plain"), b"{}"), Document::WrongMediaType);
    assert_eq!(read_draft(Kind::Group, Some("application/json; charset=utf-8"), b"{}"), Document::Unreadable);
    assert_eq!(read_draft(Kind::Group, None, b"[]"), Document::Unreadable);
}
