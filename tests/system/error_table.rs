//! Every row of Microsoft's troubleshooting table, by a real cause, as devices and as operators meet it over HTTPS; what
//! devices meet over MQTT is in `error_table_mqtt.rs`, over AMQP in `amqp.rs`.
//!
//! 403 has no row of its own there and no cause on either plane; 500 takes an injected fault.

use crate::harness::{Bench, Mock, Response, Wire, scenarios};

/// Bytes 00 to 3F, the key of the device and of the owner.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";

/// Signed with it, until 2030: for `0ne00ABCDEF/registrations/dev-0001`, and for the service's host.
const DEVICE: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                      &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";
const OWNER: &str = "SharedAccessSignature sr=global.azure-devices-provisioning.net\
                     &sig=BN%2Fv5ojLA3X%2B9kb5KXnRzBD8BZv%2BUWejLDFGYCxlmas%3D&se=1900000000&skn=provisioningserviceowner";

const REGISTER: &str = "/0ne00ABCDEF/registrations/dev-0001/register?api-version=2019-03-31";
const BODY: &str = r#"{"registrationId":"dev-0001"}"#;
const ENROLLMENT: &str = "/enrollments/dev-0009?api-version=2021-10-01";
const NINTH: &str = r#"{"registrationId":"dev-0009","attestation":{"type":"symmetricKey"}}"#;
const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Table {
    _bench: Bench,
    _mock: Mock,
    wire: Wire,
}

impl Table {
    fn new(more: &str) -> Self {
        let bench = Bench::new();
        bench.file("key", KEY);
        let file = format!(
            r#"
            id_scope = "0ne00ABCDEF"
            assignment = {{ kind = "constant", delay = "1h" }}
            [[access_policy]]
            name = "provisioningserviceowner"
            primary_key = {{ file = "key" }}
            [[enrollment]]
            registration_id = "dev-0001"
            primary_key = {{ file = "key" }}
            {more}
            "#
        );
        let mock = Mock::start(&bench, &file);
        let wire = Wire::open(&mock);
        Self { _bench: bench, _mock: mock, wire }
    }

    fn device(&mut self, method: &str, target: &str, body: &str) -> Response {
        self.wire.request(method, target, &[JSON, ("Authorization", DEVICE)], body)
    }

    fn operator(&mut self, method: &str, target: &str, body: &str) -> Response {
        self.wire.request(method, target, &[JSON, ("Authorization", OWNER)], body)
    }

    /// Checks that everything is in order but for what a test does wrong.
    fn works(&mut self) {
        assert_eq!(self.operator("PUT", ENROLLMENT, NINTH).status, 200);
        assert_eq!(self.operator("DELETE", ENROLLMENT, "").status, 204);
    }
}

#[track_caller]
fn is(response: &Response, status: u16, code: u32) {
    let body = response.json();
    assert_eq!((response.status, &body["errorCode"]), (status, &code.into()), "{response:?}");
    assert_eq!(response.header("x-ms-error-code"), Some(&*code.to_string()));
    assert_eq!(response.header("x-ms-request-id"), body["trackingId"].as_str());
}

