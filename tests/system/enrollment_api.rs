//! The shapes of the enrollment API's answers, as they stand on the wire, and the headers of its pages. What Microsoft's
//! own client makes of them is the business of `tests/conformance`.

use serde_json::{Value, json};

use crate::harness::{Bench, Mock, Response, Wire};

/// Bytes 00 to 3F, the owner's key, and a token that is signed with it until 2030.
pub(crate) const KEY: &str =
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
pub(crate) const OWNER: &str = "SharedAccessSignature sr=global.azure-devices-provisioning.net\
                     &sig=BN%2Fv5ojLA3X%2B9kb5KXnRzBD8BZv%2BUWejLDFGYCxlmas%3D&se=1900000000&skn=provisioningserviceowner";
const DEVICE: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                      &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";

/// What an enrollment may say, by the service's reference for 2021-10-01. Nothing else is in it.
fn schema(of_group: bool) -> jsonschema::Validator {
    let text = json!({ "type": "string" });
    let object =
        |members: Value| json!({ "type": "object", "additionalProperties": false, "properties": members });
    let pair = |of: &Value| object(json!({ "primary": of, "secondary": of }));
    let info = json!({
        "type": "object",
        "additionalProperties": false,
        "required": [
            "subjectName", "sha1Thumbprint", "sha256Thumbprint", "issuerName", "notBeforeUtc", "notAfterUtc",
            "serialNumber", "version",
        ],
        "properties": {
            "subjectName": text, "issuerName": text, "serialNumber": text, "version": { "type": "integer" },
            "sha1Thumbprint": { "type": "string", "pattern": "^[0-9A-F]{40}$" },
            "sha256Thumbprint": { "type": "string", "pattern": "^[0-9A-F]{64}$" },
            "notBeforeUtc": { "$ref": "#/$defs/time" }, "notAfterUtc": { "$ref": "#/$defs/time" },
        },
    });
    let certificates = pair(&object(json!({ "info": info })));
    let attestation = json!({
        "type": "object",
        "required": ["type"],
        "additionalProperties": false,
        "properties": {
            "type": { "enum": ["none", "tpm", "x509", "symmetricKey"] },
            "tpm": object(json!({ "endorsementKey": text, "storageRootKey": text })),
            "x509": object(json!({
                "clientCertificates": certificates, "signingCertificates": certificates, "caReferences": pair(&text),
            })),
        },
    });
    let registration = json!({
        "type": "object",
        "required": ["registrationId", "status", "createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag"],
        "properties": {
            "status": { "enum": ["unassigned", "assigning", "assigned", "failed", "disabled"] },
            "createdDateTimeUtc": { "$ref": "#/$defs/time" }, "etag": { "$ref": "#/$defs/etag" },
        },
    });
    let mut members = json!({
        "attestation": attestation,
        "capabilities": object(json!({ "iotEdge": { "type": "boolean" } })),
        "iotHubHostName": text,
        "initialTwin": { "type": "object" },
        "etag": { "$ref": "#/$defs/etag" },
        "provisioningStatus": { "enum": ["enabled", "disabled"] },
        "reprovisionPolicy": object(json!({
            "updateHubAssignment": { "type": "boolean" }, "migrateDeviceData": { "type": "boolean" },
        })),
        "createdDateTimeUtc": { "$ref": "#/$defs/time" },
        "lastUpdatedDateTimeUtc": { "$ref": "#/$defs/time" },
        "allocationPolicy": { "enum": ["hashed", "geoLatency", "static", "custom"] },
        "iotHubs": { "type": "array", "items": text },
        "customAllocationDefinition": object(json!({ "webhookUrl": text, "apiVersion": text })),
    });
    let id = if of_group { "enrollmentGroupId" } else { "registrationId" };
    members[id] = text.clone();
    if !of_group {
        members["deviceId"] = text.clone();
        members["registrationState"] = registration;
        members["optionalDeviceInformation"] = json!({ "type": "object" });
    }
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": [id, "attestation", "etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc", "provisioningStatus", "reprovisionPolicy"],
        "properties": members,
        "$defs": {
            "time": { "type": "string", "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,9})?Z$" },
            "etag": { "type": "string", "pattern": "^\".+\"$" },
        },
    });
    jsonschema::validator_for(&schema).unwrap()
}

struct Api {
    _bench: Bench,
    _mock: Mock,
    wire: Wire,
}

impl Api {
    fn new() -> Self {
        let bench = Bench::new();
        bench.file("key", KEY);
        let ca = rcgen::CertificateParams::default();
        bench.file("ca.pem", &ca.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem());
        let mock = Mock::start(
            &bench,
            "id_scope = \"0ne00ABCDEF\"\nassignment = { kind = \"constant\", delay = \"0s\" }\n\
             hub = [{ host = \"hub-1.azure-devices.net\" }]\n[throttle]\nprofile = \"unlimited\"\n\
             [[certificate]]\nname = \"ca-1\"\nfile = \"ca.pem\"\n\
             [[access_policy]]\nname = \"provisioningserviceowner\"\nprimary_key = { file = \"key\" }\n",
        );
        let wire = Wire::open(&mock);
        Self { _bench: bench, _mock: mock, wire }
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let own = [("Content-Type", "application/json"), ("Authorization", OWNER)];
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let target = format!("{path}?api-version=2021-10-01");
        self.wire.request(method, &target, &[&own[..], headers].concat(), &text)
    }
}

/// The public part of an endorsement key, as a device of Microsoft's SDK for Node sends it.
pub(crate) const ENDORSEMENT_KEY: &str = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAwd1/m9+iZcSdQSlqe7G7\
    5aDzZj1CasFvBqcKFm6eZbhDgLL5ALhLIwmw2OxpXrJ2EoAe3Wg5VP5FFs/YNOBfjdOoUJay+W6rT9WtSZemRwq/IIlJhS9Lf9Mp\
    qbqieyWLHCbvrdTHgkQO8XOiGVl6V/WJRIBUqo3Gyf4ZTuLpnGWrz045TkRO5dvjV0AxSTgUqvQli2q0mhP7XO54aw3LDVKGQd8d\
    sYH4LliLvqWwxkrKU85HqszIhnfD+H2prPYkmfPStCq8Za6afU/LV98AcTlluqb08ZdS2KSuZ/cvI4JetM9oOSOIc+I0YeK9YhXW\
    PHvFZqZ/61UJWf2Plqkd3w==";

/// Attestations of either kind of enrollment.
fn attestations(of_group: bool) -> Vec<Value> {
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
    let both = json!({ "primary": { "certificate": pem }, "secondary": { "certificate": pem } });
    let mut list = vec![
        json!({ "type": "symmetricKey" }),
        json!({ "type": "x509", "x509": { "caReferences": { "primary": "ca-1" } } }),
    ];
    if of_group {
        list.push(json!({ "type": "x509", "x509": { "signingCertificates": both } }));
    } else {
        list.push(json!({ "type": "x509", "x509": { "clientCertificates": both } }));
        list.push(json!({ "type": "tpm", "tpm": { "endorsementKey": ENDORSEMENT_KEY } }));
    }
    list
}

#[test]
fn enrollments_have_the_shape_that_the_service_documents() {
    let mut api = Api::new();
    for (of_group, path, id) in
        [(false, "/enrollments", "registrationId"), (true, "/enrollmentGroups", "enrollmentGroupId")]
    {
        let schema = schema(of_group);
        let fits = |value: &Value| {
            let problems: Vec<String> = schema.iter_errors(value).map(|error| error.to_string()).collect();
            assert!(problems.is_empty(), "{problems:?} {value}");
        };
        for (number, attestation) in attestations(of_group).into_iter().enumerate() {
            let name = format!("x-{number}");
            let plain = json!({ id: name, "attestation": attestation });
            let mut full = plain.clone();
            for (member, value) in [
                ("capabilities", json!({ "iotEdge": true })),
                ("initialTwin", json!({ "tags": {}, "properties": { "desired": { "a": 1 } } })),
                ("provisioningStatus", json!("disabled")),
                ("reprovisionPolicy", json!({ "updateHubAssignment": false, "migrateDeviceData": false })),
                ("allocationPolicy", json!("custom")),
                ("iotHubs", json!(["hub-1.azure-devices.net"])),
                (
                    "customAllocationDefinition",
                    json!({ "webhookUrl": "https://x.example/", "apiVersion": "2021-10-01" }),
                ),
            ] {
                full[member] = value;
            }
            for body in [&plain, &full] {
                let made = api.ask("PUT", &format!("{path}/{name}"), &[("If-Match", "*")], body);
                assert_eq!(made.status, 200, "{made:?}");
                fits(&made.json());
                fits(&api.ask("GET", &format!("{path}/{name}"), &[], &Value::Null).json());
            }
            let mechanism =
                api.ask("POST", &format!("{path}/{name}/attestationmechanism"), &[], &Value::Null).json();
            assert_eq!(mechanism["type"], attestation["type"]);
            assert_eq!(
                mechanism["symmetricKey"].is_object(),
                attestation["type"] == "symmetricKey",
                "{mechanism}"
            );
        }
        let page = api
            .ask("POST", &format!("{path}/query"), &[], &json!({ "query": "SELECT * FROM enrollments" }))
            .json();
        page.as_array().unwrap().iter().for_each(fits);
        let mut wrong = page[0].clone();
        wrong["unheardOf"] = true.into();
        assert!(!schema.is_valid(&wrong), "the schema can fail");
    }
}