#[test]
fn row_400_a_body_that_cannot_be_parsed_or_fails_validation() {
    let mut table = Table::new("");
    table.works();
    is(&table.device("PUT", REGISTER, "{"), 400, 400_004);
    is(&table.device("PUT", REGISTER, r#"{"registrationId":"dev-0002"}"#), 400, 400_004);
    is(&table.operator("PUT", ENROLLMENT, "{"), 400, 400_004);
    is(&table.operator("PUT", ENROLLMENT, r#"{"registrationId":"dev-0009"}"#), 400, 400_004);
    is(&table.operator("PUT", "/enrollments/dev-0009?api-version=1", NINTH), 400, 400_000);
    let query = "/enrollments/query?api-version=2021-10-01";
    is(&table.operator("POST", query, r#"{"query":"SELECT"}"#), 400, 400_004);
}

#[test]
fn row_401_a_token_that_cannot_be_validated() {
    let mut table = Table::new("");
    table.works();
    let forged = DEVICE.replace("iyrcr", "iyrcs");
    is(&table.wire.request("PUT", REGISTER, &[JSON, ("Authorization", &forged)], BODY), 401, 401_000);
    is(&table.wire.request("PUT", REGISTER, &[JSON], BODY), 401, 401_000);
    for token in [
        OWNER.replace("v5ojL", "v5ojM"),
        OWNER.replace("1900000000", "1500000000"),
        OWNER.replace("provisioningserviceowner", "another"),
        DEVICE.to_owned(),
    ] {
        let headers = [JSON, ("Authorization", &*token)];
        is(&table.wire.request("GET", ENROLLMENT, &headers, ""), 401, 401_000);
    }
}

/// No request provokes these two: the mock is told to be out of order.
#[test]
fn row_403_and_row_500_on_both_planes_over_https() {
    for (status, code) in [(403, 403_000), (500, 500_001)] {
        let mut table = Table::new(&format!("[[outage]]\nfor = \"1h\"\nstatus = {status}\n"));
        is(&table.device("PUT", REGISTER, BODY), status, code);
        is(&table.operator("PUT", ENROLLMENT, NINTH), status, code);
    }
}

/// What a device does about each row, over each transport: it waits the trouble out (429, the 500 series), it starts again
/// (409, 412), it tries once more with a fresh token and stops (401, 403), or it stops at once (400, 404, 405, 415).
#[test]
fn devices_react_to_every_row_as_the_table_says() {
    for transport in ["https", "mqtt", "amqp"] {
        for (status, requests, stopped_by) in [
            (400, 1, Some("client-bug")),
            (401, 2, Some("unauthorized")),
            (403, 2, Some("forbidden")),
            (404, 1, Some("not-found")),
            (405, 1, Some("client-bug")),
            (409, 0, None),
            (412, 0, None),
            (415, 1, Some("client-bug")),
            (429, 0, None),
            (500, 0, None),
            (503, 0, None),
        ] {
            let bench = Bench::new();
            let scenario = format!(
                "horizon = \"10m\"\nobjectives = [\"count({status}) >= 20\"]\n[fleet]\ndevices = 20\n[[cohort]]\ntransport = \"{transport}\"\npark = \"1h\"\n\
                 [[chaos]]\nname = \"trouble\"\nfault = {{ kind = \"service.error\", status = {status} }}\nstart = \"0s\"\n\
                 duration = \"20s\"\n"
            );
            let ended = bench.run(&scenario, &["--clock", "wired"]);
            // Where all stop at once the run is over before the fault is: what it did to the fleet is not known.
            assert_eq!(
                ended.code,
                if stopped_by.is_some() { 12 } else { 0 },
                "{transport} {status}: {ended:?}"
            );
            let record = bench.record();
            let met = record.codes.iter().find(|code| code.status == status).unwrap();
            assert_eq!(met.devices, 20, "{transport} {status}");
            match stopped_by {
                Some(why) => {
                    assert_eq!(
                        record.totals.stopped_by.get(why),
                        Some(&20),
                        "{transport} {status}: {:?}",
                        record.totals.stopped_by
                    );
                    assert_eq!(met.count, 20 * requests, "{transport} {status}");
                }
                None => assert_eq!(record.totals.assigned, 20, "{transport} {status}: it is waited out"),
            }
        }
    }
}

/// The shipped scenario: a fleet meets every row that devices can meet, and the page names each with what it means and
/// what to do.
#[test]
fn a_fleet_meets_the_table_and_its_report_explains_it() {
    let bench = Bench::new();
    let scenario = std::fs::read_to_string(scenarios().join("error-table.toml")).unwrap();
    assert_eq!(bench.run(&scenario, &["--clock", "virtual"]).code, 0);
    let met: Vec<u32> = bench.record().codes.iter().map(|code| code.code).collect();
    let page = std::fs::read_to_string(bench.path("out/report.html")).unwrap();
    for (code, meaning, action) in [
        (401_000, "Unauthorized", "Renew the token"),
        (401_002, "Invalid certificate", "Check the certificate"),
        (403_000, "Forbidden", "after a second refusal stop and report"),
        (404_201, "Enrollment not found", "Create the enrollment"),
        (409_203, "Registration in progress", "Back off, then register again"),
        (429_001, "Throttled", "Retry-After"),
        (500_001, "Internal error", "Back off and retry"),
    ] {
        assert!(met.contains(&code), "{code}: {met:?}");
        for words in [&*code.to_string(), meaning, action] {
            assert!(page.contains(words), "{code}: {words}");
        }
    }
}

#[test]
fn row_404_an_instance_or_an_enrollment_that_does_not_exist() {
    let mut table = Table::new("");
    let elsewhere = REGISTER.replace("0ne00ABCDEF", "0ne00000000");
    is(&table.device("PUT", &elsewhere, BODY), 404, 404_000);
    let operation = "/0ne00ABCDEF/registrations/dev-0001/operations/4.0.x?api-version=2019-03-31";
    is(&table.device("GET", operation, ""), 404, 404_202);
    for (target, code) in [
        ("/enrollments/dev-0009?api-version=2021-10-01", 404_201),
        ("/enrollmentGroups/none?api-version=2021-10-01", 404_204),
        ("/registrations/dev-0009?api-version=2021-10-01", 404_202),
    ] {
        is(&table.operator("GET", target, ""), 404, code);
        is(&table.operator("DELETE", target, ""), 404, code);
    }
}

#[test]
fn row_405_a_method_that_the_target_does_not_support() {
    let mut table = Table::new("");
    table.works();
    is(&table.device("POST", REGISTER, BODY), 405, 405_000);
    is(&table.device("PUT", "/0ne00ABCDEF/registrations/?api-version=2019-03-31", BODY), 405, 405_000);
    is(&table.operator("PUT", "/enrollments/?api-version=2021-10-01", NINTH), 405, 405_000);
    is(&table.operator("PATCH", ENROLLMENT, NINTH), 405, 405_000);
}

#[test]
fn row_409_a_conflict_with_what_is_there() {
    let mut table = Table::new("");
    assert_eq!(table.device("PUT", REGISTER, BODY).status, 202);
    is(&table.device("PUT", REGISTER, BODY), 409, 409_203);
    assert_eq!(table.operator("PUT", ENROLLMENT, NINTH).status, 200);
    is(&table.operator("PUT", ENROLLMENT, NINTH), 409, 409_201);
}

#[test]
fn row_412_an_etag_that_does_not_match() {
    let mut table = Table::new("");
    let first = table.operator("PUT", ENROLLMENT, NINTH).json()["etag"].as_str().unwrap().to_owned();
    let headers = [JSON, ("Authorization", OWNER), ("If-Match", &*first)];
    assert_eq!(table.wire.request("PUT", ENROLLMENT, &headers, NINTH).status, 200);
    is(&table.wire.request("PUT", ENROLLMENT, &headers, NINTH), 412, 412_201);
    is(&table.wire.request("DELETE", ENROLLMENT, &headers, ""), 412, 412_201);
}

#[test]
fn row_415_a_media_type_that_is_not_json() {
    let mut table = Table::new("");
    table.works();
    let text = ("Content-Type", "text/plain");
    is(&table.wire.request("PUT", REGISTER, &[text, ("Authorization", DEVICE)], BODY), 415, 415_000);
    is(&table.wire.request("PUT", ENROLLMENT, &[text, ("Authorization", OWNER)], NINTH), 415, 415_000);
}

#[test]
fn row_429_quotas_of_registrations_of_polls_and_of_operations() {
    let mut table = Table::new(
        "[throttle]\nrate = \"1/h\"\nburst = 1\noperations_rate = \"1/h\"\noperations_burst = 1\npolls_per_10s = 1",
    );
    let accepted = table.device("PUT", REGISTER, BODY);
    assert_eq!(accepted.status, 202);
    is(&table.device("PUT", REGISTER, BODY), 429, 429_001);
    let operation = accepted.json()["operationId"].as_str().unwrap().to_owned();
    let poll = format!("/0ne00ABCDEF/registrations/dev-0001/operations/{operation}?api-version=2019-03-31");
    assert_eq!(table.device("GET", &poll, "").status, 202);
    is(&table.device("GET", &poll, ""), 429, 429_001);
    assert_eq!(table.operator("PUT", ENROLLMENT, NINTH).status, 200, "the quotas are apart");
    let refused = table.operator("GET", ENROLLMENT, "");
    is(&refused, 429, 429_001);
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 3_000);
}

/// The other way in which a registration ends badly: the request succeeds, and its answer says what went wrong.
#[test]
fn registrations_that_fail_or_are_disabled_are_answered_with_200() {
    let mut table = Table::new(
        "allocation = \"custom\"\nwebhook_url = \"https://192.0.2.1/hook\"\n\
         [[enrollment]]\nregistration_id = \"dev-0002\"\nenabled = false\nprimary_key = { file = \"key\" }",
    );
    let accepted = table.device("PUT", REGISTER, BODY);
    let operation = accepted.json()["operationId"].as_str().unwrap().to_owned();
    let poll = format!("/0ne00ABCDEF/registrations/dev-0001/operations/{operation}?api-version=2019-03-31");
    let failed = table.device("GET", &poll, "");
    let state = &failed.json()["registrationState"];
    assert_eq!(
        (failed.status, &state["status"], &state["errorCode"]),
        (200, &"failed".into(), &400_207.into())
    );
    assert!(state["errorMessage"].as_str().unwrap().contains("webhook.hosts"), "{state}");
}