#[test]
fn an_enrollment_shows_the_registration_of_its_device() {
    let mut api = Api::new();
    let body = json!({
        "registrationId": "dev-0001", "deviceId": "thermostat",
        "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } },
    });
    assert_eq!(api.ask("PUT", "/enrollments/dev-0001", &[], &body).status, 200);
    let register = "/0ne00ABCDEF/registrations/dev-0001/register?api-version=2019-03-31";
    assert_eq!(api.wire.ask("PUT", register, Some(DEVICE), "{}").status, 202);
    let shown = api.ask("GET", "/enrollments/dev-0001", &[], &Value::Null).json();
    assert!(schema(false).is_valid(&shown), "{shown}");
    let state = &shown["registrationState"];
    assert_eq!((&state["status"], &state["deviceId"]), (&"assigned".into(), &"thermostat".into()));
    let alone = api.ask("GET", "/registrations/dev-0001", &[], &Value::Null).json();
    assert_eq!(&alone, state);
}

#[test]
fn pages_and_bulk_results_have_their_headers_and_shapes() {
    let mut api = Api::new();
    let items: Vec<Value> = (0..5)
        .map(|number| json!({ "registrationId": format!("x-{number}"), "attestation": { "type": "symmetricKey" } }))
        .collect();
    let bulk = json!({ "mode": "create", "enrollments": items });
    assert_eq!(
        api.ask("POST", "/enrollments", &[], &bulk).json(),
        json!({ "isSuccessful": true, "errors": [] })
    );
    let again = api.ask("POST", "/enrollments", &[], &bulk).json();
    assert_eq!((&again["isSuccessful"], again["errors"].as_array().unwrap().len()), (&false.into(), 5));
    for error in again["errors"].as_array().unwrap() {
        assert!(error["registrationId"].is_string() && error["errorStatus"].is_string(), "{error}");
        assert_eq!(error["errorCode"], 409_201);
    }

    let query = json!({ "query": "SELECT * FROM enrollments" });
    let mut ids = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let mut headers = vec![("x-ms-max-item-count", "2")];
        headers.extend(next.as_deref().map(|token| ("x-ms-continuation", token)));
        let page = api.ask("POST", "/enrollments/query", &headers, &query);
        assert_eq!((page.status, page.header("x-ms-item-type")), (200, Some("enrollment")));
        let list = page.json();
        ids.extend(
            list.as_array().unwrap().iter().map(|one| one["registrationId"].as_str().unwrap().to_owned()),
        );
        next = page.header("x-ms-continuation").map(str::to_owned);
        if next.is_none() {
            break;
        }
        assert_eq!(list.as_array().unwrap().len(), 2);
    }
    assert_eq!(ids, ["x-0", "x-1", "x-2", "x-3", "x-4"]);
    for (path, kind) in
        [("/enrollmentGroups/query", "enrollmentGroup"), ("/registrations/demo/query", "deviceRegistration")]
    {
        let group = json!({ "enrollmentGroupId": "demo", "attestation": { "type": "symmetricKey" } });
        api.ask("PUT", "/enrollmentGroups/demo", &[("If-Match", "*")], &group);
        assert_eq!(api.ask("POST", path, &[], &query).header("x-ms-item-type"), Some(kind));
    }
}
